"""Coming back by a token: a person is where they were, with what they missed, even after hours and a restart."""

from __future__ import annotations

import queue
import re
import sqlite3
import threading
from contextlib import closing
from typing import Any

import pytest
from support.clients import LONG, TINY, Client, Editor, Program
from support.waiting import WAIT, wait_for

from chat_threads import events, kept, once
from chat_threads.client import Online
from chat_threads.client.requests import Request
from chat_threads.client.state import State
from chat_threads.client.talk import Talk
from chat_threads.dialects.notices import OFFER
from chat_threads.errors import Unreadable
from chat_threads.mailbox import Mailbox
from chat_threads.rules import fold
from chat_threads.service import returning
from chat_threads.wire import LINUX, Wire

SETTINGS = (
    "/set timestamps off",
    "/set numbers on",
    "/set joins off",
    "/set replay 3",
    "/set bell on",
    "/set zone utc",
)


def token_of(client: Client) -> str:
    client.send("/token")
    return client.expect("/resume ").split()[-1]


def gone(client: Client) -> None:
    """It has left: its rooms have seen it leave."""
    client.send("/quit")
    client.rest()


def texts(lines: list[str]) -> list[str]:
    """The messages among these lines, without their numbers and times."""
    said = (re.fullmatch(r"(?:\d+ )?(?:\[[^]]*\] )?(?:#\w+ )?(\w+: .*)", line) for line in lines)
    return [each[1] for each in said if each]


def settle_in(server) -> tuple[Client, str]:
    """ann is in two rooms and has set up much; #lab is her current one."""
    ann = server.client("ann")
    token = token_of(ann)
    for line in ("seen", "/join #lab", "/ignore bob", "/away at lunch", *SETTINGS):
        ann.ask(line)
    for line in ("seen, too", "/join #other", "and this", "/join #lab"):
        ann.ask(line)
    return ann, token


def everything_is_back(ann: Client, missed: list[str]) -> None:
    lines = ann.upto("* Pong:")
    assert [line for line in lines if line.startswith("* ")][-3:] == [  # below what was missed
        "* You are still away. /back ends it.",
        "* You still ignore bob. /unignore NAME shows again what somebody says.",
        "* What you type goes to #lab.",
    ]
    assert [line.split()[4].rstrip(",") for line in lines if line.startswith("* You are in")] == [
        "#lobby", "#other", "#lab",
    ], lines  # fmt: skip
    assert [text for text in texts(lines) if not text.startswith("ann: ")] == missed
    assert ann.ask("/set") == ["* Set: timestamps off, numbers on, colour off, bell on, joins off, replay 3, zone UTC."]
    assert ann.ask("/whois ann")[-1] == "* Away: at lunch"
    ann.send("here I am")
    assert ann.expect("here I am").endswith("ann: here I am")


@pytest.mark.parametrize("how", ["in place of a name", "in a conversation"])
def test_a_person_who_left_comes_back_with_everything_and_sees_what_they_missed(server, how):
    bob, cy = server.clients_named("bob", "cy")
    ann, token = settle_in(server)
    ann.send("my last word")
    gone(ann)
    for line in ("one", "/join #lab", "two"):
        cy.ask(line)
    bob.ask("not heard")
    again = server.client(None if how == "in place of a name" else "x #lobby")
    if how == "in a conversation":
        again.ask("/leave")
    again.send(f"/resume {token}", "/ping")
    everything_is_back(again, ["cy: one", "cy: two"])


ASKS_FOR_KEYS = b"\xff\xfb\x01\xff\xfb\x03"  # IAC WILL ECHO, IAC WILL SUPPRESS-GO-AHEAD
KNOWN = b"\xff\xfb\x1f\xff\xfc\x18"  # a client that speaks telnet, and does not tell its terminal's name


def edits_again(server, token: str, speaks: bytes, line: str) -> bool:
    """Whether a client that says this by telnet, and comes back, is asked for single keys, before it is told more."""
    client = server.client()
    client.expect("What is your name?")
    client.send_bytes(speaks + line.format(token).encode() + b"\r\n/ping\r\n")
    came = b""
    while b"Pong:" not in came:
        came += client.sock.recv(1 << 16)
    assert (b"asked to send each key" in came) == (ASKS_FOR_KEYS in came)
    assert (OFFER.encode() in came) != (ASKS_FOR_KEYS in came) or "eve" in line, "it is not offered to whoever has it"
    client.send_bytes(b"\xff\xfe\x01")  # it refuses, which is not forgetting
    client.send_bytes(b"/quit\r\n")
    client.rest()
    return ASKS_FOR_KEYS in came


@pytest.mark.parametrize("there", [True, False], ids=["still connected", "gone"])
def test_that_one_edits_lines_is_kept_as_soon_as_one_wants_it(server, there):
    ann = server.client("ann")
    token = token_of(ann)
    ann.send("/edit on")
    ann.expect("asked to send each key")
    if not there:
        ann.sock.close()
        wait_for(lambda: not server.chat.sessions.people())
    assert edits_again(server, token, KNOWN, "/resume {}")


@pytest.mark.parametrize("line", ["/resume {}", "eve\r\n/resume {}"])
def test_a_person_who_edited_lines_does_so_again_with_a_client_that_speaks_telnet(server, line):
    ann = Editor(server.port, "ann")
    server.clients.append(ann)
    token = ann.ask("/token")[-1].split()[-1]
    ann.send_bytes(b"/quit\r")
    ann.until(None)
    assert not edits_again(server, token, b"", line), "it may be nc"
    assert edits_again(server, token, KNOWN, line)
    assert edits_again(server, token, KNOWN, line)
    with closing(Program(server.port)) as elsewhere:  # as in the terminal client, or in a browser
        elsewhere.send({"type": "hello", "token": token, "place": True}, {"type": "quit"})
        elsewhere.rest()
    assert edits_again(server, token, KNOWN, line)
    cy = server.client("cy")
    cy.ask(f"/resume {token}")
    assert "edit" not in cy.ask("/set")[0]
    cy.ask("/edit off")
    gone(cy)
    assert not edits_again(server, token, KNOWN, line)


@pytest.mark.slow
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_forgets_nothing(start_process, end):
    process = start_process()
    bob = process.client("bob")
    ann, token = settle_in(process)
    if end == "kill":
        wait_for(lambda: '"replay","3"' in "".join(places(process.db)), "it is noted")
        process.kill()
    else:
        assert process.stop() == 0
    ann.close()
    bob.close()
    process = start_process()
    with process.client("cy") as cy, process.client() as again:
        cy.ask("while you were away")
        again.send(f"/resume {token}", "/ping")
        everything_is_back(again, ["cy: while you were away"])


def places(db) -> list[str]:
    with closing(sqlite3.connect(db)) as connection:
        return [place for (place,) in connection.execute("SELECT place FROM places")]


LEFT_OUT = "* What your other connection had received is not shown again. /history shows it."


def test_what_a_living_connection_has_received_is_not_shown_again(server):
    """In one room it has said something since, in the other one it has only listened."""
    ann, cy = server.clients_named("ann", "cy #lab")
    ann.ask("/join #lab")
    token = token_of(ann)
    for number in range(30):
        cy.ask(f"line {number}")
    ann.ask("my last word")
    cy.ask("after it")
    again = server.client()
    again.send(f"/resume {token}", "/ping")
    lines = again.upto("* Pong:")
    assert texts(lines) == []
    assert lines[-2:] == [LEFT_OUT, "* What you type goes to #lab."]
    assert texts(ann.rest())[-1:] == ["cy: after it"]
    third = server.client()
    third.send(f"/resume {token}", "/ping")
    assert texts(third.upto("* Pong:")) == []


@pytest.mark.skipif(not LINUX, reason="only Linux tells what has arrived")
@pytest.mark.parametrize("ignored", [False, True], ids=["", "amid ignored ones"])
def test_what_a_hanging_connection_has_not_received_is_shown_after_it(server, ignored):
    """Its client reads nothing: what fits into its system's buffer has arrived, and the rest has not."""
    cy, bob = server.clients_named("cy", "bob")
    ann = server.client("ann", receive_buffer=TINY)
    token = token_of(ann)
    if ignored:
        ann.ask("/ignore bob")
    for number in range(60):
        cy.ask(f"line {number} {LONG[:400]}")
        if ignored:
            bob.ask(LONG[:400])
    again = server.client()
    again.send(f"/resume {token}", "/ping")
    lines = again.upto("* Pong:")
    missed = [int(text.split()[2]) for text in texts(lines)]
    had = [int(text.split()[2]) for text in texts(ann.rest()) if "line" in text]
    assert missed == list(range(missed[0], 60))
    assert len(had) >= missed[0] > 0, "no hole, and what has surely arrived is not shown again"
    assert LEFT_OUT in lines


def test_where_nobody_knows_what_has_arrived_everything_since_the_last_line_is_shown(server, monkeypatch):
    monkeypatch.setattr(Wire, "unacknowledged", lambda wire: None)  # not Linux, or a proxy
    ann = server.client("ann")
    token = token_of(ann)
    ann.ask("/set replay 0")
    cy = server.client("cy")
    for number in range(30):
        cy.ask(f"line {number}")
    again = server.client()
    again.send(f"/resume {token}", "/ping")
    assert texts(again.upto("* Pong:")) == [f"cy: line {number}" for number in range(30)]
    ann.rest()
    again.ask("read")
    gone(again)
    third = server.client()
    third.send(f"/resume {token}", "/ping")
    assert texts(third.upto("* Pong:")) == []


def test_a_connection_that_broke_has_seen_what_was_there_at_its_last_line(server):
    ann = server.client("ann")
    token = token_of(ann)
    cy = server.client("cy")
    cy.ask("was it seen?")
    ann.reset()
    cy.expect("ann left")
    again = server.client()
    again.send(f"/resume {token}", "/ping")
    assert texts(again.upto("* Pong:")) == ["cy: was it seen?"]


def test_what_may_still_wait_to_be_sent_does_not_count_as_seen(server, monkeypatch):
    """A client that types but does not read, and then breaks off."""
    ann = server.client("ann")
    token = token_of(ann)
    cy = server.client("cy")
    for number in range(30):
        cy.ask(f"line {number}")
    session = server.chat.sessions.named("ann")
    monkeypatch.setattr(session.mailbox, "held", lambda: 20 * returning.SHORTEST)
    ann.ask("/away now")
    ann.reset()
    cy.expect("ann left")
    again = server.client()
    again.send(f"/resume {token}", "/ping")
    assert texts(again.upto("* Pong:")) == [f"cy: line {number}" for number in range(10, 30)]


@pytest.mark.parametrize("second", ["at once", "after it broke", "after it was through"])
def test_a_return_that_breaks_off_before_it_is_through_loses_nothing(server, monkeypatch, second):
    _, cy = server.clients_named("bob", "cy")
    ann, token = settle_in(server)
    gone(ann)
    cy.ask("missed")
    stuck, go_on = threading.Event(), threading.Event()
    newest = server.chat.publisher._newest
    monkeypatch.setattr(Mailbox, "held", lambda mailbox: 0)  # the system has taken it all, or it was dropped

    def slow(room: int, number: int, count: int) -> Any:
        stuck.set()
        go_on.wait(WAIT)
        return newest(room, number, count)

    with monkeypatch.context() as patch:
        patch.setattr(server.chat.publisher, "_newest", slow)  # the first return is held up on the way to its rooms
        first = server.client()
        first.send(f"/resume {token}")
        assert stuck.wait(WAIT)
    if second == "after it was through":  # its client has not read it, and breaks off
        go_on.set()
        wait_for(lambda: server.chat.sessions.named("ann").note_at is not None)
    if second != "at once":
        first.reset()
        go_on.set()
        wait_for(lambda: "ann" not in [each.name for each in server.chat.sessions.people()])
    again = server.client()
    again.send(f"/resume {token}", "/ping")
    if second == "at once":
        wait_for(lambda: server.chat.sessions.named("ann").number == 5)
        go_on.set()
    everything_is_back(again, ["cy: missed"])


def test_of_very_much_that_was_missed_the_newest_is_shown_and_where_the_rest_is(server, monkeypatch):
    monkeypatch.setattr(returning, "MISSED", 5)
    ann, cy = server.clients_named("ann", "cy")
    token = token_of(ann)
    gone(ann)
    for number in range(9):
        cy.ask(f"line {number}")
    again = server.client()
    again.send(f"/resume {token}", "/ping")
    lines = again.upto("* Pong:")
    assert texts(lines) == [f"cy: line {number}" for number in range(4, 9)]
    assert "* The last 5 of 9 messages; /history #lobby before 5 shows older ones." in lines


@pytest.mark.parametrize("said", ["before", "after"])
def test_a_room_that_is_gone_is_left_out_and_its_name_is_nowhere(server, said):
    """Whether or not anything had been said in it when it was noted."""
    ann, cy = server.clients_named("ann", "cy")
    token = token_of(ann)
    cy.ask("/create #secretroom")
    if said == "before":
        cy.ask("hello")
    ann.ask("/join #secretroom")
    gone(ann)
    cy.ask("hello again")
    cy.ask("/delete #secretroom yes")
    assert "secretroom" not in places(server.chat.storage.path)[0]
    again = server.client()
    again.send(f"/resume {token}", "/ping")
    lines = again.upto("* Pong:")
    assert [line for line in lines if "You are in" in line] == [
        "* You are in #lobby with 1 other: cy. /help lists the commands."
    ]


def test_a_token_keeps_little_and_what_it_keeps_is_forgotten_with_it(server, monkeypatch):
    ann = server.client("ann")
    token_of(ann)
    gone(ann)
    wait_for(lambda: len(places(server.chat.storage.path)) == 1)
    monkeypatch.setattr(once, "TOKENS", 0)
    server.client("bob")
    server.chat.history._upkeep.tokens_used = 10**6
    server.chat.history._upkeep.sweeping.at = 0.0
    server.client("cy").ask("hello")
    wait_for(lambda: places(server.chat.storage.path) == [], "it is forgotten")
    most = kept.Kept(
        (kept.Seen(2**62, 2**32, 2**62),) * 20,
        "x" * 200,
        ((2**63 - 1, "x" * 20),) * 100,
        (("timestamps", "seconds"),) * 9,
    )
    assert len(most.text()) < 10_000
    assert kept.Kept.read(most.text()) == most


@pytest.mark.parametrize("what", ["room_names", "place", "page"])
def test_a_history_that_cannot_be_read_just_now_loses_nothing(server, monkeypatch, what):
    """Either nothing happens and the person may try again, or what could not be entered is still kept."""
    ann, token = settle_in(server)
    gone(ann)
    again = server.client()

    def unreadable(*_: object) -> None:
        raise Unreadable("the disk is busy")

    with monkeypatch.context() as patch:
        patch.setattr(server.chat.storage, what, unreadable)
        patch.setattr(server.chat.publisher, "_newest", unreadable)
        again.send(f"/resume {token}")
        again.expect("Try again.")
        if what == "page":
            again.ask("/away now")
            gone(again)
            again = server.client()
    again.send(f"/resume {token}", "/ping")
    lines = again.upto("* Pong:")
    assert sum("You are in" in line for line in lines) == 3


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "[1,2,3,4]", '[[["x"]],null,[],[]]', "null"])
def test_what_cannot_be_read_keeps_nothing(text):
    assert kept.Kept.read(text) == kept.Kept()


def test_a_program_that_was_in_no_room_is_welcomed_at_once(server):
    """Nothing else follows that would be sent with it."""
    program = Program(server.port)
    server.clients.append(program)
    program.greeting = program.file.readline()
    assert program.greeting
    program.send(type="hello", name="ann", place=True, since={})
    assert program.expect("welcome")["name"] == "ann"


def test_a_room_is_known_by_its_name_in_any_case():
    assert kept.mark_of("#Lab") == kept.mark_of(fold("#lab")) != kept.mark_of("#lab2")


def test_a_program_keeps_everything_itself(server):
    with closing(Program(server.port)) as ann, closing(Program(server.port)) as again:
        ann.send(type="hello", name="ann", room="#lab")
        token = ann.expect("welcome")["token"]
        ann.ask(type="say", text="hi")
        ann.ask(type="away", reason="x")
        ann.send(type="quit")
        ann.rest()
        again.send(type="hello", token=token)
        assert again.expect("joined")["room"] == "#lobby"
        again.send(type="whois", name="ann")
        assert again.expect("whois")["away"] is None
    assert places(server.chat.storage.path) == []


class Telnet:
    """A person in telnet."""

    def __init__(self, server: Any, connect: Any, name: str) -> None:
        self._client = server.client(name)

    def ask(self, *lines: str) -> list[str]:
        """What is shown up to the answer to the last line."""
        self._client.send(*lines, "/ping")
        return self._client.upto("* Pong:")

    def leave(self) -> None:
        gone(self._client)


class Terminal:
    """A person in the terminal client, which shows less on entering than the person will have missed."""

    def __init__(self, server: Any, connect: Any, name: str, password: str = "") -> None:
        name, _, room = name.partition(" ")
        options: dict[str, Any] = {"reconnect": True, "answers": True, "place": True, "replay": 3}
        self._chat = connect(server, name, room=room or None, password=password, **options)
        self._shown: queue.Queue[str] = queue.Queue()
        self._talk = Talk(self._chat, self._show)
        self._thread = threading.Thread(target=self._talk.listen)
        self._thread.start()

    def _show(self, lines: str, error: bool) -> None:
        for line in re.sub("\x1b\\[[0-9;]*m", "", lines).split("\n"):
            self._shown.put(line)

    def ask(self, *lines: str) -> list[str]:
        for line in (*lines, "/ping"):
            self._talk.obey(line)
        return list(iter(lambda: self._shown.get(timeout=WAIT).partition("Pong:")[0], "* "))

    def leave(self) -> None:
        self._chat.close()
        self._thread.join(WAIT)


def options(told: list[str]) -> set[str]:
    """What "/set" says."""
    return {*" ".join(told).replace("*   ", "").partition("Set: ")[2].rstrip(".").split(", ")}


def test_what_is_set_in_the_terminal_client_is_kept_with_an_account(server, connect):
    ann = Terminal(server, connect, "ann")
    ann.ask("/set joins off", "/set color on", "/register", "a long secret", "a long secret", "/set numbers on")
    ann.leave()
    again = Terminal(server, connect, "ann", "a long secret")
    assert {"numbers on", "joins off", "colour on"} <= options(again.ask("/set"))
    again.ask("/set timestamps seconds", "/set replay 9")
    again.leave()
    again = Terminal(server, connect, "ann", "a long secret")
    assert {"timestamps seconds", "numbers on", "joins off", "replay 9"} <= options(again.ask("/set"))


@pytest.mark.parametrize("before", [Telnet, Terminal])
@pytest.mark.parametrize("after", [Telnet, Terminal])
def test_telnet_and_the_terminal_client_keep_the_same_place(server, connect, before, after):
    cy, _ = server.clients_named("cy", "bob")
    ann = before(server, connect, "ann")
    ann.ask("/set numbers on", "/join #lab", "/ignore bob", "seen", "/join #lobby", "/set joins off")
    token = next(line for line in ann.ask("/token") if "/resume" in line).split()[-1]
    ann.ask("/set timestamps off", "/away at lunch", "/join #lab")
    ann.leave()
    cy.expect("ann left")
    for number in range(9):
        cy.ask(f"line {number}")
    again = after(server, connect, "tmp #other")
    lines = again.ask(f"/resume {token}")
    assert [text for text in texts(lines) if text.startswith("cy: ")] == [f"cy: line {number}" for number in range(9)]
    rooms = [line.split()[4].rstrip(",") for line in lines if line.startswith("* You are in")]
    assert rooms[-2:] == ["#lobby", "#lab"]
    assert "* You are still away. /back ends it." in lines
    shown = " ".join(again.ask("/set", "/ignore", "back again"))
    for part in ("timestamps off, numbers on", "joins off", "You ignore bob.", "2 ann: back again"):
        assert part in shown
    assert cy.ask("/whois ann")[-1] == "* Away: at lunch"
    again.leave()


def test_a_person_who_was_in_no_room_is_in_none_when_the_client_reconnects(server, connect):
    ann = connect(server, "ann", reconnect=True, place=True)
    ann.leave()
    server.chat.sessions.named("ann").wire.stop_reading()
    assert any(isinstance(event, Online) for event in ann.events(WAIT))
    assert (ann.whois("ann").person.rooms, ann.room) == ((), None)
    ann.join("#lab")
    server.chat.sessions.named("ann").wire.stop_reading()
    assert any(isinstance(event, Online) for event in ann.events(WAIT))
    assert (ann.whois("ann").person.rooms, ann.room) == (("#lab",), "#lab")


def test_a_client_that_has_returned_and_missed_nothing_is_shown_nothing_again_when_it_reconnects():
    state = State("tmp", None, 3, place=True)
    state.note(events.Notice("You are ann now.", name="ann"), Request("resume", {"token": "t0ken"}, "1"))
    state.note(events.Entered("#lab", "", (), 0, 9, False), None)
    assert (state.hello()["since"], state.hello()["place"]) == ({"#lab": 9}, True)
    assert state.note(events.Message(0, "#lab", 2, 0, "cy", "say", "missed"), None)
    assert state.hello()["since"] == {"#lab": 2}


@pytest.mark.parametrize("how", ["login", "at the door"])
def test_after_a_login_a_client_is_shown_all_that_its_person_has_missed(server, connect, how):
    """Also more than the number of messages that it is shown on entering a room."""
    secret = "a long secret"
    ann, bob = connect(server, "ann", place=True, room="#lab"), connect(server, "bob", room="#lab")
    ann.register(secret)
    ann.request("token")
    bob.say("#lab", "seen")
    assert any(isinstance(event, events.Message) for event in ann.events(WAIT))
    ann.say("#lab", "seen, too")
    ann.close()
    for number in range(60):
        bob.say("#lab", f"missed {number}")
    if how == "login":
        again = connect(server, "guest", place=True)
        again.login("ann", secret)
    else:
        again = connect(server, "ann", place=True, password=secret)
    found: list[str] = []
    for event in again.events(WAIT):
        found += [event.text] if isinstance(event, events.Message) and event.room == "#lab" else []
        if len(found) == 60:
            break
    assert found == [f"missed {number}" for number in range(60)]
