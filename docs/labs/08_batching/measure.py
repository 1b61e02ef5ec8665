"""Measure a call for each line against your Outbox, and draw it: python measure.py .../scripts/load.py

It runs load.py with 20 members in one room, one of whom talks, and with 1, 4, 16 and 64 messages under way. It measures
serve.py with an Outbox that sends a line a call, serve.py with the Outbox in task.py, and chat_threads, if installed.
It prints the results, and writes them to measured.csv and measured.svg. Takes about a minute. Needs no change.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import math
import pathlib
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
WINDOWS = (1, 4, 16, 64)
SERVE = [sys.executable, str(HERE / "serve.py"), "--port", "0"]
SERVERS = {
    "a line a call": SERVE,
    "your Outbox": [*SERVE, "--task", str(HERE / "task.py")],
    "chat_threads": [sys.executable, "-m", "chat_threads", "--host", "127.0.0.1", "--port", "0", "--rate", "0"],
}
COLOURS = {"a line a call": "#b3321f", "your Outbox": "#00429d", "chat_threads": "#767676"}


@dataclass(frozen=True)
class Found:
    """The result of one run."""

    server: str
    under_way: int
    deliveries: float  # a second
    per_call: float | None  # lines sent in one system call; None: the server does not say


def run(server: str, window: int, load: str, members: int, seconds: float, folder: str) -> Found:
    """Start a server, put load on it, and stop it. If that fails, exit with the reason."""
    command = SERVERS[server] + (["--db", f"{folder}/chat.{window}.db"] if server == "chat_threads" else [])
    with (
        open(f"{folder}/errors", "w+", encoding="utf-8") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):

        def give_up(why: str) -> None:
            process.kill()
            errors.seek(0)
            said = [line for line in errors if re.match(r"\w", line)]
            sys.exit(f"measure: {server}: {why}" + (f" The server's last word: {said[-1].strip()}" if said else ""))

        try:
            port = next((found[1] for line in process.stdout if (found := re.search(r"telnet \S+ (\d+)", line))), None)
            if port is None:
                give_up("the server did not start.")
            report = f"{folder}/report.json"
            options = {"port": port, "clients": members, "senders": 1, "window": window, "duration": seconds}
            done = subprocess.run(
                [sys.executable, load, *(f"--{name}={value}" for name, value in options.items()), f"--json={report}"],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode == 1:
                give_up("lines were lost, duplicated or out of order. All checks have to pass before it is measured.")
            if done.returncode:
                give_up(f"load.py failed: {(done.stderr.strip().splitlines() or ['it is silent'])[-1]}")
            with open(report, encoding="utf-8") as file:
                deliveries = json.load(file)["deliveries_per_s"]
            if server == "chat_threads":
                process.terminate()
            process.stdin.close()
            counted = re.search(r"(\d+) lines in (\d+) calls", process.stdout.read())
        finally:
            process.kill()
    return Found(server, window, deliveries, int(counted[1]) / int(counted[2]) if counted else None)


def draw(found: list[Found], members: int) -> str:
    """Draw the deliveries a second against the messages under way, as SVG with logarithmic axes. The lines in a call
    are beside each point of the Outbox."""
    width, height, left, bottom, top = 720, 420, 80, 60, 40
    low = math.log10(min(each.deliveries for each in found)) - 0.1
    high = math.log10(max(each.deliveries for each in found)) + 0.1

    def x(window: int) -> float:
        return left + 40 + WINDOWS.index(window) * (width - left - 120) / (len(WINDOWS) - 1)

    def y(value: float) -> float:
        return height - bottom - (math.log10(value) - low) / (high - low) * (height - bottom - top)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="22" font-size="15">Deliveries a second to {members} members'
        " (blue: lines in a call of your Outbox)</text>",
    ]
    steps = [digit * 10**power for power in range(int(low), int(high) + 1) for digit in (1, 2, 5)]
    for value in [step for step in steps if low < math.log10(step) < high]:
        parts.append(f'<path d="M{left} {y(value):.1f}H{width - 40}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,}</text>')
    for window in WINDOWS:
        parts.append(f'<text x="{x(window):.1f}" y="{height - bottom + 22}" text-anchor="middle">{window}</text>')
    parts.append(f'<text x="{width / 2}" y="{height - 12}" text-anchor="middle">messages under way</text>')
    for at, server in enumerate(dict.fromkeys(each.server for each in found)):
        colour = COLOURS[server]
        points = [(x(each.under_way), y(each.deliveries), each.per_call) for each in found if each.server == server]
        path = "L".join(f"{right:.1f} {up:.1f}" for right, up, _ in points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for right, up, per_call in points:
            parts.append(f'<circle cx="{right:.1f}" cy="{up:.1f}" r="4" fill="{colour}"/>')
            if per_call is not None and server == "your Outbox":
                halo = f'fill="{colour}" stroke="white" stroke-width="4" paint-order="stroke"'
                parts.append(f'<text x="{right - 12:.1f}" y="{up - 10:.1f}" {halo}>{per_call:.1f}</text>')
        parts.append(f'<text x="{left + 12}" y="{top + 18 + 18 * at}" fill="{colour}">{server}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a call for each line against your Outbox, and draw it.")
    parser.add_argument("load", help="scripts/load.py of chat_threads")
    parser.add_argument("--members", type=int, default=20, help="in the room; 20 unless told otherwise")
    parser.add_argument("--seconds", type=float, default=3.0, help="that each run takes; 3 unless told otherwise")
    options = parser.parse_args()
    if not pathlib.Path(options.load).is_file():
        sys.exit(f"measure: {options.load} is missing.")
    servers = [name for name in SERVERS if name != "chat_threads" or importlib.util.find_spec("chat_threads")]
    found = []
    print(f"{'server':14} {'under way':>9} {'deliveries/s':>13} {'lines a call':>13}")
    with tempfile.TemporaryDirectory() as folder:
        for server in servers:
            for window in WINDOWS:
                each = run(server, window, options.load, options.members, options.seconds, folder)
                found.append(each)
                per_call = "" if each.per_call is None else f"{each.per_call:.1f}"
                print(f"{server:14} {window:9} {each.deliveries:13,.0f} {per_call:>13}", flush=True)
    with open("measured.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["server", "under_way", "deliveries_per_s", "lines_per_call"])
        writer.writerows([each.server, each.under_way, each.deliveries, each.per_call] for each in found)
    pathlib.Path("measured.svg").write_text(draw(found, options.members), encoding="utf-8")
    print("measured.csv and measured.svg are written.")


if __name__ == "__main__":
    main()
