"""The server recognises clients of other protocols by their first words, and never takes them for people."""

from __future__ import annotations

import re
import select
import socket
import struct

import pytest
from support.clients import Client, Program
from support.samples import for_each
from support.waiting import WAIT

from chat_threads import events
from chat_threads.dialects.advice import error
from chat_threads.dialects.jsonlines import JsonDialect
from chat_threads.dialects.recognise import PROTOCOLS, in_place_of_the_greeting, recognise, without_blanks
from chat_threads.dialects.text import LINE, TextDialect
from chat_threads.dialects.web import WebDialect
from chat_threads.disconnects import NoProxyHeader, NotChat, ServerFull, TlsOnly, TooManyConnections
from chat_threads.errors import CutOff

# What clients and port scanners send first, and how the answer begins. b"": they are sent nothing.
SPOKEN: dict[str, tuple[bytes, bytes]] = {
    "HTTP/0.9": (b"GET /\r\n", b"HTTP/1.1 400 "),
    "RTSP": (b"OPTIONS / RTSP/1.0\r\n\r\n", b"RTSP/1.0 400 "),
    "RTSP DESCRIBE": (b"DESCRIBE rtsp://example.org/1 RTSP/1.0\r\nCSeq: 1\r\n\r\n", b"RTSP/1.0 400 "),
    "SIP": (b"OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm;branch=foo\r\n\r\n", b"SIP/2.0 400 "),
    "SIP REGISTER": (b"REGISTER sip:example.org SIP/2.0\r\n\r\n", b"SIP/2.0 400 "),
    "SSH": (b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", b"This is a chat server, not SSH. "),
    "SSH, short": (b"SSH-2.0-Go\r\n", b"This is a chat server"),
    "SSH, a name's length": (b"SSH-2.0-libssh_0.9.6\n", b"This is a chat server"),
    "SSH 1": (b"SSH-1.5-Nmap-SSH1-Hostkey\r\n", b"This is a chat server"),
    "SSH without an end": (b"SSH-2.0-PuTTY_Release_0.78", b"This is a chat server"),
    "SSH and its packets": (
        b"SSH-2.0-paramiko_2.9.2\r\n" + bytes.fromhex("000005dc0814") + b"curve25519\n" * 9,
        b"This",
    ),
    "SMTP": (b"EHLO nmap.scanme.org\r\n", b"554 "),
    "SMTP, alone": (b"HELO\r\n", b"554 "),
    "IMAP": (b"a001 CAPABILITY\r\n", b"* BYE "),
    "IMAP LOGIN": (b"1 LOGIN ann secret\r\n", b"* BYE "),
    "NNTP": (b"MODE READER\r\n", b"502 "),
    "IRC": (b"CAP LS 302\r\nNICK ann\r\nUSER ann 0 * :Ann\r\n", b"ERROR :"),
    "IRC NICK": (b"NICK ann\r\nUSER ann 0 * :Ann\r\n", b"ERROR :"),
    "IRC PASS": (b"PASS secret\r\nNICK ann\r\n", b"ERROR :"),
    "IRC USER": (b"USER nmap +iw nmap :Nmap Wuz Here\nNICK nmapKZ\n", b"ERROR :"),
    "FTP": (b"USER anonymous\r\n", b"421 "),
    "FTP TLS": (b"AUTH TLS\r\n", b"421 "),
    "Redis": (b"*1\r\n$4\r\ninfo\r\n", b"-ERR "),
    "Redis PING": (b"*1\r\n$4\r\nPING\r\n", b"-ERR "),
    "rsync": (b"@RSYNCD: 31.0\n", b"@ERROR: "),
    "STOMP": (b"CONNECT\naccept-version:1.2\nhost:example.org\n\n\0", b"ERROR\n"),
    "PROXY": (b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 8080\r\n", b"This is a chat server, not one that trusts"),
    "PROXY, unknown": (b"PROXY UNKNOWN\r\n", b"This is a chat server, not one that trusts"),
    "PROXY 2": (bytes.fromhex("0d0a0d0a000d0a515549540a2111000c c0000207c6336401c3501f90".replace(" ", "")), b""),
    "PROXY 2, LOCAL": (bytes.fromhex("0d0a0d0a000d0a515549540a20000000"), b""),
    "XMPP": (b"<?xml version='1.0'?><stream:stream to='example.org' xmlns='jabber:client'>", b""),
    "XMPP, bare": (b"<stream:stream xmlns='jabber:client'>", b""),
    "Flash": (b"<policy-file-request/>\0", b""),
    "syslog": (b"<34>Oct 11 22:14:15 host su: failed\n", b""),
    "WebLogic": (b"t3 12.1.2\nAS:2048\nHL:19\n\n", b""),
    "VNC": (b"RFB 003.008\n", b""),
    "JDWP": (b"JDWP-Handshake", b""),
    "BitTorrent": (b"\x13BitTorrent protocol" + bytes(8) + b"x" * 40, b""),
    "TLS": (bytes.fromhex("16030100a5010000a10303") + bytes(150), b""),
    "TLS, full of special bytes": (bytes.fromhex("160301150d7f08150a0a2f0affff") * 20, b""),
    "SSL 2": (bytes.fromhex("802e0100020015000000100301") + b"x" * 40, b""),
    "RDP": (bytes.fromhex("0300002f2ae00000000000") + b"Cookie: mstshash=nmap\r\n" + bytes.fromhex("01000800"), b""),
    "T.38, T.120": (bytes.fromhex("0300001611e00000000200c1020100c2020102c0010a"), b""),
    "SMB": (bytes.fromhex("000000a4ff534d4272000000000801400000"), b""),
    "SMB 2": (bytes.fromhex("0000006efe534d4240000000"), b""),
    "SOCKS 4": (b"\x04\x01\x00\x50\xc0\x00\x02\x01ann\0", b""),
    "SOCKS 5": (b"\x05\x01\x00", b""),
    "SOCKS 5, with a password": (b"\x05\x02\x00\x02", b""),
    "SOCKS 5, with a password only": (b"\x05\x01\x02", b""),
    "MQTT": (b"\x10\x13\x00\x04MQTT\x04\x02\x00\x3c\x00\x07scanner", b""),
    "MQTT 3.1": (b"\x10\x15\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x07scanner", b""),
    "LDAP bind": (bytes.fromhex("300c0201016007020103040080 00".replace(" ", "")), b""),
    "LDAP search": (bytes.fromhex("30840000002d02010763840000002404000a01000a0100"), b""),
    "Kerberos": (bytes.fromhex("000000716a816e306ba103020105a20302010a"), b""),
    "DNS over TCP": (bytes.fromhex("001e0006010000010000000000000776657273696f6e0462696e640000100003"), b""),
    "X11": (bytes.fromhex("6c000b000000000000000000"), b""),
    "X11, big-endian": (bytes.fromhex("4200000b0000000000000000"), b""),
    "PostgreSQL": (struct.pack(">II", 41, 196608) + b"user\0postgres\0database\0postgres\0\0", b""),
    "PostgreSQL SSLRequest": (bytes.fromhex("0000000804d2162f"), b""),
    "SQL Server": (bytes.fromhex("120100340000000000001500060100"), b""),
    "Oracle": (bytes.fromhex("005a00000100000001360 12c0000".replace(" ", "")), b""),
    "MongoDB": (bytes.fromhex("3f0000000000000000000000d407000000000000"), b""),
    "Cassandra": (bytes.fromhex("0400000005000000 00".replace(" ", "")), b""),
    "Kafka": (bytes.fromhex("000000170012000000000001000773636e"), b""),
    "AMQP": (b"AMQP\x00\x00\x09\x01", b""),
    "memcached, binary": (bytes.fromhex("800b00000000000000000000"), b""),
    "ADB": (b"CNXN\x00\x00\x00\x01\x00\x10\x00\x00\x07\x00\x00\x00", b""),
    "Java RMI": (b"JRMI\x00\x02\x4b", b""),
    "Java, serialized": (bytes.fromhex("aced0005"), b""),
    "GIOP": (b"GIOP\x01\x00\x01\x00$\x00\x00\x00", b""),
    "RPC": (bytes.fromhex("8000002872fe1d130000000000000002"), b""),
    "DCE": (bytes.fromhex("05000b03100000004800000001000000"), b""),
    "AJP": (bytes.fromhex("1234000f02020008"), b""),
    "FastCGI": (bytes.fromhex("0101000100080000"), b""),
    "SCGI": (b"70:CONTENT_LENGTH\x000\x00SCGI\x001\x00,", b""),
    "Git": (b"0033git-upload-pack /project.git\0host=example.org\0", b""),
    "Zabbix": (b"ZBXD\x01\x05\x00\x00\x00\x00\x00\x00\x00hello", b""),
    "LANDesk": (b"TNMP\x04\x00\x00\x00TNME\x00\x00\x04\x00", b""),
    "AFP": (bytes.fromhex("000300010000000000000002"), b""),
    "STUN": (bytes.fromhex("000100002112a442") + b"x" * 12, b""),
    "Bitcoin": (bytes.fromhex("f9beb4d9") + b"version\0\0\0\0\0", b""),
    "HAProxy's PROXY v2": (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", b""),
    "UTF-32": ("ann\r\n".encode("utf-32-le"), b""),
    "only NULs": (bytes(20), b""),
}

NAMES = [
    *(
        "ann",
        "Ann-Marie",
        "GET",
        "POST",
        "OPTIONS",
        "CONNECT",
        "SSH",
        "SSH-key",
        "ssh-2.0",
        "EHLO.",
        "Helo",
        "ehlo",
        "HELO2",
    ),
    *(
        "NICK",
        "USER",
        "PASS",
        "CAP",
        "AUTH",
        "MODE",
        "stat",
        "version",
        "PING",
        "INFO",
        "HEAD",
        "RFB",
        "t3",
        "T3",
        "JDWP",
    ),
    *(
        "STOMP",
        "Redis",
        "AMQP",
        "CNXN",
        "JRMI",
        "GIOP",
        "a001",
        "BitTorrent",
        "TLS",
        "SIP",
        "HTTP",
        "MQTT",
        "Zoë",
        "李雷",
    ),
    *("Ärger", "ǅ", "x" * 20),
]


@for_each("kind", SPOKEN)
def test_another_protocol_is_known_by_its_first_words_however_they_are_split(kind):
    spoken, answer = SPOKEN[kind]
    with pytest.raises(NotChat) as caught:
        recognise(without_blanks(spoken))
    assert isinstance(caught.value, CutOff)
    assert caught.value.answer.startswith(answer)
    assert bool(caught.value.answer) == bool(answer)
    assert len(re.findall(b"chat server", caught.value.answer)) == bool(answer)
    head = b""
    with pytest.raises(NotChat):  # noqa: PT012
        for byte in range(len(spoken)):
            head = without_blanks(head + spoken[byte : byte + 1])
            if kind not in ("STOMP", "UTF-32"):
                assert recognise(head) is None, head
            else:
                recognise(head)


def test_every_row_of_the_table_is_spoken_above():
    for protocol in PROTOCOLS:
        if not protocol.dialect:
            assert any(protocol.first.match(without_blanks(spoken)) for spoken, _ in SPOKEN.values()), protocol


@for_each("name", NAMES)
def test_a_persons_name_is_never_taken_for_another_protocol(name):
    for line in (name, f"{name} #lab2", f" {name} ", f"{name}\t#lab2 ", f"/nick {name}"):
        for end in ("\r\n", "\n", "\r", "\r\0"):
            data = (line + end).encode()
            assert recognise(without_blanks(data)) is TextDialect, data
            for at in range(1, len(line.encode().rstrip())):
                assert recognise(without_blanks(data[:at])) is None, data[:at]


@for_each("line", ["GET / HTTP/1.1", "POST /x?y=z HTTP/1.0", "M-SEARCH * HTTP/1.1", "GET  HTTP/1.0", "PRI * HTTP/2.0"])
def test_http_is_known_by_its_first_line_however_it_is_split(line):
    data = f"{line}\r\n".encode()
    assert recognise(without_blanks(data)) is WebDialect
    for at in range(1, data.index(b"HTTP/")):
        assert recognise(without_blanks(data[:at])) is None, data[:at]


@for_each("first", [b"\xff\xfb\x18", b"\xff\xfd\x03ann", b"\xff\xf6", b"an\xff\xf4\xff\xfd\x06", b"x" * (LINE + 1)])
def test_telnet_is_known_by_its_first_command_and_a_line_too_long_is_a_persons(first):
    assert recognise(first) is TextDialect


@for_each("before", ["", "\ufeff", " ", "\t", "\n", "\r\n", "\r", "\r\0", "\ufeff \r\n\ufeff\t", "\r\r\n\n \n"])
def test_a_byte_order_mark_and_blanks_before_the_first_brace_are_skipped_however_they_are_split(before):
    data = before.encode() + b'{"type":"hello"}\n'
    assert recognise(without_blanks(data)) is JsonDialect
    head = b""
    for byte in range(len(before.encode())):
        head = without_blanks(head + data[byte : byte + 1])
        assert recognise(head) is None
        assert len(head) <= 2
    assert recognise(without_blanks(head + b"{")) is JsonDialect


def test_bytes_that_only_begin_like_a_byte_order_mark_are_a_persons():
    for name in ("ａｎｎ", "ﻋﻠﻲ"):
        assert name.encode().startswith(b"\xef")
        assert without_blanks(f"\ufeff {name}\n".encode()) == f"{name}\n".encode()
        assert recognise(f"{name}\n".encode()) is TextDialect


# --- on a server ----------------------------------------------------------------------------------------


def everything(sock: socket.socket) -> bytes:
    data = b""
    while more := sock.recv(65536):
        data += more
    return data


@pytest.mark.parametrize("greeted", [False, True], ids=["at once", "after the greeting"])
def test_a_client_of_another_protocol_is_refused_at_once_and_nothing_of_it_is_said(request, server, greeted):
    request.getfixturevalue("greets_at_once" if greeted else "greets_late")
    witness = server.client("witness")
    for kind, (spoken, answer) in SPOKEN.items():
        client = server.client()
        greeting = (client.line() or "") + "\r\n" if greeted else ""
        client.send_bytes(spoken)
        client.sock.settimeout(WAIT)
        told = client.buffer + everything(client.sock)
        assert told.startswith(answer), kind
        assert bool(told) == bool(answer), kind
        assert told.count(b"chat server") == bool(answer), kind
        assert greeting.startswith("* Welcome") or not greeted
    assert witness.news() == []
    assert "witness" in witness.ask("/who")[2]
    assert server.chat.history.stored == 0


@pytest.mark.usefixtures("greets_late")
@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        ([b"G", b"ET / HT", b"TP/1.1\r\nHost: a\r\n\r\n"], b"HTTP/1.1 "),
        ([b" ", b'{"type":"quit"}\n'], b"Programs skip this line."),
        ([b"an", b"n\r\n"], b"What is your name?"),
    ],
)
def test_a_client_that_speaks_first_is_greeted_as_what_it_is_however_its_words_are_split(server, pieces, answer):
    """A browser cannot read a greeting at all."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT) as sock:
        for piece in pieces[:-1]:
            sock.sendall(piece)
            assert not select.select([sock], [], [], 0.1)[0]
        sock.sendall(pieces[-1])
        with sock.makefile("rb") as answers:
            assert answer in answers.readline()


@pytest.mark.usefixtures("greets_late")
def test_a_client_that_speaks_byte_by_byte_is_greeted_after_a_few(server):
    """To look at its words again for each of thousands of bytes takes seconds, and is not paid for before."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT) as sock:
        for _ in range(100):
            sock.sendall(b"a")
            if select.select([sock], [], [], 0.05)[0]:
                break
        else:
            pytest.fail("it is not greeted")
        assert b"What is your name?" in sock.recv(65536)


@pytest.mark.parametrize(
    "pieces", [[b"\xef", b"\xbb", b"\xbf", b" \r", b"\n"], [b"\xef\xbb", b"\xbf\xef\xbb\xbf"], [b"\r\n", b"\t"]]
)
def test_a_program_and_a_person_may_begin_with_a_byte_order_mark_that_comes_in_pieces(server, pieces):
    def send(client: Client | Program, last: bytes) -> None:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in [*pieces, last]:
            client.sock.sendall(piece)

    program = Program(server.port)
    try:
        send(program, b'{"type":"hello","name":"bob"}\n')
        assert program.expect("welcome")["name"] == "bob"
    finally:
        program.close()
    ann = server.client()
    send(ann, b"ann\r\n")
    ann.expect("* Hello, ann.")


def test_a_scanner_that_asks_for_statistics_gets_a_hint_and_no_name(server):
    scanner = server.client()
    scanner.send("stats")
    scanner.expect("First type your name")
    assert [session.name for session in server.chat.sessions.all()] == [""]


@pytest.mark.parametrize("typed", ["help", "?", "/help", "/who", "/join #lab2", "/frobnicate"])
def test_a_client_that_asks_for_help_in_place_of_a_name_gets_it_and_may_enter(server, typed):
    ann = server.client()
    ann.send(typed)
    ann.expect("There is no command" if typed == "/frobnicate" else "* First type your name, alone or with a room")
    ann.send("/nick ann")
    ann.expect("* Hello, ann.")


def test_asking_for_help_is_no_try_at_a_name(server):
    ann = server.client()
    ann.send("help", "/who", "/help join", "/rooms", "stats", "?", "ann")
    before = ann.upto("* Hello, ann.")
    assert sum(line.startswith("* First type your name") for line in before) == 6
    assert "* /join #room: go to a room; make it if needed." in before


@pytest.mark.parametrize("typed", ["quit", "exit", "/exit", "bye", "QUIT"])
def test_a_client_that_quits_in_place_of_a_name_gets_a_goodbye(server, typed):
    ann = server.client()
    ann.send(typed)
    assert ann.rest()[-1] == "* Goodbye."


@pytest.mark.parametrize("line", [b"\x01default\n", b"a\x07nn\n", b"\x02lp\n", b"ann\x10\n", "ann\u0080\n".encode()])
def test_a_first_line_with_control_characters_is_no_name(server, line):
    client = server.client()
    client.send_bytes(line)
    client.expect("! A name is 1 to 20")


@pytest.mark.parametrize("why", [ServerFull("1000 are connected"), TooManyConnections(3), NoProxyHeader(), TlsOnly()])
@pytest.mark.parametrize("head", [b"", b'{"type": "hello", "name": "ann"}\n', b"ann\r\n"])
def test_what_is_told_in_place_of_the_greeting_is_one_line_for_programs(why, head):
    assert in_place_of_the_greeting(why, head).decode() == f"! {error(events.problem(why))}\r\n"
