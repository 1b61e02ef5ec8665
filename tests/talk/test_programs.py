"""Programs among people, over sockets: the effect of each request, the order of events, and the end."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
from datetime import datetime
from typing import Any

import pytest
from support.clients import Program, line_of
from support.waiting import WAIT

from chat_threads import __version__, commands
from chat_threads.dialects.jsonlines import REQUESTS
from chat_threads.service import METHODS
from chat_threads.storage import Batch
from chat_threads.storage_errors import StorageError

LIMITS = {"line": 65536, "text": 2000, "lines": 40, "words": 200, "ref": 64, "refs": 256, "replay": 200}


def kinds(objects: list[dict[str, Any]]) -> list[str]:
    return [each["type"] for each in objects]


def test_a_hello_is_answered_by_welcome_and_then_joined_and_then_what_was_said(server, program):
    ann = program("ann", server, room="#lab2")
    ann.ask({"type": "say", "text": "one"}, {"type": "topic", "text": "locks"})
    bob = program(None, server)
    bob.send(type="hello", name="bob", room="#lab2", ref="h")
    welcome, joined, message = bob.read(), bob.read(), bob.read()
    assert re.fullmatch(r"[\w-]{22}", welcome.pop("token"))
    assert welcome == {
        "type": "welcome", "name": "bob", "version": __version__, "motd": [], "limits": LIMITS, "ref": "h"
    }  # fmt: skip
    assert joined == {
        "type": "joined", "room": "#lab2", "topic": "locks", "people": ["ann"], "count": 1, "last": 1, "ref": "h"
    }  # fmt: skip
    assert message["text"] == "one"
    assert "ref" not in message
    assert abs(datetime.strptime(message["at"], "%Y-%m-%dT%H:%M:%S.%f%z").timestamp() - time.time()) < 60
    assert ann.expect("presence") == {"type": "presence", "room": "#lab2", "kind": "joined", "names": ["bob"]}


def test_a_hello_without_a_room_begins_in_the_lobby(program):
    assert program("ann").seen[-1]["room"] == "#lobby"


@pytest.mark.parametrize("early", [True, False])
def test_the_greeting_is_one_line_before_the_objects(request, server, early):
    """A client that speaks at once is greeted as a program; a client that waits gets the greeting for people."""
    request.getfixturevalue("greets_late" if early else "greets_at_once")
    with socket.create_connection(("127.0.0.1", server.port), WAIT) as sock, sock.makefile("rb") as file:
        hello = b'{"type":"hello","name":"ann"}\n'
        if early:
            sock.sendall(hello)
        greeting = file.readline()
        assert greeting.startswith(f"* Welcome to chat_threads {__version__}. ".encode())
        assert early is (b"Programs skip this line." in greeting)
        if not early:
            sock.sendall(hello)
        assert json.loads(file.readline())["type"] == "welcome"


def test_everything_may_be_sent_at_once_and_a_byte_at_a_time(program):
    ann = program()
    whole = line_of({"type": "hello", "name": "ann"}) + line_of({"type": "say", "text": "hi", "ref": "1"})
    for byte in whole:
        ann.sock.sendall(bytes((byte,)))
    assert ann.expect("ack", ref="1")["number"] == 1
    bob = program()
    bob.sock.sendall(whole.replace(b"ann", b"bob") + line_of({"type": "quit"}))
    assert bob.expect("ack", ref="1")["number"] == 2
    assert kinds(bob.rest()) == ["bye"]


def test_replay_0_in_the_hello_shows_nothing_of_what_was_said(server, program):
    ann = program("ann", server)
    ann.ask(*({"type": "say", "text": str(number)} for number in range(5)))
    none = program("bob", server, replay=0)
    assert [each for each in none.ask(type="rooms") if each["type"] == "message"] == []
    two = program("cy", server, replay=2)
    assert [each["text"] for each in two.ask(type="rooms") if each["type"] == "message"] == ["3", "4"]


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ({"type": "hello", "name": "1ann"}, "bad_name"),
        ({"type": "hello", "name": ""}, "bad_name"),
        ({"type": "hello", "name": "x" * 60_000}, "bad_name"),
        ({"type": "hello", "name": "bob"}, "name_taken"),
        ({"type": "hello", "name": "ann", "room": "lab"}, "bad_room"),
        ({"type": "hello"}, "bad_request"),
        ({"type": "hello", "name": 5}, "bad_request"),
        ({"type": "hello", "name": "ann", "replay": 201}, "bad_request"),
        ({"type": "say", "text": "hi"}, "bad_request"),
        ({"type": "nothing"}, "unknown_type"),
    ],
)
def test_a_mistake_in_the_handshake_gets_an_error_with_its_ref_and_the_program_may_try_again(
    server, program, first, code
):
    program("bob", server)
    ann = program(None, server)
    ann.send({**first, "ref": "1"}, {"type": "hello", "name": "ann", "ref": "2"})
    error, welcome = ann.read(), ann.read()
    assert (error["type"], error["code"], error["ref"]) == ("error", code, "1")
    assert (welcome["type"], welcome["ref"]) == ("welcome", "2")


def test_after_ten_tries_a_program_gets_an_error_and_the_connection_ends(program):
    ann = program()
    ann.sock.sendall(b'{"type":\n\n{"type":"hello","name":"1"}\r\n' + b'{"type":"ping"}\n' * 8)
    ann.send(type="hello", name="ann")
    errors = ann.rest()
    assert [(each["type"], each.get("code")) for each in errors] == [
        ("error", "bad_json"),
        ("error", "bad_name"),
        *[("error", "bad_request")] * 8,
        ("error", "no_handshake"),
        ("bye", None),
    ]
    assert errors[-1]["reason"] == "no_handshake"
    assert errors[-2]["text"] == "That was the last try. Connect again to try again."


def test_a_program_may_quit_instead_of_saying_hello(program):
    ann = program()
    ann.send(type="quit", ref="1")
    assert ann.rest() == [{"type": "bye", "reason": "quit", "ref": "1"}]


# Requests by ann, who is in #lobby and #lab (which she made), and the types of all that comes to her, in order.
ASKED = (
    ({"type": "say", "text": "hi"}, ["message", "ack*"]),
    ({"type": "say", "text": "hi", "room": "#lobby"}, ["message", "ack*"]),
    ({"type": "action", "text": "waves"}, ["message", "ack*"]),
    ({"type": "private", "to": "bob", "text": "psst"}, ["private*"]),
    ({"type": "reply", "text": "yes?"}, ["private*"]),
    ({"type": "join", "room": "#new"}, ["joined*"]),
    ({"type": "join", "room": "#lobby"}, ["current*"]),
    ({"type": "leave"}, ["left*"]),
    ({"type": "leave", "room": "#lobby"}, ["left*"]),
    ({"type": "create", "room": "#new", "topic": "x"}, ["joined*"]),
    ({"type": "delete", "room": "#lab"}, ["deleted", "ack*"]),
    ({"type": "delete", "room": "#lab", "ask": True}, ["notice*"]),
    ({"type": "rooms"}, ["rooms*"]),
    ({"type": "who"}, ["who*"]),
    ({"type": "who", "room": "#lobby"}, ["who*"]),
    ({"type": "topic"}, ["topic*"]),
    ({"type": "topic", "text": "locks"}, ["topic", "ack*"]),
    ({"type": "invite", "name": "bob"}, ["notice*"]),
    ({"type": "room"}, ["room*"]),
    ({"type": "room", "room": "#lab", "setting": "quiet"}, ["room", "ack*"]),
    ({"type": "room", "room": "#lab", "setting": "pink"}, ["error* bad_request"]),
    ({"type": "room", "room": "#bobs", "setting": "quiet"}, ["error* not_allowed"]),
    ({"type": "op", "room": "#lab", "name": "bob"}, ["moderated", "ack*"]),
    ({"type": "op", "room": "#bobs", "name": "bob"}, ["error* not_allowed"]),
    ({"type": "deop", "room": "#lab", "name": "bob"}, ["error* not_listed"]),
    ({"type": "kick", "room": "#lab", "name": "bob"}, ["error* not_listed"]),
    ({"type": "ban", "room": "#lab", "name": "bob", "seconds": 60, "why": "rude"}, ["moderated", "ack*"]),
    ({"type": "ban", "room": "#lab", "name": "bob", "address": True}, ["error* not_allowed"]),
    ({"type": "mute", "room": "#lab", "name": "bob", "seconds": 0}, ["error* bad_request"]),
    ({"type": "unban", "room": "#lab", "name": "bob"}, ["error* not_listed"]),
    ({"type": "bans", "room": "#lab"}, ["bans*"]),
    ({"type": "bans", "room": "#bobs"}, ["error* not_allowed"]),
    ({"type": "mute", "room": "#lab", "name": "bob"}, ["moderated", "ack*"]),
    ({"type": "unmute", "room": "#lab", "name": "bob"}, ["error* not_listed"]),
    ({"type": "uninvite", "room": "#lab", "name": "bob"}, ["error* not_listed"]),
    ({"type": "typed", "line": "/who"}, ["who*"]),
    ({"type": "typed", "line": "/ban bob"}, ["moderated", "ack*"]),
    ({"type": "typed", "line": "/help"}, ["help*"]),
    ({"type": "typed", "line": "/nothing"}, ["error* unknown_command"]),
    ({"type": "typed", "line": "/edit on"}, ["error* bad_request"]),
    ({"type": "typed", "line": " "}, ["error* bad_request"]),
    ({"type": "register", "password": "s3cret-s3cret"}, ["notice*"]),
    ({"type": "login", "name": "nobody", "password": "s3cret-s3cret"}, ["error* no_account"]),
    ({"type": "password", "password": "s3cret-s3cret", "new": "s3cret-other"}, ["error* not_logged_in"]),
    ({"type": "unregister", "password": "s3cret-s3cret"}, ["error* not_logged_in"]),
    ({"type": "operator", "token": "t0ken"}, ["error* not_logged_in"]),
    ({"type": "nick", "name": "anna"}, ["notice*"]),
    ({"type": "token"}, ["token*"]),
    ({"type": "whois", "name": "bob"}, ["whois*"]),
    ({"type": "away", "reason": "at lunch"}, ["notice*"]),
    ({"type": "back"}, ["notice*"]),
    ({"type": "ignore", "name": "bob"}, ["notice*"]),
    ({"type": "ignore"}, ["notice*"]),
    ({"type": "unignore", "name": "bob"}, ["notice*"]),
    ({"type": "history"}, ["history*"]),
    ({"type": "redact", "number": 1}, ["error* unknown_message"]),
    ({"type": "report", "about": "bob", "why": "rude"}, ["notice*"]),
    ({"type": "announce", "text": "hi"}, ["error* not_allowed"]),
    ({"type": "audit"}, ["audit*"]),
    ({"type": "audit", "room": "#lobby"}, ["error* not_allowed"]),
    ({"type": "search", "words": "hi"}, ["search*"]),
    ({"type": "set"}, ["notice*"]),
    ({"type": "set", "option": "joins", "value": "on"}, ["notice*"]),
    ({"type": "qr"}, ["qr*"]),
    ({"type": "stats"}, ["stats*"]),
    ({"type": "threads"}, ["threads*"]),
    ({"type": "locks"}, ["locks*"]),
    ({"type": "trace", "number": 1}, ["error* no_trip"]),
    ({"type": "lab", "fault": "pause", "target": "history", "amount": 1}, ["error* not_allowed"]),
    ({"type": "ping"}, ["pong*"]),
    ({"type": "help"}, ["help*"]),
    ({"type": "quit", "words": "see you"}, ["bye*"]),
    # mistakes
    ({"type": "say", "text": ""}, ["error* nothing_to_say"]),
    ({"type": "say", "text": "\u200b\n"}, ["error* nothing_to_say"]),
    ({"type": "say", "text": "x" * 2001}, ["error* too_long"]),
    ({"type": "say", "text": "hi", "room": "#none"}, ["error* unknown_room"]),
    ({"type": "say", "text": "hi", "room": "none"}, ["error* bad_room"]),
    ({"type": "say", "text": "hi", "room": "#bobs"}, ["error* not_in_room"]),
    ({"type": "private", "to": "nobody", "text": "x"}, ["error* unknown_person"]),
    ({"type": "join", "room": "#"}, ["error* bad_room"]),
    ({"type": "leave", "room": "#bobs"}, ["error* not_in_room"]),
    ({"type": "create", "room": "#bobs"}, ["error* room_exists"]),
    ({"type": "delete", "room": "#bobs"}, ["error* not_allowed"]),
    ({"type": "delete", "room": "#lobby"}, ["error* not_allowed"]),
    ({"type": "who", "room": "#none"}, ["error* unknown_room"]),
    ({"type": "topic", "text": "x" * 201}, ["error* too_long"]),
    ({"type": "invite", "name": "nobody"}, ["error* unknown_person"]),
    ({"type": "nick", "name": "bob"}, ["error* name_taken"]),
    ({"type": "nick", "name": "x y"}, ["error* bad_name"]),
    ({"type": "whois", "name": "\x1b" * 10_000}, ["error* unknown_person"]),
    ({"type": "away", "reason": "x" * 201}, ["error* too_long"]),
    ({"type": "ignore", "name": "ann"}, ["error* not_allowed"]),
    ({"type": "history", "room": "#none"}, ["error* unknown_room"]),
    ({"type": "search", "words": "!"}, ["error* nothing_to_say"]),
    ({"type": "set", "option": "numbers", "value": "on"}, ["error* bad_request"]),
    ({"type": "set", "option": "replay", "value": "0" * 5000}, ["error* bad_request"]),
    ({"type": "resume", "token": "nobody's"}, ["error* unknown_token"]),
    ({"type": "hello", "name": "ann"}, ["error* bad_request"]),
    ({"type": "nothing"}, ["error* unknown_type"]),
)


def test_the_answer_of_each_request_brings_its_ref_back_and_nothing_else_does(server, program, caplog):
    program("bob", server, room="#bobs").ask(type="rooms")
    for number, (asked, expected) in enumerate(ASKED):
        name, lab = f"ann{number}", f"#lab{number}"  # rooms stay, so each has one of her own
        ann = program(name, server, replay=0)
        ann.send(type="create", room=lab)
        ann.expect("joined", room=lab)
        eve = program(f"eve{number}", server, room="#bobs")
        eve.ask(type="private", to=name, text="you?")
        ann.expect("private")
        ann.ask(type="rooms")
        request = json.loads(json.dumps(asked).replace('"#lab"', f'"{lab}"').replace('"#new"', f'"#new{number}"'))
        if request.get("name") in ("ann", "anna"):
            request["name"] += str(number)
        ann.send({**request, "ref": "mine"}, *([] if asked["type"] == "quit" else [{"type": "ping", "ref": "after"}]))
        came = ann.rest() if asked["type"] == "quit" else ann.upto("pong", ref="after")
        got = [
            " ".join([each["type"] + ("*" if each.get("ref") == "mine" else ""), *filter(None, [each.get("code")])])
            for each in came
        ]
        assert got == expected, asked
        assert sum("ref" in each for each in came) == 1
        for client in (ann, eve):
            if client is eve or asked["type"] != "quit":
                client.send({"type": "quit"})
                client.rest()
            client.close()
    assert {asked["type"] for asked, _ in ASKED} >= set(REQUESTS)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_requests_without_a_ref_are_not_acknowledged(program):
    ann = program("ann")
    assert kinds(ann.ask({"type": "say", "text": "hi"}, {"type": "topic", "text": "x"})) == ["message", "topic"]


def test_a_private_line_is_seen_by_the_two_and_has_the_senders_ref(server, program):
    ann, bob, cy = program("ann", server), program("bob", server), program("cy", server)
    (sent,) = [each for each in ann.ask(type="private", to="BOB", text="psst", ref="1") if each["type"] == "private"]
    assert {**sent, "at": ""} == {"type": "private", "at": "", "from": "ann", "to": "bob", "text": "psst", "ref": "1"}
    got = bob.expect("private")
    assert {**got, "ref": "1"} == sent
    assert "private" not in kinds(cy.ask(type="who"))
    bob.send(type="reply", text="yes?")
    assert ann.expect("private")["text"] == "yes?"


def test_the_others_in_the_room_see_what_a_program_does(server, program):
    ann, bob = program("ann", server), program("bob", server)
    ann.expect("presence", kind="joined", names=["bob"])
    bob.send(
        {"type": "action", "text": "waves"},
        {"type": "topic", "text": "locks"},
        {"type": "nick", "name": "rob"},
        {"type": "create", "room": "#lab"},
        {"type": "invite", "name": "ann"},
        {"type": "quit", "words": "see you"},
    )
    bob.rest()
    seen = ann.upto("presence", kind="left")
    assert [
        {key: value for key, value in each.items() if key != "at"} for each in seen if each["type"] != "invited"
    ] == [
        {"type": "message", "room": "#lobby", "number": 1, "from": "bob", "kind": "action", "text": "waves"},
        {"type": "topic", "room": "#lobby", "topic": "locks", "by": "bob"},
        {"type": "presence", "kind": "renamed", "old": "bob", "new": "rob"},
    ]
    assert [each for each in seen if each["type"] == "invited"] == [{"type": "invited", "room": "#lab", "by": "rob"}]
    assert ann.seen[-1] == {"type": "presence", "room": "#lobby", "kind": "left", "names": ["rob"], "words": "see you"}


def test_members_see_that_their_room_is_deleted(server, program):
    ann, bob = program("ann", server, room="#lab"), program("bob", server, room="#lab")
    ann.send(type="delete", room="#lab", ref="d")
    assert bob.expect("deleted") == {"type": "deleted", "room": "#lab", "by": "ann", "current": "#lobby"}
    assert bob.read()["room"] == "#lobby"
    seen = kinds([*ann.upto("ack", ref="d"), ann.seen[-1]])
    assert [each for each in seen if each != "presence"] == ["deleted", "joined", "ack"]


def test_a_program_may_ask_what_deleting_a_room_would_delete(server, program):
    ann, bob = program("ann", server, room="#lab"), program("bob", server, room="#lab")
    ann.ask({"type": "say", "text": "one"}, {"type": "say", "text": "two"})
    told = ann.ask(type="delete", room="#lab", ask=True, ref="d")
    assert told[0] == {
        "type": "notice",
        "text": "#lab has 2 messages.",
        "room": "#lab",
        "next": "delete",
        "ref": "d",
    }
    assert bob.ask(type="delete", room="#lab", ask=True)[-1]["code"] == "not_allowed"
    ann.ask(type="leave")
    told = ann.ask(type="delete", room="#lab", ask=False, ref="d")
    assert kinds(told[:2]) == ["notice", "ack"], "she is not in there any more, and is answered all the same"


def test_with_joins_off_a_program_gets_no_joins_and_leaves(server, program):
    ann = program("ann", server)
    ann.ask(type="set", option="joins", value="off")
    bob = program("bob", server)
    bob.send({"type": "nick", "name": "rob"}, {"type": "say", "text": "hi"}, {"type": "quit"})
    bob.rest()
    assert kinds(ann.ask(type="who")) == ["message", "who"]


def test_a_program_does_not_get_what_ignored_people_say(server, program):
    ann, bob = program("ann", server), server.client("bob")
    ann.expect("presence", names=["bob"])
    ann.ask(type="ignore", name="BOB")
    bob.ask("in the room")
    bob.ask("/msg ann in private")
    bob.ask("/create #own")
    bob.ask("/invite ann")
    bob.ask("/leave")
    assert kinds(ann.ask(type="history")) == ["history"]
    assert [each["text"] for each in ann.seen[-2]["messages"]] == ["in the room"]
    ann.ask(type="unignore", name="bob")
    bob.ask("again")
    assert ann.expect("message")["text"] == "again"


def test_history_is_paged_by_numbers(program):
    ann = program("ann")
    ann.ask(*({"type": "say", "text": str(number)} for number in range(1, 31)))
    (page,) = ann.ask(type="history", count=10)
    assert [each["number"] for each in page["messages"]] == list(range(21, 31))
    assert (page["last"], page["before"], page["after"]) == (30, 21, None)
    (page,) = ann.ask(type="history", before=page["before"], count=5)
    assert [each["number"] for each in page["messages"]] == list(range(16, 21))
    assert page["after"] == 20
    (page,) = ann.ask(type="history", after=page["after"])
    assert [each["number"] for each in page["messages"]] == list(range(21, 31))
    (page,) = ann.ask(type="history", seconds=2**53 - 1, before=2**53 - 1)
    assert len(page["messages"]) == 30
    for empty in ({"before": 0}, {"after": 2**53 - 1}):
        (page,) = ann.ask(type="history", **empty)
        assert (page["messages"], page["last"], page["before"], page["after"]) == ([], 30, None, None)
    (found,) = ann.ask({"type": "search", "words": "17", "from": "Ann", "room": "#lobby"})
    assert [each["text"] for each in found["messages"]] == ["17"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"x" * 70_000, "too_long"), (b"[" * 100_000, "too_long"), (b"[" * 60_000, "bad_json"), (b"\xff", "not_utf8"),
        (b"hi", "bad_json"), (b'{"type":"say","text":"\\ud800"}', "bad_json"), (b"[]", "bad_json"),
        (b"{}", "unknown_type"), (b'{"type":"history","count":' + b"9" * 5000 + b"}", "bad_json"),
        (b"/quit", "bad_json"), (b"\xff\xf4", "not_utf8"),
    ],
)  # fmt: skip
def test_a_line_that_is_not_understood_gets_an_error_and_the_connection_stays(program, line, code):
    ann = program("ann")
    ann.sock.sendall(line + b"\r\n\r\n\n")
    (error,) = ann.ask(type="say", text="hi", ref="1")[:-2]
    assert (error["type"], error["code"]) == ("error", code)
    assert "ref" not in error
    assert kinds(ann.seen[-3:]) == ["message", "ack", "pong"]


def test_names_that_take_long_to_normalize_hold_nobody_up(program):
    marks = "a" + "\u0315\u0300" * 16_000  # sorting them takes the square of their number
    ann = program("ann")
    began = time.perf_counter()
    came = ann.ask(
        {"type": "join", "room": "#" + marks}, {"type": "nick", "name": marks}, {"type": "whois", "name": marks},
        {"type": "private", "to": marks, "text": "x"}, {"type": "search", "words": "x", "from": marks},
        {"type": "ignore", "name": marks}, {"type": "say", "text": "x", "room": "#" + marks},
    )  # fmt: skip
    assert time.perf_counter() - began < 2
    assert [each.get("code") for each in came] == [
        "bad_room", "bad_name", "unknown_person", "unknown_person", None, "unknown_person", "bad_room"
    ]  # fmt: skip


def test_a_program_and_a_person_talk(server, program):
    ann, bob = server.client("ann"), program("bob", server)
    ann.expect("bob joined")
    ann.send("hello, bob")
    assert bob.expect("message")["from"] == "ann"
    bob.send(type="say", text="hello, ann \x1b[2J\r\n* eve left\u2028no third line")
    assert ann.expect("hello, ann").endswith("bob: hello, ann")
    assert ann.line() == "  | * eve left no third line"
    bob.send(type="private", to="ann", text="psst")
    assert ann.expect("psst").endswith("bob -> you: psst")


def test_programs_and_people_see_the_same_messages_numbers_and_order_under_load(serve):
    server = serve(queue_limit=100_000)
    each, total = 250, 2000
    people = server.clients_named("person0", "person1", "person2", "person3", "ear")
    for person in people:
        person.ask("/set numbers on")
    programs = [Program(server.port) for _ in range(5)]
    seen: dict[int, list[tuple[int, str, str]]] = {}
    acks: dict[int, list[tuple[str, int]]] = {}

    def person(index: int) -> None:
        if index < 4:
            people[index].send(*(f"text {count}" for count in range(each)))
        found = seen[index] = []
        while len(found) < total and (line := people[index].line()) is not None:
            if match := re.fullmatch(r"(\d+) \[\d\d:\d\d\] (\w+): (.*)", line):
                found.append((int(match[1]), match[2], match[3]))

    def machine(index: int) -> None:
        me = programs[index]
        if index < 4:
            me.send(*({"type": "say", "text": f"text {count}", "ref": str(count)} for count in range(each)))
        found, acked = seen.setdefault(10 + index, []), acks.setdefault(index, [])
        while (len(found) < total or (index < 4 and len(acked) < each)) and (got := me.read()) is not None:
            if got["type"] == "message":
                assert got["room"] == "#lobby"
                found.append((got["number"], got["from"], got["text"]))
            elif got["type"] == "ack":
                assert got["number"] in {number for number, *_ in found[-4000:]}, "acknowledged before it was shown"
                acked.append((got["ref"], got["number"]))

    try:
        for number, me in enumerate(programs):
            me.send(type="hello", name=f"program{number}" if number < 4 else "listener", replay=0)
            me.expect("joined")
        threads = [threading.Thread(target=work, args=(index,)) for work in (person, machine) for index in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
            assert not thread.is_alive()
    finally:
        for me in programs:
            me.close()
    [lobby] = server.chat.storage.rooms()
    history = [(row.number, row.sender, row.text) for row in server.chat.storage.page(lobby.id, limit=total + 1)]
    assert [number for number, *_ in history] == list(range(1, total + 1))
    assert sorted(seen) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    for index, found in seen.items():
        assert found == history, index
    for index in range(4):
        mine = [(text, number) for number, sender, text in history if sender == f"program{index}"]
        assert [(f"text {ref}", number) for ref, number in acks[index]] == mine
        assert [text for text, _ in mine] == [f"text {count}" for count in range(each)]


def test_neither_ack_nor_message_comes_before_the_commit(server, program, monkeypatch):
    ann, bob = program("ann", server), program("bob", server)
    ann.ask(type="who")
    commit, inside, gate, seen_by_then = server.chat.storage.commit, threading.Event(), threading.Event(), []

    def held(batch: Batch) -> None:
        if batch.messages:  # not somebody's coming in
            inside.set()
            assert gate.wait(WAIT)
        commit(batch)

    monkeypatch.setattr(server.chat.storage, "commit", held)
    ann.send(type="say", text="hi", ref="1")
    assert inside.wait(WAIT)
    for who in (ann, bob):  # answered at once, past the history
        who.send(type="stats", ref="meanwhile")
        seen_by_then += who.upto("stats", ref="meanwhile")
    gate.set()
    assert not {"message", "ack"} & set(kinds(seen_by_then))
    assert kinds([*ann.upto("ack"), ann.seen[-1]]) == ["message", "ack"]
    assert ann.seen[-1] == {"type": "ack", "room": "#lobby", "number": 1, "ref": "1"}
    assert bob.expect("message")["number"] == 1


def test_a_message_that_cannot_be_stored_gets_an_error_with_its_ref_and_nobody_sees_it(server, program, monkeypatch):
    ann, bob = program("ann", server, room="#lab"), program("bob", server, room="#lab")
    ann.expect("presence", names=["bob"])

    def full(batch: object) -> None:
        raise StorageError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(server.chat.storage, "commit", full)
        for number, request in enumerate(
            [{"type": "say", "text": "x"}, {"type": "topic", "text": "x"}, {"type": "delete", "room": "#lab"}]
        ):
            (error,) = ann.ask({**request, "ref": str(number)})
            assert (error["type"], error["code"], error["ref"]) == ("error", "not_stored", str(number))
            assert "disk full" in error["text"]
        (error,) = ann.ask(type="action", text="without a ref")
        assert (error["code"], "ref" in error) == ("not_stored", False)
    assert kinds(bob.ask(type="who")) == ["who"]
    assert ann.ask(type="say", text="x", ref="9")[-1] == {"type": "ack", "room": "#lab", "number": 1, "ref": "9"}
    assert bob.expect("message")["number"] == 1


def test_after_quit_comes_what_was_said_and_bye(program):
    ann = program("ann")
    ann.send({"type": "say", "text": "hi", "ref": "1"}, {"type": "quit", "ref": "2"}, {"type": "say", "text": "more"})
    assert kinds(ann.rest()) == ["message", "ack", "bye"]
    assert ann.seen[-1] == {"type": "bye", "reason": "quit", "ref": "2"}


def test_a_server_that_stops_says_so_with_a_reason(server, program):
    ann, stranger = program("ann", server), program(None, server)
    stranger.send(type="nothing")
    assert stranger.expect("error")["code"] == "unknown_type"
    assert server.chat.stop() == []
    for each in (ann, stranger):
        error, bye = each.rest()
        assert (error["type"], error["code"]) == ("error", "shutting_down")
        assert bye == {"type": "bye", "reason": "shutting_down"}


def test_a_program_that_does_not_read_is_cut_off_with_a_reason(serve, program):
    server = serve(queue_limit=200)
    slow = program("slow", server, receive_buffer=4096)
    ann, bob = program("ann", server), program("bob", server)
    session = server.chat.sessions.named("slow")
    for number in range(400):
        ann.send(*({"type": "say", "text": "x" * 2000} for _ in range(49)))
        ann.send(type="say", text="x" * 2000, ref=str(number))
        ann.expect("ack", ref=str(number))
        bob.expect("message", number=50 * (number + 1))
        if session.ended.is_set():
            break
    assert session.ended.is_set(), "it was never cut off"
    last = slow.rest()
    assert [(each["type"], each.get("code"), each.get("reason")) for each in last[-2:]] == [
        ("error", "too_slow", None),
        ("bye", None, "too_slow"),
    ]
    numbers = [each["number"] for each in slow.seen if each["type"] == "message"]
    assert numbers == list(range(1, len(numbers) + 1)), "a hole before the last word"


def test_a_line_that_never_ends_is_cut_off_with_a_reason(serve, program):
    ann = program("ann", serve(line_timeout=0.2))
    ann.sock.sendall(b'{"type":"say"')
    assert [each.get("code") or each.get("reason") for each in ann.rest()] == ["unfinished_line"] * 2


def test_a_program_that_sends_no_hello_is_cut_off_with_a_reason(serve, program):
    ann = program(None, serve(handshake_timeout=0.3))
    ann.sock.sendall(b"{")
    assert [each.get("code") or each.get("reason") for each in ann.rest()] == ["no_handshake"] * 2


def test_a_bug_gives_an_error_with_the_ref(server, program, monkeypatch, caplog):
    def boom(*args: object) -> None:
        raise ZeroDivisionError("a bug")

    ann = program("ann", server)
    monkeypatch.setitem(METHODS, commands.Stats, boom)
    (error,) = ann.ask(type="stats", ref="1")
    assert (error["code"], error["ref"]) == ("internal", "1")
    assert caplog.messages == ["Stats of session 1 (ann) failed"]
