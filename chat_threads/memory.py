"""The most that the server holds in memory for all its clients together; docs/reliability.rst has all bounds."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

MB = 1 << 20
PAUSE = 0.1  # seconds from one relief to the next, so that what a writer still has in hand then is freed
LARGE = 1 << 17  # bytes of a block that lies outside of malloc's heap
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h


@dataclass(frozen=True, slots=True)
class Shares:
    """How --memory is shared out, in bytes."""

    output: int  # what waits to be sent
    recent: int  # the newest messages of the rooms
    refs: int  # what became of the requests under tokens

    @classmethod
    def of(cls, megabytes: int) -> Shares:
        """Half of it for output, a quarter for each of the others."""
        return cls(megabytes * MB // 2, megabytes * MB // 4, megabytes * MB // 4)


class Held:
    """Some bytes that wait to be sent: they count until this is freed. Any thread may have it, or let go of it."""

    __slots__ = ("size", "_note")

    def __init__(self, size: int, note: Callable[[int], object]) -> None:
        self.size = size
        self._note = note
        note(size)

    def resize(self, size: int) -> None:
        """It has turned out to be so many bytes."""
        self._note(size - self.size)
        self.size = size

    def __del__(self) -> None:
        self._note(-self.size)


class Output:
    """How many bytes wait to be sent to all sessions together, and what happens when that are more than ``most``.

    What is sent to many sessions counts once. ``relieve(bytes)`` is to let go of at least so much; it is called every
    PAUSE seconds at most, and no lock is held then.
    """

    def __init__(
        self,
        most: float = float("inf"),
        relieve: Callable[[int], object] = lambda excess: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._relieve = relieve
        self._clock = clock
        # What was made and freed since somebody looked. A deque, as its append takes no lock: something may be freed
        # under any lock.
        self._changes: deque[int] = deque()
        self._lock = threading.Lock()  # guards the two below; nothing is called while it is held
        self._total = 0
        self._relief_at = 0.0  # when there may be the next relief

    def hold(self, size: int) -> Held:
        """So many bytes more, until what this returns is freed. Takes no lock."""
        return Held(size, self._changes.append)

    def total(self) -> int:
        """How many bytes there are now."""
        with self._lock:
            while self._changes:
                self._total += self._changes.popleft()
            return self._total

    def check(self) -> None:
        """Whoever has added something calls this, without a lock: if there is too much, let go of some."""
        excess = self.total() - self._most
        if excess <= 0:
            return
        with self._lock:
            now = self._clock()
            if now < self._relief_at:
                return
            self._relief_at = now + PAUSE
        self._relieve(int(excess))


def give_back_what_is_freed() -> None:
    """Have glibc's malloc give freed memory back to the system; elsewhere nothing. Before any thread is started.

    It makes eight heaps for each processor, and what was freed in one is of no use to the threads of the others:
    threads that hold the interpreter's lock do not allocate at the same time, so one heap is enough. Large blocks lie
    outside of it, so that they leave no holes; by itself malloc puts ever larger ones into the heap.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(ImportError, OSError, AttributeError):  # no ctypes; another libc
            import ctypes

            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_ARENA_MAX, 1)
            mallopt(_M_MMAP_THRESHOLD, LARGE)
            mallopt(_M_TRIM_THRESHOLD, 8 * LARGE)
