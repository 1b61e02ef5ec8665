"""How to speak to each server: the minimum to enter, to say something, and to see errors.

Messages are found by their mark, so the rest of a server's output is ignored.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from . import websocket
from .plan import ROOM


def whole_lines(data: bytes) -> int:
    """How many of the bytes are whole lines."""
    return data.rfind(b"\n") + 1


def in_frame(lines: bytes) -> bytes:
    """Lines in a WebSocket's text frame, with a mask that nobody can foretell (RFC 6455, section 10.3)."""
    return websocket.frame(lines, random.getrandbits(32).to_bytes(4, "big"))


@dataclass(frozen=True, slots=True)
class Dialect:
    hello: Callable[[str, str], str]  # the lines to enter a room under a name
    inside: bytes  # part of the line that says that the client has entered
    say: tuple[str, str]  # the bytes before and after a text; {room} is filled in
    trouble: re.Pattern[bytes]  # a line in which the server reports an error
    packed: Callable[[bytes], bytes] = bytes  # lines as they are sent
    whole: Callable[[bytes], int] = whole_lines  # how many of some received bytes can be read without the next ones
    upgrade: bool = False  # whether a WebSocket's handshake comes first
    mark: bytes = b"^"  # what a message of ``crowd`` contains once, and nothing else that the server sends
    welcome: bytes = b""  # part of the line after which ``enter`` is sent; empty: no such step
    enter: Callable[[str], str] = lambda room: ""  # the lines to enter the room, if the hello does not
    asked: tuple[tuple[bytes, bytes], ...] = ()  # what ``crowd`` is then asked, and its answers
    first: str = ""  # the lines that a sender of ``crowd`` sends before its hello
    echo: bool = True  # whether a sender gets its own messages
    tls: bool = False  # whether all of it is encrypted; see secure


# Telnet's options (RFC 854, 856, 857, 858, 1073 and 1091): what the server asks, and what a terminal answers.
ASKED_FOR_KEYS = b"\xff\xfd\x00\xff\xfd\x1f\xff\xfd\x18"  # BINARY, NAWS and TERMINAL-TYPE, please
SAYS_ITS_SIZE = b"\xff\xfb\x00\xff\xfb\x1f\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0\xff\xfc\x18"  # 80 columns and 24 rows
ASKED_FOR_ECHO, AGREES = b"\xff\xfb\x01\xff\xfb\x03", b"\xff\xfd\x01\xff\xfd\x03"  # ECHO and SUPPRESS-GO-AHEAD
ASKED_WHERE, IN_ROW_12 = b"\x1b[6n", b"\x1b[12;1R"  # where the cursor is (ECMA-48: DSR, CPR)


def _hello(name: str, room: str) -> str:
    return f'{{"type":"hello","name":"{name}","room":"{room}"}}\n'


_SAY = ('{{"type":"say","room":"{room}","text":"', '"}}\n')

# One call for each message: it is stored in a stream, and everybody who listens has it.
STORE = "redis.call('XADD', KEYS[1], '*', 'text', ARGV[1]) return redis.call('PUBLISH', KEYS[1], ARGV[1])"

DIALECTS = {
    "text": Dialect(
        hello=lambda name, room: f"{name} {room}\n",
        inside=b"You are in #",
        say=("", "\n"),
        trouble=re.compile(rb"^! .*$", re.MULTILINE),
    ),
    "json": Dialect(
        hello=_hello,
        inside=b'"type":"joined"',
        say=_SAY,
        trouble=re.compile(rb'^(?:! .*|.*"type":"error".*)$', re.MULTILINE),
    ),
    # The JSON lines in a WebSocket's text frames. A frame of the server holds whole lines.
    "web": Dialect(
        hello=_hello,
        inside=b'"type":"joined"',
        say=_SAY,
        trouble=re.compile(rb'^(?:! .*|HTTP/1\.1 .*|.*"type":"error".*)$', re.MULTILINE),
        packed=in_frame,
        whole=websocket.whole_frames,
        upgrade=True,
        mark=b"^^^",  # one of them may also be the length of a frame
    ),
    # People whose terminals send each key, and show what the server draws.
    "edit": Dialect(
        hello=lambda name, room: f"{name} {room}\n",
        welcome=b"You are in #",
        enter=lambda room: "/edit on\n",
        asked=((ASKED_FOR_KEYS, SAYS_ITS_SIZE), (ASKED_FOR_ECHO, AGREES), (ASKED_WHERE, IN_ROW_12)),
        inside=b"\x1b[?2004h",  # the screen is drawn
        say=("", "\r"),
        trouble=re.compile(rb"^! .*$", re.MULTILINE),
    ),
    # Redis 6 or newer; RESP 3, in which one connection may subscribe and publish.
    "redis": Dialect(
        hello=lambda name, room: f"HELLO 3\r\nSUBSCRIBE {room}\r\n",
        inside=b"subscribe\r",
        say=("PUBLISH {room} ", "\r\n"),
        trouble=re.compile(rb"^-.*$", re.MULTILINE),
    ),
}
DIALECTS["tls"] = dataclasses.replace(DIALECTS["text"], tls=True)
DIALECTS["stored redis"] = dataclasses.replace(
    DIALECTS["redis"],
    first=f'SCRIPT LOAD "{STORE}"\r\n',
    say=(f"EVALSHA {hashlib.sha1(STORE.encode()).hexdigest()} 1 {{room}} ", "\r\n"),
)
# IRC (RFC 2812): 001 is the welcome, 366 the end of the names in the room.
DIALECTS["irc"] = Dialect(
    hello=lambda name, room: f"NICK {name}\r\nUSER {name} 0 * :{name}\r\n",
    welcome=b" 001 ",
    enter=lambda room: f"JOIN {room}\r\n",
    inside=b" 366 ",
    say=("PRIVMSG {room} :", "\r\n"),
    trouble=re.compile(rb"^(?:ERROR .*|\S+ (?:40[1-7]|43[0-7]|46[1-5]|47[1-6]) .*)$", re.MULTILINE),
    first="CAP REQ :echo-message\r\nCAP END\r\n",
)
DIALECTS["irc without echo"] = dataclasses.replace(DIALECTS["irc"], first="", echo=False)


class Texts:
    """Makes the messages of one run, and finds them in received lines."""

    def __init__(self, run: str, size: int, dialect: str) -> None:
        self._run = run
        self._size = size
        self._say = DIALECTS[dialect].say
        self._filling = "".join("abcdefghijklmnopqrstuvwxyz"[at % 26] for at in range(size))
        self._mark = re.compile(rb"~%s\.(\d+)\.(\d+)\.(\d+)~" % run.encode())

    def message(self, sender: int, room: int, number: int, at: int) -> str:
        """The line of a message; ``at`` is in microseconds since the plan's epoch."""
        mark = f"~{self._run}.{sender}.{number}.{at}~"
        before, after = self._say
        return f"{before.format(room=room_name(room))}{mark}{self._filling[len(mark) :]}{after.format()}"

    def find(self, data: bytes) -> list[tuple[int, int, int]]:
        """The sender, number and time of every message of this run in some lines, in order."""
        return [(int(sender), int(number), int(at)) for sender, number, at in self._mark.findall(data)]


def room_name(room: int) -> str:
    return f"#{ROOM}{room}"
