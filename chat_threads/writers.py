"""The writer threads: they empty the sessions' queues into their sockets.

``Crew`` is a few threads for all sessions. They never wait for a socket: they take all that is queued for a
session, send it in one call, and go on to the next. A session whose socket is full gets a thread of its own,
which may wait, until it has caught up or is cut off.

``OnePerSession`` gives each session its own thread from the start: the textbook layout, to compare.

Either way a session's mailbox has one writer at a time: whoever was told by ``push`` that it was idle
schedules it once, and it stays that writer's until ``collect`` finds it empty.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence

from .errors import TooSlow
from .session import Session

log = logging.getLogger(__name__)

SHARE = 64  # sessions handed to a writer at a time, so that the others get some
CATCH_UP = 1.0  # seconds to wait for the writers before the next batch is queued all the same
GRACE = 1.0  # seconds for the last word of a session that was cut off
SLICE = 0.25  # seconds: how soon a waiting writer sees that its session was cut off


class Writers:
    """What both layouts have in common. Every method may be called by any thread."""

    def __init__(self, send_timeout: float) -> None:
        self.send_timeout = send_timeout
        self._state = threading.Condition()  # its lock guards what follows; no other is taken under it
        self._scheduled = 0  # how often a session was scheduled, so far
        self._written = 0  # how often one was written to since, or its socket found to be full
        self._wanted = 0  # what catch_up waits for _written to reach
        self._threads: set[threading.Thread] = set()
        self._ended: list[threading.Thread] = []  # threads that are done, or are about to be: to be joined
        self._give_up = float("inf")  # monotonic time after which no writer waits for a socket

    def schedule(self, sessions: Sequence[Session]) -> None:
        """These sessions' mailboxes are no longer idle. The caller was told so by ``push``."""
        raise NotImplementedError

    def attend(self, session: Session) -> None:
        """A session begins: called once, before anything is scheduled for it. RuntimeError: no thread."""

    def catch_up(self) -> None:
        """A flush: wait until all that was scheduled so far was handed to the system, or its socket was full."""
        with self._state:
            self._wanted = self._scheduled
            self._state.wait_for(lambda: self._written >= self._wanted, CATCH_UP)

    def hurry(self, seconds: float) -> None:
        """From now on wait no longer than so many seconds for any socket: the server is stopping."""
        with self._state:
            self._give_up = time.monotonic() + seconds

    def stop(self, timeout: float) -> list[str]:
        """End and join all threads, once there is no session left; return the names of those that remain."""
        deadline = time.monotonic() + timeout
        with self._state:
            threads = [*self._threads, *self._ended]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return [thread.name for thread in threads if thread.is_alive()]

    def _start(self, name: str, work: object, *args: object) -> None:
        def run() -> None:
            try:
                work(*args)  # type: ignore[operator]
            finally:
                with self._state:
                    self._threads.discard(thread)
                    self._ended.append(thread)

        thread = threading.Thread(target=run, name=name, daemon=True)
        with self._state:
            self._threads.add(thread)
            ended, self._ended = self._ended, []
        for each in ended:
            each.join()
        try:
            thread.start()
        except RuntimeError:
            with self._state:
                self._threads.discard(thread)
            raise

    def _done(self, count: int) -> None:
        with self._state:
            before = self._written < self._wanted
            self._written += count
            if before and self._written >= self._wanted:
                self._state.notify_all()

    # --- by whoever is the session's writer now -----------------------------------------------------------

    def _write(self, session: Session) -> memoryview | None:
        """Send what is queued, without waiting, until the mailbox is idle. What did not fit is returned, and
        the session is still the caller's; None: it no longer is."""
        while True:
            parcels = session.mailbox.collect()
            if parcels is None:
                if session.mailbox.finished:
                    session.written.set()
                return None
            try:
                if len(parcels) == 1:
                    data = parcels[0].data
                else:
                    data = b"".join([parcel.data for parcel in parcels])
                sent = session.wire.send(data) if data else 0
            except OSError:  # the peer is gone
                session.abandon()
            except Exception:
                log.exception("%s could not be shown something", session)
                session.abandon()
            else:
                if sent < len(data):
                    return memoryview(data)[sent:]

    def _write_waiting(self, session: Session, rest: memoryview | None) -> None:
        """Send ``rest`` and what is queued, waiting where need be, until the mailbox is idle."""
        while rest:
            if not self._send_all(session, rest):
                session.abandon()
            rest = self._write(session)

    def _send_all(self, session: Session, rest: memoryview) -> bool:
        """Send a whole batch within the deadline, which is for all of it; False if it did not go.

        If the session is cut off meanwhile, the line under way is finished and the rest left out.
        """
        deadline = time.monotonic() + self.send_timeout
        shortened = False
        while True:
            if session.mailbox.cut and not shortened:
                shortened = True
                deadline = min(deadline, time.monotonic() + GRACE)
                rest = rest[: rest.tobytes().find(b"\n") + 1]
            if not rest:
                return True
            with self._state:
                give_up = self._give_up
            left = min(deadline, give_up) - time.monotonic()
            if left <= 0:
                if session.reason is None and deadline <= give_up:
                    session.reason = TooSlow(f"what was waiting was not read within {self.send_timeout:g} seconds")
                return False
            if session.wire.wait_writable(min(left, SLICE)):
                try:
                    rest = rest[session.wire.send(rest) :]
                except OSError:
                    return False


class Crew(Writers):
    """``size`` threads that never wait for a socket, and one more for each session that is behind."""

    def __init__(self, size: int, send_timeout: float) -> None:
        super().__init__(send_timeout)
        self._ready: queue.SimpleQueue[Sequence[Session] | None] = queue.SimpleQueue()
        self._size = size
        for number in range(1, size + 1):
            self._start(f"writer-{number}", self._work)

    def schedule(self, sessions: Sequence[Session]) -> None:
        with self._state:
            self._scheduled += len(sessions)
        for at in range(0, len(sessions), SHARE):
            self._ready.put(sessions[at : at + SHARE])

    def stop(self, timeout: float) -> list[str]:
        for _ in range(self._size):
            self._ready.put(None)
        return super().stop(timeout)

    def _work(self) -> None:
        while (sessions := self._ready.get()) is not None:
            try:
                for session in sessions:
                    rest = self._write(session)
                    if rest is not None:
                        self._hire(session, rest)
            finally:  # otherwise the history would wait for these sessions before every batch
                self._done(len(sessions))

    def _hire(self, session: Session, rest: memoryview) -> None:
        try:
            self._start(f"writer-of-{session.number}", self._write_waiting, session, rest)
        except RuntimeError:
            log.error("%s is behind, and no thread could be started for it: cut off", session)
            session.abandon()
            self._write(session)  # nothing is left to send: lets go of the mailbox


class OnePerSession(Writers):
    """A thread for each session, asleep until its session is scheduled."""

    def __init__(self, send_timeout: float) -> None:
        super().__init__(send_timeout)
        self._wake: dict[Session, queue.SimpleQueue[bool]] = {}  # guarded by _state

    def attend(self, session: Session) -> None:
        wake: queue.SimpleQueue[bool] = queue.SimpleQueue()
        with self._state:
            self._wake[session] = wake
        try:
            self._start(f"writer-of-{session.number}", self._work, session, wake)
        except RuntimeError:
            with self._state:
                del self._wake[session]
            raise

    def schedule(self, sessions: Sequence[Session]) -> None:
        with self._state:
            self._scheduled += len(sessions)
            wakes = [self._wake[session] for session in sessions]
        for wake in wakes:
            wake.put(True)

    def _work(self, session: Session, wake: queue.SimpleQueue[bool]) -> None:
        while not session.written.is_set():
            wake.get()
            rest = self._write(session)
            self._done(1)  # nobody waits for it while it waits for its reader
            self._write_waiting(session, rest)
        with self._state:
            del self._wake[session]
