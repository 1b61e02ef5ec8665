"""What the history thread does besides messages: it deletes old data, indexes, purges, and copies SQLite's log.

Each task goes in small steps, and a step is done between two batches. So senders wait for at most one step.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Set

from . import inside
from .batch import Batch
from .retention import DAY_MS
from .storage import Storage
from .storage_errors import StorageError

log = logging.getLogger(__name__)

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


class _Task:
    """Something to do in steps."""

    def __init__(self, does: str, step: Callable[[], None], at: float | None) -> None:
        self.does = does  # what the thread does meanwhile, for /threads
        self.step = step  # does one step, and sets ``at``
        self.at = at  # time of the next step; None: there is nothing to do


class Upkeep:
    """The tasks of one history. Owned by the history thread, which calls everything.

    ``connected`` returns the tokens of connected clients, which are not forgotten. ``kept`` returns for how many
    milliseconds messages are kept in the rooms that have a rule for that. ``deleted`` gets the number of
    messages that a step has deleted. ``give_up`` gets each error of the storage, and returns whether nothing can be
    stored any more.
    """

    def __init__(
        self,
        storage: Storage,
        retain_days: float | None,
        now: Callable[[], float],
        connected: Callable[[], Set[int]],
        kept: Callable[[], Mapping[int, int]],
        deleted: Callable[[int], None],
        give_up: Callable[[StorageError], bool],
    ) -> None:
        self._storage = storage
        self._retain = None if retain_days is None else int(retain_days * DAY_MS)
        self._now = now
        self._connected = connected
        self._kept = kept
        self._deleted = deleted
        self._give_up = give_up
        self.sweeping = _Task("deletes what is old", self._sweep, 0.0)
        self.indexing = _Task("indexes", self._index, 0.0)
        self.purging = _Task("overwrites what was deleted", self._purge, None)
        self._tasks = (self.sweeping, self.indexing, self.purging)
        self._oldest_kept: int | None = None  # the time before which messages are too old; None: no message is too old
        self._rules: Mapping[int, int] = {}  # for how long messages were kept in rooms when this pass began
        self._left: dict[int, int] = {}  # the same for rooms with a rule of their own that this pass has yet to check
        self.passing = False  # there are more messages to delete by _oldest_kept
        self.tokens_used = TOKENS_SWEPT  # since the last search for surplus tokens
        self._purge_took = 0.0  # seconds that this purge has taken so far
        self.purge_again = 0.0  # no purge before this time
        self.index_again = 0.0  # no step of indexing before this time
        self.said_at = 0.0  # time of the last commit of a message
        self._index_told: float | None = None  # time of the last report of progress; None: there was none

    def do(self, now: float, committed: Batch | None = None) -> float | None:
        """Do a step of each task that is due, and copy SQLite's log into the file if it is long. Return the seconds
        until the next step is due; None: there is nothing to do. ``now`` is by time.monotonic(). ``committed`` is
        what the history has just stored."""
        if committed is not None:
            self.note(now, committed)
        first: float | None = None
        grown = self._storage.log_is_long
        for task in self._tasks:
            if task.at is not None and task.at <= now:
                inside.does(task.does)
                task.step()
                grown = True
                now = time.monotonic()
            if task.at is not None and (first is None or task.at < first):
                first = task.at
        if grown:
            self._checkpoint()
        if first is None:
            return None
        return first - now if first > now else 0.0

    def note(self, now: float, committed: Batch) -> None:
        """Find out what a batch that is stored makes necessary."""
        self.tokens_used += committed.tokens_used
        if self.tokens_used >= TOKENS_SWEPT or committed.sweeps:
            self.sweeping.at = now
        if committed.messages:
            self.said_at = now
            at = now if self._storage.unindexed >= INDEX_AFTER else now + QUIET
            self.indexing.at = at if at > self.index_again else self.index_again

    def _failed(self, error: StorageError, level: int, what: str) -> bool:
        """Log what could not be done; after the report that nothing can be stored, only at the debug level."""
        broken = self._give_up(error)
        log.log(logging.DEBUG if broken else level, "%s: %s", what, error)
        return broken

    def _sweep(self) -> None:
        """Delete a slice of old data."""
        self.sweeping.at = time.monotonic() + SWEEP_EVERY  # whatever happens now
        try:
            kept = self._kept()
            if (not self.passing or kept != self._rules) and (self._retain is not None or kept):
                self._begin(kept)
            elif kept != self._rules:  # no room has a rule of its own any more
                self._left, self._rules = {}, kept
            gone, more = self._storage.sweep(self._oldest_kept, self._left)
            self.passing = more
            if self.tokens_used >= TOKENS_SWEPT:
                if self._storage.sweep_tokens(self._connected()):
                    more = True
                else:
                    self.tokens_used = 0
        except StorageError as error:
            self._failed(error, logging.WARNING, "old data was not deleted")
            gone, more, self.passing = 0, False, False
            self._left.clear()
            pause: float | None = SWEEP_EVERY
            self.tokens_used = 0
        else:
            pause = SWEEP_PAUSE if more else SWEEP_EVERY if kept or self._retain is not None else None
        self.sweeping.at = None if pause is None else time.monotonic() + pause
        self.purging.at = max(time.monotonic(), self.purge_again) if self._storage.remains and not more else None
        self._deleted(gone)

    def _begin(self, kept: Mapping[int, int]) -> None:
        """Begin a pass: find out which messages are too old now. Raises StorageError."""
        self._rules = kept
        now = int(self._now() * 1000)
        limits = [*kept.values(), *([] if self._retain is None else [self._retain])]
        least = self._storage.trusted_for(now, min(limits))
        oldest = now - self._retain if self._retain is not None and self._retain >= least else None
        self._decided(now, oldest, least)

    def _decided(self, now: int, oldest: int | None, least: int) -> None:
        """Delete what is older than ``oldest``, and what rooms keep no longer."""
        self._oldest_kept = oldest
        self._left = {room: now - each for room, each in self._rules.items() if each >= least}

    def _purge(self) -> None:
        """Do one step of a purge, which makes deleted data unreadable."""
        began = time.monotonic()
        broken = False
        try:
            pause = self._storage.purge()
        except StorageError as error:
            log.warning("what was deleted may still be readable in the file: %s", error)
            broken = self._give_up(error)
            pause = SWEEP_EVERY
        now = time.monotonic()
        self._purge_took += now - began
        if pause is None:
            log.info("what was deleted can no longer be read in the history's files")
            self.purge_again = now + PURGE_REST * self._purge_took
            self._purge_took = 0.0
        self.purging.at = None if pause is None or broken else now + pause

    def _index(self) -> None:
        """Add some messages to the search index."""
        began = time.monotonic()
        try:
            self._storage.index()
        except StorageError as error:
            broken = self._failed(
                error, logging.WARNING, "the search index could not be written, so searches take longer"
            )
            self.indexing.at = None if broken else time.monotonic() + INDEX_AGAIN
        else:
            now = time.monotonic()
            pause = INDEX_PAUSE if now - self.said_at >= QUIET else max(INDEX_PAUSE, INDEX_REST * (now - began))
            self.indexing.at = now + pause if self._storage.unindexed else None
            self._tell_how_far()
        self.index_again = self.indexing.at or 0.0

    def _checkpoint(self) -> None:
        try:
            self._storage.checkpoint()
        except StorageError as error:
            self._failed(error, logging.ERROR, "SQLite's log was not copied into the file")

    def _tell_how_far(self) -> None:
        now, left = time.monotonic(), self._storage.unindexed
        if left > INDEX_LONG and (self._index_told is None or now - self._index_told >= TOLD_EVERY):
            log.info("making the search index: %d messages to go; until then searches take longer", left)
            self._index_told = now
        elif not left and self._index_told is not None:
            log.info("the search index is made")
            self._index_told = None
