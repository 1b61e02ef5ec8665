"""The copy: a server's own history, which has all of the log up to a position."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from ..batch import Batch
from ..errors import StartError
from ..schema import transaction
from ..storage import Storage
from .ledger import Ledger


@dataclass(slots=True)
class CopyBatch(Batch):
    """The content of one transaction: what rows of the log say, and the position of the last one."""

    position: int = 0
    ledger: Ledger | None = None

    @property
    def more(self) -> bool:
        return True


class Copy(Storage):
    """A history that is a copy of a log."""

    def _prepare(self, writer: sqlite3.Connection) -> bool:
        migrated = super()._prepare(writer)
        with transaction(writer):
            writer.execute(
                "CREATE TABLE IF NOT EXISTS copy (one INTEGER PRIMARY KEY CHECK (one = 1), engine INTEGER NOT NULL,"
                " position INTEGER NOT NULL, server INTEGER NOT NULL)"
            )
            writer.execute(
                "CREATE TABLE IF NOT EXISTS present (server INTEGER NOT NULL, session INTEGER NOT NULL,"
                " person TEXT NOT NULL, PRIMARY KEY (server, session)) WITHOUT ROWID"
            )
            writer.execute("CREATE TABLE IF NOT EXISTS servers (server INTEGER PRIMARY KEY, last INTEGER NOT NULL)")
        return migrated

    def begin(self, engine: int, server: int) -> tuple[int, int, Ledger]:
        """The position, the server that used this file before (0: none), and the ledger. For main."""
        ledger = Ledger()
        with self._changing() as writer:
            row = writer.execute("SELECT engine, position, server FROM copy").fetchone()
            ledger.read(writer.execute("SELECT server, session, person FROM present").fetchall())
            ledger.servers = dict(writer.execute("SELECT server, last FROM servers").fetchall())
            if row is None:
                writer.execute("INSERT INTO copy VALUES (1, ?, 0, ?)", (engine, server))
                return 0, 0, ledger
            if row[0] != engine:
                raise StartError(
                    f"The history {self.path} is a copy of the log of another cluster. Name another file with --db, or"
                    " another database with --cluster."
                )
            writer.execute("UPDATE copy SET server = ?", (server,))
            return row[1], row[2], ledger

    def _store_more(self, writer: sqlite3.Connection, batch: Batch) -> None:
        if isinstance(batch, CopyBatch) and batch.ledger:
            writer.execute("UPDATE copy SET position = ?", (batch.position,))
            batch.ledger.store(writer)
            writer.execute("DELETE FROM servers")
            writer.executemany("INSERT INTO servers VALUES (?, ?)", list(batch.ledger.servers.items()))
