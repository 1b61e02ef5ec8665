"""Why the history could not be changed, and what that means for what was to be stored."""

from __future__ import annotations

from .errors import ReadOnly

_UNSYNCED = (1034, 1290)  # SQLITE_IOERR_FSYNC and _DIR_FSYNC (https://sqlite.org/rescode.html)
DISK_FAILED = "the disk failed"
FILES_CHANGED = "the history's files are no longer those that the server opened"


class StorageError(Exception):
    """The history could not be changed: nothing was stored, unless this is a StorageUnsure. The text is a reason for
    people."""


class StorageBroken(StorageError):
    """Nothing can be committed until the history is opened again. ``error`` is for everybody, ``advice`` for the log.

    Either an fsync failed, or the files are no longer those that were opened. After a failed fsync, trying again proves
    nothing: the system may drop what it could not write and report success the next time
    (https://wiki.postgresql.org/wiki/Fsync_Errors).
    """

    text = "{why}, so nothing is stored until the server is started again"

    def __init__(self, why: str = DISK_FAILED, error: ReadOnly | None = None, advice: str = "") -> None:
        super().__init__(self.text.format(why=why))
        self.error = error or ReadOnly()
        self.advice = advice


class StorageUnsure(StorageBroken):
    """As StorageBroken, and nobody knows whether the batch was stored."""

    text = "{why}, and it is not known whether that was stored"


def unsynced(error: Exception) -> bool:
    """Whether an fsync failed. Before Python 3.11, SQLite's error code is not available, and every failure of the disk
    counts as one."""
    code = getattr(error, "sqlite_errorcode", None)
    return "disk I/O error" in str(error) if code is None else code in _UNSYNCED
