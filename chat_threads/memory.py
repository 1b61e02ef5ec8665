"""Bounds on the memory that the server holds for all clients together; docs/reliability.rst lists all bounds."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

MB = 1 << 20
PAUSE = 0.1  # seconds between two calls of relieve, so that writers can free the parcels in their hands
LARGE = 1 << 17  # bytes from which malloc puts a block outside its heap
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h


@dataclass(frozen=True, slots=True)
class Shares:
    """How --memory is divided, in bytes."""

    output: int  # output that waits to be sent

    recent: int  # the newest messages of the rooms
    refs: int  # the results of requests with a ref

    @classmethod
    def of(cls, megabytes: int) -> Shares:
        """Half for output, a quarter for each of the others."""
        return cls(megabytes * MB // 2, megabytes * MB // 4, megabytes * MB // 4)


class Held:
    """Bytes that wait to be sent. They count until this object is freed. Any thread may hold or free it."""

    __slots__ = ("size", "_note")

    def __init__(self, size: int, note: Callable[[int], object]) -> None:
        self.size = size
        self._note = note
        note(size)

    def __del__(self) -> None:
        self._note(-self.size)


class Output:
    """Counts the bytes that wait to be sent to all sessions, and acts when there are more than ``most``.

    Bytes for many sessions count once. ``relieve(bytes)`` has to free at least that many; it is called at most every
    PAUSE seconds, without a lock.
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
        # Bytes made (+) and freed (-) since the last call of total(). A deque, because its append takes no lock: a
        # Held may be freed while its thread holds any lock.
        self._changes: deque[int] = deque()
        self.note = self._changes.append  # for a Held; any thread
        self._lock = threading.Lock()  # guards the two below; nothing is called while it is held
        self._total = 0
        self._relief_at = 0.0  # the earliest time of the next call of relieve

    def hold(self, size: int) -> Held:
        """Count ``size`` more bytes, until the returned object is freed. Takes no lock."""
        return Held(size, self.note)

    def total(self) -> int:
        """The number of bytes that wait now."""
        with self._lock:
            while self._changes:
                self._total += self._changes.popleft()
            return self._total

    def check(self) -> None:
        """Free memory if too much waits. Called after adding output, without a lock."""
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
    """Make glibc's malloc return freed memory to the system. No effect on other systems. Call before any thread starts.

    By default malloc makes up to eight heaps for each processor, and memory freed in one heap cannot be used in
    another. One heap is enough, because only the thread with the interpreter's lock allocates. Large blocks are kept
    outside the heap, so that they leave no holes in it; by default malloc puts larger and larger blocks into it.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(ImportError, OSError, AttributeError):  # no ctypes; another libc
            import ctypes

            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_ARENA_MAX, 1)
            mallopt(_M_MMAP_THRESHOLD, LARGE)
            mallopt(_M_TRIM_THRESHOLD, 8 * LARGE)
