"""Makes stdin, stdout and stderr safe to use. They may be closed or full, nobody may read them, or they cannot encode a
letter. None of that may end a server, or a backup that is nearly done."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, TextIO

_lost: OSError | None = None  # why stdout lost some output; set once, by the thread that prints


class _Lossy(io.RawIOBase):
    """A stream that accepts everything, and drops what the system does not accept."""

    def __init__(self, raw: Any, main: bool) -> None:
        self._raw = raw
        self._main = main  # whether ``lost`` reports its errors

    def write(self, data: Any) -> int:
        try:
            return self._raw.write(data) or len(data)  # None: the stream is non-blocking and full
        except OSError as error:
            if self._main:
                _lose(error)
            return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def isatty(self) -> bool:
        return bool(self._raw.isatty())


def own_file(path: str, flags: int) -> int:
    """The opener of files that the program writes: one that it makes has mode 0600, one that exists keeps its mode."""
    return os.open(path, flags, 0o600)


def _lose(error: OSError) -> None:
    global _lost
    _lost = _lost or error


def prepare() -> None:
    """Call this first in a program, before anything is opened.

    Afterwards, descriptors 0 to 2 are open. Otherwise a file or socket would get one of these numbers, and output would
    end up in it. Printing raises neither OSError nor UnicodeEncodeError: characters that the encoding lacks are printed
    as escapes. Streams that were replaced, as in tests, stay as they are.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # open() uses the lowest free number
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")
    if sys.stdout is None:
        _lose(OSError(errno.EBADF, os.strerror(errno.EBADF)))
    sys.stdout = _safe(sys.stdout, sys.__stdout__, True)
    sys.stderr = _safe(sys.stderr, sys.__stderr__, False)


def _safe(stream: TextIO | None, original: TextIO | None, main: bool) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if stream is not original or not isinstance(stream, io.TextIOWrapper):
        return stream
    raw: Any = getattr(stream.buffer, "raw", stream.buffer)
    return io.TextIOWrapper(
        io.BufferedWriter(_Lossy(raw, main)), stream.encoding, "backslashreplace", line_buffering=stream.line_buffering
    )


def lost() -> OSError | None:
    """Why output to stdout was lost; None: nothing was lost."""
    return _lost
