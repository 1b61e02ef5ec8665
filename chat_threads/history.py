"""The history thread: it numbers messages, commits them, and publishes them after the commit.

This file keeps promise 1: nothing is published before it is committed. Promise 2 begins here: there is one history
thread, so there is one order. Everything that must keep this order (joining, leaving, a new name, a topic) goes
through the same queue, although only messages get a number.
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
from .retention import DAY_MS
from .storage import Storage, StorageBroken, StorageError, StorageUnsure

log = logging.getLogger(__name__)

BATCH = 512  # values in one transaction, at most
QUEUE = 2048  # values in the queue; if it is full, senders wait
PATIENCE = 30.0  # seconds that a sender waits for a place in the queue
LOOK = 0.25  # seconds after which a thread that waits for the queue checks whether it still has to
SWEEP_PAUSE = 0.02  # seconds between two slices of a deletion
SWEEP_EVERY = 600.0  # seconds between two searches for messages that are too old
PURGE_REST = 100  # the rest after a purge, as a multiple of its time
TOKENS_SWEPT = 1000  # tokens handed out or shown between two searches for surplus tokens
QUIET = 1.0  # seconds without a commit before the index catches up
INDEX_AFTER = 5000  # messages not in the index, from which it catches up even while people talk
INDEX_PAUSE = 0.005  # seconds between two steps of indexing
INDEX_REST = 9  # the pause while people talk, as a multiple of the step's time
INDEX_AGAIN = 60.0  # seconds until another try after a failed step
INDEX_LONG = 10_000  # messages to index from which the log reports progress, every TOLD_EVERY seconds
TOLD_EVERY = 10.0

Publish = Callable[[Sequence[ordered.Published]], Iterable[int] | None]
Refuse = Callable[[ordered.Ordered, ChatError], None]
Announce = Callable[[ChatError], None]


class _Marker(ordered.Ordered):
    """A place in the queue. Reports when everything before it has been published."""

    __slots__ = ("passed",)

    def __init__(self) -> None:
        self.passed = threading.Event()


# The error for a value that could not be stored. Types that are missing here need no storing.
_NOT_STORED: dict[type[ordered.Ordered], Callable[[Any, str], ChatError]] = {
    ordered.Draft: lambda item, why: NotStored(why),
    ordered.RoomEnded: lambda item, why: NotStored(why, "done"),
    ordered.TopicSet: lambda item, why: NotStored(why, "done"),
    ordered.RoomMade: lambda item, why: RoomNotStored(item.room, why),
}


def _not_stored(items: Iterable[ordered.Ordered], failed: StorageError) -> Refused:
    """The values of a failed batch that needed storing, each with the error for its origin."""
    unsure = isinstance(failed, StorageUnsure)
    return [
        (item, MaybeStored() if unsure else _NOT_STORED[type(item)](item, str(failed)))
        for item in items
        if type(item) in _NOT_STORED
    ]


class History:
    """A queue and the one thread that empties it into the storage.

    ``submit``, ``enqueue`` and ``settle`` are for any thread. The history thread calls the functions that ``start``
    gets: ``publish`` with the committed values, in order, which returns the rooms that have disappeared; ``refuse``
    with each value that was not stored, and the error; ``announce`` with an error for everybody. It calls
    ``connected`` for the tokens of connected clients, which are not forgotten. Between two batches, the requests under
    tokens take at most ``refs_bytes`` of memory; others are read when needed.
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
        self._publish: Publish  # this and the next two: set by ``start``, before the thread begins
        self._refuse: Refuse
        self._announce: Announce
        self.read_only: ReadOnly | None = None  # set once, by the history thread; any thread reads it
        self._retain = None if retain_days is None else int(retain_days * DAY_MS)
        self._now = now
        self._queue: BatchQueue[ordered.Ordered | None] = BatchQueue(QUEUE)
        self.thread = threading.Thread(target=self._run, name="history", daemon=True)
        # Owned by the history thread:
        self._last: dict[int, int | None] = {room.id: room.last for room in storage.rooms()}
        self._unsaved: dict[int, ordered.RoomMade] = {}  # rooms whose row is not committed yet
        self._unused: list[int] = []  # forgotten rooms whose rows are still in the file
        self._unborn: set[int] = set()  # rooms that were forgotten before their RoomMade arrived
        self._sweep_at: float | None = 0.0  # time of the next search for data to delete; None: there is none
        self._oldest_kept: int | None = None  # the time before which messages are too old; None: no message is too old
        self._passing = False  # there are more messages to delete by _oldest_kept
        self._purge_at: float | None = None  # time of the next step of a purge; None: it is done
        self._purge_took = 0.0  # seconds that this purge has taken so far
        self._purge_again = 0.0  # no purge before this time
        self._once = Once(storage.refs, refs_bytes)
        self._index_at: float | None = 0.0  # time of the next step of indexing; None: all messages are indexed
        self._index_again = 0.0  # no step of indexing before this time
        self._said_at = 0.0  # time of the last commit of a message
        self._index_told: float | None = None  # time of the last report of progress; None: there was none
        self._tokens_used = TOKENS_SWEPT  # since the last search for surplus tokens
        # Shared: the lock guards these two; nothing is called under it.
        self._lock = count(threading.Lock())
        self._stored = storage.count()
        self._seconds: deque[tuple[int, int]] = deque(maxlen=11)  # (second, messages in it), the newest last

    # --- any thread ---------------------------------------------------------------------------------------

    def start(self, publish: Publish, refuse: Refuse, announce: Announce = lambda error: None) -> None:
        """Begin. Once, by main."""
        self._publish, self._refuse, self._announce = publish, refuse, announce
        self.thread.start()

    def stop(self, timeout: float) -> bool:
        """Let the thread finish the queue, and join it. Return False if it did not end in time."""
        deadline = time.monotonic() + timeout
        if self.thread.is_alive():
            try:
                self._queue.put(None, timeout=timeout)
            except queue.Full:
                return False
            self.thread.join(max(0.0, deadline - time.monotonic()))
        return not self.thread.is_alive()

    def submit(self, item: ordered.Ordered) -> None:
        """Queue a value. Wait while the queue is full, at most PATIENCE seconds; then raise NotStored."""
        try:
            self._queue.put(item, timeout=PATIENCE)
        except queue.Full:
            raise NotStored("the history does not keep up") from None

    def enqueue(self, item: ordered.Ordered) -> None:
        """Queue a value without waiting. Raise NotStored if the queue is full."""
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            raise NotStored("the history does not keep up") from None

    def settle(self, timeout: float, unless: threading.Event | None = None) -> bool:
        """Wait until all values that were submitted before have been published or refused: a barrier in the queue.

        Returns False after ``timeout`` seconds, or within LOOK seconds after ``unless`` is set.
        """
        deadline = time.monotonic() + timeout
        marker = _Marker()
        try:
            self._queue.put(marker, timeout=timeout)
        except queue.Full:
            return False
        if unless is None:  # without periodic checks: thousands may wait here at once
            return marker.passed.wait(max(0.0, deadline - time.monotonic()))
        while not marker.passed.wait(min(LOOK, max(0.0, deadline - time.monotonic()))):
            if time.monotonic() >= deadline or unless.is_set():
                return False
        return True

    @property
    def stored(self) -> int:
        """The number of messages in the history."""
        with self._lock:
            return self._stored

    def per_second(self) -> float:
        """Messages committed a second, averaged over the last ten whole seconds."""
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
        while self._turn():  # a call for each batch, so that no reference to it stays while waiting
            pass

    def _turn(self) -> bool:
        """Wait for a batch and handle it. Return whether there will be another one.

        An unexpected exception ends the thread, and with it the server: see ends. Continuing would be worse, because
        nobody could know which part of the batch is committed, and which senders were told.
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
        """Seconds until the next background task; None: there is none."""
        due = [at for at in (self._sweep_at, self._index_at, self._purge_at) if at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _handle(self, items: list[ordered.Ordered]) -> None:
        """Number a batch, commit it, and publish it or refuse it."""
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
        """Forget these rooms: nothing can be said in them any more. Delete their rows now, or with the next batch."""
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
        """Number a batch. This changes only the notes on rooms without a row."""
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
        """Take note of a batch that is stored, and of what is due after it."""
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
        """Delete a slice of old data. Senders wait for at most one slice."""
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
        """Do one step of a purge, which makes deleted data unreadable."""
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
        """Add some messages to the search index: so few that senders do not wait long."""
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
        """If nothing can be stored any more, tell everybody and the log, once."""
        if isinstance(error, StorageBroken) and not self.read_only:
            log.error("%s", error.advice or error)
            self.read_only = error.error
            self._announce(self.read_only)

    def _log(self, level: int, text: str) -> None:
        """Log what could not be written. After the report that nothing can be stored, only at the debug level."""
        log.log(logging.DEBUG if self.read_only else level, "%s", text)
