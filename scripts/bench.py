#!/usr/bin/env python3
"""Compare chat_threads with other chat servers: bench.py prints the tables of docs/performance.rst.

One sender in a room of --members keeps --windows messages under way, for --seconds; a delivery is one message read by
one member. All servers run all the time and take turns, A B C A B C, so other work on the machine affects them alike.
A figure is the median of --repeat runs. Below it is the figure of chat_threads divided by it, each time in the same
round: the median of these ratios, and their lowest and highest. The clients count what each of them gets; the exit code
is 1 if that was not every message once. After that, --joins clients enter a new server as fast as they can, in rooms of
ten.

The servers, as far as they are installed: this one (--rate 0, its history on disk) with people's lines and with JSON
lines, with --sync full, with --writers per-session, and with people's lines over TLS; Redis, storing each message in a
stream as well as publishing it, and publishing only; the IRC servers ergo (--ergo, with its history in SQLite),
inspircd and ngircd; and scripts/peers/: the floor, the pipeline of threads by itself, an event loop, and the textbook's
threads. At the end come the counts, the stages, and the costs of some dialects and of TLS. With --no-peers, only this
server takes part, once for each --dialect: bench.py --no-peers --cpu --dialect tls,text shows what TLS costs.

With --servers 1,2,4, one server is compared with several that share a PostgreSQL (docs/cluster.rst), also in what a
delivery and a stored message cost.

With --counts or --stages, there is no comparison. --counts prints how many calls, system calls and thread switches a
message costs this server, without timing anything. --stages prints where a message's time goes from thread to thread:
in this server, in the version of it in the folder --before, in the pipeline and in the floor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import textwrap
from typing import Any

import click
from driver import comparison, contenders, counts, machine, secure, servers, stages
from driver.comparison import Comparison
from driver.conductor import new_run
from driver.contenders import Contender, Running
from driver.crowd import Crowd, Outcome, Task, crowd
from driver.worker import Failed, raise_file_limit
from tabulate import tabulate

from chat_threads import streams

OUR_DIALECTS = ("text", "json", "web", "edit", "tls")
WIDTH = 100  # characters in a line
ROOMS_OF = 10  # clients, when they only join
COSTS = (["web", "json"], ["edit", "text"], ["tls", "text"])  # dialects whose costs are compared


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
@click.option(
    "--windows", type=Numbers(), show_default="1,8,64; --counts: 1,64; --stages: 1", help="Messages under way."
)
@click.option(
    "--repeat", type=click.IntRange(1, 100), metavar="N", default=3, show_default=True, help="Runs for each figure."
)
@click.option(
    "--seconds", type=click.FloatRange(0.1, 60), metavar="N", default=1.0, show_default=True, help="Length of a run."
)
@click.option(
    "--dialect",
    type=Dialects(),
    show_default="text; and json if other servers take part",
    help=f"Of the clients of chat_threads: {', '.join(OUR_DIALECTS)}. tls: text over TLS. Several take turns.",
)
@click.option("--peers/--no-peers", default=True, show_default=True, help="Whether the other servers take part.")
@click.option("--only", metavar="NAME,...", help="Only these other servers: redis-stored, ergo, floor and so on.")
@click.option("--ergo", type=click.Path(exists=True, dir_okay=False), help="The binary of the IRC server ergo.")
@click.option(
    "--joins",
    type=click.IntRange(0, 20_000),
    metavar="N",
    default=1000,
    show_default=True,
    help="Clients that join; 0: none do.",
)
@click.option("--cpu", is_flag=True, help="Show microseconds of the server's CPU for a delivery instead.")
@click.option("--counts", "counting", is_flag=True, help="Count calls instead, of this server only.")
@click.option("--stages", "staging", is_flag=True, help="Show where a message's time goes instead.")
@click.option(
    "--before", type=click.Path(exists=True, file_okay=False), help="For the stages: a folder with another version."
)
@click.option("--servers", "several", type=Numbers(), help="Compare one server with several that share a PostgreSQL.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False), help="Write everything to this file.")
@click.option("--page", type=click.Path(exists=True, dir_okay=False), help="Put the tables where this page has them.")
@click.option(
    "--processes", type=click.IntRange(1, 64), metavar="N", default=max(1, machine.cores() - 1), show_default=True
)
def main(
    members: list[int],
    windows: list[int] | None,
    repeat: int,
    seconds: float,
    dialect: list[str] | None,
    peers: bool,
    only: str | None,
    ergo: str | None,
    joins: int,
    cpu: bool,
    counting: bool,
    staging: bool,
    before: str | None,
    several: list[int] | None,
    json_path: str | None,
    page: str | None,
    processes: int,
) -> None:
    raise_file_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped, too
    parts: dict[str, str] = {}  # of the page
    record: dict[str, Any] = {"machine": machine.describe()}
    wrong: list[str] = []

    def compare(part: str, taking_part: list[Contender], remarks: list[str], cpu: bool, sizes: list[int]) -> None:
        """Compare these servers, and print and keep what was found."""
        cells = list(itertools.product(sizes, windows or [1, 8, 64]))
        found = Comparison(taking_part, cells, seconds, cpu, remarks=list(remarks))
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)  # some servers give up being root
            with crowd(processes) as clients:
                talk(found, clients, folder, repeat)
                if joins and not cpu:
                    join(found, clients, folder, repeat, joins)
        what = "Microseconds of the server's CPU for a delivery" if cpu else "Messages delivered a second"
        about = f"{machine.describe()}. {what}, the median of {repeat} runs of {seconds:g} s. Below it, the figure of "
        parts[part] = say(f"{about}{taking_part[0].title} divided by it, and its range.", *found.tables())
        if found.limited:
            click.echo("\n[d]: the driver was the bottleneck; the server may be faster than that.")
        for remark in found.remarks:
            click.echo(f"\n{remark}")
        record[part] = found.record()
        wrong.extend(found.wrong)

    def count(sizes: list[int], under_way: list[int], rounds: int, dialects: list[str]) -> None:
        parts["counts"], record["counts"] = show_counts(sizes, under_way, rounds, dialects)

    def follow(cells: list[tuple[int, int]]) -> None:
        parts["stages"], record["stages"] = show_stages(cells, repeat, before)

    if counting:
        count(members, windows or [1, 64], repeat, dialect or ["text"])
    elif staging:
        follow(list(itertools.product(members, windows or [1])))
    elif several:
        found = compare_servers(several, list(itertools.product(members, windows or [1, 8, 64])), seconds, repeat)
        parts["servers"] = "\n\n".join(say(found.about(cell), found.table(cell)) for cell in found.cells)
        for remark in found.remarks:
            click.echo(remark)
        record["servers"] = found.record()
        wrong.extend(found.wrong)
    elif not peers:
        dialects = dialect or ["text"]
        compare(",".join(dialects), contenders.ours(dialects), [], cpu, members)
    else:
        others, remarks = contenders.peers(ergo)
        if only is not None:
            wanted = only.split(",")
            if missing := set(wanted) - {each.name for each in others}:
                sys.exit(f"bench: {', '.join(sorted(missing))}: not here, or no such server. {' '.join(remarks)}")
            others, remarks = [each for each in others if each.name in wanted], []
        compare("comparison", contenders.ours(dialect or ["text", "json"]) + others, remarks, cpu, members)
        if only is None and not cpu:
            count([min(members), max(members)], [1, 64], 1, ["text"])
            follow([(size, 1) for size in members])
            for pair in [each for each in COSTS if not (secure.WHY_NOT and "tls" in each)]:
                compare(",".join(pair), contenders.ours(pair), [], True, members[1:] or members)
    if json_path:
        comparison.write_json(record, json_path)
    if page:
        put_into(pathlib.Path(page), parts)
    if wrong:
        sys.exit(f"bench: not everything was delivered once by {', '.join(wrong)}.")


def say(about: str, *told: str) -> str:
    """Print what the tables are about, and the tables. Return that."""
    text = "\n\n".join([textwrap.fill(about, WIDTH), *told])
    click.echo(f"{text}\n")
    return text


def put_into(page: pathlib.Path, parts: dict[str, str]) -> None:
    """Replace what stands between ``.. begin PART`` and ``.. end PART``, for each part that the page has."""
    text = page.read_text("utf-8")
    for part, found in parts.items():
        begin, end = f".. begin {part}\n", f".. end {part}\n"
        before, begins, rest = text.partition(begin)
        _, ends, after = rest.partition(end)
        if ends:
            text = f"{before}{begins}\n{found}\n\n{ends}{after}"
    page.write_text(text, "utf-8")


def talk(found: Comparison, clients: Crowd, folder: str, repeat: int) -> None:
    """All servers run, and take turns in each cell."""
    with contextlib.ExitStack() as stack:
        servers: dict[Contender, Running] = {}
        for each in found.servers:
            try:
                servers[each] = stack.enter_context(contenders.running(each, folder))
            except Failed as failed:
                found.remarks.append(f"{failed}.")
        if found.servers[0] not in servers:
            sys.exit(f"bench: {found.remarks[-1]}")
        runs = list(itertools.product(found.cells, range(repeat), found.servers))
        for (members, window), _, each in stack.enter_context(progress(runs, "Measuring")):
            task = Task(0, each.dialect, members, window, found.seconds, new_run(), each.at_once)
            outcome = do(found, clients, each, servers.get(each), task)
            found.talks[each, (members, window)].append(outcome)


def join(found: Comparison, clients: Crowd, folder: str, repeat: int, count: int) -> None:
    """Each time, the server is a new one, so that all memory that it takes is for these clients."""
    runs = list(itertools.product(range(repeat), found.servers))
    with progress(runs, "Joining") as shown:
        for _, each in shown:
            rooms = max(1, count // ROOMS_OF)
            task = Task(0, each.dialect, count, 1, 0.0, new_run(), each.at_once, rooms=rooms)
            with contextlib.suppress(Failed), contenders.running(each, folder) as server:
                found.joins[each].append(do(found, clients, each, server, task))


def do(found: Comparison, clients: Crowd, contender: Contender, server: Running | None, task: Task) -> Outcome | None:
    """One run. None: the server is not there, or failed; a remark says so."""
    if server is None:
        return None
    try:
        outcome = clients.do(dataclasses.replace(task, port=server.port), server.pid)
        contenders.settle(server.pid)
    except Failed as failed:
        found.remarks.append(f"{contender.title} ({task.clients} members, {task.window} under way): {failed}.")
        return None
    return outcome


def compare_servers(several: list[int], cells: list[tuple[int, int]], seconds: float, repeat: int) -> servers.Servers:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return servers.compare(several, cells, seconds, repeat, folder, progress)
        except Failed as failed:
            sys.exit(f"bench: {failed}.")


def progress(runs: list[Any], label: str) -> Any:
    return click.progressbar(runs, label=label, file=sys.stderr)


def show_stages(cells: list[tuple[int, int]], rounds: int, before: str | None) -> tuple[str, list[dict[str, Any]]]:
    """Print the stages of this version, with those of another one and of the peers beside them. Return that, and the
    same for JSON."""
    found: list[stages.Account] = []
    told = []
    try:
        for size, window in cells:
            found += (them := stages.accounts(size, window, rounds, before))
            told.append(stages.table(them))
    except Failed as failed:
        sys.exit(f"bench: {failed}.")
    alone = ", ".join(f"{what} {took:.1f}" for what, took in stages.bare().items())
    told.append(f"By themselves, without anything around them: {alone} microseconds.")
    about = f"{machine.describe()}. Microseconds for one message, by the members and the messages under way."
    return say(about, *told), [dataclasses.asdict(each) for each in found]


def show_counts(
    members: list[int], windows: list[int], repeat: int, dialects: list[str]
) -> tuple[str, list[dict[str, str]]]:
    """Count and print. Return that, and the rows for JSON."""
    rows, remark = [], None if shutil.which("strace") else "strace is not here"
    try:
        for size, window, dialect in itertools.product(members, windows, dialects):
            messages = max(50, 20 * window)
            found = counts.count(size, window, messages, repeat, dialect=dialect)
            try:
                found += [] if remark else counts.count(size, window, messages, repeat, strace=True, dialect=dialect)
            except Failed as failed:
                remark = str(failed)
            rows.append([str(size), str(window), *([dialect] if len(dialects) > 1 else []), *counts.row(found)])
    except Failed as failed:
        sys.exit(f"bench: {failed}.")
    headers = ["members", "under way", *(["dialect"] if len(dialects) > 1 else []), *counts.HEADERS]
    about = f"Python {sys.version.split()[0]}. What a message costs the server, the median of {repeat} rounds."
    told = [
        tabulate(rows, headers, tablefmt="rst", disable_numparse=True, colalign=["right"] * len(headers)),
        "Calls are of Python and C functions, by the threads of each kind; writers also for each delivery.",
    ]
    if remark:
        told.append(f"Calls of futex are not counted: {remark}.")
    return say(about, *told), [dict(zip(headers, row, strict=True)) for row in rows]


if __name__ == "__main__":
    streams.prepare()
    main()
