#!/usr/bin/env python3
"""Compare chat_threads with other chat servers: bench.py prints the table of docs/performance.rst.

One sender in a room of --members keeps --windows messages under way, for --seconds; a delivery is one message read by
one member. All servers run all the time and take turns, so other work on the machine affects them alike. A figure is
the median of --repeat runs. The load driver of load.py checks every delivery; the exit code is 1 if one was missing.

The servers: this one (``--rate 0``, its history on disk), this one with ``--writers per-session``, the two of
scripts/peers/, and Redis pub/sub if redis-server (6 or newer) is installed. With --no-peers, only the first takes part,
once for each --dialect: bench.py --no-peers --cpu --dialect web,json compares the costs of two dialects.

With --counts, nothing is timed: bench.py --counts --members 10,100 prints how many calls, system calls and thread
switches a message costs this server.
"""

from __future__ import annotations

import contextlib
import itertools
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import click
from driver import counts, machine
from driver.conductor import Result, conduct, new_run, resolve
from driver.plan import Plan, clock
from driver.worker import Failed, raise_file_limit
from tabulate import tabulate

from chat_threads import streams

SCRIPTS = pathlib.Path(__file__).resolve().parent
OURS = "-m chat_threads --host 127.0.0.1 --port {port} --db {folder}/{port}.db --rate 0 --max-clients 20000"
STARTING = 15.0  # seconds that a server may take to answer
STOPPING = 10.0
OUR_DIALECTS = ("text", "json", "web")
MAIN = "chat_threads"


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    command: tuple[str, ...]  # {port} and {folder} are filled in
    dialect: str


@dataclass(frozen=True, slots=True)
class Running:
    port: int
    pid: int


def contenders(dialects: list[str], peers: bool) -> list[Contender]:
    """The servers that take part. The last one is the reference for the ratios."""
    ours = (sys.executable, *OURS.split())
    several = len(dialects) > 1
    found = [Contender(f"{MAIN}, {each}" if several else MAIN, ours, each) for each in dialects]
    if not peers:
        return found
    found += [
        Contender("per-session", (*ours, "--writers", "per-session"), dialects[0]),
        Contender("asyncio", (sys.executable, str(SCRIPTS / "peers" / "asyncio_chat.py"), "--port", "{port}"), "text"),
        Contender("textbook", (sys.executable, str(SCRIPTS / "peers" / "textbook.py"), "--port", "{port}"), "text"),
    ]
    if shutil.which("redis-server"):
        redis = ("redis-server", "--bind", "127.0.0.1", "--port", "{port}", "--save", "", "--dir", "{folder}")
        found.append(Contender("Redis", (*redis, "--client-output-buffer-limit", "pubsub 0 0 0"), "redis"))
    return found


class Numbers(click.ParamType):  # type: ignore[type-arg]
    name = "N,N,..."

    def convert(self, value: str | list[int], param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        if isinstance(value, list):
            return value
        if not all(each.isdigit() and 1 <= int(each) <= 100_000 for each in value.split(",")):
            self.fail(f"{value!r} is not numbers from 1 to 100000 with commas between them.", param, ctx)
        return [int(each) for each in value.split(",")]


class Dialects(click.ParamType):  # type: ignore[type-arg]
    name = "DIALECT,..."

    def convert(self, value: str | list[str], param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        if isinstance(value, list):
            return value
        wanted = value.split(",")
        if not set(wanted) <= set(OUR_DIALECTS) or len(wanted) > len(set(wanted)):
            self.fail(f"{value!r} is not one of {', '.join(OUR_DIALECTS)}, or several with commas.", param, ctx)
        return wanted


@click.command(help=__doc__.split(": bench.py")[0] + ".", epilog=__doc__.split("\n\n", 1)[1])
@click.option("--members", type=Numbers(), default="10,100,1000", show_default=True, help="Sizes of the room.")
@click.option("--windows", type=Numbers(), default="1,64", show_default=True, help="Messages under way.")
@click.option("--repeat", type=click.IntRange(1, 100), default=3, show_default=True, help="Runs for each figure.")
@click.option("--seconds", type=click.FloatRange(0.1, 60), default=1.0, show_default=True, help="Length of a run.")
@click.option(
    "--dialect",
    type=Dialects(),
    default="text",
    show_default=True,
    help=f"Of the clients of chat_threads: {', '.join(OUR_DIALECTS)}. Several take turns.",
)
@click.option("--peers/--no-peers", default=True, show_default=True, help="Whether the other servers take part.")
@click.option("--cpu", is_flag=True, help="Show microseconds of the server's CPU for a delivery instead.")
@click.option("--counts", "counting", is_flag=True, help="Count calls instead, of this server only.")
@click.option("--processes", type=click.IntRange(1, 64), default=max(1, machine.cores() - 1), show_default=True)
def main(
    members: list[int],
    windows: list[int],
    repeat: int,
    seconds: float,
    dialect: list[str],
    peers: bool,
    cpu: bool,
    counting: bool,
    processes: int,
) -> None:
    raise_file_limit()
    if counting:
        show_counts(members, windows, repeat, dialect)
        return
    taking_part = contenders(dialect, peers)
    cells = [(count, window, each) for count in members for window in windows for each in taking_part]
    results: defaultdict[tuple[int, int, Contender], list[Result]] = defaultdict(list)
    try:
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            servers = {each: stack.enter_context(running(each, folder)) for each in taking_part}
            runs = [  # in turn forwards and backwards, because what comes before has an effect
                cell
                for count in members
                for turn in range(repeat)
                for cell in cells[:: -1 if turn % 2 else 1]
                if cell[0] == count
            ]
            for cell in stack.enter_context(click.progressbar(runs, label="Measuring", file=sys.stderr)):
                count, window, each = cell
                results[cell].append(measure(servers[each], each.dialect, count, window, seconds, processes))
    except Failed as failed:
        sys.exit(f"bench: {failed}.")
    show(results, members, windows, taking_part, seconds, repeat, cpu)
    if broken := [cell for cell, found in results.items() if not all(result.clean for result in found)]:
        names = ", ".join(f"{each.name} ({count} members, {window} under way)" for count, window, each in broken)
        sys.exit(f"bench: not everything was delivered once and in order by {names}.")


@contextlib.contextmanager
def running(contender: Contender, folder: str) -> Iterator[Running]:
    """Run a server during the ``with`` block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [part.format(port=port, folder=folder) for part in contender.command]
    with open(pathlib.Path(folder) / f"{port}.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + STARTING
        while True:
            try:
                resolve("127.0.0.1", port)
                break
            except Failed as failed:
                if process.poll() is not None or time.monotonic() > deadline:
                    said = pathlib.Path(log.name).read_text("utf-8", "replace").strip().splitlines()
                    raise Failed(f"{contender.name} did not start: {said[-1] if said else failed}") from None
                time.sleep(0.05)
        yield Running(port, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure(server: Running, dialect: str, members: int, window: int, seconds: float, processes: int) -> Result:
    family, address = resolve("127.0.0.1", server.port)
    plan = Plan(
        family=family,
        address=address,
        dialect=dialect,
        clients=members,
        rooms=1,
        senders=1,
        rate=None,
        window=window,
        size=64,
        duration=seconds,
        ramp=0.0,
        slow=0,
        churn=0.0,
        processes=min(processes, members),
        patience=10.0,
        run=new_run(),
        epoch=clock(),
    )
    return conduct(plan, server.pid)


def show(
    results: dict[tuple[int, int, Contender], list[Result]],
    members: list[int],
    windows: list[int],
    taking_part: list[Contender],
    seconds: float,
    repeat: int,
    cpu: bool,
) -> None:
    rows = []
    limited = False
    other = taking_part[-1]
    figure = cost if cpu else rate
    for count in members:
        for window in windows:
            figures = {each: figure(results[count, window, each]) for each in taking_part}
            row = [str(count), str(window)]
            for each in taking_part:
                mark = ""
                if each is not other:
                    mark = f" ({figures[each] / figures[other]:.2f})" if figures[other] else " (-)"
                if not cpu and statistics.median(bool(result.bottleneck) for result in results[count, window, each]):
                    limited = True
                    mark += " [d]"
                row.append(f"{figures[each]:,.{2 if cpu else 0}f}{mark}")
            rows.append(row)
    headers = ["members", "under way", *(each.name for each in taking_part)]
    align = ["right"] * len(headers)
    what = "Microseconds of the server's CPU for a delivery" if cpu else "Messages delivered a second"
    click.echo(f"{machine.describe()}. {what}, the median of {repeat} runs of {seconds:g} s;")
    click.echo(f"in brackets, how many times {other.name}'s.\n")
    click.echo(tabulate(rows, headers, tablefmt="rst", disable_numparse=True, colalign=align))
    if limited:
        click.echo("\n[d]: the driver was the bottleneck; the server may be faster than that.")


def show_counts(members: list[int], windows: list[int], repeat: int, dialects: list[str]) -> None:
    rows = []
    try:
        for size, window, dialect in itertools.product(members, windows, dialects):
            messages = max(50, 20 * window)
            found = counts.count(size, window, messages, repeat, dialect=dialect)
            if shutil.which("strace"):
                found += counts.count(size, window, messages, repeat, strace=True, dialect=dialect)
            rows.append([str(size), str(window), *([dialect] if len(dialects) > 1 else []), *counts.row(found)])
    except Failed as failed:
        sys.exit(f"bench: {failed}.")
    click.echo(f"Python {sys.version.split()[0]}. What a message costs the server, the median of {repeat} rounds.\n")
    headers = ["members", "under way", *(["dialect"] if len(dialects) > 1 else []), *counts.HEADERS]
    click.echo(tabulate(rows, headers, tablefmt="rst", disable_numparse=True, colalign=["right"] * len(headers)))
    click.echo("\nCalls are of Python and C functions, by the threads of each kind; writers also for each delivery.")


def rate(found: list[Result]) -> float:
    return statistics.median(result.deliveries_per_second for result in found)


def cost(found: list[Result]) -> float:
    """Microseconds of CPU; 0: unknown, as where there is no /proc."""
    return statistics.median(1e6 * (each.server_seconds or 0.0) / max(1, each.tally.delivered) for each in found)


if __name__ == "__main__":
    streams.prepare()
    main()
