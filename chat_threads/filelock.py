"""The lock file beside a history: one server per file."""

from __future__ import annotations

import contextlib
import os
import time
from typing import IO

from .errors import StartError


class FileLock:
    """The lock file is locked as long as the process lives, however it ends. Raises StartError if another has it."""

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
