"""/ignore hides a person, even under a new name, and nobody else who takes the old name."""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.clients import Client, Program
from support.relay import Log, Relay
from support.servers import Running
from support.waiting import wait_for

from chat_threads.client import Message, Online, Refused
from chat_threads.service import people
from chat_threads.tokens import identity_of, person_of, token_id


@pytest.fixture
def relay() -> Iterator[Callable[..., Relay]]:
    import random

    with contextlib.ExitStack() as stack:

        def start(port: int) -> Relay:
            made = Relay(port, random.Random(1))
            stack.callback(made.close)
            return made

        yield start


class Person:
    """A member of the lobby: a person or a program, driven by the same lines."""

    def __init__(self, server: Running, name: str, programs: bool, token: str = "") -> None:
        self.programs = programs
        self.client: Any = Program(server.port) if programs else Client(server.port)
        if programs:
            self.client.send(type="hello", **({"token": token} if token else {"name": name}), replay=200)
            self.token = self.client.expect("welcome")["token"]
        else:
            self.client.send(f"/resume {token}" if token else name)
            self.client.expect("You are in #")
            self.client.send("/token")
            self.token = self.client.expect("/resume ").split()[-1]

    def ask(self, line: str) -> str:
        """Everything that it sees until its line is answered."""
        if not self.programs:
            return " ".join(self.client.ask(line))
        word, _, rest = line.partition(" ")
        requests: dict[str, Callable[[], dict[str, Any]]] = {
            "": lambda: {"type": "stats"},
            "/ignore": lambda: {"type": "ignore", "name": rest},
            "/unignore": lambda: {"type": "unignore", "name": rest},
            "/nick": lambda: {"type": "nick", "name": rest},
            "/me": lambda: {"type": "action", "text": rest},
            "/join": lambda: {"type": "join", "room": rest},
            "/leave": lambda: {"type": "leave"},
            "/invite": lambda: {"type": "invite", "name": rest},
            "/resume": lambda: {"type": "resume", "token": rest},
            "/msg": lambda: {"type": "private", "to": rest.partition(" ")[0], "text": rest.partition(" ")[2]},
        }
        request = requests[word]() if word in requests else {"type": "say", "text": line}
        return str(self.client.ask(request))

    def hears(self, *words: str) -> bool:
        """Whether it has seen all of these by now; none of them but those counts as an error of the test."""
        self.ask("")
        seen = " ".join(map(str, self.client.seen))
        found = [word for word in words if word in seen]
        assert found in ([], [*words]), found
        return bool(found)

    def leave(self, words: str = "") -> None:
        self.client.send({"type": "quit", "words": words} if self.programs else f"/quit {words}")
        self.client.rest()
        self.client.close()


Come = Callable[..., Person]


@pytest.fixture(params=[False, True], ids=["text", "json"])
def ignorer_programs(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=[False, True], ids=["of a person", "of a program"])
def come(request: pytest.FixtureRequest, server: Running, ignorer_programs: bool) -> Iterator[Come]:
    """Let somebody come: come("bob"), come("bob", token=…). "ann" is the one who ignores."""
    everybody: list[Person] = []

    def start(name: str, token: str = "") -> Person:
        everybody.append(Person(server, name, ignorer_programs if name == "ann" else request.param, token))
        return everybody[-1]

    yield start
    for each in everybody:
        each.client.close()


def test_an_ignored_person_stays_ignored_under_another_name(come):
    ann, bob, cy = come("ann"), come("bob"), come("cy")
    ann.ask("/ignore BOB")
    bob.ask("/nick rob")
    bob.ask("noise-one")
    bob.ask("/me does noise-two")
    bob.ask("/msg ann noise-three")
    ann.ask("/join #lab")
    bob.ask("noise-four")
    bob.ask("/join #lab")
    bob.ask("noise-five")
    bob.ask("/nick bob")
    bob.ask("noise-six")
    bob.ask("/join #own")
    bob.ask("/invite ann")
    assert not ann.hears(
        "noise-one", "does noise-two", "noise-three", "noise-four", "noise-five", "noise-six", "invites you"
    )
    assert cy.hears("noise-one", "does noise-two", "noise-four")


def test_an_ignored_person_who_comes_back_by_the_token_is_still_ignored(come):
    ann, bob = come("ann"), come("bob")
    ann.ask("/ignore bob")
    bob.leave()
    rob = come("rob", token=bob.token)
    rob.ask("noise-one")
    rob.ask("/nick bobby")
    rob.ask("noise-two")
    eve = come("eve")
    eve.ask(f"/resume {rob.token}")
    eve.ask("noise-three")
    assert not ann.hears("noise-one", "noise-two", "noise-three")


def test_somebody_else_with_that_name_is_heard(come):
    ann, bob = come("ann"), come("bob")
    ann.ask("/ignore bob")
    bob.ask("/nick rob")
    other = come("bob")
    other.ask("in the room")
    other.ask("/msg ann in private")
    bob.ask("noise")
    assert ann.hears("in the room", "in private")
    assert not ann.hears("noise")
    bob.leave()
    other.ask("later")
    assert ann.hears("later")


def test_a_person_who_comes_back_without_the_token_is_new(come):
    ann, bob = come("ann"), come("bob")
    ann.ask("/ignore bob")
    bob.leave()
    come("bob").ask("hello")
    assert ann.hears("hello")
    ann.ask("/ignore bob")
    come("cy").ask("sense")
    assert ann.hears("sense")


def test_an_ignored_persons_last_words_are_hidden_but_the_leaving_is_shown(come):
    ann, bob, cy = come("ann"), come("bob"), come("cy")
    ann.ask("/ignore bob")
    bob.leave("noise")
    cy.leave("goodbye")
    assert ann.hears("bob", "left", "cy", "goodbye")
    assert not ann.hears("noise")


def test_a_replay_tells_the_person_from_the_next_one_of_that_name(come):
    ann, bob = come("ann"), come("bob")
    bob.ask("/join #lab")
    bob.ask("noise")
    bob.ask("/nick rob")
    bob.leave()
    other = come("bob")
    other.ask("/join #lab")
    other.ask("sense")
    other.ask("/leave")
    again = come("rob", token=bob.token)
    assert again.token == bob.token
    ann.ask("/ignore rob")
    ann.ask("/ignore bob")
    ann.ask("/unignore bob")
    assert not ann.hears("noise")
    ann.ask("/join #lab")  # nobody is in there, so it is read from the history
    assert ann.hears("sense")
    assert not ann.hears("noise")
    again.ask("more noise")
    assert not ann.hears("more noise")


@pytest.mark.parametrize("by", ["bob", "rob"])
def test_a_person_is_heard_again_by_the_name_of_then_or_of_now(come, by):
    ann, bob = come("ann"), come("bob")
    ann.ask("/ignore bob")
    bob.ask("/nick rob")
    bob.ask("noise")
    assert "is shown again" in ann.ask(f"/unignore {by}")
    bob.ask("sense")
    assert ann.hears("sense")
    assert not ann.hears("noise")
    assert f"{by} was not ignored" in ann.ask(f"/unignore {by}")


def test_a_name_of_two_who_are_ignored_means_the_one_who_has_it(come):
    ann, bob = come("ann"), come("bob")
    ann.ask("/ignore bob")
    bob.ask("/nick rob")
    other = come("bob")
    ann.ask("/ignore bob")
    ann.ask("/unignore bob")
    other.ask("sense")
    bob.ask("noise")
    assert ann.hears("sense")
    assert not ann.hears("noise")
    ann.ask("/unignore bob")
    bob.ask("sense of another")
    assert ann.hears("sense of another")


def test_people_who_are_not_here_cannot_be_ignored_and_nobody_ignores_themselves(come):
    ann = come("ann")
    assert "Nobody here is called ghost" in ann.ask("/ignore ghost")
    assert "cannot ignore yourself" in ann.ask("/ignore Ann")


def test_somebody_who_becomes_the_ignored_person_sees_their_own_lines(come):
    ann, bob = come("ann"), come("bob")
    ann.ask("/ignore bob")
    ann.ask(f"/resume {bob.token}")
    ann.ask("myself")
    assert ann.hears("myself")


def test_a_hundred_people_can_be_ignored(program):
    ann = program("ann")
    people = [person_of(number) for number in range(1, 102)]
    ann.ask(*({"type": "ignore", "name": "bob", "person": person} for person in people[:100]))
    assert ann.ask(type="ignore", name="cy", person=people[100])[0]["code"] == "too_long"


def test_the_number_of_ignored_people_is_limited(come, monkeypatch):
    monkeypatch.setattr(people, "MAX_IGNORED", 2)
    ann = come("ann")
    for name in ("bob", "cy", "dan"):
        come(name)
    ann.ask("/ignore bob")
    ann.ask("/ignore cy")
    assert "is hidden now" in ann.ask("/ignore cy")  # again
    assert "You already ignore 2 people." in ann.ask("/ignore dan")
    ann.ask("/unignore bob")
    assert "is hidden now" in ann.ask("/ignore dan")


# --- what is kept, and what it costs --------------------------------------------------------------------


def test_ignoring_somebody_keeps_nothing_of_their_session(server):
    ann, bob = server.clients_named("ann", "bob")
    ann.ask("/ignore bob")
    ended = weakref.ref(server.chat.sessions.named("bob"))
    bob.send("/quit")
    bob.rest()

    def freed() -> bool:
        gc.collect()
        return ended() is None

    wait_for(freed)
    assert list(server.chat.sessions.named("ann").profile.ignored.values()) == ["bob"]


def test_sessions_that_ignore_nobody_or_the_same_people_share_a_view(server):
    names = ("ann", "bob", "cy", "dan")
    ann, bob, *_ = server.clients_named(*names)
    sessions = [server.chat.sessions.named(name) for name in names]
    assert len({session.views for session in sessions}) == 1
    for client in (ann, bob):
        client.ask("/ignore cy")
        client.ask("/ignore dan")
    views = [session.views for session in sessions]
    assert views[0] == views[1] != views[2] == views[3]
    lobby = server.chat.publisher.find("#lobby")
    assert sorted(map(len, lobby.groups.values())) == [2, 2]
    ann.ask("/unignore cy")
    ann.ask("/unignore dan")
    assert sessions[0].views == sessions[2].views


def test_the_history_stores_who_sent_each_message_and_an_older_history_still_opens(server, tmp_path):
    bob = server.client("bob")
    bob.ask("hi")
    bob.ask("/nick rob")
    bob.ask("hi")
    identity = server.chat.sessions.named("rob").identity
    with contextlib.closing(sqlite3.connect(tmp_path / "chat.db")) as file:
        assert file.execute("SELECT sender, who FROM messages").fetchall() == [("bob", identity), ("rob", identity)]


@pytest.mark.parametrize("token", ["", "a", "LvW6rA4ZmbO_SkSSqEBHqg", "x" * 100])
def test_the_written_form_of_a_person_can_be_read_back(token):
    assert identity_of(person_of(token_id(token))) == token_id(token)
    assert person_of(token_id(token)) not in token


@pytest.mark.parametrize(
    "person", ["", "bob", "0" * 16, "1" * 15, "1" * 17, "f" * 16, "٣" * 16, "1" * 16 + "\n", "-" + "1" * 15]
)
def test_an_invalid_person_is_an_error(program, person):
    ann = program("ann")
    for kind in ("ignore", "unignore"):
        assert ann.ask(type=kind, name="bob", person=person)[0]["code"] == "bad_request"


def test_a_program_gets_the_person_whom_it_ignores_and_may_use_that_in_requests(server, program):
    ann, bob = program("ann", server), server.client("bob")

    def answer(**request: str) -> str:
        ann.send(**request, ref="1")
        return ann.expect("notice", ref="1")["person"]

    person = answer(type="ignore", name="bob")
    assert answer(type="unignore", name="bob") == person
    bob.ask("/nick rob")
    assert answer(type="ignore", name="bob", person=person) == person
    other = server.client("bob")
    other.ask("sense")
    bob.ask("noise")
    assert [each["text"] for each in ann.ask(type="stats") if each["type"] == "message"] == ["sense"]
    assert answer(type="unignore", name="bob", person=person) == person
    bob.ask("sense")
    assert ann.expect("message")["from"] == "rob"


# --- the library ----------------------------------------------------------------------------------------


def test_a_client_that_comes_back_ignores_the_person_and_not_who_has_the_name_by_then(server, connect, relay):
    through = relay(server.port)
    ann, bob = connect(through, "ann", reconnect=True), connect(server, "bob")
    dan = connect(server, "dan")
    ann.ignore("bob")
    ann.ignore("dan")
    ann.unignore("dan")
    bob.nick("rob")
    other = connect(server, "bob")
    log = Log(ann)
    through.cut()
    wait_for(lambda: log.count(Online) and ann.ping())
    for each, text in ((bob, "noise"), (other, "sense"), (dan, "more sense")):
        each.say("#lobby", text)
    wait_for(lambda: len(log.of("#lobby")) == 2)
    through.cut()
    wait_for(lambda: log.count(Online) == 2 and ann.ping())
    bob.say("#lobby", "noise")
    ann.unignore("rob")
    bob.say("#lobby", "sense at last")
    wait_for(lambda: len(log.of("#lobby")) == 3)
    through.cut()
    wait_for(lambda: log.count(Online) == 3 and ann.ping())
    bob.say("#lobby", "sense again")
    wait_for(lambda: len(log.of("#lobby")) == 4)
    log.end()
    assert [each.text for each in log.events if isinstance(each, Message)] == [
        "sense",
        "more sense",
        "sense at last",
        "sense again",
    ]


def test_a_person_who_is_away_when_the_client_comes_back_is_still_ignored(server, connect, relay):
    through = relay(server.port)
    ann, bob = connect(through, "ann", reconnect=True), connect(server, "bob")
    cy = connect(server, "cy")
    ann.ignore("bob")
    token = bob.welcome.token
    bob.close()
    log = Log(ann)
    through.cut()
    wait_for(lambda: log.count(Online) and ann.ping())
    again = connect(server, "eve")
    again.request("resume", token=token)
    again.say("#lobby", "noise")
    cy.say("#lobby", "sense")
    wait_for(lambda: log.of("#lobby"))
    log.end()
    assert [each.text for each in log.of("#lobby")] == ["sense"]


def test_the_library_says_that_somebody_is_not_here_to_be_ignored(server, connect):
    with pytest.raises(Refused, match="Nobody here is called bob"):
        connect(server, "ann").ignore("bob")


def test_ignore_alone_lists_the_people_who_are_ignored(server):
    ann, bob, _ = server.clients_named("ann", "bob", "cy")
    assert ann.ask("/ignore") == ["* You ignore nobody."]
    ann.ask("/ignore bob")
    ann.ask("/ignore CY")
    bob.ask("/nick robert")
    ann.expect("robert")
    assert ann.ask("/ignore") == ["* You ignore robert (was bob), cy. /unignore NAME shows again what somebody says."]


def test_whoever_writes_to_somebody_they_ignore_is_told_that_no_answer_will_be_seen(server):
    ann, _ = server.clients_named("ann", "bob")
    ann.ask("/ignore bob")
    assert "* You ignore bob, so you will not see an answer." in ann.ask("/msg bob hi")
    ann.ask("/unignore bob")
    assert not any("You ignore" in line for line in ann.ask("/msg bob hi"))
