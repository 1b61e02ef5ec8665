"""A thread that is started without waiting for it.

``Thread.start`` of the standard library waits until the new thread has run its first steps. For these, the new thread
needs the interpreter's lock, which this thread releases meanwhile and then has to get back. While hundreds of clients
come at once, their readers all wait for that lock, and so the acceptor would spend most of its time in ``start``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from .latch import Latch

T = TypeVar("T")

FOR_EVER = 1e6  # seconds


class _Begun(Latch):
    """What a Thread sets when it begins, and what its ``start`` waits for. Here, this wait returns at once."""

    __slots__ = ()

    def wait(self, timeout: float = 0.0) -> bool:
        return self.is_set()

    def really_wait(self, timeout: float) -> bool:
        return super().wait(timeout)

    def _at_fork_reinit(self) -> None:
        """In a process that was forked, there is no such thread any more."""


class StartedThread(threading.Thread, Generic[T]):
    """A daemon thread that does ``work(what)``. Its ``start`` returns at once, perhaps before it has an ``ident``.

    It raises RuntimeError or MemoryError, as in the standard library, if the system cannot start one more thread.
    """

    def __init__(self, work: Callable[[T], object], what: T, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._what = what
        # The attribute is not documented. If a later version of Python does not use it, ``start`` waits as usual.
        self._started = self._begun = _Begun()

    def run(self) -> None:
        self._begun.set()  # in case the standard library has not set it
        self._work(self._what)  # one argument, because Python would call *args with half a kilobyte more of the C stack

    def wait_for_its_beginning(self) -> None:
        """Wait as ``start`` does in the standard library."""
        self._begun.really_wait(FOR_EVER)

    def join(self, timeout: float | None = None) -> None:
        """As in the standard library, but it waits until the thread has begun, too."""
        if self._begun.really_wait(FOR_EVER if timeout is None else timeout):
            super().join(timeout)

    def is_alive(self) -> bool:
        """Whether it has not ended yet. Call this after ``start``."""
        return not self._begun.is_set() or super().is_alive()
