"""The client for programs: its calls, its events, and reconnecting without a hole or a repeat."""

from __future__ import annotations

import collections
import contextlib
import doctest
import json
import random
import socket
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest
from support.clients import whole
from support.relay import Log, Relay
from support.servers import free_port
from support.waiting import WAIT, wait_for

from chat_threads import client, events, tokens
from chat_threads.client import (
    Ack,
    Client,
    ClientError,
    Disconnected,
    Entered,
    Message,
    Offline,
    Online,
    Other,
    Presence,
    PrivateLine,
    Refused,
    TimedOut,
    TopicChanged,
    Unread,
    link,
)
from chat_threads.client.decoding import decode
from chat_threads.dialects import codec
from chat_threads.dialects.jsonlines import JsonDialect
from chat_threads.errors import ChatThreadsError


@pytest.fixture
def relay() -> Iterator[Callable[..., Relay]]:
    """Stand between a server's port and clients: relay(server.port)."""
    started: list[Relay] = []

    def start(port: int, seed: int = 0) -> Relay:
        started.append(Relay(port, random.Random(seed)))
        return started[-1]

    yield start
    for each in started:
        each.close()


class Fake:
    """A server of one conversation after the other, each as a script says: ``serve`` is called with a file to
    read lines from and a function to send objects with."""

    def __init__(self, *scripts: Callable[[Any, Callable[..., None]], None]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._scripts = scripts
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for script in self._scripts:
            try:
                sock = self._listener.accept()[0]
            except OSError:
                return
            with sock, sock.makefile("rb") as lines:
                sock.settimeout(WAIT)

                def send(*objects: Any, sock: socket.socket = sock) -> None:
                    for each in objects:
                        sock.sendall(each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n")

                with contextlib.suppress(OSError):
                    script(lines, send)

    def close(self) -> None:
        self._listener.close()
        self._thread.join(WAIT)


@pytest.fixture
def fake() -> Iterator[Callable[..., Fake]]:
    """A scripted stand-in for a server: fake(script, …), where script(lines, send) is one conversation."""
    started: list[Fake] = []

    def start(*scripts: Callable[[Any, Callable[..., None]], None]) -> Fake:
        started.append(Fake(*scripts))
        return started[-1]

    yield start
    for each in started:
        each.close()


WELCOME = {"type": "welcome", "name": "ann", "token": "t", "version": "1", "motd": [], "limits": {"refs": 256}}


def joined(room: str, last: int = 0) -> dict[str, Any]:
    return {"type": "joined", "room": room, "topic": "", "people": [], "count": 0, "last": last}


def message(number: int, text: str = "hi", room: str = "#lab") -> dict[str, Any]:
    at = "2026-11-23T09:32:25.015Z"
    return {"type": "message", "room": room, "number": number, "at": at, "from": "bob", "kind": "say", "text": text}


def requests(lines: Any) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in lines)


# --- what comes -----------------------------------------------------------------------------------------

AT = 1_795_426_345_015
SAID = Message(0, "#lab", 7, AT, "ann", "action", "wäves")
EVENTS = (
    SAID,
    events.Welcome("ann", ("be kind",), "1.0.0", "secret"),
    events.Entered("#lab", "locks", ("bob", "cy"), 12, 7),
    events.Current("#lab"),
    events.Departed("#lab", None),
    events.Departed("#lab", "#lobby"),
    events.Presence("#lab", "joined", ("bob", "cy")),
    events.Presence("#lab", "left", ("bob",), "good night"),
    events.Renamed("bob", "rob"),
    events.TopicChanged("#lab", "bob", "locks"),
    events.TopicShown("#lab", ""),
    events.Redacted("#lab", 7, "bob"),
    events.AuditList(None, (events.AuditRow(AT, "#lab", "ann", "ban", "bob", "rude"),)),
    events.RoomDeleted("#lab", "bob", "#lobby"),
    events.Moderated("#lab", "ann", "ban", "bob", "rude", 7200),
    events.RoomSet("#lab", "ann", "quiet"),
    events.RoomShown("#lab", ("public", "quiet"), "ann", ("bob",)),
    events.SanctionList("#lab", (events.SanctionRow("bob", "ban", "ann", "rude", None),)),
    events.PrivateLine(AT, "ann", "bob", "psst"),
    events.Invited("bob", "#lab"),
    events.HistoryPage("#lab", (SAID, SAID), 9, 7, None),
    events.SearchPage("wäves", (SAID,), True),
    events.RoomList((events.RoomRow("#lab", 2, 7, "locks"),), 3),
    events.PeopleList(None, (events.PersonRow("ann", ("#lab", "#b"), 1.5, None),), 1),
    events.PersonShown(events.PersonRow("ann", (), 0.0, "at lunch"), 12.25),
    events.QrShown("http://192.168.1.5:8080/#lab", ("010", "001")),
    events.StatsShown("1.0.0", 3.5, 2, 1, 7, 9, 0.7),
    events.ThreadList(
        (
            events.ThreadRow("history", "history", None, "commits", 0.5, "storage.py:9 commit", 3, 40, None, None),
            events.ThreadRow("reader-1", "reader", "ann", "waits for input", 2.0, "wire.py:70 read", 0, 7, 12, 450),
        ),
        1,
    ),
    events.LockList(True, (events.LockRow("Publisher", 12, 3, 0.5, 0.25, "history", 0.125, ("reader-1", "main")),)),
    events.LockList(True, (events.LockRow("Publisher", 12, 3, 0.5, 0.25, None, None),)),
    events.LockList(False, ()),
    events.TripShown(
        "#lab",
        12,
        "ann",
        events.Stages(0.25, 0.5, 1.5, None),
        (events.MemberTrip("bob", 2.0, 2.5), events.MemberTrip("cy", 2.0, None)),
        0,
    ),
    events.TokenShown("secret"),
    events.Restored(("numbers on", "replay 3")),
    events.Pong(0.001, None),
    events.Ack(),
    events.Ack("#lab", 7),
    events.Notice("done"),
    events.Notice("done", "1234567890123456", "ann", "#lab", "delete"),
    events.Problem("busy", "it takes long"),
    events.Problem("unknown_room", "no such room", "#lap", "#lab", 2),
    events.Bye("too_slow"),
)


def lines_of(event: events.Event) -> list[bytes]:
    return JsonDialect().views.here.encode((event,)).splitlines()


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_comes_back_from_its_line_as_it_was(event):
    [line] = lines_of(event)
    assert decode(line)[0] == event


def test_every_event_that_the_server_shows_a_program_is_among_those():
    assert {kind for kind in codec.FORMS if issubclass(kind, events.Event)} == {type(event) for event in EVENTS}


def test_ones_own_copy_of_a_private_line_is_known_by_its_ref():
    [line] = lines_of(events.Answer(PrivateLine(AT, "ann", "bob", "psst", sent=True), "1"))
    assert decode(line)[0] == PrivateLine(AT, "ann", "bob", "psst", sent=True)


def test_an_object_of_another_type_becomes_an_event_with_all_its_fields():
    assert decode(b'{"type":"news","of":["today"]}')[0] == Other("news", {"type": "news", "of": ["today"]})


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"1", b"{}", b'{"type":[]}', b'{"type":"message"}', b'{"type":"ack"', b"\xff", b"[" * 100_000,
     b'{"type":"message","room":"#a","number":"x","at":"","from":"","kind":"say","text":""}',
     b'{"type":"who","room":null,"people":1,"more":0}', b'{"type":"welcome","name":"a","motd":1,"version":"1"}'],
)  # fmt: skip
def test_a_line_outside_the_protocol_is_a_value_error(line):
    with pytest.raises(ValueError):  # noqa: PT011
        decode(line)


def test_no_string_that_comes_can_harm_a_terminal():
    line = json.dumps({**message(1, "\x1b[2Jhi\r\n\u202e\x9b31mall"), "from": "b\x07o\nb"}).encode()
    event = decode(line)[0]
    assert (event.text, event.sender) == ("hi\nall", "bo b")  # which the text view marks, see test_blocks
    assert decode(json.dumps({"type": "notice", "text": "a\n* b"}).encode())[0].text == "a * b"
    other = decode(json.dumps({"type": "help", "requests": [["\x1bsay"]]}).encode())[0]
    assert other.fields["requests"] == [["say"]]


# --- what is asked --------------------------------------------------------------------------------------


def test_the_examples_in_the_docstrings_are_true(server):
    """They are written with port 8080, and run here against a server on another one."""
    finder = doctest.DocTestFinder()
    parser = doctest.DocTestParser()
    ann = Client("127.0.0.1", server.port, name="first")
    ann.close()
    found = [each for each in finder.find(Client) if each.examples]
    assert [each.name for each in found[:1]] == ["Client"]
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    names: dict[str, Any] = {}
    order = ["Client", "Client.events", "Client.submit", "Client.request", "Client.join", "Client.rooms",
             "Client.history"]  # fmt: skip
    by_name = {each.name: each for each in found}
    assert sorted(by_name) == sorted(order)
    for name in order:
        source = by_name[name].docstring.replace("8080", str(server.port)).replace(">>> chat.close()", "")
        test = parser.get_doctest(source, names, name, None, 0)
        runner.run(test, clear_globs=False)
        names |= test.globs
        names |= {"Message": Message}
    names["chat"].close()
    assert (runner.failures, runner.tries > 15) == (0, True)


def test_a_client_says_reads_pages_and_searches(server, connect):
    ann, bob = connect(server, "ann", room="#lab"), connect(server, "bob", room="#lab")
    assert [ann.say("#lab", "hi bob"), ann.action("#lab", "waves")] == [1, 2]
    assert [(event.number, event.sender, event.kind, event.text) for event in said(bob, 2)] == [
        (1, "ann", "say", "hi bob"),
        (2, "ann", "action", "waves"),
    ]
    page = bob.history("#lab")
    assert ([each.text for each in page.messages], page.last) == (["hi bob", "waves"], 2)
    assert [each.text for each in bob.history("#lab", before=2).messages] == ["hi bob"]
    assert [each.text for each in bob.search("bob", sender="ann").messages] == ["hi bob"]
    assert bob.search("bob", sender="bob").messages == ()


def said(reader: Client, count: int) -> list[Message]:
    """The next messages that a client hears."""
    found: list[Message] = []
    for event in reader.events(timeout=WAIT):
        if isinstance(event, Message):
            found.append(event)
            if len(found) == count:
                return found
    raise AssertionError(f"only {found} came")


def heard(reader: Client, kind: type[events.Event]) -> Any:
    """The next event of this kind."""
    for event in reader.events(timeout=WAIT):
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind} came")


def test_rooms_are_made_left_and_deleted(server, connect):
    ann, bob = connect(server, "ann"), connect(server, "bob")
    assert ann.room == "#lobby"
    assert ann.create("#lab", "locks").topic == "locks"
    assert ann.room == "#lab"
    assert isinstance(ann.join("#lobby"), events.Current)
    assert ann.room == "#lobby"
    assert bob.join("#lab").others == ("ann",)
    assert bob.topic("#lab") == "locks"
    bob.set_topic("queues", "#lab")
    assert heard(ann, TopicChanged) == TopicChanged("#lab", "bob", "queues")
    assert {row.room: row.people for row in ann.rooms()} == {"#lab": 2, "#lobby": 2}
    assert [person.name for person in ann.who("#lab")] == ["ann", "bob"]
    assert ann.leave("#lab") == events.Departed("#lab", "#lobby")
    bob.invite("ann", "#lab")
    assert heard(ann, events.Invited) == events.Invited("bob", "#lab")
    ann.delete("#lab")
    assert heard(bob, events.RoomDeleted).now_in == "#lobby"
    assert bob.room == "#lobby"
    with pytest.raises(Refused) as refused:
        ann.history("#lab")
    assert (refused.value.code, refused.value.room) == ("unknown_room", "#lab")


def test_the_calls_about_people_do_what_they_say(server, connect):
    ann, bob = connect(server, "ann"), connect(server, "bob")
    assert ann.private("bob", "psst").sent
    assert heard(bob, PrivateLine).text == "psst"
    bob.nick("Zoe\u0308")
    assert bob.name == "Zoë", "as the server keeps it"
    assert heard(ann, events.Renamed) == events.Renamed("bob", "Zoë")
    bob.away("at lunch")
    assert ann.whois("Zoë").person.away == "at lunch"
    bob.back()
    assert ann.whois("Zoë").person.away is None
    bob.ignore("ann")
    ann.say("#lobby", "unheard")
    bob.unignore("ann")
    ann.say("#lobby", "heard")
    assert [each.text for each in said(bob, 1)] == ["heard"]
    assert ann.stats().sessions == 2
    assert ann.ping().through < WAIT


def test_a_text_without_a_room_goes_to_the_current_room(server, connect):
    ann = connect(server, "ann", room="#lab")
    assert ann.request("say", text="here") == Ack("#lab", 1)
    ann.join("#lab2")
    assert ann.request("action", text="waves") == Ack("#lab2", 1)
    asked = [ann.submit("join", room="#lab"), ann.submit("say", text="there"), ann.submit("leave")]
    asked.append(ann.submit("say", text="here again"))
    assert [asked[1].result(WAIT), asked[3].result(WAIT)] == [Ack("#lab", 2), Ack("#lab2", 2)]


@pytest.mark.parametrize(
    ("options", "code", "near"),
    [
        ({"name": "bob"}, "name_taken", "bob2"),
        ({"name": "a b"}, "bad_name", "ab"),
        ({"room": "x"}, "bad_room", "#x"),
    ],
)
def test_a_name_or_room_that_the_server_does_not_take_is_refused(server, connect, options, code, near):
    connect(server, "bob")
    with pytest.raises(Refused) as refused:
        Client("127.0.0.1", server.port, **{"name": "ann", **options})
    assert (refused.value.code, refused.value.near) == (code, near)


def test_a_full_server_says_so(serve, connect):
    server = serve(max_clients=1)
    connect(server, "ann")
    with pytest.raises(Disconnected, match=r"The server is full: 1 are connected\. Try again later\."):
        Client("127.0.0.1", server.port, name="bob")


def test_where_nobody_listens_there_is_an_os_error():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        Client("127.0.0.1", port, name="ann")


def test_all_that_a_client_raises_is_of_one_tree():
    raised = [each for each in vars(client).values() if isinstance(each, type) and issubclass(each, Exception)]
    assert set(raised) == {ClientError, Disconnected, Refused, TimedOut, Unread}
    assert all(issubclass(each, ClientError) for each in raised)
    assert issubclass(ClientError, ChatThreadsError)


def test_a_client_that_enters_gets_old_messages_only_on_request(server, connect):
    ann = connect(server, "ann")
    for number in range(5):
        ann.say("#lobby", f"message {number}")
    bob = connect(server, "bob", replay=2)
    assert [each.number for each in said(bob, 2)] == [4, 5]
    cy = connect(server, "cy")
    ann.say("#lobby", "live")
    assert [each.number for each in said(cy, 1)] == [6]


# --- queues ---------------------------------------------------------------------------------------------


def test_at_most_256_requests_are_unanswered_at_a_time(fake, connect):
    most: list[int] = []

    def script(lines, send):
        next(lines)
        send(WELCOME, joined("#lab"))
        got = [next(lines) for _ in range(256)]
        most.append(len(got))
        for line in got:
            send({"type": "ack", "room": "#lab", "number": 1, "ref": json.loads(line)["ref"]})
        for request in requests(lines):
            send({"type": "bye" if request["type"] == "quit" else "ack", "reason": "quit", "ref": request["ref"]})

    ann = connect(fake(script), "ann", timeout=WAIT)
    asked = [ann.submit("say", room="#lab", text=str(number)) for number in range(300)]
    assert asked[255].result(WAIT) == Ack("#lab", 1)
    assert asked[299].result(WAIT) == Ack()
    assert most == [256]
    assert ann.settle(WAIT)


def test_without_an_answer_the_257th_request_times_out_and_so_does_the_first(fake, connect):
    def script(lines, send):
        next(lines)
        send(WELCOME, joined("#lab"))
        for request in requests(lines):
            if request["type"] == "quit":
                send({"type": "bye", "reason": "quit", "ref": request["ref"]})

    ann = connect(fake(script), "ann", timeout=0.1)
    with pytest.raises(TimedOut, match=r"No answer to ping within 0\.1 seconds\."):
        ann.ping()
    assert ann.unanswered == 0
    for number in range(256):
        ann.submit("say", room="#lab", text=str(number))
    with pytest.raises(TimedOut, match=r"256 requests have waited 0\.1 seconds for an answer\."):
        ann.submit("ping")


def test_a_program_that_does_not_read_is_waited_for_and_loses_nothing(server, connect, monkeypatch):
    monkeypatch.setattr(link, "MAX_EVENTS", 10)
    ann, bob = connect(server, "ann"), connect(server, "bob", reconnect=True)
    texts = [f"{number:<500}." for number in range(1000)]
    for text in texts:
        ann.submit("say", text=text)
    assert ann.settle(WAIT)
    wait_for(lambda: len(bob._link._events) >= 10)
    assert len(bob._link._events) < 200  # as many as one look at the socket may bring beyond 10
    assert [each.text for each in said(bob, 1000)] == texts


def test_a_program_that_only_asks_and_reads_no_events_gets_answers_and_an_error_in_the_end(
    server, connect, monkeypatch
):
    monkeypatch.setattr(link, "MAX_EVENTS", 10)
    monkeypatch.setattr(link, "MAX_UNREAD", 100)
    ann = connect(server, "ann")
    for number in range(90):
        assert ann.say("#lobby", str(number)) == number + 1
    for number in range(10):
        ann.say("#lobby", str(number))
    with pytest.raises(Unread, match="101 events wait to be read"):
        ann.say("#lobby", "one too many")
    assert len(said(ann, 90)) == 90
    ann.say("#lobby", "go on")


def test_a_program_that_only_speaks_needs_to_read_nothing(server, connect, monkeypatch):
    monkeypatch.setattr(link, "MAX_EVENTS", 10)
    monkeypatch.setattr(link, "MAX_UNREAD", 10)
    ann = connect(server, "ann", listen=False)
    for number in range(100):
        assert ann.say("#lobby", str(number)) == number + 1
    assert list(ann.events(timeout=0)) == []


def test_events_end_when_nothing_comes_for_a_while_and_when_the_client_is_closed(server, connect):
    ann = connect(server, "ann")
    assert [type(event) for event in ann.events(timeout=0.1)] == [Entered]
    ann.submit("say", text="bye")
    ann.close()
    assert [type(event) for event in ann.events()] == [Message]
    with pytest.raises(Disconnected, match="The client is closed"):
        ann.ping()
    ann.close()


def test_leaving_takes_along_what_was_asked_before(server, connect):
    ann, bob = connect(server, "ann"), connect(server, "bob")
    asked = [ann.submit("say", text=str(number)) for number in range(200)]
    ann.close("good night")
    assert [each.result(0).number for each in asked] == list(range(1, 201))
    assert [each.text for each in said(bob, 200)] == [str(number) for number in range(200)]
    left = heard(bob, Presence)
    assert (left.kind, left.words) == ("left", "good night")


def test_answers_are_among_the_events_if_that_is_asked_for(server, connect):
    ann = connect(server, "ann", answers=True)
    ann.say("#lobby", "hi")
    with pytest.raises(Refused):
        ann.whois("nobody")
    shown = [event.event if isinstance(event, events.Answer) else event for event in ann.events(timeout=0.1)]
    assert [type(event).__name__ for event in shown] == ["Entered", "Message", "Ack", "Problem"]


def test_many_threads_may_share_a_client(server, connect):
    ann = connect(server, "ann")
    numbers: list[int] = []

    def talk(who: int) -> None:
        for each in range(20):
            numbers.append(ann.say("#lobby", f"{who} {each}"))

    threads = [threading.Thread(target=talk, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert sorted(numbers) == list(range(1, 161))
    by_thread = collections.defaultdict(list)
    for each in said(ann, 160):
        by_thread[each.text.split()[0]].append(int(each.text.split()[1]))
    assert list(by_thread.values()) == [list(range(20))] * 8


# --- the end of a connection -----------------------------------------------------------------------------


def test_without_reconnect_all_who_wait_get_an_error_at_the_end_of_the_connection(fake, connect):
    def script(lines, send):
        next(lines)
        send(WELCOME, joined("#lab"), message(1))
        next(lines)

    ann = connect(fake(script), "ann")
    with pytest.raises(Disconnected) as lost:
        ann.ping()
    assert (lost.value.code, lost.value.text) == ("lost", "The connection was lost.")
    events = ann.events()
    assert [type(next(events)), type(next(events))] == [Entered, Message]
    with pytest.raises(Disconnected):
        next(events)
    with pytest.raises(Disconnected):
        ann.say("#lab", "too late")


def test_a_server_that_stops_says_why_the_connection_ends(start_process, connect):
    process = start_process()
    ann = connect(process, "ann")
    assert process.stop() == 0
    with pytest.raises(Disconnected, match=r"The server is shutting down\. Goodbye\.") as lost:
        list(ann.events())
    assert lost.value.code == "shutting_down"


@pytest.mark.parametrize("garbage", [b"{nonsense\n", b'{"type":"message"}\n', b"{" + b"[" * 50_000 + b"\n"])
def test_a_server_that_speaks_nonsense_is_left(fake, connect, garbage):
    def script(lines, send):
        next(lines)
        send(WELCOME, joined("#lab"), garbage)
        lines.read()

    ann = connect(fake(script), "ann")
    with pytest.raises(Disconnected, match="The server sent a line that is not in its protocol"):
        list(ann.events())


def test_a_server_that_is_none_and_one_that_says_nothing_are_not_waited_for(fake, monkeypatch):
    monkeypatch.setattr(link, "CONNECT_WITHIN", 0.2)
    web = fake(lambda lines, send: send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    with pytest.raises(Disconnected, match=r"HTTP/1\.1 400 Bad Request"):
        Client("127.0.0.1", web.port, name="ann")
    silent = fake(lambda lines, send: lines.read())
    with pytest.raises(TimeoutError):
        Client("127.0.0.1", silent.port, name="ann")


def test_nothing_that_a_server_sends_can_harm_a_terminal(fake, connect):
    hostile = fake(lambda lines, send: send(b"\x1b]0;title\x07full \x1b[2Jup\x9b5m\n"))
    with pytest.raises(Disconnected) as lost:
        Client("127.0.0.1", hostile.port, name="ann")
    assert str(lost.value).isprintable()

    def script(lines, send):
        next(lines)
        send(WELCOME, {"type": "new \x1b[2J", "key \x1b]0;x\x07": {"in \x1b[1m": ["a \x1b[2Jb"]}})

    ann = connect(fake(script), "ann")
    got = ann.events()
    event = next(got)
    assert isinstance(event, Other)
    assert repr(event.fields).isprintable()
    assert "\\x" not in repr(event.fields)
    with pytest.raises(Disconnected):
        next(got)


# --- coming back ----------------------------------------------------------------------------------------


class Talkers:
    """Clients that talk in one room, each in a thread of its own, until they are stopped."""

    def __init__(self, clients: list[Client], room: str) -> None:
        self.said: dict[str, list[str]] = {each.name: [] for each in clients}
        self._room = room
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._talk, args=(each,), daemon=True) for each in clients]
        for thread in self._threads:
            thread.start()

    def _talk(self, talker: Client) -> None:
        said = self.said[talker.name]
        while not self._stop.wait(0.01):
            text = f"{talker.name} {len(said)}"
            said.append(text)
            talker.submit("say", room=self._room, text=text).result(10 * WAIT)  # the server may be gone for long

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10 * WAIT)
            assert not thread.is_alive()


def check_whole(log: Log, history: list[Message], said: dict[str, list[str]]) -> None:
    """The client received exactly the history, and the history has every text that was said, once and in order."""
    assert [each.number for each in history] == list(range(1, len(history) + 1))
    assert log.of("#lab") == history
    for name, texts in said.items():
        assert [each.text for each in history if each.sender == name] == texts


@pytest.mark.parametrize("cuts", [12, pytest.param(50, marks=pytest.mark.stress)])
def test_a_client_cut_off_while_8_talk_has_the_rooms_history_and_said_everything_once(serve, connect, relay, cuts):
    server = serve()
    through = relay(server.port, seed=50)
    chance = random.Random(8)
    ann = connect(through, "ann", room="#lab", reconnect=True)
    log = Log(ann)
    talkers = Talkers([connect(server, f"bob{each}", room="#lab", listen=False) for each in range(8)], "#lab")
    mine: list[str] = []
    asked = []
    for _ in range(cuts):
        for _ in range(chance.randrange(1, 9)):
            mine.append(f"ann {len(mine)}")
            asked.append(ann.submit("say", room="#lab", text=mine[-1]))
        if chance.randrange(2):
            asked[-1].result(WAIT)  # otherwise it is cut off while much is not acknowledged
            heard = len(log.of("#lab")) + chance.randrange(10)
            wait_for(lambda heard=heard: len(log.of("#lab")) >= heard)
        wait_for(lambda: ann.online)
        lost = log.count(Offline)
        through.cut(after=chance.choice((0, 0, 1, 10, 100, 1000)))
        wait_for(lambda lost=lost: log.count(Offline) > lost)
        if not chance.randrange(4):
            through.cut(after=chance.choice((0, 10, 200)))  # wherever it is in coming back
    talkers.stop()
    assert ann.settle(WAIT)
    assert [each.result(0).number for each in asked] == sorted(each.result(0).number for each in asked)
    history = whole(connect(server, "cy"), "#lab")
    wait_for(lambda: len(log.of("#lab")) >= len(history), "the last messages")
    log.end()
    check_whole(log, history, {**talkers.said, "ann": mine})
    assert log.count(Online) == log.count(Offline) >= cuts


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.stress)])
def test_clients_of_a_server_that_is_killed_have_the_rooms_history_and_said_everything_once(
    start_process, connect, kills
):
    port = free_port()
    process = start_process("--rate", "0", port=port)
    clients = [connect(port, f"bob{each}", room="#lab", reconnect=True) for each in range(8)]
    ann = connect(port, "ann", room="#lab", reconnect=True)
    logs = [Log(each) for each in [ann, *clients]]
    talkers = Talkers(clients, "#lab")
    mine: list[str] = []
    for _ in range(kills):
        asked = []
        for _ in range(20):
            mine.append(f"ann {len(mine)}")
            asked.append(ann.submit("say", room="#lab", text=mine[-1]))
        asked[0].result(WAIT)
        wait_for(lambda: all(each.online for each in clients))
        process.kill()
        process = start_process("--rate", "0", port=port)
    talkers.stop()
    assert ann.settle(WAIT)
    history = whole(connect(port, "cy"), "#lab")
    for log in logs:
        wait_for(lambda log=log: len(log.of("#lab")) >= len(history), "the last messages")
        log.end()
        check_whole(log, history, {**talkers.said, "ann": mine})
        assert log.count(Online) == log.count(Offline) == kills


def test_a_server_that_has_forgotten_all_gets_what_was_not_acknowledged(start_process, connect, tmp_path):
    port = free_port()
    process = start_process("--rate", "0", port=port)
    ann = connect(port, "ann", room="#lab", reconnect=True)
    log = Log(ann)
    for number in range(3):
        ann.say("#lab", f"old {number}")
    process.kill()
    asked = [ann.submit("say", text=f"new {number}") for number in range(2)]
    start_process("--rate", "0", port=port, db=tmp_path / "other.db")
    assert [each.result(WAIT).number for each in asked] == [1, 2]
    log.end()
    assert [(each.number, each.text) for each in log.of("#lab")] == [
        (1, "old 0"), (2, "old 1"), (3, "old 2"), (1, "new 0"), (2, "new 1"),
    ]  # fmt: skip


def test_a_returning_client_shows_its_token_and_last_numbers_and_sends_unanswered_requests_again(fake, connect):
    heard: list[dict[str, Any]] = []

    def first(lines, send):
        heard.append(json.loads(next(lines)))
        send(WELCOME, joined("#lab", 4), message(5), message(6), joined("#other"))
        heard.extend(json.loads(next(lines)) for _ in range(3))

    def second(lines, send):
        hello = json.loads(next(lines))
        heard.append(hello)
        send(WELCOME, joined("#lab", 7), message(6), message(7), joined("#other"))
        for _ in range(2):
            request = json.loads(next(lines))
            heard.append(request)
            send({"type": "ack", "room": "#lab", "number": 8, "ref": request["ref"]})
        goodbye = json.loads(next(lines))
        send({"type": "bye", "reason": "quit", "ref": goodbye["ref"]})

    ann = connect(fake(first, second), "ann", room="#lab", reconnect=True)
    wait_for(lambda: ann.room == "#other")
    asked = [ann.submit("say", room="#lab", text="a"), ann.submit("private", to="bob", text="b")]
    asked.append(ann.submit("action", room="#lab", text="c"))
    assert [asked[at].result(WAIT) for at in (0, 2)] == [Ack("#lab", 8)] * 2
    with pytest.raises(Disconnected, match=r"The connection was lost\."):
        asked[1].result(WAIT)
    log = Log(ann)
    log.end()
    assert heard[0] == {"type": "hello", "replay": 0, "name": "ann", "room": "#lab"}
    assert heard[4] == {"type": "hello", "replay": 0, "token": "t", "since": {"#lab": 6, "#other": 0}}
    assert [each["text"] for each in heard[1:4]] == ["a", "b", "c"]
    assert heard[5:] == [heard[1], heard[3]]
    assert [each.number for each in log.of("#lab")] == [5, 6, 7]


def test_without_a_token_what_was_said_and_not_answered_is_not_sent_again(fake, connect):
    """The server could not recognise the second copy: the history would have the text twice."""
    heard: list[dict[str, Any]] = []

    def first(lines, send):
        next(lines)
        send(WELCOME | {"token": ""}, joined("#lab"))
        heard.extend(json.loads(next(lines)) for _ in range(2))

    def second(lines, send):
        hello = json.loads(next(lines))
        send(WELCOME | {"token": ""}, joined("#lab"))
        heard.extend([hello, json.loads(next(lines))])
        send({"type": "rooms", "rooms": [], "more": 0, "ref": heard[-1]["ref"]})
        goodbye = json.loads(next(lines))
        send({"type": "bye", "reason": "quit", "ref": goodbye["ref"]})

    ann = connect(fake(first, second), "ann", room="#lab", reconnect=True)
    said, asked = ann.submit("say", room="#lab", text="a"), ann.submit("rooms")
    with pytest.raises(Disconnected, match=r"The connection was lost\."):
        said.result(WAIT)
    asked.result(WAIT)
    ann.close()
    assert [each["type"] for each in heard] == ["say", "rooms", "hello", "rooms"]
    assert heard[2]["name"] == "ann"


@pytest.mark.parametrize("places", [1000, 2])
def test_without_a_token_a_client_waits_for_its_name_and_misses_nothing(serve, connect, relay, monkeypatch, places):
    """The server may take minutes to notice that the old connection, which has the name and a place, is dead."""
    monkeypatch.setattr(tokens, "AT_ONCE", 0)
    monkeypatch.setattr(tokens, "A_SECOND", 1e-9)
    server = serve(replay=0, max_clients=places)
    through = relay(server.port)
    ann = connect(through, "ann", room="#lab", reconnect=True, longest_pause=0.05)
    bob = connect(server, "bob", room="#lab", listen=False)
    ann.join("#other")
    bob.say("#lab", "heard")
    log = Log(ann)
    wait_for(lambda: log.of("#lab"))
    through.cut()
    assert through._left, "the server believes in the connection"
    tried = through.accepted
    wait_for(lambda: through.accepted > tried + link.MAX_REFUSALS + 1)
    bob.say("#lab", "missed")
    through.drop()
    wait_for(lambda: log.count(Online))
    bob.say("#lab", "live")
    wait_for(lambda: len(log.of("#lab")) == 3)
    assert (ann.name, ann.room) == ("ann", "#other")
    log.end()
    assert [each.text for each in log.of("#lab")] == ["heard", "missed", "live"]
    assert log.count(Online) == 1


def test_without_a_token_a_client_gives_up_when_its_name_stays_taken(serve, connect, relay, monkeypatch):
    monkeypatch.setattr(tokens, "AT_ONCE", 0)
    monkeypatch.setattr(link, "NAME_KEPT", 0.2)
    through = relay(serve().port)
    ann = connect(through, "ann", reconnect=True, longest_pause=0.05)
    through.cut()
    with pytest.raises(Refused) as refused:
        list(ann.events())
    assert refused.value.code == "name_taken"


def test_a_client_without_a_token_asks_until_it_has_one_and_comes_back_by_it(fake, connect, monkeypatch):
    """Texts that it said before it had the token are not stored under the token, so it does not send them again."""
    monkeypatch.setattr(link, "FIRST_ASK", 0.02)
    said, asked, back = [], [], []

    def first(lines, send):
        next(lines)
        send(WELCOME | {"token": ""}, joined("#lab"))
        while len(said) < 2:
            request = json.loads(next(lines))
            (said if request["type"] == "say" else asked).append(request)
            if request["type"] == "token" and said and len(asked) > 1:
                send({"type": "token", "token": "t", "ref": request["ref"]}, message(1))
            elif request["type"] == "token":
                send({"type": "error", "code": "too_many_tokens", "text": "Later.", "ref": request["ref"]})

    def second(lines, send):
        back.append(json.loads(next(lines)))
        send(WELCOME, joined("#lab", 1))
        back.append(json.loads(next(lines)))
        send({"type": "ack", "room": "#lab", "number": 2, "ref": back[1]["ref"]})
        goodbye = json.loads(next(lines))
        send({"type": "bye", "reason": "quit", "ref": goodbye["ref"]})

    ann = connect(fake(first, second), "ann", room="#lab", reconnect=True)
    before = ann.submit("say", room="#lab", text="before")
    log = Log(ann)
    wait_for(lambda: log.of("#lab"))
    after = ann.submit("say", room="#lab", text="after")
    assert after.result(WAIT) == Ack("#lab", 2)
    with pytest.raises(Disconnected, match=r"The connection was lost\."):
        before.result(WAIT)
    log.end()
    assert {each["type"] for each in asked} == {"token"}
    assert back == [{"type": "hello", "replay": 0, "token": "t", "since": {"#lab": 1}}, said[1]]
    assert log.count(events.TokenShown) == log.count(events.Problem) == 0


def test_with_a_server_of_1_0_0_a_client_knows_its_new_name(fake, connect):
    def only(lines, send):
        next(lines)
        send(WELCOME, joined("#lab"))
        nick = json.loads(next(lines))
        send({"type": "notice", "text": "You are anne now.", "ref": nick["ref"]})

    with connect(fake(only), "ann") as ann:
        ann.nick("anne")
        assert ann.name == "anne"


def test_a_client_that_is_not_to_come_back_asks_for_no_token(fake, connect, monkeypatch):
    """Its address has few of them, and others need them."""
    monkeypatch.setattr(link, "FIRST_ASK", 0.0)
    heard = []

    def only(lines, send):
        next(lines)
        send(WELCOME | {"token": ""}, joined("#lab"))
        heard.append(json.loads(next(lines)))

    with connect(fake(only), "ann") as ann, pytest.raises(Disconnected):
        ann.rooms()
    assert [each["type"] for each in heard] == ["rooms"]


def test_an_unsent_request_is_sent_after_a_reconnect_even_if_it_must_not_be_sent_twice(server, connect, relay):
    through = relay(server.port)
    ann, bob = connect(through, "ann", reconnect=True, longest_pause=1.0), connect(server, "bob")
    through.held = True  # otherwise it may be back before we look
    through.cut()
    wait_for(lambda: not ann.online)
    asked = ann.submit("private", to="bob", text="psst")
    through.held = False
    assert asked.result(WAIT).sent
    assert heard(bob, PrivateLine).text == "psst"


def test_ignored_people_being_away_and_settings_outlast_a_connection(server, connect, relay):
    through = relay(server.port)
    ann, bob, cy = connect(through, "ann", reconnect=True), connect(server, "bob"), connect(server, "cy")
    ann.ignore("cy")
    ann.ignore("bob")
    ann.unignore("bob")
    ann.away("at lunch")
    ann.nick("anna")
    ann.request("set", option="joins", value="off")
    ann.request("set", option="replay", value="1")
    cy.join("#lab")
    for text in ("first", "last"):
        cy.say("#lab", text)
    log = Log(ann)
    through.cut()
    wait_for(lambda: log.count(Online) and ann.ping())
    assert bob.whois("anna").person.away == "at lunch"
    cy.say("#lobby", "unheard")
    bob.say("#lobby", "heard")
    wait_for(lambda: log.of("#lobby"))
    ann.unignore("cy")
    ann.join("#lab")
    connect(server, "dan", room="#lab").say("#lab", "live")
    wait_for(lambda: len(log.of("#lab")) == 2)
    log.end()
    assert [each.text for each in log.of("#lobby")] == ["heard"]
    assert [each.text for each in log.of("#lab")] == ["last", "live"]
    assert not any(isinstance(event, Presence) and "dan" in event.names for event in log.events)
    assert log.count(events.Notice) == 0


@pytest.mark.slow
def test_a_client_that_was_away_for_long_gets_every_message_and_then_the_live_ones(server, connect, relay, monkeypatch):
    monkeypatch.setattr(link, "MAX_EVENTS", 100)
    through = relay(server.port)
    ann, bob = connect(through, "ann", room="#lab", reconnect=True), connect(server, "bob", room="#lab", listen=False)
    through.held = True
    through.cut()
    asked = [bob.submit("say", text=f"missed {number}") for number in range(5000)]
    assert asked[-1].result(WAIT).number == 5000
    mine = ann.submit("say", text="said while away")
    through.held = False
    found = said(ann, 5001)
    assert [each.number for each in found] == list(range(1, 5002))
    assert mine.result(WAIT).number == 5001
    bob.say("#lab", "live")
    assert [each.text for each in said(ann, 1)] == ["live"]


def test_a_client_whose_name_was_taken_gives_up_after_some_tries(serve, connect, relay, tmp_path):
    other = serve(db=str(tmp_path / "other.db"))
    other.client("ann")
    through = relay(serve().port)
    ann = connect(through, "ann", reconnect=True)
    through.to = other.port
    through.cut()
    with pytest.raises(Refused) as refused:
        list(ann.events())
    assert refused.value.code == "name_taken"
    with pytest.raises(Refused):
        ann.ping()


def test_a_client_that_missed_a_thousand_messages_in_six_rooms_is_handed_them_all(serve, connect, relay):
    """Its queue is too small for all of them at once, and the others keep talking."""
    server = serve(queue_limit=600)
    through = relay(server.port)
    ann = connect(through, "ann", reconnect=True, longest_pause=1.0)
    log = Log(ann)
    rooms = [f"#room{number}" for number in range(6)]
    bob = connect(server, "bob", listen=False)
    for room in rooms:
        ann.join(room)
        bob.join(room)
        bob.say(room, "first")
    wait_for(lambda: all(len(log.of(room)) == 1 for room in rooms))
    through.held = True
    through.cut()
    wait_for(lambda: not ann.online)
    long = "x" * 1500
    for _ in range(200):
        said = [bob.submit("say", room=room, text=long) for room in rooms]
    assert said[-1].result(WAIT)
    through.held = False
    for _ in range(20):
        said = [bob.submit("say", room=room, text="live") for room in rooms]
    assert said[-1].result(WAIT)
    wait_for(lambda: all(len(log.of(room)) == 221 for room in rooms))
    log.end()
    assert all([each.number for each in log.of(room)] == list(range(1, 222)) for room in rooms)
    assert log.count(Online) == 1


def test_a_client_whose_token_another_one_shows_is_replaced_and_does_not_come_back(server, connect):
    ann = connect(server, "ann", reconnect=True)
    thief = connect(server, "thief")
    thief.request("resume", token=ann.request("token").token)
    assert thief.name == "ann"
    with pytest.raises(Disconnected) as lost:
        list(ann.events())
    assert lost.value.code == "replaced"


def test_a_client_may_be_closed_while_it_tries_to_come_back(start_process, connect):
    process = start_process()
    ann = connect(process, "ann", reconnect=True, longest_pause=60.0)
    process.kill()
    assert [type(event) for event in islice(ann.events(), 2)] == [Entered, Offline]
    asked = ann.submit("say", text="never")
    ann.close()
    with pytest.raises(Disconnected, match="The client is closed"):
        asked.result(0)
    assert list(ann.events()) == []


def test_a_call_that_times_out_while_there_is_no_connection_is_not_sent_later(start_process, connect):
    port = free_port()
    process = start_process(port=port)
    ann = connect(port, "ann", reconnect=True, timeout=0.2)
    process.kill()
    wait_for(lambda: not ann.online)
    with pytest.raises(TimedOut):
        ann.say("#lobby", "never")
    start_process(port=port)
    ann.timeout = WAIT
    assert ann.say("#lobby", "now") == 1
