"""A session's queue: the parcels that wait for one client, and which thread may send them.

A mailbox has two states. ``Writer`` says which thread empties it. ``Life`` says what may still be put into it. The
tables ``WRITER`` and ``LIFE`` list all transitions. At most one thread writes to the session's socket, because the
session is always scheduled with the same writer, and that writer leaves the mailbox to at most one holder.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from enum import Enum

from .errors import CutOff
from .memory import Held
from .parcel import Parcel

LOW_WATER = 0.5  # fraction of the queue's limit; above it, the session's reader waits before the next command
EASY_BYTES = 1 << 18  # the same limit in bytes: those in the queue plus those that wait for the socket
LINE_BYTES = 4096  # bytes allowed for each line of the queue's limit
LEAST_BYTES = 1 << 22  # bytes that may wait in any case: more than the longest batch


class Writer(Enum):
    """Which thread empties a mailbox."""

    IDLE = "none; its writer may still be sending. The next thread that puts a parcel must schedule it"
    SCHEDULED = "the session's writer, which was told"
    HELD = "a thread of its own, until that thread finds it empty"


class Life(Enum):
    """What a mailbox accepts, and what is still to be sent."""

    OPEN = "accepts parcels"
    OVERFLOWED = "was full when a parcel came: refuses that one and all later ones, so that its client sees no hole"
    CLOSED = "accepts no more; its parcels are still to be sent"
    CUT = "accepts no more; was emptied: only the parcel under way and the last words are still to be sent"
    FINISHED = "everything was sent, or given up"


# The next state, by state and event. An event that a state does not list changes nothing.
WRITER: Mapping[Writer, Mapping[str, Writer]] = {
    Writer.IDLE: {"put": Writer.SCHEDULED, "hold": Writer.HELD},
    Writer.SCHEDULED: {"collect": Writer.IDLE, "hold": Writer.HELD},
    Writer.HELD: {"release": Writer.IDLE},
}
LIFE: Mapping[Life, Mapping[str, Life]] = {
    Life.OPEN: {"overflow": Life.OVERFLOWED, "close": Life.CLOSED, "cut_off": Life.CUT},
    Life.OVERFLOWED: {"close": Life.CLOSED, "cut_off": Life.CUT},
    Life.CLOSED: {"cut_off": Life.CUT, "finish": Life.FINISHED},
    Life.CUT: {"finish": Life.FINISHED},
    Life.FINISHED: {},
}

# Short names, because push and collect compare with them for each session and batch.
OPEN, OVERFLOWED, CUT = Life.OPEN, Life.OVERFLOWED, Life.CUT
_IDLE, _SCHEDULED, _HELD = Writer.IDLE, Writer.SCHEDULED, Writer.HELD


class Mailbox(queue.Queue[Parcel]):
    """A queue.Queue of parcels for one session, bounded by their lines and bytes.

    Any thread may call ``push``. If the mailbox was idle, the caller must schedule it with the session's writer. The
    writer is one thread, and collects everything in the mailbox. If the socket does not take all of it, the writer
    calls ``hold`` and leaves the mailbox to another thread, the holder. Until the holder finds the mailbox empty,
    nobody schedules it, and the writer finds nothing in it.

    The inherited ``put`` and ``get`` work as in the standard library. They schedule nothing and change no state.
    """

    # One lock for all mailboxes, not one for each: to put a parcel into a thousand mailboxes, the Publisher takes one
    # lock once, and the processor need not fetch a thousand locks from memory. Nobody holds it longer than that.
    mutex = threading.Lock()

    # With slots, Python finds an object's attributes in one place in memory, not in two.
    __slots__ = (
        *("maxsize", "queue", "unfinished_tasks", "is_shutdown", "most_bytes", "writer", "life", "reason", "taken"),
        *("most", "under_way", "last_words", "_lines", "_bytes", "_in_hand", "_awaited", "_getters", "_putters"),
    )

    def __init__(self, limit: int) -> None:
        # As queue.Queue.__init__, but without its three conditions, see ``_condition``.
        self.maxsize = limit  # in lines
        self._init(limit)
        self.unfinished_tasks = 0
        self.is_shutdown = False  # from Python 3.13 on, put and get look at it
        self.most_bytes = max(limit * LINE_BYTES, LEAST_BYTES)
        # mutex guards the attributes below. Any thread may read those without an underscore, each as a whole.
        self.writer = _IDLE
        self.life = OPEN
        self.reason: CutOff | None = None  # why the session was cut off
        self.taken = 0  # lines taken out so far
        self.most = 0  # the most lines that ever waited; noted when they are taken
        self.under_way = 0  # bytes that the writer has taken but the socket has not, if these are many
        self.last_words = False  # the parcels last collected are cut_off's last words; only the writer reads this
        self._lines = 0
        self._bytes = 0
        self._in_hand: Parcel | Held | None = None  # the parcels under way, kept so that they count as waiting
        self._awaited = False  # a thread may wait for room, or until little is left
        self._getters = self._putters = False  # a thread has called get, or put, and may wait in it

    def _condition(self, name: str) -> threading.Condition:
        """Make a condition of queue.Queue, when a thread first needs it. The three take 3 KB, and for most sessions
        nobody ever waits. (``__getattr__`` would be shorter, and would make all attributes slow, also those that are
        set.)"""
        made: threading.Condition = self.__dict__.setdefault(name, threading.Condition(self.mutex))
        return made

    @property
    def not_empty(self) -> threading.Condition:  # type: ignore[override]
        return self._condition("_not_empty")

    @property
    def not_full(self) -> threading.Condition:  # type: ignore[override]
        return self._condition("_not_full")

    @property
    def all_tasks_done(self) -> threading.Condition:  # type: ignore[override]
        return self._condition("_all_tasks_done")

    # --- any thread -----------------------------------------------------------------------------------------

    def push(self, parcel: Parcel, more: bool = False) -> bool:
        """Put a parcel without waiting. True: the caller must schedule the session; and it must cut the session off if
        ``life`` is OVERFLOWED, because the mailbox was full. ``more``: the caller is about to push again, so that this
        need not be scheduled yet.

        A closed mailbox accepts nothing and returns False. One parcel may exceed the limits. A mailbox that was full
        once stays full, even if it is emptied before the caller cuts the session off: the client sees no hole.
        """
        with self.mutex:
            return self.add(parcel, more)

    def add(self, parcel: Parcel, more: bool = False) -> bool:
        """As ``push``, for a caller that holds the mutex, because it has many mailboxes to put into. The hot path, so
        it asserts nothing, makes few calls, and sets a state without its table."""
        if self.life is OPEN and self._lines < self.maxsize and self._bytes < self.most_bytes:
            self.queue.append(parcel)
            self._lines += parcel.lines
            self._bytes += parcel.size
            if self._getters:
                self.not_empty.notify()
            if self.writer is _IDLE and not (more and self._is_low()):
                self.writer = _SCHEDULED
                return True
            return False
        self._change_life("overflow")
        return self.life is OVERFLOWED

    def close(self, last: Parcel | None = None, reason: CutOff | None = None) -> bool:
        """Put a last parcel, even beyond the limit, and close. True: the caller must schedule the session.

        ``reason`` is what the last parcel says. If several threads close or cut off the same mailbox, the reason that
        is kept is the one that the waiting last parcel says.
        """
        with self.mutex:
            if self.closed:
                return False
            self._change_life("close")
            return self._end(last, reason)

    def cut_off(self, last: Parcel | None = None, reason: CutOff | None = None) -> bool:
        """Drop the waiting parcels, put a last one, and close. True: the caller must schedule the session.

        After a first ``cut_off``, a second one with a last parcel changes nothing. A call without a last parcel drops
        an earlier last parcel, too; the call's ``reason`` is kept only if none is set.
        """
        with self.mutex:
            if self.life is Life.FINISHED or (self.life is CUT and last):
                return False
            self._change_life("cut_off")
            self.queue.clear()
            self._in_hand = None
            self.under_way = 0
            return self._end(last, reason)

    def _end(self, last: Parcel | None, reason: CutOff | None) -> bool:
        assert self.mutex.locked()
        if last or self.reason is None:
            self.reason = reason
        if last:
            self.queue.append(last)
        self._lines = sum(parcel.lines for parcel in self.queue)
        self._bytes = sum(parcel.size for parcel in self.queue)
        if self._awaited:
            self.not_full.notify_all()
        if self._getters:
            self.not_empty.notify_all()
        was_idle = self.writer is _IDLE
        self._change_writer("put")
        return was_idle

    def _change_life(self, event: str) -> None:
        assert self.mutex.locked()
        self.life = LIFE[self.life].get(event, self.life)

    def _change_writer(self, event: str) -> None:
        assert self.mutex.locked()
        self.writer = WRITER[self.writer].get(event, self.writer)

    @property
    def closed(self) -> bool:
        """Whether ``push`` and ``close`` put nothing more in; ``cut_off`` still replaces what waits. Takes no lock."""
        return self.life is not OPEN and self.life is not OVERFLOWED

    @property
    def lines(self) -> int:
        """The number of lines that wait."""
        with self.mutex:
            return self._lines

    def held(self) -> int:
        """The bytes that wait in the queue and for the socket; 0 after cut_off. Takes no lock."""
        return 0 if self.life is CUT else self._bytes + self.under_way

    def depth(self) -> tuple[int, int]:
        """The lines that wait now, and the most that ever did. Takes no lock (see ``inside``)."""
        waiting = self._lines
        return waiting, max(self.most, waiting)

    # --- the session's writer -------------------------------------------------------------------------------

    def collect(self) -> list[Parcel]:
        """Take all parcels; the next push will schedule the session again. Returns nothing while another thread holds
        the mailbox."""
        with self.mutex:
            return self.take()

    def take(self, holder: bool = False) -> list[Parcel]:
        """As ``collect``, for a writer that holds the mutex, because it has many mailboxes to empty. ``holder``: for
        collect_held, which does the rest in the same way. The hot path, see ``add``."""
        if holder:
            self._in_hand = None
            if not self.queue:
                self._change_writer("release")
                self._change_life("finish")
        elif self.writer is _HELD:
            return []
        else:
            self.writer = _IDLE  # "collect"
        parcels: list[Parcel] = self.queue
        self.queue = []
        lines = self._lines
        self.under_way = self._bytes if self._bytes > EASY_BYTES else 0
        self._lines = self._bytes = 0
        self.last_words = self.life is CUT
        self.taken += lines
        if lines > self.most:
            self.most = lines
        if self._awaited:
            self.not_full.notify_all()
        return parcels

    def keep(self, in_hand: Parcel | Held) -> None:
        """The socket has not taken all of these last collected parcels."""
        with self.mutex:
            if self.life is not CUT:
                self._in_hand = in_hand
                self.under_way = in_hand.size

    def sent(self) -> None:
        """The socket has taken all bytes under way. Only called if these were many. While another thread holds the
        mailbox, they are that thread's, and this does nothing."""
        with self.mutex:
            if self.writer is not _HELD:
                self.under_way = 0
                if self._awaited:
                    self.not_full.notify_all()

    def finish(self) -> bool:
        """The collected parcels are sent. Return whether they were the last of a closed mailbox."""
        with self.mutex:
            if not self.queue and self.writer is not _HELD:
                self._change_life("finish")
            return self.life is Life.FINISHED

    def hold(self) -> None:
        """Leave the mailbox to the thread that calls collect_held, until that thread releases it."""
        with self.mutex:
            self._change_writer("hold")

    # --- the holder -----------------------------------------------------------------------------------------

    def collect_held(self) -> list[Parcel]:
        """The last collected parcels are sent. Take all parcels; if there are none, release the mailbox."""
        with self.mutex:
            return self.take(holder=True)

    # --- the session's reader -------------------------------------------------------------------------------

    def wait_for_low_water(self) -> bool:
        """Wait until the client has read most of its output; return False if the mailbox is closed.

        That is, until at most half of the allowed lines are queued, and few bytes wait for the socket. So a client that
        asks for long answers and does not read them gets only one.
        """
        if self._lines > self.maxsize * LOW_WATER or self._bytes + self.under_way > EASY_BYTES:  # each as a whole
            with self.mutex:
                while self._lines > self.maxsize * LOW_WATER or self._bytes + self.under_way > EASY_BYTES:
                    if self.closed:
                        break
                    self._awaited = True
                    self.not_full.wait()
                self._awaited = self._putters
        return self.life is OPEN or self.life is OVERFLOWED

    def _is_low(self) -> bool:
        return self._lines <= self.maxsize * LOW_WATER and self._bytes <= EASY_BYTES

    # --- for the inherited put, get, qsize, empty and full ----------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> Parcel:
        """As in the standard library. After the first call, ``push`` wakes a thread that waits here."""
        with self.mutex:
            self._getters = True
        return super().get(block, timeout)

    def put(self, item: Parcel, block: bool = True, timeout: float | None = None) -> None:
        """As in the standard library. After the first call, ``collect`` wakes the threads that wait here."""
        with self.mutex:
            self._putters = self._awaited = True
        super().put(item, block, timeout)

    def _init(self, maxsize: int) -> None:
        self.queue: list[Parcel] = []  # a list, because collect takes it as it is and leaves a new one

    def _qsize(self) -> int:
        """The lines, at least one for each parcel; at least ``maxsize`` if there are too many bytes."""
        size = max(self._lines, len(self.queue))
        return max(size, self.maxsize) if self._bytes >= self.most_bytes else size

    def _put(self, parcel: Parcel) -> None:
        if self.life is OVERFLOWED:
            raise queue.Full
        if self.life is OPEN:
            self.queue.append(parcel)
            self._lines += parcel.lines
            self._bytes += parcel.size

    def _get(self) -> Parcel:
        parcel: Parcel = self.queue.pop(0)
        self._lines -= parcel.lines
        self._bytes -= parcel.size
        self.taken += parcel.lines
        self.not_full.notify_all()  # one parcel may make room for several
        return parcel
