"""What a browser's spare connections are told: nothing, until they speak."""

from __future__ import annotations

import pytest
from support.clients import Client
from support.servers import Running
from support.waiting import wait_for

from chat_threads.dialects.base import SILENT
from chat_threads.errors import StartError
from chat_threads.receiver import SPOILT

GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
HELLO = b'{"type":"hello","name":"pia"}\n'


def asks(client: Client) -> None:
    client.send_bytes(GET)
    assert client.line() == "HTTP/1.1 200 OK"


@pytest.fixture
def spare(server) -> Client:
    """A silent connection beside one with a request, after the pause of the greeting."""
    return spare_of(server)


def spare_of(server: Running) -> Client:
    silent, browser = server.client(), server.client()
    asks(browser)
    wait_for(lambda: any(session.views is SILENT for session in server.chat.sessions.all()))
    return silent


@pytest.mark.parametrize(
    ("said", "first"),
    [
        (GET, b"HTTP/1.1 200 OK"),
        (b"\r\n", b"* Welcome"),
        (b"ann\r\n", b"* Welcome"),
        (HELLO, b"* Welcome"),
        (b"EHLO me\r\n", b"554 "),
    ],
    ids=["http", "an empty line", "a name", "a program", "mail"],
)
def test_a_spare_connection_is_told_nothing_until_it_speaks_and_then_what_everybody_is_told(spare, said, first):
    spare.send_bytes(said)
    assert spare.sock.recv(65536).startswith(first)


@pytest.mark.parametrize("how", ["in time", "stopping", "giving way"])
def test_a_spare_connection_ends_without_a_byte(serve, how):
    server = serve(handshake_timeout=0.5 if how == "in time" else 60, max_clients=2 if how == "giving way" else 9)
    spare = spare_of(server)
    if how == "stopping":
        server.chat.stop()
    elif how == "giving way":
        server.client("ann")
    assert spare.rest() == []
    assert spare.buffer == b""


def test_two_silent_connections_at_once_are_greeted_a_little_later_unless_one_asks(server):
    one, other = server.client(), server.client()
    asks(other)
    wait_for(lambda: any(session.views is SILENT for session in server.chat.sessions.all()))
    both = [Client(server.port, source="127.0.0.2") for _ in range(2)]
    server.clients.extend(both)
    for each in both:
        each.expect("* Welcome")
    one.send("")
    one.expect("* Welcome")


def test_a_browser_that_asks_on_a_greeted_connection_is_told_to_load_the_page_again(server):
    early = server.client()
    early.expect("* Welcome")
    early.send_bytes(GET)
    assert early.rest() == [SPOILT.decode().rstrip()]


def test_on_the_port_for_browsers_nobody_is_greeted_before_they_speak(serve):
    server = serve(web_port=0)
    assert server.chat.web_address[1] == server.chat.server.web_port != server.port
    asks(early := Client(server.chat.web_address[1]))
    silent = [Client(server.chat.web_address[1]) for _ in range(3)]
    server.clients.extend([early, *silent])
    person = server.client()
    person.expect("* Welcome")
    assert all(client.nothing_comes(0) for client in silent)
    for client in silent[:2]:
        asks(client)
    silent[2].send("ann", "hello")
    silent[2].expect("] ann: hello")
    assert silent[2].seen[0].startswith("* Welcome")


def test_a_full_server_tells_a_browser_on_its_port_by_http(serve):
    server = serve(web_port=0, max_clients=1)
    server.client("ann")
    browsers = [Client(server.chat.web_address[1]) for _ in range(12)]
    server.clients.extend(browsers)
    for each in browsers:
        each.send_bytes(GET)
    assert {each.line() for each in browsers} <= {"HTTP/1.1 503 Service Unavailable", "HTTP/1.1 200 OK"}


def test_a_port_for_browsers_that_is_in_use_is_named_with_its_option(serve, server):
    with pytest.raises(StartError, match=rf"Port {server.port} is in use .*--web-port"):
        serve(web_port=server.port, db=":memory:")
    serve(db=":memory:")
