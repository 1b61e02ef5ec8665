"""How fast a client may send: the cost of each request, and the bucket of tokens that pays for it.

A token stands for at most about half a millisecond of processor time. So at the default ``--rate`` of 20 tokens a
second, one client can use a hundredth of a processor, whatever it asks for, and twenty clients can use a fifth.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from .rules import TEXT_LENGTH

PAGE = 2  # tokens for each page of messages that is shown on entering a room
BLANKS = 500  # blank lines that cost one token
BIG = 1 << 18  # characters sent, over all members of a room, for which a message costs one more token
CROWD = BIG // TEXT_LENGTH  # members of a room; with fewer, no message costs more than its command
SHOWN = 1 << 17  # bytes of an answer, or of a page, that cost one more token
CODE = 14  # characters of an address whose QR code costs one token
TABLE = 1 << 12  # bytes in a table that cost one more token, because the width of each character is measured
COMPARED = 50  # messages that a search compares, for one more token
LONGEST_SEARCH = 200  # tokens, however many messages it compares: a person waits ten seconds for them
LONGEST_WAIT = 3600.0  # seconds for a token, however small the rate


def cost_of_saying(text: str, members: int) -> int:
    """The cost of sending a text to ``members`` members, beyond the cost of the command."""
    return len(text) * members // BIG


def cost_of_lines(text: str) -> int:
    """The cost of a text of several lines, beyond the command: each line as much as if it were sent alone, because
    the queues of those who read it are bounded in lines."""
    return text.count("\n")


def cost_of_showing(size: int) -> int:
    """The cost of an answer of ``size`` bytes, beyond the cost of the command."""
    return size // SHOWN


def cost_of_table(rows: Iterable[Iterable[str]]) -> int:
    """The cost of a table with these cells, beyond the command and ``cost_of_showing``."""
    return sum(len(cell.encode("utf-8", "replace")) for row in rows for cell in row) // TABLE


def cost_of_comparing(messages: int) -> int:
    """The cost of a search that compares so many messages, beyond the command."""
    return min(messages // COMPARED, LONGEST_SEARCH)


def cost_of_code(url: str) -> int:
    """The cost of making the QR code of an address, beyond the command."""
    return len(url) // CODE


class Pace:
    """A token bucket: a client gets ``burst`` tokens at once and ``rate`` a second in the long run (0: no limit)."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.tokens = float(burst)  # in the bucket when ``pay`` was last called; may be negative
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._at = clock()

    def pay(self, tokens: float) -> float:
        """Take tokens; return the seconds to wait until the bucket is no longer negative."""
        if not self._rate:
            return 0.0
        now = self._clock()
        had = self.tokens + (now - self._at) * self._rate
        self.tokens = (had if had < self._burst else self._burst) - tokens
        self._at = now
        return 0.0 if self.tokens >= 0 else min(-self.tokens / self._rate, LONGEST_WAIT)


class Seldom:
    """Limits a log line about an event that may happen without end. Any thread may call it."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic, times: int = 1) -> None:
        """At most ``times`` log lines in each span of ``seconds``."""
        self._seconds = seconds
        self._clock = clock
        self._times = times
        self._lock = threading.Lock()  # guards the three below
        self._next = clock()  # when ``times`` lines may follow again
        self._left = 0  # lines that may be logged until then
        self._unsaid = 0

    def happens(self) -> int:
        """Count an event. Return 0 if it should not be logged now; otherwise the events since the last log line,
        including this one."""
        now = self._clock()
        with self._lock:
            self._unsaid += 1
            if now >= self._next:
                self._next, self._left = now + self._seconds, self._times
            if not self._left:
                return 0
            self._left -= 1
            count, self._unsaid = self._unsaid, 0
            return count
