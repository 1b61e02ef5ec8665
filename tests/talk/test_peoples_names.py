"""Names in a conversation: names of every language, and the refusal of names that look like another's."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import unicodedata

import pytest
from support.waiting import WAIT, wait_for
from support.words import error_line
from support.written import WRITTEN

from chat_threads import names as module
from chat_threads.errors import LooksTaken, MixedName, NameTaken, RoomExists
from chat_threads.rules import fold


@pytest.mark.usefixtures("greets_at_once")
def test_people_of_every_language_enter_and_talk_in_rooms_of_their_own(server, program):
    ann = server.client("ann")
    for name in WRITTEN.values():
        typed, name = unicodedata.normalize("NFD", name), unicodedata.normalize("NFC", name)
        person = server.client()
        person.expect("What is your name?")
        person.send(f"{typed} #{typed}")
        person.expect(f"Hello, {name}.")
        assert f"#{name}" in person.expect("You are in")
        assert ann.ask(f"/whois {typed}")[0] == f"* {name} is in #{name}."
        assert ann.ask(f"/join #{typed}")[0] == f"* You are in #{name} with 1 other: {name}."
        assert ann.ask(f"/msg {name} hi")[0].endswith(f"you -> {name}: hi")
        assert person.expect("-> you: hi")
        person.send("/quit")
        person.expect("Goodbye")
        ann.ask(f"/leave #{name}")
        client = program(server=server)
        client.send(type="hello", name=typed, room=f"#{typed}", replay=0)
        assert client.expect("welcome")["name"] == name
        assert client.expect("joined")["room"] == f"#{name}"
        client.close()


def test_a_known_name_of_mixed_scripts_holds_nobody_up(server):
    server.chat.sessions.know([("аnn", 5), ("сосо", 6)])
    server.client("ann")
    other = server.client()
    other.send("coco")
    other.expect("The name coco looks like сосо")


def test_nobody_enters_under_a_name_that_looks_like_another(server):
    server.client("coco")
    other = server.client()
    other.expect("What is your name?")
    other.send("сосо")
    assert other.line() == error_line(LooksTaken("сосо", "coco", "сосо2"))
    other.send("ｃｏｃｏ")
    assert other.line() == error_line(NameTaken("coco", "coco2"))
    other.send("сосо2")
    other.expect("Hello, сосо2.")
    other.news()
    assert other.ask("/nick СОСО") == [error_line(LooksTaken("СОСО", "coco", "СОСО3"))]


def test_nobody_enters_under_a_name_that_mixes_scripts(server):
    server.client("ann")
    other = server.client()
    other.expect("What is your name?")
    other.send("аnn")
    told = error_line(MixedName("Cyrillic and Latin", "ann2"))
    assert other.line() == told


def test_a_program_whose_name_looks_like_anothers_is_refused_unless_it_shows_the_token(server, program):
    coco = program("coco", server=server)
    token = next(each["token"] for each in coco.seen if each["type"] == "welcome")
    other = program(server=server)
    other.send(type="hello", name="сосо")
    assert other.expect("error")["code"] == "name_taken"
    other.send(type="hello", name="сосо", token=token)
    assert other.expect("welcome")["name"] == "сосо"


@pytest.mark.parametrize("named", [{}, {"name": "coco"}])
def test_a_token_brings_a_name_back_though_a_flood_of_names_made_the_server_forget_it(
    server, program, monkeypatch, named
):
    monkeypatch.setattr(module, "KNOWN", 10)
    coco = program("coco", server=server)
    token = next(each["token"] for each in coco.seen if each["type"] == "welcome")
    coco.ask(type="say", text="hi", ref="1")
    coco.close()
    wait_for(lambda: len(server.chat.sessions) == 0)
    server.chat.sessions.know([(f"flood{number}", 0) for number in range(20)])
    other = program("сосо", server=server)
    other.ask(type="say", text="hi", ref="1")
    other.close()
    wait_for(lambda: len(server.chat.sessions) == 0)
    back = program(server=server)
    back.send(type="hello", token=token, **named)
    assert back.expect("welcome")["name"] == "coco"


def test_names_stay_known_after_their_people_have_gone_and_over_a_restart(serve, program, tmp_path):
    first = serve()
    speaker, silent = first.client("coco"), first.client("bob")
    speaker.ask("hello")
    keeper = program("aza", server=first)
    token = next(each["token"] for each in keeper.seen if each["type"] == "welcome")
    for client in (speaker, silent):
        client.send("/quit")
        client.rest()
    keeper.ask(type="rooms")
    keeper.close()
    wait_for(lambda: len(first.chat.sessions) == 0)

    def looked_at(running):
        other = running.client()
        other.expect("What is your name?")
        for name, by in (("сосо", "coco"), ("ᎪᏃᎪ", "aza")):
            other.send(name)
            assert other.line() == f"! The name {name} looks like {by}, which belongs to somebody else. Try {name}2."
        other.send("ВОВ")
        other.expect("Hello, ВОВ.")
        other.send("/quit")
        other.expect("Goodbye")
        running.client("coco")
        back = program(server=running)
        back.send(type="hello", token=token)
        assert back.expect("welcome")["name"] == "aza"
        back.close()

    looked_at(first)
    assert first.chat.stop() == []
    looked_at(serve(db=str(tmp_path / "chat.db")))


def test_only_one_of_fifty_who_claim_names_that_look_alike_at_once_has_it(server):
    """Under load: each round, everybody lets go and claims again."""
    faces = ["coco", "сосо", "ⲥⲟⲥⲟ", "СОСО", "Coco"]
    store = server.chat.sessions
    clients = [server.client(f"p{number}") for number in range(20)]
    sessions = store.people()
    assert len(sessions) == len(clients)
    winners: list[list[str]] = [[] for _ in range(50)]
    start = threading.Barrier(len(sessions))

    def race(number: int) -> None:
        own = sessions[number].name
        for won in winners:
            start.wait(WAIT)
            try:
                store.claim(sessions[number], faces[number % len(faces)])
                won.append(own)
            except NameTaken:
                pass
            start.wait(WAIT)
            store.claim(sessions[number], own)

    threads = [threading.Thread(target=race, args=(number,), name=f"race-{number}") for number in range(len(sessions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert [len(won) for won in winners] == [1] * len(winners)


@pytest.mark.parametrize("room", ["#lоbby", "#ⅼobby", "#LОВВУ", "#ｌｏｂｂｙ"])
def test_a_room_that_looks_like_another_is_not_made(server, room):
    ann = server.client("ann")
    kept = unicodedata.normalize("NFKC", room)
    for line in (f"/create {room}", f"/join {room}"):
        told = ann.ask(line)[0]
        if fold(kept) == "#lobby":
            assert told in (
                error_line(RoomExists("#lobby")),
                "* You are in #lobby. What you type goes there now.",
            )
        else:
            assert told == f"! {room} looks like #lobby, which exists already. /join #lobby goes there."
    assert len(server.chat.publisher) == 1


def test_a_room_may_mix_scripts_and_its_look_is_free_again_once_it_is_deleted(server):
    ann = server.client("ann")
    ann.ask("/join #python-курс")
    assert ann.ask("/create #руthоn-курс")[0].startswith("! #руthоn-курс looks like #python-курс,")
    ann.ask("/delete #python-курс yes")
    ann.ask("/create #руthоn-курс")
    assert len(server.chat.publisher) == 2


def test_a_reserved_name_is_refused_with_the_reason(server, program):
    other = server.client()
    other.expect("What is your name?")
    for name in ("Server", "YOU", "а11"):
        other.send(name)
        other.expect("is reserved for the server. Try ")
    client = program(server=server)
    client.send(type="hello", name="system")
    assert client.expect("error")["code"] == "bad_name"


@pytest.mark.parametrize(("old", "now"), [("server", "server2"), ("You", "You2"), ("аnn", "ann"), ("ａｎｎ", "ann")])
def test_a_person_who_comes_back_by_token_with_a_name_from_before_the_rule_gets_a_similar_one(
    serve, program, tmp_path, old, now
):
    running = serve()
    client = program("somebody", server=running)
    token = next(each["token"] for each in client.seen if each["type"] == "welcome")
    client.ask(type="rooms")
    client.close()
    wait_for(lambda: len(running.chat.sessions) == 0)
    assert running.chat.stop() == []
    with contextlib.closing(sqlite3.connect(tmp_path / "chat.db", isolation_level=None)) as file:
        file.execute("UPDATE tokens SET name = ?", (old,))
    again = serve(db=str(tmp_path / "chat.db"))
    back = program(server=again)
    back.send(type="hello", token=token)
    assert back.expect("welcome")["name"] == now
    other = again.client("else")
    other.send(f"/resume {token}")
    assert other.expect(f"You are {now} now.")
