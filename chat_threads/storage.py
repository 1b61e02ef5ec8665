"""The open history: one transaction per batch, pages and search. ``schema`` says what is in the file.

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
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence, Set
from itertools import islice
from typing import Any

from . import files, identity, schema
from .batch import Batch, StoredRef, StoredRoom
from .errors import ReadOnly, StartError, Unreadable
from .events import Message
from .filelock import FileLock
from .readers import Readers
from .retention import MERGE_PAGES, Sweeper, forget_unused
from .rules import REFS, fold
from .schema import MEMORY, transaction
from .search import Index, Query, Rows, words_of
from .wal import Log

log = logging.getLogger(__name__)

READERS = 3  # read-only connections for pages and whatever else is quick
SEARCHERS = 2  # and for searches, which take long and so must not hold up the others
BORROW_TIMEOUT = 5.0  # seconds a reader waits for one of them
BUSY_TIMEOUT = 5.0  # seconds SQLite waits for another program's lock
READ_TIMEOUT = 3.0  # seconds one page or search may take
SWEEP_TOKENS = 4  # tokens forgotten in one transaction, each with up to REFS requests
TOKENS = 20_000  # tokens remembered
LOG_LIMIT = 64 << 20  # bytes that SQLite's log keeps once it is copied; the operator is told when it needs more
CHECKPOINT = 1000  # pages in SQLite's log, about 4 MB, before they are copied into the file
PAGES = 9  # that a commit of one message puts there, as measured; a larger one some more
INDEX_PAGES = 40  # that indexing a few messages puts there
ROWS_AT_ONCE = 50  # messages of a page that are read at once, if their size is bounded
STEPS = 20_000  # of SQLite's machine, after which a reader looks whether its time is up
_UNSYNCED = (1034, 1290)  # SQLITE_IOERR_FSYNC and _DIR_FSYNC (https://sqlite.org/rescode.html)
_ROWS_AT_ONCE = 64  # rows in one INSERT: 64 * 8 stays below SQLite's old limit of 999 variables

_SELECT = (
    "SELECT m.room, r.name, m.number, m.at, m.sender, m.kind, m.text, m.who"
    " FROM messages AS m JOIN rooms AS r ON r.id = m.room"
)


DISK_FAILED = "the disk failed"
FILES_CHANGED = "the history's files are no longer those that the server opened"


class StorageError(Exception):
    """A batch could not be committed; none of it was. The text is a reason for people."""


class StorageBroken(StorageError):
    """Nor will any other be, until the history is opened again. ``error`` is for everybody, ``advice`` for the log.

    Either the disk did not confirm what was written: trying again would not tell whether it is there, for the system
    may have dropped what it could not write, and say that all is well the next time
    (https://wiki.postgresql.org/wiki/Fsync_Errors). Or the files are no longer those that were opened.
    """

    text = "{why}, so nothing is stored until the server is started again"

    def __init__(self, why: str = DISK_FAILED, error: ReadOnly | None = None, advice: str = "") -> None:
        super().__init__(self.text.format(why=why))
        self.error = error or ReadOnly()
        self.advice = advice


class StorageUnsure(StorageBroken):
    """Nor can it be known whether this batch is found when the history is opened again."""

    text = "{why}, and it is not known whether that was stored"


class Storage:
    """An open history. Raises StartError, and leaves the file untouched, if it must not be opened."""

    def __init__(self, path: str, sync: str = "normal", busy_timeout: float = BUSY_TIMEOUT) -> None:
        # Without links, for the lock and SQLite's log lie beside the file itself.
        self.path = path if path == MEMORY else os.path.realpath(path)
        self._busy_timeout = busy_timeout
        self._synchronous = "FULL" if sync == "full" else "NORMAL"
        self._broken = ""  # why nothing is stored any more, when an fsync failed or the files are others
        self._files: files.OpenFiles | None = None  # None: it is in memory
        self._folded = False  # the files are others, and all of SQLite's log was copied into the one that is open
        self._log_told = LOG_LIMIT  # the length of SQLite's log after which the operator is told of it
        self._unfolded = 0  # about how many pages are in the log that were not there at the last checkpoint
        self._index = Index()
        self.sweeper = Sweeper(self._index)
        self._readers: Readers[sqlite3.Connection] = Readers()
        self._searchers: Readers[sqlite3.Connection] = Readers()
        self._connections: list[sqlite3.Connection] = []  # those that are lent
        if path != MEMORY:
            files.refuse_unwritable(self.path)
        self._log: Log | None = None
        self._file_lock = FileLock(self.path) if path != MEMORY else None
        try:
            self._writer = self._open()
        except BaseException:
            self._release()
            raise

    # --- opening ----------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        try:
            if self.path != MEMORY:
                if not os.path.exists(self.path):
                    schema.create(self.path)
                if self._file_lock:
                    self._file_lock.hold()
                identity.refuse_strange_log(self.path)
                schema.examine(self.path, self._busy_timeout)
                self._files = files.OpenFiles(self.path, LOG_LIMIT)
            writer = schema.connect(self.path, "rw", self._busy_timeout)
            try:
                migrated = self._prepare(writer)
                self._have_readers(writer)
                if self._files:
                    self._log = Log(self.path, self._files.opened(writer))
                    self._fold(writer) if migrated else self._renew()
                    self._same_files()
            except BaseException:
                for connection in (writer, *self._connections):
                    connection.close()
                raise
        except (sqlite3.Error, OSError, StorageError) as error:
            raise StartError(f"The history {self.path} cannot be opened: {error}.") from error
        return writer

    def _prepare(self, writer: sqlite3.Connection) -> bool:
        """Set up the connection that writes, and bring the history up to date; whether it was older."""
        if self.path != MEMORY:
            mode = writer.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise StartError(f"The file system of {self.path} does not allow SQLite's write-ahead log.")
            writer.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
            writer.execute("PRAGMA wal_autocheckpoint = 0")  # it would keep a failed fsync to itself; see checkpoint
        writer.execute(f"PRAGMA synchronous = {self._synchronous}")
        migrated = schema.migrate(writer)
        with transaction(writer):
            self._index.open(writer)
        self.sweeper.open(writer)
        newest: int = writer.execute("SELECT coalesce(max(id), 0) FROM messages").fetchone()[0]
        self._last_id = max(newest, self._index.upto)  # an id that is in the index is not given again
        self._uses: int = writer.execute("SELECT coalesce(max(used), 0) FROM tokens").fetchone()[0]
        return migrated

    def _have_readers(self, writer: sqlite3.Connection) -> None:
        """Open what is lent to readers: all their files now, not when there are no descriptors left."""
        if self.path == MEMORY:  # one connection for all: the writer borrows it as everybody does
            self._searchers = self._readers
            self._readers.give(writer)
            return
        for lender in [self._readers] * READERS + [self._searchers] * SEARCHERS:
            reader = schema.connect(self.path, "ro", self._busy_timeout)
            self._connections.append(reader)
            reader.execute("SELECT count(*) FROM rooms").fetchone()  # before its first read it has no log
            lender.give(reader)

    def close(self) -> None:
        """Close all connections; SQLite folds its log into the file, unless they are no longer those that were opened.

        It does so when the last connection is closed, if that one may write.
        """
        with contextlib.suppress(sqlite3.Error):
            self.sweeper.tell(self._writer)  # a pass may not have come to its end
        readers, ours = self._connections, True
        if self._files:
            known = bool(self._broken)
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("PRAGMA busy_timeout = 0")  # the server ends, whoever has locked the history
            try:
                self._same_files()
                self._renew()
            except StorageError as error:
                if not known and isinstance(error, StorageBroken):
                    log.error("%s", error.advice or error)
            ours = self._files.whole() and self._files.log_is_ours()
            self._files.close_log()
        for connection in (*readers, self._writer) if ours else (self._writer, *readers):
            connection.close()
        if self._files and self._folded:
            self._files.remove_log()
        self._release()

    def _release(self) -> None:
        """All connections are closed."""
        if self._log:
            self._log.close()
        if self._files:
            self._files.close()
            self._files = None
        if self._file_lock:
            self._file_lock.release()

    # --- the files under it: the history thread only ------------------------------------------------------

    def _same_files(self) -> None:
        """Raise StorageBroken if the files are no longer those that were opened, or were not the last time."""
        if self._broken:
            raise StorageBroken(self._broken)
        fault = self._files.fault() if self._files else None
        if not self._files or fault is None:
            return
        self._broken = FILES_CHANGED
        if self._files.whole():
            with contextlib.suppress(sqlite3.Error):
                self._files.renew()  # so that an older log is not taken for the file's own
                busy, pages, copied = self._writer.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
                self._folded = not busy and pages == copied
                self._files.copied()
        raise StorageBroken(
            self._broken,
            ReadOnly(f"{FILES_CHANGED[0].upper()}{FILES_CHANGED[1:]}"),
            f"{fault}. Nothing is stored any more, and everybody is told so. {self._files.where(self._folded)} Stop the"
            " server, put the history that you want in its place (docs/operators.rst, Backups), and start it again.",
        )

    def _renew(self) -> None:
        """Renew the mark that ties the file and SQLite's log together; on a full disk the old one has to do."""
        try:
            if self._files:
                self._files.renew()
        except sqlite3.Error as error:
            if _unsynced(error):
                raise self._failure(error) from error

    @contextlib.contextmanager
    def _copying(self) -> Iterator[None]:
        """SQLite's log, or a part of it, is copied into the file meanwhile; raise StorageBroken if that is another."""
        self._renew()
        if self._files:
            self._files.sync_log()
        self._same_files()
        try:
            yield
        finally:
            if self._files:
                self._files.copied()

    def _fold(self, writer: sqlite3.Connection) -> None:
        """Copy SQLite's log into the file, as far as nobody is reading what is there; raise StorageError."""
        try:
            with self._copying():
                busy, pages, copied = writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            raise self._failure(error) from error
        if not busy:
            if copied == pages:
                self._renew()
                self._same_files()  # now that the log has begun anew
            self._watch_log(pages * schema.FRAME, copied == pages)

    # --- writing: the history thread only -----------------------------------------------------------------

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        if self._broken:
            raise StorageBroken(self._broken)
        if self.path == MEMORY:
            with self._borrow() as connection:
                yield connection
        else:
            yield self._writer

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """The writing connection in a transaction, all or nothing; raises StorageError."""
        try:
            with self._writing() as writer, transaction(writer):
                yield writer
        except (sqlite3.Error, Unreadable) as error:
            raise self._failure(error) from error

    def commit(self, batch: Batch) -> None:
        """Store the batch in one transaction, all or nothing; raise StorageError with a reason."""
        try:
            self._same_files()
            with self._writing() as writer, transaction(writer):
                for room in batch.rooms_unused:  # first: another one may have the name of one of them
                    forget_unused(writer, "id = ?", room)
                for made in batch.rooms_made:
                    writer.execute(
                        "INSERT INTO rooms (id, name, key, topic, creator, created, owner, last)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                        (made.room_id, made.room, made.key, made.topic, made.creator, made.at, made.owner),
                    )
                last_id = self._insert(writer, batch.messages)
                for room, topic in batch.topics.items():
                    writer.execute("UPDATE rooms SET topic = ? WHERE id = ?", (topic, room))
                for room in batch.rooms_ended:
                    self.sweeper.ends(writer, room)
                    writer.execute("DELETE FROM rooms WHERE id = ?", (room,))
                    writer.execute("INSERT INTO doomed (room) VALUES (?)", (room,))
                kept = {each.token for each in batch.refs}
                if batch.tokens:
                    writer.executemany(
                        "INSERT INTO tokens (id, name, used, kept)"
                        " VALUES (?, ?, ?, ? OR EXISTS (SELECT 1 FROM rooms WHERE owner = ?))"
                        " ON CONFLICT (id) DO UPDATE"
                        " SET name = excluded.name, used = excluded.used, kept = max(kept, excluded.kept)",
                        [
                            (each.token, each.name, self._uses + count, each.token in kept, each.token)
                            for count, each in enumerate(batch.tokens.values(), 1)
                        ],
                    )
                for made in batch.rooms_made:
                    if made.owner:
                        writer.execute("UPDATE tokens SET kept = 1 WHERE id = ?", (made.owner,))
                if batch.refs:
                    writer.executemany(
                        "INSERT OR REPLACE INTO refs (token, slot, count, ref, room, number) VALUES (?, ?, ?, ?, ?, ?)",
                        [(r.token, r.count % REFS, r.count, r.ref, r.room, r.number) for r in batch.refs],
                    )
        except (sqlite3.Error, Unreadable) as error:
            raise self._failure(error) from error
        try:
            self._same_files()
        except StorageBroken as broken:  # it is stored, but nobody can tell in which file
            raise StorageUnsure(self._broken, broken.error, broken.advice) from broken
        self._last_id = last_id
        self._uses += len(batch.tokens)
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
                    message.who,
                )
            marks = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?)"] * rows)
            columns = "id, room, number, at, sender, kind, text, who"
            writer.execute(f"INSERT INTO messages ({columns}) VALUES {marks}", values)
            at += rows
        return last_id

    def forget_unused_rooms(self, kept: str) -> None:
        """Forget the rooms in which nothing was ever said and that have no topic, but for the one of that key.
        Before anybody is here. Raises StorageError."""
        with self._changing() as writer:
            forget_unused(writer, "key != ?", kept)

    def oldest_kept(self, now: int, retain: int) -> int | None:
        """The time before which messages are too old, all in milliseconds; None: the clock, which says ``now``, cannot
        be believed. Raises StorageError."""
        with self._changing() as writer:
            return self.sweeper.oldest_kept(writer, now, retain)

    def sweep(self, older_than: int | None) -> tuple[int, bool]:
        """Delete some of what is to go: messages of deleted rooms, and those said before ``older_than``.

        Few in one transaction, so that nobody waits long. Returns how many, and whether there may be more. Raises
        StorageError.
        """
        try:
            with self._writing() as writer:
                with transaction(writer):
                    done = self.sweeper.sweep(writer, older_than)
                self.sweeper.passed(writer, done)
        except (sqlite3.Error, Unreadable) as error:
            raise self._failure(error) from error
        if done.deleted:
            self._unfolded += PAGES + len(done.deleted)
        return len(done.deleted), done.more

    @property
    def remains(self) -> bool:
        """Whether something of what was deleted may still be readable in the file: ``purge`` sees to that."""
        return self.sweeper.remains and self.path != MEMORY

    def purge(self) -> float | None:
        """Do a step so that what was deleted cannot be read in the file any more: seconds until the next one; None:
        there is none. Raises StorageError."""
        if not self.remains:
            return None
        try:
            with self._writing() as writer:
                self._same_files()
                self._unfolded += MERGE_PAGES
                pause = self.sweeper.purge(writer, self._copying)
                self._renew()
                self._same_files()  # the log may have begun anew
                return pause
        except (sqlite3.Error, Unreadable) as error:
            raise self._failure(error) from error

    @property
    def unindexed(self) -> int:
        """About how many messages are not in the index yet: a search reads them."""
        return self._last_id - self._index.upto if self._index.usable else 0

    def index(self) -> None:
        """Take the next few messages into the index. Raises StorageError."""
        with self._changing() as writer:
            upto = self._index.add(writer, self._last_id)
        self._index.upto = upto
        self._unfolded += INDEX_PAGES

    def checkpoint(self) -> None:
        """Copy SQLite's log into the file, if it has become long; raise StorageError if that fails.

        SQLite would do so by itself at the end of a commit, but not tell of an fsync that failed.
        """
        if self.path == MEMORY or self._broken or self._unfolded < CHECKPOINT:
            return
        self._unfolded = 0
        self._fold(self._writer)

    def _watch_log(self, size: int, copied: bool) -> None:
        """Tell the operator when SQLite's log has become long, and again whenever it has doubled: it cannot be used
        from its beginning again for as long as somebody reads what was there when it was shorter."""
        if copied:
            self._log_told = LOG_LIMIT
        elif size > self._log_told:
            self._log_told = 2 * size
            log.warning(
                "SQLite's log %s-wal has %d MB and grows with every message, because another program has been"
                " reading the history for a long time. End that program: it may be an sqlite3 shell that was left"
                " in a transaction.",
                self.path,
                size >> 20,
            )

    def _failure(self, error: Exception) -> StorageError:
        """What to raise for an error of SQLite's in a transaction, of which nothing comes back then, not even after a
        kill. If that cannot be made sure, an fsync failed, or the files are others, nothing is written any more."""
        undone = self._log is None or self._log.undo(self._writer, self._synchronous)
        try:
            self._same_files()
        except StorageBroken as broken:
            return broken if undone else StorageUnsure(self._broken, broken.error, broken.advice)
        if undone and not _unsynced(error):
            return StorageError(_reason(error))
        self._broken = DISK_FAILED
        return StorageBroken() if undone else StorageUnsure()

    def refs(self, token: int) -> list[StoredRef]:
        """What became of the last REFS requests under a token, in order. The history thread's, through its own
        connection, so that it waits for nobody's search; raises Unreadable."""
        sql = "SELECT token, count, ref, room, number FROM refs WHERE token = ? ORDER BY count"
        with self._writing() as writer:
            try:
                return [StoredRef(*row) for row in writer.execute(sql, (token,)).fetchall()]
            except sqlite3.Error as error:
                raise Unreadable(_reason(error)) from error

    def sweep_tokens(self, connected: Set[int] = frozenset()) -> bool:
        """If there are more than TOKENS tokens, forget some that were not used for longest, with their requests: first
        those under which nothing was said with a ref, and none that is ``connected``. Returns whether there are more
        to forget. Raises StorageError."""
        with self._changing() as writer:
            spare = writer.execute("SELECT count(*) FROM tokens").fetchone()[0] - TOKENS
            if spare <= 0:
                return False
            oldest = writer.execute("SELECT id FROM tokens ORDER BY kept, used")
            ids = list(islice((row for row in oldest if row[0] not in connected), min(spare, SWEEP_TOKENS)))
            oldest.close()
            writer.executemany("DELETE FROM refs WHERE token = ?", ids)
            writer.executemany("DELETE FROM tokens WHERE id = ?", ids)
            return bool(spare > SWEEP_TOKENS == len(ids))

    # --- reading: any thread ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _borrow(
        self, readers: Readers[sqlite3.Connection] | None = None, ended: threading.Event | None = None
    ) -> Iterator[sqlite3.Connection]:
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
        ended: threading.Event | None = None,
        timeout: float | None = None,
    ) -> Iterator[Rows]:
        """What runs queries and returns all their rows, for ``timeout`` seconds, or READ_TIMEOUT, in all and until
        ``ended`` is set; it raises Unreadable then, and when a query fails."""
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
                        raise Unreadable(_reason(error)) from error
                raise Unreadable("it took too long")

            connection.set_progress_handler(over, STEPS)
            try:
                yield rows
            finally:
                connection.set_progress_handler(None, 0)

    def _read(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """All rows of one query; raise Unreadable."""
        with self._reading() as rows:
            return rows(sql, values)

    def _read_at_the_start(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """As ``_read``, for as long as it takes: nobody waits, and without the answer there is no server."""
        with self._reading(timeout=float("inf")) as rows:
            return rows(sql, values)

    def rooms(self) -> list[StoredRoom]:
        rows = self._read_at_the_start(
            "SELECT id, name, key, topic, creator, created,"
            " max(last, coalesce((SELECT max(number) FROM messages WHERE room = rooms.id), 0)), owner FROM rooms",
            (),
        )
        return [StoredRoom(*row) for row in rows]

    def highest_room(self) -> int:
        """The highest id of a room, or of one whose messages are still to be swept away."""
        return int(
            self._read_at_the_start(
                "SELECT max(coalesce((SELECT max(id) FROM rooms), 0), coalesce((SELECT max(room) FROM doomed), 0))", ()
            )[0][0]
        )

    def count(self) -> int:
        """How many messages there are."""
        return int(self._read_at_the_start("SELECT count(*) FROM messages", ())[0][0])

    def count_in(self, room: int) -> int:
        """How many messages of a room there are."""
        return int(self._read("SELECT count(*) FROM messages WHERE room = ?", (room,))[0][0])

    def token(self, token: int) -> str | None:
        """The name under which a token was used last; None: it is not known."""
        rows = self._read("SELECT name FROM tokens WHERE id = ?", (token,))
        return rows[0][0] if rows else None

    def names(self, spoken: int = 50_000) -> list[tuple[str, int]]:
        """Names that people are known by, those used last at the end, each with the number of its token, or 0: whoever
        said one of the last ``spoken`` messages, then those of all tokens."""
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
        size: float = float("inf"),
    ) -> list[Message]:
        """Up to ``limit`` messages in order: the newest, or those next below ``before`` or above ``after``.

        There are fewer if these would take more than ``size`` bytes (Message.size), but at least one. It is read a few
        at a time, so that no more than that is ever in memory.
        """
        upwards = after is not None
        sign, order = (">", "ASC") if upwards else ("<", "DESC")
        bound = after if after is not None else 2**62 if before is None else min(before, 2**62)
        sql = f"{_SELECT} WHERE m.room = ? AND m.number {sign} ? ORDER BY m.number {order} LIMIT ?"
        found: list[Message] = []
        with self._reading() as rows:
            while len(found) < limit:
                wanted = min(limit - len(found), limit if size == float("inf") else ROWS_AT_ONCE)
                some = [Message(*row) for row in rows(sql, (room, min(bound, 2**62), wanted))]
                for message in some:
                    size -= message.size
                    if size < 0 and found:
                        some = []
                        break
                    found.append(message)
                if len(some) < wanted:
                    break
                bound = found[-1].number
        return found if upwards else found[::-1]

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

    def search(
        self, words: str, room: int | None, sender: str | None, limit: int, ended: threading.Event | None = None
    ) -> list[Message]:
        """The newest ``limit`` messages that have all the words, oldest first; ``search`` says what is found.

        Finds whatever was committed before. Raises Unreadable, and soon when ``ended`` is set.
        """
        query = Query(words_of(words), room, None if sender is None else fold(sender))
        if not query.words:
            return []
        with self._reading(self._searchers, ended) as rows:
            found = self._index.find(rows, query, limit)
            sql = f"{_SELECT} WHERE m.id IN ({', '.join('?' * len(found))}) ORDER BY m.id"
            return [Message(*row) for row in rows(sql, found)]


def _unsynced(error: Exception) -> bool:
    """Whether an fsync failed. Before Python 3.11 SQLite's code is not available, and every failure of the disk
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
