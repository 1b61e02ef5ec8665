"""JSON lines over a socket, for the clients of torture.py. It knows nothing of the server's source."""

from __future__ import annotations

import contextlib
import json
import select
import socket
from collections.abc import Callable
from typing import Any

from torture_world import now

PATIENCE = 20.0  # seconds to wait for an answer that should come in any case
FAREWELL = b"! The server is shutting down. Goodbye.\r"  # to clients that have sent nothing yet


class Gone(Exception):
    """The connection is over, or was given up."""


class Odd(Exception):
    """The server did something that is not in its protocol."""


class Connection:
    """JSON lines over a socket. Raises Gone."""

    def __init__(
        self, port: int, receive_buffer: int = 0, wrap: Callable[[socket.socket], socket.socket] | None = None
    ) -> None:
        """``wrap``: does TLS's handshake on a connected socket, and returns one that encrypts."""
        self._sock = socket.socket()
        if receive_buffer:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._sock.settimeout(PATIENCE)
        self._rest = b""
        self._lines: list[bytes] = []  # the oldest at the end
        self._greeted = False
        self._recognised = False  # the server knows that it is a program
        try:
            self._sock.connect(("127.0.0.1", port))
            if wrap:
                self._sock = wrap(self._sock)
        except OSError as error:
            self._sock.close()
            raise Gone from error

    def send(self, *requests: dict[str, Any]) -> None:
        data = b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in requests)
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise Gone from error

    def next(self, seconds: float) -> dict[str, Any] | None:
        """The next object; None after ``seconds`` without one."""
        deadline = now() + seconds
        while True:
            while self._lines:
                line = self._lines.pop()
                if self._greeted and (self._recognised or line != FAREWELL):
                    self._recognised = True
                    return self._object(line)
                self._greeted = True
            if not select.select([self._sock], [], [], max(0.0, deadline - now()))[0]:
                return None
            self._lines = self._lines_in(self._receive())[::-1]

    def _receive(self) -> bytes:
        try:
            data = self._sock.recv(1 << 18)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        return data

    def _lines_in(self, data: bytes) -> list[bytes]:
        """The lines that have ended."""
        *ended, self._rest = (self._rest + data).split(b"\n")
        return ended

    @staticmethod
    def _object(line: bytes) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except ValueError:
            raise Odd(f"this line is no JSON: {line[:200]!r}") from None
        if not isinstance(found, dict) or not isinstance(found.get("type"), str):
            raise Odd(f"this line is no event: {line[:200]!r}")
        return found

    def quit(self) -> None:
        """Leave in order."""
        self.send({"type": "quit"})

    def reset(self) -> None:
        """Break it: RST instead of FIN."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self._sock.close()

    def close(self) -> None:
        self._sock.close()
