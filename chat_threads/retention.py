"""Deletes what must go: the messages of deleted rooms, messages and rows of the audit that are too old, the texts of
removed messages, and unused rooms.

**The clock.** A clock that is ahead at one start would delete the history of months. So the file keeps the last time
that was trusted, and a clock that is days away from it is doubted. Then nothing is deleted for its age until the clock
has run on for a day, in one run of the server or over several. If the clock is wrong by a few days only, what is kept
for a long time is deleted all the same. Messages that come meanwhile prove nothing, because their times are from the
same clock. A clock that is behind is doubted, too, but followed: it deletes too little.

**Old messages.** A message may have an earlier time than the one before it, or a time in the future. So a pass goes on
for some thousands of messages after the last one that it deleted. The first pass, and one a day, checks all messages.
Each pass begins with the rooms that have a time of their own (``/room keep``); there it trusts that times grow with the
numbers.

**Traces.** SQLite overwrites most of what is deleted, but not all. So messages are wiped in place before they are
deleted, and a purge does the rest afterwards: it rewrites the index, rewrites the whole file if it is short, and
empties SQLite's log.

The history thread calls all of this, through the Storage.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from . import audit
from .schema import transaction
from .search import Index, together

log = logging.getLogger(__name__)

SWEEP_ROWS = 1000  # the most messages that one transaction deletes
SWEEP_LETTERS = 50_000  # about the most characters that it deletes: each has an entry in the index
LOOK_ROWS = 5000  # messages whose age one transaction checks
LOOK_ROOMS = 50  # rooms with a time of their own that one transaction checks
LOOK_PAST = 4  # such transactions in a row that find no message that is too old, after which a pass ends
THOROUGH_EVERY = 86_400.0  # seconds between two passes that check all messages
MERGE_PAGES = 100  # pages of the index that one transaction rewrites
MAX_COMPACT = 1 << 25  # bytes up to which a purge rewrites the whole file, which takes about 0.2 s
PURGE_PAUSE = 0.02  # seconds between two steps of a purge
READER_PAUSE = 5.0  # seconds until the next try at emptying SQLite's log, if somebody was reading it
NAMED = 5  # rooms named in a log line; the others are counted

DAY_MS = 86_400_000  # milliseconds; so are the next four
TRUST = 7.5 * DAY_MS  # how far a clock may be from the last trusted time: some servers run once a week
CONFIRMED = DAY_MS  # how long a doubted clock must run on until it is trusted
AGAIN = 14 * DAY_MS  # a doubted clock that has advanced by more than this was set again; its day starts again
KEEP_EVERY = DAY_MS // 24  # how often the trusted time is stored
NEVER = 1 << 62  # longer than anything is kept


class _Row(NamedTuple):
    """A message without its text: its id, its room's id, its time and its number."""

    id: int
    room: int
    at: int
    number: int


@dataclass(slots=True)
class _Tally:
    """What a pass has deleted for one reason."""

    rooms: Counter[int] = field(default_factory=Counter)  # how many messages of each room, by its id
    first: int = 1 << 62  # the smallest of their times
    last: int = 0  # the largest

    def add(self, message: _Row) -> None:
        self.rooms[message.room] += 1
        self.first, self.last = min(self.first, message.at), max(self.last, message.at)


@dataclass(frozen=True, slots=True)
class Slice:
    """What one transaction of a sweep deletes."""

    deleted: Sequence[_Row] = ()
    doomed: bool = False  # whether they are of a deleted room; otherwise they are too old
    after: int = 0  # the id of the last message that this pass has checked
    barren: int = 0  # transactions in a row that found no message that is too old
    more: bool = False  # whether the pass goes on
    at_end: bool = False  # whether the pass has checked all messages
    wiped: tuple[int, int] = (0, 0)  # a deleted room, and the number up to which it is wiped


class Sweeper:
    """Deletes and purges in steps, so that nobody waits long, and logs what it deleted. Owned by the history thread."""

    def __init__(self, index: Index, clock: Callable[[], float] = time.monotonic) -> None:
        self._index = index
        self._clock = clock
        self._slice = Slice()  # the last one
        self._thorough_at = 0.0  # when a pass checks all messages again
        self._old, self._doomed = _Tally(), _Tally()  # what was deleted and not logged yet
        self._names: dict[int, str] = {}  # of deleted rooms
        self.remains = False  # whether something that was deleted may still be readable in the file
        self._merging = self._merged = self._compacted = False  # the steps of the purge that were begun or done
        self._warned: int | None = None  # the doubted time that the log was warned of

    def open(self, writer: sqlite3.Connection) -> None:
        """Read from the file whether deleted data may still be readable in it."""
        self.remains = bool(writer.execute("SELECT remains FROM retention").fetchone()[0])

    # --- the clock ------------------------------------------------------------------------------------------

    def trusted_for(self, writer: sqlite3.Connection, now: int, shortest: int) -> int:
        """The clock says ``now``. It is trusted for messages that are kept for as long as this, or longer; 0: for all;
        NEVER: for none. ``shortest`` is the shortest time for which some are kept. All times are in milliseconds."""
        seen, doubted = writer.execute("SELECT seen, doubted FROM retention").fetchone()
        known = seen if seen is not None else _newest(writer, now)
        if known is not None and abs(now - known) > min(TRUST, max(DAY_MS, shortest / 2)):
            doubted = self._doubt(known, doubted, now)
            if doubted is not None:
                writer.execute("UPDATE retention SET seen = ?, doubted = ?", (known, doubted))
                return 0 if now < known else _needed(doubted - known)
            log.warning("the clock has run on for a day, so the server trusts it now: %s", _date(now, "minutes"))
        elif self._warned is not None:
            log.info("the server trusts the clock again: %s", _date(now, "minutes"))
        self._warned = None
        if seen is None or doubted is not None or abs(now - seen) >= KEEP_EVERY:
            writer.execute("UPDATE retention SET seen = ?, doubted = NULL", (now,))
        return 0

    def _doubt(self, known: int, doubted: int | None, now: int) -> int | None:
        """Check whether the clock, which now shows ``now``, is still doubted.

        Returns what it showed when the doubt began. None: it has run on for long enough, and is trusted again.
        """
        if doubted is None or not 0 <= now - doubted <= AGAIN:
            doubted = now
        elif now - doubted >= CONFIRMED:
            return None
        if self._warned != doubted:
            self._warned = doubted
            behind, needed = now < known, _needed(doubted - known)
            what = "nothing" if needed == NEVER else f"nothing that is kept for less than {needed / DAY_MS:.1f} days"
            log.warning(
                "the clock of this machine says %s, %.0f days %s the history was last used (%s)."
                " It may be wrong, so %s. If it is wrong, set it. If it is right, do nothing: the server trusts it"
                " after it has run on for a day, while the server runs or until another start.",
                _date(now, "minutes"),
                abs(now - known) / DAY_MS,
                "before" if behind else "after",
                _date(known, "minutes"),
                "too little may be deleted for its age" if behind else f"{what} is deleted for its age now",
            )
        return doubted

    # --- purging --------------------------------------------------------------------------------------------

    def purge(
        self, writer: sqlite3.Connection, copying: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
    ) -> float | None:
        """Do one step towards a file in which nothing that was deleted can be read. Call it outside a transaction.

        Returns the seconds until the next step; None: that was the last. ``copying`` is a context in which SQLite's
        log is copied into the file.
        """
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
        with copying():  # at once, because a reader that needs the log keeps it from being emptied
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

    def sweep(self, writer: sqlite3.Connection, older_than: int | None, left: dict[int, int]) -> Slice:
        """Delete the next slice. The caller commits it, and then gives it to ``passed``.

        ``left`` has rooms with a time of their own, before which their messages are too old. Rooms are taken out of it
        when they have no more of them.
        """
        doomed = writer.execute("SELECT min(room) FROM doomed").fetchone()[0]
        if doomed is not None:
            return self._sweep_room(writer, doomed)
        if left:
            return self._sweep_kept(writer, left)
        return Slice() if older_than is None else self._sweep_old(writer, older_than)

    def _sweep_room(self, writer: sqlite3.Connection, room: int) -> Slice:
        """The next slice of a deleted room. The whole room is wiped before any message is deleted: when SQLite deletes
        a row, it moves its neighbours, and does not overwrite their old places."""
        was = self._slice
        upto = was.wiped[1] if was.wiped[0] == room else 0
        rows, rest = some(writer, "room = ? AND number > ? ORDER BY number", (room, upto))
        self._leave_remains(writer)
        if rows:
            self._wipe(writer, rows)
        if rest:
            return Slice((), True, was.after, was.barren, True, wiped=(room, rows[-1].number))
        if upto:
            rows, rest = some(writer, "room = ? ORDER BY number", (room,))
        if rows:
            self._delete(writer, rows)
        if not rest:
            writer.execute("DELETE FROM doomed WHERE room = ?", (room,))
        return Slice(rows, True, was.after, was.barren, True, wiped=(room, 1 << 62) if rest else (0, 0))

    def _sweep_kept(self, writer: sqlite3.Connection, left: dict[int, int]) -> Slice:
        """The next slice in rooms with a time of their own. Relies on times that grow with the numbers."""
        was = self._slice
        for room, before in list(left.items())[:LOOK_ROOMS]:
            first = "number IN (SELECT number FROM messages WHERE room = ? ORDER BY number LIMIT ?)"
            rows, rest = some(
                writer, f"room = ? AND {first} AND at < ? ORDER BY number", (room, room, SWEEP_ROWS, before)
            )
            if not rest:
                del left[room]
            if rows:
                self._delete_old(writer, rows)
                return Slice(rows, after=was.after, barren=was.barren, more=True)
        return Slice(after=was.after, barren=was.barren, more=True)

    def _sweep_old(self, writer: sqlite3.Connection, older_than: int) -> Slice:
        looked, last, old = writer.execute(
            "SELECT count(*), max(id), coalesce(sum(at < ?), 0)"
            " FROM (SELECT id, at FROM messages WHERE id > ? ORDER BY id LIMIT ?)",
            (older_than, self._slice.after, LOOK_ROWS),
        ).fetchone()
        deleted: Sequence[_Row] = ()
        if old:
            where = "id > ? AND id <= ? AND at < ? ORDER BY id"
            deleted, _ = some(writer, where, (self._slice.after, last, older_than))
            self._delete_old(writer, deleted)
            if len(deleted) < old:
                return Slice(deleted, after=self._slice.after, more=True)
        barren = 0 if old else self._slice.barren + 1
        at_end = looked < LOOK_ROWS
        if at_end and audit.forget_old(writer, older_than):
            self._leave_remains(writer)
            self.has_remains()
        if at_end or (barren >= LOOK_PAST and self._clock() < self._thorough_at):
            return Slice(deleted, at_end=at_end)
        return Slice(deleted, after=last, barren=barren, more=True)

    def redact(self, writer: sqlite3.Connection, room: int, number: int) -> None:
        """Remove a message: only its number, its time and its sender stay. The caller commits it, and then calls
        ``has_remains``."""
        for *row, sender in writer.execute(
            "SELECT id, room, at, number, sender FROM messages WHERE room = ? AND number = ?", (room, number)
        ).fetchall():
            self._leave_remains(writer)
            self._wipe(writer, [_Row(*row)])
            writer.execute("UPDATE messages SET sender = ?, kind = 'removed', text = '' WHERE id = ?", (sender, row[0]))

    def has_remains(self) -> None:
        """Something was deleted, and that is committed: a purge must start again."""
        self.remains = True
        self._merging = self._merged = self._compacted = False

    def _delete_old(self, writer: sqlite3.Connection, rows: Sequence[_Row]) -> None:
        self._leave_remains(writer)
        self._wipe(writer, rows)
        self._delete(writer, rows)
        for room, number in {each.room: each.number for each in sorted(rows, key=lambda e: e.number)}.items():
            writer.execute("UPDATE rooms SET last = max(last, ?) WHERE id = ?", (number, room))

    def _wipe(self, writer: sqlite3.Connection, rows: Sequence[_Row]) -> None:
        """Take messages out of the index, and overwrite their texts and senders with as many blanks."""
        these = f"WHERE id IN ({', '.join(str(row.id) for row in rows)})"
        messages = together(
            lambda sql, values: writer.execute(sql, values).fetchall(),
            f"SELECT id, room, sender, text FROM messages {these}",
            (),
        )
        self._index.remove(writer, [message for message in messages if message[3].strip()])  # the rest is wiped already
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
        """A slice is committed. At the end of a pass, log what it deleted."""
        tally = self._doomed if done.doomed else self._old
        for each in done.deleted:
            tally.add(each)
        self._slice = done
        if done.deleted or done.doomed:
            self.has_remains()
        if done.at_end:
            self._thorough_at = self._clock() + THOROUGH_EVERY
        if not done.more:
            self.tell(writer)
            self._names.clear()  # no deleted room is left, because those go before old messages

    def tell(self, writer: sqlite3.Connection) -> None:
        """Log what was deleted and is not in the log yet."""
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
        """How many messages of each room, the room with most first."""
        named = []
        for room, count in tally.rooms.most_common(NAMED):
            found = None
            with contextlib.suppress(sqlite3.Error):  # then the line has no name
                found = writer.execute("SELECT name FROM rooms WHERE id = ?", (room,)).fetchone()
            named.append(f"{count} of {found[0] if found else self._names.get(room, f'room {room}')}")
        rest = len(tally.rooms) - len(named)
        return ", ".join(named) + (f", and the rest of {rest} other room{'s' if rest > 1 else ''}" if rest else "")


def govern(writer: sqlite3.Connection, texts: Mapping[int, str]) -> None:
    """Store how rooms are governed, in place of what was stored before; "" stores nothing."""
    if not texts:
        return
    writer.executemany("DELETE FROM governance WHERE room = ?", [(room,) for room in texts])
    rows = [(room, text) for room, text in texts.items() if text]
    writer.executemany("INSERT INTO governance (room, text) VALUES (?, ?)", rows)


def forget_unused(writer: sqlite3.Connection, which: str, value: int | str) -> None:
    """Delete those of the selected rooms in which nothing was ever said.

    The token of such a room's owner is no longer marked as kept, unless it has another room or a stored ref.
    """
    unused = f"FROM rooms WHERE {which} AND last = 0 AND NOT EXISTS (SELECT 1 FROM messages WHERE room = rooms.id)"
    owners = writer.execute(f"SELECT DISTINCT owner {unused} AND owner != 0", (value,)).fetchall()
    for table in ("governance", "audit"):
        writer.execute(f"DELETE FROM {table} WHERE room IN (SELECT id {unused})", (value,))
    writer.execute(f"DELETE {unused}", (value,))
    writer.executemany(
        "UPDATE tokens SET kept = 0 WHERE id = ? AND NOT EXISTS (SELECT 1 FROM rooms WHERE owner = tokens.id)"
        " AND NOT EXISTS (SELECT 1 FROM refs WHERE token = tokens.id)",
        owners,
    )


def some(writer: sqlite3.Connection, where: str, values: Sequence[int]) -> tuple[list[_Row], bool]:
    """The first messages that match ``where``, as many as one transaction may delete, and whether there may be more.

    They are read as one row, because SQLite releases the GIL for each row and must get it back.
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
    """Copy SQLite's log into the file and cut the log to nothing. Does not wait for readers: False if there is one."""
    timeout = writer.execute("PRAGMA busy_timeout").fetchone()[0]
    writer.execute("PRAGMA busy_timeout = 0")
    try:
        return not writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        writer.execute(f"PRAGMA busy_timeout = {timeout}")


def _needed(ahead: int) -> int:
    """For how long messages must be kept so that a clock which is ahead by this is trusted for them. All times are in
    milliseconds."""
    return 2 * ahead if ahead <= TRUST else NEVER


def _newest(writer: sqlite3.Connection, now: int) -> int | None:
    """The latest time of the newest messages, without those in the future; None: there is none."""
    newest = "SELECT at FROM messages WHERE at <= ? ORDER BY id DESC LIMIT ?"
    latest: int | None = writer.execute(f"SELECT max(at) FROM ({newest})", (now, LOOK_ROWS)).fetchone()[0]
    return latest


def _date(at: int, exact: str = "days") -> str:
    """A time in milliseconds, in words for people, in UTC."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=at)
    except OverflowError:
        return f"{at / 1000:.0f} s"
    return moment.strftime("%Y-%m-%d %H:%M UTC") if exact == "minutes" else moment.strftime("%Y-%m-%d")
