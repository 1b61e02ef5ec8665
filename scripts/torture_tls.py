"""The clients of torture.py that speak TLS, and those that break off during its handshake or send what is not TLS."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import random
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable

from torture_clients import Client
from torture_connection import PATIENCE, Odd
from torture_world import World, now

WHY_NOT = "" if shutil.which("openssl") else "openssl is not installed"  # why there are none; "" if there can be
LINE = b'{"type":"say","text":"This must not be said."}\n'
GARBAGE = b"\x17\x03\x03\x00\x40" + bytes(64)  # a record that no key has made
SHAKING, HELLO = b"\x16\x03\x01", b"\x01\x00"  # how a record of the handshake begins, and a ClientHello in it


class Certificate:
    """The server's certificate, which signs itself, in a temporary directory of its own."""

    def __init__(self) -> None:
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix="torture-tls-"))
        self._cert, self._key = self._directory / "cert.pem", self._directory / "key.pem"
        kind = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 2 -subj /CN=localhost"
        names = ["-addext", "subjectAltName=DNS:localhost"]
        command = ["openssl", "req", "-x509", *kind.split(), *names, "-keyout", str(self._key), "-out", str(self._cert)]
        subprocess.run(command, check=True, capture_output=True)
        self.trusted = ssl.create_default_context(cafile=str(self._cert))  # for the clients

    @property
    def options(self) -> tuple[str, ...]:
        """For the server."""
        return ("--tls-cert", str(self._cert), "--tls-key", str(self._key))

    def close(self) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)


def put_on_tls(clients: list[Client], certificate: Certificate) -> None:
    """Let these clients speak TLS, inside of which a WebSocket may be."""
    for client in clients:
        wrap = functools.partial(certificate.trusted.wrap_socket, server_hostname="localhost")
        client.connect = functools.partial(client.connect, wrap=wrap)


# --- hostile ones ---------------------------------------------------------------------------------------------


class Peer:
    """A client whose TLS is in memory, so that it can send half of a record. Raises OSError."""

    def __init__(self, sock: socket.socket, certificate: Certificate) -> None:
        self._sock = sock
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = certificate.trusted.wrap_bio(self._received, self._to_send, server_hostname="localhost")

    def hello(self) -> bytes:
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._to_send.read()

    def shake(self) -> bool:
        """Do the handshake; False if the server ends it. Raises Odd."""
        self._sock.sendall(self.hello())
        while True:
            data = self._sock.recv(1 << 16)
            if not data:
                return False
            self._received.write(data)
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._sock.sendall(self._to_send.read())
                continue
            except ssl.SSLError as error:
                if data.startswith((b"*", b"!")):  # words, because the hello came too late
                    return False
                raise Odd(f"the TLS handshake failed: {error}") from None
            self._sock.sendall(self._to_send.read())
            return True

    def record(self, plain: bytes) -> bytes:
        self._tls.write(plain)
        return self._to_send.read()


Attack = Callable[[socket.socket, Peer, random.Random], bool]
"""What a hostile client does. Returns whether the server must end the connection then."""


def _half_a_hello(sock: socket.socket, peer: Peer, chance: random.Random) -> bool:
    hello = peer.hello()
    sock.sendall(hello[: chance.randrange(1, len(hello))])
    return False


def _a_hello_alone(sock: socket.socket, peer: Peer, chance: random.Random) -> bool:
    sock.sendall(peer.hello())
    return False


def _a_hello_in_bytes(sock: socket.socket, peer: Peer, chance: random.Random) -> bool:
    for byte in peer.hello():
        sock.sendall(bytes((byte,)))
    return False


def _no_hello(sock: socket.socket, peer: Peer, chance: random.Random) -> bool:
    sock.sendall(SHAKING + (1000).to_bytes(2, "big") + HELLO + chance.randbytes(998))
    return True


def _half_a_record(sock: socket.socket, peer: Peer, chance: random.Random) -> bool:
    if peer.shake():
        record = peer.record(b'{"type":"hello","name":"h%d"}\n' % chance.randrange(10**6) + LINE)
        sock.sendall(record[: chance.randrange(1, len(record))])
    return False


def _a_broken_record(sock: socket.socket, peer: Peer, chance: random.Random) -> bool:
    if not peer.shake():
        return False
    record = bytearray(peer.record(b'{"type":"hello","name":"h%d"}\n' % chance.randrange(10**6) + LINE))
    record[chance.randrange(5, len(record))] ^= 1 << chance.randrange(8)
    sock.sendall(record)
    return True


def _a_record_without_a_key(sock: socket.socket, peer: Peer, chance: random.Random) -> bool:
    if not peer.shake():
        return False
    sock.sendall(GARBAGE)
    return True


def _plain_text(sock: socket.socket, peer: Peer, chance: random.Random) -> bool:
    if not peer.shake():
        return False
    sock.sendall(LINE * chance.choice([1, 100]))
    return True


ATTACKS: dict[str, Attack] = {
    "half a hello": _half_a_hello,
    "a hello and no more": _a_hello_alone,
    "a hello in single bytes": _a_hello_in_bytes,
    "a hello of nonsense": _no_hello,
    "half a record": _half_a_record,
    "a broken record": _a_broken_record,
    "a record without a key": _a_record_without_a_key,
    "plain text after the handshake": _plain_text,
}


def attack(port: int, certificate: Certificate, chance: random.Random, world: World) -> None:
    """Be one hostile client, until the server has closed the connection or the client has had enough. Raises Odd."""
    name = chance.choice(list(ATTACKS))
    with socket.socket() as sock, contextlib.suppress(OSError):
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", port))
        if ATTACKS[name](sock, Peer(sock, certificate), chance):
            _see_the_end(sock, name)
            world.count("hostile TLS clients that were cut off")
            return
        time.sleep(chance.choice([0, 0.1, 1]))
        if chance.random() < 0.5:  # RST instead of FIN
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


def _see_the_end(sock: socket.socket, name: str) -> None:
    deadline = now() + PATIENCE
    with contextlib.suppress(ConnectionError):
        while now() < deadline:
            try:
                if not sock.recv(1 << 16):
                    return
            except TimeoutError:
                break
        raise Odd(f"{name} did not end the connection")
