"""queue.Queue, emptied in one go.

The standard queue hands out one item per call, and each call takes its lock and may wake a thread. Here a
consumer takes all that is waiting at once: under load the batches grow by themselves, and the cost of a
lock, a commit or a send is shared by everything in the batch.
"""

from __future__ import annotations

import queue
import time
from typing import TypeVar

T = TypeVar("T")


class BatchQueue(queue.Queue[T]):
    """A bounded queue.Queue with one consumer, which takes batches.

    As in the standard library, ``mutex`` guards the items, and the conditions ``not_empty`` and ``not_full``
    share it; ``put`` waits while ``maxsize`` items are there.
    """

    most = 0  # the most that ever waited: noted when it is taken, for until then a queue only grows

    def depth(self) -> tuple[int, int]:
        """How much waits now, and the most that ever did. Two numbers read as a whole: no lock is taken."""
        waiting = len(self.queue)
        return waiting, max(self.most, waiting)

    def take(self, limit: int, timeout: float | None = None) -> list[T]:
        """Wait until there is something (at most ``timeout`` seconds), then take up to ``limit`` items.

        Returns the items in order; an empty list when the time is up. For the consumer's thread only.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.not_empty:
            while not self.queue:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return []
                self.not_empty.wait(left)
            self.most = max(self.most, len(self.queue))
            if len(self.queue) <= limit:
                batch = list(self.queue)
                self.queue.clear()
            else:
                batch = [self.queue.popleft() for _ in range(limit)]
            self.not_full.notify(len(batch))
            return batch
