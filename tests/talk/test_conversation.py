"""A conversation from the greeting to the goodbye, and everything that can go wrong with the connection."""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import socket
import socketserver
import subprocess
import sys
import threading
import time

import pytest
from support.clients import ASKED, Client
from support.servers import Running, our_threads
from support.waiting import WAIT, wait_for
from support.words import error_line

from chat_threads import __version__, commands, days, register, wire
from chat_threads import server as server_module
from chat_threads.commands import Stats
from chat_threads.dialects import clock, render
from chat_threads.dialects.notices import OFFER
from chat_threads.dialects.text import TextDialect
from chat_threads.disconnects import NoNameInTime, ServerFull, ShuttingDown, TooManyTries, UnfinishedLine
from chat_threads.errors import (
    BadName,
    BadRoom,
    Broken,
    LineTooLong,
    NameTaken,
    NoLineEnd,
    NotStored,
    TextTooLong,
    Unreadable,
)
from chat_threads.events import Message, StatsShown
from chat_threads.service import METHODS, screen
from chat_threads.storage_errors import StorageError

IAC, SE, IP, AYT, SB, WILL, WONT, DO, DONT, EOF, DM = 255, 240, 244, 246, 250, 251, 252, 253, 254, 236, 242
GREETING = f"* Welcome to chat_threads {__version__}. What is your name?"
BAD_NAME = error_line(BadName())


def timeless(lines: list[str]) -> list[str]:
    """The lines with the same time of day in all."""
    return [re.sub(r"\[\d\d:\d\d\]", "[14:03]", line) for line in lines]


def greeted(server: Running) -> Client:
    """A client that has read the greeting and not answered yet."""
    client = server.client()
    assert client.line() == GREETING
    return client


def half_close(client: Client) -> None:
    """Say that nothing more will be sent (FIN), and go on reading."""
    client.sock.shutdown(socket.SHUT_WR)


def everything(client: Client) -> bytes:
    """All bytes up to the end of the connection; a reset is an error, because it may lose bytes."""
    client.sock.settimeout(WAIT)
    data = client.buffer
    while more := client.sock.recv(65536):
        data += more
    return data


def bytes_upto(client: Client, wanted: bytes) -> bytes:
    """All bytes up to these and with them; bytes read beyond them stay."""
    client.sock.settimeout(WAIT)
    while wanted not in client.buffer:
        more = client.sock.recv(65536)
        assert more, f"the connection ended before {wanted!r}: {client.buffer!r}"
        client.buffer += more
    before, _, client.buffer = client.buffer.partition(wanted)
    return before + wanted


def test_two_people_talk(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.send("hello, bob")
    assert bob.expect("hello").endswith("ann: hello, bob")
    assert ann.expect("hello").endswith("ann: hello, bob")


# --- the handshake ------------------------------------------------------------------------------------------


def test_the_server_greets_and_lets_in_by_a_name(server):
    ann = greeted(server)
    ann.send("ann")
    assert ann.line() == "* Hello, ann. What is said in a room is kept: /history shows it."
    assert ann.line() == f"* {OFFER}"
    assert ann.line() == "* " + clock.today("", int(time.time()) // 60)
    assert ann.line() == "* You are in #lobby, and nobody else is. /help lists the commands."


def test_a_name_with_a_room_begins_in_that_room(server):
    ann = greeted(server)
    ann.send("ann #lab2")
    assert ann.expect("You are in") == "* You are in #lab2, and nobody else is. /help lists the commands."
    assert ann.ask("/whois ann")[0] == "* ann is in #lab2."


@pytest.mark.parametrize("first", [b"\r\n", b"\n", b"\xff\xfb\x1f\r\n"])
def test_a_client_that_has_asked_for_nothing_yet_is_greeted(server, first):
    client = server.client()
    client.send_bytes(first)
    client.expect(f"* Welcome to chat_threads {__version__}. ")


def test_a_client_may_speak_before_it_is_greeted(server):
    ann = server.client()
    ann.send("ann", "hi")
    assert timeless(ann.upto("ann: hi"))[0] == GREETING


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("1ann", "ann1"),
        ("ann!", "ann"),
        ("x" * 21, "x" * 20),
        ("//ann", "ann"),
        ("an\u202en", "ann"),
        ("12345", None),
        ("bob?", "bob2"),
    ],
)
def test_a_bad_name_is_explained_with_a_free_one_near_it(server, typed, near):
    server.client("bob")
    ann = greeted(server)
    ann.send(typed)
    assert ann.line() == BAD_NAME + (f" Try {near}." if near else "")
    ann.send(near or "ann")
    assert ann.line().startswith(f"* Hello, {near or 'ann'}.")


def test_the_error_for_a_taken_name_suggests_a_free_one(server):
    server.clients_named("ann", "ann2")
    other = greeted(server)
    other.send("ANN")
    assert other.line() == error_line(NameTaken("ANN", "ANN3"))
    other.send("ANN3")
    assert other.line().startswith("* Hello, ANN3.")


def test_a_bad_room_is_explained_and_the_name_stays_free(server):
    ann = greeted(server)
    ann.send("ann #lab.2")
    assert ann.line() == error_line(BadRoom())
    server.client("ann")


def test_after_ten_tries_the_connection_ends(server):
    server.client("ann")
    other = greeted(server)
    other.send("/foo", *["1"] * 7, "x" * 9000, "ann", "bob")
    assert other.rest() == [
        "! There is no command /foo. First type your name; /help says more.",
        *[BAD_NAME] * 7,
        error_line(LineTooLong(8192, "sent")),
        "* One more try is left.",
        error_line(NameTaken("ann", "ann2")),
        error_line(TooManyTries()),
    ]


def test_a_command_that_cannot_be_carried_out_before_a_name_counts_as_a_try(server, monkeypatch):
    monkeypatch.setattr(commands, "BEFORE_A_NAME", ())
    ann = greeted(server)
    ann.send(*["/help"] * 9)
    assert ann.line() == "* One more try is left."
    ann.send("ann")
    ann.expect("* Hello, ann.")


def test_blank_lines_get_an_answer_and_do_not_count_as_tries(server):
    ann = greeted(server)
    for blank in ("", "   ", "1", "\t", ""):  # before and after the client is known
        ann.send(blank)
        assert ann.expect("! A name is" if blank == "1" else "First type your name")
    ann.send("ann")
    ann.expect("* Hello, ann.")


def test_a_name_and_a_room_without_its_sign_are_explained(server):
    ann = greeted(server)
    ann.send("ann lab2", "ann van lee", "ann #lab2")
    assert ann.line() == "! A name has no spaces. Try annlab2. To begin in the room #lab2, type ann #lab2."
    assert ann.line() == error_line(BadName("annvanlee", "A name has no spaces."))
    ann.expect("You are in #lab2")


@pytest.mark.parametrize("typed", [b"/quit\r\n", b"/QUIT now\r\n", bytes((IAC, IP)), bytes((IAC, EOF))])
def test_a_client_that_leaves_without_a_name_sees_goodbye(server, typed):
    ann = greeted(server)
    ann.send_bytes(typed)
    assert ann.rest() == ["* Goodbye."]


def test_a_connection_without_a_name_in_time_ends(serve):
    ann = greeted(serve(handshake_timeout=0.3))
    assert ann.rest() == [error_line(NoNameInTime(0.3))]


@pytest.mark.parametrize(
    ("limits", "name", "told"),
    [
        ({"handshake_timeout": 0.3}, None, error_line(NoNameInTime(0.3))),
        ({"line_timeout": 0.3}, "ann", error_line(UnfinishedLine(0.3))),
    ],
)
def test_a_flood_without_a_lines_end_is_cut_off_too(serve, limits, name, told):
    server = serve(**limits)
    client = greeted(server)
    if name:
        client.send(name)
        client.news()
    began = time.monotonic()
    client.sock.setblocking(False)
    while client.nothing_comes(0):
        with contextlib.suppress(BlockingIOError):
            client.sock.send(b"x" * 4096)
    assert client.rest() == [told]
    assert time.monotonic() - began < 5


def test_a_client_whose_first_room_cannot_be_made_is_in_the_lobby(server, monkeypatch):
    monkeypatch.setattr(register, "ROOMS", 1)
    ann = greeted(server)
    ann.send("ann #lab2")
    ann.expect("You are in #lobby")
    ann.expect("! There are 1 rooms already.")
    assert timeless(ann.ask("hi")) == ["[14:03] ann: hi"]


def test_a_room_that_two_make_at_once_is_one_room(server, monkeypatch):
    """A person who finds no room, and is the second to make it, enters the room of the first."""
    ann, bob = server.clients_named("ann", "bob")
    ann.ask("/join #lab")
    get = server.chat.publisher.get
    monkeypatch.setattr(server.chat.publisher, "get", lambda name: None if name == "#lab" else get(name))
    assert "* You are in #lab with 1 other: ann." in bob.ask("/join #lab")


def test_a_client_that_comes_while_the_history_cannot_be_read_gets_in_and_may_join_later(serve, monkeypatch):
    before = serve()
    before.client("bob").ask("hi")
    before.chat.stop()
    server = serve()

    def unreadable(room: int, number: int, count: int) -> None:
        raise Unreadable("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(server.chat.publisher, "_newest", unreadable)
        ann = greeted(server)
        ann.send("ann", "hello?")
        told = ann.upto("You are not in a room")
        assert error_line(Unreadable("the disk is gone")) in told
    assert timeless(ann.ask("/join #lobby"))[-1] == "[14:03] bob: hi"


# --- what is not a chat client ------------------------------------------------------------------------------


def test_http_in_a_conversation_is_a_text_like_any(server):
    (ann,) = server.clients_named("ann")
    assert timeless(ann.ask("GET / HTTP/1.1")) == ["[14:03] ann: GET / HTTP/1.1"]


# --- lines --------------------------------------------------------------------------------------------------


def test_a_line_that_is_too_long_is_an_error_and_the_connection_stays(server):
    ann, bob = server.clients_named("ann", "bob")
    told = error_line(LineTooLong(8192, "sent"))
    assert timeless(ann.ask("/me " + "x" * 8189)) == [told]
    assert timeless(ann.ask("y" * 1_000_000)) == [told]
    assert timeless(ann.ask("//" + "y" * 8190)) == [error_line(TextTooLong(8191, 2000))]
    assert timeless(ann.ask("hi")) == timeless(bob.news()) == ["[14:03] ann: hi"]


def test_half_a_line_that_never_ends_is_cut_off(serve):
    server = serve(line_timeout=0.4)
    ann, bob = server.clients_named("ann", "bob")
    ann.send_bytes(b"never ")
    while ann.nothing_comes(0.05):
        ann.send_bytes(b"said ")
    assert ann.rest() == [error_line(UnfinishedLine(0.4))]
    assert bob.line() == "* ann left"
    assert bob.nothing_comes(0.5)  # a client that has begun no line may be silent for longer
    assert timeless(bob.ask("hi")) == ["[14:03] bob: hi"]


def test_a_line_without_an_end_at_the_end_of_the_input_is_not_said_but_answered(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.send_bytes("said\nnot said, grüße".encode())
    half_close(ann)
    assert ann.rest()[-1] == error_line(NoLineEnd())
    assert timeless(bob.news()) == ["[14:03] ann: said", "* ann left"]


def test_unread_input_does_not_lose_the_last_words(server):
    client = greeted(server)
    client.send(*"1234567890", *["more that nobody reads"] * 5000)
    assert everything(client).decode().endswith(f"{BAD_NAME}\r\n{error_line(TooManyTries())}\r\n")
    for _ in range(100):
        client.send("x" * 50_000)  # this would reset a connection that was closed at once
    ann = server.client("ann")
    ann.news()
    ann.send("/quit", *["more that nobody reads"] * 5000)
    assert everything(ann) == b"* Goodbye.\r\n"


def test_a_client_that_sends_too_fast_waits_and_loses_nothing(serve):
    server = serve(rate=50.0, burst=5)
    ann, bob = server.client("ann"), server.client("bob")
    bob.news()
    began = time.monotonic()
    ann.send(*(f"line {number}" for number in range(20)))
    shown = [ann.expect("line") for _ in range(20)]
    assert time.monotonic() - began >= 0.25  # 15 lines more than at once, at 50 a second
    assert timeless(shown) == [f"[14:03] ann: line {number}" for number in range(20)]
    assert [bob.expect("line") for _ in range(20)] == shown


def test_a_client_that_waits_for_tokens_can_be_stopped(serve):
    server = serve(rate=0.1, burst=5)
    ann = server.client("ann")
    ann.send(*(f"line {number}" for number in range(10)))
    ann.expect("line 2")
    assert server.chat.stop() == []
    assert ann.rest() == [error_line(ShuttingDown())]


def test_a_client_that_sends_much_and_reads_later_slows_only_itself(serve):
    server = serve(queue_limit=100)
    (bob,) = server.clients_named("bob")
    ann = server.client("ann", receive_buffer=4096)
    asking = threading.Thread(target=ann.send, args=["/help ping"] * 5000 + ["/quit"])
    asking.start()
    session = server.chat.sessions.named("ann")
    wait_for(lambda: session.mailbox.lines > 50, "the queue to fill up")
    assert timeless(bob.ask("hi"))[-1] == "[14:03] bob: hi"
    assert session.mailbox.lines <= 100
    while ann.line() is not None:  # on a busy machine all of it takes a while
        pass
    asking.join(WAIT)
    assert ann.seen.count("* /ping: time the round trip.") == 5000
    assert ann.seen[-1] == "* Goodbye."


# --- telnet -------------------------------------------------------------------------------------------------


def test_every_telnet_option_is_refused_once_and_no_text_is_lost(server):
    ann = greeted(server)
    ann.send_bytes(bytes((IAC, DO, 1, IAC, WILL, 24, IAC, SB, 24, 0, 80, 0, 24, IAC, SE)))
    assert bytes_upto(ann, bytes((IAC, DONT, 24))) == ASKED + bytes((IAC, WONT, 1, IAC, DONT, 24))
    ann.send_bytes(bytes((IAC, DO, 1, IAC, WILL, 24)) + b"an" + bytes((IAC, 241)) + b"n\r\n")
    assert ann.line().startswith("* Hello, ann.")
    ann.send_bytes(bytes((IAC, DONT, 1, IAC, DO, 1)))
    assert bytes_upto(ann, bytes((IAC, WONT, 1))).endswith(b"commands.\r\n" + bytes((IAC, WONT, 1)))


@pytest.mark.parametrize("signal", [IP, EOF], ids=["Ctrl-C", "Ctrl-D"])
def test_telnets_interrupt_and_end_of_file_close_politely(server, signal):
    ann, bob = server.clients_named("ann", "bob")
    ann.send_bytes(b"one more thing\r\n" + bytes((IAC, signal)))
    assert timeless(ann.rest()) == ["[14:03] ann: one more thing", "* Goodbye."]
    assert timeless(bob.upto("ann left")) == ["[14:03] ann: one more thing"]


def test_what_is_said_before_there_is_a_name_fits_into_the_window(server):
    with server.client() as client:
        client.send_bytes(bytes.fromhex("fffb1f fffa1f00280014fff0"))  # 40 columns and 20 rows
        client.send("x" * 30, "a b c d", "/quit")
        errors = re.findall(rb"^!.*?\r$", b"".join(iter(lambda: client.sock.recv(4096), b"")), re.MULTILINE)
    assert len(errors) >= 3
    assert max(map(len, errors)) <= 41


def test_are_you_there_is_answered_at_any_time(server):
    ann = greeted(server)
    for _ in range(5):
        ann.send_bytes(bytes((IAC, AYT)))
        assert ann.line() == "* Yes, I am here."
    ann.send("ann")
    ann.expect("You are in")
    ann.send_bytes(b"hal" + bytes((IAC, AYT)))
    assert ann.line() == "* Yes, I am here."
    assert timeless(ann.ask("f a line")) == ["[14:03] ann: half a line"]


def test_urgent_data_leaves_the_stream_intact(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.send_bytes(b"hel")
    ann.sock.send(bytes((IAC, DM)), socket.MSG_OOB)
    ann.send_bytes(b"lo\r\n")
    assert timeless(ann.news()) == timeless(bob.news()) == ["[14:03] ann: hello"]


# --- when something breaks ----------------------------------------------------------------------------------


def boom(*args: object) -> None:
    raise ZeroDivisionError("a bug")


def test_a_bug_in_a_command_is_an_error_for_one_client_and_logged_once(server, monkeypatch, caplog):
    ann, bob = server.clients_named("ann", "bob")
    monkeypatch.setitem(METHODS, Stats, boom)
    assert ann.ask("/stats") == [error_line(Broken())]
    assert timeless(ann.ask("hi")) == timeless(bob.news()) == ["[14:03] ann: hi"]
    (logged,) = [record for record in caplog.records if record.name.startswith("chat_threads")]
    assert logged.getMessage() == "Stats of session 1 (ann) failed"
    assert logged.exc_info[0] is ZeroDivisionError
    assert logged.threadName == "reader-1"


def test_a_bug_in_the_handshake_ends_that_client_only(server, monkeypatch, caplog):
    bob = server.client("bob")
    with monkeypatch.context() as patch:
        patch.setattr(server.chat.service, "admit", boom)
        ann = greeted(server)
        ann.send("ann")
        assert ann.rest() == [error_line(Broken())]
        ann.close()
    assert caplog.messages == ["the conversation of session 2 broke"]
    assert timeless(bob.ask("hi")) == ["[14:03] bob: hi"]
    server.client("ann")


@pytest.mark.slow
def test_a_flood_of_connections_without_a_name_is_logged_in_a_few_lines_and_a_person_as_always(
    serve, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "chat_threads")
    monkeypatch.setattr(server_module, "LOGGED", 3)
    server = serve()
    for _ in range(20):
        with contextlib.closing(greeted(server)):
            pass
        server.client("ann").send("/quit")
    wait_for(lambda: server.chat.server.door._network_of == {}, "all are gone")
    lines = caplog.messages
    assert [sum(what in line for line in lines) for what in ("is admitted", "(ann) ends: it left")] == [20, 20]
    assert sum(" begins from 127.0.0.1" in line for line in lines) == sum(" ends: " in line for line in lines) < 24
    assert len([line for line in lines if "without a name" in line]) == 1
    server.chat.server.nameless._next = 0.0
    with contextlib.closing(greeted(server)):
        pass
    wait_for(lambda: len(caplog.messages) > len(lines))
    assert re.fullmatch(
        r"connections without a name, not logged one by one: 1\d, the last from 127.0.0.1: it left", caplog.messages[-1]
    )


def test_a_flood_of_connections_for_which_no_writer_starts_is_logged_in_a_few_lines(serve, monkeypatch, caplog):
    monkeypatch.setattr(server_module, "LOGGED", 3)
    server = serve()

    def refuse(session: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(server.chat.server.writers, "attend", refuse)
    for _ in range(10):
        with contextlib.closing(server.client()) as refused:
            assert "no thread could be started" in (refused.line() or "")
    assert sum("no writer thread" in line for line in caplog.messages) == 3


def test_a_bug_in_showing_something_ends_that_client_only(server, monkeypatch, caplog):
    ann, bob = server.clients_named("ann", "bob")
    monkeypatch.setitem(render.SHOW, StatsShown, boom)
    ann.send("/stats")
    assert ann.rest() == []
    assert bob.line() == "* ann left"
    assert "nothing could be sent to session 1 (ann)" in caplog.messages


def test_a_message_that_cannot_be_stored_is_an_error_and_the_conversation_goes_on(server, monkeypatch):
    ann, bob = server.clients_named("ann", "bob")
    ann.ask("/create #lab2")

    def full(batch: object) -> None:
        raise StorageError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(server.chat.storage, "commit", full)
        for typed, what in (("/topic x", "done"), ("hi", "sent"), ("/delete #lab2 yes", "done")):
            assert ann.ask(typed) == [f"! Not stored, so not {what}: disk full"]
    assert bob.news() == []
    assert timeless(ann.ask("hi")) == ["[14:03] ann: hi"]
    assert ann.ask("/topic") == ["* #lab2 has no topic."]


def test_a_person_who_leaves_while_nothing_can_be_stored_is_gone_anyway(server, monkeypatch):
    ann, bob = server.clients_named("ann", "bob")

    def stuck(item: object) -> None:
        raise NotStored("the history does not keep up")

    with monkeypatch.context() as patch:
        patch.setattr(server.chat.history, "submit", stuck)
        assert ann.ask("hi") == [error_line(NotStored("the history does not keep up"))]
        ann.send("/quit")
        assert ann.rest() == ["* Goodbye."]
    assert [line.split()[1] for line in bob.ask("/who #lobby")[2:]] == ["bob"]
    server.client("ann")


def refuse_threads(patch: pytest.MonkeyPatch, prefix: str, error: type[Exception] = RuntimeError) -> None:
    """From now on no thread of such a name can be started."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith(prefix):
            raise error("can't start new thread")
        start(thread)

    patch.setattr(threading.Thread, "start", refuse)


def test_a_full_server_says_why_until_somebody_leaves(serve):
    server = serve(max_clients=2)
    ann, bob = server.clients_named("ann", "bob")
    for early in ("", "cy"):
        other = server.client()
        other.send(*filter(None, [early]))
        assert other.rest() == [error_line(ServerFull("2 are connected"))]
    bob.send("/quit")
    bob.rest()
    bob.close()
    wait_for(lambda: len([each for each in our_threads() if each.name.startswith("reader-")]) == 1)
    server.client("cy")
    assert ann.upto("cy joined") == ["* bob left"]


def test_many_refused_connections_do_not_pile_up(serve, monkeypatch):
    monkeypatch.setattr("chat_threads.server.MAX_REFUSED", 5)
    server = serve(max_clients=1)
    server.client("ann")
    for _ in range(20):
        client = server.client()
        client.send("ann")
        assert "full" in client.rest(stays=True)[0]
    wait_for(lambda: len(server.chat.server._refused) <= 5)


def test_without_descriptors_the_server_pauses_and_goes_on(server, monkeypatch, caplog):
    accept, failed = socketserver.TCPServer.get_request, []

    def get_request(self: socketserver.TCPServer) -> tuple[socket.socket, object]:
        if len(failed) < 2:
            failed.append(time.monotonic())
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(self)

    monkeypatch.setattr(socketserver.TCPServer, "get_request", get_request)
    ann = server.client("ann")
    assert time.monotonic() - failed[0] >= 0.3  # two pauses
    assert caplog.messages.count("cannot accept: Too many open files") == 2
    assert timeless(ann.ask("hi")) == ["[14:03] ann: hi"]


def test_a_connection_that_is_gone_before_it_is_accepted_does_no_harm(server, monkeypatch, caplog):
    accept, failed = socketserver.TCPServer.get_request, []

    def get_request(self: socketserver.TCPServer) -> tuple[socket.socket, object]:
        if not failed:
            failed.append(True)
            raise ConnectionAbortedError
        return accept(self)

    monkeypatch.setattr(socketserver.TCPServer, "get_request", get_request)
    server.client("ann")
    assert caplog.messages == []


def test_a_connection_that_cannot_be_served_is_logged_and_the_next_one_is_served(server, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        refuse_threads(patch, "reader-", ZeroDivisionError)
        assert server.client().rest() == []
        wait_for(lambda: any("was not accepted" in message for message in caplog.messages))
    server.client("ann")


def test_a_peer_that_resets_is_seen_to_leave(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.reset()
    assert bob.line() == "* ann left"
    stranger = greeted(server)
    stranger.reset()
    cy = server.client("cy", receive_buffer=4096)
    cy.send(*["/help"] * 100)
    cy.reset()
    assert bob.upto("cy left") == ["* cy joined"]
    assert timeless(bob.ask("hi")) == ["[14:03] bob: hi"]


# --- ways of running ----------------------------------------------------------------------------------------


def test_the_message_of_the_day_is_shown_on_entering(serve):
    server = serve(motd=("Be kind.", "Lab 2 is due on Friday."))
    ann = server.client("ann")
    assert ann.seen[1:] == [
        "* Hello, ann. What is said in a room is kept: /history shows it.",
        "* Be kind.",
        "* Lab 2 is due on Friday.",
        f"* {OFFER}",
        "* " + clock.today("", int(time.time()) // 60),
        "* You are in #lobby, and nobody else is. /help lists the commands.",
    ]
    assert ann.ask("/join #lab2") == ["* You are in #lab2, and nobody else is."]


def test_a_person_who_stays_is_told_when_another_day_begins(serve, monkeypatch, program):
    day = ["It is today."]
    for module, seconds in ((days, "QUARTER"), (wire, "IDLE"), (screen, "IDLE"), (wire, "LOOK")):
        monkeypatch.setattr(module, seconds, 0.05)
    server = serve()
    monkeypatch.setattr(TextDialect, "today", lambda self, at: day[0])
    ann, bob = server.client("ann"), program("bob", server=server)
    assert "* It is today." in ann.seen
    ann.ask("hello")
    day[0] = "It is tomorrow."
    ann.expect("* It is tomorrow.")
    assert timeless(ann.ask("a new day")) == ["[14:03] ann: a new day"]
    assert not any("tomorrow" in str(each) for each in bob.ask(type="stats"))


def test_a_client_may_reconnect_under_its_name(server):
    for number in range(20):
        ann = server.client("ann")
        assert timeless(ann.ask(f"visit {number}"))[-1] == f"[14:03] ann: visit {number}"
        ann.send("/quit")
        ann.rest()
    assert server.chat.history.stored == 20


# --- stopping -----------------------------------------------------------------------------------------------


def test_everybody_sees_that_the_server_stops(server):
    ann, bob = server.clients_named("ann", "bob")
    stranger = greeted(server)
    assert server.chat.stop() == []
    for client in (ann, bob, stranger):
        assert client.rest() == [error_line(ShuttingDown())]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


def test_what_was_accepted_before_the_stop_is_shown_to_its_sender(server):
    (ann,) = server.clients_named("ann")
    history = server.chat.history
    publish, inside, gate = history._publish, threading.Event(), threading.Event()

    def publish_later(batch):
        if any(isinstance(each, Message) for each in batch):  # not ann's coming in
            inside.set()
            gate.wait(WAIT)
        publish(batch)

    history._publish = publish_later
    ann.send("line 0")
    assert inside.wait(WAIT)
    ann.send(*(f"line {number}" for number in range(1, 100)))
    wait_for(lambda: history._queue.qsize() == 99, "all lines to be accepted")
    stopping = threading.Thread(target=server.chat.stop)
    stopping.start()
    assert server.chat.server.stopping.wait(WAIT)
    gate.set()
    *lines, last = timeless(ann.rest())
    stopping.join(WAIT)
    assert lines == [f"[14:03] ann: line {number}" for number in range(100)]
    assert last == error_line(ShuttingDown())


def test_a_client_that_connects_while_the_server_stops_sees_why_it_ends(server):
    server.chat.server.stopping.set()
    assert server.client().rest()[-1] == error_line(ShuttingDown())


FLOOD = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as flood:
    flood.sendall(b"ann\\n")
    try:
        while True:
            flood.sendall(b"x" * 1_000_000)
    except OSError:
        pass
"""


def test_a_flooding_client_does_not_keep_the_server_from_stopping(server):
    with subprocess.Popen([sys.executable, "-c", FLOOD, str(server.port)]) as flooding:  # to be faster than the reader
        try:
            wait_for(lambda: server.chat.sessions.people(), "the flood to begin")
            dialect = server.chat.sessions.named("ann").dialect
            wait_for(lambda: dialect.pending)
            assert server.chat.stop() == []
        finally:
            flooding.kill()


def test_a_reply_goes_to_the_person_who_wrote_and_to_nobody_who_took_the_name(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.send("/msg bob psst")
    bob.expect("psst")
    ann.send("/nick anna")
    bob.expect("ann is anna now")
    bob.send("/reply yes?")
    assert ann.expect("yes?").endswith("bob -> you: yes?")
    ann.send("/quit")
    bob.expect("anna left")
    ann.rest()  # by then the name is free
    bob.send("/reply still there?")
    bob.expect("! Nobody here is called anna.")
    server.client("anna")
    bob.send("/reply still there?")
    bob.expect("! The anna who wrote to you has left.")


def test_a_flood_of_blank_lines_is_slowed_down_too(serve):
    server = serve(rate=20.0, burst=2)
    ann = server.client("ann")
    ann.send_bytes(b"\n" * 5_000 + b"/ping\n")
    ann.expect("* Pong:")
    paid = server.chat.sessions.named("ann")
    assert time.monotonic() - paid.began > 0.3  # five thousand blank lines cost ten tokens
