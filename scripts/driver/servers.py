"""Several servers that share a PostgreSQL, compared with one server without: bench.py --servers.

All of them run all the time, and take turns. A message that is under way has a sender; there are as many senders as the
largest number of servers, or as there are messages under way. Each sender is in a room of its own. The members of each
room are spread over the servers, and so are the senders.

Each server stores each message. So there are two costs: of the servers' CPU, and of PostgreSQL's, for a delivery, and
for a message that a server stores.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tabulate import tabulate

from . import contenders, machine
from .comparison import short
from .conductor import new_run
from .crowd import BUSY, Outcome, Task, crowd
from .worker import Failed

Cell = tuple[int, int]  # members, and messages under way
HEADERS = [
    *("servers", "deliveries/s", "ratio", "ms", "99 %", "others", "99 %"),
    *("us/delivery", "us/stored", "PG/delivery", "PG/message"),
]
ABOUT = """{machine}, PostgreSQL {version}, which syncs. {cell}: the medians of {rounds} runs of {seconds:g} s.
Ratio: the deliveries of one server without PostgreSQL divided by these, in the same round, and its range. Times are in
milliseconds, the median and the 99th percentile: until the sender has its message, and until a member on another server
has it. Costs are microseconds of CPU: of all servers, for a delivery, and for a message that a server stores; of
PostgreSQL, for a delivery and a message."""


@dataclass(frozen=True, slots=True)
class Setup:
    """As many servers as ``count`` says, which share a PostgreSQL; 0: one server without it."""

    count: int

    @property
    def title(self) -> str:
        return str(self.count) if self.count else "1, alone"

    @property
    def copies(self) -> int:
        return max(1, self.count)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a setup. ``engine``: seconds of PostgreSQL's CPU. ``elsewhere``: of a run
    that measured the time until members on another server had a message."""

    outcome: Outcome
    engine: float
    elsewhere: Outcome | None


@dataclass
class Servers:
    """What was found, by setup and cell: one run for each round; None: it failed."""

    setups: Sequence[Setup]
    cells: Sequence[Cell]
    seconds: float
    rounds: int
    version: str = ""
    runs: defaultdict[tuple[Setup, Cell], list[Run | None]] = field(default_factory=lambda: defaultdict(list))
    remarks: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        return [
            f"{setup.title} servers ({members} members, {window} under way)"
            for (setup, (members, window)), runs in self.runs.items()
            if any(run and (run.outcome.wrong or (run.elsewhere and run.elsewhere.wrong)) for run in runs)
        ]

    def about(self, cell: Cell) -> str:
        told = f"{cell[0]} members, {cell[1]} under way"
        about = ABOUT.format(
            machine=machine.describe(), version=self.version, cell=told, rounds=self.rounds, seconds=self.seconds
        )
        return " ".join(about.split())

    def table(self, cell: Cell) -> str:
        rows = [self._row(setup, cell) for setup in self.setups]
        return tabulate(rows, HEADERS, tablefmt="rst", disable_numparse=True, colalign=["left", *["right"] * 10])

    def _row(self, setup: Setup, cell: Cell) -> list[str]:
        runs = [run for run in self.runs[setup, cell] if run]
        if not runs:
            return [setup.title, *["-"] * 10]

        def middle(of: Callable[[Run], float | None], digits: int = 2) -> str:
            found = [figure for figure in map(of, runs) if figure is not None]
            return f"{statistics.median(found):.{digits}f}" if found else "-"

        def elsewhere(percent: float) -> Callable[[Run], float | None]:
            return lambda run: 1000 * run.elsewhere.latency(percent) if run.elsewhere else None

        rate = short(statistics.median(run.outcome.delivered / self.seconds for run in runs))
        driver = statistics.median(run.outcome.cpu for run in runs) >= BUSY
        return [
            *(setup.title, f"{rate} [d]" if driver else rate, self._ratio(setup, cell)),
            *(middle(lambda run, at=percent: 1000 * run.outcome.latency(at)) for percent in (50, 99)),  # type: ignore[misc]
            *(middle(elsewhere(percent)) for percent in (50, 99)),
            middle(lambda run: 1e6 * (run.outcome.server_cpu or 0) / max(1, run.outcome.in_all)),
            middle(lambda run: 1e6 * (run.outcome.server_cpu or 0) / max(1, run.outcome.sent * setup.copies), 0),
            middle(lambda run: 1e6 * run.engine / max(1, run.outcome.in_all) if setup.count else None),
            middle(lambda run: 1e6 * run.engine / max(1, run.outcome.sent) if setup.count else None, 0),
        ]

    def _ratio(self, setup: Setup, cell: Cell) -> str:
        pairs = zip(self.runs[self.setups[0], cell], self.runs[setup, cell], strict=True)
        found = [one.outcome.delivered / other.outcome.delivered for one, other in pairs if one and other]
        if setup is self.setups[0] or not found:
            return ""
        return f"{statistics.median(found):.2f} ({min(found):.2f}-{max(found):.2f})"

    def record(self) -> dict[str, Any]:
        def each(run: Run | None) -> dict[str, Any] | None:
            if run is None:
                return None
            found: dict[str, Any] = {
                "deliveries_per_s": run.outcome.delivered / self.seconds,
                "in_all": run.outcome.in_all,
            }
            found |= {"sent": run.outcome.sent, "server_cpu_s": run.outcome.server_cpu, "engine_cpu_s": run.engine}
            found |= {f"p{percent}_ms": 1000 * run.outcome.latency(percent) for percent in (50, 99)}
            if run.elsewhere:
                found |= {f"elsewhere_p{percent}_ms": 1000 * run.elsewhere.latency(percent) for percent in (50, 99)}
            return found

        return {
            f"{setup.title}: {members}x{window}": [each(run) for run in runs]
            for (setup, (members, window)), runs in self.runs.items()
        }


def compare(
    counts: Sequence[int], cells: Sequence[Cell], seconds: float, rounds: int, folder: str, progress: Callable[..., Any]
) -> Servers:
    """Start all servers, and let them take turns. Raises Failed."""
    try:
        from engine import Postgres, children, programs
    except ImportError:
        raise Failed("several servers need psycopg. Install it: pip install 'chat_threads[cluster]'") from None
    bin = programs()
    if bin is None:
        raise Failed("several servers need PostgreSQL. Install Debian's package postgresql")
    found = Servers([Setup(0), *map(Setup, counts)], cells, seconds, rounds)
    with contextlib.ExitStack() as stack:
        engine = Postgres(bin, syncs=True)
        stack.callback(engine.remove)
        found.version = str(engine.execute("postgres", "SHOW server_version")[0][0]).split()[0]
        servers = {setup: stack.enter_context(_running(setup, engine, folder)) for setup in found.setups}

        def engine_cpu() -> float:
            pids = [engine.process.pid, *children(engine.process.pid)]
            return sum(usage.cpu for usage in map(machine.usage, pids) if usage)

        runs = list(itertools.product(cells, range(rounds), found.setups))
        for cell, _, setup in stack.enter_context(progress(runs, "Measuring")):
            try:
                run = _run(cell, seconds, max(counts), servers[setup], setup.count, engine_cpu)
            except Failed as failed:
                found.remarks.append(f"{setup.title} servers, {cell[0]} members, {cell[1]} under way: {failed}.")
                run = None
            found.runs[setup, cell].append(run)
            for server in servers[setup]:
                contenders.settle(server.pid)
    return found


@contextlib.contextmanager
def _running(setup: Setup, engine: Any, folder: str) -> Iterator[list[contenders.Running]]:
    """The servers of a setup, during the ``with`` block."""
    [ours] = contenders.ours(["text"])
    if setup.count:
        url = engine.url(engine.new_database())
        ours = dataclasses.replace(ours, name=f"of{setup.count}", command=(*ours.command, "--cluster", url))
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contenders.running(ours, folder)) for _ in range(setup.copies)]


def _run(
    cell: Cell,
    seconds: float,
    most: int,
    servers: Sequence[contenders.Running],
    count: int,
    engine_cpu: Callable[[], float],
) -> Run:
    members, window = cell
    senders = min(window, most)

    def once(meter: int) -> tuple[Outcome, float]:
        """``meter``: see Task."""
        readings: list[float] = []

        def usage() -> machine.Usage | None:
            readings.append(engine_cpu())
            found = [usage for usage in (machine.usage(server.pid) for server in servers) if usage]
            return machine.Usage(sum(each.cpu for each in found), sum(each.memory for each in found), 0)

        ports = [server.port for server in servers]
        tasks = []
        for sender in range(senders):
            first, *others = ports[sender % len(ports) :] + ports[: sender % len(ports)]
            task = Task(first, "text", max(2, members // senders), window // senders, seconds, new_run())
            tasks.append(dataclasses.replace(task, others=tuple(others), meter=meter))
        with crowd(senders, apart=True) as clients:
            return clients.do_each(tasks, usage), readings[-1] - readings[-2]

    outcome, used = once(0)
    return Run(outcome, used, once(1)[0] if count > 1 else None)
