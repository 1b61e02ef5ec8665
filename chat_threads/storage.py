"""The open history: one transaction per batch. ``schema`` says what is in the file, ``reading`` how it is read.

This is the seam behind which another store would fit: ``commit`` a batch, all or nothing; read ``page`` and
``search``; ``sweep`` away what is no longer wanted. It knows no sessions or queues and has no thread of its own.

The history thread is the only one that writes. It owns every attribute of Storage. While the history is
opened or closed, main owns them, because no other thread uses it then.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Set
from contextlib import AbstractContextManager
from typing import Any

from . import accounting, audit, files, identity, once, schema
from .batch import INDEX_PAGES, PAGE_LETTERS, Batch, StoredRef
from .errors import ReadOnly, StartError, Unreadable
from .events import Message
from .filelock import FileLock
from .reading import ReadingSide, message_of, reason
from .retention import MERGE_PAGES, Sweeper, forget_unused, govern
from .schema import MEMORY, transaction
from .storage_errors import DISK_FAILED, FILES_CHANGED, StorageBroken, StorageError, StorageUnsure, unsynced
from .wal import Log

log = logging.getLogger(__name__)

BUSY_TIMEOUT = 5.0  # seconds SQLite waits for another program's lock
LOG_LIMIT = 64 << 20  # bytes that SQLite's log keeps after it was copied; above this, the server's log says so
CHECKPOINT = 1000  # pages in SQLite's log, about 4 MB, before they are copied into the file
PAGES = 2  # pages that a commit of one message adds, as measured; a larger commit adds more
FOUND_WHOLE = 0.01  # seconds after a commit whose files were whole, in which the next one begins without looking
_ROWS_AT_ONCE = 64  # rows in one INSERT: 64 * 8 stays below SQLite's old limit of 999 variables
_COLUMNS = "id, room, number, at, sender, kind, text, who"
_INSERT = {  # by the number of rows; powers of two only, so there are few statements, and SQLite compiles each once
    rows: f"INSERT INTO messages ({_COLUMNS}) VALUES {', '.join(['(?, ?, ?, ?, ?, ?, ?, ?)'] * rows)}"
    for rows in (1 << power for power in range(_ROWS_AT_ONCE.bit_length()))
}


class Storage(ReadingSide):
    """An open history. Raises StartError, and leaves the file untouched, if it must not be opened.

    The inherited methods are for any thread. Its own methods are for the history thread.
    """

    copies = False  # whether it opens copies of the log of several servers
    _sweepers = Sweeper

    def __init__(self, path: str, sync: str = "normal", busy_timeout: float = BUSY_TIMEOUT) -> None:
        # Resolve links: the lock file and SQLite's log are beside the file itself.
        super().__init__(path if path == MEMORY else os.path.realpath(path), busy_timeout)
        # Owned by the history thread:
        self._synchronous = "FULL" if sync == "full" else "NORMAL"
        self._broken = ""  # why nothing is stored any more: an fsync failed, or the files were replaced
        self._files: files.OpenFiles | None = None  # None: the history is in memory
        self._whole_until = 0.0  # by time.monotonic(): until then the next commit need not look before it begins
        self._folded = False  # the files were replaced, and all of SQLite's log was copied into the open file
        self._log_told = LOG_LIMIT  # the length of SQLite's log from which the server's log reports it
        self._unfolded = 0  # roughly the pages in the log since the last checkpoint
        self.log_is_long = False  # whether a commit has made it so long that it should be copied into the file
        self.unindexed = 0  # roughly the messages that are not in the index yet; a search reads them one by one
        self.sweeper = self._sweepers(self._index)
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
                files.refuse_odd(self.path)
                identity.refuse_strange_log(self.path)
                schema.examine(self.path, self._busy_timeout, self.copies)
                self._files = files.OpenFiles(self.path, LOG_LIMIT)
            writer = schema.connect(self.path, "rw", self._busy_timeout)
            try:
                migrated = self._prepare(writer)
                self._open_readers(writer)
                if self._files:
                    self._log = self._files.opened(writer)
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
        """Set up the writing connection, and migrate the history. Return whether it was of an older version."""
        if self.path != MEMORY:
            mode = writer.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise StartError(f"The file system of {self.path} does not allow SQLite's write-ahead log.")
            writer.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
            writer.execute("PRAGMA wal_autocheckpoint = 0")  # it would not report a failed fsync; see checkpoint
        writer.execute(f"PRAGMA synchronous = {self._synchronous}")
        migrated = schema.migrate(writer)
        with transaction(writer):
            self._index.open(writer)
        self.sweeper.open(writer)
        newest: int = writer.execute("SELECT coalesce(max(id), 0) FROM messages").fetchone()[0]
        self._last_id = max(newest, self._index.upto)  # an id in the index is not used again
        self.unindexed = self._last_id - self._index.upto if self._index.usable else 0
        self._uses: int = writer.execute("SELECT coalesce(max(used), 0) FROM tokens").fetchone()[0]
        return migrated

    def close(self) -> None:
        """Close all connections. SQLite copies its log into the file, unless the files were replaced.

        It does so when the last connection is closed, if that connection may write.
        """
        with contextlib.suppress(sqlite3.Error):
            self.sweeper.tell(self._writer)  # a pass may not have ended
        readers, ours = self._connections, True
        if self._files:
            known = bool(self._broken)
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute("PRAGMA busy_timeout = 0")  # do not wait for another program's lock
            try:
                self._same_files(copying=True)
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
        """Close the files, after all connections are closed."""
        if self._log:
            self._log.close()
        if self._files:
            self._files.close()
            self._files = None
        if self._file_lock:
            self._file_lock.release()

    # --- the files under it -----------------------------------------------------------------------------------

    def _same_files(self, copying: bool = False) -> None:
        """Raise StorageBroken if nothing can be stored any more: the files are no longer those that were opened, or an
        fsync failed. ``copying``: SQLite will copy its log into the file."""
        if self._broken:
            raise StorageBroken(self._broken)
        fault = self._files.fault(copying) if self._files else None
        if not self._files or fault is None:
            return
        self._broken = FILES_CHANGED
        if self._files.whole():
            with contextlib.suppress(sqlite3.Error):
                self._files.renew()  # so that an older log is not mistaken for the file's own
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
        """Renew the mark that ties the file and SQLite's log together. On a full disk, keep the old one."""
        try:
            if self._files:
                self._files.renew()
        except sqlite3.Error as error:
            if unsynced(error):
                raise self._failure(error) from error

    @contextlib.contextmanager
    def _copying(self) -> Iterator[None]:
        """A context in which SQLite's log is copied into the file. Raise StorageBroken if the file was replaced."""
        self._renew()
        if self._files:
            self._files.sync_log()
        self._same_files(copying=True)
        try:
            yield
        finally:
            if self._files:
                self._files.copied()
            self._whole_until = 0.0

    def _fold(self, writer: sqlite3.Connection) -> None:
        """Copy SQLite's log into the file, as far as readers allow. Raise StorageError."""
        try:
            with self._copying():
                busy, pages, copied = writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            raise self._failure(error) from error
        if not busy:
            if copied == pages:
                self._renew()
                self._same_files()  # after SQLite has started its log again
            self._watch_log(pages * schema.FRAME, copied == pages)

    # --- writing --------------------------------------------------------------------------------------------

    def _writing(self) -> AbstractContextManager[sqlite3.Connection]:
        """The writing connection, to write with. Raises StorageBroken when nothing can be stored any more."""
        if self._broken:
            raise StorageBroken(self._broken)
        return self._own()

    def _own(self) -> AbstractContextManager[sqlite3.Connection]:
        """The writing connection. It can still read when nothing can be stored any more."""
        return self._borrow() if self.path == MEMORY else contextlib.nullcontext(self._writer)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """The writing connection in a transaction, all or nothing. Raises StorageError."""
        try:
            with self._writing() as writer, transaction(writer):
                yield writer
        except (sqlite3.Error, Unreadable) as error:
            raise self._failure(error) from error

    def commit(self, batch: Batch) -> None:
        """Store the batch in one transaction, all or nothing. Raise StorageError with a reason.

        The files are always checked afterwards, because that decides whether a message is acknowledged. Just after
        another commit they are not checked before, except for what this commit would hide. If they were replaced in
        between, the batch is maybe stored instead of not stored.
        """
        began = time.monotonic()
        try:
            if began >= self._whole_until or self._broken or (self._files and self._files.log_was_cut()):
                self._same_files()
            more = batch.more
            store = self._store if more else self._insert
            if self.path == MEMORY:
                with self._borrow() as writer:
                    last_id = store(writer, batch)
            else:
                last_id = store(self._writer, batch)
        except (sqlite3.Error, Unreadable) as error:
            raise self._failure(error) from error
        if self._files and not self._files.unchanged(began):
            try:
                self._same_files()
            except StorageBroken as broken:  # it is stored, but it is unknown in which file
                raise StorageUnsure(self._broken, broken.error, broken.advice) from broken
        self._whole_until = began + FOUND_WHOLE
        added = last_id - self._last_id
        self._last_id = last_id
        self._unfolded += PAGES + added // 6
        if more:
            self._uses += len(batch.tokens)
            self._unfolded += batch.pages()
            if batch.redacted:
                self.sweeper.has_remains()
        self.log_is_long = self._unfolded >= CHECKPOINT
        if self._index.usable:
            self.unindexed += added

    def _store(self, writer: sqlite3.Connection, batch: Batch) -> int:
        """Store the batch. Return the id of its last message, or of the one before the batch."""
        with transaction(writer):
            return self._put(writer, batch)

    def _put(self, writer: sqlite3.Connection, batch: Batch) -> int:
        """As ``_store``, in a transaction."""
        for room in batch.rooms_unused:  # first, because a new room may have the name of one of them
            forget_unused(writer, "id = ?", room)
        for made in batch.rooms_made:
            writer.execute(
                "INSERT INTO rooms (id, name, key, topic, creator, created, owner, last)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                (made.room_id, made.room, made.key, made.topic, made.creator, made.at, made.owner),
            )
        last_id = self._insert(writer, batch)
        for room, number in batch.redacted:
            self.sweeper.redact(writer, room, number)
        for room, topic in batch.topics.items():
            writer.execute("UPDATE rooms SET topic = ? WHERE id = ?", (topic, room))
        govern(writer, batch.governed)
        audit.keep(writer, batch.audit)
        for room in batch.rooms_ended:
            audit.forget(writer, room)
            self.sweeper.ends(writer, room)
            writer.execute("DELETE FROM rooms WHERE id = ?", (room,))
            writer.execute("INSERT INTO doomed (room) VALUES (?)", (room,))
        once.store(writer, batch.tokens.values(), batch.refs, self._uses)
        for change in batch.accounts:
            accounting.store(writer, change)
        if batch.places:
            once.keep(writer, batch.places)
        for made in batch.rooms_made:
            if made.owner:
                writer.execute("UPDATE tokens SET kept = 1 WHERE id = ?", (made.owner,))
        return last_id

    def _insert(self, writer: sqlite3.Connection, batch: Batch) -> int:
        """Insert the messages with few statements, because each releases the GIL and has to get it back. Return as
        ``_store``. A single statement is a transaction by itself."""
        messages = batch.messages
        left = len(messages)
        if left not in _INSERT and not writer.in_transaction:
            with transaction(writer):
                return self._insert(writer, batch)
        last_id, at, rows, letters = self._last_id, 0, _ROWS_AT_ONCE, 0
        while left:
            while rows > left:
                rows //= 2
            values: list[Any] = []
            for message in messages[at : at + rows]:
                last_id += 1
                letters += len(message.text)
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
            writer.execute(_INSERT[rows], values)
            at += rows
            left -= rows
        self._unfolded += letters // PAGE_LETTERS
        return last_id

    def forget_unused_rooms(self, kept: str) -> None:
        """Forget the rooms without messages, topic and governance, except the one with this key. Called before clients
        connect. Raises StorageError."""
        with self._changing() as writer:
            forget_unused(writer, "topic = '' AND id NOT IN (SELECT room FROM governance) AND key != ?", kept)

    def trusted_for(self, now: int, shortest: int) -> int:
        """As ``Sweeper.trusted_for``. Raises StorageError."""
        with self._changing() as writer:
            return self.sweeper.trusted_for(writer, now, shortest)

    def sweep(self, older_than: int | None, left: dict[int, int] | None = None) -> tuple[int, bool]:
        """Delete some messages: of deleted rooms, from before ``older_than``, and in the rooms in ``left`` as
        ``Sweeper.sweep`` does.

        One call deletes only a few messages, so nobody waits long. Returns the number deleted, and whether there may be
        more. Raises StorageError.
        """
        try:
            with self._writing() as writer:
                with transaction(writer):
                    done = self.sweeper.sweep(writer, older_than, left or {})
                self.sweeper.passed(writer, done)
        except (sqlite3.Error, Unreadable) as error:
            raise self._failure(error) from error
        if done.deleted:
            self._unfolded += PAGES + len(done.deleted)
        return len(done.deleted), done.more

    @property
    def remains(self) -> bool:
        """Whether deleted data may still be readable in the file. ``purge`` overwrites it."""
        return self.sweeper.remains and self.path != MEMORY

    def purge(self) -> float | None:
        """Do one step of a purge, after which deleted data cannot be read in the file. Return the seconds until the
        next step; None: it is done. Raises StorageError."""
        if not self.remains:
            return None
        try:
            with self._writing() as writer:
                self._same_files()
                self._unfolded += MERGE_PAGES
                pause = self.sweeper.purge(writer, self._copying)
                self._renew()
                self._same_files()  # SQLite may have started its log again
                return pause
        except (sqlite3.Error, Unreadable) as error:
            raise self._failure(error) from error

    def index(self) -> None:
        """Add the next few messages to the index. Raises StorageError."""
        with self._changing() as writer:
            upto = self._index.add(writer, self._last_id)
        self._index.upto = upto
        self.unindexed = self._last_id - upto
        self._unfolded += INDEX_PAGES

    def checkpoint(self) -> None:
        """Copy SQLite's log into the file if the log is long. Raise StorageError if that fails.

        SQLite could do so by itself after a commit, but it would not report an fsync that failed.
        """
        if self.path == MEMORY or self._broken or self._unfolded < CHECKPOINT:
            return
        self._unfolded, self.log_is_long = 0, False
        self._fold(self._writer)

    def _watch_log(self, size: int, copied: bool) -> None:
        """Report when SQLite's log is long, and again each time it has doubled. SQLite cannot start at the beginning of
        the log again while a reader uses an older part of it."""
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
        """The exception for an SQLite error in a transaction. Makes sure that nothing of the transaction comes back,
        even after a kill. If that is impossible, or an fsync failed, or the files were replaced, the storage writes
        nothing more."""
        undone = self._log is None or self._log.undo(self._writer, self._synchronous)
        try:
            self._same_files()
        except StorageBroken as broken:
            return broken if undone else StorageUnsure(self._broken, broken.error, broken.advice)
        if undone and not unsynced(error):
            return StorageError(reason(error))
        self._broken = DISK_FAILED
        return StorageBroken() if undone else StorageUnsure()

    def message(self, room: int, number: int) -> Message | None:
        """A message; None: there is none. Uses the writing connection, as ``refs`` does. Raises Unreadable."""
        with self._own() as writer:
            try:
                return message_of(writer, room, number)
            except sqlite3.Error as error:
                raise Unreadable(reason(error)) from error

    def refs(self, token: int) -> list[StoredRef]:
        """The results of the last REFS requests under a token, in order. Uses the writing connection, so that it does
        not wait for a search. Raises Unreadable."""
        with self._own() as writer:
            try:
                return once.requests_under(writer, token)
            except sqlite3.Error as error:
                raise Unreadable(reason(error)) from error

    def sweep_tokens(self, connected: Set[int] = frozenset()) -> bool:
        """Forget some surplus tokens (see ``once.forget``). Return whether there are more. Raises StorageError."""
        with self._changing() as writer:
            return once.forget(writer, connected)
