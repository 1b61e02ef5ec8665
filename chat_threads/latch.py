"""An event that happens once. Each session has a few, and mostly nobody, or one thread, waits for them."""

from __future__ import annotations

import queue


class Latch:
    """As a threading.Event, but it cannot be cleared, and takes an eighth of its 1,500 bytes. Any thread may call any
    method."""

    __slots__ = ("_set", "_bell")

    def __init__(self) -> None:
        self._set = False  # set once, by any thread
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()  # has an item when it is set

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        """It has happened: wake all threads that wait."""
        if not self._set:
            self._set = True
            self._bell.put(None)

    def wait(self, timeout: float) -> bool:
        """Wait until it happens, at most ``timeout`` seconds; return whether it has."""
        if not self._set and timeout > 0:
            try:
                self._bell.get(timeout=timeout)
            except queue.Empty:
                return self._set
            self._bell.put(None)  # for the next thread that waits
        return self._set
