"""A session's queue: what waits to be sent to one client, and which thread may send it."""

from __future__ import annotations

from .memory import Held
from .parcel import Parcel
from .queues import BatchQueue

LOW_WATER = 0.5  # of the queue's lines: above it the session's own reader waits before the next command
EASY_BYTES = 1 << 18  # the same for the bytes that wait, in the queue and for the socket
LINE_BYTES = 4096  # bytes that may wait for each line that may
LEAST_BYTES = 1 << 22  # bytes that may wait however few lines may: more than the longest batch


class Mailbox(BatchQueue[Parcel]):
    """A session's queue: a queue.Queue of parcels, bounded by the lines and the bytes in them, with one writer.

    ``mutex`` guards it all. Whoever puts into an idle mailbox is told so and must schedule it with the session's
    writer, one thread, who collects what is in it and thereby makes it idle again. If the socket takes
    less than that, the writer has another thread hold the mailbox: nobody schedules it then, and the crew finds
    nothing in it, until the holder has found it empty and let go. So at any time one thread at most writes to
    this session's socket.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(0)  # what bounds it is _lines and _bytes
        self.limit = limit
        self.most_bytes = max(limit * LINE_BYTES, LEAST_BYTES)
        self._lines = 0
        self._bytes = 0
        self._idle = True
        self._held = False
        self._awaited = False  # the reader waits until little is queued
        self.under_way = 0  # bytes that the writer has taken and the socket has not, if that is much
        self._in_hand: Parcel | Held | None = None  # what these are, so that they count as waiting
        self._refused = False  # it was full once, so the next parcel would come after a hole
        self.closed = False  # nothing more goes in
        self.cut = False  # closed, and what was in it thrown away but for the last word
        self.finished = False  # closed, and all of it was sent, or given up
        self.last_words = False  # what was collected last was put in when it was cut off; the writer's
        self.taken = 0  # lines that the writer took, so far

    def push(self, parcel: Parcel) -> bool | None:
        """Put without waiting: True if the caller must schedule it, None if it was full and nothing was put.

        A closed mailbox takes nothing and says False. One parcel may overshoot the limits. One that was full
        stays so, even when it is emptied before the caller has cut the session off: nobody sees a hole.
        """
        with self.mutex:
            if self.closed:
                return False
            if self._refused or self._lines >= self.limit or self._bytes >= self.most_bytes:
                self._refused = True
                return None
            self.queue.append(parcel)
            self._lines += parcel.lines
            self._bytes += parcel.size
            was_idle, self._idle = self._idle, False
            return was_idle

    def collect(self) -> list[Parcel]:
        """The writer's: take all, and be told of what comes next. Nothing while somebody else holds it."""
        with self.mutex:
            if self._held:
                return []
            self._idle = True
            return self._take_all()

    def hold(self) -> None:
        """The writer's: from now on, until it is let go, the mailbox is that of whoever calls collect_held."""
        with self.mutex:
            self._held, self._idle = True, False

    def keep(self, in_hand: Parcel | Held) -> None:
        """The writer's: the socket has not taken all of this, which was collected last."""
        with self.mutex:
            if not self.cut:
                self._in_hand = in_hand
                self.under_way = in_hand.size

    def sent(self) -> None:
        """The writer's, if much is under way: the socket has taken it all."""
        with self.mutex:
            self.under_way = 0
            if self._awaited:
                self.not_full.notify_all()

    def collect_held(self) -> list[Parcel]:
        """The holder's: what was collected last is sent; take all, or let go of it if there is nothing."""
        with self.mutex:
            self._in_hand = None
            if not self.queue:
                self._held, self._idle = False, True
                self.finished = self.closed
            return self._take_all()

    def _take_all(self) -> list[Parcel]:
        parcels = list(self.queue)
        self.queue.clear()
        lines = self._lines
        self.under_way = self._bytes if self._bytes > EASY_BYTES else 0
        self._lines = self._bytes = 0
        self.last_words = self.cut
        self.taken += lines
        if lines > self.most:
            self.most = lines
        if self._awaited:
            self.not_full.notify_all()
        return parcels

    def finish(self) -> bool:
        """The writer's, when it has sent what it collected: whether that was the last of a closed mailbox."""
        with self.mutex:
            self.finished = self.closed and not self.queue and not self._held
            return self.finished

    def close(self, last: Parcel | None = None) -> bool:
        """Put a last parcel, whatever the limit, and close; True if the caller must schedule it."""
        with self.mutex:
            if self.closed:
                return False
            return self._end(last)

    def cut_off(self, last: Parcel | None = None) -> bool:
        """Throw away what is waiting, put a last parcel, and close; True if the caller must schedule it.

        The first last parcel stays; without one, that is thrown away too.
        """
        with self.mutex:
            if self.finished or (self.cut and last):
                return False
            self.cut = True
            self.queue.clear()
            self._in_hand = None
            self.under_way = 0
            return self._end(last)

    def _end(self, last: Parcel | None) -> bool:
        self.closed = True
        if last:
            self.queue.append(last)
        self._lines = sum(parcel.lines for parcel in self.queue)
        self._bytes = sum(parcel.size for parcel in self.queue)
        self.not_full.notify_all()
        was_idle, self._idle = self._idle, False
        return was_idle

    def wait_for_low_water(self) -> bool:
        """The reader's: wait until the client has read most of what is for it; False if the mailbox is closed.

        That is when at most half of the lines that may be are queued, and little waits for the socket: so a client
        that asks for long answers and does not read them is given one.
        """
        with self.mutex:
            while not self.closed and (self._lines > self.limit * LOW_WATER or self.held() > EASY_BYTES):
                self._awaited = True
                self.not_full.wait()
            self._awaited = False
            return not self.closed

    def held(self) -> int:
        """How many bytes wait in the queue and for the socket; 0 once it was cut off. Takes no lock."""
        return 0 if self.cut else self._bytes + self.under_way

    def depth(self) -> tuple[int, int]:
        """How many lines wait now, and the most that ever did. No lock is taken: see inside."""
        waiting = self._lines
        return waiting, max(self.most, waiting)

    @property
    def lines(self) -> int:
        """How many lines are waiting."""
        with self.mutex:
            return self._lines
