"""The telnet layer: separates the text from telnet's commands, and finds the ends of lines. Pure: no socket.

``Telnet`` takes a connection's bytes apart as RFC 854 says, and answers requests for options. ``LineEditor``
makes lines of the text, and applies the keys that erase. The text of a client that does not speak telnet (nc,
PuTTY's "raw") passes through ``Telnet`` unchanged, and such a client never gets a telnet byte.

Telnet is a path for 7 bits until both ends agree on BINARY (RFC 856). Until then Debian's telnet takes the bytes 0x83,
0x8F, 0x9A and 0x9C of a UTF-8 character for its keys Ctrl-C, Ctrl-O, Ctrl-Z and Ctrl-\\: it sends a command in place of
the byte. So a client is asked for BINARY as soon as it has sent a command, and a command in the middle of a character
is read as the byte that it replaced.

However the bytes are split between calls, both classes give the same result.
"""

from __future__ import annotations

import re
from enum import Enum

from ..events import WireBytes

# RFC 854
SE, NOP, DM, BRK, IP, AO, AYT, EC, EL, GA, SB = 240, 241, 242, 243, 244, 245, 246, 247, 248, 249, 250
WILL, WONT, DO, DONT, IAC = 251, 252, 253, 254, 255
EOF, SUSP = 236, 237  # RFC 1184
BINARY, TIMING_MARK, LINEMODE = 0, 6, 34  # RFC 856, 860, 1184

# The options that we accept from a client: 8 bits each way, and that it edits its lines itself.
_AGREED = {(WILL, BINARY), (DO, BINARY), (WILL, LINEMODE)}

# Sent once LINEMODE is agreed: MODE is EDIT and TRAPSIG (RFC 1184, section 2.2). Ctrl-C remains an IP.
_EDIT_LINES = bytes((IAC, SB, LINEMODE, 1, 3, IAC, SE))

# The byte that each command may stand for: that of telnet's key for it, with the high bit set.
_REPLACED = {IP: 0x83, AO: 0x8F, SUSP: 0x9A, BRK: 0x9C}

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
    SUB_COMMAND = 4  # after IAC in a subnegotiation


class Telnet:
    """The part of RFC 854 that a server needs if it wants 8 bits and whole lines.

    Options change as in RFC 1143, so that two ends never answer each other's answers for ever. This end asks for
    BINARY only, once, and never takes back what it agreed to, so the states WANTNO and queues of that RFC do not occur.
    """

    def __init__(self) -> None:
        self._state = _State.TEXT
        self._verb = 0
        self._spoken = False  # whether the client has sent a command, and so speaks telnet
        self._tail = b""  # the last three bytes of text: an incomplete character has no more
        # Options, each as the client would ask for it: (WILL or DO, option).
        self._asked: set[tuple[int, int]] = set()  # asked for, and not yet answered
        self._on: set[tuple[int, int]] = set()  # agreed
        self._refused: set[tuple[int, int]] = set()  # refused, and not withdrawn by the client

    @property
    def pending(self) -> bool:
        """Whether a command has begun and not ended."""
        return self._state is not _State.TEXT

    def receive(self, data: bytes) -> list[bytes | Signal | WireBytes]:
        """Take bytes apart: text (bytes), a Signal, or an answer to send (WireBytes), in order.

        Erase Character and Erase Line become the bytes DEL and Ctrl-U in the text. The contents of a subnegotiation
        are dropped, because no option that is agreed to needs them.
        """
        if self._state is _State.TEXT and IAC not in data:
            self._tail = (self._tail + data[-3:])[-3:]
            return [data] if data else []
        found: list[bytes | Signal | WireBytes] = []
        text = bytearray()

        def add(*items: Signal | WireBytes) -> None:
            if text:
                self._tail = (self._tail + text[-3:])[-3:]
                found.append(bytes(text))
                text.clear()
            found.extend(items)

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
                answer = self._answer(self._verb, byte)
                if answer:
                    add(WireBytes(answer))
            elif self._state is _State.SUB_COMMAND:  # IAC SE ends it, anything else belongs to it
                self._state = _State.TEXT if byte == SE else _State.SUB
            else:
                self._state = _State.TEXT
                if byte == IAC:
                    text.append(IAC)
                    continue
                if byte >= EOF and not self._spoken:
                    self._spoken = True
                    add(WireBytes(self._ask_for_binary()))
                if byte in (WILL, WONT, DO, DONT):
                    self._verb, self._state = byte, _State.OPTION
                elif byte == SB:
                    self._state = _State.SUB
                elif byte == EC:
                    text.append(DELETE)
                elif byte == EL:
                    text.append(ERASE_LINE)
                elif self._replaces(byte, self._tail + text[-3:]):
                    text.append(_REPLACED[byte])
                elif byte in _SIGNALS:
                    add(_SIGNALS[byte])
        add()
        return found

    def _replaces(self, command: int, before: bytes) -> bool:
        """Whether telnet sent this command in place of a byte of the unfinished character at the end of ``before``."""
        if command not in _REPLACED or (WILL, BINARY) in self._on:
            return False
        return _continues(before, _REPLACED[command])

    def _ask_for_binary(self) -> bytes:
        """Ask the client to send 8 bits.

        Do not ask it to receive 8 bits: telnet shows our UTF-8 anyway, and after agreeing its local echo of Enter no
        longer returns to the first column.
        """
        self._asked.add((WILL, BINARY))
        return bytes((IAC, DO, BINARY))

    def _answer(self, verb: int, option: int) -> bytes:
        """The answer to a request; b"" if it changes nothing (RFC 1143)."""
        way = (verb if verb in (WILL, DO) else verb - 1), option
        agree = DO if way[0] == WILL else WILL
        asked = way in self._asked
        self._asked.discard(way)
        if verb in (WONT, DONT):
            self._refused.discard(way)
            if way not in self._on:
                return b""
            self._on.remove(way)
            return bytes((IAC, agree + 1, option))
        if way in self._on:
            return b""
        if way in _AGREED:
            self._on.add(way)
            answer = b"" if asked else bytes((IAC, agree, option))
            return answer + _EDIT_LINES if option == LINEMODE else answer
        if way in self._refused and option != TIMING_MARK:  # each timing mark is a request of its own
            return b""
        self._refused.add(way)
        return bytes((IAC, agree + 1, option))


_SIGNALS = {IP: Signal.INTERRUPT, EOF: Signal.END_OF_FILE, AYT: Signal.ARE_YOU_THERE}


def _continues(before: bytes, byte: int) -> bool:
    """Whether the text before ends in an incomplete character of UTF-8, and this byte can be that character's next
    byte."""
    for length in (1, 2, 3):
        try:
            (before[-length:] + bytes((byte,))).decode()
        except UnicodeDecodeError as error:
            if error.start > 0 or error.reason != "unexpected end of data":
                continue
        return True
    return False


class LineEditor:
    """Lines of at most ``limit`` bytes. CR LF, LF, CR NUL and a CR alone end a line. BS and DEL erase a
    whole UTF-8 character; Ctrl-U erases the line."""

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
                if text[at] in b"\n\x00":  # the second byte of a line's end
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
