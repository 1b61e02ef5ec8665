"""Numbers for a monitoring system: what is counted, and how Prometheus reads it.

A client library would take a lock for each message. Here the parts of the server keep plain numbers, each changed by
one thread, or under a lock that is held anyway. ``service.metrics`` reads them when it is asked, so a message costs
nothing more. A counter never falls while the server runs.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from .errors import NotAllowed

BOUNDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram of commits, in seconds; SQLite waits up to 5 s for another program's lock."""

RATE_OVER = 10  # seconds over which the rate of messages is averaged
LEFT = "left"  # the reason of a client that left by itself, or whose connection broke
_BEGAN = time.time()  # about when the process began


class MetricsNotShown(NotAllowed):
    """The numbers are for connections from the server's own machine, and from the addresses of --metrics-from."""

    fact = "Only connections from the server's own machine may see the metrics."
    advice = "Start the server with --metrics-from and your address, or ask on that machine."


class Commits:
    """How the history's commits went. The history thread alone changes it. Any thread reads each attribute as a
    whole."""

    def __init__(self) -> None:
        self.messages = 0  # committed since the start
        self.failed = 0  # commits that failed
        self.failure: tuple[float, str] | None = None  # of the last commit: when, by time.monotonic(), and why
        self.seconds = 0.0  # that all commits took, with those that failed
        self.within = [0] * (len(BOUNDS) + 1)  # commits by the first of BOUNDS that they took at most; the last: longer
        # The last seconds in which there were messages, oldest first, each with the messages before it.
        self.before: tuple[tuple[int, int], ...] = ()
        self._next_second = 0

    def took(self, began: float, ended: float, messages: int, failure: str = "") -> None:
        """Count a commit from ``began`` to ``ended``, by time.monotonic(). With ``failure`` it stored nothing."""
        self.seconds += ended - began
        self.within[bisect_left(BOUNDS, ended - began)] += 1
        if failure:
            self.failed += 1
            self.failure = ended, failure
            return
        if ended >= self._next_second and messages:
            second = int(ended)
            self._next_second = second + 1
            self.before = (*self.before[-RATE_OVER:], (second, self.messages))
        self.messages += messages
        self.failure = None

    def per_second(self) -> float:
        """Messages committed a second, averaged over the last RATE_OVER whole seconds. Any thread."""
        this = int(time.monotonic())
        messages = self.messages  # first: if a second begins meanwhile, ``before`` has it, with its number
        seconds = self.before

        def until(second: int) -> int:
            return next((before for begun, before in seconds if begun >= second), messages)

        return (until(this) - until(this - RATE_OVER)) / RATE_OVER


@dataclass
class LogNumbers:
    """How far a server in a cluster is with the servers' common log. The history thread alone changes it. Any thread
    reads each attribute as a whole."""

    position: int = 0  # of the last row that it has read and stored
    behind: int = 0  # rows that the log had more than that, when the server last looked
    appends: int = 0  # rows that it has appended
    retries: int = 0  # tries to append a row that failed
    seconds: float = 0.0  # that all of these took
    appended_at: float = 0.0  # when it last appended a row, in seconds since 1970; 0: it has not yet


@dataclass
class Traffic:
    """What all connections have done so far: those that are here, and those that have ended."""

    begun: int = 0
    ended: Counter[str] = field(default_factory=Counter)  # by the code of the reason
    lines: int = 0  # taken from mailboxes, to be sent
    sent: int = 0  # bytes
    here: Counter[str] = field(default_factory=Counter)  # by the dialect's name
    behind: int = 0  # sessions that a writer of their own serves, because their sockets were full


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: a number, or one for each value of a label."""

    name: str
    kind: str  # "counter" or "gauge"
    help: str
    value: float | Mapping[str, float]
    label: str = ""


def text(metrics: Iterable[Metric], prefix: str = "") -> str:
    """The metrics in Prometheus's text format. No label has a character that would have to be escaped."""
    lines = []
    for metric in metrics:
        name = prefix + metric.name
        lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}"]
        if isinstance(metric.value, Mapping):
            lines += [f'{name}{{{metric.label}="{of}"}} {value}' for of, value in metric.value.items()]
        else:
            lines.append(f"{name} {metric.value}")
    return "".join(line + "\n" for line in lines)


def histogram(name: str, help: str, commits: Commits) -> str:
    """The histogram of the commits' times. Its buckets contain one another, as Prometheus wants them."""
    within = list(accumulate(commits.within))
    buckets = [
        f'{name}_bucket{{le="{bound}"}} {count}\n' for bound, count in zip((*BOUNDS, "+Inf"), within, strict=True)
    ]
    head = f"# HELP {name} {help}\n# TYPE {name} histogram\n"
    return f"{head}{''.join(buckets)}{name}_sum {commits.seconds}\n{name}_count {within[-1]}\n"


def process() -> Iterator[Metric]:
    """The numbers of the process that the system tells; Linux tells most."""
    yield Metric("process_cpu_seconds_total", "counter", "Processor time of the process.", time.process_time())
    yield Metric("process_start_time_seconds", "gauge", "When it began, in seconds since 1970.", _BEGAN)
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open("/proc/self/statm", "rb") as file:
            virtual, resident = (int(pages) * os.sysconf("SC_PAGE_SIZE") for pages in file.read().split()[:2])
        yield Metric("process_virtual_memory_bytes", "gauge", "Address space.", virtual)
        yield Metric("process_resident_memory_bytes", "gauge", "Memory in use.", resident)
    with contextlib.suppress(OSError):
        # From Linux 6.2 on, the directory's size is the number of open files. Listing it takes the interpreter's lock
        # anew for each of them, which is too slow with thousands of clients.
        if files := os.stat("/proc/self/fd").st_size:
            yield Metric("process_open_fds", "gauge", "Open file descriptors.", files)
    with contextlib.suppress(ImportError):  # Windows
        import resource

        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if most != resource.RLIM_INFINITY:
            yield Metric("process_max_fds", "gauge", "Allowed file descriptors.", most)
    yield Metric("process_threads", "gauge", "Threads of the process.", threading.active_count())
