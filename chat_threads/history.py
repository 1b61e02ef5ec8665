"""The history thread: number what is said, commit it, and only then hand it on.

Promise 1 is kept here: nothing is published that is not committed. Promise 2 begins here: there is one
history thread, so there is one order. Everything that must be seen in that order (joining, leaving, a new
name, a topic) goes through the same queue, though only messages get a number.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence, Set
from typing import Any

from . import inside, ordered
from .batch import Batch
from .errors import ChatError, MaybeStored, NotStored, ReadOnly, RoomNotStored
from .numbering import Numbering
from .once import REFS_BYTES, Once, Refused
from .queues import BatchQueue
from .storage import Storage, StorageBroken, StorageError, StorageUnsure

log = logging.getLogger(__name__)

BATCH = 512  # the most that one transaction holds
QUEUE = 2048  # values waiting; a full queue makes the sender wait
PATIENCE = 30.0  # seconds a sender waits for a place in the queue
LOOK = 0.25  # seconds after which one who waits for the queue looks whether it has to
SWEEP_PAUSE = 0.02  # seconds between two slices that are deleted
SWEEP_EVERY = 600.0  # seconds between looks for messages that are too old
PURGE_REST = 100  # times as long as a purge took, until the next one
TOKENS_SWEPT = 1000  # tokens handed out or shown between two looks for those that are too many
QUIET = 1.0  # seconds without a commit, after which the index catches up
INDEX_AFTER = 5000  # messages that are not in the index yet, after which it does so while people talk
INDEX_PAUSE = 0.005  # seconds between two steps of that
INDEX_REST = 9  # while people talk, the pause is so many times as long as the step took
INDEX_AGAIN = 60.0  # seconds after one that failed
INDEX_LONG = 10_000  # messages to index of which the log is told, every so many seconds
TOLD_EVERY = 10.0
DAY_MS = 86_400_000  # milliseconds

Publish = Callable[[Sequence[ordered.Published]], Iterable[int] | None]
Refuse = Callable[[ordered.Ordered, ChatError], None]
Announce = Callable[[ChatError], None]


class _Marker(ordered.Ordered):
    """Takes a place in the queue and reports when everything before it has been published."""

    __slots__ = ("passed",)

    def __init__(self) -> None:
        self.passed = threading.Event()


# What to tell whoever submitted something that was not stored, and why; what is missing here needs no storing.
_NOT_STORED: dict[type[ordered.Ordered], Callable[[Any, str], ChatError]] = {
    ordered.Draft: lambda item, why: NotStored(why),
    ordered.RoomEnded: lambda item, why: NotStored(why, "done"),
    ordered.TopicSet: lambda item, why: NotStored(why, "done"),
    ordered.RoomMade: lambda item, why: RoomNotStored(item.room, why),
}


def _not_stored(items: Iterable[ordered.Ordered], failed: StorageError) -> Refused:
    """Those of a batch that needed storing, each with what its origin is told."""
    unsure = isinstance(failed, StorageUnsure)
    return [
        (item, MaybeStored() if unsure else _NOT_STORED[type(item)](item, str(failed)))
        for item in items
        if type(item) in _NOT_STORED
    ]


class History:
    """A queue and the one thread that empties it into the storage.

    ``submit``, ``enqueue`` and ``settle`` are for any thread. The history thread calls what ``start`` is given:
    ``publish`` with what was committed, in order, which returns the rooms that have disappeared; ``refuse`` with what
    was not, and why; ``announce`` with what everybody has to know. It calls ``connected`` for the tokens of those who
    are here, which are not forgotten. What it knows of the requests under tokens takes ``refs_bytes`` of memory
    between two batches; the rest is read when needed.
    """

    def __init__(
        self,
        storage: Storage,
        retain_days: float | None = None,
        now: Callable[[], float] = time.time,
        count: inside.Count = inside.uncounted,
        connected: Callable[[], Set[int]] = frozenset,
        refs_bytes: int = REFS_BYTES,
    ) -> None:
        self.storage = storage
        self._connected = connected
        self._publish: Publish
        self._refuse: Refuse
        self._announce: Announce
        self.read_only: ReadOnly | None = None  # set once, by the history thread, and read anywhere
        self._retain = None if retain_days is None else int(retain_days * DAY_MS)
        self._now = now
        self._queue: BatchQueue[ordered.Ordered | None] = BatchQueue(QUEUE)
        self.thread = threading.Thread(target=self._run, name="history", daemon=True)
        # Owned by the history thread.
        self._last: dict[int, int | None] = {room.id: room.last for room in storage.rooms()}
        self._unsaved: dict[int, ordered.RoomMade] = {}  # rooms whose row is not committed yet
        self._unused: list[int] = []  # rooms to be forgotten, whose rows are still there
        self._unborn: set[int] = set()  # those that are to be forgotten before they have come
        self._sweep_at: float | None = 0.0  # when to look for something to delete; None: nothing is
        self._oldest_kept: int | None = None  # the time before which messages are too old; None: none is
        self._passing = False  # there is more to delete by that
        self._purge_at: float | None = None  # when to see to it that what was deleted cannot be read; None: it is done
        self._purge_took = 0.0  # seconds, so far
        self._purge_again = 0.0  # not before that, whatever is deleted
        self._once = Once(storage.refs, refs_bytes)
        self._index_at: float | None = 0.0  # when to take messages into the index; None: they all are
        self._index_again = 0.0  # not before that, whatever is committed
        self._said_at = 0.0  # when a message was committed last
        self._index_told: float | None = None  # when the log was told how far it is; None: not at all
        self._tokens_used = TOKENS_SWEPT  # since the last look for those that are too many
        # Shared: the lock guards these two; nothing is called while it is held.
        self._lock = count(threading.Lock())
        self._stored = storage.count()
        self._seconds: deque[tuple[int, int]] = deque(maxlen=11)  # (second, messages in it), the newest last

    # --- any thread ---------------------------------------------------------------------------------------

    def start(self, publish: Publish, refuse: Refuse, announce: Announce = lambda error: None) -> None:
        self._publish, self._refuse, self._announce = publish, refuse, announce
        self.thread.start()

    def stop(self, timeout: float) -> bool:
        """Let the thread finish what is queued, then end and join it; False if it did not end in time."""
        deadline = time.monotonic() + timeout
        if self.thread.is_alive():
            try:
                self._queue.put(None, timeout=timeout)
            except queue.Full:
                return False
            self.thread.join(max(0.0, deadline - time.monotonic()))
        return not self.thread.is_alive()

    def submit(self, item: ordered.Ordered) -> None:
        """Queue a value; wait while the queue is full, at most PATIENCE seconds; raise NotStored then."""
        try:
            self._queue.put(item, timeout=PATIENCE)
        except queue.Full:
            raise NotStored("the history does not keep up") from None

    def enqueue(self, item: ordered.Ordered) -> None:
        """Queue a value without waiting; raise NotStored if the queue is full."""
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            raise NotStored("the history does not keep up") from None

    def settle(self, timeout: float, unless: threading.Event | None = None) -> bool:
        """Wait until all that was submitted before has been published or refused: a barrier in the queue.

        False when ``timeout`` seconds have passed, or, within a moment, when ``unless`` is set.
        """
        deadline = time.monotonic() + timeout
        marker = _Marker()
        try:
            self._queue.put(marker, timeout=timeout)
        except queue.Full:
            return False
        if unless is None:  # without looking around: thousands may wait here at once
            return marker.passed.wait(max(0.0, deadline - time.monotonic()))
        while not marker.passed.wait(min(LOOK, max(0.0, deadline - time.monotonic()))):
            if time.monotonic() >= deadline or unless.is_set():
                return False
        return True

    @property
    def stored(self) -> int:
        """How many messages the history holds."""
        with self._lock:
            return self._stored

    def per_second(self) -> float:
        """Messages committed a second, the mean of the last ten whole seconds."""
        this = int(time.monotonic())
        with self._lock:
            return sum(count for second, count in self._seconds if this - 10 <= second < this) / 10

    # --- the history thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        inside.enter("history", "waits for messages", depth=self._queue.depth)
        try:
            self._work()
        finally:
            inside.leave()

    def _work(self) -> None:
        while self._turn():  # a call for each batch: nothing of it, or of its sessions, is held while waiting
            pass

    def _turn(self) -> bool:
        """Wait for a batch and see to it; whether there will be another one.

        Anything unexpected ends the thread, and with it the server: see ends. Going on would be worse, for nobody
        could tell what of the batch is committed, and who was told.
        """
        inside.does("waits for messages")
        batch = self._queue.take(BATCH, self._pause())
        inside.does("numbers a batch")
        self._handle([item for item in batch if item is not None and type(item) is not _Marker])
        if self._sweep_at is not None and time.monotonic() >= self._sweep_at:
            inside.does("deletes what is old")
            self._sweep()
        if self._index_at is not None and time.monotonic() >= self._index_at:
            inside.does("indexes")
            self._index()
        if self._purge_at is not None and time.monotonic() >= self._purge_at:
            inside.does("overwrites what was deleted")
            self._purge()
        self._checkpoint()
        for item in batch:
            if isinstance(item, _Marker):
                item.passed.set()
        return None not in batch

    def _pause(self) -> float | None:
        """Seconds until there is something to do besides what is submitted; None: nothing."""
        due = [at for at in (self._sweep_at, self._index_at, self._purge_at) if at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _handle(self, items: list[ordered.Ordered]) -> None:
        items, unsure = self._once.recall(items)
        numbered = self._number(items)
        batch, published, refused = numbered.batch, numbered.published, numbered.refused
        if batch:
            inside.does("commits")
            try:
                self.storage.commit(batch)
            except StorageError as failed:
                self._give_up_on(failed)
                self._log(logging.ERROR, f"not stored: {failed} ({len(batch.messages)} messages)")
                refused = _not_stored(items, failed)
                if isinstance(failed, StorageUnsure):
                    self._once.may_come_back(batch.refs)
                submitted = {id(item) for item in items}
                published = [item for item in published if id(item) in submitted and type(item) not in _NOT_STORED]
            else:
                self._last.update(numbered.numbers)
                self._committed(batch)
        if published:
            inside.does("publishes")
            self._forget(self._publish(published) or ())
        for item, error in refused + unsure:
            self._refuse(item, error)
        self._once.trim()

    def _forget(self, rooms: Iterable[int]) -> None:
        """From now on nothing can be said in these rooms, and their rows go, too: now, or with the next batch."""
        before = len(self._unused)
        for room in rooms:
            if self._last.pop(room, None) is not None:
                self._unused.append(room)
            elif self._unsaved.pop(room, None) is None:
                self._unborn.add(room)
        if len(self._unused) > before:
            try:
                self.storage.commit(Batch(rooms_unused=self._unused))
            except StorageError as error:
                log.warning("%d unused rooms are still in the file: %s", len(self._unused), error)
                self._give_up_on(error)
            else:
                self._unused = []

    def _number(self, items: list[ordered.Ordered]) -> Numbering:
        """Sort out a batch, changing only what is known of rooms without a row."""
        made = [item for item in items if isinstance(item, ordered.RoomMade)]
        self._unsaved.update((item.room_id, item) for item in made if item.room_id not in self._unborn)
        self._unborn.difference_update(item.room_id for item in made)
        numbered = Numbering(self._last, self._once, int(self._now() * 1000))
        numbered.make(self._unsaved.values())
        numbered.take(items)
        if numbered.batch:
            numbered.batch.rooms_unused = self._unused
        return numbered

    def _committed(self, batch: Batch) -> None:
        self._unsaved.clear()
        self._unused = []
        self._once.committed(batch.refs)
        self._tokens_used += batch.tokens_used
        if self._tokens_used >= TOKENS_SWEPT:
            self._sweep_at = time.monotonic()
        for room_id in batch.rooms_ended:
            del self._last[room_id]
            self._sweep_at = time.monotonic()
        if batch.messages:
            second = int(time.monotonic())
            with self._lock:
                self._stored += len(batch.messages)
                if not self._seconds or self._seconds[-1][0] != second:
                    self._seconds.append((second, 0))
                self._seconds[-1] = (second, self._seconds[-1][1] + len(batch.messages))
            now = self._said_at = time.monotonic()
            self._index_at = max(self._index_again, now if self.storage.unindexed >= INDEX_AFTER else now + QUIET)

    def _sweep(self) -> None:
        """Delete a slice of what is to go, so that those who say something now wait for one slice at most."""
        self._sweep_at = time.monotonic() + SWEEP_EVERY  # whatever happens now
        try:
            if not self._passing and self._retain is not None:
                self._oldest_kept = self.storage.oldest_kept(int(self._now() * 1000), self._retain)
            gone, more = self.storage.sweep(self._oldest_kept)
            self._passing = more
            if self._tokens_used >= TOKENS_SWEPT:
                if self.storage.sweep_tokens(self._connected()):
                    more = True
                else:
                    self._tokens_used = 0
        except StorageError as error:
            self._give_up_on(error)
            self._log(logging.WARNING, f"old data was not deleted: {error}")
            gone, more, self._passing = 0, False, False
            pause: float | None = SWEEP_EVERY
            self._tokens_used = 0
        else:
            pause = SWEEP_PAUSE if more else None if self._retain is None else SWEEP_EVERY
        self._sweep_at = None if pause is None else time.monotonic() + pause
        self._purge_at = max(time.monotonic(), self._purge_again) if self.storage.remains and not more else None
        with self._lock:
            self._stored -= gone

    def _purge(self) -> None:
        """Do a step towards making unreadable what was deleted."""
        began = time.monotonic()
        try:
            pause = self.storage.purge()
        except StorageError as error:
            log.warning("what was deleted may still be readable in the file: %s", error)
            self._give_up_on(error)
            pause = SWEEP_EVERY
        now = time.monotonic()
        self._purge_took += now - began
        if pause is None:
            log.info("what was deleted can no longer be read in the history's files")
            self._purge_again = now + PURGE_REST * self._purge_took
            self._purge_took = 0.0
        self._purge_at = None if pause is None or self.read_only else now + pause

    def _index(self) -> None:
        """Take some messages into the search index, so few that those who say something now do not wait for long."""
        began = time.monotonic()
        try:
            self.storage.index()
        except StorageError as error:
            self._give_up_on(error)
            self._log(logging.WARNING, f"the search index could not be written, so searches take longer: {error}")
            self._index_at = None if self.read_only else time.monotonic() + INDEX_AGAIN
        else:
            now = time.monotonic()
            pause = INDEX_PAUSE if now - self._said_at >= QUIET else max(INDEX_PAUSE, INDEX_REST * (now - began))
            self._index_at = now + pause if self.storage.unindexed else None
            self._tell_how_far()
        self._index_again = self._index_at or 0.0

    def _tell_how_far(self) -> None:
        now, left = time.monotonic(), self.storage.unindexed
        if left > INDEX_LONG and (self._index_told is None or now - self._index_told >= TOLD_EVERY):
            log.info("making the search index: %d messages to go; until then searches take longer", left)
            self._index_told = now
        elif not left and self._index_told is not None:
            log.info("the search index is made")
            self._index_told = None

    def _checkpoint(self) -> None:
        try:
            self.storage.checkpoint()
        except StorageError as error:
            self._give_up_on(error)
            self._log(logging.ERROR, f"SQLite's log was not copied into the file: {error}")

    def _give_up_on(self, error: StorageError) -> None:
        """Tell everybody and the log, once, if nothing can be stored any more."""
        if isinstance(error, StorageBroken) and not self.read_only:
            log.error("%s", error.advice or error)
            self.read_only = error.error
            self._announce(self.read_only)

    def _log(self, level: int, text: str) -> None:
        """Tell the log what could not be written. Once it has been told that nothing can be, that is of no interest."""
        log.log(logging.DEBUG if self.read_only else level, "%s", text)
