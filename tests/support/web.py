"""A WebSocket client on a plain socket. It sees each frame, and can break the rules."""

from __future__ import annotations

import json
import socket
from typing import Any

from driver.websocket import CLOSE, FIN, PING, TEXT, Handshake, frame, next_frame

from .clients import Program, line_of

KEY = b"\x0f\xf0\x55\xaa"
Frame = tuple[int, bytes]  # its first byte, and its payload


def framed(payload: bytes, first: int = FIN | TEXT) -> bytes:
    """A frame from a client."""
    return frame(payload, KEY, first)


class WebSocket(Program):
    """A program that speaks through a WebSocket. Its methods wait for expected output."""

    def __init__(self, port: int, receive_buffer: int = 0, before: bytes = b"", fields: str = "") -> None:
        """``before``: sent before the request; ``fields``: of the request, each with its end."""
        super().__init__(port, receive_buffer)
        self.greeting = b""  # there is none
        handshake = Handshake(f"127.0.0.1:{port}", bytes(16))
        self._data = b""
        self._at_end = False
        self._lines: list[bytes] = []
        self.close_code: int | None = None  # of the server's Close
        self.sock.sendall(before + handshake.request.replace(b"\r\n\r\n", f"\r\n{fields}\r\n".encode()))
        while not (size := handshake.response(self._data)):
            assert self._more(), self._data
        self._data = self._data[size:]

    def send(self, *requests: object, **fields: object) -> None:
        """One frame with a line for each request."""
        self.sock.sendall(framed(b"".join(map(line_of, [*requests, *([fields] if fields else [])]))))

    def _more(self) -> bool:
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            data = b""
        self._data += data
        return bool(data)

    def frame(self) -> Frame | None:
        """The next frame; None at the end. The connection must not end in a frame, and no frame follows a Close."""
        while not (found := next_frame(self._data, 0)):
            if not self._more():
                assert self._data == b"", "the connection ended in a frame"
                return None
        assert self.close_code is None, "a frame after the Close"
        first, begin, end = found
        payload, self._data = self._data[begin:end], self._data[end:]
        if first == FIN | CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big")
        return first, payload

    def read(self) -> dict[str, Any] | None:
        while not self._lines:
            found = self.frame()
            if found is None:
                return None
            if found[0] == FIN | TEXT:
                assert found[1].endswith(b"\n")
                self._lines = found[1].splitlines()
        self.seen.append(json.loads(self._lines.pop(0)))
        return self.seen[-1]

    def ping(self, words: bytes = b"") -> None:
        """A ping of the WebSocket, which is not the request of that name."""
        self.sock.sendall(framed(words, FIN | PING))

    def shut(self) -> None:
        """Send nothing more, and go on reading."""
        self.sock.shutdown(socket.SHUT_WR)


def get(path: str, port: int, fields: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{fields}\r\n".encode()
