"""What is to go: messages of deleted rooms, those that are too old by a clock that can be believed, unused rooms.

A clock that is ahead for one start would delete the history of months. So the last time that was believed is kept in
the file, and a clock that is days away from it is doubted: nothing is deleted for its age until the clock has gone on
for a day, in one run or over several. What is said meanwhile does not count, for it has the time of the same clock. A
clock that is behind is doubted, too, but obeyed: it deletes too little.

Times may go back as the numbers go on, and a message may have a time that is still to come. So a pass looks at some
thousands of messages after the last one that it deleted, and once a day, and in the first pass, at all of them.

SQLite overwrites what is deleted, but not all of it. So what is to go is wiped first, in its place, and afterwards a
purge sees to the rest: the index is written anew, and so is a short file, and SQLite's log is emptied.

The history thread calls all of this, through the Storage.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from .schema import transaction
from .search import Index, together

log = logging.getLogger(__name__)

SWEEP_ROWS = 1000  # messages deleted in one transaction
SWEEP_LETTERS = 50_000  # and about so many letters: each has its piece in the index
LOOK_ROWS = 5000  # messages whose age is looked at in one transaction
LOOK_PAST = 4  # times so many, in a row, of which none is too old: then a pass ends
THOROUGH_EVERY = 86_400.0  # seconds between two passes that look at all messages
MERGE_PAGES = 100  # pages of the index that are written anew in one transaction
MAX_COMPACT = 1 << 25  # bytes of a file that is written anew as a whole, which takes about 0.2 s
PURGE_PAUSE = 0.02  # seconds between two steps of a purge
READER_PAUSE = 5.0  # and until SQLite's log is tried again, when somebody was reading it
NAMED = 5  # rooms named in a line of the log; the rest is counted

DAY = 86_400_000  # milliseconds
TRUST = 7.5 * DAY  # a clock may be so far from the last time that was believed: some servers run once a week
CONFIRMED = DAY  # a clock that is doubted is believed when it has gone on for so long
AGAIN = 14 * DAY  # but not when it has gone on by more at once, for then it was moved again
KEEP_EVERY = DAY // 24  # how exactly the time that was believed is kept


class _Row(NamedTuple):
    """What is to know of a message: its id, its room's, its time and its number."""

    id: int
    room: int
    at: int
    number: int


@dataclass(slots=True)
class _Tally:
    """What one pass has deleted for one reason."""

    rooms: Counter[int] = field(default_factory=Counter)  # how many messages of each room, by its id
    first: int = 1 << 62  # the smallest time of them
    last: int = 0

    def add(self, message: _Row) -> None:
        self.rooms[message.room] += 1
        self.first, self.last = min(self.first, message.at), max(self.last, message.at)


@dataclass(frozen=True, slots=True)
class Slice:
    """What one transaction of a sweep deletes."""

    deleted: Sequence[_Row] = ()
    doomed: bool = False  # they are of a room that was deleted, and not too old
    after: int = 0  # up to which message this pass has looked
    barren: int = 0  # looks in a row that found nothing
    more: bool = False  # whether the pass goes on
    at_end: bool = False  # whether it has looked at all messages
    wiped: tuple[int, int] = (0, 0)  # up to which number which deleted room is wiped


class Sweeper:
    """Deletes and purges in steps, so that nobody waits long, and says in the log what it deleted."""

    def __init__(self, index: Index, clock: Callable[[], float] = time.monotonic) -> None:
        self._index = index
        self._clock = clock
        self._slice = Slice()
        self._thorough_at = 0.0  # when a pass looks at all messages again
        self._old, self._doomed = _Tally(), _Tally()
        self._names: dict[int, str] = {}  # of rooms that were deleted
        self.remains = False  # something of what was deleted may still be readable in the file
        self._merging = self._merged = self._compacted = False  # how far the purge is
        self._warned: int | None = None  # since when the clock of which the log was told is doubted

    def open(self, writer: sqlite3.Connection) -> None:
        """Take over what the file says."""
        self.remains = bool(writer.execute("SELECT remains FROM retention").fetchone()[0])

    # --- the clock ------------------------------------------------------------------------------------------

    def oldest_kept(self, writer: sqlite3.Connection, now: int, retain: int) -> int | None:
        """The time before which messages are too old, if the clock says ``now``; None: it cannot be believed.

        All in milliseconds.
        """
        seen, doubted = writer.execute("SELECT seen, doubted FROM retention").fetchone()
        trust = min(TRUST, max(DAY, retain / 2))
        known = seen if seen is not None else _newest(writer, now)
        if known is not None and abs(now - known) > trust:
            doubted = self._doubt(known, doubted, now)
            if doubted is not None:
                writer.execute("UPDATE retention SET seen = ?, doubted = ?", (known, doubted))
                return now - retain if now < known else None
            log.warning("the clock has run on for a day, so the server trusts it now: %s", _date(now, "minutes"))
        elif self._warned is not None:
            log.info("the server trusts the clock again: %s", _date(now, "minutes"))
        self._warned = None
        if seen is None or doubted is not None or abs(now - seen) >= KEEP_EVERY:
            writer.execute("UPDATE retention SET seen = ?, doubted = NULL", (now,))
        return now - retain

    def _doubt(self, known: int, doubted: int | None, now: int) -> int | None:
        """Since when, by its own time, a clock is doubted that says ``now``; None: it has gone on for long enough."""
        if doubted is None or not 0 <= now - doubted <= AGAIN:
            doubted = now
        elif now - doubted >= CONFIRMED:
            return None
        if self._warned != doubted:
            self._warned = doubted
            behind = now < known
            log.warning(
                "the clock of this machine says %s, %.0f days %s the history was last used (%s)."
                " It may be wrong, so %s. If it is wrong, set it. If it is right, do nothing: the server trusts it"
                " after it has run on for a day, while the server runs or until another start.",
                _date(now, "minutes"),
                abs(now - known) / DAY,
                "before" if behind else "after",
                _date(known, "minutes"),
                "--retain may delete too little" if behind else "--retain deletes nothing for now",
            )
        return doubted

    # --- purging --------------------------------------------------------------------------------------------

    def purge(
        self, writer: sqlite3.Connection, copying: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    ) -> float | None:
        """Do a step so that nothing of what was deleted can be read in the file: seconds until the next one, or None:
        that was the last. Not in a transaction. SQLite's log is copied into the file within ``copying``."""
        if self._index.usable and not self._merged:
            with transaction(writer):
                self._merged = not self._index.merge(writer, MERGE_PAGES, not self._merging)
            self._merging = True
            return PURGE_PAUSE
        if not self._compacted:
            pages, size = (writer.execute(f"PRAGMA page_{what}").fetchone()[0] for what in ("count", "size"))
            if pages * size <= MAX_COMPACT:
                writer.execute("VACUUM")
            self._compacted = True
        with copying():  # at once, before somebody reads what is only in the log
            emptied = _empty_log(writer)
        if not emptied:
            return READER_PAUSE
        with transaction(writer):
            writer.execute("UPDATE retention SET remains = 0")
        self.remains = self._merging = self._merged = self._compacted = False
        return None

    # --- deleting -------------------------------------------------------------------------------------------

    def ends(self, writer: sqlite3.Connection, room: int) -> None:
        """Remember the name of a room that is about to be deleted, for the log."""
        for (name,) in writer.execute("SELECT name FROM rooms WHERE id = ?", (room,)).fetchall():
            self._names[room] = name

    def sweep(self, writer: sqlite3.Connection, older_than: int | None) -> Slice:
        """Delete the next slice; ``passed`` takes it back when it is committed."""
        doomed = writer.execute("SELECT min(room) FROM doomed").fetchone()[0]
        if doomed is not None:
            return self._sweep_room(writer, doomed)
        return Slice() if older_than is None else self._sweep_old(writer, older_than)

    def _sweep_room(self, writer: sqlite3.Connection, room: int) -> Slice:
        """The next slice of a deleted room. All of it is wiped before any of it is deleted: deleting makes SQLite move
        what lies beside it, and where that has been it is not overwritten."""
        was = self._slice
        upto = was.wiped[1] if was.wiped[0] == room else 0
        rows, rest = _some(writer, "room = ? AND number > ? ORDER BY number", (room, upto))
        self._leave_remains(writer)
        if rows:
            self._wipe(writer, rows)
        if rest:
            return Slice((), True, was.after, was.barren, True, wiped=(room, rows[-1].number))
        if upto:
            rows, rest = _some(writer, "room = ? ORDER BY number", (room,))
        if rows:
            self._delete(writer, rows)
        if not rest:
            writer.execute("DELETE FROM doomed WHERE room = ?", (room,))
        return Slice(rows, True, was.after, was.barren, True, wiped=(room, 1 << 62) if rest else (0, 0))

    def _sweep_old(self, writer: sqlite3.Connection, older_than: int) -> Slice:
        looked, last, old = writer.execute(
            "SELECT count(*), max(id), coalesce(sum(at < ?), 0)"
            " FROM (SELECT id, at FROM messages WHERE id > ? ORDER BY id LIMIT ?)",
            (older_than, self._slice.after, LOOK_ROWS),
        ).fetchone()
        deleted: Sequence[_Row] = ()
        if old:
            where = "id > ? AND id <= ? AND at < ? ORDER BY id"
            deleted, _ = _some(writer, where, (self._slice.after, last, older_than))
            self._leave_remains(writer)
            self._wipe(writer, deleted)
            self._delete(writer, deleted)
            for room, number in {each.room: each.number for each in sorted(deleted, key=lambda e: e.number)}.items():
                writer.execute("UPDATE rooms SET last = max(last, ?) WHERE id = ?", (number, room))
            if len(deleted) < old:
                return Slice(deleted, after=self._slice.after, more=True)
        barren = 0 if old else self._slice.barren + 1
        at_end = looked < LOOK_ROWS
        if at_end or (barren >= LOOK_PAST and self._clock() < self._thorough_at):
            return Slice(deleted, at_end=at_end)
        return Slice(deleted, after=last, barren=barren, more=True)

    def _wipe(self, writer: sqlite3.Connection, rows: Sequence[_Row]) -> None:
        """Take messages out of the index, and overwrite who said what with as many blanks."""
        these = f"WHERE id IN ({', '.join(str(row.id) for row in rows)})"
        messages = together(
            lambda sql, values: writer.execute(sql, values).fetchall(),
            f"SELECT id, room, sender, text FROM messages {these}",
            (),
        )
        self._index.remove(writer, [message for message in messages if message[3].strip()])  # not what is wiped already
        blanks = " " * max(max(len(text), len(sender)) * 4 for _, _, sender, text in messages)
        writer.execute(
            "UPDATE messages SET text = substr(?, 1, length(CAST(text AS BLOB))),"
            f" sender = substr(?, 1, length(CAST(sender AS BLOB))) {these}",
            (blanks, blanks),
        )

    def _delete(self, writer: sqlite3.Connection, rows: Sequence[_Row]) -> None:
        writer.execute(f"DELETE FROM messages WHERE id IN ({', '.join(str(row.id) for row in rows)})")

    def _leave_remains(self, writer: sqlite3.Connection) -> None:
        if not self.remains:
            writer.execute("UPDATE retention SET remains = 1")

    def passed(self, writer: sqlite3.Connection, done: Slice) -> None:
        """A slice is committed. At the end of a pass the log is told what it deleted."""
        tally = self._doomed if done.doomed else self._old
        for each in done.deleted:
            tally.add(each)
        self._slice = done
        if done.deleted or done.doomed:
            self.remains = True
            self._merging = self._merged = self._compacted = False  # a purge has to begin anew
        if done.at_end:
            self._thorough_at = self._clock() + THOROUGH_EVERY
        if not done.more:
            self.tell(writer)
            self._names.clear()  # no deleted room is left: those come before what is too old

    def tell(self, writer: sqlite3.Connection) -> None:
        """Tell the log what was deleted and not told yet."""
        for tally, what in ((self._old, "that were too old"), (self._doomed, "of deleted rooms")):
            if tally.rooms:
                log.info(
                    "deleted %d messages %s, from %s to %s: %s",
                    sum(tally.rooms.values()),
                    what,
                    _date(tally.first),
                    _date(tally.last),
                    self._rooms(writer, tally),
                )
        self._old, self._doomed = _Tally(), _Tally()

    def _rooms(self, writer: sqlite3.Connection, tally: _Tally) -> str:
        """How many of which room, those with most first."""
        named = []
        for room, count in tally.rooms.most_common(NAMED):
            found = None
            with contextlib.suppress(sqlite3.Error):  # what was deleted is deleted, whatever it was called
                found = writer.execute("SELECT name FROM rooms WHERE id = ?", (room,)).fetchone()
            named.append(f"{count} of {found[0] if found else self._names.get(room, f'room {room}')}")
        rest = len(tally.rooms) - len(named)
        return ", ".join(named) + (f", and some of {rest} other room{'s' if rest > 1 else ''}" if rest else "")


def forget_unused(writer: sqlite3.Connection, which: str, value: int | str) -> None:
    """Forget those rooms, if nothing was ever said in them; their owners' tokens are kept for other reasons only."""
    unused = f"FROM rooms WHERE {which} AND last = 0 AND NOT EXISTS (SELECT 1 FROM messages WHERE room = rooms.id)"
    owners = writer.execute(f"SELECT DISTINCT owner {unused} AND owner != 0", (value,)).fetchall()
    writer.execute(f"DELETE {unused}", (value,))
    writer.executemany(
        "UPDATE tokens SET kept = 0 WHERE id = ? AND NOT EXISTS (SELECT 1 FROM rooms WHERE owner = tokens.id)"
        " AND NOT EXISTS (SELECT 1 FROM refs WHERE token = tokens.id)",
        owners,
    )


def _some(writer: sqlite3.Connection, where: str, values: Sequence[int]) -> tuple[list[_Row], bool]:
    """The first of those messages, as many as may go at once, and whether there may be others.

    Read as one row: for each row that it hands out SQLite lets go of the GIL and has to get it back.
    """
    found = writer.execute(
        "SELECT group_concat(id || ' ' || room || ' ' || at || ' ' || number || ' ' || length(text))"
        f" FROM (SELECT id, room, at, number, text FROM messages WHERE {where} LIMIT ?)",
        (*values, SWEEP_ROWS),
    ).fetchone()[0]
    rows: list[_Row] = []
    letters = 0
    for each in found.split(",") if found else ():
        id_, room, at, number, length = map(int, each.split(" "))
        rows.append(_Row(id_, room, at, number))
        letters += length
        if letters >= SWEEP_LETTERS:
            break
    return rows, letters >= SWEEP_LETTERS or len(rows) == SWEEP_ROWS


def _empty_log(writer: sqlite3.Connection) -> bool:
    """Copy SQLite's log into the file and cut it to nothing; False if somebody reads it, for whom nobody waits."""
    timeout = writer.execute("PRAGMA busy_timeout").fetchone()[0]
    writer.execute("PRAGMA busy_timeout = 0")
    try:
        return not writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        writer.execute(f"PRAGMA busy_timeout = {timeout}")


def _newest(writer: sqlite3.Connection, now: int) -> int | None:
    """The latest time of the newest messages, leaving out those that lie in the future; None: there is none."""
    newest = "SELECT at FROM messages WHERE at <= ? ORDER BY id DESC LIMIT ?"
    latest: int | None = writer.execute(f"SELECT max(at) FROM ({newest})", (now, LOOK_ROWS)).fetchone()[0]
    return latest


def _date(at: int, exact: str = "days") -> str:
    """A time in milliseconds for people, in UTC, however far away it is."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=at)
    except OverflowError:
        return f"{at / 1000:.0f} s"
    return moment.strftime("%Y-%m-%d %H:%M UTC") if exact == "minutes" else moment.strftime("%Y-%m-%d")
