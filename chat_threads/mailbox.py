"""A session's queue: what waits to be sent to one client, and which thread may send it.

A mailbox has two states. ``Writer`` says which thread is to empty it, so that one thread at most writes to a session's
socket. ``Life`` says what may still go in. The tables ``WRITER`` and ``LIFE`` have every change of each.
"""

from __future__ import annotations

import queue
from collections.abc import Mapping
from enum import Enum

from .memory import Held
from .parcel import Parcel

LOW_WATER = 0.5  # of the queue's lines: above it the session's own reader waits before the next command
EASY_BYTES = 1 << 18  # the same for the bytes that wait, in the queue and for the socket
LINE_BYTES = 4096  # bytes that may wait for each line that may
LEAST_BYTES = 1 << 22  # bytes that may wait however few lines may: more than the longest batch


class Writer(Enum):
    """Which thread is to empty a mailbox."""

    IDLE = "none: the next thread that puts something must schedule it"
    SCHEDULED = "the session's writer, which was told to come"
    HELD = "a thread of its own, until that finds it empty"


class Life(Enum):
    """What a mailbox takes, and what of it is still to be sent."""

    OPEN = "takes parcels"
    OVERFLOWED = "was full when a parcel came: takes no other, so that its client sees no hole"
    CLOSED = "takes no more; what is in it is to be sent"
    CUT = "takes no more; only the last word is to be sent"
    FINISHED = "everything was sent, or given up"


# By state and event: the next state. An event that a state does not list changes nothing.
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

# Names of their own, because push and collect compare with them for each session and batch.
OPEN, CUT = Life.OPEN, Life.CUT
_IDLE, _SCHEDULED, _HELD = Writer.IDLE, Writer.SCHEDULED, Writer.HELD


class Mailbox(queue.Queue[Parcel]):
    """A queue.Queue of parcels, bounded by the lines and the bytes in them, for one session.

    Any thread calls ``push``. If the mailbox was idle, the caller must schedule it with the session's writer: one
    thread, which collects all that is in it. If the socket takes less than that, the writer calls ``hold`` and leaves
    the mailbox to another thread, the holder. Nobody schedules it then, and the writer finds nothing in it, until the
    holder has found it empty.

    The inherited ``put`` and ``get`` work as in the standard library. They schedule nothing and change no state.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)  # maxsize is in lines
        self.most_bytes = max(limit * LINE_BYTES, LEAST_BYTES)
        # mutex guards all that follows. Other threads may read what has no underscore, each as a whole.
        self.writer = _IDLE
        self.life = OPEN
        self.taken = 0  # lines that were taken out, so far
        self.most = 0  # the most lines that ever waited: noted when they are taken, for until then a queue only grows
        self.under_way = 0  # bytes that the writer has taken and the socket has not, if that is much
        self.last_words = False  # what was collected last was put in when it was cut off; the writer's
        self._lines = 0
        self._bytes = 0
        self._in_hand: Parcel | Held | None = None  # what is under way, so that it counts as waiting
        self._awaited = False  # a thread may wait until there is room, or little is left
        self._getters = self._putters = False  # somebody has used get, or put, and may wait in it

    # --- any thread -----------------------------------------------------------------------------------------

    def push(self, parcel: Parcel) -> bool:
        """Put without waiting: True if the caller must schedule it. Raise queue.Full if it was full, now or before.

        A closed mailbox takes nothing and says False. One parcel may overshoot the limits. A mailbox that was full
        once stays so, even when it is emptied before the caller has cut the session off: nobody sees a hole.
        """
        with self.mutex:  # the hot path: no call that can be avoided, and no table
            if self.life is not OPEN:
                if self.life is Life.OVERFLOWED:
                    raise queue.Full
                return False
            if self._lines >= self.maxsize or self._bytes >= self.most_bytes:
                self._lives("overflow")
                raise queue.Full
            self.queue.append(parcel)
            self._lines += parcel.lines
            self._bytes += parcel.size
            if self._getters:
                self.not_empty.notify()
            if self.writer is _IDLE:
                self.writer = _SCHEDULED
                return True
            return False

    def close(self, last: Parcel | None = None) -> bool:
        """Put a last parcel, whatever the limit, and close; True if the caller must schedule it."""
        with self.mutex:
            if self.closed:
                return False
            self._lives("close")
            return self._end(last)

    def cut_off(self, last: Parcel | None = None) -> bool:
        """Throw away what is waiting, put a last parcel, and close; True if the caller must schedule it.

        The first last parcel stays; without one, that is thrown away too.
        """
        with self.mutex:
            if self.life is Life.FINISHED or (self.life is CUT and last):
                return False
            self._lives("cut_off")
            self.queue.clear()
            self._in_hand = None
            self.under_way = 0
            return self._end(last)

    def _end(self, last: Parcel | None) -> bool:
        assert self.mutex.locked()
        if last:
            self.queue.append(last)
        self._lines = sum(parcel.lines for parcel in self.queue)
        self._bytes = sum(parcel.size for parcel in self.queue)
        self.not_full.notify_all()
        self.not_empty.notify_all()
        was_idle = self.writer is _IDLE
        self._is_for("put")
        return was_idle

    def _lives(self, event: str) -> None:
        assert self.mutex.locked()
        self.life = LIFE[self.life].get(event, self.life)

    def _is_for(self, event: str) -> None:
        assert self.mutex.locked()
        self.writer = WRITER[self.writer].get(event, self.writer)

    @property
    def closed(self) -> bool:
        """Whether nothing more goes in, not even a last word. Takes no lock."""
        return self.life is not OPEN and self.life is not Life.OVERFLOWED

    @property
    def lines(self) -> int:
        """How many lines are waiting."""
        with self.mutex:
            return self._lines

    def held(self) -> int:
        """How many bytes wait in the queue and for the socket; 0 once it was cut off. Takes no lock."""
        return 0 if self.life is CUT else self._bytes + self.under_way

    def depth(self) -> tuple[int, int]:
        """How many lines wait now, and the most that ever did. No lock is taken: see inside."""
        waiting = self._lines
        return waiting, max(self.most, waiting)

    # --- the session's writer -------------------------------------------------------------------------------

    def collect(self) -> list[Parcel]:
        """Take all, and be told of what comes next. Nothing while somebody else holds it."""
        with self.mutex:
            if self.writer is _HELD:
                return []
            self.writer = _IDLE  # "collect", without the table: the hot path
            return self._take_all()

    def keep(self, in_hand: Parcel | Held) -> None:
        """The socket has not taken all of this, which was collected last."""
        with self.mutex:
            if self.life is not CUT:
                self._in_hand = in_hand
                self.under_way = in_hand.size

    def sent(self) -> None:
        """If much is under way: the socket has taken it all."""
        with self.mutex:
            self.under_way = 0
            if self._awaited:
                self.not_full.notify_all()

    def finish(self) -> bool:
        """What was collected is sent: whether that was the last of a closed mailbox."""
        with self.mutex:
            if not self.queue and self.writer is not _HELD:
                self._lives("finish")
            return self.life is Life.FINISHED

    def hold(self) -> None:
        """From now on, until it is released, the mailbox is for the thread that calls collect_held."""
        with self.mutex:
            self._is_for("hold")

    # --- the holder -----------------------------------------------------------------------------------------

    def collect_held(self) -> list[Parcel]:
        """What was collected last is sent: take all, or release the mailbox if there is nothing."""
        with self.mutex:
            self._in_hand = None
            if not self.queue:
                self._is_for("release")
                self._lives("finish")
            return self._take_all()

    def _take_all(self) -> list[Parcel]:
        # With mutex. That is not asserted, because this runs for each session and batch.
        parcels = list(self.queue)
        self.queue.clear()
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

    # --- the session's reader -------------------------------------------------------------------------------

    def wait_for_low_water(self) -> bool:
        """Wait until the client has read most of what is for it; False if the mailbox is closed.

        That is when at most half of the lines that may be are queued, and little waits for the socket: so a client
        that asks for long answers and does not read them is given one.
        """
        with self.mutex:
            while not self.closed and (self._lines > self.maxsize * LOW_WATER or self.held() > EASY_BYTES):
                self._awaited = True
                self.not_full.wait()
            self._awaited = self._putters
            return not self.closed

    # --- for the inherited put, get, qsize, empty and full ----------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> Parcel:
        """As in the standard library. From the first call on, ``push`` wakes a thread that waits here."""
        self._getters = True
        return super().get(block, timeout)

    def put(self, item: Parcel, block: bool = True, timeout: float | None = None) -> None:
        """As in the standard library. From the first call on, ``collect`` wakes the threads that wait here."""
        with self.mutex:
            self._putters = self._awaited = True
        super().put(item, block, timeout)

    def _qsize(self) -> int:
        """The lines, at least one for each parcel; at least ``maxsize`` when the bytes are too many."""
        size = max(self._lines, len(self.queue))
        return max(size, self.maxsize) if self._bytes >= self.most_bytes else size

    def _put(self, parcel: Parcel) -> None:
        if self.life is Life.OVERFLOWED:
            raise queue.Full
        if self.life is OPEN:
            self.queue.append(parcel)
            self._lines += parcel.lines
            self._bytes += parcel.size

    def _get(self) -> Parcel:
        parcel: Parcel = self.queue.popleft()
        self._lines -= parcel.lines
        self._bytes -= parcel.size
        self.taken += parcel.lines
        self.not_full.notify_all()  # one parcel may make room for several
        return parcel
