"""Lends each thing to one thread at a time, in the order of asking: the connections that read the history."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from .latch import Latch

T = TypeVar("T")

LOOK = 0.25  # seconds after which a waiting thread checks whether it still has to wait


class _Place(Generic[T]):
    """A place in the line, and the thing that is lent to it when its turn comes."""

    def __init__(self) -> None:
        self.thing: T | None = None  # what is lent to it; guarded by the lock of Readers until ``come`` is set
        self.come = threading.Event()  # set when its turn has come


class Readers(Generic[T]):
    """Lends things in the order in which threads ask. Any thread may take one, and gives it back afterwards."""

    def __init__(self, things: Iterable[T] = ()) -> None:
        self._lock = threading.Lock()  # guards the two below; nothing is called under it
        self._spare = list(things)
        self._line: deque[_Place[T]] = deque()  # empty if something is spare

    def take(self, timeout: float, unless: Latch | None = None) -> T | None:
        """Wait for a thing. Return None after ``timeout`` seconds, or within LOOK seconds after ``unless`` is set."""
        place: _Place[T] = _Place()
        with self._lock:
            if self._spare:
                return self._spare.pop()
            self._line.append(place)
        deadline = time.monotonic() + timeout
        while not place.come.wait(min(LOOK, max(0.0, deadline - time.monotonic()))):
            if time.monotonic() >= deadline or (unless is not None and unless.is_set()):
                with self._lock:
                    if place.thing is None:
                        self._line.remove(place)
                break  # otherwise the turn came at the last moment
        return place.thing

    def give(self, thing: T) -> None:
        """Give a thing back, or add one. The first in the line gets it."""
        with self._lock:
            place = self._line.popleft() if self._line else None
            if place is None:
                self._spare.append(thing)
            else:
                place.thing = thing
        if place is not None:
            place.come.set()
