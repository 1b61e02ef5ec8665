"""The telnet layer: separates the text from telnet's commands, and finds the ends of lines. Pure: no socket.

``Telnet`` takes a connection's bytes apart as RFC 854 says, and answers requests for options. ``LineEditor``
makes lines of the text, and applies the keys that erase. The text of a client that does not speak telnet (nc,
PuTTY's "raw") passes through ``Telnet`` unchanged. Such a client gets no telnet byte before ``ask_key_by_key``,
``hide``, or a line that is not UTF-8 (see ``_watched``).

Telnet is a path for 7 bits until both ends agree on BINARY (RFC 856). Until then Debian's telnet takes the bytes 0x83,
0x8F, 0x9A and 0x9C of a UTF-8 character for its keys Ctrl-C, Ctrl-O, Ctrl-Z and Ctrl-\\: it sends a command in place of
the byte. So a client is asked for BINARY as soon as it has sent a command, and a command in the middle of a character
is read as the byte that it replaced.

However the bytes are split between calls, both classes give the same result.
"""

from __future__ import annotations

import codecs
import re
from codecs import IncrementalDecoder
from collections.abc import Callable
from enum import Enum

from ..events import WireBytes
from .options import BINARY, DO, DONT, ECHO, IAC, LINEMODE, NAWS, SGA, TTYPE, WILL, WONT, Options, State

# RFC 854
SE, NOP, DM, BRK, IP, AO, AYT, EC, EL, GA, SB = 240, 241, 242, 243, 244, 245, 246, 247, 248, 249, 250
EOF, SUSP = 236, 237  # RFC 1184

# The options that a client may ask for: 8 bits each way, to edit its lines itself, and to tell its window's size.
_WELCOME = frozenset(((WILL, BINARY), (DO, BINARY), (WILL, LINEMODE), (WILL, NAWS)))

# The client is asked to send 8 bits, and its window's size. It is not asked to receive 8 bits: telnet shows our UTF-8
# anyway, and after agreeing its local echo of Enter no longer returns to the first column.
_WANTED = ((WILL, BINARY), (WILL, NAWS))

RETURN = WireBytes(b"\r\0")  # a CR by itself (RFC 854), after the answer to a line that a telnet has spoilt

# With both of these on, telnet passes on each key as it is pressed, and does not show it (RFC 857, 858).
_KEY_BY_KEY = ((DO, ECHO), (DO, SGA))

# With LINEMODE, its MODE says who edits (RFC 1184, section 2.2): the client, with EDIT and TRAPSIG, so that Ctrl-C
# remains an IP; or this end.
_CLIENT_EDITS = bytes((IAC, SB, LINEMODE, 1, 3, IAC, SE))
_SERVER_EDITS = bytes((IAC, SB, LINEMODE, 1, 0, IAC, SE))

# The question for the name of a client's terminal (RFC 1091), and how the names begin of those that do not take single
# keys: they edit lines by themselves and draw them, or cannot move the cursor.
_WHICH_TERMINAL = bytes((IAC, SB, TTYPE, 1, IAC, SE))
_OWN_LINE = ("tintin", "tinyfugue", "mudlet", "mushclient", "cmud", "zmud", "kildclient", "blightmud", "dumb")

SIZE = (80, 24)  # columns and rows of a window whose size is not known
_LEAST, _MOST = (10, 4), (500, 200)


def within(size: tuple[int, int]) -> tuple[int, int]:
    """The nearest size of those that text is drawn for."""
    return min(max(size[0], _LEAST[0]), _MOST[0]), min(max(size[1], _LEAST[1]), _MOST[1])


# The byte that each command may stand for: that of telnet's key for it, with the high bit set.
_REPLACED = {IP: 0x83, AO: 0x8F, SUSP: 0x9A, BRK: 0x9C}

BACKSPACE, DELETE, ERASE_LINE = 0x08, 0x7F, 0x15


class Signal(Enum):
    """What a telnet client can say besides text."""

    INTERRUPT = "Ctrl-C"
    END_OF_FILE = "Ctrl-D"
    ARE_YOU_THERE = "AYT"
    ANSWERS = "it has answered what it was asked, also for its terminal's name, so a program speaks telnet there"
    CHANGED = "whether it passes on single keys has changed"
    RESIZED = "its window has another size"


class _State(Enum):
    TEXT = 0
    COMMAND = 1  # after IAC
    OPTION = 2  # after IAC and WILL, WONT, DO or DONT
    SUB = 3  # after IAC SB
    SUB_COMMAND = 4  # after IAC in a subnegotiation


class Telnet:
    """The part of RFC 854 that a server needs if it wants 8 bits and whole lines, or single keys.

    Options change as in RFC 1143 (see ``options``). A client that has sent a command is asked for BINARY and for its
    window's size, once, and for its terminal's name when it has answered. It is asked for single keys only by
    ``ask_key_by_key``.
    """

    def __init__(self) -> None:
        self.pending = False  # whether a command has begun and not ended
        self.size = SIZE  # columns and rows, as the client tells them: 1 to 65535, see ``within``
        self.knows_columns = False  # whether the client has told how many columns there are
        self._spoken = False  # whether the client has sent a command
        self._line: IncrementalDecoder | None = None  # of a line with other characters than ASCII
        self._spoke_here = False  # whether its first command was in this line
        self._odd = False  # whether something in the line is not UTF-8
        self._answers = False  # whether it has answered what it was asked
        self._state = _State.TEXT
        self._verb = 0
        self._tail = b""  # the last three bytes of text: an incomplete character has no more
        self._sub = bytearray()  # the beginning of a subnegotiation
        self._wants_keys = False  # whether this end wants single keys
        self._terminal: str | None = None  # its name, in lower case; "": it is not told; None: not yet
        self._options = Options(_WELCOME)

    def receive(self, data: bytes) -> list[bytes | Signal | WireBytes]:
        """Take bytes apart: text (bytes), a Signal, or an answer to send (WireBytes), in order.

        Erase Character and Erase Line become the bytes DEL and Ctrl-U in the text. Of subnegotiations, only the
        window's size (RFC 1073) and the terminal's name (RFC 1091) count.
        """
        if not self.pending and IAC not in data:
            self._tail = (self._tail + data[-3:])[-3:]
            if self._line is not None or not data.isascii():
                return self._watched(data)
            return [data] if data else []
        found: list[bytes | Signal | WireBytes] = []
        text = bytearray()

        def add(*items: Signal | WireBytes) -> None:
            if text:
                self._tail = (self._tail + text[-3:])[-3:]
                found.extend(self._watched(bytes(text)))
                text.clear()
            found.extend(items)

        at = 0
        while at < len(data):
            if self._state in (_State.TEXT, _State.SUB):  # leap to the next command
                end = data.find(IAC, at)
                end = len(data) if end < 0 else end
                if self._state is _State.TEXT:
                    text += data[at:end]
                else:
                    self._sub += data[at : min(end, at + _SUB)]
                    del self._sub[_SUB:]
                if end < len(data) and not (self._line is None and text.isascii()):
                    add()  # before the command changes anything
                if end < len(data):
                    self._state = _State.COMMAND if self._state is _State.TEXT else _State.SUB_COMMAND
                at = end + 1
                continue
            byte = data[at]
            at += 1
            if self._state is _State.OPTION:
                self._state = _State.TEXT
                before = self.key_by_key
                answer = self._answer(self._verb, byte)
                if answer:
                    add(WireBytes(answer))
                if byte == NAWS and self._verb in (WILL, WONT) and not self._answers:
                    self._answers = True
                    if self._terminal is not None:
                        add(Signal.ANSWERS)
                    elif asked := self._options.ask((WILL, TTYPE)):
                        add(WireBytes(asked))
                if byte == TTYPE and self._verb == WONT:
                    self._know_terminal("", add)
                elif self.key_by_key is not before:
                    add(Signal.CHANGED)
            elif self._state is _State.SUB_COMMAND:  # IAC SE ends it, anything else belongs to it
                self._state = _State.TEXT if byte == SE else _State.SUB
                if byte != SE:
                    self._sub.append(byte)
                elif self._resized():
                    add(Signal.RESIZED)
                elif self._sub[:2] == bytes((TTYPE, 0)):
                    self._know_terminal(self._sub[2:].decode("ascii", "replace").lower(), add)
            else:
                self._state = _State.TEXT
                if byte == IAC:
                    text.append(IAC)
                    continue
                if byte >= EOF and not self._spoken:
                    self._spoken = True
                    self._spoke_here = self._line is not None
                    if asked := self._options.ask(*_WANTED):
                        add(WireBytes(asked))
                if byte in (WILL, WONT, DO, DONT):
                    self._verb, self._state = byte, _State.OPTION
                elif byte == SB:
                    self._state = _State.SUB
                    self._sub.clear()
                elif byte == EC:
                    text.append(DELETE)
                elif byte == EL:
                    text.append(ERASE_LINE)
                elif self._replaces(byte, self._tail + text[-3:]):
                    text.append(_REPLACED[byte])
                elif byte in _SIGNALS:
                    add(_SIGNALS[byte])
        add()
        self.pending = self._state is not _State.TEXT
        return found

    def _watched(self, text: bytes) -> list[bytes | Signal | WireBytes]:
        """The text, and before each line that is not UTF-8, the bytes that help a telnet which has spoilt it.

        If it has not said a word, and ends its lines in CR, it is asked for 8 bits: the next try arrives. Lines from nc
        and from programs seldom do both. And 85 may have been its Ctrl-E, which ends its echo: then that is put right.
        Until then, LF does not take it to the beginning of the next row. So a CR follows the answer to the line.
        """
        if text.isascii() and self._line is None:
            return [text]
        found: list[bytes | Signal | WireBytes] = []
        at = begin = 0
        for end in _ENDS.finditer(text):
            self._check(text[at : end.start()], ended=True)
            line, odd, self._odd, at = at, self._odd, False, end.end()
            asked = self._options.ask(*_WANTED) if odd and end[0] == b"\r" and not self._spoken else b""
            if odd and (asked or self._spoke_here):
                found += [text[begin:line], WireBytes(asked + self._mend_echo()), text[line:at], RETURN]
                begin = at
            self._spoke_here = False
        if at < len(text):
            self._check(text[at:], ended=False)
        return [each for each in (*found, text[begin:]) if each not in (b"", WireBytes(b""))]

    def _mend_echo(self) -> bytes:
        """Have the client show what is typed, whatever it has done by itself; what to send. It is asked not to, and,
        when it has agreed, to show it again."""
        if self._wants_keys or self._options.state(_KEY_BY_KEY[0]) is not State.NO:
            return b""
        return self.hide() + self.show()

    @property
    def answers(self) -> bool:
        """Whether it has answered what it was asked: see Signal.ANSWERS."""
        return self._answers and self._terminal is not None

    @property
    def spoken(self) -> bool:
        """Whether the client has sent a command of telnet."""
        return self._spoken

    @property
    def lost_a_letter(self) -> bool:
        """Whether the line breaks off in the middle of a character. If nothing follows, a telnet took the next byte
        for its key Ctrl-], and waits at a prompt of its own."""
        return self._line is not None and self._line.getstate()[0] != b""

    def forget_line(self) -> bytes:
        """The line will not end: forget it, and ask for 8 bits. Returns what to send."""
        self._line, self._odd = None, False
        return self._options.ask(*_WANTED)

    def _check(self, part: bytes, ended: bool) -> None:
        """Note whether this part of a line is UTF-8."""
        if self._line is None:
            self._line = _UTF8()
        try:
            self._line.decode(part, ended)
        except UnicodeDecodeError:
            self._odd = True
            self._line.reset()
        if ended:
            self._line = None

    def _replaces(self, command: int, before: bytes) -> bool:
        """Whether telnet sent this command in place of a byte of the unfinished character at the end of ``before``."""
        if command not in _REPLACED or self._options.on((WILL, BINARY)):
            return False
        return _continues(before, _REPLACED[command])

    def _answer(self, verb: int, option: int) -> bytes:
        """The answer to a request; b"" if it changes nothing (RFC 1143)."""
        way = (WILL, option)
        before = self._options.on(way)
        answer = self._options.receive(verb, option)
        if self._options.on(way) and not before:
            if option == LINEMODE:
                wanted = self._options.state(_KEY_BY_KEY[0]) in (State.YES, State.WANT_YES)
                answer += _SERVER_EDITS if wanted else _CLIENT_EDITS
            elif option == TTYPE:
                answer += _WHICH_TERMINAL
        return answer

    def _know_terminal(self, name: str, add: Callable[..., None]) -> None:
        """The client has told the name of its terminal, or that it does not tell it."""
        first, self._terminal = self._terminal is None, name
        if first and self._answers:
            add(Signal.ANSWERS)
        if first and self._wants_keys:
            if asked := self._ask_keys():
                add(WireBytes(asked))
            if self.key_by_key is not None:
                add(Signal.CHANGED)

    def _resized(self) -> bool:
        """Whether the subnegotiation that has ended tells a new size. 0 is one that the client does not know."""
        if len(self._sub) != 5 or self._sub[0] != NAWS or not self._options.on((WILL, NAWS)):
            return False
        columns, rows = int.from_bytes(self._sub[1:3], "big"), int.from_bytes(self._sub[3:5], "big")
        before = self.size, self.knows_columns
        self.size, self.knows_columns = (columns or SIZE[0], rows or SIZE[1]), columns > 0
        return (self.size, self.knows_columns) != before

    # --- single keys ----------------------------------------------------------------------------------------

    def ask_key_by_key(self) -> bytes:
        """Want single keys from now on; what to send. The client is asked for them once it has told its terminal."""
        self._wants_keys = True
        asked = self._options.ask(*_WANTED)
        return asked + (self._options.ask((WILL, TTYPE)) if self._terminal is None else self._ask_keys())

    def _ask_keys(self) -> bytes:
        if self.has_own_line:
            return b""
        mode = _SERVER_EDITS if self._options.on((WILL, LINEMODE)) else b""
        return self._options.ask(*_KEY_BY_KEY) + mode

    def ask_whole_lines(self) -> bytes:
        """Want whole lines again; what to send."""
        self._wants_keys = False
        withdrawn = self._options.withdraw(*_KEY_BY_KEY)
        return withdrawn + (_CLIENT_EDITS if withdrawn and self._options.on((WILL, LINEMODE)) else b"")

    # --- what must not be seen ------------------------------------------------------------------------------

    def hide(self) -> bytes:
        """Want the client not to show what is typed (RFC 857): it leaves that to this end, which does not. What to
        send."""
        return self._options.ask((DO, ECHO))

    def show(self) -> bytes:
        """Want the client to show it again, unless it sends single keys; what to send."""
        return b"" if self._wants_keys else self._options.withdraw((DO, ECHO))

    @property
    def shows(self) -> bool:
        """Whether the client shows what is typed, as far as is known: it has not agreed to hide it, nor may it yet."""
        return not self._spoken or self._options.state((DO, ECHO)) in (State.NO, State.WANT_NO)

    @property
    def hides(self) -> bool | None:
        """Whether the client has agreed to that; None: it has never said anything by telnet."""
        return self._options.on((DO, ECHO)) if self._spoken else None

    @property
    def key_by_key(self) -> bool | None:
        """Whether the client passes on single keys: True if it has agreed, False if it has refused or was not asked,
        None while it has not answered."""
        if not self._wants_keys or self.has_own_line:
            return False
        if self._terminal is None:
            return None
        states = {self._options.state(way) for way in _KEY_BY_KEY}
        return False if State.NO in states else states == {State.YES} or None

    @property
    def has_own_line(self) -> bool:
        """Whether the client has told the name of a terminal with which single keys do not help."""
        return self._terminal is not None and self._terminal.startswith(_OWN_LINE)


_UTF8 = codecs.getincrementaldecoder("utf-8")
_ENDS = re.compile(rb"[\r\n]")  # of lines
_SUB = 48  # bytes kept of a subnegotiation: those of a window's size, or of a terminal's name

_SIGNALS = {IP: Signal.INTERRUPT, EOF: Signal.END_OF_FILE, AYT: Signal.ARE_YOU_THERE}


def breaks_off(text: bytes) -> bool:
    """Whether the text ends in the middle of a character."""
    decoder = _UTF8("replace")
    decoder.decode(text)
    return decoder.getstate()[0] != b""


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

    _KEYS = re.compile(rb"[\x08\x7f\x15]|[^\x08\x7f\x15]+")  # the keys that erase, and what is between them

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line = b""
        self._overlong = False
        self._after_cr = False
        # Whether LF alone ended the last line: telnet sends CR LF or CR NUL (RFC 854). None: no line has ended.
        self.lf_alone: bool | None = None
        self.pending = False  # whether a line has begun and not ended

    def feed(self, text: bytes) -> list[bytes | None]:
        """The lines that this text ends, without their ends; None for one that was longer than the limit."""
        lines: list[bytes | None] = []
        for part in text.splitlines(keepends=True):  # bytes are split at CR LF, LF and CR only
            if self._after_cr and part[0] in b"\n\x00":  # the second byte of a line's end
                part = part[1:]
            self._after_cr = part[-1:] == b"\r"
            typed = part.rstrip(b"\r\n")
            keys = DELETE in typed or BACKSPACE in typed or ERASE_LINE in typed
            for each in self._KEYS.findall(typed) if keys else (typed,):
                if each in (b"\x08", b"\x7f"):
                    self._erase()
                elif each == b"\x15":
                    self._line, self._overlong = b"", False
                else:
                    self._line += each
                    if self._overlong or len(self._line) > self._limit:
                        self._line, self._overlong = b"", True
            if typed != part:
                lines.append(None if self._overlong else self._line)
                self._line, self._overlong = b"", False
                self.lf_alone = b"\r" not in part
        self.pending = self._overlong or self._line != b""
        return lines

    def _erase(self) -> None:
        """Take the last character off the line: its continuation bytes (RFC 3629), and the byte before them."""
        end = len(self._line) - 1
        while end > 0 and self._line[end] & 0xC0 == 0x80:
            end -= 1
        self._line = self._line[: max(0, end)]
