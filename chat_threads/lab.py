"""Faults to look at, for a class: --lab allows them, everybody is told, and they are off when the time is up.

Each is a thread of its own, ``lab-publisher``, ``lab-history`` or ``lab-slow-N``, that makes the fault, waits, and
takes it back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from . import inside
from .errors import BadFault

MOST = 60.0  # seconds that a fault lasts
SLOWEST = 10_000  # milliseconds for one send


class Faults:
    """What is wrong on purpose now. Every method may be called by any thread."""

    def __init__(self, publisher_lock: threading.Lock) -> None:
        self._publisher = publisher_lock
        self._stopping = threading.Event()
        self._history_runs = threading.Event()
        self._history_runs.set()
        self._delays: dict[int, float] = {}  # seconds, by the session's number; single operations only
        self._lock = threading.Lock()  # guards _threads; nothing is called while it is held
        self._threads: dict[str, threading.Thread] = {}

    def pause_publisher(self, seconds: float, over: Callable[[], None]) -> None:
        """Hold the Publisher's lock, as no code of ours ever should. ``over`` is called in the end; raise BadFault."""

        def hold() -> None:
            with self._publisher:
                self._stopping.wait(seconds)

        self._start("lab-publisher", f"holds the Publisher for {seconds:g} s", hold, seconds, over)

    def pause_history(self, seconds: float, over: Callable[[], None]) -> None:
        """Stop the history thread before its next batch; raise BadFault."""

        def hold() -> None:
            self._history_runs.clear()
            self._stopping.wait(seconds)
            self._history_runs.set()

        self._start("lab-history", f"holds the history for {seconds:g} s", hold, seconds, over)

    def slow(self, number: int, milliseconds: int, over: Callable[[], None]) -> None:
        """Let every send to this session take so much longer, for MOST seconds; raise BadFault."""
        if not 1 <= milliseconds <= SLOWEST:
            raise BadFault(f"A send can be made to take 1 to {SLOWEST} ms.")

        def hold() -> None:
            self._delays[number] = milliseconds / 1000
            self._stopping.wait(MOST)
            del self._delays[number]

        self._start(f"lab-slow-{number}", f"makes sends take {milliseconds} ms", hold, MOST, over)

    def _start(self, name: str, doing: str, work: Callable[[], None], seconds: float, over: Callable[[], None]) -> None:
        if not 0 < seconds <= MOST:
            raise BadFault(f"A fault lasts up to {MOST:g} s.")

        def work_and_tell() -> None:
            work()
            with self._lock:
                del self._threads[name]
            over()

        thread = threading.Thread(target=inside.run, args=("lab", doing, work_and_tell), name=name, daemon=True)
        with self._lock:
            if name in self._threads or self._stopping.is_set():
                raise BadFault("That fault is under way already.")
            self._threads[name] = thread
        thread.start()

    def hold_history(self) -> None:
        """The history thread's: wait here while it is paused."""
        if not self._history_runs.is_set():
            inside.does("is paused by /lab")
            self._history_runs.wait()

    def delay(self, number: int) -> float:
        """How many seconds to wait before the next send to a session."""
        return self._delays.get(number, 0.0)

    def stop(self, timeout: float) -> list[str]:
        """Take all faults back, and end their threads; return the names of those that remain."""
        self._stopping.set()
        deadline = time.monotonic() + timeout
        with self._lock:
            threads = list(self._threads.values())
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return [thread.name for thread in threads if thread.is_alive()]
