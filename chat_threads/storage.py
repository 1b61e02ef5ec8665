"""The SQLite file: its schema, what may be opened, one transaction per batch, pages and search.

This is the seam behind which another store would fit: ``commit`` a batch, all or nothing; read ``page`` and
``search``; ``sweep`` away what is no longer wanted. It knows no sessions, queues or threads of its own.

Who calls what: ``commit``, ``refs``, ``sweep``, ``sweep_tokens`` and ``checkpoint`` belong to the history thread, the
only one that writes. Whatever else reads may be called by any thread: it borrows one of a few read-only connections,
and whoever has borrowed one is its only user until it is given back. ``close`` is for the end, when nobody calls
anything any more.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sqlite3
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from .errors import StartError, Unreadable
from .messages import Message, RoomMade, TokenUsed
from .rules import REFS, fold

log = logging.getLogger(__name__)

APPLICATION_ID = 0x63687468  # 'chth', at offset 68 of the file (https://sqlite.org/fileformat2.html)
MEMORY = ":memory:"
READERS = 4  # read-only connections
BORROW_TIMEOUT = 5.0  # seconds a reader waits for one of them
BUSY_TIMEOUT = 5.0  # seconds SQLite waits for another program's lock
READ_TIMEOUT = 3.0  # seconds one page or search may take
SWEEP_ROWS = 1000  # messages deleted in one transaction
SWEEP_TOKENS = 4  # tokens forgotten in one transaction, each with up to REFS requests
TOKENS = 20_000  # tokens remembered, those used last
CHECKPOINT = 1000  # pages in SQLite's log, about 4 MB, before they are copied into the file
PAGES = 9  # that a commit of one message puts there, as measured; a larger one some more
_UNSYNCED = (1034, 1290)  # SQLITE_IOERR_FSYNC and _DIR_FSYNC (https://sqlite.org/rescode.html)
_ROWS_AT_ONCE = 128  # rows in one INSERT: 128 * 7 stays below SQLite's old limit of 999 variables

# Each entry brings a file from the version before to its own; a new file goes through all of them.
# ``doomed`` holds deleted rooms whose messages are still to be swept away; ``refs`` what became of the last
# requests under a token, the ``count``-th of them in slot count % REFS, so that a row makes room for another.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE rooms (
            id      INTEGER PRIMARY KEY,
            name    TEXT NOT NULL,
            key     TEXT NOT NULL UNIQUE,
            topic   TEXT NOT NULL,
            creator TEXT NOT NULL,
            created INTEGER NOT NULL,
            last    INTEGER NOT NULL
        )""",
        """CREATE TABLE messages (
            id     INTEGER PRIMARY KEY,
            room   INTEGER NOT NULL,
            number INTEGER NOT NULL,
            at     INTEGER NOT NULL,
            sender TEXT NOT NULL,
            kind   TEXT NOT NULL,
            text   TEXT NOT NULL
        )""",
        "CREATE UNIQUE INDEX messages_by_number ON messages (room, number)",
        "CREATE TABLE doomed (room INTEGER PRIMARY KEY)",
    ),
    (
        """CREATE TABLE tokens (
            id   INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            used INTEGER NOT NULL
        )""",
        "CREATE INDEX tokens_by_use ON tokens (used)",
        """CREATE TABLE refs (
            token  INTEGER NOT NULL,
            slot   INTEGER NOT NULL,
            count  INTEGER NOT NULL,
            ref    TEXT NOT NULL,
            room   TEXT NOT NULL,
            number INTEGER NOT NULL,
            PRIMARY KEY (token, slot)
        ) WITHOUT ROWID""",
    ),
)
VERSION = len(MIGRATIONS)

_SELECT = (
    "SELECT m.room, r.name, m.number, m.at, m.sender, m.kind, m.text"
    " FROM messages AS m JOIN rooms AS r ON r.id = m.room"
)


class StorageError(Exception):
    """A batch could not be committed; none of it was. The text is a reason for people."""


class StorageBroken(StorageError):
    """Nor will any other be, until the history is opened again: the disk did not confirm what was written.

    Trying again would not tell whether it is there: the system may have dropped what it could not write, and
    say that all is well the next time (https://wiki.postgresql.org/wiki/Fsync_Errors).
    """

    def __init__(self) -> None:
        super().__init__("the disk failed, so nothing is stored until the server is started again")


@dataclass(frozen=True, slots=True)
class StoredRoom:
    id: int
    name: str
    key: str
    topic: str
    creator: str
    created: int
    last: int


@dataclass(frozen=True, slots=True)
class StoredRef:
    """What became of a request: the ``count``-th under its token, from 1."""

    token: int
    count: int
    ref: str
    room: str
    number: int


@dataclass(slots=True)
class Batch:
    """What one transaction holds."""

    rooms_made: list[RoomMade] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    topics: dict[int, str] = field(default_factory=dict)  # by room
    rooms_ended: list[int] = field(default_factory=list)
    tokens: dict[int, TokenUsed] = field(default_factory=dict)
    tokens_used: int = 0  # how many of them were handed out or shown, and not only spoken under
    refs: list[StoredRef] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.messages or self.rooms_made or self.topics or self.rooms_ended or self.tokens or self.refs)


class Storage:
    """An open history. Raises StartError, and leaves the file untouched, if it must not be opened."""

    def __init__(self, path: str, sync: str = "normal", busy_timeout: float = BUSY_TIMEOUT) -> None:
        # Without links, for the lock and SQLite's log lie beside the file itself.
        self.path = path if path == MEMORY else os.path.realpath(path)
        self._busy_timeout = busy_timeout
        self._synchronous = "FULL" if sync == "full" else "NORMAL"
        self._broken = False  # an fsync failed
        self._unfolded = 0  # about how many pages are in the log that were not there at the last checkpoint
        self._spare: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._guard = _FileGuard(self.path) if path != MEMORY else None
        try:
            self._writer = self._open()
        except BaseException:
            if self._guard:
                self._guard.release()
            raise
        self._last_id: int = self._writer.execute("SELECT coalesce(max(id), 0) FROM messages").fetchone()[0]

    # --- opening ----------------------------------------------------------------------------------------

    def _connect(self, mode: str, immutable: bool = False) -> sqlite3.Connection:
        if self.path == MEMORY:
            target = MEMORY
        else:
            target = "file:" + urllib.parse.quote(os.fsencode(self.path)) + f"?mode={mode}"
            target += "&immutable=1" if immutable else ""
        connection = sqlite3.connect(
            target,
            uri=self.path != MEMORY,
            timeout=self._busy_timeout,
            isolation_level=None,  # transactions are begun by hand
            check_same_thread=False,  # connections change hands, but never have two users
        )
        connection.create_function("fold", 1, fold, deterministic=True)  # SQLite knows the case of ASCII only
        return connection

    def _open(self) -> sqlite3.Connection:
        try:
            if self.path != MEMORY:
                if os.path.exists(self.path):
                    self._examine()
                else:
                    self._create()
            writer = self._connect("rw")
            try:
                self._prepare(writer)
                self._have_readers(writer)
            except BaseException:
                writer.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise StartError(f"The history {self.path} cannot be opened: {error}.") from error
        return writer

    def _create(self) -> None:
        """Make the file under another name, whole, then give it its own: a kill leaves no half of one."""
        for rest in ("-wal", "-journal"):
            if os.path.exists(self.path + rest):
                raise StartError(
                    f"There is no history {self.path}, but there is {self.path + rest}, the end of one."
                    " Bring the history back, or move that file away."
                )
        unborn = self.path + ".new"
        with contextlib.suppress(FileNotFoundError):
            os.remove(unborn)
        made = sqlite3.connect(unborn, isolation_level=None)
        try:
            made.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self._migrate(made)
        finally:
            made.close()
        os.replace(unborn, self.path)

    def _examine(self) -> None:
        """Refuse what is not a history of ours or is damaged, without writing a byte to it."""

        def refuse(why: str) -> StartError:
            return StartError(f"{self.path} {why}. It was left as it is; --db names another file.")

        with open(self.path, "rb") as file:  # before SQLite has locks on it, which closing would drop
            header = file.read(100)
        if not header:
            raise refuse("is empty, so it is not a chat_threads history")
        if header[:16] != b"SQLite format 3\0" or len(header) < 100:
            raise refuse("is not an SQLite file")
        if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
            raise refuse("is an SQLite file, but not a chat_threads history")
        # Without a log there is nothing to recover, and "immutable" keeps SQLite from making files.
        clean = not os.path.exists(self.path + "-wal")
        check = self._connect("ro", immutable=clean)
        try:
            version = check.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise refuse(f"is of version {version}, made by a newer chat_threads; this one knows version {VERSION}")
            started = time.monotonic()
            found = check.execute("PRAGMA quick_check(1)").fetchone()[0]
            if time.monotonic() - started > 1:
                log.info("checking %s took %.1f s", self.path, time.monotonic() - started)
            if found != "ok":
                raise refuse(f"is damaged ({' '.join(found.split())})")
        except sqlite3.DatabaseError as error:
            raise refuse(f"is damaged or cannot be read ({error})") from error
        finally:
            check.close()

    def _prepare(self, writer: sqlite3.Connection) -> None:
        if self.path != MEMORY:
            mode = writer.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise StartError(f"The file system of {self.path} does not allow SQLite's write-ahead log.")
            writer.execute("PRAGMA journal_size_limit = 67108864")
            writer.execute("PRAGMA wal_autocheckpoint = 0")  # it would keep a failed fsync to itself; see checkpoint
        writer.execute(f"PRAGMA synchronous = {self._synchronous}")
        self._migrate(writer)
        self.full_text = self._index(writer)

    def _have_readers(self, writer: sqlite3.Connection) -> None:
        """Open what is lent to readers: all their files now, not when there are no descriptors left."""
        if self.path == MEMORY:  # one connection for all: the writer borrows it as everybody does
            self._spare.put(writer)
            return
        for _ in range(READERS):
            reader = self._connect("ro")
            self._spare.put(reader)
            reader.execute("SELECT count(*) FROM rooms").fetchone()  # before its first read it has no log

    @staticmethod
    def _migrate(connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        for number, statements in enumerate(MIGRATIONS[version:], version + 1):
            with _transaction(connection):
                for statement in statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")

    @staticmethod
    def _index(writer: sqlite3.Connection) -> bool:
        """Make or mend the full-text index; False where this SQLite has no FTS5 (the search is plain then)."""
        try:
            writer.execute(
                "CREATE VIRTUAL TABLE IF NOT EXISTS messages_fts"
                " USING fts5(text, content='messages', content_rowid='id')"
            )
            indexed = writer.execute("SELECT max(id) FROM messages_fts_docsize").fetchone()[0]
        except sqlite3.OperationalError as error:
            if "no such module" not in str(error):
                raise
            log.warning("this SQLite has no FTS5: searching reads every message")
            return False
        if indexed != writer.execute("SELECT max(id) FROM messages").fetchone()[0]:
            log.info("building the full-text index")  # the file was written by an SQLite without FTS5
            writer.execute("INSERT INTO messages_fts(messages_fts) VALUES ('rebuild')")
        return True

    def close(self) -> None:
        """Close all connections; SQLite folds its log into the file."""
        while True:
            try:
                self._spare.get_nowait().close()
            except queue.Empty:
                break
        self._writer.close()
        if self._guard:
            self._guard.release()

    # --- writing: the history thread only -----------------------------------------------------------------

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        if self._broken:
            raise StorageBroken
        if self.path == MEMORY:
            with self._borrow() as connection:
                yield connection
        else:
            yield self._writer

    def commit(self, batch: Batch) -> None:
        """Store the batch in one transaction, all or nothing; raise StorageError with a reason."""
        try:
            with self._writing() as writer, _transaction(writer):
                writer.executemany(
                    "INSERT INTO rooms (id, name, key, topic, creator, created, last) VALUES (?, ?, ?, ?, ?, ?, 0)",
                    [(r.room_id, r.room, r.key, r.topic, r.creator, r.at) for r in batch.rooms_made],
                )
                last_id = self._insert(writer, batch.messages)
                writer.executemany(
                    "UPDATE rooms SET topic = ? WHERE id = ?", [(topic, room) for room, topic in batch.topics.items()]
                )
                for room in batch.rooms_ended:
                    writer.execute("DELETE FROM rooms WHERE id = ?", (room,))
                    writer.execute("INSERT INTO doomed (room) VALUES (?)", (room,))
                writer.executemany(
                    "INSERT OR REPLACE INTO tokens (id, name, used) VALUES (?, ?, ?)",
                    [(each.token, each.name, each.at) for each in batch.tokens.values()],
                )
                writer.executemany(
                    "INSERT OR REPLACE INTO refs (token, slot, count, ref, room, number) VALUES (?, ?, ?, ?, ?, ?)",
                    [(r.token, r.count % REFS, r.count, r.ref, r.room, r.number) for r in batch.refs],
                )
        except (sqlite3.Error, Unreadable) as error:
            raise self._failure(error) from error
        self._last_id = last_id
        self._unfolded += PAGES + (len(batch.messages) + len(batch.refs)) // 8

    def _insert(self, writer: sqlite3.Connection, messages: Sequence[Message]) -> int:
        """Insert in few statements: each one lets go of the GIL and has to get it back."""
        last_id = self._last_id
        at = 0
        while at < len(messages):
            rows = _ROWS_AT_ONCE
            while rows > len(messages) - at:
                rows //= 2  # only powers of two, so that SQLite's compiled statements are used again
            values: list[Any] = []
            for message in messages[at : at + rows]:
                last_id += 1
                values += (
                    last_id,
                    message.room_id,
                    message.number,
                    message.at,
                    message.sender,
                    message.kind,
                    message.text,
                )
            marks = ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * rows)
            writer.execute(f"INSERT INTO messages (id, room, number, at, sender, kind, text) VALUES {marks}", values)
            at += rows
        if messages:
            if self.full_text:
                writer.execute(
                    "INSERT INTO messages_fts (rowid, text) SELECT id, text FROM messages WHERE id > ?",
                    (self._last_id,),
                )
            last = {message.room_id: message.number for message in messages}
            writer.executemany("UPDATE rooms SET last = ? WHERE id = ?", [(n, room) for room, n in last.items()])
        return last_id

    def sweep(self, older_than: int | None) -> tuple[int, bool]:
        """Delete some of what is to go: messages of deleted rooms, and those said before ``older_than``.

        At most SWEEP_ROWS in one transaction, so that nobody waits long. Returns how many, and whether there
        may be more. Raises StorageError.
        """
        try:
            with self._writing() as writer, _transaction(writer):
                doomed = writer.execute("SELECT min(room) FROM doomed").fetchone()[0]
                if doomed is not None:
                    rows = writer.execute(
                        "SELECT id, text FROM messages WHERE room = ? LIMIT ?", (doomed, SWEEP_ROWS)
                    ).fetchall()
                    more = True
                    if len(rows) < SWEEP_ROWS:
                        writer.execute("DELETE FROM doomed WHERE room = ?", (doomed,))
                elif older_than is not None:
                    oldest = writer.execute(
                        "SELECT id, text, at FROM messages ORDER BY id LIMIT ?", (SWEEP_ROWS,)
                    ).fetchall()
                    rows = [(id_, text) for id_, text, at in oldest if at < older_than]
                    more = len(rows) == SWEEP_ROWS
                else:
                    return 0, False
                if self.full_text:
                    writer.executemany(
                        "INSERT INTO messages_fts (messages_fts, rowid, text) VALUES ('delete', ?, ?)", rows
                    )
                writer.executemany("DELETE FROM messages WHERE id = ?", [(id_,) for id_, _ in rows])
                self._unfolded += PAGES + len(rows)
                return len(rows), more
        except (sqlite3.Error, Unreadable) as error:
            raise self._failure(error) from error

    def checkpoint(self) -> None:
        """Copy SQLite's log into the file, if it has become long; raise StorageError if that fails.

        SQLite would do so by itself at the end of a commit, but not tell of an fsync that failed.
        """
        if self.path == MEMORY or self._broken or self._unfolded < CHECKPOINT:
            return
        self._unfolded = 0
        try:
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> StorageError:
        """What to raise for an error of SQLite's; after a failed fsync nothing is written any more."""
        if not _unsynced(error):
            return StorageError(_reason(error))
        self._broken = True
        with contextlib.suppress(sqlite3.Error):
            # A commit whose fsync failed lies in SQLite's log all the same, and after a kill would be found
            # there: write another one, of nothing, over it.
            self._writer.execute("PRAGMA synchronous = OFF")
            self._writer.execute(f"PRAGMA user_version = {VERSION}")
        self._writer.execute(f"PRAGMA synchronous = {self._synchronous}")
        return StorageBroken()

    def refs(self, token: int) -> list[StoredRef]:
        """What became of the last REFS requests under a token, in order. The history thread's, through its own
        connection, so that it waits for nobody's search; raises Unreadable."""
        sql = "SELECT token, count, ref, room, number FROM refs WHERE token = ? ORDER BY count"
        with self._writing() as writer:
            try:
                return [StoredRef(*row) for row in writer.execute(sql, (token,)).fetchall()]
            except sqlite3.Error as error:
                raise Unreadable(_reason(error)) from error

    def sweep_tokens(self) -> bool:
        """Forget some of the tokens that were not used for longest, if there are more than TOKENS, with their
        requests; whether there are more to forget. Raises StorageError."""
        try:
            with self._writing() as writer, _transaction(writer):
                spare = writer.execute("SELECT count(*) FROM tokens").fetchone()[0] - TOKENS
                old = writer.execute("SELECT id FROM tokens ORDER BY used LIMIT ?", (min(max(spare, 0), SWEEP_TOKENS),))
                ids = old.fetchall()
                writer.executemany("DELETE FROM refs WHERE token = ?", ids)
                writer.executemany("DELETE FROM tokens WHERE id = ?", ids)
                return bool(spare > SWEEP_TOKENS)
        except (sqlite3.Error, Unreadable) as error:
            raise self._failure(error) from error

    # --- reading: any thread ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _borrow(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._spare.get(timeout=BORROW_TIMEOUT)
        except queue.Empty:
            raise Unreadable("too many are reading it") from None
        try:
            yield connection
        finally:
            self._spare.put(connection)

    def _read(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """All rows of a query that takes at most READ_TIMEOUT; raise Unreadable."""
        with self._borrow() as connection:
            deadline = time.monotonic() + READ_TIMEOUT
            connection.set_progress_handler(lambda: int(time.monotonic() > deadline), 20_000)
            try:
                return connection.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise Unreadable("it took too long" if "interrupted" in str(error) else _reason(error)) from error
            finally:
                connection.set_progress_handler(None, 0)

    def rooms(self) -> list[StoredRoom]:
        rows = self._read("SELECT id, name, key, topic, creator, created, last FROM rooms", ())
        return [StoredRoom(*row) for row in rows]

    def highest_room(self) -> int:
        """The highest id of a room, or of one whose messages are still to be swept away."""
        return int(
            self._read(
                "SELECT max(coalesce((SELECT max(id) FROM rooms), 0), coalesce((SELECT max(room) FROM doomed), 0))", ()
            )[0][0]
        )

    def count(self) -> int:
        """How many messages there are."""
        return int(self._read("SELECT count(*) FROM messages", ())[0][0])

    def token(self, token: int) -> str | None:
        """The name under which a token was used last; None: it is not known."""
        rows = self._read("SELECT name FROM tokens WHERE id = ?", (token,))
        return rows[0][0] if rows else None

    def page(self, room: int, before: int | None = None, after: int | None = None, limit: int = 20) -> list[Message]:
        """Up to ``limit`` messages in order: the newest, or those next below ``before`` or above ``after``."""
        if after is not None:
            where, order, bound = " AND m.number > ?", "ASC", after
        else:
            where, order, bound = " AND m.number < ?", "DESC", before if before is not None else 2**62
        rows = self._read(
            f"{_SELECT} WHERE m.room = ?{where} ORDER BY m.number {order} LIMIT ?",
            (room, min(bound, 2**62), limit),
        )
        if order == "DESC":
            rows.reverse()
        return [Message(*row) for row in rows]

    def number_before(self, room: int, at: int) -> int:
        """The number of the last message of the room that was said before the time ``at``, or 0.

        Looks at about twenty messages of a million, trusting that times grow with the numbers.
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

    def search(self, words: str, room: int | None, sender: str | None, limit: int) -> list[Message]:
        """The newest ``limit`` messages that have all the words, oldest first."""
        wanted = words.split()
        values: list[Any] = []
        if self.full_text:
            sql = (
                "SELECT m.room, r.name, m.number, m.at, m.sender, m.kind, m.text FROM messages_fts AS f"
                " JOIN messages AS m ON m.id = f.rowid JOIN rooms AS r ON r.id = m.room"
                " WHERE f.messages_fts MATCH ?"
            )
            values.append(" ".join('"' + word.replace('"', '""') + '"' for word in wanted))
            order = " ORDER BY f.rowid DESC LIMIT ?"
        else:
            sql = _SELECT + " WHERE 1"
            for word in wanted:
                sql += " AND m.text LIKE ? ESCAPE '!'"
                values.append("%" + word.replace("!", "!!").replace("%", "!%").replace("_", "!_") + "%")
            order = " ORDER BY m.id DESC LIMIT ?"
        if room is not None:
            sql += " AND m.room = ?"
            values.append(room)
        if sender is not None:
            sql += " AND fold(m.sender) = ?"
            values.append(fold(sender))
        rows = self._read(sql + order, [*values, limit])
        return [Message(*row) for row in reversed(rows)]


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def _unsynced(error: Exception) -> bool:
    """Whether an fsync failed. Before Python 3.11 SQLite's code is not to be had, and every failure of the disk
    counts as one."""
    code = getattr(error, "sqlite_errorcode", None)
    return "disk I/O error" in str(error) if code is None else code in _UNSYNCED


def _reason(error: Exception) -> str:
    text = str(error)
    for sign, reason in (
        ("disk is full", "disk full"),
        ("locked", "another program has locked the history"),
        ("readonly", "the history is read-only"),
    ):
        if sign in text:
            return reason
    return text


class _FileGuard:
    """One server per file: a lock file beside it, locked as long as the process lives, however it ends."""

    def __init__(self, path: str) -> None:
        self._path = path + ".lock"
        try:
            self._file: IO[str] = open(self._path, "a+", encoding="utf-8")
        except OSError as error:
            raise StartError(f"The history {path} cannot be opened: {error.strerror}: {self._path}.") from error
        try:
            _lock(self._file)
        except OSError:
            self._file.seek(0)
            holder = self._file.read(200).strip() or "another process"
            self._file.close()
            raise StartError(
                f"The history {path} is in use by {holder}. Stop that server, or give this one another --db."
            ) from None
        self._file.seek(0)
        holder = f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
        with contextlib.suppress(OSError):  # on a full disk the file is locked all the same, but says not by whom
            self._file.truncate()
            os.write(self._file.fileno(), holder.encode())

    def release(self) -> None:
        self._file.close()


try:
    import fcntl

    def _lock(file: IO[str]) -> None:
        """Lock the file for this process, or raise OSError at once."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
except ImportError:  # Windows
    import msvcrt

    def _lock(file: IO[str]) -> None:
        """Lock a byte far behind the text, for locked bytes cannot be read there."""
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
