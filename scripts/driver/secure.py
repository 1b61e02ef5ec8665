"""Clients of bench.py that speak TLS: sockets that really encrypt what is sent and decrypt what is received."""

from __future__ import annotations

import contextlib
import functools
import shutil
import socket
import ssl
import subprocess

from .worker import Failed

READ = 1 << 16  # encrypted bytes received at a time

WHY_NOT = None if shutil.which("openssl") else "TLS is not measured: openssl, which makes the certificate, is not here."


def make_certificate(cert: str, key: str) -> tuple[str, ...]:
    """The command that makes a certificate that signs itself, of the usual kind."""
    kind = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 2 -subj /CN=localhost"
    return ("openssl", "req", "-x509", *kind.split(), "-keyout", key, "-out", cert)


def make_now(folder: str) -> tuple[str, str]:
    """Make a certificate in this folder; return the files of it and of its key. Raises Failed."""
    if WHY_NOT:
        raise Failed(WHY_NOT.rstrip("."))
    files = f"{folder}/cert.pem", f"{folder}/key.pem"
    subprocess.run(make_certificate(*files), check=True, capture_output=True)
    return files


@functools.cache
def trusting() -> ssl.SSLContext:
    """For a client that takes any certificate: it measures, and has no secrets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class SecureSocket(socket.socket):
    """A socket that does not block and speaks TLS from its first ``send`` on.

    What is sent before the end of the handshake waits here. A call of ``recv`` or ``recv_into`` gives everything that
    has come, so that nothing is left for which no event would tell.
    """

    def __init__(self) -> None:
        super().__init__()
        self._received = ssl.MemoryBIO()
        self._to_send = ssl.MemoryBIO()
        self._tls = trusting().wrap_bio(self._received, self._to_send)
        self._shaken = False
        self._waits = b""  # for the end of the handshake

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        """Take all of the data. Raises Failed if the system does not: nobody sends so much here."""
        if self._shaken:
            self._tls.write(data)
            self._pass_on()
        else:
            self._waits += data
            self._shake()
        return len(data)

    def recv_into(self, buffer: memoryview, nbytes: int = 0, flags: int = 0) -> int:  # type: ignore[override]
        """The number of plain bytes; 0 is the end. Raises BlockingIOError if there are none yet."""
        data = super().recv(READ)
        if not data:
            return 0
        self._received.write(data)
        if not self._shaken:
            self._shake()
        got = 0
        while self._shaken and (self._received.pending or self._tls.pending()):
            try:
                plain: int = self._tls.read(len(buffer) - got, buffer[got:])  # type: ignore[assignment]
            except ssl.SSLWantReadError:  # half a record
                break
            if not plain:
                return 0
            got += plain
        if not got:
            raise BlockingIOError
        return got

    def recv(self, size: int, flags: int = 0) -> bytes:
        buffer = bytearray(2 * READ)
        return bytes(buffer[: self.recv_into(memoryview(buffer))])

    def _shake(self) -> None:
        try:
            with contextlib.suppress(ssl.SSLWantReadError):
                self._tls.do_handshake()
                self._shaken = True
        except ssl.SSLError as error:
            raise Failed(f"the TLS handshake failed: {error.reason}") from None
        self._pass_on()
        if self._shaken and self._waits:
            self._tls.write(self._waits)
            self._waits = b""
            self._pass_on()

    def _pass_on(self) -> None:
        if (data := self._to_send.read()) and super().send(data) < len(data):
            raise Failed("the server takes no more")
