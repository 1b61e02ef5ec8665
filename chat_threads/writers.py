"""The writer threads empty the sessions' queues into their sockets.

``Crew`` is a few threads for all sessions. They never wait for a socket. They take everything that is queued for a
session, send it in one call, and go on to the next session. A session whose socket is full gets a thread of its own.
That thread may wait, until the session has caught up or is cut off.

``OnePerSession`` gives each session a thread of its own from the start. It is the textbook layout, for comparison.

At most one thread at a time writes to a session's socket. ``Wire.send`` does not check this; three rules make it so.

1. A session always has the same writer, which serves its sessions one after the other (``schedule``).
2. Only that writer calls ``Mailbox.hold``. From then on it finds nothing to collect, and only the session's own thread
   writes. (With OnePerSession they are the same thread.)
3. The session's own thread gives the mailbox back only when the mailbox is empty (``collect_held``).

A client without a writer is the exception: the acceptor refuses it, or its reader says that no writer could be started.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, repeat
from typing import Any

from . import inside
from .disconnects import TooSlow
from .ends import Vital
from .mailbox import OPEN, Life, Mailbox
from .parcel import Parcel
from .session import SECURED, Session

log = logging.getLogger(__name__)

MANY = 32  # sessions that the writers have left; with fewer, the history waits for them
FLUSH_TIMEOUT = 1.0  # seconds to wait for the writers; then the next batch is queued anyway
GRACE = 1.0  # seconds to send the last words of a session that was cut off
JOINED = 2  # ended threads that are joined whenever another one is started, so that they never pile up
TOGETHER = 8  # mailboxes that a writer empties at a time, under their lock
NONE_SEALED: Iterable[bytes] = repeat(b"")  # no wire has taken anything beforehand
SLICE = 0.25  # seconds within which a waiting writer notices that its session was cut off


class Unsent:
    """A batch of parcels of which the socket has taken ``sent`` bytes, maybe none, and ``left`` are left. Belongs to
    the thread that sends it."""

    def __init__(self, parcels: Sequence[Parcel], left: bytes, sent: int) -> None:
        self.left = memoryview(left)
        self._sent = sent
        self._ends = [0, *accumulate(len(parcel.data) for parcel in parcels)]  # where each parcel ends

    def took(self, sent: int) -> None:
        """The socket has taken ``sent`` more bytes."""
        self.left = self.left[sent:]
        self._sent += sent

    def finish_parcel(self) -> None:
        """Leave out everything after the parcel under way. That parcel is kept, because a client cannot read half of
        it."""
        end = self._ends[bisect_left(self._ends, self._sent)]
        self.left = self.left[: end - self._sent]


class Writers:
    """What both layouts have in common. Any thread may call any public method."""

    def __init__(self, send_timeout: float, count: inside.Count = inside.uncounted) -> None:
        self.send_timeout = send_timeout
        self._state = count(threading.Lock())  # guards the attributes below; no other lock is taken under it
        self._scheduled = 0  # how often a session was scheduled so far
        self._written = 0  # how often a scheduled session was written to, or its socket was full
        self._flush: tuple[int, queue.SimpleQueue[None]] | None = None  # what flush waits for, and where it is told
        self._threads: set[threading.Thread] = set()
        self._ended: list[threading.Thread] = []  # threads that have ended, or are about to: they must be joined
        self._give_up = float("inf")  # monotonic time after which no writer waits for a socket

    def schedule(self, sessions: Sequence[Session]) -> None:
        """Have these sessions written to. Their mailboxes were idle, as ``push`` told the caller."""
        raise NotImplementedError

    def attend(self, session: Session) -> None:
        """A session begins. Called once, before it is scheduled. RuntimeError or MemoryError: no thread can start."""

    def flush(self, may_go_on: bool = False) -> bool:
        """Wait until each scheduled session was written to, or its socket was full; at most FLUSH_TIMEOUT seconds.
        Only the history thread calls this. ``may_go_on``: if more than MANY sessions are left, do not wait, but return
        False. A parcel that is put into their mailboxes now goes out in the same send as what is there."""
        left = self._scheduled - self._written  # each is read as a whole
        if left <= 0:
            return True
        if may_go_on and left > MANY:
            return False
        with self._state:
            told: queue.SimpleQueue[None] = queue.SimpleQueue()  # a new one, because an old one may be told late
            self._flush = self._scheduled, told
            if self._written >= self._scheduled:
                return True
        inside.does("waits for the writers")
        with contextlib.suppress(queue.Empty):
            told.get(timeout=FLUSH_TIMEOUT)
        return True

    def vital(self) -> list[Vital]:
        """The threads that write to more than one session."""
        return []

    def give_up_within(self, seconds: float) -> None:
        """The server is stopping: from now on, wait at most ``seconds`` seconds for any socket."""
        with self._state:
            self._give_up = time.monotonic() + seconds

    def stop(self, timeout: float) -> list[str]:
        """End and join all threads, once no session is left. Return the names of the threads that still run."""
        deadline = time.monotonic() + timeout
        with self._state:
            threads = [*self._threads, *self._ended]
        for thread in threads:
            if thread.ident is not None:  # one that is about to start cannot be joined
                thread.join(max(0.0, deadline - time.monotonic()))
        return [thread.name for thread in threads if thread.ident is None or thread.is_alive()]

    def _start(
        self,
        name: str,
        work: object,
        *args: object,
        session: Session | None = None,
        depth: Callable[[], inside.Depth] | None = None,
    ) -> threading.Thread:
        def run() -> None:
            inside.enter("writer", "begins", session, depth)
            try:
                work(*args)  # type: ignore[operator]
            finally:
                inside.leave()
                with self._state:
                    self._threads.discard(thread)
                    self._ended.append(thread)

        thread = threading.Thread(target=run, name=name, daemon=True)
        with self._state:
            self._threads.add(thread)
            ended, self._ended = self._ended[:JOINED], self._ended[JOINED:]
        for each in ended:
            each.join()
        try:
            thread.start()
        except (RuntimeError, MemoryError):
            with self._state:
                self._threads.discard(thread)
            raise
        return thread

    def _done(self, count: int) -> None:
        told = None
        with self._state:
            self._written += count
            if self._flush and self._written >= self._flush[0]:
                told = self._flush[1]
                self._flush = None
        if told:  # after the lock is released, for which the history thread would wait, too
            told.put(None)

    # --- by the thread that is the session's writer now --------------------------------------------------

    def _send(self, session: Session, parcels: list[Parcel], sealed: bytes = b"") -> Unsent | None:
        """Send the parcels, which were just collected, without waiting. If something does not fit, hold the mailbox
        and return the rest. Abandon the session if it cannot be sent to. ``sealed``: all that the parcels are, if the
        wire has taken it already (``SecureWire.seal``)."""
        mailbox, wire = session.mailbox, session.wire
        if parcels:
            data = left = b""
            try:  # the hot path: few calls
                if sealed:
                    wire.sent += len(sealed)
                    data = sealed
                    wire.put_rest(wire.nowait)
                elif parcels[1:]:
                    data = b"".join([parcel.data for parcel in parcels])
                else:
                    data = parcels[0].encoded or parcels[0].data  # the first without a call
                if not sealed and (left := data):
                    sent = wire.put(data, wire.nowait)
                    wire.sent += sent
                    left = data[sent:]  # mostly nothing
            except BlockingIOError:
                pass
            except OSError:  # the peer is gone
                session.abandon()
                left = b""
            except Exception:
                log.exception("nothing could be sent to %s", session)
                session.abandon()
                left = b""
            if left or wire.unsent:
                return self._leave(session, parcels, data, left)
        if mailbox.under_way:
            mailbox.sent()
        if mailbox.life is not OPEN and mailbox.finish():
            session.written.set()
        return None

    @staticmethod
    def _leave(session: Session, parcels: list[Parcel], data: bytes, left: bytes) -> Unsent:
        """The socket has not taken all of these parcels' data: leave the mailbox to the thread that sends the rest."""
        session.mailbox.keep(session.output.hold(len(data)) if parcels[1:] else parcels[0])
        session.mailbox.hold()
        return Unsent(parcels, left, len(data) - len(left))

    def _write_waiting(self, session: Session, rest: Unsent | None) -> None:
        """Called by the holder: send ``rest`` and what is queued, waiting if necessary, until the mailbox is empty."""
        while True:
            if rest and not self._send_all(session, rest):
                session.abandon()
            parcels = session.mailbox.collect_held()
            if not parcels:
                break
            rest = self._send(session, parcels)
        if session.mailbox.life is Life.FINISHED:
            session.written.set()

    def _send_all(self, session: Session, rest: Unsent) -> bool:
        """Send the rest of a batch, all of it within one deadline. Return False if it could not be sent.

        If the session is cut off meanwhile, finish the parcel under way and leave out the others, unless they are the
        last words.
        """
        deadline = time.monotonic() + self.send_timeout
        inside.does("waits for a full socket")
        shortened = False
        while True:
            if session.mailbox.life is Life.CUT and not shortened:
                shortened = True
                deadline = min(deadline, time.monotonic() + GRACE)
                if not session.mailbox.last_words:
                    rest.finish_parcel()
            if not rest.left and not session.wire.unsent:
                return True
            with self._state:
                give_up = self._give_up
            left = min(deadline, give_up) - time.monotonic()
            if left <= 0:
                if deadline <= give_up:
                    too_slow = f"you did not read what was waiting within {self.send_timeout:g} seconds"
                    session.abandon(TooSlow(too_slow))
                return False
            if session.wire.wait_writable(min(left, SLICE)):
                try:
                    rest.took(session.wire.send(rest.left))
                except OSError:
                    return False


class Crew(Writers):
    """``size`` threads that never wait for a socket, and one more for each session that is behind.

    A session's number says which thread is its writer. The members of a small room mostly share a writer, so that a
    message wakes one thread. The members of a large room are spread over all writers.
    """

    def __init__(
        self, size: int, send_timeout: float, count: inside.Count = inside.uncounted, secures: bool = False
    ) -> None:
        """``secures``: whether there may be sessions that speak TLS."""
        super().__init__(send_timeout, count)
        self._size = size
        self._secures = secures
        self._ready: list[queue.SimpleQueue[Sequence[Session] | None]] = [queue.SimpleQueue() for _ in range(size)]
        # One entry for each writer, which sets it: how many groups of sessions it has served, and whether it waits.
        self._served = [0] * size
        self._idle = [True] * size
        self._crew = [
            self._start(f"writer-{number + 1}", self._work, number, depth=lambda ready=ready: (ready.qsize(), None))  # type: ignore[misc]
            for number, ready in enumerate(self._ready)
        ]

    def schedule(self, sessions: Sequence[Session]) -> None:
        with self._state:
            self._scheduled += len(sessions)
        size = self._size
        shares = [[session for session in sessions if session.cohort % size == number] for number in range(size)]
        for share, ready in zip(shares, self._ready, strict=True):  # last, because the writers now want to run
            if share:
                ready.put(share)

    def vital(self) -> list[Vital]:
        at = [None if idle else served for idle, served in zip(self._idle, self._served, strict=True)]
        return list(zip(self._crew, at, strict=True))

    def stop(self, timeout: float) -> list[str]:
        for ready in self._ready:
            ready.put(None)
        return super().stop(timeout)

    def _work(self, number: int) -> None:
        slot = inside.slot_of(threading.current_thread())
        assert slot is not None
        while self._turn(number, slot):  # one call for each share, so that a waiting writer keeps no session alive
            pass

    def _turn(self, number: int, slot: inside.Slot) -> bool:
        """Wait for sessions and write to them. Return False if the thread must end."""
        slot.doing = "waits for sessions", time.monotonic()
        self._idle[number] = True
        sessions = self._ready[number].get()
        if sessions is None:
            return False
        self._idle[number] = False
        slot.doing = "sends", time.monotonic()
        try:
            for first in range(0, len(sessions), TOGETHER):
                self._serve(sessions[first : first + TOGETHER])
                self._served[number] += 1
        finally:  # otherwise flush would wait for these sessions before every batch
            self._done(len(sessions))
        return True

    def _serve(self, sessions: Sequence[Session]) -> None:
        """Empty these sessions' mailboxes, and send to one after the other. A bug must not end the thread that others
        share."""
        try:
            with Mailbox.mutex:
                taken = [session.mailbox.take() for session in sessions]
        except Exception:
            for session in sessions:
                self._give_up_on(session)
            return
        sealed = self._seal(sessions, taken) if self._secures else NONE_SEALED
        for session, parcels, data in zip(sessions, taken, sealed, strict=False):
            try:
                rest = self._send(session, parcels, data)
            except Exception:
                self._give_up_on(session)
            else:
                if rest is not None:
                    self._hire(session, rest)

    @staticmethod
    def _seal(sessions: Sequence[Session], taken: Sequence[list[Parcel]]) -> list[bytes]:
        """Encrypt what the sessions that speak TLS are sent next. Return what each one's wire has taken."""
        sealed = []
        held: threading.Lock | None = None
        try:
            for session, parcels in zip(sessions, taken, strict=True):  # the hot path: few calls
                data = b""
                if parcels and session.cohort == SECURED:
                    wire: Any = session.wire  # a SecureWire
                    if wire.lock is not held:
                        if held:
                            held.release()
                        held = wire.lock
                        held.acquire()
                    try:
                        if parcels[1:]:
                            data = wire.seal(b"".join([parcel.data for parcel in parcels]))
                        else:
                            data = wire.seal(parcels[0].encoded or parcels[0].data)
                    except Exception:  # _send meets it again, and handles it
                        pass
                sealed.append(data)
        finally:
            if held:
                held.release()
        return sealed

    @staticmethod
    def _give_up_on(session: Session) -> None:
        log.exception("%s could not be written to", session)
        session.abandon()
        if session.mailbox.finish():
            session.written.set()

    def _hire(self, session: Session, rest: Unsent) -> None:
        try:
            self._start(
                f"writer-of-{session.number}",
                self._write_waiting,
                session,
                rest,
                session=session,
                depth=session.mailbox.depth,
            )
        except (RuntimeError, MemoryError):
            log.error("%s is behind, and no thread could be started for it: cut off", session)
            session.abandon()
            self._write_waiting(session, None)  # nothing is left to send; this releases the mailbox


class _OwnWriter:
    """One session's writer. The Writers' lock guards everything except ``wake``."""

    def __init__(self) -> None:
        self.wake: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.due = 0  # how often the session was scheduled and not yet written to
        self.waits = False  # for a full socket; meanwhile flush does not wait for it


class OnePerSession(Writers):
    """One thread for each session, asleep until its session is scheduled."""

    def __init__(self, send_timeout: float, count: inside.Count = inside.uncounted) -> None:
        super().__init__(send_timeout, count)
        self._own_writers: dict[Session, _OwnWriter] = {}  # guarded by _state

    def attend(self, session: Session) -> None:
        own = _OwnWriter()
        with self._state:
            self._own_writers[session] = own
        try:
            self._start(
                f"writer-of-{session.number}",
                self._work,
                session,
                own,
                session=session,
                depth=session.mailbox.depth,
            )
        except (RuntimeError, MemoryError):
            with self._state:
                del self._own_writers[session]
            raise

    def schedule(self, sessions: Sequence[Session]) -> None:
        with self._state:
            # The writer of a session that is missing has ended, because its mailbox was closed before it was scheduled.
            owners = [own for session in sessions if (own := self._own_writers.get(session))]
            for own in owners:
                if not own.waits:
                    own.due += 1
                    self._scheduled += 1
        for own in owners:
            own.wake.put(True)

    def _work(self, session: Session, own: _OwnWriter) -> None:
        try:
            while not session.written.is_set():
                inside.does("waits for its session")
                own.wake.get()
                inside.does("sends")
                rest = self._send(session, session.mailbox.collect())
                with self._state:
                    done = min(own.due, 1) if rest is None else own.due
                    own.due -= done
                    own.waits = rest is not None
                self._done(done)
                if rest is not None:
                    self._write_waiting(session, rest)
                    with self._state:
                        own.waits = False
        finally:
            with self._state:
                done = self._own_writers.pop(session).due
            self._done(done)  # it may have been scheduled after its last words; nobody waits for that
