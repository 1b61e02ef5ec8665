"""stdin, stdout and stderr, in whatever state a program finds them: closed, full, read by nobody, or unable to encode
a letter. None of that may end a server, or a copy of a history that is nearly done."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, TextIO

_lost: OSError | None = None  # why stdout did not take something; set once, by whoever prints


class _Lossy(io.RawIOBase):
    """A stream that takes everything: what the system does not take is dropped."""

    def __init__(self, raw: Any, main: bool) -> None:
        self._raw = raw
        self._main = main  # whether ``lost`` is to tell of it

    def write(self, data: Any) -> int:
        try:
            return self._raw.write(data) or len(data)  # None: it does not block, and has no room
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
    """Call it first thing in a program, before anything is opened.

    Descriptors 0 to 2 are open from then on; otherwise a file or socket would get such a number, and what is printed
    would end up in it. Printing raises neither OSError nor UnicodeEncodeError: a letter that the encoding does not
    have is printed as an escape. Streams that were replaced, as tests do, stay as they are.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free
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
    """Why something that was printed to stdout is lost; None: nothing is."""
    return _lost
