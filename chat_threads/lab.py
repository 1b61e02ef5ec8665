"""Faults for a class to look at. --lab allows them; everybody gets a notice, and each fault ends after its time.

Each fault has a thread of its own, ``lab-publisher``, ``lab-history`` or ``lab-slow-N``. It makes the fault, waits, and
ends the fault.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable

from . import inside
from .errors import BadFault

MOST = 60.0  # seconds that a fault lasts at most
SLOWEST = 10_000  # milliseconds for one send at most


Over = Callable[[], None]  # called when a fault is over
_End = queue.SimpleQueue[None]


def _wait(end: _End, seconds: float) -> None:
    with contextlib.suppress(queue.Empty):
        end.get(timeout=seconds)


class UnknownFault(BadFault):
    """A fault that does not exist."""

    fact = "The faults are slow NAME, pause publisher, and pause history; off ends them."


class FaultTooSlow(BadFault):
    """A send can be slowed by 1 to ``limit`` milliseconds."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"A send can be slowed by 1 to {limit} ms; 0 ends that.")
        self.limit = limit


class FaultTooLong(BadFault):
    """A fault lasts up to ``limit`` seconds."""

    def __init__(self, limit: float) -> None:
        super().__init__(f"A fault lasts 1 to {limit:g} s.")
        self.limit = limit


class FaultUnderWay(BadFault):
    """A fault is made once at a time."""

    fact = "That fault is under way already."


class NotSlow(BadFault):
    """A delay that is to end has not begun, or has ended."""

    fact = "What is sent to that person is not slowed down."


class NoFaultUnderWay(BadFault):
    """All faults have ended, or none has begun."""

    fact = "No fault is under way."


class FaultWithoutThread(BadFault):
    """A fault needs a thread, and the system gives no more."""

    fact = "No thread could be started for that."


class Faults:
    """The faults under way. Any thread may call any method."""

    def __init__(self, publisher_lock: Callable[[], inside.CountedLock]) -> None:
        self._publisher = publisher_lock
        self._history_runs = threading.Event()
        self._history_runs.set()
        self._delays: dict[int, float] = {}  # seconds, by the session's number; single operations only
        self._lock = threading.Lock()  # guards the attributes below; nothing is called under it
        self._stopping = False
        self._threads: dict[str, threading.Thread] = {}
        self._ends: dict[str, _End] = {}  # the queues that make them end early

    def pause_publisher(self, seconds: float, over: Over) -> None:
        """Hold the Publisher's lock, as no other code may. ``over`` is called at the end. Raise BadFault."""

        def hold(end: _End) -> None:
            with self._publisher():
                _wait(end, seconds)

        self._start("lab-publisher", f"holds the Publisher for {seconds:g} s", hold, seconds, over)

    def pause_history(self, seconds: float, over: Over) -> None:
        """Stop the history thread before its next batch. Raise BadFault."""

        def hold(end: _End) -> None:
            self._history_runs.clear()
            _wait(end, seconds)
            self._history_runs.set()

        self._start("lab-history", f"holds the history for {seconds:g} s", hold, seconds, over)

    def slow(self, number: int, milliseconds: int, over: Over) -> None:
        """Delay every send to this session by so much, for MOST seconds. Raise BadFault."""
        if not 1 <= milliseconds <= SLOWEST:
            raise FaultTooSlow(SLOWEST)

        def hold(end: _End) -> None:
            self._delays[number] = milliseconds / 1000
            _wait(end, MOST)
            del self._delays[number]

        self._start(f"lab-slow-{number}", f"makes sends take {milliseconds} ms", hold, MOST, over)

    def slow_no_more(self, number: int) -> None:
        """End the delay of every send to this session. Raise NotSlow."""
        with self._lock:
            end = self._ends.get(f"lab-slow-{number}")
        if end is None:
            raise NotSlow()
        end.put(None)

    def end_all(self) -> None:
        """End all faults. Raise NoFaultUnderWay."""
        with self._lock:
            ends = list(self._ends.values())
        if not ends:
            raise NoFaultUnderWay()
        for end in ends:
            end.put(None)

    def _start(self, name: str, doing: str, work: Callable[[_End], None], seconds: float, over: Over) -> None:
        if not 0 < seconds <= MOST:
            raise FaultTooLong(MOST)

        end: _End = queue.SimpleQueue()

        def work_and_tell() -> None:
            work(end)
            with self._lock:
                del self._threads[name], self._ends[name]
            over()

        thread = threading.Thread(target=inside.run, args=("lab", doing, work_and_tell), name=name, daemon=True)
        with self._lock:
            if name in self._threads or self._stopping:
                raise FaultUnderWay()
            self._threads[name] = thread
            self._ends[name] = end
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                del self._threads[name], self._ends[name]
            raise FaultWithoutThread() from None

    def hold_history(self) -> None:
        """Called by the history thread: wait while it is paused."""
        if not self._history_runs.is_set():
            inside.does("is paused by /lab")
            self._history_runs.wait()

    def delay(self, number: int) -> float:
        """Seconds to wait before the next send to a session."""
        return self._delays.get(number, 0.0)

    def stop(self, timeout: float) -> list[str]:
        """End all faults and their threads; return the names of threads that remain."""
        deadline = time.monotonic() + timeout
        with self._lock:
            self._stopping = True
            threads, ends = list(self._threads.values()), list(self._ends.values())
        for end in ends:
            end.put(None)
        for thread in threads:
            if thread.ident:  # otherwise it is about to start, and will find the end mark
                thread.join(max(0.0, deadline - time.monotonic()))
        return [thread.name for thread in threads if thread.is_alive()]
