"""The copy: a server's own history, which has all of the log up to a position."""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any

from .. import inside, once
from ..batch import Batch, StoredRef
from ..errors import StartError, Unreadable
from ..events import Message
from ..latch import Latch
from ..register import LOBBY
from ..rules import fold
from ..schema import is_copy, transaction
from ..storage import Storage
from ..storage_errors import StorageBroken, StorageError
from .errors import CopyFailed, LogHasBegun, OtherLayout
from .ledger import Key, Ledger
from .sweeping import LogSweeper
from .values import Swept

log = logging.getLogger(__name__)

LAYOUT = 1  # of what only a copy has; a new number for a change with which a version cannot read the files of before
FORGETS_EVERY = 1000  # rows
LETTERS = 1_000_000  # of the messages and people that wait for their transaction, at most, and those of one more row
AGAIN = 0.25  # seconds between two tries to store what is in the log


@dataclass(slots=True)
class CopyBatch(Batch):
    """What a row of the log says, and its position."""

    position: int = 0
    last_room: int = 0
    ledger: Ledger | None = None  # the one of the server, which changes with later rows
    people: dict[Key, str | None] = field(default_factory=dict)  # Ledger.take_changes after this row
    servers: list[tuple[int, int, int]] = field(default_factory=list)  # Ledger.alive after this row
    swept: list[tuple[Swept, int, dict[int, int]]] = field(default_factory=list)
    """Each with the number of messages in this row before it, and for how many milliseconds rooms keep theirs."""

    @property
    def more(self) -> bool:
        return True

    @property
    def sweeps(self) -> bool:
        return bool(self.swept or self.rooms_ended or self.redacted or self.governed)

    @property
    def forgets(self) -> bool:
        """Whether surplus tokens are forgotten with it: on all servers with the same rows."""
        return self.position % FORGETS_EVERY == 0


@dataclass(slots=True)
class _Rows(Batch):
    """Rows that are stored in one transaction. What they have in all is for the books of the Storage."""

    rows: list[CopyBatch] = field(default_factory=list)

    @classmethod
    def of(cls, rows: list[CopyBatch]) -> _Rows:
        made = cls(rows=rows)
        made.tokens = dict(enumerate(token for each in rows for token in each.tokens.values()))
        made.messages = [each for row in rows for each in row.messages]
        made.redacted = [each for row in rows for each in row.redacted]
        return made

    @property
    def more(self) -> bool:
        return True

    def pages(self) -> int:
        return sum(each.pages() for each in self.rows)


class Copy(Storage):
    """A history that is a copy of a log.

    Rows are stored in groups, because a transaction takes longer than what is in it: ``add`` each, then ``settle``.
    What reads the file for a row settles those before it first, so each row finds the same on all servers.
    """

    copies = True
    _sweepers = LogSweeper
    sweeper: LogSweeper

    def __init__(self, *args: Any) -> None:
        self.stopping = Latch()  # set by any thread when the server stops: then nothing waits any more
        self._waiting: list[CopyBatch] = []  # rows that are not stored yet; owned by the history thread
        self._letters = 0  # of their messages and people
        super().__init__(*args)

    def _prepare(self, writer: sqlite3.Connection) -> bool:
        migrated = super()._prepare(writer)
        if layout_of(writer) not in (None, LAYOUT):
            raise OtherLayout(self.path)
        with transaction(writer):
            writer.execute(
                "CREATE TABLE IF NOT EXISTS copy (one INTEGER PRIMARY KEY CHECK (one = 1), engine INTEGER NOT NULL,"
                " position INTEGER NOT NULL, last_room INTEGER NOT NULL, last_message INTEGER NOT NULL,"
                " server INTEGER NOT NULL, file TEXT NOT NULL, layout INTEGER NOT NULL)"
            )
            writer.execute(
                "CREATE TABLE IF NOT EXISTS present (server INTEGER NOT NULL, session INTEGER NOT NULL,"
                " person TEXT NOT NULL, PRIMARY KEY (server, session)) WITHOUT ROWID"
            )
            writer.execute(
                "CREATE TABLE IF NOT EXISTS servers (server INTEGER PRIMARY KEY, last INTEGER NOT NULL,"
                " read INTEGER NOT NULL)"
            )
            if row := writer.execute("SELECT last_message FROM copy").fetchone():
                self._last_id = row[0]  # the newest messages may be deleted, and their ids must not come again
                self.unindexed = self._last_id - self._index.upto if self._index.usable else 0
        return migrated

    def add(self, batch: CopyBatch) -> None:
        """Store a row, at the latest with ``settle``. Raises CopyFailed."""
        assert batch.ledger
        batch.people, batch.servers = batch.ledger.take_changes(), batch.ledger.alive()
        self._waiting.append(batch)
        self._letters += sum(len(message.text) for message in batch.messages)
        self._letters += sum(len(text) for text in batch.people.values() if text)
        if batch.forgets or self._letters >= LETTERS:
            self.settle()

    def settle(self) -> None:
        """Store all rows that were added. Raises CopyFailed."""
        if self._waiting:
            rows, self._waiting, self._letters = self._waiting, [], 0
            self.commit(_Rows.of(rows))
            if any(each.swept for each in rows):
                self.sweeper.decided()

    def commit(self, batch: Batch) -> None:
        """As in Storage. What is in the log must get into the copy, too: try until it is there. Raises CopyFailed if
        that is hopeless, or the server stops."""
        failed = False
        while True:
            try:
                return super().commit(batch)
            except StorageError as error:
                if isinstance(error, StorageBroken) or self.stopping.is_set():
                    raise CopyFailed(str(error)) from error
                if not failed:
                    log.error("what is in the log cannot be stored, so this server waits: %s", error)
                failed = True
                inside.does("waits until it can store")
                self.stopping.wait(AGAIN)

    def take_own(self, engine: int, last: int) -> int:
        """If this is the history of a server that was alone, and the log is empty, the log begins with it. Then return
        the number that the engine has to get: whoever has that number has this history. Otherwise return ``engine``.
        For main. Raises LogHasBegun or StorageError."""
        with self._changing() as writer:
            row = writer.execute("SELECT engine, position FROM copy").fetchone()
            if row is None and writer.execute("SELECT 1 FROM rooms").fetchone() is None:
                return engine
        if row is None:
            if last:
                raise LogHasBegun(self.path)
            super().forget_unused_rooms(fold(LOBBY))
            number, room = secrets.randbits(62), self.highest_room()
            with self._changing() as writer:
                writer.execute(
                    "INSERT INTO copy VALUES (1, ?, 1, ?, ?, 0, '', ?)", (number, room, self._last_id, LAYOUT)
                )
            return number
        return int(row[0]) if last == 0 and row[1] == 1 else engine  # it was killed before the engine had the number

    def give_back(self) -> None:
        """Another server was quicker: the log has begun with another history. For main. Raises StorageError."""
        with self._changing() as writer:
            writer.execute("DELETE FROM copy")

    def begin(self, engine: int, server: int) -> tuple[Ledger, int, int, int]:
        """The ledger, the position, the highest id that a room ever had, and the server that used this file before (0:
        none). For main. Raises StartError."""
        ledger = Ledger()
        status = os.stat(self.path)
        file = f"{status.st_dev} {status.st_ino}"
        with self._changing() as writer:
            columns = "engine, position, last_room, server, file"
            row = writer.execute(f"SELECT {columns} FROM copy").fetchone()
            if row is None:
                writer.execute("INSERT INTO copy VALUES (1, ?, 0, 0, 0, ?, ?, ?)", (engine, server, file, LAYOUT))
                return ledger, 0, 0, 0
            if row[0] != engine:
                raise StartError(
                    f"The history {self.path} is a copy of the log of another cluster. Name another file with --db, or"
                    " another database with --cluster."
                )
            writer.execute("UPDATE copy SET server = ?, file = ?", (server, file))
            ledger.read(writer.execute("SELECT server, session, person FROM present").fetchall())
            for number, last, read in writer.execute("SELECT server, last, read FROM servers").fetchall():
                ledger.servers[number], ledger.reads[number] = last, read
            before = row[3] if row[4] == file else 0  # in a backup, it is the number of a server that may be alive
            return ledger, row[1], row[2], before

    def forget_unused_rooms(self, kept: str) -> None:
        """People on other servers may be in them. The log says when a room ends."""

    def sweep_tokens(self, connected: Set[int] = frozenset()) -> bool:
        """Nothing: tokens are forgotten with certain rows."""
        return False

    def message(self, room: int, number: int) -> Message | None:
        """As in Storage. Raises CopyFailed, because to go on without an answer would make this copy another one."""
        self.settle()
        try:
            with self._own() as writer:
                gone = self.sweeper.covers(writer, room, number)
            return None if gone else super().message(room, number)
        except (sqlite3.Error, Unreadable) as error:
            raise CopyFailed(str(error)) from error

    def refs(self, token: int) -> list[StoredRef]:
        """As in Storage. Raises CopyFailed, for the same reason."""
        self.settle()
        try:
            return super().refs(token)
        except Unreadable as error:
            raise CopyFailed(error.text) from error

    def _store(self, writer: sqlite3.Connection, batch: Batch) -> int:
        """As in Storage, for rows."""
        if not isinstance(batch, _Rows):
            return super()._store(writer, batch)
        before = self._last_id, self._uses
        try:
            with transaction(writer):
                for row in batch.rows:
                    first = self._last_id
                    self._last_id = self._put(writer, row)
                    self._uses += len(row.tokens)
                    for swept, said, kept in row.swept:
                        self.sweeper.decide(writer, first + said, swept, kept)
                self._store_ledger(writer, batch.rows)
            return self._last_id
        finally:
            self._last_id, self._uses = before  # the Storage counts what is committed

    def _store_ledger(self, writer: sqlite3.Connection, rows: list[CopyBatch]) -> None:
        """Store where the log led to with the last of these rows: nothing of the row that is being numbered."""
        row = rows[-1]
        writer.execute(
            "UPDATE copy SET position = ?, last_room = ?, last_message = ?",
            (row.position, row.last_room, self._last_id),
        )
        people: dict[Key, str | None] = {}
        for each in rows:
            people.update(each.people)
        writer.executemany(
            "DELETE FROM present WHERE server = ? AND session = ?", [at for at, text in people.items() if text is None]
        )
        writer.executemany(
            "INSERT OR REPLACE INTO present (server, session, person) VALUES (?, ?, ?)",
            [(*at, text) for at, text in people.items() if text is not None],
        )
        while row.forgets and row.ledger and once.forget(writer, row.ledger.tokens()):
            pass
        writer.execute("DELETE FROM servers")
        writer.executemany("INSERT INTO servers VALUES (?, ?, ?)", row.servers)


def layout_of(file: sqlite3.Connection) -> int | None:
    """The layout of a copy; 0: from before there was a number; None: the file is no copy."""
    columns = [row[1] for row in file.execute("PRAGMA table_info(copy)")]
    if columns and "layout" not in columns:
        return 0
    return int(file.execute("SELECT layout FROM copy").fetchone()[0]) if is_copy(file) else None


def leave(file: sqlite3.Connection) -> None:
    """Make the copy a history of its own. For a file that nobody else uses, in autocommit mode."""
    if is_copy(file):
        for table in ("copy", "present", "servers", "sweeps"):
            file.execute(f"DROP TABLE IF EXISTS {table}")
        file.execute("VACUUM")  # nothing is left of who was connected
