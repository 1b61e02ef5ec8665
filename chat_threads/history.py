"""The history thread: it numbers messages, commits them, and publishes them after the commit.

This file keeps promise 1: no message, topic or deletion is published before it is committed. Promise 2 begins here:
there is one history thread, so there is one order. The news of joins, leaves and new names goes through the same queue,
although only messages get a number.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence, Set
from typing import Any

from . import inside, ordered
from .batch import Batch
from .errors import ChatError, MaybeStored, NotStored, ReadOnly, RoomNotStored
from .events import Message
from .governance import governed
from .latch import Latch
from .metrics import Commits, LogNumbers
from .numbering import Numbering, Rooms
from .once import REFS_BYTES, Once, Refused
from .pace import Seldom
from .queues import BatchQueue
from .retention import DAY_MS
from .storage import Storage
from .storage_errors import StorageBroken, StorageError, StorageUnsure
from .upkeep import Upkeep

log = logging.getLogger(__name__)

AHEAD = 64  # lines, at most, in a batch that the next one need not wait for
BATCH = 512  # values in one transaction, at most; with what goes AHEAD of it, if it has not waited for that
QUEUE = 2048  # values in the queue; if it is full, senders wait
PATIENCE = 30.0  # seconds that a sender waits for a place in the queue
IDLE = "waits for messages"  # what /threads shows of the thread between two batches
LOG_PAUSE = 10.0  # seconds between two log lines about commits that fail
LOOK = 0.25  # seconds after which a thread that waits for the queue checks whether it still has to

Publish = Callable[[Sequence[ordered.Published]], Iterable[int] | None]
Refuse = Callable[[ordered.Ordered, ChatError], None]
Announce = Callable[[ChatError], None]
Flush = Callable[[bool], bool]
Change = Callable[[Sequence[ordered.AccountChange]], None]


# The error for a value that could not be stored. For values of other types, no error is sent.
_NOT_STORED: dict[type[ordered.Ordered], Callable[[Any, str], ChatError]] = {
    ordered.Draft: lambda item, why: NotStored(why),
    ordered.RoomEnded: lambda item, why: NotStored(why, "done"),
    ordered.TopicSet: lambda item, why: NotStored(why, "done"),
    ordered.Redacted: lambda item, why: NotStored(why, "done"),
    ordered.Noted: lambda item, why: NotStored(why, "done"),
    ordered.RoomChanged: lambda item, why: NotStored(why, "done"),
    ordered.AccountStored: lambda item, why: NotStored(why, "done"),
    ordered.AccountEnded: lambda item, why: NotStored(why, "done"),
    ordered.TokenUsed: lambda item, why: NotStored(why, "done"),
    ordered.RoomMade: lambda item, why: RoomNotStored(item.room, why),
}


def _not_stored(items: Iterable[ordered.Ordered | None], failed: StorageError) -> Refused:
    """The values of a failed batch whose origins get an error, each with that error."""
    unsure = isinstance(failed, StorageUnsure)
    return [
        (item, MaybeStored() if unsure else _NOT_STORED[type(item)](item, str(failed)))
        for item in items
        if item is not None and type(item) in _NOT_STORED
    ]


class History:
    """A queue and the one thread that empties it into the storage.

    ``submit``, ``enqueue`` and ``settle`` are for any thread. The history thread calls the functions that ``start``
    gets: ``publish`` with the values to show, in order, which returns the ids of the rooms that it dropped; ``refuse``
    with each value that was not stored, and the error; ``announce`` with an error for everybody; ``flush`` before each
    batch, to wait until the writers have sent what they can of the one before. It calls ``connected`` for the tokens
    of connected clients, which are not forgotten. Between two batches, the results of requests under tokens take at
    most ``refs_bytes`` of memory; the others are read from the file when needed. It calls ``accounts`` with the changes
    of accounts that are stored.
    """

    _upkeeps = Upkeep
    log_numbers: LogNumbers | None = None  # only in a cluster

    def __init__(
        self,
        storage: Storage,
        retain_days: float | None = None,
        now: Callable[[], float] = time.time,
        connected: Callable[[], Set[int]] = frozenset,
        refs_bytes: int = REFS_BYTES,
        accounts: Change = lambda changes: None,
    ) -> None:
        self.storage = storage
        self._publish: Publish  # this and the next three: set by ``start``, before the thread begins
        self._refuse: Refuse
        self._announce: Announce
        self._flush: Flush
        self.read_only: ReadOnly | None = None  # set once, by the history thread; any thread reads it
        self.commits = Commits()  # changed by the history thread; any thread reads its attributes
        self.stored = storage.count()  # messages in the history; set by the history thread, and any thread reads it
        self._now = now
        self._accounts = accounts
        self._queue: BatchQueue[ordered.Ordered | None] = BatchQueue(QUEUE)
        self.thread = threading.Thread(target=self._run, name="history", daemon=True)
        # Owned by the history thread:
        self._slot = inside.Slot("history", IDLE, None, self._queue.depth)  # another one once the thread runs
        self._ahead = 0  # lines published since the writers had sent everything; beyond AHEAD, the next batch waits
        self._failures = Seldom(LOG_PAUSE)  # log lines about commits that failed
        self._failing = False  # whether the last of these lines is still true
        self._pause: float | None = 0.0  # seconds until a step of the upkeep is due; None: none is
        rooms = storage.rooms()
        last: dict[int, int | None] = {room.id: room.last for room in rooms}
        self._rooms = Rooms(last, storage.message, governed(rooms, storage.governed()))
        self._once = Once(storage.refs, refs_bytes)
        self._upkeep = self._upkeeps(storage, retain_days, now, connected, self._kept, self._deleted, self._give_up_on)

    # --- any thread ---------------------------------------------------------------------------------------

    def start(
        self,
        publish: Publish,
        refuse: Refuse,
        announce: Announce = lambda error: None,
        flush: Flush = lambda may_go_on: True,
    ) -> None:
        """Begin. Once, by main."""
        self._publish, self._refuse, self._announce, self._flush = publish, refuse, announce, flush
        self.thread.start()

    @property
    def trouble(self) -> str:
        """Why it can store nothing now although it works, in a sentence; "": it can. For any thread."""
        return ""

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

    def settle(self, timeout: float, unless: Latch | None = None) -> bool:
        """Wait until all values that were submitted before have been published or refused: a barrier in the queue.

        Returns False after ``timeout`` seconds, or within LOOK seconds after ``unless`` is set; while the queue is
        full, ``unless`` does not count.
        """
        if self._is_settled():
            return True
        deadline = time.monotonic() + timeout
        marker = ordered.Marker()
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

    def _is_settled(self) -> bool:
        """Whether nothing is waiting or under way."""
        return self._queue.is_done()

    def waiting(self) -> int:
        """The number of values in the queue. Takes no lock."""
        return self._queue.depth()[0]

    # --- the history thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        self._slot = inside.enter("history", IDLE, depth=self._queue.depth)
        try:
            self._work()
        finally:
            inside.leave()

    def _work(self) -> None:
        while self._turn():  # a call for each batch, so that no reference to it stays while waiting
            pass

    def _turn(self) -> bool:
        """Wait for a batch and handle it. Return whether there will be another one.

        Before a batch is committed, the writers hand the batch before it to the system. So queues grow only for slow
        clients. For all others the batches grow instead, and the writers do not have to compete with a commit for the
        interpreter's lock. But if that batch was small, and the writers have many members left, this one goes with it:
        they then get both in one send. The next one waits.

        An unexpected exception ends the thread, and with it the server (see ``ends``). Continuing would be worse:
        nobody could know which part of the batch is committed, and which senders were told.
        """
        batch = self._queue.take(BATCH, self._pause)
        if batch:
            if self._flush(self._ahead <= AHEAD and len(batch) <= BATCH - AHEAD):
                self._ahead = 0
            if self._queue.queue:  # what came meanwhile joins the batch
                batch += self._queue.take(BATCH - self._ahead - len(batch), 0.0)
        committed = self._handle(batch)
        now = time.monotonic()
        self._pause = self._upkeep.do(now, committed)
        self._slot.doing = IDLE, now
        more = True
        for item in batch:
            if type(item) is ordered.Marker:
                item.passed.set()
            elif item is None:
                more = False
        return more

    def _handle(self, items: Sequence[ordered.Ordered | None], numbered: Numbering | None = None) -> Batch | None:
        """Number a batch, commit it, and publish it or refuse it. Return what was committed; None: nothing was."""
        if numbered is None:
            numbered = Numbering(self._rooms, self._once, int(self._now() * 1000), items)
        batch, published, refused = numbered.batch, numbered.published, numbered.refused
        now, committed = time.monotonic(), None
        if batch.messages or batch.more:
            began = now
            self._slot.doing = "commits", began
            try:
                self.storage.commit(batch)
            except StorageError as failed:
                now = time.monotonic()
                self.commits.took(began, now, 0, str(failed))
                if not self._give_up_on(failed) and (count := self._failures.happens()):
                    log.error("%s: not stored: %s (commits that failed: %d)", self.storage.path, failed, count)
                    self._failing = True
                answered = numbered.answered
                refused = _not_stored((item for item in items if id(item) not in answered), failed)
                if isinstance(failed, StorageUnsure):
                    self._once.may_come_back(batch.refs)
                # Joins, leaves and new names are shown all the same.
                shown = {id(item) for item in (*items, *answered.values())}
                published = [item for item in published if id(item) in shown and type(item) not in _NOT_STORED]
            else:
                now, committed = time.monotonic(), batch
                if self._failing:
                    log.info("%s: stored again", self.storage.path)
                    self._failing = False
                self._committed(numbered, began, now)
        elif numbered.spoke:
            self._rooms.spoken.note(numbered.spoke, numbered.at)
        self._show(numbered, published, refused, now)
        return committed

    def _show(self, numbered: Numbering, published: Sequence[ordered.Published], refused: Refused, now: float) -> None:
        """Publish what is committed, and tell those whose values are not."""
        if published:
            self._slot.doing = "publishes", now
            self._ahead += BATCH if numbered.further or self._ahead else len(published)
            if dropped := (self._publish_in_parts if numbered.further else self._publish)(published):
                self._forget(dropped)
        for item, error in refused + numbered.unsure:
            self._refuse(item, error)
        if numbered.under_tokens:
            self._once.trim()

    def _publish_in_parts(self, published: Iterable[ordered.Published]) -> list[int]:
        """Publish a batch in which texts have several lines, in parts, after each of which the writers send what they
        can. So no batch fills the queue of a client that reads: --queue-limit is above BATCH, which is a part and what
        went AHEAD of it."""
        dropped: list[int] = []
        part: list[ordered.Published] = []
        left = BATCH - AHEAD
        for item in published:
            lines = item.lines if type(item) is Message else 1
            if lines > left:
                dropped += self._publish(part) or ()
                self._flush(False)
                part, left = [], BATCH - AHEAD
            part.append(item)
            left -= lines
        return dropped + list(self._publish(part) or ())

    def _forget(self, rooms: Iterable[int]) -> None:
        """Forget these rooms. Delete their rows now, or with the next batch."""
        if self._rooms.forget(rooms):
            unused = self._rooms.unused
            try:
                self.storage.commit(Batch(rooms_unused=unused))
            except StorageError as error:
                log.warning("%d unused rooms are still in the file: %s", len(unused), error)
                self._give_up_on(error)
            else:
                self._rooms.unused = []

    def _committed(self, numbered: Numbering, began: float, now: float) -> None:
        """Take note of a batch that is stored."""
        batch = numbered.batch
        messages = len(batch.messages)
        self.stored += messages
        self.commits.took(began, now, messages)
        self._go_on_from(numbered)
        if batch.accounts:
            self._tell_of_accounts(batch)

    def _go_on_from(self, numbered: Numbering) -> None:
        """Keep what this batch leads to: the next one is numbered from there."""
        batch, rooms = numbered.batch, self._rooms
        rooms.last |= numbered.numbers
        rooms.governed = numbered.governed
        rooms.spoken.note(numbered.spoke, numbered.at)
        for room_id in batch.rooms_ended:
            del rooms.last[room_id]
        rooms.unsaved = {}
        rooms.unused = []
        if batch.refs:
            self._once.committed(batch.refs)

    def _tell_of_accounts(self, batch: Batch) -> None:
        self._accounts([each for each in batch.accounts if not isinstance(each, ordered.TokenUsed)])

    def wait_to_speak(self, room_id: int, slow: int, identity: int) -> int:
        """For how many seconds a person must not speak in a room with this ``slow``. Called by any thread."""
        return self._rooms.spoken.wait(room_id, slow, identity, int(self._now() * 1000))

    def _kept(self) -> dict[int, int]:
        """For how many milliseconds messages are kept in the rooms that have a rule for that."""
        return {room: each.keep * DAY_MS for room, each in self._rooms.governed.items() if each.keep}

    def _deleted(self, messages: int) -> None:
        self.stored -= messages

    def _give_up_on(self, error: StorageError) -> bool:
        """If nothing can be stored any more, tell everybody and the log, once. Returns whether that is so."""
        if isinstance(error, StorageBroken) and not self.read_only:
            log.error("%s", error.advice or error)
            self.read_only = error.error
            self._announce(self.read_only)
        return self.read_only is not None
