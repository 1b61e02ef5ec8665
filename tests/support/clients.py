"""Clients on plain sockets: a person and a program. They wait for expected output, and fail with the actual output."""

from __future__ import annotations

import itertools
import json
import re
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

from chat_threads.client import Client as LibraryClient
from chat_threads.events import Message

from .waiting import WAIT

ASKED = b"\xff\xfd\x00\xff\xfd\x1f"  # what a client that has sent a telnet command is told: IAC DO BINARY, IAC DO NAWS
NAMED = b"\xff\xfd\x18"  # and then, if it tells its window's size: IAC DO TERMINAL-TYPE
_ECHO = re.compile(rb"\xff[\xfb\xfc]\x01")  # telnet is asked not to show what is typed, or to show it again
SAID = re.compile(r"(?:(\d+) )?\[[^]]*\] (\w+): (.*)")  # number, if it is shown; name; text
_PUT_ABOVE = re.compile(rb"\x1b(?:[78]|\[\?6[hl]|\[999B)")  # around lines that are put above the one that is edited
LONG = "x" * 1900
_FOLDED = re.compile(rb"([*!])   (?!at )([^\r]*)\r\n")  # how a notice or an error goes on; /threads has "at"
TINY = 4096  # bytes in the receive buffer of a client that does not read


class Client:
    """A chat client on a plain socket. Its methods wait for expected output, and fail with the actual output."""

    def __init__(
        self,
        port: int,
        name: str | None = None,
        host: str = "127.0.0.1",
        receive_buffer: int = 0,
        source: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``source``: its own address on this machine, such as 127.0.0.2 (Linux)."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(WAIT)
        try:
            if source:
                self.sock.bind((source, 0))
            self.sock.connect((host, port))
            if tls:
                self.sock = tls.wrap_socket(self.sock, server_hostname=host)
        except OSError:
            self.sock.close()
            raise
        self.buffer = b""
        self.received = 0  # bytes
        self.hidden: list[bytes] = []  # what telnet was asked about showing what is typed
        self.seen: list[str] = []  # every line read so far
        if name is not None:
            self.send(name)
            self.expect("You are in #")

    def send(self, *lines: str) -> None:
        self.send_bytes("".join(line + "\r\n" for line in lines).encode())

    def send_bytes(self, data: bytes) -> None:
        self.sock.sendall(data)

    def line(self, wait: float = WAIT) -> str | None:
        """The next line without its end; None at the end of the connection. What the server folded is one line."""
        deadline = time.monotonic() + wait
        while b"\r\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"no line within {wait} s; seen: {self.seen[-20:]}, {self.buffer!r}")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return None
            if not data:
                return None
            self.buffer += data
            self.received += len(data)
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        while line[:2] in (b"! ", b"* ") and (more := _FOLDED.match(self.buffer)) and more[1] == line[:1]:
            line += b" " + more[2]
            self.buffer = self.buffer[more.end() :]
        self.hidden += _ECHO.findall(line)
        self.seen.append(_ECHO.sub(b"", line.replace(ASKED, b"").replace(NAMED, b"")).decode())
        return self.seen[-1]

    def expect(self, text: str, wait: float = WAIT) -> str:
        """Read to the first line with this text, and return it."""
        deadline = time.monotonic() + wait
        while True:
            line = self.line(max(0.0, deadline - time.monotonic()))
            if line is None:
                raise AssertionError(f"the connection ended before {text!r}; seen: {self.seen[-20:]}")
            if text in line:
                return line

    def upto(self, text: str, wait: float = WAIT) -> list[str]:
        """Return all lines before the first one with this text."""
        at = len(self.seen)
        self.expect(text, wait)
        return self.seen[at:-1]

    def ask(self, line: str) -> list[str]:
        """Send a line, and return everything up to the answer to a ping after it.

        It may include what others say at that moment.
        """
        self.send(line, "/ping")
        return self.upto("* Pong:")

    def news(self) -> list[str]:
        """Everything that has arrived and has not been read."""
        return self.ask("")

    def rest(self, wait: float = WAIT, stays: bool = False) -> list[str]:
        """All lines up to the end of the connection. Then it closes its own end, for which the server waits.

        With ``stays``, the client leaves its end open, as a careless client does.
        """
        at = len(self.seen)
        deadline = time.monotonic() + wait
        while self.line(max(0.0, deadline - time.monotonic())) is not None:
            pass
        if not stays:
            self.close()
        return self.seen[at:]

    def nothing_comes(self, wait: float = 0.2) -> bool:
        """Whether nothing can be read for a while."""
        return not self.buffer and not select.select([self.sock], [], [], wait)[0]

    def reset(self) -> None:
        """Break the connection: RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


class Editor(Client):
    """A person who edits lines. It keeps all bytes that came."""

    AGREES = b"\xff\xfd\x01\xff\xfd\x03"  # IAC DO ECHO, IAC DO SUPPRESS-GO-AHEAD
    IN_ROW_12 = b"\x1b[12;1R"  # where the cursor is

    def __init__(self, port: int, name: str, receive_buffer: int = 0) -> None:
        super().__init__(port, name, receive_buffer=receive_buffer)
        self.came = b""
        self.send("/edit on")
        self.until(b"\xff\xfd\x18")  # DO TERMINAL-TYPE
        self.send_bytes(b"\xff\xfc\x18")
        self.until(b"\xff\xfb\x03")  # WILL SUPPRESS-GO-AHEAD
        self.send_bytes(self.AGREES)
        self.until(b"\x1b[6n")
        self.send_bytes(self.IN_ROW_12)
        self.until(b"stays whole")

    def until(self, wanted: bytes | None) -> bytes:
        """Read until this has come; None: until the end."""
        at = len(self.came)
        while wanted is None or wanted not in self.came[at:]:
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            self.came += data
            if not data:
                assert wanted is None, self.came[at:]
                break
        return self.came[at:]

    def ask(self, line: str) -> list[str]:
        """As in Client. The lines of long notices and errors stay folded, and what was typed is left out."""
        self.send_bytes(f"{line}\r/ping\r".encode())
        shown = _PUT_ABOVE.sub(b"", self.until(b"* Pong:")).decode()
        return [each for each in re.split("[\r\n]+", shown) if each and not each.startswith("> ")][:-1]


def line_of(request: object) -> bytes:
    return json.dumps(request, ensure_ascii=False).encode() + b"\n"


class Program:
    """A client that speaks JSON lines on a plain socket. Its methods wait for expected output."""

    def __init__(self, port: int, receive_buffer: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(WAIT)
        self.sock.connect(("127.0.0.1", port))
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="127.0.0.1")
        self.file = self.sock.makefile("rb")
        self.greeting: bytes | None = None
        self.seen: list[dict[str, Any]] = []
        self._pings = itertools.count()

    def send(self, *requests: object, **fields: object) -> None:
        self.sock.sendall(b"".join(map(line_of, [*requests, *([fields] if fields else [])])))

    def read(self) -> dict[str, Any] | None:
        """The next object; None at the end of the connection. Skips the greeting."""
        if self.greeting is None:
            self.greeting = self.file.readline()
            assert self.greeting.startswith(b"* Welcome to chat_threads ")
        line = self.file.readline()
        if not line:
            return None
        assert line.endswith(b"\n")
        self.seen.append(json.loads(line))
        return self.seen[-1]

    def expect(self, kind: str, /, **fields: object) -> dict[str, Any]:
        """Read to the first object of that type with these fields, and return it."""
        while (found := self.read()) is not None:
            if found["type"] == kind and fields.items() <= found.items():
                return found
        raise AssertionError(f"the connection ended before {kind} {fields}; seen: {self.seen[-20:]}")

    def upto(self, kind: str, /, **fields: object) -> list[dict[str, Any]]:
        """Return all objects before the first such object."""
        at = len(self.seen)
        self.expect(kind, **fields)
        return self.seen[at:-1]

    def ask(self, *requests: object, **fields: object) -> list[dict[str, Any]]:
        """Send requests, and return everything up to the answer to a ping after them."""
        ref = f"ping {next(self._pings)}"
        self.send(*requests, *([fields] if fields else []), {"type": "ping", "ref": ref})
        return self.upto("pong", ref=ref)

    def rest(self) -> list[dict[str, Any]]:
        """All objects up to the end of the connection. Then it closes its own end."""
        at = len(self.seen)
        while self.read() is not None:
            pass
        self.close()
        return self.seen[at:]

    def close(self) -> None:
        self.file.close()
        self.sock.close()


Start = Callable[..., Program]


def said(lines: Iterable[str]) -> list[tuple[str, str]]:
    """The (name, text) of the lines that are messages."""
    return [(match[2], match[3]) for line in lines if (match := SAID.fullmatch(line))]


def whole(reader: LibraryClient, room: str) -> list[Message]:
    """All messages of a room in the history."""
    found: list[Message] = []
    after: int | None = 0
    while after is not None:
        page = reader.history(room, after=after, count=200)
        found += page.messages
        after = page.after
    return found
