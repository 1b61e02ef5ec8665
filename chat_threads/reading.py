"""What is read from an open history: pages, searches, counts, rooms and names. Any thread may read.

A thread that reads borrows one of a few read-only connections and is its only user until it gives the connection back.
The thread that writes is never in its way: SQLite's write-ahead log shows each reader what was committed when its query
began.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any

from . import audit, schema
from .batch import StoredRoom
from .errors import Unreadable
from .events import AuditRow, Message
from .latch import Latch
from .paging import Page
from .passwords import Account, Password
from .readers import Readers
from .rules import fold
from .schema import MEMORY
from .search import ALL, Index, Looked, Query, Rows, words_of

READERS = 3  # read-only connections for pages and other quick queries
SEARCHERS = 2  # read-only connections for searches, which take long and must not hold up the others
BORROW_TIMEOUT = 5.0  # seconds a thread waits for one of them
READ_TIMEOUT = 3.0  # seconds one page or search may take
ROWS_AT_ONCE = 50  # messages of a page that are read at once, if the page's size is bounded
TOKENS_AT_ONCE = 900  # tokens that one query looks up: old versions of SQLite take 999 values
STEPS = 20_000  # steps of SQLite's virtual machine between two checks of the time

_SELECT = (
    "SELECT m.room, r.name, m.number, m.at, m.sender, m.kind, m.text, m.who"
    " FROM messages AS m JOIN rooms AS r ON r.id = m.room"
)


class ReadingSide:
    """The half of a ``Storage`` that reads. Any thread may call its public methods; they raise Unreadable."""

    def __init__(self, path: str, busy_timeout: float) -> None:
        self.path = path
        self._busy_timeout = busy_timeout
        self._index = Index()
        # Lent to one thread at a time; each Readers has a lock of its own.
        self._readers: Readers[sqlite3.Connection] = Readers()
        self._searchers: Readers[sqlite3.Connection] = Readers()
        self._connections: list[sqlite3.Connection] = []  # all that are lent; set at the start, then only read

    def _open_readers(self, writer: sqlite3.Connection) -> None:
        """Open the connections that are lent, with all their files: later there may be no descriptors left."""
        if self.path == MEMORY:  # there is one connection, and the writer borrows it like everybody else
            self._searchers = self._readers
            self._readers.give(writer)
            return
        for lender in [self._readers] * READERS + [self._searchers] * SEARCHERS:
            reader = schema.connect(self.path, "ro", self._busy_timeout)
            self._connections.append(reader)
            reader.execute("SELECT count(*) FROM rooms").fetchone()  # SQLite opens its log at the first read
            lender.give(reader)

    @contextlib.contextmanager
    def _borrow(
        self, readers: Readers[sqlite3.Connection] | None = None, ended: Latch | None = None
    ) -> Iterator[sqlite3.Connection]:
        """A connection to read with, this thread's until the end of the ``with`` block."""
        readers = readers or self._readers
        connection = readers.take(BORROW_TIMEOUT, ended)
        if connection is None:
            what = "reading" if readers is self._readers else "searching"
            raise Unreadable(f"too many are {what} it")
        try:
            yield connection
        finally:
            readers.give(connection)

    @contextlib.contextmanager
    def _reading(
        self,
        readers: Readers[sqlite3.Connection] | None = None,
        ended: Latch | None = None,
        timeout: float | None = None,
    ) -> Iterator[Rows]:
        """A function that runs a query and returns all its rows.

        All queries together may take ``timeout`` seconds (READ_TIMEOUT, unless given). The function raises Unreadable
        after that, when ``ended`` is set, and when a query fails.
        """
        with self._borrow(readers, ended) as connection:
            deadline = time.monotonic() + (READ_TIMEOUT if timeout is None else timeout)

            def over() -> bool:
                return time.monotonic() > deadline or (ended is not None and ended.is_set())

            def rows(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
                try:
                    if not over():
                        return connection.execute(sql, values).fetchall()
                except sqlite3.Error as error:
                    if "interrupted" not in str(error):
                        raise Unreadable(reason(error)) from error
                raise Unreadable("it took too long")

            connection.set_progress_handler(over, STEPS)
            try:
                yield rows
            finally:
                connection.set_progress_handler(None, 0)

    def _read(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """All rows of one query."""
        with self._reading() as rows:
            return rows(sql, values)

    def _read_at_the_start(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """As ``_read``, but without a limit: no client waits yet, and without the answer the server cannot start."""
        with self._reading(timeout=float("inf")) as rows:
            return rows(sql, values)

    def rooms(self) -> list[StoredRoom]:
        """All rooms, in the order in which they were made."""
        rows = self._read_at_the_start(
            "SELECT id, name, key, topic, creator,"
            " max(last, coalesce((SELECT max(number) FROM messages WHERE room = rooms.id), 0)), owner FROM rooms",
            (),
        )
        return [StoredRoom(*row) for row in rows]

    def governed(self) -> dict[int, str]:
        """How rooms are governed (Governance.text), by their ids."""
        return dict(self._read_at_the_start("SELECT room, text FROM governance", ()))

    def highest_room(self) -> int:
        """The highest id of a room, also of a deleted one whose messages are not all deleted yet; 0: there is none."""
        return int(
            self._read_at_the_start(
                "SELECT max(coalesce((SELECT max(id) FROM rooms), 0), coalesce((SELECT max(room) FROM doomed), 0))", ()
            )[0][0]
        )

    def count(self) -> int:
        """How many messages there are."""
        return int(self._read_at_the_start("SELECT count(*) FROM messages", ())[0][0])

    def audit(self, room: int | None, limit: int) -> tuple[AuditRow, ...]:
        """See ``audit.newest``."""
        with self._reading() as rows:
            return audit.newest(rows, room, limit)

    def count_in(self, room: int, before: int = 1 << 62) -> int:
        """How many messages of a room there are from before that time, in milliseconds since 1970."""
        return int(self._read("SELECT count(*) FROM messages WHERE room = ? AND at < ?", (room, before))[0][0])

    def token(self, token: int) -> tuple[str, int] | None:
        """The name under which a token was used last, and who it is for: the number of an account, or its own; None:
        the token is unknown, or void."""
        rows = self._read(
            "SELECT name, coalesce(account, (SELECT 0 FROM accounts WHERE accounts.id = tokens.id), tokens.id)"
            " FROM tokens LEFT JOIN keys ON token = tokens.id WHERE tokens.id = ?",
            (token,),
        )
        return (rows[0][0], rows[0][1]) if rows and rows[0][1] else None

    def known(self, tokens: Sequence[int]) -> set[int]:
        """Those of these tokens that somebody may come back with."""
        found: set[int] = set()
        for at in range(0, len(tokens), TOKENS_AT_ONCE):
            some = tokens[at : at + TOKENS_AT_ONCE]
            rows = self._read(f"SELECT id FROM tokens WHERE id IN ({', '.join('?' * len(some))})", some)
            found.update(each for (each,) in rows)
        return found

    def accounts(self) -> list[Account]:
        """All accounts."""
        rows = self._read_at_the_start("SELECT id, name, made, n, r, p, salt, hash, operator FROM accounts", ())
        return [
            Account(identity, name, made, Password(*password), bool(operator))
            for identity, name, made, *password, operator in rows
        ]

    def place(self, token: int) -> str:
        """What a token keeps for the person who has it (see the module ``kept``); "": nothing."""
        rows = self._read("SELECT place FROM places WHERE token = ?", (token,))
        return str(rows[0][0]) if rows else ""

    def room_names(self, rooms: Sequence[int]) -> dict[int, str]:
        """The names of these rooms, by their ids; those that are gone are left out. At most 999."""
        if not rooms:
            return {}
        return dict(self._read(f"SELECT id, name FROM rooms WHERE id IN ({', '.join('?' * len(rooms))})", rooms))

    def names(self, spoken: int = 50_000) -> list[tuple[str, int]]:
        """The names that people are known by: first those of the senders of the last ``spoken`` messages, each with 0,
        then those of all tokens, each with the token's number. In both parts the name used last is at the end."""
        senders = self._read_at_the_start(
            "SELECT sender, 0 FROM (SELECT id, sender FROM messages ORDER BY id DESC LIMIT ?)"
            " GROUP BY sender ORDER BY max(id)",
            (spoken,),
        )
        return [*senders, *self._read_at_the_start("SELECT name, id FROM tokens ORDER BY used", ())]

    def page(
        self,
        room: int,
        before: int | None = None,
        after: int | None = None,
        limit: int = 20,
        bounded: bool = False,
    ) -> list[Message]:
        """Up to ``limit`` messages in order: the newest ones, or those just below ``before`` or just above ``after``.

        If ``bounded``, only those that fit into a ``paging.Page``. They are read ROWS_AT_ONCE at a time, so at most
        ROWS_AT_ONCE messages beyond the page are in memory.
        """
        upwards = after is not None
        sign, order = (">", "ASC") if upwards else ("<", "DESC")
        bound = after if after is not None else 2**62 if before is None else min(before, 2**62)
        sql = f"{_SELECT} WHERE m.room = ? AND m.number {sign} ? ORDER BY m.number {order} LIMIT ?"
        page = Page() if bounded else None
        found: list[Message] = []
        with self._reading() as rows:
            while len(found) < limit:
                wanted = min(limit - len(found), ROWS_AT_ONCE if page else limit)
                some = _messages(rows(sql, (room, min(bound, 2**62), wanted)))
                if page:
                    some = list(takewhile(page.takes, some))
                found += some
                if len(some) < wanted:
                    break
                bound = found[-1].number
        return found if upwards else found[::-1]

    def number_before(self, room: int, at: int) -> int:
        """The number of the room's last message from before the time ``at`` (milliseconds), or 0.

        A binary search: it reads about twenty messages of a million, and relies on times that grow with the numbers.
        """
        bounds = self._read("SELECT min(number), max(number) FROM messages WHERE room = ?", (room,))[0]
        low, high = (bounds[0] or 1) - 1, bounds[1] or 0
        while low < high:
            middle = (low + high + 1) // 2
            row = self._read("SELECT at FROM messages WHERE room = ? AND number = ?", (room, middle))
            if row and row[0][0] >= at:
                high = middle - 1
            else:
                low = middle
        return low

    def place_of(self, room: int, number: int) -> int:
        """The place of a message among those of all rooms, for ``search``; if it is gone, that of the next one."""
        sql = "SELECT id FROM messages WHERE room = ? AND number >= ? ORDER BY number LIMIT 1"
        rows = self._read(sql, (room, number))
        return int(rows[0][0]) if rows else ALL

    def search(
        self,
        words: str,
        room: int | None,
        sender: str | None,
        limit: int,
        ended: Latch | None = None,
        below: int | None = None,
        hidden: tuple[int, ...] = (),
        looked: Looked = lambda count: None,
    ) -> list[Message]:
        """The newest ``limit`` messages that have all the words, the oldest first; with ``below``, of those before that
        place (see ``place_of``). Those of ``hidden`` rooms are left out. The module ``search`` says how.
        ``looked`` is told how many messages were compared, several times, even if the search then fails.

        Messages that were committed before the call are found. Soon after ``ended`` is set, it raises Unreadable.
        """
        query = Query(words_of(words), room, None if sender is None else fold(sender), hidden)
        if not query.words and (words or (room is None and sender is None)):
            return []
        with self._reading(self._searchers, ended) as rows:
            found = self._index.find(rows, query, limit, ALL if below is None else below, looked)
            sql = f"{_SELECT} WHERE m.id IN ({', '.join('?' * len(found))}) ORDER BY m.id"
            return _messages(rows(sql, found))


def _messages(rows: Iterable[Sequence[Any]]) -> list[Message]:
    return [Message(*(*row, row[6].count("\n") + 1)) for row in rows]


def message_of(connection: sqlite3.Connection, room: int, number: int) -> Message | None:
    """The message of a room with that number; None: there is none."""
    rows = connection.execute(f"{_SELECT} WHERE m.room = ? AND m.number = ?", (room, number)).fetchall()
    return _messages(rows)[0] if rows else None


def reason(error: Exception) -> str:
    """Why SQLite failed, in the words that clients get."""
    text = str(error)
    for sign, reason in (
        ("disk is full", "disk full"),
        ("locked", "another program has locked the history"),
        ("readonly", "the history is read-only"),
    ):
        if sign in text:
            return reason
    return text
