"""The client's side of WebSockets (RFC 6455), as far as the scripts need it: written by hand, so that it costs little,
and so that it can also break the rules on purpose."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10  # opcodes: section 5.2
FIN = 0x80  # the last frame of a message
MASKED = 0x80  # in the second byte, before the length
HEAD = 16_384  # bytes that the head of an HTTP response may have
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3
_FIRST = frozenset([FIN | opcode for opcode in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG)] + [CONTINUATION, TEXT])


class Broken(Exception):
    """The server sent something that is no WebSocket, or refused one; the text says what."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """An opening handshake (section 4.1): the request, and the check of the response."""

    host: str  # with the port
    nonce: bytes  # 16 bytes

    @property
    def request(self) -> bytes:
        return (
            f"GET /ws HTTP/1.1\r\nHost: {self.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(self.nonce).decode()}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()

    def response(self, data: bytes) -> int:
        """The length of the response at the beginning of the data; 0: it is not whole yet. Raises Broken."""
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            if len(data) > HEAD:
                raise Broken("the head of the response does not end")
            return 0
        status, *lines = data[: end - 4].split(b"\r\n")
        if not status.startswith(b"HTTP/1.1 101 "):
            raise Broken(status.decode("latin-1"))
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        accept = base64.b64encode(hashlib.sha1(base64.b64encode(self.nonce) + _MAGIC).digest())
        if fields.get(b"sec-websocket-accept") != accept:
            raise Broken("the response has another Sec-WebSocket-Accept than the request's key asks for")
        return end


def frame(payload: bytes, key: bytes, first: int = FIN | TEXT) -> bytes:
    """A frame from a client, masked with the 4 bytes of ``key`` (section 5.3). ``first``: FIN and the opcode."""
    size = len(payload)
    if size < 126:
        head = bytes((first, MASKED | size))
    elif size < 65_536:
        head = bytes((first, MASKED | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, MASKED | 127)) + size.to_bytes(8, "big")
    mask = int.from_bytes((key * (size // 4 + 1))[:size], "big")
    return head + key + (int.from_bytes(payload, "big") ^ mask).to_bytes(size, "big")


def next_frame(data: bytes, at: int) -> tuple[int, int, int] | None:
    """The server's frame at that place: its first byte, and where its payload begins and ends. None: it is not whole.
    Raises Broken."""
    size = len(data) - at
    if size < 2:
        return None
    first, length = data[at], data[at + 1]
    begin = at + 2
    if first not in _FIRST or length >= MASKED:
        raise Broken(f"no server's frame begins with the bytes {first:#04x} {length:#04x}")
    if length == 126:
        begin += 2
        length = int.from_bytes(data[at + 2 : begin], "big") if size >= 4 else 0
    elif length == 127:
        begin += 8
        length = int.from_bytes(data[at + 2 : begin], "big") if size >= 10 else 0
    end = begin + length
    return (first, begin, end) if end <= len(data) else None


def whole_frames(data: bytes) -> int:
    """How many of a server's bytes are whole frames. Raises Broken."""
    at = 0
    while found := next_frame(data, at):
        at = found[2]
    return at
