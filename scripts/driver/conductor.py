"""The driver's main process: it starts the workers, lets them begin together, and gathers their results."""

from __future__ import annotations

import contextlib
import multiprocessing
import secrets
import socket
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, cast

from . import machine, worker
from .checks import OneOrder, Tally
from .histogram import Histogram
from .plan import Plan, clock
from .worker import Failed, Interval, Report

LEAD = 0.2  # seconds from "go" to the start, so that all processes have received it
SILENCE = 60.0  # seconds after which a silent process is given up
BUSY = 0.9  # of a core, or of all cores: above this, the driver may be the bottleneck
ROUND = 1000  # microseconds; a shorter round over the clients does not affect latencies


@dataclass
class Row:
    """One interval of the run, for all processes together."""

    sent: int = 0
    delivered: int = 0
    latencies: Histogram = field(default_factory=Histogram)


@dataclass
class Result:
    """The results of a run. Times are in seconds unless noted."""

    plan: Plan
    connected: int
    connecting: float
    sent: int
    tally: Tally
    latencies: Histogram  # microseconds
    rows: list[Row]  # one for each interval, including the time after the end of sending
    reports: list[Report]
    server: machine.Usage | None  # resources that the server's process had used at the end
    server_cpu: float | None  # of a core, during the run
    cores_busy: float | None  # of all cores of the machine; 1.0: all of them all the time

    @property
    def measured(self) -> list[Row]:
        """The rows of the time in which messages were sent."""
        return self.rows[: self.plan.intervals]

    @property
    def deliveries_per_second(self) -> float:
        return sum(row.delivered for row in self.measured) / (self.plan.intervals * self.plan.interval)

    def count(self, name: str) -> int:
        """The sum of one of the reports' counts."""
        return sum(getattr(report, name) for report in self.reports)

    @property
    def troubles(self) -> list[str]:
        """The server's complaints, each line once."""
        return list(dict.fromkeys(line for report in self.reports for line in report.troubles))

    @property
    def clean(self) -> bool:
        """Whether messages arrived, and all of them."""
        whole = self.tally.clean and not self.count("cut_off") and not self.count("unsent")
        return whole and self.tally.delivered > 0

    @property
    def bottleneck(self) -> list[str]:
        """Why the driver may have been the bottleneck; empty: it was not."""
        reasons = []
        busiest = max(report.cpu for report in self.reports)
        typical = self.latencies.percentile(50)
        rounds = max(report.round for report in self.reports)
        if busiest >= BUSY:
            reasons.append(f"a process of the driver used {busiest:.0%} of a core: take more --processes")
        if typical is not None and rounds > ROUND and rounds > typical / 2:
            reasons.append(
                f"going once round its clients took the driver {rounds / 1000:.1f} ms: so much of the latency"
            )
        return reasons

    @property
    def shared(self) -> float | None:
        """The share of a core that the driver took from the server, if all cores were busy."""
        if self.cores_busy is None or self.cores_busy < BUSY:
            return None
        return sum(report.cpu for report in self.reports)


@dataclass
class Watching:
    """Progress for display: the number of connected clients, and the seconds of the run so far."""

    connected: Callable[[int], None] = lambda count: None
    running: Callable[[float], None] = lambda seconds: None


def new_run() -> str:
    """Letters and digits that, very probably, no other run has."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(6))


def resolve(host: str, port: int) -> tuple[int, tuple[Any, ...]]:
    """The family and address to connect to: the first at which a server answers. Raises Failed."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise Failed(f"there is no host {host}: {getattr(error, 'strerror', error)}") from None
    why: OSError | None = None
    for family, _, _, _, address in found:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(10)
            try:
                sock.connect(address)
            except OSError as error:
                why = error
            else:
                return family, address
    assert why
    raise Failed(f"nobody answers at {host} port {port}: {why.strerror or why}")


def conduct(plan: Plan, server: int | None = None, watching: Watching | None = None) -> Result:
    """Do the run; ``server`` is the process to measure. Raises Failed."""
    with _processes(plan) as pipes:
        return _Conductor(plan, pipes, server, watching or Watching()).run()


@contextlib.contextmanager
def _processes(plan: Plan) -> Iterator[list[Connection]]:
    context = multiprocessing.get_context("spawn")
    processes = []
    pipes: list[Connection] = []
    try:
        for number in range(plan.processes):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=worker.main, args=(plan, number, theirs), name=f"load-{number}", daemon=True
            )
            process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
        yield pipes
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(2)
            if process.is_alive():
                process.terminate()
                process.join()


class _Conductor:
    def __init__(self, plan: Plan, pipes: list[Connection], server: int | None, watching: Watching) -> None:
        self.plan = plan
        self.pipes = pipes
        self.server = server
        self.watching = watching
        self.start: int | None = None
        self.rows: dict[int, Row] = {}
        self.tally = Tally()
        self.orders = {
            room: OneOrder(max(1000, worker.PLACES // plan.rooms))
            for room in range(plan.rooms if plan.rooms < plan.processes and plan.senders > 1 else 0)
        }
        self.places = {(process, room): -1 for process in range(plan.processes) for room in self.orders}

    def run(self) -> Result:
        began = clock()
        self._gather("connected", lambda counts: sum(counts.values()) == self.plan.clients)
        connecting = (clock() - began) / 1e6
        start = clock() + int(LEAD * 1e6)
        self._tell("start", start)
        self.start = start
        asked, before, busy = clock(), self._server(), machine.cores_busy()
        sent: dict[int, int] = {}
        for counts in self._gather("sent").values():
            sent.update(counts)
        elapsed, after, busy_share = clock() - asked, self._server(), _share(busy, machine.cores_busy())
        self._tell("totals", sent)
        reports = list(self._gather("done").values())
        for report in reports:
            self.tally.add(report.tally)
        rows = [self.rows.get(number, Row()) for number in range(max(self.rows, default=0) + 1)]
        latencies = Histogram()
        for row in rows:
            latencies.merge(row.latencies)
        return Result(
            plan=self.plan,
            connected=self.plan.clients,
            connecting=connecting,
            sent=sum(sent.values()),
            tally=self.tally,
            latencies=latencies,
            rows=rows,
            reports=reports,
            server=after,
            server_cpu=(after.cpu - before.cpu) * 1e6 / elapsed if before and after else None,
            cores_busy=busy_share,
        )

    def _server(self) -> machine.Usage | None:
        return machine.usage(self.server) if self.server else None

    def _tell(self, what: str, value: object) -> None:
        for pipe in self.pipes:
            with contextlib.suppress(OSError):  # the process has ended: the next _gather reports it
                pipe.send((what, value))

    def _gather(self, wanted: str, enough: Callable[[dict[int, Any]], bool] = lambda found: True) -> dict[int, Any]:
        """Wait until every process has sent the wanted message; return the last messages, by the processes' numbers."""
        found: dict[int, Any] = {}
        heard = clock()
        while len(found) < len(self.pipes) or not enough(found):
            if self.start is not None:
                self.watching.running(min(self.plan.duration, max(0.0, (clock() - self.start) / 1e6)))
            ended = found if wanted == "done" else ()  # these have closed their pipes
            listening = {pipe: process for process, pipe in enumerate(self.pipes) if process not in ended}
            ready = cast("list[Connection]", wait(listening, 0.1))
            if ready:
                heard = clock()
            elif clock() - heard > (SILENCE + self.plan.patience + self.plan.duration) * 1e6:
                raise Failed("a process of the driver no longer says anything")
            for pipe in ready:
                process = listening[pipe]
                try:
                    said, value = pipe.recv()
                except (EOFError, OSError):
                    raise Failed("a process of the driver ended before its time") from None
                if said == "failed":
                    raise Failed(self._in_so_far(found, value))
                if said == "interval":
                    self._add(process, value)
                elif said == wanted:
                    found[process] = value
                    if said == "connected":
                        self.watching.connected(sum(found.values()))
        return found

    def _in_so_far(self, found: dict[int, Any], why: str) -> str:
        count = sum(value for value in found.values() if isinstance(value, int))
        return f"about {count} of {self.plan.clients} clients got in, then: {why}"

    def _add(self, process: int, interval: Interval) -> None:
        row = self.rows.setdefault(interval.number, Row())
        row.sent += interval.sent
        row.delivered += interval.delivered
        row.latencies.add(interval.counts, interval.longest)
        for room, news in interval.orders.items():
            self._compare(process, room, news)

    def _compare(self, process: int, room: int, news: list[tuple[int, int]]) -> None:
        """Compare the order that one process saw with that of the others."""
        for sender, number in news:
            position = self.orders[room].position(sender, number)
            if position is not None:
                if position < self.places[process, room]:
                    self.tally.out_of_order += 1
                self.places[process, room] = max(position, self.places[process, room])


def _share(before: tuple[float, float] | None, after: tuple[float, float] | None) -> float | None:
    """The share of the time between two samples in which the cores were busy."""
    if not before or not after:
        return None
    busy, idle = after[0] - before[0], after[1] - before[1]
    return busy / (busy + idle) if busy + idle else None
