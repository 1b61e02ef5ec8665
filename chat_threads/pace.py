"""How fast a client may go: what each request costs, and the bucket of tokens that it is paid from.

A token is about half a millisecond of a processor at most. At the usual ``--rate`` of 20 tokens a second a client can
so keep the server busy for a hundredth of the time, whatever it asks for, and twenty clients for a fifth.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from .commands import Command

PAGE = 2  # tokens for each page of what was said that is shown on entering a room
BLANKS = 500  # blank lines for a token
BIG = 1 << 18  # characters to be sent to all members of a room together, for which what is said costs a token more
SHOWN = 1 << 17  # bytes of an answer, or of a page, for which it costs a token more
TABLE = 1 << 12  # bytes in a table, for which it costs a token more: each letter is measured
LONGEST_WAIT = 3600.0  # seconds for a token, however small the rate


def cost(command: object) -> int:
    """What it costs to obey a command, or to tell a mistake, in tokens."""
    return command.row.cost if isinstance(command, Command) else 1


def cost_of_saying(text: str, members: int) -> int:
    """What it costs to have a text shown to so many, beyond the token for saying it."""
    return len(text) * members // BIG


def cost_of_showing(size: int) -> int:
    """What it costs to be shown so many bytes, beyond what was paid for the request."""
    return size // SHOWN


def cost_of_table(rows: Iterable[Iterable[str]]) -> int:
    """What it costs to be shown a table with these cells, beyond the request and ``cost_of_showing``."""
    return sum(len(cell.encode("utf-8", "replace")) for row in rows for cell in row) // TABLE


class Pace:
    """A token bucket: a client has ``burst`` tokens at once and ``rate`` a second in the long run; 0: any number."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._at = clock()

    def pay(self, tokens: int) -> None:
        """Take tokens, more than there are if need be."""
        if self._rate:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - tokens
            self._at = now

    def delay(self) -> float:
        """How many seconds to wait until what was taken is there."""
        return min(max(0.0, -self._tokens / self._rate), LONGEST_WAIT) if self._rate else 0.0


class Seldom:
    """For what may happen without end and is to be said now and then. Any thread may call it."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Seconds between two times that it is said."""
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()  # guards the two below
        self._next = clock()
        self._unsaid = 0

    def happens(self) -> int:
        """0: not to be said now; otherwise how often it has happened since it was said, this time included."""
        now = self._clock()
        with self._lock:
            self._unsaid += 1
            if now < self._next:
                return 0
            self._next = now + self._seconds
            count, self._unsaid = self._unsaid, 0
            return count
