"""One server per history: a lock file beside the history, and a lock on the history itself.

The lock file says which process has the history, and it can be locked before the history exists. But it belongs to a
name, and two containers may have one file under two names, each with a lock file of its own. So the history itself is
locked, too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import sys
import time

from .errors import StartError

log = logging.getLogger(__name__)

OURS = 0o600  # anybody who may open a lock file can lock it, and so keep a server from starting
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


def make_private(path: str) -> None:
    """Make an empty file that only this user may open. OSError: something of that name exists."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY, OURS))


class FileLock:
    """Both locks. The system releases them when the process ends, however it ends. Used by main only.

    StartError: another process has one, or the lock file is not what it should be.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._beside = path + ".lock"
        self._descriptors: list[int] = []
        try:
            self._lock_file = os.open(self._beside, os.O_RDWR | os.O_CREAT | _SAFELY, OURS)
            self._descriptors.append(self._lock_file)
        except OSError as error:
            if os.path.islink(self._beside):
                raise self._odd("a symbolic link") from error
            if os.path.exists(self._beside) and not os.path.isfile(self._beside):  # a directory, a socket
                raise self._odd("not a regular file") from error
            folder = os.path.dirname(self._beside)
            why = f"{error.strerror}: {self._beside}" if os.path.isdir(folder) else f"there is no directory {folder}"
            raise StartError(f"The history {path} cannot be opened: {why}.") from error
        try:
            self._lock_beside()
        except BaseException:
            self.release()
            raise

    def _lock_beside(self) -> None:
        found = os.fstat(self._lock_file)
        if not stat.S_ISREG(found.st_mode):
            raise self._odd("not a regular file")
        if found.st_nlink > 1:  # writing to it would overwrite it under its other name, too
            raise self._odd("a file that has another name as well")
        try:
            _lock(self._lock_file)
        except OSError as error:
            raise self._refusal(error) from None
        with contextlib.suppress(OSError, AttributeError):  # another user's file; Windows
            if stat.S_IMODE(found.st_mode) != OURS:
                os.fchmod(self._lock_file, OURS)
        holder = f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
        with contextlib.suppress(OSError):  # a full disk: the file is locked all the same, but does not say by whom
            os.ftruncate(self._lock_file, 0)
            os.lseek(self._lock_file, 0, os.SEEK_SET)
            os.write(self._lock_file, holder.encode())

    def _odd(self, what: str) -> StartError:
        return StartError(
            f"The history {self._path} cannot be opened: {self._beside} is {what}. It was left as it is. Remove it."
        )

    def _refusal(self, error: OSError, holder: str = "") -> StartError:
        if not isinstance(error, (BlockingIOError, PermissionError)):  # Windows raises the latter
            return StartError(f"The history {self._path} cannot be locked: {error.strerror}.")
        holder = holder or self._holder() or "another process"
        return StartError(
            f"The history {self._path} is in use by {holder}. Stop that server, or give this one another --db."
        )

    def _holder(self) -> str | None:
        """Who has the history, as the lock file says; None if it holds another text: anybody may have written that."""
        with contextlib.suppress(OSError):
            os.lseek(self._lock_file, 0, os.SEEK_SET)
            found = re.match(rb"process \d{1,10}, since [\d-]{10} [\d:]{8}", os.read(self._lock_file, 100))
            return found[0].decode() if found else None
        return None

    def hold(self) -> None:
        """Lock the history itself, which must exist by now. Call this before SQLite opens it. Raises StartError.

        Closing any descriptor of a file drops the locks that SQLite has on the file in this process. So this
        descriptor stays open until ``release``.
        """
        found = os.stat(self._path)
        if not stat.S_ISREG(found.st_mode):
            raise StartError(f"The history {self._path} cannot be opened: it is not a regular file.")
        if found.st_nlink > 1:
            raise StartError(
                f"The history {self._path} has {found.st_nlink} names (hard links), and SQLite's log belongs to one of"
                " them. Remove the others; find -samefile lists them."
            )
        if not sys.platform.startswith("linux"):  # elsewhere this lock could collide with SQLite's own
            return
        self._descriptors.append(os.open(self._path, os.O_RDONLY | _SAFELY))
        try:
            _lock(self._descriptors[-1])
        except BlockingIOError as error:
            raise self._refusal(error, "another process, under another name") from None
        except OSError as error:  # NFS refuses to lock a file that is open for reading only
            log.warning(
                "%s itself cannot be locked (%s): only %s keeps a second server from it, so start none under another"
                " name of the history",
                self._path,
                error.strerror,
                self._beside,
            )
        if _mounted_alone(self._path):
            log.warning(
                "%s is mounted without its directory, but the newest messages are in SQLite's log beside it: mount the"
                " directory, or they are lost after a kill",
                self._path,
            )

    def release(self) -> None:
        """Release both locks. All connections to the history are closed by then."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def _mounted_alone(path: str) -> bool:
    """Whether a file is a mount of its own, as in a container. Only Linux tells, with some bytes of paths escaped."""
    with contextlib.suppress(OSError), open("/proc/self/mountinfo", "rb") as mounts:
        points = (re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), line.split()[4]) for line in mounts)
        return os.fsencode(path) in points
    return False


try:
    import fcntl

    def _lock(descriptor: int) -> None:
        """Lock the file for this process, or raise OSError at once."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
except ImportError:  # Windows
    import msvcrt

    def _lock(descriptor: int) -> None:
        """Lock a byte far behind the text, because Windows does not let others read locked bytes."""
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
