"""Events that show the server itself: its threads and locks, the trip of a message, and its numbers.

All are frozen, so any thread may read them without a lock.
"""

from __future__ import annotations

from dataclasses import dataclass

from .event import Event, OneLine


@dataclass(frozen=True, slots=True)
class StatsShown(OneLine, Event):
    version: str
    uptime: float  # seconds
    sessions: int
    rooms: int
    stored: int
    threads: int
    per_second: float  # messages, mean of the last ten seconds
    log_position: int | None = None  # this and the next three: only in a cluster, see metrics.LogNumbers
    log_behind: int | None = None
    log_appends: int | None = None
    log_retries: int | None = None


@dataclass(frozen=True, slots=True)
class ThreadRow:
    thread: str
    role: str
    session: str | None  # its name
    doing: str
    seconds: float  # for how long it has been doing that
    where: str  # file, line and function
    waiting: int | None  # in its queue, or its session's: lines, batches or messages
    most: int | None  # the highest number so far
    lines: int | None  # lines that the session's writer has taken
    bytes: int | None  # bytes sent to the session
    lock: str | None = None  # that it waits for; only counted locks are known
    holder: str | None = None  # the thread that has this lock now
    held: float | None = None  # seconds, until now


@dataclass(frozen=True, slots=True)
class ThreadList(Event):
    """What every thread is doing; ``more`` counts the readers that were left out."""

    threads: tuple[ThreadRow, ...]
    more: int

    @property
    def lines(self) -> int:
        return 3 + sum(3 if row.lock else 2 for row in self.threads)


@dataclass(frozen=True, slots=True)
class LockRow:
    lock: str
    taken: int
    contended: int  # how often a thread had to wait for it, with those that wait now
    waited: float  # seconds, in all, until now
    longest: float  # seconds that it was held
    holder: str | None  # the thread that has it now
    held: float | None  # seconds, until now
    waiting: tuple[str, ...] = ()  # threads that wait for it now, in the order in which they came; 100 at most


@dataclass(frozen=True, slots=True)
class LockList(Event):
    """How the locks were used. ``counted``: whether the server counts lock use."""

    counted: bool
    locks: tuple[LockRow, ...]

    @property
    def lines(self) -> int:
        return 3 + len(self.locks) + sum(len(row.waiting) for row in self.locks)


@dataclass(frozen=True, slots=True)
class Stages:
    """When a message was put into the history's queue, taken from it, committed and published: milliseconds since it
    was received. None: not yet, or never."""

    queued: float | None
    taken: float | None
    committed: float | None
    published: float | None


@dataclass(frozen=True, slots=True)
class MemberTrip:
    name: str
    queued: float  # milliseconds since the message was received
    written: float | None  # None: not yet, or never


@dataclass(frozen=True, slots=True)
class TripShown(Event):
    """A message's way through the threads: the stages, and then each member."""

    room: str
    number: int
    sender: str
    stages: Stages
    members: tuple[MemberTrip, ...]
    more: int

    @property
    def lines(self) -> int:
        return 8 + len(self.members)


@dataclass(frozen=True, slots=True)
class Pong(OneLine, Event):
    """The answer to a ping. ``through``: seconds through the server's queue and back; ``network``: TCP's own
    estimate of the round trip in seconds, where the system tells it."""

    through: float
    network: float | None


@dataclass(frozen=True, slots=True)
class MetricsShown(Event):
    """The numbers in the text format of Prometheus, version 0.0.4; its lines end with LF."""

    text: str

    @property
    def size(self) -> int:
        return len(self.text)


@dataclass(frozen=True, slots=True)
class HealthShown(OneLine, Event):
    """``text`` is "ok", or the reason why the server cannot store or serve, in a sentence."""

    healthy: bool
    text: str
