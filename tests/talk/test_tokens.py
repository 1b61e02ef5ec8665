"""Tokens: a client takes its place again, misses nothing, and says everything exactly once."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from typing import Any

import pytest
from support.clients import Program
from support.waiting import WAIT, wait_for
from support.words import error_line

from chat_threads import chatroom, conversation, once, storage, tokens, upkeep
from chat_threads.disconnects import Replaced
from chat_threads.errors import UnknownToken, Unreadable
from chat_threads.rules import REFS
from chat_threads.service import people
from chat_threads.storage_errors import StorageError
from chat_threads.tokens import new_token, token_id
from chat_threads.wire import Wire


def come(server: Any, **hello: object) -> Program:
    """A program that has said hello; the caller reads on and closes it."""
    client = Program(server.port)
    client.send(type="hello", **hello)
    return client


def token_of(client: Program) -> str:
    [welcome] = [each for each in client.seen if each["type"] == "welcome"]
    return welcome["token"]


def texts(objects: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(each["number"], each["text"]) for each in objects if each["type"] == "message"]


def test_tokens_are_secrets_of_128_bits_and_their_numbers_fit_sqlite():
    tokens = {new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert {len(token) for token in tokens} == {22}
    assert len({token_id(token) for token in tokens}) == 1000
    assert all(0 <= token_id(token) < 2**63 for token in tokens)
    assert token_id("x" * 10_000) == token_id("x" * 20_000)
    assert token_id("\ud800") == token_id("\ud800")


# --- taking one's place -------------------------------------------------------------------------------


def test_a_client_that_shows_a_token_has_the_name_and_the_rooms_at_once_and_the_old_connection_is_closed(program):
    ann = program("ann", room="#lab")
    bob = program("bob", room="#lab")
    ann.ask(type="join", room="#other")
    bob.ask(type="rooms")
    again = program()
    again.send(type="hello", token=token_of(ann))
    welcome = again.expect("welcome")
    assert (welcome["name"], welcome["token"]) == ("ann", token_of(ann))
    assert [again.expect("joined")["room"] for _ in range(2)] == ["#lab", "#other"]
    assert [each["code"] for each in ann.rest() if each["type"] == "error"] == ["replaced"]
    assert ann.seen[-1] == {"type": "bye", "reason": "replaced"}
    again.ask(type="say", text="in the current room")
    assert texts(again.seen) == [(1, "in the current room")]
    changes = [(each["kind"], each["names"]) for each in bob.ask(type="rooms") if each["type"] == "presence"]
    assert changes == [("left", ["ann"]), ("joined", ["ann"])]
    again.ask(type="private", to="ann", text="to myself")
    assert again.ask(type="who", room="#lab")[0]["people"][0]["name"] == "ann"


def test_a_half_open_connection_is_taken_over_too(program):
    """The old connection does not read, answer or end, as if its machine had lost power."""
    ann = program("ann", receive_buffer=4096)
    again = program()
    again.send(type="hello", token=token_of(ann), room="#lab")
    assert again.expect("joined")["room"] == "#lab"
    again.ask(type="say", text="I am back")
    assert texts(again.seen) == [(1, "I am back")]


def test_a_client_with_a_token_may_take_another_name_but_not_somebody_elses(program):
    ann, bob = program("ann"), program("bob")
    again = program()
    again.send({"type": "hello", "token": token_of(ann), "name": "bob"})
    assert again.expect("error")["code"] == "name_taken"
    assert ann.ask(type="rooms"), "nothing has happened to the old one"
    again.send({"type": "hello", "token": token_of(ann), "name": "anna"})
    assert again.expect("welcome")["name"] == "anna"
    assert ann.rest()[-1]["reason"] == "replaced"
    [who] = [each for each in bob.ask(type="who") if each["type"] == "who"]
    assert [each["name"] for each in who["people"]] == ["anna", "bob"]


@pytest.mark.parametrize("token", ["nobody's", "x" * 60_000, "\u202e", "' OR 1"])
def test_an_unknown_token_gets_an_error_and_the_client_may_enter_by_a_name(program, token):
    ann = program()
    ann.send({"type": "hello", "token": token, "name": "ann"}, {"type": "hello", "name": "ann"})
    assert ann.read()["code"] == "unknown_token"
    assert ann.read()["type"] == "welcome"


def test_only_one_of_many_that_show_a_token_at_the_same_time_remains(server):
    ann = come(server, name="ann")
    ann.expect("joined")
    rivals: list[Program] = []
    together = threading.Barrier(20)

    def run() -> None:
        together.wait()
        rival = come(server, token=token_of(ann))
        rivals.append(rival)
        rival.file.readline()  # the greeting, or already that another one has taken its place

    threads = [threading.Thread(target=run) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: len(server.chat.sessions) == 1, "one session is left")
    [holder] = server.chat.sessions.people()
    assert holder.name == "ann"
    rooms = list(server.chat.publisher._rooms.values())
    wait_for(lambda: [len(room.members) for room in rooms] == [1], "it is in the room")
    for each in [ann, *rivals]:
        each.close()


def test_a_token_that_is_still_on_its_way_to_the_storage_is_not_said_to_be_unknown(program, serve, monkeypatch):
    """A client whose token is unknown sends everything again, and messages under way would be stored twice."""
    running = serve()
    monkeypatch.setattr(people, "SETTLE", 0.1)
    monkeypatch.setattr(conversation, "PATIENCE", 0.1)
    gate, commit = threading.Event(), running.chat.storage.commit

    def commit_later(batch: storage.Batch) -> None:
        assert gate.wait(WAIT)
        commit(batch)

    monkeypatch.setattr(running.chat.storage, "commit", commit_later)
    ann = program("ann", running)
    ann.send(type="say", text="under way", ref="1")
    ann.close()
    wait_for(lambda: not running.chat.sessions.people(), "she has gone")
    again = program(None, running)
    again.send(type="hello", token=token_of(ann))
    assert again.read()["code"] == "unreadable"
    gate.set()
    monkeypatch.setattr(people, "SETTLE", WAIT)
    again.send(type="hello", token=token_of(ann), since={"#lobby": 0})
    assert again.expect("message")["text"] == "under way"


def test_a_new_name_is_kept_with_the_token(start_process):
    process = start_process()
    with contextlib.closing(come(process, name="ann")) as ann:
        ann.expect("joined")
        ann.ask(type="nick", name="anna")
        token = token_of(ann)
    process.kill()
    process = start_process()
    with contextlib.closing(come(process, token=token)) as ann:
        assert ann.expect("welcome")["name"] == "anna"


def test_people_take_their_place_again_with_resume(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.ask("/join #lab2")
    _, _, command = [line for line in ann.ask("/token") if line.startswith("* ")]
    assert ann.ask("/token")[-1] == command, "it stays the same"
    again = server.client()
    again.send(command[2:])
    again.expect("* Hello, ann.")
    again.expect("* You are in #lobby")
    again.expect("* You are in #lab2")
    assert ann.rest()[-1] == error_line(Replaced())
    assert any(line.endswith("you -> ann: still there?") for line in bob.ask("/msg ann still there?"))
    again.expect("bob -> you: still there?")


def test_people_may_resume_after_they_have_come_in_by_another_name(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.ask("/join #lab2")
    command = ann.ask("/token")[-1][2:]
    again = server.client("ann2")
    told = again.ask(command)
    assert "* You are ann now." in told
    assert "* You are in #lab2, and nobody else is." in told
    assert [line for line in bob.ask("") if "is ann now" in line or "left" in line] == [
        "* ann left",
        "* ann2 is ann now",
    ]
    assert again.ask(command) == ["* You are ann already, and in your rooms."]
    assert again.ask("/resume nothing") == [error_line(UnknownToken(advice="You keep your name and your place."))]


def test_a_reply_reaches_its_addressee_on_a_new_connection_too(program):
    ann, bob = program("ann"), program("bob")
    ann.ask(type="private", to="bob", text="call me back")
    again = program()
    again.send(type="hello", token=token_of(ann))
    again.expect("joined")
    bob.ask(type="reply", text="here I am")
    assert again.expect("private")["text"] == "here I am"


# --- without a gap ------------------------------------------------------------------------------------


@pytest.mark.parametrize("missed", [0, 1, 199, 200, 201, 1000])
def test_since_brings_all_that_was_missed_and_then_what_is_live(program, missed):
    ann = program("ann", room="#lab")
    ann.ask(*({"type": "say", "text": f"seen {number}"} for number in range(1, 6)))
    bob = program("bob", room="#lab", replay=0)
    ann.close()
    bob.ask(*({"type": "say", "text": f"missed {number}"} for number in range(6, 6 + missed)))
    again = program()
    again.send(type="hello", token=token_of(ann), since={"#lab": 5})
    again.expect("joined", room="#lab")
    bob.ask(type="say", text="live")
    again.ask(type="rooms")
    assert texts(again.seen) == [
        *((number, f"missed {number}") for number in range(6, 6 + missed)),
        (6 + missed, "live"),
    ]
    assert again.seen[-1]["type"] == "pong"


def test_since_may_name_many_rooms_and_the_one_named_last_is_current(program):
    ann = program("ann", room="#a")
    ann.ask({"type": "say", "text": "a1"}, {"type": "join", "room": "#b"}, {"type": "say", "text": "b1"})
    again = program()
    again.send(type="hello", token=token_of(ann), since={"#b": 0, "#a": 1}, room="#b")
    again.ask(type="say", text="b2")
    assert [each["room"] for each in again.seen if each["type"] == "joined"] == ["#a", "#b"]
    assert texts(again.seen) == [(1, "b1"), (2, "b2")]
    third = program()
    third.send(type="hello", token=token_of(ann), since={"#b": 2, "#a": 1})
    third.ask(type="say", text="a2")
    assert texts(third.seen) == [(2, "a2")]


def test_join_takes_a_since_too(program):
    ann = program("ann", room="#a")
    ann.ask(*({"type": "say", "text": f"{number}"} for number in range(1, 301)))
    bob = program("bob")
    bob.ask(type="join", room="#a", since=50)
    assert [number for number, _ in texts(bob.seen)] == list(range(51, 301))


def test_a_number_that_the_room_has_not_reached_is_left_out_of_account(program):
    ann = program("ann", room="#a")
    ann.ask({"type": "say", "text": "one"}, {"type": "say", "text": "two"})
    again = program()
    again.send(type="hello", token=token_of(ann), since={"#a": 3, "#new": 7})
    assert again.expect("joined", room="#a")["last"] == 2
    assert again.expect("joined", room="#new")["last"] == 0
    again.ask(type="rooms")
    assert texts(again.seen) == [(1, "one"), (2, "two")]


def test_a_bad_room_in_since_gets_an_error_and_the_program_may_try_again(program):
    ann = program()
    ann.send({"type": "hello", "name": "ann", "since": {"nowhere": 1}}, {"type": "hello", "name": "ann"})
    assert ann.read()["code"] == "bad_room"
    assert ann.read()["type"] == "welcome"


def test_missed_messages_wait_for_a_slow_reader(program, serve):
    """The client missed more than its queue may hold, and reads late. It is not cut off, and no message is left out."""
    server = serve(queue_limit=600)
    ann = program("ann", server, room="#lab")
    for start in range(0, 3000, 200):
        ann.ask(*({"type": "say", "text": f"{number} {'x' * 1900}"} for number in range(start, start + 200)))
        ann.seen = ann.seen[:1]
    bob = program(None, server, receive_buffer=4096)
    bob.send(type="hello", name="bob", since={"#lab": 0})
    wait_for(lambda: any(each.name == "bob" and each.mailbox.held() for each in server.chat.sessions.people()))
    bob.expect("joined", room="#lab")
    bob.ask(type="rooms")
    assert [number for number, _ in texts(bob.seen)] == list(range(1, 3001))


def fill_rooms(talker: Program, rooms: int, messages: int) -> dict[str, int]:
    """Say ``messages`` texts in each room, one room after the other. Returns the rooms, each with a since of 0."""
    long = "x" * 1000
    names = [f"#room{number}" for number in range(rooms)]
    for room in names:
        talker.ask(
            {"type": "join", "room": room},
            *({"type": "say", "room": room, "text": f"{number} in {room} {long}"} for number in range(1, messages + 1)),
            *([{"type": "leave", "room": room}] if rooms > 19 else []),
        )
        talker.seen.clear()
    return dict.fromkeys(names, 0)


def by_room(seen: list[dict[str, Any]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for each in seen:
        if each["type"] == "message":
            found.setdefault(each["room"], []).append(each["number"])
    return found


@pytest.mark.parametrize(("rooms", "messages"), [(20, 60), (6, 200), (20, 201)])
def test_since_brings_what_was_missed_in_many_rooms_whatever_the_queue_holds(program, serve, rooms, messages):
    """The replay is far longer than the queue, and the client reads nothing before it has asked for everything."""
    server = serve(queue_limit=600)
    since = fill_rooms(program("ann", server), rooms, messages)
    bob = program(None, server, receive_buffer=4096)
    bob.send(type="hello", name="bob", since=since)
    assert bob.ask(type="rooms")[-1]["type"] == "rooms"
    assert by_room(bob.seen) == {room: list(range(1, messages + 1)) for room in since}


def test_rooms_are_entered_again_while_others_talk_in_all_of_them(program, serve):
    """The reader is slow but steady, and what is live in the rooms that it is in already comes between."""
    server = serve(queue_limit=600)
    talker = program("ann", server)
    since = fill_rooms(talker, 10, 150)
    done = threading.Event()
    said: list[int] = []

    def talk() -> None:
        number = 150
        while not done.is_set():
            number += 1
            talker.ask(*({"type": "say", "room": room, "text": "live"} for room in since))
            talker.seen.clear()
            said.append(number)

    thread = threading.Thread(target=talk)
    bob = program(None, server, receive_buffer=4096)
    thread.start()
    try:
        wait_for(lambda: len(said) > 3)
        bob.send(type="hello", name="bob", since=since)
        for room in since:
            bob.expect("joined", room=room)
    finally:
        done.set()
        thread.join()
    bob.ask(type="rooms")
    assert by_room(bob.seen) == {room: list(range(1, 150 + len(said) + 1)) for room in since}


def test_a_person_who_resumes_is_shown_the_last_of_twenty_rooms(program, serve, monkeypatch):
    monkeypatch.setattr(Wire, "unacknowledged", lambda wire: None)  # as on a system that cannot tell what was read
    server = serve(queue_limit=600, replay=100)
    fill_rooms(program("talker", server), 20, 100)
    ann = server.client("ann")
    ann.ask("/leave")
    for number in range(20):
        ann.ask(f"/join #room{number}")
    ann.send("/token")
    token = ann.expect("/resume ").split()[-1]
    again = server.client(receive_buffer=4096)
    again.send(f"/resume {token}")
    shown = again.news()
    assert sum(" in #room" in line and line.count(":") >= 2 for line in shown) == 20 * 100


def test_a_client_that_comes_back_while_others_talk_sees_no_hole_and_no_repeat(program, serve, monkeypatch):
    """Only two messages stay in memory, so each return reads the history, while new messages arrive."""
    monkeypatch.setattr(chatroom, "RECENT", 20)
    server = serve(queue_limit=5000)
    talkers = [program(f"talker{number}", server, room="#lab") for number in range(3)]
    done = threading.Event()
    said: list[int] = []

    def talk(talker: Program) -> None:
        while not done.is_set():
            talker.ask(*({"type": "say", "text": "x"} for _ in range(20)))
            said.append(max(number for number, _ in texts(talker.seen)))
            talker.seen.clear()

    threads = [threading.Thread(target=talk, args=(talker,)) for talker in talkers]
    for thread in threads:
        thread.start()
    ann = program("ann", server, room="#lab", replay=0)
    token, seen = token_of(ann), [ann.seen[-1]["last"]]
    first = seen[0]
    try:
        for _ in range(20):
            numbers = []
            while len(numbers) < 50:
                numbers += [number for number, _ in texts([ann.read()])]
            assert numbers == list(range(seen[-1] + 1, seen[-1] + 1 + len(numbers)))
            seen += numbers
            ann = program(None, server)
            ann.send(type="hello", token=token, since={"#lab": seen[-1]})
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert seen == list(range(first, first + len(seen)))


# --- exactly once -------------------------------------------------------------------------------------


def test_a_message_sent_again_under_its_ref_is_stored_once_and_acknowledged_again(program):
    ann = program("ann", room="#lab")
    say = {"type": "say", "text": "once", "ref": "r1"}
    ann.ask(say, {"type": "action", "text": "waves", "ref": "r2"}, say)
    again = program()
    again.send({"type": "hello", "token": token_of(ann), "room": "#lab", "replay": 0})
    again.ask({"type": "action", "text": "waves", "ref": "r2"}, say, {"type": "say", "text": "new", "ref": "r3"}, say)
    for client, expected in ((ann, ["r1", "r2", "r1"]), (again, ["r2", "r1", "r3", "r1"])):
        acks = [(each["ref"], each["number"]) for each in client.seen if each["type"] == "ack"]
        assert acks == [(ref, {"r1": 1, "r2": 2, "r3": 3}[ref]) for ref in expected]
    assert [each["text"] for each in again.ask(type="history")[0]["messages"]] == ["once", "waves", "new"]


def test_the_same_ref_under_another_token_is_another_request(program):
    for name in ("ann", "bob"):
        client = program(name, room="#lab")
        client.ask({"type": "say", "text": name, "ref": "1"})
        assert client.seen[-2]["type"] == "ack"
    assert [each["text"] for each in client.ask(type="history")[0]["messages"]] == ["ann", "bob"]


def test_a_message_sent_before_a_kill_and_again_after_it_is_in_the_history_once(start_process, tmp_path):
    process = start_process("--rate", "0")
    says = [{"type": "say", "text": f"text {number}", "ref": str(number)} for number in range(1, 101)]
    with contextlib.closing(come(process, name="ann")) as ann:
        ann.expect("joined")
        ann.send(*says)
        ann.expect("ack", ref="40")
        process.kill()
        token = token_of(ann)
    process = start_process("--rate", "0", "--replay", "0")
    with contextlib.closing(come(process, token=token)) as ann:
        ann.expect("joined")
        ann.send(*says)
        ann.expect("ack", ref="100")
        acks = {int(each["ref"]): each["number"] for each in ann.seen if each["type"] == "ack"}
        assert acks == {number: number for number in range(1, 101)}
    process.stop()
    with contextlib.closing(sqlite3.connect(tmp_path / "chat.db")) as connection:
        assert connection.execute("SELECT number, text FROM messages ORDER BY id").fetchall() == [
            (number, f"text {number}") for number in range(1, 101)
        ]


def test_the_last_256_requests_of_a_token_are_remembered_and_no_more(program, serve, tmp_path):
    server = serve()
    ann = program("ann", server, replay=0)
    ann.ask(*({"type": "say", "text": f"{number}", "ref": str(number)} for number in range(REFS + 1)))
    ann.ask({"type": "say", "text": "again", "ref": "1"}, {"type": "say", "text": "again", "ref": str(REFS)})
    assert [each["number"] for each in ann.seen if each["type"] == "ack"][-2:] == [2, REFS + 1]
    ann.ask({"type": "say", "text": "forgotten", "ref": "0"})
    assert [each["number"] for each in ann.seen if each["type"] == "ack"][-1] == REFS + 2
    with contextlib.closing(sqlite3.connect(tmp_path / "chat.db")) as connection:
        assert connection.execute("SELECT count(*) FROM refs").fetchone() == (REFS,)


def test_requests_are_known_when_they_are_no_longer_in_memory(program, serve, monkeypatch):
    monkeypatch.setattr(once, "TOKEN_BYTES", 1 << 21)  # so that two or three fit
    server = serve(memory=16)
    clients = [program(f"ann{number}", server, replay=0) for number in range(5)]
    for _ in range(2):
        for number, client in enumerate(clients):
            client.ask({"type": "say", "text": "once", "ref": "1"})
            assert [each["number"] for each in client.seen if each["type"] == "ack"][-1] == number + 1


def test_a_stored_message_is_acknowledged_again_even_while_nothing_can_be_stored(program, serve, monkeypatch):
    """The server must not answer that the repeated message is not stored."""
    server = serve()
    ann = program("ann", server)
    say = {"type": "say", "text": "once", "ref": "1"}
    ann.ask(say)

    def fail(batch: object) -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(server.chat.storage, "commit", fail)
    told = ann.ask(say, {"type": "say", "text": "new", "ref": "2"}, {"type": "say", "text": "new", "ref": "2"})
    assert sorted((each["type"], each["ref"]) for each in told) == [("ack", "1"), ("error", "2"), ("error", "2")]
    monkeypatch.undo()
    ann.ask({"type": "say", "text": "new", "ref": "2"})
    assert ann.seen[-2]["number"] == 2


def test_a_new_client_with_a_ref_is_refused_once_nothing_can_be_stored(program, serve, monkeypatch):
    server = serve()
    monkeypatch.setattr(server.chat.storage, "_broken", storage.FILES_CHANGED)
    ann = program("ann", server)
    for _ in range(2):
        told = ann.ask({"type": "say", "text": "x", "ref": "1"})
        assert [each["code"] for each in told if each.get("ref") == "1"] == ["not_stored"]


def test_a_message_sent_twice_is_refused_while_it_is_unknown_whether_it_is_stored(program, serve, monkeypatch):
    server = serve()
    ann = program("ann", server)

    def fail(token: int) -> list[once.StoredRef]:
        raise Unreadable("damaged")

    monkeypatch.setattr(server.chat.history._once, "_read", fail)
    assert ann.ask({"type": "say", "text": "x", "ref": "1"})[0]["code"] == "unreadable"
    monkeypatch.undo()
    assert ann.ask({"type": "say", "text": "x", "ref": "1"})[-1]["type"] == "ack"


# --- which tokens are kept ----------------------------------------------------------------------------


def came_and_went(server: Any, name: str, *requests: dict[str, Any]) -> str:
    """Somebody is here for a while and says something; returns the token."""
    with contextlib.closing(come(server, name=name)) as client:
        client.expect("joined")
        client.ask(*requests)
        token = token_of(client)
    wait_for(lambda: name not in [each.name for each in server.chat.sessions.people()], f"{name} has gone")
    return token


def remembered(server: Any) -> set[int]:
    """The numbers of the tokens that are in the history when nothing is left to sweep."""
    history_thread = server.chat.history
    assert history_thread.settle(WAIT)
    wait_for(lambda: history_thread._upkeep.tokens_used < upkeep.TOKENS_SWEPT, "they are swept")
    with contextlib.closing(sqlite3.connect(server.chat.storage.path)) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM tokens")}


ONCE = {"type": "say", "text": "once", "ref": "1"}


@pytest.fixture
def three_tokens(monkeypatch):
    """Servers keep three tokens, and look at each whether they are too many."""
    monkeypatch.setattr(once, "TOKENS", 3)
    monkeypatch.setattr(upkeep, "TOKENS_SWEPT", 1)


@pytest.mark.usefixtures("three_tokens")
def test_the_most_recently_used_of_the_tokens_with_messages_are_kept_with_their_requests(serve):
    server = serve()
    ids = [token_id(came_and_went(server, f"ann{number}", ONCE)) for number in range(8)]
    assert remembered(server) == set(ids[-3:])
    with contextlib.closing(sqlite3.connect(server.chat.storage.path)) as connection:
        assert {row[0] for row in connection.execute("SELECT DISTINCT token FROM refs")} == set(ids[-3:])


@pytest.mark.usefixtures("three_tokens")
def test_newcomers_without_end_do_not_make_the_server_forget_what_somebody_said(serve):
    server = serve()
    token = came_and_went(server, "ann", ONCE)
    for number in range(12):
        came_and_went(server, f"stranger{number}", {"type": "say", "text": "a text without a ref"})
    assert token_id(token) in remembered(server)
    with contextlib.closing(come(server, token=token)) as ann:
        ann.expect("joined")
        assert [each["number"] for each in ann.ask(ONCE) if each["type"] == "ack"] == [1]


@pytest.mark.usefixtures("three_tokens")
def test_the_token_of_somebody_who_is_here_is_not_forgotten(serve, program):
    server = serve()
    here = [program(f"here{number}", server) for number in range(5)]
    came_and_went(server, "ann", ONCE)
    assert {token_id(token_of(client)) for client in here} <= remembered(server)


def test_the_order_of_tokens_is_that_of_their_use_and_not_the_clocks(serve, monkeypatch):
    """The clock was an hour ahead, and was set back: what was used then is not newer than what is used now."""
    monkeypatch.setattr(once, "TOKENS", 3)
    monkeypatch.setattr(upkeep, "TOKENS_SWEPT", 100)
    clock = [time.time() + 3600]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    server = serve()
    old = [came_and_went(server, f"old{number}", ONCE) for number in range(3)]
    clock[0] -= 3600
    new = [came_and_went(server, f"new{number}", ONCE) for number in range(2)]
    monkeypatch.setattr(upkeep, "TOKENS_SWEPT", 1)
    new.append(came_and_went(server, "new2", ONCE))
    assert remembered(server) == {token_id(token) for token in new}
    assert not remembered(server) & {token_id(token) for token in old}


# --- how many tokens one address gets -----------------------------------------------------------------


def test_an_address_gets_a_number_of_tokens_at_once_and_then_as_many_as_time_brings(monkeypatch):
    monkeypatch.setattr(tokens, "AT_ONCE", 3)
    monkeypatch.setattr(tokens, "A_SECOND", 0.5)
    clock = [100.0]
    handout = tokens.Handout(lambda: clock[0])
    assert [handout.wait("10.0.0.1") for _ in range(5)] == [0.0, 0.0, 0.0, 2.0, 2.0]
    assert handout.wait("10.0.0.2") == 0.0
    clock[0] += 1.5
    assert handout.wait("10.0.0.1") == 0.5
    clock[0] += 0.5
    assert [handout.wait("10.0.0.1") for _ in range(2)] == [0.0, 2.0]
    clock[0] += 1000
    assert [handout.wait("10.0.0.1") for _ in range(4)] == [0.0, 0.0, 0.0, 2.0]


def test_an_address_is_that_of_a_customer_however_it_is_written(monkeypatch):
    monkeypatch.setattr(tokens, "AT_ONCE", 1)
    handout = tokens.Handout(lambda: 0.0)
    pairs = [("2001:db8:1:2::3", "2001:db8:1:2:ffff::4"), ("10.0.0.1", "::ffff:10.0.0.1"), ("fe80::1%eth0", "fe80::2")]
    for first, second in [*pairs, ("odd", "odd")]:
        assert (handout.wait(first), handout.wait(second)) == (0.0, 1.0)
    assert handout.wait("2001:db8:1:3::3") == 0.0


def test_the_number_of_remembered_addresses_is_limited(monkeypatch):
    monkeypatch.setattr(tokens, "ADDRESSES", 10)
    handout = tokens.Handout(lambda: 0.0)
    for number in range(1000):
        handout.wait(f"10.0.{number // 250}.{number % 250}")
    assert len(handout._left) == 10


def test_newcomers_above_the_pace_enter_without_a_token_and_lose_nothing_else(serve, program, monkeypatch):
    monkeypatch.setattr(tokens, "AT_ONCE", 2)
    monkeypatch.setattr(tokens, "A_SECOND", 1e-9)
    server = serve()
    clients = [program(f"ann{number}", server, room="#lab") for number in range(4)]
    assert [bool(token_of(client)) for client in clients] == [True, True, False, False]
    assert clients[3].ask(ONCE)[-1] == {"type": "ack", "room": "#lab", "number": 1, "ref": "1"}
    assert clients[3].ask(type="token")[0]["code"] == "too_many_tokens"
    assert server.client("bob").ask("/token")[0].startswith("! Too many tokens were handed out to your address.")
    assert len(remembered(server)) == 2
    again = program(None, server)
    again.send(type="hello", token=token_of(clients[0]))
    assert again.expect("welcome")["token"] == token_of(clients[0]), "who comes back needs no new one"


def test_people_who_do_not_ask_for_a_token_use_none_up(serve, monkeypatch):
    monkeypatch.setattr(tokens, "AT_ONCE", 1)
    monkeypatch.setattr(tokens, "A_SECOND", 1e-9)
    server = serve()
    people = server.clients_named("ann", "bob", "cy")
    for _ in range(2):
        assert people[2].ask("/token")[0].startswith("* Your token is ")
    assert len(remembered(server)) == 1
