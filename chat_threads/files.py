"""The files of a history: whether the server may write to them, and whether they are still those that it opened.

A file can be renamed, replaced, deleted or truncated while it is open. A program that has it open does not notice: it
writes into a file that nobody will ever find, or over what somebody has just put there.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import sys
import time
from typing import BinaryIO

from . import identity, wal
from .errors import StartError

LOG, SHARED = "-wal", "-shm"  # the endings of SQLite's files beside the history: its log, and the log's index
JOURNAL = "-journal"  # the ending of the rollback journal, which SQLite also looks for
_LOG_MAGIC = b"\x37\x7f\x06"  # the first bytes of a log
_LOG_HEADER = 32  # bytes of its header, which changes when SQLite starts the log again

UNCHANGED = 0.1  # seconds after which the files are examined though nothing seems to have changed
SETTLED = 20_000_000  # nanoseconds after which no other change gets the same time: clocks tick every few milliseconds

if sys.platform == "win32":

    def _read(descriptor: int, size: int, at: int) -> bytes:
        os.lseek(descriptor, at, os.SEEK_SET)
        return os.read(descriptor, size)

else:
    _read = os.pread


def refuse_unwritable(path: str) -> None:
    """Raise StartError, with advice, if this process may not write to the history's files or to their directory.

    SQLite would open such a history, but only for reading, and the server would refuse every line.
    """
    beside = os.path.dirname(path) or "."
    for name in (beside, path, path + LOG, path + SHARED, path + ".lock"):
        if os.path.exists(name) and not _may_write(name):
            what = "the directory, where SQLite's log has to be," if name == beside else name
            raise _refusal(path, what, name)


def refuse_odd(path: str) -> None:
    """Raise StartError, with what to do, if SQLite would wait for a file of the history for ever, or could only append
    to it. Call it when nobody else can have the history, and before SQLite opens it here: closing a descriptor drops
    the locks that SQLite has on the file in this process."""
    for name in (path, path + LOG, path + SHARED, path + JOURNAL):
        if name != path and os.path.lexists(name) and not stat.S_ISREG(os.lstat(name).st_mode):
            raise StartError(
                f"The history {path} cannot be opened: {name} is not a regular file. It was left as it is. Remove it,"
                " or name another history with --db."
            )
        if os.path.exists(name):
            try:
                os.close(os.open(name, os.O_RDWR | getattr(os, "O_CLOEXEC", 0)))
            except PermissionError:
                raise _refusal(path, name, name) from None


def _refusal(path: str, what: str, name: str) -> StartError:
    if _mounted_read_only(name):
        why, remedy = "lies on a read-only file system", "Mount that for writing"
    else:
        why = "may not be written to by this user"
        remedy = "Change its owner or mode (chown, chmod) or attributes (chattr)"
    return StartError(
        f"The history {path} cannot be opened: {what} {why}. {remedy}, or name another history with --db."
    )


def _may_write(name: str) -> bool:
    return os.access(name, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _mounted_read_only(name: str) -> bool:
    try:
        return bool(os.statvfs(name).f_flag & os.ST_RDONLY)
    except (OSError, AttributeError):  # Windows has neither
        return False


_Glance = tuple[tuple[int, int, int, int], int, int, int, int, bytes]


class OpenFiles:
    """The files of an open history. Made before SQLite opens them. Owned by the history thread.

    ``fault`` examines the files. That is slow for a step that each commit waits for. So ``unchanged`` says whether
    ``fault`` has to be asked: it compares the times that the system keeps. While SQLite writes to its log, nobody
    changes the file itself, or a name in its directory.

    The file itself stays open here until ``close``, because closing any descriptor of a file drops the locks that
    SQLite has on the file in this process.
    """

    def __init__(self, path: str, log_limit: int) -> None:
        self._path = path
        self._log_limit = log_limit  # bytes to which SQLite cuts its log when it starts the log again
        self._file: BinaryIO = open(path, "rb", buffering=0)
        self._log: BinaryIO | None = None
        self._file_number, self._log_number = self._file.fileno(), -1  # their descriptors
        self._folder: int | None = None  # a descriptor of the directory; None: the system gives none
        with contextlib.suppress(OSError):  # Windows, and a directory that may not be read
            self._folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        self._seen: _Glance | None = None  # what ``unchanged`` has just seen
        self._known: _Glance | None = None  # what it saw before ``fault`` found nothing; None: that shows nothing yet
        self._known_until = 0.0  # by time.monotonic()
        self._page = b""  # the last page that was looked at for a mark
        self._in_page: identity.Mark | None = None  # what it held
        self._writer: sqlite3.Connection
        self._sqlites: wal.Log  # the log with its index, which says what SQLite takes the log to be

    def opened(self, writer: sqlite3.Connection) -> wal.Log:
        """Take note of the files. SQLite has opened the history and written to its log by then.

        Returns the log, for its caller to close. Raises OSError.
        """
        self._writer = writer
        self._page_size = int(writer.execute("PRAGMA page_size").fetchone()[0])
        self._root = identity.root(writer)
        found = self._found(self._root)
        self._marks = {found.mark if found else identity.NONE}  # the file itself holds one of these
        self._mark = identity.mark(writer)  # the newest: the history's
        self._log = open(self._path + LOG, "rb", buffering=0)
        self._log_number = self._log.fileno()
        self._were = {name: _identity(name) for name in (self._path, self._path + LOG, self._path + SHARED)}
        self._size = os.stat(self._path).st_size  # the file gets smaller only by SQLite's own means
        self._log_size, self._log_header = 0, b""  # the log gets smaller only when SQLite starts it again
        self._may_begin = True  # whether the log was copied since the last check: SQLite may then have started it again
        self._marks.update(mark.mark for _, mark in identity.marks_in(self._log))
        self._sqlites = wal.Log(self._path, self._log_number)
        return self._sqlites

    def close_log(self) -> None:
        if self._log:
            self._log.close()

    def close(self) -> None:
        """Close the files. All connections to the history are closed by then."""
        self.close_log()
        self._file.close()
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    def renew(self) -> None:
        """Give the history a new mark. The file gets it when SQLite's log is copied. Raises sqlite3.Error."""
        mark = identity.fresh()
        self._marks.add(mark)  # before it can fail: afterwards nobody knows what is in the log
        identity.renew(self._writer, mark)
        self._mark = mark

    def sync_log(self) -> None:
        """Have the disk write SQLite's log.

        SQLite does so again just before it copies the log, and reports errors. After this call that sync is quick, so
        another program has hardly any time to overwrite the file between our check and the copy.
        """
        if self._log:
            with contextlib.suppress(OSError):
                os.fsync(self._log_number)

    def copied(self) -> None:
        """Take note that SQLite's log, or a part of it, was copied into the file."""
        self._may_begin = True
        self._known = None
        found = self._found(self._root)
        if found is not None and found.mark in self._marks:
            self._marks = {found.mark, self._mark}

    def unchanged(self, now: float) -> bool:
        """Whether the files are certainly as they were when ``fault`` found nothing. If not, ask ``fault``.

        ``now`` is by time.monotonic().
        """
        if self._folder is None:
            return False
        # Whatever happens to a name, to the file or to the beginning of the log changes one of these.
        try:
            file = os.stat(self._path)
        except OSError:
            self._seen = None
            return False
        names = os.fstat(self._folder)
        times = names.st_mtime_ns, names.st_ctime_ns, file.st_mtime_ns, file.st_ctime_ns
        header = _read(self._log_number, _LOG_HEADER, 0)
        log_size = os.lseek(self._log_number, 0, os.SEEK_END)  # a quarter of the time of fstat
        seen = times, file.st_dev, file.st_ino, file.st_size, file.st_nlink, header
        if seen != self._known or now >= self._known_until or log_size < self._log_size:
            self._seen = seen
            return False
        self._log_size, self._may_begin = log_size, False
        return True

    def fault(self, copying: bool = False) -> str | None:
        """What happened to the files, in words for the log; None: they are those that were opened. About 10 µs.

        ``copying``: SQLite will copy its log into the file. So look at the whole log, which takes longer.
        """
        seen, self._seen, self._known = self._seen, None, None
        found = self._examine(copying)
        if found is None and seen is not None and max(seen[0]) + SETTLED < time.time_ns():
            # Seen before they were examined, so what happens from now on will show.
            self._known, self._known_until = seen, time.monotonic() + UNCHANGED
        return found

    def _examine(self, copying: bool) -> str | None:
        for name, was in self._were.items():
            now = _identity(name)
            if now is None:
                return f"{name} is gone{self._new_name(name)}"
            if now != was:
                return f"{name} is another file now{self._new_name(name)}"
        if not self._file_is_whole():
            return f"{self._path} was truncated, or another file was copied over it"
        if not self._log_is_whole() or (copying and not self._sqlites.is_current(frames=True)):
            return f"{self._path + LOG} was truncated, or another file was copied over it"
        return None

    def log_was_cut(self) -> bool:
        """Whether SQLite's log is shorter than at the last check. The next commit hides that, because it makes the log
        longer again."""
        return os.lseek(self._log_number, 0, os.SEEK_END) < self._log_size

    def whole(self) -> bool:
        """Whether the open files, wherever they are now, still hold what SQLite wrote to them."""
        try:
            return self._file_is_whole() and self._log_is_whole() and self._sqlites.is_current(frames=True)
        except OSError:
            return False

    def log_is_ours(self) -> bool:
        """Whether the log's name stands for the open log, or for nothing: then SQLite may delete it."""
        return _identity(self._path + LOG) in (None, self._were[self._path + LOG])

    def remove_log(self) -> None:
        """Delete SQLite's log after all connections are closed and all of it was copied into the file.

        SQLite does not delete it if the file was moved. It would be in the way of the next history of this name.
        """
        for name in (self._path + LOG, self._path + SHARED):
            if _identity(name) == self._were[name]:
                os.remove(name)

    def where(self, folded: bool) -> str:
        """Where the operator finds what was said until now. ``folded``: the file has all of SQLite's log."""
        if not self.whole():
            return "What was overwritten is lost, unless there is a backup."
        file, log = self._file_number, self._log_number
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
        page = _read(self._file_number, self._page_size, (root - 1) * self._page_size)
        if page != self._page:  # it seldom changes
            self._page, self._in_page = page, identity.found_in(page)
        return self._in_page

    def _file_is_whole(self) -> bool:
        size = os.fstat(self._file_number).st_size
        found = self._found(self._root)
        if size >= self._size and (found.mark if found else identity.NONE) in self._marks:
            self._size = size
            return True
        # SQLite itself may have made the file smaller and moved the mark (VACUUM).
        try:
            root = identity.root(self._writer)
            pages = int(self._writer.execute("PRAGMA page_count").fetchone()[0])
        except sqlite3.Error:
            return False
        found = self._found(root)
        if found is None and root != self._root:
            # A reader still needs what was there before the newest mark, so SQLite has copied only a part of its log.
            # Until it copies all of the log, the mark may be neither in its old place nor in its new one.
            self._marks.add(identity.NONE)
        self._root = root
        if (found.mark if found else identity.NONE) not in self._marks:
            return False
        if size < (pages * self._page_size if found else self._size):
            return False
        self._size = size
        return True

    def _log_is_whole(self) -> bool:
        size = os.fstat(self._log_number).st_size
        header = _read(self._log_number, _LOG_HEADER, 0)
        if size and not header.startswith(_LOG_MAGIC):
            return False
        if header != self._log_header or size < min(self._log_size, self._log_limit):
            # SQLite starts the log again, or empties it, only when the file has all of it. Then the file has the
            # history's mark, unless a newer mark was written since.
            found = self._found(self._root)
            if not self._may_begin and not (found and found.mark == self._mark):
                return False
            if not self._sqlites.is_current():  # another log was copied over it when SQLite may start it again
                return False
        self._log_size, self._log_header, self._may_begin = size, header, False
        return True

    def _new_name(self, name: str) -> str:
        file = {self._path: self._file_number, self._path + LOG: self._log_number}.get(name)
        now = None if file is None else _name_of(file)
        return f" (the one that was opened is {now})" if now and now not in (name, f"{name} (deleted)") else ""


def _name_of(descriptor: int) -> str | None:
    """The name that an open file has now; None: the system does not tell."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return None


def _identity(name: str) -> tuple[int, int] | None:
    """Which file a name stands for (device and inode); None: there is none, or it is not accessible."""
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_dev, found.st_ino
