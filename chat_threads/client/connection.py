"""A connected socket as a client's threads see it: one reads, one writes, and both may wait."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl

from ..tls import RECORD, Channel, Violation, reason
from .errors import Refused

READ_SIZE = 65536  # bytes
MAX_LINE = 32 * 1024 * 1024  # bytes in a line; a page of history is the longest line, and far shorter
_KEEPALIVE = (  # a peer that vanishes without a word is noticed within 40 seconds, if the system has these options
    ("SOL_SOCKET", "SO_KEEPALIVE", 1),
    ("IPPROTO_TCP", "TCP_NODELAY", 1),
    ("IPPROTO_TCP", "TCP_KEEPIDLE", 20),
    ("IPPROTO_TCP", "TCP_KEEPINTVL", 5),
    ("IPPROTO_TCP", "TCP_KEEPCNT", 4),
    ("IPPROTO_TCP", "TCP_USER_TIMEOUT", 40_000),  # the same for what was sent and not acknowledged, in milliseconds
)


class Connection:
    """Owns one socket. The writer calls ``send``, and the reader does before there is a writer. Any thread may call
    ``abort``, which ends both threads' waits. The reader calls everything else, and calls ``close`` after the writer
    has ended."""

    def __init__(self, host: str, port: int, timeout: float, tls: ssl.SSLContext | None = None) -> None:
        """Connect, and with ``tls`` encrypt what follows. Raise OSError, or Refused if the server's certificate is not
        trusted. Until ``patient`` is called, a wait raises TimeoutError after ``timeout`` seconds."""
        try:
            self._sock = socket.create_connection((host, port), timeout)
        except UnicodeError as error:  # an empty or too long part between dots, among others
            raise socket.gaierror(socket.EAI_NONAME, "it is no name of a host") from error
        self._rest = b""
        try:
            if self._sock.getsockname() == self._sock.getpeername():  # RFC 9293, 3.5: a simultaneous open
                raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens, and the socket connected to itself")
        except OSError:  # the peer may be gone already
            self._sock.close()
            raise
        for level, option, value in _KEEPALIVE:
            if hasattr(socket, option):
                with contextlib.suppress(OSError):
                    self._sock.setsockopt(getattr(socket, level), getattr(socket, option), value)
        self._channel: Channel | None = None
        if tls:
            try:
                self._channel = self._secured(Channel(tls, host), host)
            except BaseException:
                self._sock.close()
                raise

    def _secured(self, channel: Channel, host: str) -> Channel:
        """Do the TLS handshake, and return the channel."""
        received = b""
        try:
            while True:
                done, answer = channel.shake(received)
                self._sock.sendall(answer)
                if done:
                    return channel
                received = self._sock.recv(READ_SIZE)
                if not received:
                    raise Refused("tls", f"{host} ended the connection. Maybe it does not speak TLS on this port.")
        except ssl.SSLCertVerificationError as error:
            with contextlib.suppress(OSError):
                self._sock.sendall(channel.farewell())
            why = error.verify_message.rstrip(".")
            raise Refused("untrusted", f"The certificate of {host} is not trusted: {why}.") from error
        except ssl.SSLError as error:
            raise Refused("tls", f"No TLS connection to {host} is possible on this port: {reason(error)}.") from error

    def patient(self, seconds: float | None = None) -> None:
        """From now on, a wait raises TimeoutError after so many seconds; None: it has no limit."""
        self._sock.settimeout(seconds)

    def lines(self) -> list[bytes]:
        """Wait for a line, and return all that have come, without their ends; [] when the connection has ended."""
        if b"\n" in self._rest:  # given back
            *lines, self._rest = self._rest.split(b"\n")
            return lines
        parts = [self._rest]
        length = len(self._rest)
        while True:
            try:
                data = self._receive()
            except (OSError, Violation) as error:
                if isinstance(error, TimeoutError) and self._sock.gettimeout() is not None:
                    raise
                return []  # we have set no timeout, so it is the system's: the peer no longer answers
            length += len(data)
            if not data or length > MAX_LINE:
                return []
            parts.append(data)
            if b"\n" in data:
                *lines, self._rest = b"".join(parts).split(b"\n")
                return lines

    def _receive(self) -> bytes:
        """Wait for the next bytes; b"" at the end."""
        if not self._channel:
            return self._sock.recv(READ_SIZE)
        while (data := self._channel.decrypt()) is None:
            received = self._sock.recv(READ_SIZE)
            if not received:
                return b""
            if (data := self._channel.decrypt(received)) is not None:
                break
        return data

    def give_back(self, lines: list[bytes]) -> None:
        """Let ``lines`` return these next."""
        self._rest = b"".join(line + b"\n" for line in lines) + self._rest

    def send(self, data: bytes) -> None:
        """Send all of it, however long that takes; raise OSError."""
        if not self._channel:
            self._sock.sendall(data)
            return
        for at in range(0, len(data), RECORD):
            self._sock.sendall(self._channel.encrypt(data[at : at + RECORD]))

    def abort(self) -> None:
        """End both threads' waits; ``lines`` returns []."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()
