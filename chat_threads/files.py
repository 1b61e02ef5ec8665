"""The files of a history: whether they may be written to, and whether they are still those that were opened.

A file can be renamed, replaced, deleted or truncated while it is open. Whoever has it open does not notice: what is
written goes into a file that nobody will ever find, or on top of what somebody has just put there.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import BinaryIO

from . import identity
from .errors import StartError

LOG, SHARED = "-wal", "-shm"  # what SQLite puts beside the history: its log, and the index of that
_LOG_MAGIC = b"\x37\x7f\x06"  # how a log begins
_LOG_HEADER = 32  # bytes that are others when it begins anew


def refuse_unwritable(path: str) -> None:
    """Raise StartError, with what to do, if this process may not write to a file of the history, or beside it.

    SQLite opens such a history all the same, for reading, and the server would refuse every line.
    """
    beside = os.path.dirname(path) or "."
    for name in (beside, path, path + LOG, path + SHARED, path + ".lock"):
        if os.path.exists(name) and not _may_write(name):
            what = "the directory, where SQLite's log has to be," if name == beside else name
            if _mounted_read_only(name):
                why, remedy = "lies on a read-only file system", "Mount that for writing"
            else:
                why, remedy = "may not be written to by this user", "Change its owner or mode (chown, chmod)"
            raise StartError(
                f"The history {path} cannot be opened: {what} {why}. {remedy}, or name another history with --db."
            )


def _may_write(name: str) -> bool:
    return os.access(name, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _mounted_read_only(name: str) -> bool:
    try:
        return bool(os.statvfs(name).f_flag & os.ST_RDONLY)
    except (OSError, AttributeError):  # Windows has neither
        return False


class OpenFiles:
    """The files of a history that is open. Made before SQLite opens them; the history thread's.

    The file itself stays open here until ``close``: closing any descriptor of it drops the locks that SQLite has on it
    in this process.
    """

    def __init__(self, path: str, log_limit: int) -> None:
        self._path = path
        self._log_limit = log_limit  # SQLite cuts its log to this many bytes when it begins it anew
        self._file: BinaryIO = open(path, "rb", buffering=0)
        self._log: BinaryIO | None = None
        self._writer: sqlite3.Connection

    def opened(self, writer: sqlite3.Connection) -> int:
        """SQLite has opened the history, and written to its log, which stays open: its descriptor. Raises OSError."""
        self._writer = writer
        self._page_size = int(writer.execute("PRAGMA page_size").fetchone()[0])
        self._root = identity.root(writer)
        found = self._found(self._root)
        self._marks = {found.mark if found else identity.NONE}  # those of which the file itself holds one
        self._mark = identity.mark(writer)  # the history's
        self._log = open(self._path + LOG, "rb", buffering=0)
        self._were = {name: _identity(name) for name in (self._path, self._path + LOG, self._path + SHARED)}
        self._size = os.stat(self._path).st_size  # the file never gets smaller, unless SQLite says so
        self._log_size, self._log_header = 0, b""  # nor does the log, unless it begins anew
        self._may_begin = True  # the log was copied, and since then nobody has looked whether it began anew
        self._marks.update(mark.mark for _, mark in identity.marks_in(self._log))
        return self._log.fileno()

    def close_log(self) -> None:
        if self._log:
            self._log.close()

    def close(self) -> None:
        """All connections to the history are closed."""
        self.close_log()
        self._file.close()

    def renew(self) -> None:
        """Give the history another mark; the file gets it when SQLite's log is copied. Raises sqlite3.Error."""
        mark = identity.fresh()
        self._marks.add(mark)  # whether or not it fails, for who knows what is in the log then
        identity.renew(self._writer, mark)
        self._mark = mark

    def sync_log(self) -> None:
        """Have the disk write SQLite's log. SQLite does so again, and tells of errors, just before it copies the log;
        but then it takes no time, in which the file could be overwritten after it was looked at."""
        if self._log:
            with contextlib.suppress(OSError):
                os.fsync(self._log.fileno())

    def copied(self) -> None:
        """SQLite's log, or a part of it, was copied into the file."""
        self._may_begin = True
        found = self._found(self._root)
        if found is not None and found.mark in self._marks:
            self._marks = {found.mark, self._mark}

    def fault(self) -> str | None:
        """What has become of the files, for the operator's log; None: they are those that were opened. About 10 us."""
        for name, was in self._were.items():
            now = _identity(name)
            if now is None:
                return f"{name} is gone{self._new_name(name)}"
            if now != was:
                return f"{name} is another file now{self._new_name(name)}"
        if not self._file_is_whole():
            return f"{self._path} was truncated, or another file was copied over it"
        if not self._log_is_whole():
            return f"{self._path + LOG} was truncated, or another file was copied over it"
        return None

    def whole(self) -> bool:
        """Whether the files that are open, wherever they are now, still hold what SQLite has written to them."""
        try:
            return self._file_is_whole() and self._log_is_whole()
        except OSError:
            return False

    def log_is_ours(self) -> bool:
        """Whether nothing but the log that is open has the log's name, so that SQLite may delete that."""
        return _identity(self._path + LOG) in (None, self._were[self._path + LOG])

    def remove_log(self) -> None:
        """Delete SQLite's log, all of which was copied into the file, after all connections are closed. SQLite leaves
        it if the file was moved, and it would be in the way of the history that is put there."""
        for name in (self._path + LOG, self._path + SHARED):
            if _identity(name) == self._were[name]:
                os.remove(name)

    def where(self, folded: bool) -> str:
        """Where what was said until now is to be found, for the operator; whether the file has the log's part, too."""
        if not self.whole():
            return "What was overwritten is lost, unless there is a backup."
        file, log = self._file.fileno(), self._log.fileno() if self._log else None
        if os.fstat(file).st_nlink and folded:
            return f"All that was said until now is in {_name_of(file) or 'the file that was opened'}."
        open_still = "What was said until now is still open in this process, and lost when it ends."
        if not _name_of(file):
            return open_still
        here = f"/proc/{os.getpid()}/fd"
        rest = "" if folded else f" && cp {here}/{log} saved.db-wal"
        return f"{open_still} To keep it, before that: cp {here}/{file} saved.db{rest}."

    def _found(self, root: int) -> identity.Mark | None:
        """The mark that the file itself holds."""
        self._file.seek((root - 1) * self._page_size)
        return identity.found_in(self._file.read(self._page_size))

    def _file_is_whole(self) -> bool:
        size = os.fstat(self._file.fileno()).st_size
        found = self._found(self._root)
        if size >= self._size and (found.mark if found else identity.NONE) in self._marks:
            self._size = size
            return True
        # It may have been made smaller, and the mark moved, by SQLite's own means (VACUUM).
        try:
            root = identity.root(self._writer)
            pages = int(self._writer.execute("PRAGMA page_count").fetchone()[0])
        except sqlite3.Error:
            return False
        found = self._found(root)
        if found is None and root != self._root:
            # Somebody reads what was there before the newest mark, so SQLite has copied only a part of its log. Until
            # it copies all of it, there may be no mark where it was, nor where it will be.
            self._marks.add(identity.NONE)
        self._root = root
        if (found.mark if found else identity.NONE) not in self._marks:
            return False
        if size < (pages * self._page_size if found else self._size):
            return False
        self._size = size
        return True

    def _log_is_whole(self) -> bool:
        assert self._log
        size = os.fstat(self._log.fileno()).st_size
        self._log.seek(0)
        header = self._log.read(_LOG_HEADER)
        if size and not header.startswith(_LOG_MAGIC):
            return False
        if header != self._log_header or size < min(self._log_size, self._log_limit):
            # SQLite begins the log anew, or empties it, only when the file has all of it: then the file has the
            # history's mark, if no other has been written since.
            found = self._found(self._root)
            if not self._may_begin and not (found and found.mark == self._mark):
                return False
        self._log_size, self._log_header, self._may_begin = size, header, False
        return True

    def _new_name(self, name: str) -> str:
        file = {self._path: self._file, self._path + LOG: self._log}.get(name)
        now = _name_of(file.fileno()) if file else None
        return f" (the one that was opened is {now})" if now and now not in (name, f"{name} (deleted)") else ""


def _name_of(descriptor: int) -> str | None:
    """The name that an open file has now, where the system says so."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return None


def _identity(name: str) -> tuple[int, int] | None:
    """Which file a name stands for; None: none, or it cannot be told."""
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_dev, found.st_ino
