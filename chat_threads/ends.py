"""No thread ends unnoticed: an exception that gets out of one ends the server.

A thread catches what it expects, close to where that happens. Anything else ends the thread, and a server without its
history, its acceptor or a writer would live on and answer nobody. So main is told and ends the whole: a supervisor
starts it again, and nothing that was acknowledged is lost.

Without memory even telling main may fail, and a thread that cannot begin leaves whoever started it waiting for ever.
So main also looks at the threads that serve everybody, once a second.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

RESERVE = 1 << 21  # bytes, given back when a thread breaks: to stop needs memory, and its lack may be the reason
STUCK = 10  # looks, one a second, at which a thread was where it had been, after which it counts as broken

Vital = tuple[threading.Thread, int | None]
"""A thread without which the server answers nobody, and a number that is another one after each step that is bounded,
however many steps it has to do; None while it may take any time, as one does that waits for work, or for the disk."""


class Ends:
    """Used in a ``with`` statement: notices the first exception that gets out of any thread meanwhile."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """``wake`` is called by the thread that ends; it may fail, so look at ``broken`` now and then, too."""
        self._wake = wake
        self._reserve: bytes | None = bytes(RESERVE)
        self.broken: tuple[str, BaseException | None] | None = None  # the thread's name, and why; set by any thread
        self.told = False  # main's: whether it has said so
        self._looks: dict[str, tuple[int | None, int]] = {}  # main's: by name, where it was, and for how many looks

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
        """A thread that breaks before it begins is ignored by Python, and whoever started it would wait for ever."""
        thread = getattr(unraisable.object, "__self__", None)
        if isinstance(thread, threading.Thread):
            self.broke(thread.name, unraisable.exc_value)
        elif "thread started by" in (unraisable.err_msg or ""):  # Python 3.13 does not say which
            self.broke("that was to begin", unraisable.exc_value)
        else:
            self._before[1](unraisable)

    def broke(self, name: str, error: BaseException | None) -> None:
        """That thread ended, or has to. Only the first counts. Any thread."""
        self._reserve = None
        if self.broken is None:
            self.broken = name, error
        with contextlib.suppress(MemoryError):  # main looks once a second
            self._wake()

    def look(self, threads: Iterable[Vital]) -> None:
        """Main's, once a second of its own, of which a process that is stopped counts none: whether they go on."""
        for thread, at in threads:
            if not thread.is_alive():
                self.broke(thread.name, None)
            before, looks = self._looks.get(thread.name, (None, 0))
            looks = looks + 1 if at is not None and at == before else 0
            self._looks[thread.name] = at, looks
            if looks >= STUCK:
                self.broke(thread.name, TimeoutError("it is stuck"))

    def why(self) -> str:
        """What broke, in words; "" if nothing did."""
        if self.broken is None:
            return ""
        name, error = self.broken
        return f"the thread {name} ended: {type(error).__name__ if error else 'nobody knows why'}"
