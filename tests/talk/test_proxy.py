"""The PROXY protocol: headers, in any pieces, and a server behind proxies."""

from __future__ import annotations

import contextlib
import json
import logging
import pathlib
import random
import re
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest
from support.clients import Client
from support.samples import for_each
from support.servers import free_port, needs
from support.waiting import WAIT, wait_for
from support.words import error_line

from chat_threads import tokens
from chat_threads.addresses import networks
from chat_threads.disconnects import NoNameInTime
from chat_threads.proxy import MAX_V1, MAX_V2, V2, V2_FIXED, BadHeader, Header, parse


def v2(family: int, addresses: bytes, command: int = 0x21, tlvs: bytes = b"") -> bytes:
    """A header of version 2."""
    return V2 + struct.pack("!BBH", command, family, len(addresses) + len(tlvs)) + addresses + tlvs


def tcp4(source: str, destination: str = "198.51.100.1") -> bytes:
    return socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack("!HH", 50000, 8080)


def tcp6(source: str, destination: str = "2001:db8::1") -> bytes:
    ends = [socket.inet_pton(socket.AF_INET6, each) for each in (source, destination)]
    return b"".join(ends) + struct.pack("!HH", 50000, 8080)


TLVS = b"\x01\x00\x02h2" + b"\x02\x00\x04chat" + b"\x03\x00\x04\x00\x00\x00\x00" + b"\x20\x00\x05\x01\x00\x00\x00\x00"

LONG = "ffff:" * 7 + "fff"
HEADERS = {  # and what they say
    "TCP4": (b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 8080\r\n", "192.0.2.7", "198.51.100.1", False),
    "TCP4, longest": (
        b"PROXY TCP4 255.255.255.255 255.255.255.254 65535 65535\r\n",
        "255.255.255.255",
        "255.255.255.254",
        False,
    ),
    "TCP6": (b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 8080\r\n", "2001:db8::7", "2001:db8::1", False),
    "TCP6, longest": (
        f"PROXY TCP6 {LONG}f {LONG}e 65535 65535\r\n".encode(),
        f"{LONG}f",
        f"{LONG}e",
        False,
    ),
    "TCP6, IPv4 in it": (
        b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 0 1\r\n",
        "192.0.2.7",
        "198.51.100.1",
        False,
    ),
    "UNKNOWN": (b"PROXY UNKNOWN\r\n", "", "", False),
    "UNKNOWN, with more": (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "", "", False),
    "2, TCP4": (v2(0x11, tcp4("192.0.2.7")), "192.0.2.7", "198.51.100.1", False),
    "2, TCP4 and TLVs": (v2(0x11, tcp4("192.0.2.7"), tlvs=TLVS), "192.0.2.7", "198.51.100.1", False),
    "2, TCP6": (v2(0x21, tcp6("2001:db8::7")), "2001:db8::7", "2001:db8::1", False),
    "2, TCP6 and TLVs": (v2(0x21, tcp6("2001:db8::7"), tlvs=TLVS), "2001:db8::7", "2001:db8::1", False),
    "2, TCP6, IPv4 in it": (v2(0x21, tcp6("::ffff:192.0.2.7")), "192.0.2.7", "2001:db8::1", False),
    "2, as QUIC comes": (v2(0x12, tcp4("192.0.2.7")), "192.0.2.7", "198.51.100.1", False),
    "2, UNIX": (v2(0x31, b"/run/chat".ljust(108, b"\0") * 2), "", "", False),
    "2, UNSPEC": (v2(0x00, b""), "", "", False),
    "2, UNSPEC and TLVs": (v2(0x00, b"", tlvs=TLVS), "", "", False),
    "2, LOCAL": (v2(0x00, b"", 0x20), "", "", True),
    "2, LOCAL with addresses": (v2(0x11, tcp4("192.0.2.7"), 0x20), "", "", True),
    "2, longest": (v2(0x11, tcp4("192.0.2.7"), tlvs=bytes(MAX_V2 - 12)), "192.0.2.7", "198.51.100.1", False),
}
BAD = {
    "a name": b"ann\r\n",
    "JSON": b'{"type":"hello"}\n',
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01",
    "another case": b"proxy TCP4 192.0.2.7 198.51.100.1 50000 8080\r\n",
    "no CR": b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 8080\n",
    "two blanks": b"PROXY TCP4  192.0.2.7 198.51.100.1 50000 8080\r\n",
    "too little": b"PROXY TCP4 192.0.2.7 198.51.100.1 50000\r\n",
    "too much": b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 8080 1\r\n",
    "a blank at the end": b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 8080 \r\n",
    "a port too high": b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 8080\r\n",
    "a port with a zero before it": b"PROXY TCP4 192.0.2.7 198.51.100.1 050 8080\r\n",
    "a negative port": b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 8080\r\n",
    "an address too high": b"PROXY TCP4 192.0.2.256 198.51.100.1 50000 8080\r\n",
    "an address with zeros": b"PROXY TCP4 192.0.02.7 198.51.100.1 50000 8080\r\n",
    "the other family": b"PROXY TCP4 2001:db8::7 2001:db8::1 50000 8080\r\n",
    "the other family, 6": b"PROXY TCP6 192.0.2.7 198.51.100.1 50000 8080\r\n",
    "a zone": b"PROXY TCP6 fe80::1%eth0 fe80::2 50000 8080\r\n",
    "a family that is not there": b"PROXY UDP4 192.0.2.7 198.51.100.1 50000 8080\r\n",
    "UNKNOWNS": b"PROXY UNKNOWNS\r\n",
    "a line without end": b"PROXY TCP4 " + b"1" * 200,
    "UNKNOWN without end": b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n",
    "2, version 1": v2(0x11, tcp4("192.0.2.7"), 0x11),
    "2, version 3": v2(0x11, tcp4("192.0.2.7"), 0x31),
    "2, an unknown command": v2(0x11, tcp4("192.0.2.7"), 0x22),
    "2, an unknown family": v2(0x41, bytes(300)),
    "2, an unknown protocol": v2(0x13, tcp4("192.0.2.7")),
    "2, too short for TCP4": v2(0x11, tcp4("192.0.2.7")[:-1]),
    "2, too short for TCP6": v2(0x21, tcp4("192.0.2.7")),
    "2, too short for UNIX": v2(0x31, bytes(215)),
    "2, too long": V2 + struct.pack("!BBH", 0x21, 0x11, MAX_V2 + 1),
    "2, a signature that is broken": V2[:-1] + b"\r" + bytes(20),
}


# --- the parser ---------------------------------------------------------------------------------------------


@for_each("name", HEADERS)
def test_a_header_is_read_whatever_has_come_of_it_and_whatever_follows(name):
    data, source, destination, own = HEADERS[name]
    for length in range(len(data)):
        assert parse(data[:length]) is None
    for rest in (b"", b"ann\r\n", data, b"\0"):
        assert parse(data + rest) == Header(len(data), source, destination, own)


def test_the_longest_line_of_version_1_is_the_longest_there_can_be():
    assert len(HEADERS["TCP6, longest"][0]) <= MAX_V1
    longest = b"PROXY UNKNOWN " + b"x" * (MAX_V1 - 16) + b"\r\n"
    assert parse(longest) == Header(MAX_V1)
    with pytest.raises(BadHeader):
        parse(longest.replace(b"x", b"xx", 1))


@for_each("name", BAD)
def test_an_invalid_header_is_refused(name):
    with pytest.raises(BadHeader):
        parse(BAD[name])


@for_each("name", BAD)
def test_an_invalid_header_is_refused_though_it_comes_byte_by_byte(name):
    """It is refused when all of it has come, or before. It is never taken for a valid one."""
    data = BAD[name]
    for length in range(len(data)):
        with contextlib.suppress(BadHeader):
            assert parse(data[:length]) is None


@for_each("seed", range(20))
def test_a_header_with_broken_bytes_is_read_or_refused_and_never_anything_else(seed):
    """A header that is read has the length that it names, and a valid address. The wait for more bytes is bounded."""
    chance = random.Random(seed)
    for _ in range(500):
        data = bytearray(chance.choice(list(HEADERS.values()))[0])
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(data))
            match chance.randrange(3):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at:]
                case 2:
                    data[at:at] = chance.randbytes(chance.randrange(1, 8))
            data = data or bytearray(b"P")
        try:
            header = parse(bytes(data))
        except BadHeader:
            continue
        if header is None:
            assert len(data) < V2_FIXED + MAX_V2
            continue
        assert 0 < header.length <= len(data)
        assert bool(header.source) == bool(header.destination)
        for each in (header.source, header.destination):
            if each:
                socket.inet_pton(socket.AF_INET6 if ":" in each else socket.AF_INET, each)


NEEDS_PROXY = (
    "! Connections from your address must begin with the PROXY protocol, and yours does not. Connect through the proxy."
)

# --- a server behind a proxy --------------------------------------------------------------------------------


class Forwarder:
    """A proxy: passes on what comes, with a header before it that says where it comes from."""

    def __init__(self, to: int, header: Callable[[str, str], bytes]) -> None:
        self._to, self._header = to, header
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port = self._sock.getsockname()[1]
        self._socks: list[socket.socket] = [self._sock]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                down, (address, _) = self._sock.accept()
                up = socket.create_connection(("127.0.0.1", self._to), WAIT)
                self._socks += [down, up]
                up.sendall(self._header(address, down.getsockname()[0]))
                for pair in ((down, up), (up, down)):
                    self._threads.append(threading.Thread(target=self._pass, args=pair, daemon=True))
                    self._threads[-1].start()

    @staticmethod
    def _pass(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WAIT)
        for sock in self._socks:
            sock.close()


@pytest.fixture
def behind(serve) -> Iterator[Callable[..., int]]:
    """Start a forwarder before a server; returns its port."""
    with contextlib.ExitStack() as stack:

        def start(port: int, header: Callable[[str, str], bytes]) -> int:
            return stack.enter_context(contextlib.closing(Forwarder(port, header))).port

        yield start


def proxied(server, data: bytes, *rest: bytes) -> Client:
    """A client whose connection begins with these bytes."""
    client = server.client()
    client.send_bytes(data)
    for each in rest:
        client.send_bytes(each)
    return client


def behind_proxies(serve, **settings):
    return serve(proxies=networks("127.0.0.1"), **settings)


@pytest.mark.parametrize("name", HEADERS)
def test_the_address_in_the_header_is_the_clients(serve, name, caplog):
    caplog.set_level(logging.INFO, "chat_threads")
    server = behind_proxies(serve)
    data, source, _, own = HEADERS[name]
    client = proxied(server, data + b"ann\r\n")
    client.expect("You are in #lobby")
    session = server.chat.sessions.named("ann")
    assert session.address == source or not source
    assert session.local is own
    assert any(line.endswith(f" begins from {source or '127.0.0.1'} by 127.0.0.1") for line in caplog.messages)
    assert any("acceptor" in line for line in client.ask("/threads")) is own


@pytest.mark.parametrize("name", ["TCP4", "2, TCP6 and TLVs", "2, LOCAL"])
def test_the_header_may_be_split_anywhere_and_the_first_line_may_come_with_its_end(serve, name):
    server = behind_proxies(serve)
    data = HEADERS[name][0]
    clients = []
    for at in range(len(data)):
        clients.append(proxied(server, data[:at], data[at:] + b"guest%d\r\n" % at))
    for client in clients:
        client.expect("You are in #lobby")


def test_a_program_behind_a_proxy_speaks_json(serve):
    server = behind_proxies(serve)
    client = proxied(server, HEADERS["TCP4"][0] + b'{"type":"hello","name":"ann"}\n')
    client.sock.settimeout(WAIT)
    file = client.sock.makefile("rb")
    assert file.readline().startswith(b"* Welcome")
    assert json.loads(file.readline())["type"] == "welcome"
    file.close()


def test_a_client_that_waits_behind_a_proxy_is_greeted(serve):
    server = behind_proxies(serve)
    proxied(server, HEADERS["TCP4"][0]).expect("What is your name?")


@pytest.mark.parametrize(
    ("source", "destination", "local"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("192.0.2.7", "192.0.2.7", True),  # to the proxy by this machine's own address
        ("192.0.2.8", "192.0.2.7", False),
    ],
)
def test_a_client_is_local_if_it_is_at_the_proxys_machine_and_the_proxy_at_the_servers(
    serve, source, destination, local
):
    server = behind_proxies(serve)
    proxied(server, f"PROXY TCP4 {source} {destination} 1 2\r\nann\r\n".encode()).expect("You are in #lobby")
    assert server.chat.sessions.named("ann").local is local


def test_a_client_at_the_machine_of_a_proxy_elsewhere_is_not_local(serve, monkeypatch):
    server = behind_proxies(serve)
    monkeypatch.setattr("chat_threads.conversation.is_loopback", lambda address: False)
    monkeypatch.setattr("chat_threads.conversation.is_local", lambda peer, own: peer == own != "127.0.0.1")
    proxied(server, b"PROXY TCP4 192.0.2.7 192.0.2.7 1 2\r\nann\r\n").expect("You are in #lobby")
    assert not server.chat.sessions.named("ann").local


@pytest.mark.parametrize("name", BAD)
def test_a_broken_header_ends_the_connection_with_a_line_in_the_log_now_and_then(serve, name, caplog):
    caplog.set_level(logging.INFO, "chat_threads")
    server = behind_proxies(serve)
    for _ in range(5):
        client = server.client()
        with contextlib.suppress(OSError):  # it may be over before all of it is sent
            client.send_bytes(BAD[name])
        rest = client.rest()
        assert [line for line in rest if line] == [NEEDS_PROXY]
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "127.0.0.1" in warnings[0].getMessage()
    assert not server.chat.sessions.people()


def test_without_a_header_a_connection_ends_when_the_time_for_the_handshake_is_over(serve):
    server = behind_proxies(serve, handshake_timeout=0.4)
    silent, slow = server.client(), server.client()
    slow.send_bytes(HEADERS["TCP4"][0][:20])
    silent_behind = proxied(server, HEADERS["2, TCP4"][0])
    for client in (silent, slow, silent_behind):
        assert client.rest()[-1] == error_line(NoNameInTime(0.4))


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_from_an_address_that_is_not_named_is_that_of_another_protocol(serve, name):
    for server in (serve(db=":memory:"), serve(db=":memory:", proxies=networks("192.0.2.0/24,2001:db8::/32"))):
        client = proxied(server, HEADERS[name][0] + b"ann\r\n")
        assert not [line for line in client.rest() if "Hello" in line or "You are in" in line]
        assert not server.chat.sessions.people()


def test_addresses_that_are_not_named_need_no_proxy(serve):
    assert serve(proxies=networks("192.0.2.0/24")).client("ann").ask("hi")


def test_per_address_counts_the_clients_and_not_the_proxy(serve):
    server = behind_proxies(serve, per_address=2)
    four, six = b"PROXY TCP4 192.0.2.%d 198.51.100.1 1 2\r\n", b"PROXY TCP6 2001:db8:0:%d::%x 2001:db8::1 1 2\r\n"
    for number in range(4):
        for times in range(2):
            proxied(server, four % number + b"ann%d%d\r\n" % (number, times)).expect("You are in")
            proxied(server, six % (number, times) + b"bob%d%d\r\n" % (number, times)).expect("You are in")
    for header in (four % 1, six % (1, 9)):
        assert proxied(server, header, b"more\r\n").rest() == [
            "! There are too many connections from your address: at most 2 are allowed. Close one, then connect again."
        ]
    for number in range(4):  # connections whose address the proxy does not tell
        proxied(server, b"PROXY UNKNOWN\r\nunknown%d\r\n" % number).expect("You are in")


def test_tokens_are_paced_by_the_clients_addresses(serve, monkeypatch):
    monkeypatch.setattr(tokens, "AT_ONCE", 1)
    monkeypatch.setattr(tokens, "A_SECOND", 1e-9)
    server = behind_proxies(serve)
    answers = []
    for number, host in enumerate((1, 2, 2)):
        client = proxied(server, b"PROXY TCP4 192.0.2.%d 198.51.100.1 1 2\r\nann%d\r\n" % (host, number))
        client.expect("You are in")
        answers.append(any("Your token is" in line for line in client.ask("/token")))
    assert answers == [True, True, False]


@pytest.mark.parametrize("version", [1, 2])
def test_people_behind_a_forwarder_chat_as_ever(serve, behind, version):
    server = behind_proxies(serve)

    def header(source: str, destination: str) -> bytes:
        if version == 1:
            return f"PROXY TCP4 {source} {destination} 1 2\r\n".encode()
        return v2(0x11, tcp4(source, destination), tlvs=TLVS)

    port = behind(server.port, header)
    with Client(port, "ann") as ann, Client(port, "bob") as bob:
        ann.expect("bob joined")
        bob.send("hi")
        ann.expect("bob: hi")
        assert server.chat.sessions.named("ann").local
        ann.send("/quit")
        ann.rest()
        bob.expect("ann left")


def answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


HAPROXY = """
global
    maxconn 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen one
    bind 127.0.0.1:{one}
    server chat 127.0.0.1:{chat} send-proxy check inter 200ms
listen two
    bind 127.0.0.1:{two}
    server chat 127.0.0.1:{chat} send-proxy-v2 proxy-v2-options unique-id,crc32c
"""


def test_people_behind_haproxy_have_their_own_addresses(start_process, tmp_path):
    """haproxy's checks of the server's health count for no address."""
    program = needs("haproxy")
    process = start_process("--proxy-protocol", "127.0.0.1")
    ports = {"one": free_port(), "two": free_port()}
    config = pathlib.Path(tmp_path, "haproxy.cfg")
    config.write_text(HAPROXY.format(chat=process.port, **ports))
    with subprocess.Popen([program, "-db", "-f", str(config)], stderr=subprocess.PIPE) as haproxy:
        try:
            for port in ports.values():
                wait_for(lambda port=port: answers(port))
            with (
                Client(ports["one"], "ann", source="127.0.0.77") as ann,
                Client(ports["two"], "bob", source="127.0.0.78") as bob,
            ):
                ann.expect("bob joined")
                bob.send("hi")
                ann.expect("bob: hi")
                wait_for(lambda: re.search(r"begins from 127\.0\.0\.78 by 127\.0\.0\.1", process.errors))
                assert re.search(r"begins from 127\.0\.0\.77 by 127\.0\.0\.1", process.errors)
        finally:
            haproxy.kill()
    assert process.stop() == 0
    assert "Traceback" not in process.errors
