"""queue.Queue, emptied in one go.

The standard queue hands out one item per call, and each call takes its lock and may wake a thread. Here a
consumer takes all waiting items at once. Under load, the batches grow by themselves, and all items in a batch share the
cost of a lock, a commit or a send.
"""

from __future__ import annotations

import queue
from typing import TypeVar

T = TypeVar("T")


class BatchQueue(queue.Queue[T]):
    """A bounded queue.Queue whose only consumer takes batches.

    As in the standard library, ``mutex`` guards the items, and ``put`` waits for ``not_full`` while ``maxsize`` items
    are there. The consumer does not wait for ``not_empty``. A thread that waits for a condition is woken while the lock
    is still held, and then has to wait a second time, for that lock. Here ``put`` releases the lock first, and then
    rings the bell. The consumer makes a new bell whenever it falls asleep, so it hears no ring that is late.

    ``join`` and ``task_done`` do not work: nobody counts the items that were taken.
    """

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize)
        self.most = 0  # the most items that ever waited; noted in take()
        self._bell: queue.SimpleQueue[None] | None = None  # set by the consumer, which sleeps by it
        self._putters = 0  # threads that wait for room; guarded by the mutex

    def depth(self) -> tuple[int, int]:
        """Items that wait now, and the most that ever did. Takes no lock: each number is read as a whole."""
        waiting = len(self.queue)
        return waiting, max(self.most, waiting)

    def is_done(self) -> bool:
        """Whether the consumer has handled all that was put so far, and waits for more. Any thread."""
        with self.mutex:
            return self._bell is not None and not self.queue

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Put an item, and wake the consumer. Wait for room, at most ``timeout`` seconds, or not at all; then raise
        queue.Full."""
        with self.mutex:
            if len(self.queue) >= self.maxsize:
                self._wait_for_room(block, timeout)
            self.queue.append(item)
        bell = self._bell
        if bell:
            bell.put(None)

    def _wait_for_room(self, block: bool, timeout: float | None) -> None:
        self._putters += 1
        try:
            if not block or not self.not_full.wait_for(lambda: len(self.queue) < self.maxsize, timeout):
                raise queue.Full
        finally:
            self._putters -= 1

    def take(self, limit: int, timeout: float | None = None) -> list[T]:
        """Wait until an item comes, at most ``timeout`` seconds after the last one; then take up to ``limit`` items.

        Returns the items in order, or an empty list after the timeout. Only for the consumer's thread.
        """
        while not self.queue:  # a thread may ring for an item that was taken before
            bell: queue.SimpleQueue[None] = queue.SimpleQueue()
            self._bell = bell
            if self.queue:  # again, because a thread that has just put an item may not have seen this bell
                break
            try:
                bell.get(timeout is None or timeout > 0, timeout)
            except queue.Empty:
                self._bell = None  # the consumer has something else to do
                return []
        with self.mutex:
            self._bell = None
            batch = self.queue
            self.queue = batch[limit:]  # mostly nothing
            waiting = len(batch)
            if waiting > self.most:
                self.most = waiting
            if self._putters:
                self.not_full.notify(waiting)
        del batch[limit:]
        return batch

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """As in the standard library, but only for the consumer's thread."""
        batch = self.take(1, timeout if block else 0.0)
        if not batch:
            raise queue.Empty
        return batch[0]

    def _init(self, maxsize: int) -> None:
        self.queue: list[T] = []  # a list, because take hands it out as it is and leaves a new one
