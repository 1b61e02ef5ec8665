"""A program's input, or that of a plain terminal, line by line; until it ends, or somebody says that it is over."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
from collections.abc import Iterator
from typing import Any, TextIO

LINE = 8192  # bytes in a line, without its end, as over telnet
READ_SIZE = 65536  # bytes
LOOK = 0.5  # seconds after which it looks whether the terminal is its own again
_WINDOWS = os.name == "nt"


class Lines:
    """The lines of a stream, as bytes. ``stop`` may be called by any thread, all else by the main thread.

    Only LF and CR LF end a line: of whatever else Python takes for an end, such as U+2028 or a form feed, a line has
    what stands behind it, too. The stream itself is not read from by anybody else.
    """

    def __init__(self, stream: TextIO) -> None:
        buffer: Any = stream.buffer
        self._raw = getattr(buffer, "raw", buffer)  # without a buffer, in which select would not see anything
        self.encoding = stream.encoding
        self._woken, self._waker = os.pipe()
        if not _WINDOWS:
            os.set_blocking(self._waker, False)
            # A signal that comes just before the waiting begins does not end it; a byte does.
            signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._stopped = False

    def __iter__(self) -> Iterator[bytes | None]:
        """Yield each line without its end, or None for one that is longer than LINE. Raise OSError."""
        rest = b""
        overlong = False
        while data := self._read():
            *ended, rest = (rest + data).split(b"\n")
            for line in ended:
                if self._stopped:
                    return
                yield self._line(line, overlong)
                overlong = False
            if len(rest) > LINE + 1:  # a CR is not counted
                rest, overlong = b"", True
        if (rest or overlong) and not self._stopped:
            yield self._line(rest, overlong)

    @staticmethod
    def _line(line: bytes, overlong: bool) -> bytes | None:
        line = line.removesuffix(b"\r")
        return None if overlong or len(line) > LINE else line

    def _read(self) -> bytes:
        """Wait for some bytes; b"" at the end, or when it is over."""
        while not self._stopped:
            if not self._wait():
                continue
            try:
                data = self._raw.read(READ_SIZE)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                if is_ours(self._raw):
                    return b""  # the terminal is gone
                continue
            if data is not None:  # otherwise there is nothing yet, in a stream that does not wait
                return bytes(data)
        return b""

    def _wait(self) -> bool:
        """Wait, not for ever, until there is something to read; False if there was nothing, or it is over."""
        if _WINDOWS:  # where select is for sockets only: it is read, and whoever stops it has to wait
            return True
        ours = is_ours(self._raw)
        ready, _, _ = select.select([self._woken, *([self._raw] if ours else [])], [], [], None if ours else LOOK)
        if self._woken in ready:
            os.read(self._woken, READ_SIZE)
            return False
        return self._raw in ready and is_ours(self._raw)

    def stop(self) -> None:
        """It is over: no further line is read. Nothing is waited for."""
        self._stopped = True
        with contextlib.suppress(BlockingIOError):  # it is full of bytes that nobody has read yet
            os.write(self._waker, b"\0")

    def close(self) -> None:
        """Once nobody can call ``stop`` any more."""
        if not _WINDOWS:
            signal.set_wakeup_fd(-1)
        os.close(self._woken)
        os.close(self._waker)


def is_ours(file: Any) -> bool:
    """Whether what is typed is for this program, if the file is a terminal; of anything else, True.

    A terminal whose foreground is another job stops a program that reads from it.
    """
    try:
        return os.tcgetpgrp(file.fileno()) == os.getpgrp()
    except (OSError, AttributeError):  # it is no terminal, or not the one that controls jobs; or this is Windows
        return True


def never_stopped() -> None:
    """For the main thread: a read comes back with EIO instead of stopping the program, if the terminal became
    another job's just before it."""
    if hasattr(signal, "SIGTTIN"):
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)
