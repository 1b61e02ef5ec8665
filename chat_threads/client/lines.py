"""The input of a script or a plain terminal, line by line, until it ends or a thread stops it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import signal
from collections.abc import Iterator
from typing import Any, TextIO

from ..rules import TAB

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

LINE = 8192  # bytes in a line, without its end, as over telnet
MAX_PASTED = 100  # lines that are typed or pasted at once
READ_SIZE = 65536  # bytes
LOOK = 0.5  # seconds between checks whether the terminal is ours again
_WINDOWS = os.name == "nt"


class Lines:
    """The lines of a stream, as bytes. Any thread may call ``stop``; the main thread calls everything else.

    Only LF and CR LF end a line, and not the other characters that Python takes for line ends, such as U+2028 or a
    form feed. Nobody else reads from the stream.
    """

    def __init__(self, stream: TextIO) -> None:
        buffer: Any = stream.buffer
        self._raw = getattr(buffer, "raw", buffer)  # select does not see what a buffer holds
        self.encoding = stream.encoding
        self._woken, self._waker = os.pipe()
        if not _WINDOWS:
            os.set_blocking(self._waker, False)
            # A signal that comes just before the wait does not end it; a byte in a pipe does.
            signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._stopped = False
        self._hidden = False  # whether the terminal does not show what is typed

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
        """Wait for some bytes; b"" at the end, or when it was stopped."""
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
            if data is not None:  # None: a stream that does not block has nothing yet
                return bytes(data)
        return b""

    def _wait(self) -> bool:
        """Wait a while until there is something to read; False: there was nothing, or it was stopped."""
        if _WINDOWS:  # select is for sockets only there: ``_read`` waits, and ``stop`` takes effect at the next line
            return True
        ours = is_ours(self._raw)
        ready, _, _ = select.select([self._woken, *([self._raw] if ours else [])], [], [], None if ours else LOOK)
        if self._woken in ready:
            os.read(self._woken, READ_SIZE)
            return False
        return self._raw in ready and is_ours(self._raw)

    def hide(self, hidden: bool) -> None:
        """Have the terminal not show what is typed, because it is a password; or show it again. Without a terminal, it
        does nothing."""
        if termios is None or self._hidden is hidden or not self._raw.isatty():
            return
        self._hidden = hidden
        modes = termios.tcgetattr(self._raw)
        modes[3] = modes[3] & ~termios.ECHO if hidden else modes[3] | termios.ECHO
        termios.tcsetattr(self._raw, termios.TCSADRAIN, modes)

    def stop(self) -> None:
        """Read no further line. Returns at once."""
        self._stopped = True
        with contextlib.suppress(BlockingIOError):  # the pipe is full, so the main thread wakes anyway
            os.write(self._waker, b"\0")

    def close(self) -> None:
        """Close the pipe, once no thread can call ``stop`` any more."""
        if not _WINDOWS:
            signal.set_wakeup_fd(-1)
        os.close(self._woken)
        os.close(self._waker)


def fits(typed: str) -> bool:
    """Whether a text that is typed or pasted is short enough, as with ``/edit on``."""
    return typed.count("\n") < MAX_PASTED and len(typed.encode("utf-8", "replace")) <= LINE


def is_ours(file: Any) -> bool:
    """Whether this program has the terminal; True for a file that is not a terminal.

    While another job is in the foreground, the terminal stops a program that reads from it.
    """
    try:
        return os.tcgetpgrp(file.fileno()) == os.getpgrp()
    except (OSError, AttributeError):  # not a terminal, or not the one that controls jobs; or Windows
        return True


def never_stopped() -> None:
    """Have a read fail with EIO instead of stopping the program, if another job took the terminal just before the read.
    For the main thread."""
    if hasattr(signal, "SIGTTIN"):
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)


def pasted(before: str, block: str) -> str:
    """What a pasted block becomes in the line being typed, with ``before`` in front of it. Tabs become spaces."""
    before = before.rpartition("\n")[2]
    block = re.sub("\r\n?", "\n", block).strip("\n")
    return (before + block).expandtabs(TAB)[len(before.expandtabs(TAB)) :]
