"""The clients of torture.py that are on WebSockets, and those that do on purpose what RFC 6455 does not allow."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from driver.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    PING,
    PONG,
    TEXT,
    Broken,
    Handshake,
    frame,
    next_frame,
)
from torture_clients import Client
from torture_connection import PATIENCE, Connection, Gone, Odd
from torture_world import World, now

# Why there are none; "" if there can be.
WHY_NOT = "" if importlib.util.find_spec("websockets") else "websockets is not installed"
MESSAGE = 60_000  # bytes of lines in a message at most; the server takes 65,536
CONTROL = 125  # bytes in the payload of a control frame at most
# The code of the server's Close after a bye with this reason.
CODES = {
    "quit": 1000,
    "shutting_down": 1001,
    "no_handshake": 4001,
    "too_slow": 4002,
    "unfinished_line": 4003,
    "replaced": 4004,
    "server_full": 4005,
    "too_many_connections": 4006,
}


class WebConnection(Connection):
    """The same lines in the frames of a WebSocket. Raises Gone and Odd.

    Requests go out one to a message or several, whole or in fragments, with pings between them. What it chooses comes
    from ``chance``, so the choices of a client are the same with and without a WebSocket.
    """

    def __init__(
        self,
        port: int,
        receive_buffer: int,
        chance: random.Random,
        count: Callable[[str], None],
        wrap: Callable[[socket.socket], socket.socket] | None = None,
    ) -> None:
        super().__init__(port, receive_buffer, wrap)
        self._chance = chance
        self._count = count
        self._greeted = True  # there is no line for people here
        self._pings: list[bytes] = []  # those without an answer
        self._reason: str | None = None  # the bye's
        self._quitting = False  # has sent a Close
        self._closed = False  # has received one
        try:
            self._shake_hands(port)
        except (Gone, Odd):
            self._sock.close()
            raise

    def _shake_hands(self, port: int) -> None:
        opening = Handshake(f"127.0.0.1:{port}", self._chance.randbytes(16))
        self._pour(opening.request)
        data = b""
        try:
            while not (end := opening.response(data)):
                data += self._receive()
        except Broken as broken:
            if str(broken).startswith("HTTP/1.1 503 "):
                raise Gone from broken
            raise Odd(f"the handshake was answered with {broken}") from broken
        self._count("WebSockets opened")
        self._lines = self._lines_in(data[end:])[::-1]

    # --- what it sends ----------------------------------------------------------------------------------------

    def send(self, *requests: dict[str, Any]) -> None:
        lines = [json.dumps(each, ensure_ascii=False).encode() for each in requests]
        self._pour(b"".join(self._frames(message) for message in self._messages(lines)))

    def _messages(self, lines: list[bytes]) -> Iterator[bytes]:
        """The lines in messages: each in its own, or several together. The last LF of a message may be left out."""
        together = self._chance.random() < 0.5
        message = b""
        for line in lines:
            if message and (not together or len(message) + len(line) > MESSAGE):
                yield message.removesuffix(b"\n") if self._chance.random() < 0.5 else message
                message = b""
            message += line + b"\n"
        if message:
            yield message.removesuffix(b"\n") if self._chance.random() < 0.5 else message

    def _frames(self, message: bytes) -> bytes:
        """A message in one frame, or in fragments that may be empty or end within a letter, with pings between them."""
        if self._chance.random() < 0.7:
            return self._frame(message)
        self._count("messages in fragments")
        cuts = sorted(self._chance.choices(range(len(message) + 1), k=self._chance.randint(1, 5)))
        frames: list[bytes] = []
        for begin, end in zip([0, *cuts], [*cuts, len(message)], strict=True):
            first = (TEXT if begin == 0 and not frames else CONTINUATION) | (FIN if len(frames) == len(cuts) else 0)
            frames.append(self._frame(message[begin:end], first))
        return b"".join(part + (self._ping() if self._chance.random() < 0.1 else b"") for part in frames)

    def _frame(self, payload: bytes, first: int = FIN | TEXT) -> bytes:
        return frame(payload, self._chance.randbytes(4), first)

    def _ping(self) -> bytes:
        payload = self._chance.randbytes(self._chance.choice([0, 4, CONTROL]))
        self._pings.append(payload)
        self._count("pings sent")
        return self._frame(payload, FIN | PING)

    def _pour(self, data: bytes) -> None:
        """Send the bytes in one piece, or in a few, cut anywhere."""
        cuts = sorted(self._chance.choices(range(len(data) + 1), k=self._chance.choice([0, 0, 0, 1, 3])))
        try:
            for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                self._sock.sendall(data[begin:end])
                if end < len(data):
                    time.sleep(0.001)
        except OSError as error:
            raise Gone from error

    # --- what comes -------------------------------------------------------------------------------------------

    def _lines_in(self, data: bytes) -> list[bytes]:
        data = self._rest + data
        lines: list[bytes] = []
        at = 0
        try:
            while found := next_frame(data, at):
                first, begin, at = found
                lines += self._take(first, data[begin:at])
        except Broken as broken:
            raise Odd(str(broken)) from None
        self._rest = data[at:]
        return lines

    def _take(self, first: int, payload: bytes) -> list[bytes]:
        """The lines in a frame of the server."""
        if self._closed:
            raise Odd(f"after its Close the server sent {payload[:100]!r}")
        if first == FIN | TEXT:
            if not payload.endswith(b"\n"):
                raise Odd(f"this frame does not end with a line: {payload[-200:]!r}")
            lines = payload.split(b"\n")[:-1]
            if lines[-1].startswith(b'{"type":"bye"'):
                self._reason = json.loads(lines[-1])["reason"]
            return lines
        if first == FIN | PONG:
            if payload not in self._pings:
                raise Odd(f"a pong with {payload!r}, which was in no ping")
            del self._pings[: self._pings.index(payload) + 1]  # section 5.5.3: a pong may answer the last of several
            self._count("pings answered")
        elif first == FIN | PING:
            with contextlib.suppress(Gone):
                self._pour(self._frame(payload, FIN | PONG))
        elif first == FIN | CLOSE:
            self._take_close(payload)
        else:
            raise Odd(f"a frame that begins with {first:#04x}")
        return []

    def _take_close(self, payload: bytes) -> None:
        self._closed = True
        code, reason = int.from_bytes(payload[:2], "big"), payload[2:].decode()
        if self._reason is None and not self._quitting:
            raise Odd(f"a Close with {code} {reason!r} and without a bye")
        if self._reason is not None and (code, reason) != (CODES.get(self._reason), self._reason):
            raise Odd(f"after a bye with {self._reason!r}, a Close with {code} {reason!r}")
        self._count(f"Closes with {code}")
        if not self._quitting:
            with contextlib.suppress(Gone):
                self._pour(self._frame(payload, FIN | CLOSE))

    # --- leaving ----------------------------------------------------------------------------------------------

    def quit(self) -> None:
        """Leave with the request or with a Close, and read until the server's Close."""
        if self._chance.random() < 0.5:
            super().quit()
        else:
            self._quitting = True
            self._pour(self._frame((1000).to_bytes(2, "big"), FIN | CLOSE))
        deadline = now() + PATIENCE
        while not self._closed and now() < deadline:
            self.next(0.1)
        if not self._closed:
            self._count("quits not answered")

    def reset(self) -> None:
        self._abandon()
        super().reset()

    def close(self) -> None:
        self._abandon()
        super().close()

    def _abandon(self) -> None:
        """Sometimes the last thing is half a message, whose line must not be carried out, or a Close whose answer is
        not read."""
        how = self._chance.choice(["nothing", "half a frame", "half a message", "a Close"])
        line = json.dumps({"type": "say", "text": "This must not be said."}).encode() + b"\n"
        data = b""
        if how == "half a frame":
            data = self._frame(line + b"{}")[: -self._chance.randint(1, 3)]
        elif how == "half a message":
            data = self._frame(line, TEXT) + self._frame(line, CONTINUATION)
        elif how == "a Close":
            data = self._frame(self._chance.choice([b"", b"\x03\xe8", b"\x03\xe9going away"]), FIN | CLOSE)
        with contextlib.suppress(OSError):
            self._sock.setblocking(False)
            self._sock.sendall(data)
            if data:
                self._count(f"left with {how}")


def put_on_webs(clients: list[Client], world: World) -> None:
    """Let these clients connect by WebSockets."""
    for client in clients:
        chance = world.chance(f"{client.name}'s WebSocket")
        client.connect = functools.partial(WebConnection, chance=chance, count=world.count)


# --- hostile ones ---------------------------------------------------------------------------------------------


class Attack(NamedTuple):
    """What a hostile client sends after the handshake, and which Close it may be answered with."""

    name: str
    codes: frozenset[int]
    data: Callable[[random.Random], bytes]


def _several(chance: random.Random, *parts: tuple[bytes, int]) -> bytes:
    return b"".join(frame(payload, chance.randbytes(4), first) for payload, first in parts)


_TOO_BIG, _NO_TEXT, _NO_FRAME, _WRONG_KIND = (frozenset({code}) for code in (1009, 1007, 1002, 1003))
ATTACKS = (
    Attack("a frame of 70,000 bytes", _TOO_BIG, lambda chance: _several(chance, (b" " * 70_000, FIN | TEXT))),
    Attack("the head of an endless frame", _TOO_BIG, lambda chance: b"\x81\xff" + b"\x7f" + b"\xff" * 7 + bytes(4)),
    Attack(
        "fragments without an end",
        _TOO_BIG,
        lambda chance: _several(chance, (b"{", TEXT), *[(b" " * 1000, CONTINUATION)] * 70),
    ),
    Attack("bad UTF-8", _NO_TEXT, lambda chance: _several(chance, (b'{"type":"ping"}\n\xff\n', FIN | TEXT))),
    Attack(
        "half a letter in fragments",
        _NO_TEXT,
        lambda chance: _several(chance, (b"\xc3", TEXT), (b"", CONTINUATION), (b"\xc3", FIN | CONTINUATION)),
    ),
    Attack("an unmasked frame", _NO_FRAME, lambda chance: b"\x81\x02{}"),
    Attack("a reserved bit", _NO_FRAME, lambda chance: _several(chance, (b"{}", chance.choice([0xC1, 0xA1, 0x91])))),
    Attack(
        "a reserved opcode", _NO_FRAME, lambda chance: _several(chance, (b"{}", FIN | chance.choice([3, 7, 11, 15])))
    ),
    Attack("a ping of 126 bytes", _NO_FRAME, lambda chance: _several(chance, (b"x" * 126, FIN | PING))),
    Attack("a ping in fragments", _NO_FRAME, lambda chance: _several(chance, (b"x", PING))),
    Attack("a continuation of nothing", _NO_FRAME, lambda chance: _several(chance, (b"{}", FIN | CONTINUATION))),
    Attack("a text in a text", _NO_FRAME, lambda chance: _several(chance, (b"{", TEXT), (b"{}", FIN | TEXT))),
    Attack("a binary message", _WRONG_KIND, lambda chance: _several(chance, (b"{}", FIN | BINARY))),
    Attack(
        "a Close without a right code",
        _NO_FRAME,
        lambda chance: _several(chance, (chance.choice([b"\x03", b"\x03\xed", b"\x00\x00"]), FIN | CLOSE)),
    ),
)
FLOODS: tuple[tuple[str, Callable[[random.Random], bytes]], ...] = (
    ("pings", lambda chance: _several(chance, (b"p" * CONTROL, FIN | PING)) * 2000),
    ("empty messages", lambda chance: _several(chance, (b"", FIN | TEXT)) * 20_000),
    ("empty fragments", lambda chance: _several(chance, (b"", TEXT)) + _several(chance, (b"", CONTINUATION)) * 20_000),
    ("Closes", lambda chance: _several(chance, (b"\x03\xe8", FIN | CLOSE)) * 5000),
    ("pages of history", lambda chance: _several(chance, (b'{"type":"history","count":200}', FIN | TEXT)) * 2000),
)
REFUSED = (  # a head, and the status of its answer
    (b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", b"4"),
    (b"POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", b"405"),
    (b"GET /ws HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\n%s\r\n", b"403"),
    (b"GET /ws HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000, b"4"),
)


def attack(port: int, chance: random.Random, count: Callable[[str], None]) -> None:
    """Be one hostile client, until the server has closed the connection or the client has had enough. Raises Odd."""
    kind = chance.choices(["attack", "flood", "refused", "half"], [len(ATTACKS), len(FLOODS), len(REFUSED), 2])[0]
    with socket.socket() as sock, contextlib.suppress(OSError):
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", port))
        opening = Handshake(f"127.0.0.1:{port}", chance.randbytes(16))
        if kind == "refused":
            _be_refused(sock, opening, chance)
            return
        if kind == "half":
            sock.sendall(opening.request[: chance.randrange(1, len(opening.request))])
            time.sleep(chance.uniform(0, 1))
            return
        rest = _open(sock, opening)
        if rest is None:
            return
        if chance.random() < 0.5:
            hello = {"type": "hello", "name": f"h{chance.randrange(10**6)}"}
            sock.sendall(frame(json.dumps(hello).encode(), chance.randbytes(4)))
        if kind == "flood":
            _flood(sock, chance.choice(FLOODS)[1](chance), chance.choice([0.2, 1, 4]))
            return
        name, codes, data = chance.choice(ATTACKS)
        sock.sendall(data(chance))
        code = _close_of(sock, rest, name)
        count("hostile WebSockets that were told why" if code else "hostile WebSockets that were cut off")
        if code and code not in codes:
            raise Odd(f"{name} was answered with a Close with {code}")


def _open(sock: socket.socket, opening: Handshake) -> bytes | None:
    """Shake hands; return the bytes after the response. None: the server has ended or is full. Raises Odd."""
    sock.sendall(opening.request)
    data = b""
    try:
        while not (end := opening.response(data)):
            more = sock.recv(1 << 16)
            if not more:
                return None
            data += more
    except Broken as broken:
        if str(broken).startswith("HTTP/1.1 503 "):
            return None
        raise Odd(f"the handshake was answered with {broken}") from None
    return data[end:]


def _be_refused(sock: socket.socket, opening: Handshake, chance: random.Random) -> None:
    head, status = chance.choice(REFUSED)
    upgrade = opening.request.split(b"\r\n", 2)[2].removesuffix(b"\r\n")
    sock.sendall(head % upgrade if b"%s" in head else head)
    answer = sock.recv(1 << 16)
    if answer and not answer.startswith(b"HTTP/1.1 " + status):
        raise Odd(f"{head[:60]!r} was answered with {answer[:100]!r}")


def _flood(sock: socket.socket, data: bytes, seconds: float) -> None:
    """Send, without reading, until the server takes no more, or the time is over."""
    sock.settimeout(seconds)
    deadline = now() + seconds
    while data and now() < deadline:
        data = data[sock.send(data[: 1 << 16]) :]
    time.sleep(max(0.0, deadline - now()))


def _close_of(sock: socket.socket, data: bytes, name: str) -> int:
    """The code of the server's Close. 0: it ended without one, as when it is killed. Raises Odd."""
    deadline = now() + PATIENCE
    code = at = 0
    while now() < deadline:
        try:
            while found := next_frame(data, at):
                first, begin, at = found
                if first == FIN | CLOSE:
                    code = int.from_bytes(data[begin : begin + 2], "big")
            more = sock.recv(1 << 16)
        except Broken as broken:
            raise Odd(f"{name}: {broken}") from None
        except TimeoutError:
            break
        except OSError:
            return code
        if not more:
            return code
        data += more
    raise Odd(f"{name} did not end the connection")
