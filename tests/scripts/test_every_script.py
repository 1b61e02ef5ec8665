"""Each program in scripts/ starts, and does a little of its work. The slow tests say what it does."""

from __future__ import annotations

import pathlib
import re
import signal
import subprocess
import sys

from support.waiting import WAIT

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"


def test_every_script_does_its_work(serve, tmp_path):
    """All at the same time, because several of them mostly wait."""
    server = serve(trace=str(tmp_path / "trace.json"))
    ann = server.client("ann")
    ann.ask("hello")
    here, db = f"127.0.0.1:{server.port}", tmp_path / "chat.db"
    few = (
        "--seed",
        1,
        "--writers",
        1,
        "--readers",
        1,
        "--travellers",
        0,
        "--searchers",
        0,
        "--web-every",
        0,
        "--rooms",
        1,
    )
    once = ("--no-peers", "--members", 2, "--windows", 1, "--repeat", 1, "--seconds", 0.1, "--joins", 0)
    commands = {
        "backup": (0, "copy.db: 1 messages", [db, tmp_path / "copy.db"]),
        "bench": (0, r"chat_threads +\d", once),
        "bot": (0, "^$", [here]),
        "capstone": (0, "1: a line", ["list"]),
        "export": (0, "ann: hello", [db]),
        "lab": (0, "01_", ["start", 1, tmp_path]),
        "load": (0, "delivered", ["--port", server.port, "--clients", 2, "--duration", 0.1]),
        "timeline": (0, r": Message \d+ of #l", [tmp_path / "trace.json", "-o", tmp_path / "out.svg"]),
        "top": (0, "sessions in", [here, "--count", 1]),
        "torture": (1, "The run does not count: .* 0 kills, and 5 are needed.", ["--minutes", 0.001, *few]),
    }
    programs = {
        path.stem
        for path in SCRIPTS.glob("*.py")
        if re.search(r"(?m)^if __name__ ==", path.read_text(encoding="utf-8"))
    }
    assert set(commands) == programs
    started: dict[str, subprocess.Popen[str]] = {}

    def start(*names: str) -> None:
        for name in names:
            started[name] = subprocess.Popen(
                [sys.executable, SCRIPTS / f"{name}.py", *map(str, commands[name][2])],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )

    try:
        start(*sorted(programs - {"timeline"}))
        ann.expect("* bot joined")
        ann.send("!roll 0d6")
        ann.expect("bot: !roll takes dice like 2d6.")
        for name in ("top", "load"):
            started[name].wait(WAIT)
        started["bot"].send_signal(signal.SIGINT)
        started["bot"].wait(WAIT)
        assert server.chat.stop() == []  # the trace is whole
        start("timeline")
        for name, (code, shown, _) in commands.items():
            out, err = started[name].communicate(timeout=WAIT)
            assert (started[name].returncode, "Traceback" in err) == (code, False), (name, out, err)
            assert re.search(shown, out), (name, out, err)
    finally:
        for program in started.values():
            program.terminate()  # torture.py then cleans up
            program.communicate()
