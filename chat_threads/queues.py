"""queue.Queue, emptied in one go.

The standard queue hands out one item per call, and each call takes its lock and may wake a thread. Here a
consumer takes all waiting items at once. Under load, the batches grow by themselves, and all items in a batch share the
cost of a lock, a commit or a send.
"""

from __future__ import annotations

import queue
import time
from typing import TypeVar

T = TypeVar("T")


class BatchQueue(queue.Queue[T]):
    """A bounded queue.Queue whose only consumer takes batches.

    As in the standard library, ``mutex`` guards the items, and the conditions ``not_empty`` and ``not_full``
    share it; ``put`` waits while ``maxsize`` items are there.
    """

    most = 0  # the most items that ever waited; noted in take()

    def depth(self) -> tuple[int, int]:
        """Items that wait now, and the most that ever did. Takes no lock: each number is read as a whole."""
        waiting = len(self.queue)
        return waiting, max(self.most, waiting)

    def take(self, limit: int, timeout: float | None = None) -> list[T]:
        """Wait for an item, at most ``timeout`` seconds; then take up to ``limit`` items.

        Returns the items in order, or an empty list after the timeout. Only for the consumer's thread.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.not_empty:
            while not self.queue:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return []
                self.not_empty.wait(left)
            waiting = len(self.queue)
            self.most = max(self.most, waiting)
            if waiting <= limit:
                batch = list(self.queue)
                self.queue.clear()
            else:
                batch = [self.queue.popleft() for _ in range(limit)]
            self.not_full.notify(len(batch))
            return batch
