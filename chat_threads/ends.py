"""No thread ends unnoticed: an uncaught exception in any thread ends the server.

A thread catches the exceptions that it expects, close to their source. Any other exception ends the thread. A server
without its history thread, its acceptor or a writer would stay alive and answer nobody. So the main thread is notified
and ends the server. A supervisor starts it again, and nothing that was acknowledged is lost.

If memory runs out, even that notice may fail. And if a thread cannot begin, the thread that started it waits for ever.
So main also checks the threads that serve everybody, once a second.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

RESERVE = 1 << 21  # bytes, freed when a thread breaks, because stopping needs memory
STUCK = 10  # checks, one a second, without a step of a thread before it counts as broken

Vital = tuple[threading.Thread, int | None]
"""A thread that the server needs to answer anybody, and a number that changes with each bounded step of the thread. The
number is None while the thread may take any time, because it waits for work or for the disk."""


class Ends:
    """A context manager that notices the first uncaught exception in any thread."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """``wake`` is called by the thread that ends. It may fail, so also check ``broken`` now and then."""
        self._wake = wake
        self._reserve: bytes | None = bytes(RESERVE)
        self.broken: tuple[str, BaseException | None] | None = None  # the thread's name, and why; set by any thread
        self.told = False  # main's: whether it has reported the fault
        self._looks: dict[str, tuple[int | None, int]] = {}  # main's: by name, its number, for how many checks

    def __enter__(self) -> Ends:
        self._before = threading.excepthook, sys.unraisablehook
        threading.excepthook, sys.unraisablehook = self._thread_broke, self._ignored
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        threading.excepthook, sys.unraisablehook = self._before

    def _thread_broke(self, args: Any) -> None:
        self.broke(args.thread.name if args.thread else "unknown", args.exc_value)

    def _ignored(self, unraisable: Any) -> None:
        """Python ignores an exception in a thread that has not begun, and its starter would wait for ever."""
        thread = getattr(unraisable.object, "__self__", None)
        if isinstance(thread, threading.Thread):
            self.broke(thread.name, unraisable.exc_value)
        elif "thread started by" in (unraisable.err_msg or ""):  # Python 3.13 does not say which thread
            self.broke("that was to begin", unraisable.exc_value)
        else:
            self._before[1](unraisable)

    def broke(self, name: str, error: BaseException | None) -> None:
        """This thread has ended, or has to. Only the first one counts. Any thread may call this."""
        self._reserve = None
        if self.broken is None:
            self.broken = name, error
        with contextlib.suppress(MemoryError):  # main checks once a second
            self._wake()

    def look(self, threads: Iterable[Vital]) -> None:
        """Check that the threads are alive and make progress. Main calls this once a second while the process runs."""
        for thread, at in threads:
            if not thread.is_alive():
                self.broke(thread.name, None)
            before, looks = self._looks.get(thread.name, (None, 0))
            looks = looks + 1 if at is not None and at == before else 0
            self._looks[thread.name] = at, looks
            if looks >= STUCK:
                self.broke(thread.name, TimeoutError("it is stuck"))

    def why(self) -> str:
        """Which thread broke and why, in words; "" if none did."""
        if self.broken is None:
            return ""
        name, error = self.broken
        return f"the thread {name} ended: {type(error).__name__ if error else 'nobody knows why'}"
