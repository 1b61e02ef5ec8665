"""Addresses: a server on both families, how an address is written, and how many may come from one."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import subprocess
import sys
import threading

import pytest
from support.clients import Client
from support.servers import needs
from support.waiting import WAIT, wait_for

from chat_threads.addresses import bare, is_local, network, networks, plain
from chat_threads.client.connection import Connection
from chat_threads.errors import StartError

AGAIN = "! There are too many connections from your address: at most {} are allowed. Close one, then connect again."


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


# --- what an address is -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("0:0:0:0:0:ffff:127.0.0.1", "127.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("::1", "::1"),
        ("a path", "a path"),
        ("", ""),
    ],
)
def test_an_ipv4_address_is_written_as_one_however_it_came(address, written):
    assert plain(address) == written


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a path", "a path"),
    ],
)
def test_ipv6_addresses_count_by_their_first_half(address, counted):
    assert network(address) == counted


@pytest.mark.parametrize(
    ("peer", "own", "local"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.9", "127.0.0.1", True),
        ("192.0.2.2", "192.0.2.2", True),
        ("192.0.2.2", "::ffff:192.0.2.2", True),
        ("192.0.2.3", "192.0.2.2", False),
        ("::1", "::1", True),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.2", True),
        ("::ffff:192.0.2.3", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", False),
        ("", "127.0.0.1", False),
    ],
)
def test_a_connection_is_local_by_a_loopback_address_or_the_servers_own(peer, own, local):
    assert is_local(peer, own) is local


@pytest.mark.parametrize(
    ("typed", "host"), [("[::1]", "::1"), ("[::]", "::"), ("::1", "::1"), ("localhost", "localhost"), ("[::1", "[::1")]
)
def test_an_address_may_be_typed_in_brackets(typed, host):
    assert bare(typed) == host


@pytest.mark.parametrize(
    ("typed", "inside", "outside"),
    [
        ("192.0.2.1", ["192.0.2.1", "::ffff:192.0.2.1"], ["192.0.2.2", "", "a path", "::1"]),
        ("10.0.0.0/8, ::1", ["10.1.2.3", "::1"], ["11.0.0.1", "::2", "0.0.0.1"]),
        ("10.1.2.3/8", ["10.9.9.9"], ["11.0.0.1"]),
        ("[2001:db8::1]", ["2001:db8::1"], ["2001:db8::2"]),
        ("fe80::/64", ["fe80::1%eth0"], ["fe81::1%eth0"]),
        ("::ffff:192.0.2.0/120", ["192.0.2.9"], ["192.0.3.9"]),
        ("0.0.0.0/0", ["192.0.2.1"], ["2001:db8::1"]),
    ],
)
def test_networks_are_typed_with_commas_between_them(typed, inside, outside):
    found = networks(typed)
    assert all(each in found for each in inside)
    assert not any(each in found for each in outside)


@pytest.mark.parametrize("typed", ["", "localhost", "10.0.0.1,", "10.0.0.0/33", "10.0.0.1 10.0.0.2", "::1%eth0/64"])
def test_an_invalid_network_is_refused(typed):
    with pytest.raises(ValueError, match=r"does not appear to be an IPv4 or IPv6 network|has a zone"):
        networks(typed)


# --- a server on IPv6 ---------------------------------------------------------------------------------------


@needs_ipv6
@pytest.mark.parametrize("host", ["::", "[::]", "0:0::0"])
def test_a_server_on_all_ipv6_addresses_serves_ipv4_too_and_shows_it_as_that(serve, program, host, caplog):
    caplog.set_level(logging.INFO, "chat_threads")
    server = serve(host=host)
    with Client(server.port, "six", "::1") as six, Client(server.port, "four", "127.0.0.1") as four:
        six.expect("four joined")
        store = server.chat.sessions
        assert {name: store.named(name).address for name in ("six", "four")} == {"six": "::1", "four": "127.0.0.1"}
        assert all(store.named(name).local for name in ("six", "four"))
        for client in (six, four):
            assert any("acceptor" in line for line in client.ask("/threads"))
    assert sorted(line.rpartition(" ")[2] for line in caplog.messages if " begins from " in line) == [
        "127.0.0.1",
        "::1",
    ]


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_one_ipv6_address_may_be_listened_on_with_or_without_brackets(serve, host):
    server = serve(host=host)
    assert server.chat.address[0] == "::1"
    with Client(server.port, "ann", "::1") as ann:
        assert any("ann: hi" in line for line in ann.ask("hi"))
    with pytest.raises(ConnectionRefusedError):
        Client(server.port, "bob", "127.0.0.1")


@needs_ipv6
def test_an_ipv4_address_may_be_listened_on_through_ipv6(serve):
    server = serve(host="::ffff:127.0.0.1")
    with Client(server.port, "ann", "127.0.0.1") as ann:
        assert any("ann: hi" in line for line in ann.ask("hi"))


def test_a_name_is_listened_on_by_whatever_family_it_has(serve, monkeypatch):
    """By IPv4 if it has both, as most clients try."""
    found = socket.getaddrinfo

    def look_up(host, *more, **options):
        return found("127.0.0.1", *more, **options) if host == "chat.invalid" else found(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert serve(host="chat.invalid").chat.address[0] == "127.0.0.1"


@needs_ipv6
def test_a_name_that_has_ipv6_alone_is_listened_on(serve, tmp_path, monkeypatch):
    found = socket.getaddrinfo

    def look_up(host, *more, **options):
        return found("::1", *more, **options) if host == "chat.invalid" else found(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert serve(host="chat.invalid", db=str(tmp_path / "other.db")).chat.address[0] == "::1"


@pytest.mark.parametrize(
    "host", ["[::1", "::1]", "[127.0.0.1", "no.such.host.invalid", "..", ".", "x" * 64 + ".org", "\udcff"]
)
def test_an_invalid_address_is_reported(serve, host):
    with pytest.raises(StartError, match="cannot be resolved"):
        serve(host=host)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "..", "x" * 64 + ".org", "\udcff"])
def test_a_client_of_an_invalid_address_does_not_reach_it(host):
    with pytest.raises(socket.gaierror):
        Connection(host, 1, WAIT)


BOTH = """
import socket, sys
with open("/proc/sys/net/ipv6/bindv6only", "w") as file:
    file.write("1")
from chat_threads.chat import Chat, Options
chat = Chat(Options(host="::", port=0, db=":memory:"))
chat.start()
for host in ("127.0.0.1", "::1"):
    with socket.create_connection((host, chat.address[1]), 20) as sock:
        assert sock.recv(100).startswith(b"* Welcome"), host
assert chat.stop() == []
print("both")
"""


@needs_ipv6
def test_ipv4_is_served_too_where_the_system_would_have_ipv6_alone():
    """In a network namespace of its own, where that can be set."""
    if os.name != "posix" or not sys.platform.startswith("linux"):
        pytest.skip("network namespaces are Linux's")
    script = 'ip link set lo up && exec "$@"'
    command = [needs("unshare"), "-n", "sh", "-c", script, "sh", sys.executable, "-c", BOTH]
    needs("ip")
    if subprocess.run([needs("unshare"), "-n", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace may be made here")
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * WAIT, check=False)
    assert done.stdout == "both\n", done.stderr


# --- how many come from one address -------------------------------------------------------------------------


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere 127.0.0.2 is no address")


@linux
def test_connections_above_per_address_get_an_error_and_others_enter(serve):
    server = serve(per_address=2)
    with Client(server.port, "ann", source="127.0.0.1") as ann, Client(server.port, source="127.0.0.1") as nameless:
        nameless.expect("What is your name?")
        for _ in range(20):
            with Client(server.port, source="127.0.0.1") as more:
                assert more.rest() == [AGAIN.format(2)]
        with Client(server.port, "bob", source="127.0.0.2"):
            ann.expect("bob joined")
        nameless.send("cy")
        ann.expect("cy joined")
        nameless.send("/quit")
        nameless.rest()
        wait_for(lambda: server.chat.server.door._from["127.0.0.1"] == 1)
        with Client(server.port, "dan", source="127.0.0.1"):
            ann.expect("dan joined")
    wait_for(lambda: not server.chat.server.door._from)


@needs_ipv6
def test_the_same_address_counts_once_whatever_the_family_it_came_by(serve):
    server = serve(host="::", per_address=1)
    with Client(server.port, "ann", source="127.0.0.1"), Client(server.port, source="127.0.0.1") as more:
        assert more.rest() == [AGAIN.format(1)]
    with Client(server.port, "bob", "::1"), Client(server.port, None, "::1") as more:
        assert more.rest() == [AGAIN.format(1)]


def test_a_connection_for_which_no_thread_starts_has_no_place(serve, monkeypatch):
    server = serve(per_address=1)
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("reader-"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    for _ in range(3):
        with Client(server.port) as refused:
            assert "no thread could be started" in (refused.line() or "")
    monkeypatch.undo()
    assert server.client("ann").ask("hi")


def test_without_the_option_an_address_has_all_places(serve):
    server = serve(max_clients=40)
    for number in range(40):
        server.client(f"guest{number}")


def test_an_address_of_a_family_that_the_system_lacks_is_reported_in_one_line(serve, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr("chat_threads.server.socketserver.ThreadingTCPServer.__init__", refuse)
    with pytest.raises(StartError, match="Cannot listen on ::1 port 0: Address family not supported by protocol"):
        serve(host="::1")
