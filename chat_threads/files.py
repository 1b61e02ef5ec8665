"""The files of a history: whether they may be written to."""

from __future__ import annotations

import os

from .errors import StartError

LOG, SHARED = "-wal", "-shm"  # what SQLite puts beside the history: its log, and the index of that


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
