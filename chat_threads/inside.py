"""What every thread is doing at this moment, for whoever asks.

Each thread has a ``Slot``, which it alone sets and others read as a whole: an attribute that holds a tuple is seen
old or new, never half. The slots stand in a dict, of which single operations only are used, so none of this takes
a lock: it can be told while any thread is stuck with any lock.

In the slots there are names of threads and of what they do, never what is said.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Container
from typing import Any, cast

Depth = tuple[int, int | None]  # what waits in a queue now, and the most that ever did, if that is known

_slots: dict[int, Slot] = {}  # by the thread's ident


class Slot:
    """What one thread is doing. ``doing`` is the words and, by time.monotonic(), since when; the thread sets it."""

    __slots__ = ("ident", "name", "role", "doing", "session", "depth")

    def __init__(self, role: str, doing: str, session: Any, depth: Callable[[], Depth] | None) -> None:
        thread = threading.current_thread()
        self.ident = threading.get_ident()
        self.name = thread.name
        self.role = role
        self.doing = (doing, time.monotonic())
        self.session = session  # whom it works for, opaque
        self.depth = depth  # of the queue that it empties, or whose emptying it waits for


def enter(role: str, doing: str, session: Any = None, depth: Callable[[], Depth] | None = None) -> Slot:
    """The calling thread begins: its slot, to be given back with ``leave``."""
    slot = Slot(role, doing, session, depth)
    _slots[slot.ident] = slot
    return slot


def does(what: str) -> None:
    """The calling thread does something else from now on; nothing, if it has no slot."""
    slot = _slots.get(threading.get_ident())
    if slot:
        slot.doing = (what, time.monotonic())


def leave() -> None:
    """The calling thread is about to end."""
    _slots.pop(threading.get_ident(), None)


def run(role: str, doing: str, work: Callable[[], object]) -> None:
    """Do some work with a slot that says one thing all the time: what a simple thread's ``target`` calls."""
    enter(role, doing)
    try:
        work()
    finally:
        leave()


def slots() -> list[Slot]:
    """The slots of all threads that have one."""
    return list(_slots.values())


def places(idents: Container[int]) -> dict[int, str]:
    """Where in this package each of these threads is, by its ident: "publisher.py:291 subscribe". Takes no lock."""
    found = {}
    for ident, frame in sys._current_frames().items():
        if ident not in idents:
            continue
        at = frame
        while at is not None:
            package, _, module = at.f_globals.get("__name__", "").partition(".")
            if package == __package__ and at.f_code.co_filename != __file__:
                found[ident] = f"{module.replace('.', '/')}.py:{at.f_lineno} {at.f_code.co_name}"
                break
            at = at.f_back  # type: ignore[assignment]
    return found


class CountedLock:
    """A threading.Lock that counts; only used when it is asked for, for counting costs more than the lock does.

    Whoever holds the lock sets the numbers; others read them as they are, without it.
    """

    def __init__(self, name: str, lock: threading.Lock) -> None:
        self.name = name
        self.taken = 0
        self.contended = 0  # how often somebody else had it
        self.waited = 0.0  # seconds, in all
        self.longest = 0.0  # seconds that it was held
        self.holder: tuple[str, float] | None = None  # the thread that has it, and since when
        self.observe: Callable[[float, float, float], None] | None = None  # (asked, had, released), after that
        self._lock = lock
        self._asked = 0.0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        asked = had = time.monotonic()
        if not self._lock.acquire(False):
            if not blocking or not self._lock.acquire(True, timeout):
                return False
            had = time.monotonic()
            self.contended += 1
            self.waited += had - asked
        self.taken += 1
        self._asked = asked
        self.holder = (threading.current_thread().name, had)
        return True

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


Count = Callable[[threading.Lock], threading.Lock]  # what is done to a lock before it is used


def uncounted(lock: threading.Lock) -> threading.Lock:
    """The lock as it is."""
    return lock


class Locks:
    """The locks that /locks shows, in the order in which they are made."""

    def __init__(self, counted: bool = False) -> None:
        self.counted = counted
        self.made: list[CountedLock] = []

    def count(self, name: str) -> Count:
        """What makes a lock, of which nothing is known, one that counts, under that name."""

        def counted(lock: threading.Lock) -> threading.Lock:
            self.made.append(CountedLock(name, lock))
            return cast(threading.Lock, self.made[-1])

        return counted if self.counted else uncounted

    def named(self, name: str) -> CountedLock:
        """The counted lock of that name; raise StopIteration."""
        return next(lock for lock in self.made if lock.name == name)
