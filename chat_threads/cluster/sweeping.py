"""Deleting what is old, in a cluster: entries of the log decide what goes, so the same goes on all servers.

A server whose clock and options say that something is too old puts that into the log (``values.Swept``). The row that
has it is noted in the file, in the transaction that stores the row. Each server then deletes in its own time, in steps.
Until it has, ``Sweeper.covers`` says what counts as deleted. What is stored after the row is not touched, whatever its
time is: another server may have deleted already.

The history thread calls all of this.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from .. import audit
from ..retention import LOOK_ROWS, Slice, Sweeper, some
from ..upkeep import Upkeep
from .values import Swept

HOUR_MS = 3_600_000
STEP = 10  # a server decides again after a tenth of the shortest time for which messages are kept, or after an hour


class LogSweeper(Sweeper):
    """Deletes what entries of the log have decided, the earliest entry first."""

    def open(self, writer: sqlite3.Connection) -> None:
        super().open(writer)
        writer.execute(
            "CREATE TABLE IF NOT EXISTS sweeps (id INTEGER PRIMARY KEY, upto INTEGER NOT NULL, older_than INTEGER,"
            " rooms TEXT NOT NULL)"
        )
        self._waits = bool(writer.execute("SELECT 1 FROM sweeps").fetchone())

    def decide(self, writer: sqlite3.Connection, upto: int, item: Swept, kept: Mapping[int, int]) -> None:
        """Note which messages go, of those with ids up to ``upto``. ``kept``: for how many milliseconds messages are
        kept, in the rooms that have a rule for that. The caller commits this, and then calls ``decided``."""
        rooms = {room: item.now - time for room, time in kept.items() if time >= item.least}
        writer.execute(
            "INSERT INTO sweeps (upto, older_than, rooms) VALUES (?, ?, ?)", (upto, item.older_than, json.dumps(rooms))
        )
        if item.older_than is not None and audit.forget_old(writer, item.older_than):
            self._leave_remains(writer)

    def decided(self) -> None:
        self._waits = True
        self.has_remains()

    def covers(self, writer: sqlite3.Connection, room: int, number: int) -> bool:
        """Whether a message counts as deleted, although it may still be there."""
        if not self._waits:
            return False
        row = writer.execute("SELECT id, at FROM messages WHERE room = ? AND number = ?", (room, number)).fetchone()
        waiting = writer.execute("SELECT upto, older_than, rooms FROM sweeps").fetchall()
        return bool(row) and any(
            row[0] <= upto and row[1] < _limit(older_than, json.loads(rooms), room)
            for upto, older_than, rooms in waiting
        )

    def sweep(self, writer: sqlite3.Connection, older_than: int | None, left: dict[int, int]) -> Slice:
        """The next slice: of deleted rooms, then of the earliest entry. All messages are looked at, because the times
        are from the clocks of several servers."""
        doomed = writer.execute("SELECT min(room) FROM doomed").fetchone()[0]
        if doomed is not None:
            return self._sweep_room(writer, doomed)
        entry = writer.execute("SELECT id, upto, older_than, rooms FROM sweeps ORDER BY id LIMIT 1").fetchone()
        if entry is None:
            self._waits = False
            return Slice()
        number, upto, before, text = entry
        rooms: dict[str, int] = json.loads(text)
        after = self._slice.after
        looked, last = writer.execute(
            "SELECT count(*), max(id) FROM (SELECT id FROM messages WHERE id > ? AND id <= ? ORDER BY id LIMIT ?)",
            (after, upto, LOOK_ROWS),
        ).fetchone()
        if not looked:
            writer.execute("DELETE FROM sweeps WHERE id = ?", (number,))
            return Slice(more=True)
        which = "" if before is not None else f"room IN ({', '.join(rooms)}) AND "
        found, rest = some(
            writer,
            f"{which}id > ? AND id <= ? AND at < ? ORDER BY id",
            (after, last, max([*rooms.values(), *([] if before is None else [before])], default=0)),
        )
        if old := [row for row in found if row.at < _limit(before, rooms, row.room)]:
            self._delete_old(writer, old)
        return Slice(old, after=found[-1].id if rest else last, more=True)


def _limit(older_than: int | None, rooms: Mapping[str, int], room: int) -> int:
    """The time before which the messages of a room go."""
    return max(rooms.get(str(room), 0), older_than or 0)


class LogUpkeep(Upkeep):
    """Decides nothing by itself: ``decision`` is for the log."""

    decision: Swept | None = None  # what this server's clock and options say, until the history takes it
    last: tuple[int, int | None] = (0, None)  # the time and the limit of the last decision that the log has

    def _decided(self, now: int, oldest: int | None, least: int) -> None:
        self._oldest_kept, self._left = None, {}
        shortest = [each for each in self._rules.values() if each >= least]
        if oldest is not None:
            shortest.append(now - oldest)
        step = min(HOUR_MS, min(shortest, default=0) // STEP)
        at, limit = self.last
        if (shortest and now >= at + step) or (oldest is not None and oldest >= (limit or 0) + step):
            self.decision = Swept(now, oldest, least)
