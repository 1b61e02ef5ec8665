"""The telnet layer: what is text, what is telnet's own, and where a line ends. Pure: no socket.

``Telnet`` takes a connection's bytes apart as RFC 854 says and answers option requests: it never asks for an
option and refuses every one (RFC 1143 keeps that from looping). ``LineEditor`` makes lines of the text, as a
person types them, with characters erased again. A client that does not speak telnet (nc, PuTTY's "raw")
passes through both unchanged.

Both may be fed any split of the bytes: the outcome is the same.
"""

from __future__ import annotations

import re
from enum import Enum

from ..messages import WireBytes

# RFC 854
SE, NOP, DM, BRK, IP, AO, AYT, EC, EL, GA, SB = 240, 241, 242, 243, 244, 245, 246, 247, 248, 249, 250
WILL, WONT, DO, DONT, IAC = 251, 252, 253, 254, 255
EOF = 236  # RFC 1184
TIMING_MARK = 6  # RFC 860

BACKSPACE, DELETE, ERASE_LINE = 0x08, 0x7F, 0x15


class Signal(Enum):
    """What a telnet client can say besides text."""

    INTERRUPT = "Ctrl-C"
    END_OF_FILE = "Ctrl-D"
    ARE_YOU_THERE = "AYT"


class _State(Enum):
    TEXT = 0
    COMMAND = 1  # after IAC
    OPTION = 2  # after IAC and WILL, WONT, DO or DONT
    SUB = 3  # after IAC SB
    SUB_COMMAND = 4  # after IAC in there


class Telnet:
    """RFC 854, as far as a server needs it that wants no options."""

    def __init__(self) -> None:
        self._state = _State.TEXT
        self._verb = 0
        self._refused: set[tuple[int, int]] = set()  # (WILL or DO, option) answered and not taken back

    @property
    def pending(self) -> bool:
        """Whether a command has begun and not ended."""
        return self._state is not _State.TEXT

    def receive(self, data: bytes) -> list[bytes | Signal | WireBytes]:
        """Take bytes apart: text (bytes), a Signal, or an answer to send (WireBytes), in order.

        Erase Character and Erase Line become the bytes DEL and Ctrl-U in the text. What a subnegotiation
        holds is dropped as it comes, for all options are refused.
        """
        if self._state is _State.TEXT and IAC not in data:
            return [data] if data else []
        found: list[bytes | Signal | WireBytes] = []
        text = bytearray()

        def add(item: Signal | WireBytes) -> None:
            if text:
                found.append(bytes(text))
                text.clear()
            found.append(item)

        at = 0
        while at < len(data):
            if self._state in (_State.TEXT, _State.SUB):  # leap to the next command
                end = data.find(IAC, at)
                end = len(data) if end < 0 else end
                if self._state is _State.TEXT:
                    text += data[at:end]
                if end < len(data):
                    self._state = _State.COMMAND if self._state is _State.TEXT else _State.SUB_COMMAND
                at = end + 1
                continue
            byte = data[at]
            at += 1
            if self._state is _State.OPTION:
                self._state = _State.TEXT
                answer = self._refuse(self._verb, byte)
                if answer:
                    add(WireBytes(answer))
            elif self._state is _State.SUB_COMMAND:  # IAC SE ends it, anything else belongs to it
                self._state = _State.TEXT if byte == SE else _State.SUB
            else:
                self._state = _State.TEXT
                if byte in (WILL, WONT, DO, DONT):
                    self._verb, self._state = byte, _State.OPTION
                elif byte == SB:
                    self._state = _State.SUB
                elif byte == IAC:
                    text.append(IAC)
                elif byte == EC:
                    text.append(DELETE)
                elif byte == EL:
                    text.append(ERASE_LINE)
                elif byte in _SIGNALS:
                    add(_SIGNALS[byte])
        if text:
            found.append(bytes(text))
        return found

    def _refuse(self, verb: int, option: int) -> bytes:
        """Refuse what is asked for, once until the peer takes it back; its taking back needs no answer."""
        if verb in (WONT, DONT):
            self._refused.discard((verb - 1, option))
            return b""
        if (verb, option) in self._refused and option != TIMING_MARK:  # each timing mark is a request of its own
            return b""
        self._refused.add((verb, option))
        return bytes((IAC, DONT if verb == WILL else WONT, option))


_SIGNALS = {IP: Signal.INTERRUPT, EOF: Signal.END_OF_FILE, AYT: Signal.ARE_YOU_THERE}


class LineEditor:
    """Lines of at most ``limit`` bytes. CR LF, LF, CR NUL and a CR alone end a line; BS and DEL take back a
    character, a whole one in UTF-8; Ctrl-U takes back the line."""

    _SPECIAL = re.compile(rb"[\r\n\x00\x08\x7f\x15]")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line = bytearray()
        self._overlong = False
        self._after_cr = False

    @property
    def pending(self) -> bool:
        """Whether a line has begun and not ended."""
        return bool(self._line) or self._overlong

    def feed(self, text: bytes) -> list[bytes | None]:
        """The lines that this text ends, without their ends; None for one that was longer than the limit."""
        lines: list[bytes | None] = []
        at = 0
        while at < len(text):
            if self._after_cr:
                self._after_cr = False
                if text[at] in b"\n\x00":  # the second half of a line's end
                    at += 1
                    continue
            found = self._SPECIAL.search(text, at)
            end = found.start() if found else len(text)
            self._keep(text, at, end)
            at = end + 1
            if found:
                byte = text[end]
                if byte in b"\r\n":
                    lines.append(None if self._overlong else bytes(self._line))
                    self._line.clear()
                    self._overlong = False
                    self._after_cr = byte == 0x0D
                elif byte == ERASE_LINE:
                    self._line.clear()
                    self._overlong = False
                elif byte in (BACKSPACE, DELETE):
                    self._erase()
                else:
                    self._keep(text, end, end + 1)
        return lines

    def _keep(self, text: bytes, start: int, end: int) -> None:
        if self._overlong:
            return
        if len(self._line) + end - start > self._limit:
            self._overlong = True
            self._line.clear()
        else:
            self._line += text[start:end]

    def _erase(self) -> None:
        while self._line:
            if self._line.pop() & 0xC0 != 0x80:  # not a continuation byte (RFC 3629): the character is gone
                return
