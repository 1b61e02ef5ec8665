"""No thread ends unnoticed: an exception that gets out of one ends the server.

A thread catches what it expects, close to where that happens. Anything else ends the thread, and a server without its
history, its acceptor or a writer would live on and answer nobody. So main is told and ends the whole: a supervisor
starts it again, and nothing that was acknowledged is lost.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

RESERVE = 1 << 21  # bytes, given back when a thread breaks: to stop needs memory, and its lack may be the reason


class Ends:
    """Used in a ``with`` statement: notices the first exception that gets out of any thread meanwhile."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """``wake`` is called by the thread that ends; it may fail, so look at ``broken`` now and then, too."""
        self._wake = wake
        self._reserve: bytes | None = bytes(RESERVE)
        self.broken: tuple[str, BaseException | None] | None = None  # the thread's name, and why; set by that thread

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
        """That thread ended, or has to. Only the first counts."""
        self._reserve = None
        if self.broken is None:
            self.broken = name, error
        self._wake()
