"""WebSockets and HTTP on a running server: how connections end, and who gets a place."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from driver.websocket import CLOSE, FIN, PONG, TEXT
from support.clients import LONG, TINY, Client
from support.samples import for_each
from support.servers import Running
from support.waiting import WAIT, wait_for
from support.web import Frame, WebSocket, framed, get

from chat_threads.addresses import networks
from chat_threads.dialects.web import CLOSE_CODES, ROUTES
from chat_threads.disconnects import ServerFull, TooSlow
from chat_threads.events import Event, WireBytes
from chat_threads.session import Session

Open = Callable[..., WebSocket]


@pytest.fixture
def web() -> Iterator[Open]:
    """WebSockets that are closed at the end: web(server, "ann", room="#a")."""
    with contextlib.ExitStack() as stack:

        def start(server: Running, name: str | None = None, receive_buffer: int = 0, **more: object) -> WebSocket:
            opened = stack.enter_context(contextlib.closing(WebSocket(server.port, receive_buffer)))
            if name is not None:
                opened.send(type="hello", name=name, **more)
                opened.expect("joined")
            return opened

        yield start


def behind(server: Running, name: str) -> Session:
    """A session whose socket takes little."""
    found = server.chat.sessions.named(name)
    found.wire._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, TINY)
    return found


def ending(client: WebSocket) -> list[Frame]:
    """The last frames: the text, as the types of its lines, and the Close. All before them are whole."""
    frames = []
    while found := client.frame():
        frames.append(found)
    text, close = frames[-2:]
    assert (text[0], close[0]) == (FIN | TEXT, FIN | CLOSE)
    lines = [json.loads(line) for line in text[1].splitlines()][-2:]
    reason = close[1][2:].decode()
    assert (lines[-1]["type"], lines[-1]["reason"]) == ("bye", reason)
    assert client.close_code == CLOSE_CODES[reason]
    assert reason == "quit" or (lines[0]["type"], lines[0]["code"]) == ("error", reason)
    return frames


def answers(server: Running, *requests: bytes, before: bytes = b"", half: bool = False) -> bytes:
    """All that comes back on one connection."""
    with socket.create_connection(("127.0.0.1", server.port), WAIT) as sock:
        sock.sendall(before + b"".join(requests))
        if half:
            sock.shutdown(socket.SHUT_WR)
        found = b""
        while more := sock.recv(65536):
            found += more
        return found


# --- in a room ------------------------------------------------------------------------------------------------


def test_a_browser_a_program_and_a_person_are_in_one_room(server, web, program):
    ann, bob, cid = web(server, "ann"), program("bob", server=server), server.client("cid")
    ann.send(type="say", text="héllo", ref="1")
    ann.expect("ack", ref="1")
    assert bob.expect("message")["text"] == "héllo"
    cid.expect("ann: héllo")
    cid.send("hi", "/nick carl")
    assert ann.expect("message")["from"] == "cid"
    ann.expect("presence", kind="renamed", new="carl")
    ann.send({"type": "nick", "name": "anna"}, {"type": "set", "option": "joins", "value": "off"})
    assert ann.expect("notice")["name"] == "anna"
    bob.send(type="ignore", name="anna")
    bob.expect("notice")
    ann.ask(type="ignore", name="bob")
    assert ann.ask(type="threads")[-1]["code"] == "not_allowed", "it is not local, whatever its address"
    bob.ask({"type": "say", "text": "unheard"}, {"type": "nick", "name": "rob"})
    ann.send(type="say", text="unheard, too")
    cid.expect("anna: unheard, too")
    cid.send("over")
    assert [each["text"] for each in ann.upto("message", text="over")[-1:]] == ["unheard, too"]
    assert "presence" not in [each["type"] for each in ann.seen[-3:]]
    assert [each["type"] for each in bob.upto("message", text="over")] == []


def test_with_a_thread_for_each_writer_and_all_that_is_recorded_it_is_the_same(serve, web, tmp_path):
    server = serve(writers=None, trace=str(tmp_path / "trace"), lab=True)
    ann, bob = web(server, "ann"), web(server, "bob")
    ann.expect("presence", names=["bob"])
    ann.send(type="say", text="hi", ref="1")
    number = ann.expect("ack")["number"]
    bob.expect("message", text="hi")
    assert {"ann", "bob"} <= {each["session"] for each in ann.ask(type="threads")[-1]["threads"]}
    wait_for(lambda: len(ann.ask(type="trace", number=number)[-1].get("members", ())) == 2)
    bob.send(type="quit")
    ending(bob)


# --- how it ends -----------------------------------------------------------------------------------------------


def replaced(server: Running, ann: WebSocket, web: Open) -> None:
    web(server).send(type="hello", token=ann.seen[0]["token"])


END = {
    "quit": lambda server, ann, web: ann.send(type="quit", ref="7"),
    "replaced": replaced,
    "shutting_down": lambda server, ann, web: server.chat.stop(),
    "too_slow": lambda server, ann, web: server.chat.sessions.named("ann").cut_off(TooSlow()),
}


@for_each(("reason", "end"), END.items())
def test_the_last_words_are_a_line_and_then_a_close(serve, web, tmp_path, reason, end):
    server = serve(db=str(tmp_path / reason))
    ann = web(server, "ann")
    end(server, ann, web)
    frames = ending(ann)
    assert ann.close_code == CLOSE_CODES[reason]
    assert len(frames) == 2


@for_each("by", ["too_slow", "replaced", "its queue", "shutting_down"])
def test_a_client_that_is_behind_gets_whole_frames_and_then_the_reason(serve, web, tmp_path, by):
    server = serve(queue_limit=400, db=str(tmp_path / by))
    ann, talker = web(server, "ann", receive_buffer=TINY), server.client("talker")
    slow = behind(server, "ann")
    said = 0
    while not (slow.reason if by == "its queue" else slow.mailbox.under_way and slow.mailbox.lines):
        talker.ask("\r\n".join([LONG] * 20))
        said += 20
        assert said < 20_000
    if by in END:
        ends = threading.Thread(target=END[by], args=(server, ann, web))
        ends.start()
    ending(ann)
    assert ann.close_code == CLOSE_CODES["too_slow" if by == "its queue" else by]
    if by in END:
        ends.join()


def test_when_its_room_is_deleted_a_client_that_is_behind_gets_all_of_it_in_whole_frames(serve, web):
    server = serve(queue_limit=4000)
    talker = server.client("talker")
    talker.ask("/create #lab")
    ann = web(server, "ann", receive_buffer=TINY, room="#lab", replay=0)
    slow = behind(server, "ann")
    said = 0
    while not slow.mailbox.under_way:
        talker.ask("\r\n".join([LONG] * 20))
        said += 20
    talker.ask("/delete #lab yes")
    assert len([each for each in ann.upto("deleted") if each["type"] == "message"]) == said
    assert ann.expect("joined")["room"] == "#lobby"


def test_a_client_that_says_no_name_is_told_in_time(serve, web):
    ann = web(serve(handshake_timeout=0.5))
    ann.send(type="ping")
    ann.ping()
    ending(ann)
    assert ann.close_code == CLOSE_CODES["no_handshake"]


@for_each("sent", [framed(b"x" * 100)[:20], framed(b"x", TEXT)])
def test_a_message_has_to_end_in_time_and_pings_and_fragments_do_not_help(serve, web, tmp_path, sent):
    ann = web(serve(line_timeout=0.5, db=str(tmp_path / f"{sent[0]}")), "ann")
    ann.sock.sendall(sent)
    ann.sock.settimeout(0.05)
    while ann.close_code is None:
        with contextlib.suppress(TimeoutError, ConnectionError):
            assert ann.frame()
        with contextlib.suppress(OSError):
            ann.sock.sendall(b"x" if sent[0] & FIN else framed(b"x", 0) + framed(b"", FIN | 9))
    assert ann.close_code == CLOSE_CODES["unfinished_line"]


def test_what_a_client_sends_after_its_close_or_after_ours_is_not_carried_out(server, web):
    (bob,) = server.clients_named("bob")
    say = framed(b'{"type":"say","text":"too late"}')
    for close, more, answer in (
        (framed(b"\x0f\xa0bye", FIN | CLOSE), say * 2000, (FIN | CLOSE, b"\x0f\xa0bye")),
        (framed(b"", FIN | CLOSE), b"\xff" * 100_000, (FIN | CLOSE, b"")),
        (framed(b'{"type":', TEXT) + framed(b"", FIN | CLOSE), say, None),  # in a message: of no matter which code
    ):
        ann = web(server, "ann")
        ann.sock.sendall(close + more)
        closed = ann.frame()
        assert closed[0] == FIN | CLOSE
        assert answer in (None, closed)
        assert ann.frame() is None
        bob.expect("* ann left")
    ann = web(server, "ann")
    ann.send(type="quit")
    ann.sock.sendall(say * 2000)
    ending(ann)
    bob.expect("* ann left")
    assert bob.news() == []
    assert not [each for each in bob.seen if "too late" in each]


def test_nothing_follows_our_close_though_the_server_stops_at_that_moment(server, web):
    ann, bob = web(server, "ann"), web(server, "bob")
    server.chat.server.stopping.set()
    for each in (ann, bob):
        each.sock.sendall(framed(b"", FIN | CLOSE))
        while each.frame()[0] != FIN | CLOSE:
            pass
        assert each.frame() is None


def test_a_client_that_only_reads_on_gets_what_it_asked_for_before_the_end(server, web):
    ann = web(server, "ann")
    ann.send({"type": "say", "text": "last", "ref": "1"}, {"type": "ping", "ref": "2"})
    ann.ping(b"3")
    ann.shut()
    frames = []
    while found := ann.frame():
        frames.append(found)
    assert (FIN | PONG, b"3") in frames
    lines = [json.loads(line) for first, text in frames if first == FIN | TEXT for line in text.splitlines()]
    assert {"1", "2"} <= {each.get("ref") for each in lines}
    assert ann.close_code is None, "it is gone, and nobody says anything to it"


# --- who gets a place --------------------------------------------------------------------------------------------


def test_on_a_full_server_a_browser_gets_the_page_and_comes_in_with_its_token(serve, web, monkeypatch):
    server = serve(max_clients=1)
    ann = web(server, "ann")
    token = ann.seen[0]["token"]
    assert answers(server, get("/healthz", server.port, "Connection: close\r\n")).startswith(b"HTTP/1.1 200 ")
    page = answers(server, get("/", server.port))
    assert page.startswith(b"HTTP/1.1 200 ")
    assert page.count(b"HTTP/1.1 ") == 1, "nothing but the answer"
    assert answers(server, get("/", server.port)[:-1]).startswith(b"HTTP/1.1 503 ")
    monkeypatch.setattr("chat_threads.conversation.TOKEN_PAUSE", WAIT)  # however busy the machine is
    stranger = web(server)
    stranger.send(type="hello", name="eve")
    ending(stranger)
    assert stranger.close_code == CLOSE_CODES["server_full"]
    back = web(server)
    back.send(type="hello", token=token)
    back.expect("welcome", name="ann")
    ending(ann)


def test_an_idle_connection_of_a_browser_gives_way_without_a_word(serve, web):
    server = serve(max_clients=1)
    with socket.create_connection(("127.0.0.1", server.port), WAIT) as idle:
        idle.sendall(get("/nope", server.port) + get("/nope", server.port))
        found = b""
        while found.count(b"no such page") < 2:
            found += idle.recv(65536)
        ann = web(server, "ann")
        assert idle.recv(65536) == b""
    assert ann.ask(type="ping")[0]["type"] == "pong"


def test_an_idle_connection_of_a_browser_ends_without_a_word_when_no_name_comes(serve):
    server = serve(handshake_timeout=0.5)
    found = answers(server, get("/nope", server.port))
    assert found.endswith(b"There is no such page. The chat is at /.\n")


def test_connections_of_an_address_count_whatever_they_speak(serve, web):
    server = serve(per_address=1)
    ann = web(server, "ann")
    refused = Client(server.port)
    assert "too many connections" in refused.rest()[0]
    ann.send(type="quit")
    ending(ann)
    ann.close()
    wait_for(lambda: len(server.chat.sessions) == 0)
    assert answers(server, get("/nope", server.port, "Connection: close\r\n")).startswith(b"HTTP/1.1 404")


def test_a_browser_that_is_refused_at_once_is_told_by_http_if_its_request_has_come(server, monkeypatch):
    """The acceptor refuses it, and does not wait for a request."""
    told, full = {}, ServerFull("1 are connected")
    monkeypatch.setattr(server.chat.server, "_ready", server.chat.server.socket)
    for first in (get("/", server.port), b"", b"{", b"ann\n"):
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            theirs = stack.enter_context(socket.create_connection(listener.getsockname(), WAIT))
            ours = stack.enter_context(listener.accept()[0])
            theirs.sendall(first)
            server.chat.server._refuse(ours, ("127.0.0.1", 1), full)
            told[first] = theirs.recv(65536)
            server.chat.server._refused.clear()
    answer, *others = told.values()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert others == [b"! " + full.text.encode() + b"\r\n"] * 3


def test_a_proxys_header_comes_before_http_and_names_the_client(serve):
    server = serve(proxies=networks("127.0.0.1"))
    header = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 8080\r\n"
    close = "Connection: close\r\n"
    assert answers(server, get("/nope", server.port, close), before=header).startswith(b"HTTP/1.1 404")
    assert answers(server, get("/metrics", server.port, close), before=header).startswith(b"HTTP/1.1 403")
    assert answers(server, get("/", server.port)).startswith(b"! Connections from your address must begin with")
    ann = WebSocket(server.port, before=header)
    with contextlib.closing(ann):
        ann.send(type="hello", name="ann")
        ann.expect("joined")
        assert server.chat.sessions.named("ann").address == "192.0.2.7"


def test_requests_on_a_connection_of_a_browser_pay_and_a_websocket_goes_on_paying(serve, web):
    server = serve(rate=1.0, burst=3)
    with socket.create_connection(("127.0.0.1", server.port), WAIT) as sock:
        sock.sendall(get("/nope", server.port) * 20)
        wait_for(lambda: any(session.pace.tokens < 0 for session in server.chat.sessions.all()))
    ann = web(server, "ann")
    ann.sock.sendall(framed(b"", FIN | 9) * 600)
    wait_for(lambda: server.chat.sessions.named("ann").pace.tokens < 0)


@pytest.mark.parametrize("end", ["too slow", "no name in time"])
def test_pages_that_a_client_asks_for_and_does_not_read_are_not_in_memory(serve, monkeypatch, end):
    """One read has room for more than a hundred requests, and a page has 100 kB."""
    server = serve(send_timeout=0.5) if end == "too slow" else serve(rate=1.0, burst=1, handshake_timeout=0.5)
    sent: list[int] = []
    send = Session.send

    def counted(session: Session, *shown: Event) -> object:
        if not session.ended.is_set():
            sent.extend(len(each.data) for each in shown if isinstance(each, WireBytes))
        return send(session, *shown)

    monkeypatch.setattr(Session, "send", counted)
    monkeypatch.setitem(ROUTES, "/", lambda *_: WireBytes(bytes(200_000)))
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, TINY)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 140)
        wait_for(lambda: sent, "the first page")
        wait_for(lambda: len(server.chat.sessions) == 0, "the end of the client")
    assert sum(sent) < 10_000_000, "what the system keeps for a socket, and little more"
