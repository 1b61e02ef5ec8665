"""What every thread is doing at this moment, for /threads and /locks.

Each thread has a ``Slot``. Only that thread sets the slot's attributes. Other threads read each attribute as a whole:
they see the old tuple or the new one, never half of each. The slots are in a dict, and the code uses only single
operations on it. So nothing here takes a lock, and it works even while any thread is stuck with any lock.

The slots hold names of threads and of their activities, never the text of a message.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Container
from typing import Any, cast

Depth = tuple[int, int | None]  # items that wait in a queue now, and the most that ever did, if that is known

INPUT = "waits for input"  # what a reader does most of the time

_slots: dict[int, Slot] = {}  # by the thread's ident


class Slot:
    """One thread's activity. ``doing`` has the words, and since when by time.monotonic(); the thread sets it."""

    __slots__ = ("ident", "name", "role", "doing", "session", "depth")

    def __init__(self, role: str, doing: str, session: Any, depth: Callable[[], Depth] | None) -> None:
        thread = threading.current_thread()
        self.ident = threading.get_ident()
        self.name = thread.name
        self.role = role
        self.doing = (doing, time.monotonic())
        self.session = session  # the session that it works for; opaque here
        self.depth = depth  # of the queue that it empties, or that it waits for

    def does(self, what: str) -> None:
        """For this thread: as ``inside.does``, without looking for the slot."""
        self.doing = (what, time.monotonic())


def enter(role: str, doing: str, session: Any = None, depth: Callable[[], Depth] | None = None) -> Slot:
    """Make a slot for the calling thread; ``leave`` removes it."""
    slot = Slot(role, doing, session, depth)
    _slots[slot.ident] = slot
    return slot


def does(what: str) -> None:
    """Say what the calling thread does from now on. No effect if it has no slot."""
    slot = _slots.get(threading.get_ident())
    if slot:
        slot.doing = (what, time.monotonic())


def leave() -> None:
    """Remove the slot of the calling thread, which is about to end."""
    _slots.pop(threading.get_ident(), None)


def run(role: str, doing: str, work: Callable[[], object]) -> None:
    """Do some work under a slot with one constant activity: the ``target`` of a simple thread."""
    enter(role, doing)
    try:
        work()
    finally:
        leave()


def slot_of(thread: threading.Thread) -> Slot | None:
    """The slot of a thread; None if it has none."""
    return _slots.get(thread.ident or 0)


def slots() -> list[Slot]:
    """The slots of all threads that have one."""
    return list(_slots.values())


def places(idents: Container[int]) -> dict[int, str]:
    """Where in this package each of these threads is, by ident: "publisher.py:291 subscribe". Takes no lock. A thread
    that waits for a latch is where it asked for that."""
    found = {}
    for ident, frame in sys._current_frames().items():
        if ident not in idents:
            continue
        at = frame
        while at is not None:
            package, _, module = at.f_globals.get("__name__", "").partition(".")
            if package == __package__ and module not in ("inside", "latch"):
                found[ident] = f"{module.replace('.', '/')}.py:{at.f_lineno} {at.f_code.co_name}"
                break
            at = at.f_back  # type: ignore[assignment]
    return found


Waiter = tuple[str, float]  # a thread's name, and since when it waits, by time.monotonic()


class CountedLock:
    """A threading.Lock that counts its uses. Used only on request, because counting costs more than the lock.

    The thread that holds the lock sets the numbers; other threads read them without the lock. A thread that has to wait
    puts itself among the waiting ones, and takes itself away afterwards.
    """

    def __init__(self, name: str, lock: threading.Lock) -> None:
        self.name = name
        self.taken = 0
        self.contended = 0  # acquisitions that had to wait for another thread
        self.waited = 0.0  # seconds in total
        self.longest = 0.0  # seconds, the longest time that it was held
        self.holder: tuple[str, float] | None = None  # the thread that holds it, and since when
        self._waiting: dict[int, Waiter] = {}  # by the thread's ident; each sets its own; single operations
        self.observe: Callable[[float, float, float], None] | None = None  # after release: (asked, had, released)
        self._lock = lock
        self._asked = 0.0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        asked = had = time.monotonic()
        if not self._lock.acquire(False):
            if not blocking or not self._wait(timeout):
                return False
            had = time.monotonic()
            self.contended += 1
            self.waited += had - asked
        self.taken += 1
        self._asked = asked
        self.holder = (threading.current_thread().name, had)
        return True

    def _wait(self, timeout: float) -> bool:
        thread = threading.current_thread()
        self._waiting[threading.get_ident()] = (thread.name, time.monotonic())
        try:
            return self._lock.acquire(True, timeout)
        finally:
            del self._waiting[threading.get_ident()]

    def waiting(self) -> dict[int, Waiter]:
        """The threads that wait for it now by their idents, in the order in which they came. Takes no lock."""
        return self._waiting.copy()

    def release(self) -> None:
        assert self.holder is not None
        asked, had, released = self._asked, self.holder[1], time.monotonic()
        self.longest = max(self.longest, released - had)
        self.holder = None
        self._lock.release()
        if self.observe:
            self.observe(asked, had, released)

    def locked(self) -> bool:
        return self._lock.locked()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *args: object) -> None:
        self.release()


Count = Callable[[threading.Lock], threading.Lock]  # wraps a lock before it is used, or returns it as it is


def uncounted(lock: threading.Lock) -> threading.Lock:
    """The lock as it is."""
    return lock


class Locks:
    """The locks that /locks shows, in the order in which they are made."""

    def __init__(self, counted: bool = False) -> None:
        self.counted = counted
        self.made: list[CountedLock] = []

    def count(self, name: str) -> Count:
        """Return the function that turns a plain lock into a counted lock with that name."""

        def counted(lock: threading.Lock) -> threading.Lock:
            self.made.append(CountedLock(name, lock))
            return cast(threading.Lock, self.made[-1])

        return counted if self.counted else uncounted

    def named(self, name: str) -> CountedLock:
        """The counted lock of that name. Raises StopIteration."""
        return next(lock for lock in self.made if lock.name == name)
