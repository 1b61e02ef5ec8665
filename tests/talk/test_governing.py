"""The rules of a room: who is its operator, who may enter and speak, and for how long somebody may not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.clients import Program, Start
from support.servers import Process, Running
from support.waiting import WAIT, wait_for
from support.web import WebSocket

from chat_threads import changes, publisher
from chat_threads.storage_errors import StorageError
from chat_threads.tokens import Handout

Rows = list[dict[str, Any]]


def code(answers: Rows) -> str | None:
    """The code of the error among the answers."""
    return next((each["code"] for each in answers if each["type"] == "error"), None)


def texts(seen: Rows) -> list[str]:
    return [each["text"] for each in seen if each["type"] == "message"]


def done(client: Program, line: str) -> Rows:
    """Type a line, and return everything up to its acknowledgement or error."""
    client.send(type="typed", line=line, ref=line)
    seen: Rows = []
    while not seen or seen[-1].get("ref") != line:
        found = client.read()
        assert found is not None
        seen.append(found)
    return seen


def rules(client: Program) -> dict[str, Any]:
    """How the client's current room is governed."""
    client.send(type="room", ref="rules")
    return client.expect("room", ref="rules")


def class_of(program: Start, server: Running, *names: str) -> list[Program]:
    """Clients in #lab, which the first one owns."""
    return [program(name, server, room="#lab") for name in names]


# --- operators ------------------------------------------------------------------------------------------


def test_the_owner_makes_operators_who_may_do_all_but_that(server: Running, program: Start) -> None:
    ann, bob, cy = class_of(program, server, "ann", "bob", "cy")
    assert code(done(bob, "/room quiet")) == code(done(bob, "/op bob")) == code(done(bob, "/kick cy")) == "not_allowed"
    assert code(done(ann, "/op bob")) is None
    assert cy.expect("moderated")["action"] == "op"
    assert code(done(bob, "/room quiet")) is None
    assert code(done(bob, "/op cy")) == code(done(bob, "/kick ann")) == code(done(bob, "/ban bob")) == "not_allowed"
    assert bob.ask(type="room")[0]["operators"] == ["bob"]
    assert code(done(bob, "/deop bob")) is None
    assert code(done(bob, "/room open")) == "not_allowed"
    assert code(done(ann, "/deop bob")) == "not_listed"


def test_an_operator_who_is_muted_cannot_speak_by_the_reasons_for_what_operators_do(
    server: Running, program: Start
) -> None:
    ann, bob, cy = class_of(program, server, "ann", "bob", "cy")
    for client, line in ((cy, "hello"), (bob, "hi"), (ann, "/op bob"), (ann, "/mute bob 1h")):
        assert code(done(client, line)) is None, line
    for line in ("/kick cy MINE", "/ban cy MINE", "/mute cy MINE", "/room quiet", "/deop bob", "/redact 1"):
        assert code(done(bob, line)) == "muted", line
    assert code(done(bob, "/redact 2")) is None  # it is bob's own
    assert code(done(cy, "I am still here")) is None
    assert "MINE" not in str(cy.seen)
    assert code(done(ann, "/unmute bob")) is None
    assert code(done(bob, "/kick cy be kind")) is None


def test_an_operator_who_is_muted_is_told_so_on_entering_and_when_asking_for_the_rules(server: Running) -> None:
    ann, bob = server.client("ann #lab"), server.client("bob #lab")
    ann.send("/op bob", "/mute bob 1h")
    bob.expect("* ann muted bob in #lab for 1 hour")
    muted = "* You are muted in #lab: you can read there, but not speak."
    bob.send("/room")
    bob.expect(muted)
    bob.send("/join #lobby", "/join #lab")
    bob.expect(muted)


def test_nobody_governs_the_lobby_but_the_servers_operators_and_they_govern_every_room(
    server: Running, program: Start
) -> None:
    ann, bob = program("ann", server), program("bob", server)
    owner = program("cy", server, room="#lab")
    assert code(done(ann, "/room quiet")) == "not_allowed"
    server.chat.sessions.named("ann").operator = True
    assert code(done(ann, "/room quiet")) is None
    assert code(bob.ask(type="say", text="hi")) == "quiet_room"
    assert code(done(ann, "/ban #lab cy")) is None
    owner.expect("left", room="#lab")
    assert code(done(owner, "/join #lab")) == code(done(owner, "/unban #lab cy")) == "banned"
    assert code(done(ann, "/unban #lab cy")) is None
    assert code(done(owner, "/join #lab")) is code(done(owner, "/room quiet")) is None


def test_an_error_in_the_lobby_speaks_of_no_owner_because_it_has_none(server: Running, program: Start) -> None:
    ann, bob, cy = server.client("ann"), server.client("bob"), server.client("cy")
    bob.ask("hello")
    refused = ("/room quiet", "/bans", "/audit", "/unban cy", "/kick bob", "/redact 1", "/mute bob")
    said = [ann.ask(line)[-1] for line in refused]
    assert said == [
        *["! Only the server's operators may do that."] * 5,
        "! Message 1 of #lobby is from bob. Only bob and the server's operators can remove it.",
        "! Only the server's operators may do that. /ignore NAME hides from you what somebody says.",
    ]
    server.chat.sessions.named("bob").operator = True
    assert "* bob made cy an operator of #lobby" in bob.ask("/op cy")
    assert [ann.ask(line)[-1] for line in refused[:2]] == [
        "! Only the operators of #lobby may do that. /room #lobby names them."
    ] * 2
    assert ann.ask("/redact 1")[-1].endswith("Only bob and the operators of #lobby can remove it.")
    assert cy.ask("/bans")[-1] == "* Nobody is banned from #lobby or muted in it."


# --- who may speak --------------------------------------------------------------------------------------


def test_in_a_quiet_room_only_operators_speak_until_it_is_open_again(server: Running, program: Start) -> None:
    ann, bob = class_of(program, server, "ann", "bob")
    assert code(done(ann, "/room quiet")) is None
    text = "ann made #lab quiet: only its operators may speak"
    assert bob.expect("room") == {"type": "room", "room": "#lab", "by": "ann", "setting": "quiet", "text": text}
    for request in ({"type": "say", "text": "hi"}, {"type": "action", "text": "waves"}, {"type": "topic", "text": "x"}):
        bob.send({**request, "ref": "1"})
        assert bob.expect("error", ref="1")["code"] == "quiet_room"
    assert code(done(bob, "/nick loud")) == "quiet_room"
    assert code(done(ann, "/topic old")) is None
    dan = server.client("dan")
    dan.ask("/join #lab")
    dan.send("hi", "/me waves", "/topic x", "/topic -")
    for unsent in ("This was not sent: hi", "This action was not sent: waves", "This topic was not sent: x", "Nothing"):
        assert dan.expect("! #lab is quiet: only its operators speak now.").partition("now. ")[2].startswith(unsent)
    ann.send(type="say", text="listen", ref="2")
    assert ann.expect("ack", ref="2")["number"] == 1  # what was refused has no number
    bob.send({"type": "quit", "words": "boring"})
    bob.rest()
    assert "words" not in ann.expect("presence", kind="left")
    assert code(done(ann, "/room open")) is None
    bob = program("bob", server, room="#lab")
    assert code(done(bob, "hi again")) is None


def test_a_change_says_which_other_rule_is_still_in_force(server: Running, program: Start) -> None:
    ann, _ = class_of(program, server, "ann", "bob")
    settings = ["slow 60", "quiet", "slow 30", "unlisted", "open", "quiet", "slow off", "open", "slow 5"]
    settings += ["invite-only", "everybody", "public", "accounts-only", "public", "everybody"]
    for setting in settings:
        assert code(done(ann, f"/room {setting}")) is None
    ann.ask(type="stats")
    assert [(each["setting"], each.get("still", "")) for each in ann.seen if each["type"] == "room"] == [
        ("slow 60", ""),
        ("quiet", ""),
        ("slow 30", "quiet"),
        ("unlisted", "quiet"),
        ("open", "slow 30"),
        ("quiet", ""),
        ("slow off", "quiet"),
        ("open", ""),
        ("slow 5", ""),
        ("invite-only", ""),
        ("everybody", "invite-only"),
        ("public", ""),
        ("accounts-only", ""),
        ("public", "accounts-only"),
        ("everybody", ""),
    ]


@pytest.mark.parametrize("most", [1, publisher.CROWD], ids=["crowded", "small"])
def test_people_are_told_on_going_to_a_room_that_it_is_quiet(
    server: Running, program: Start, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(publisher, "CROWD", most)
    ann, bot = class_of(program, server, "ann", "bot")
    assert code(done(ann, "/room quiet")) is None
    told = "#lab is quiet: only its operators may speak."
    bob = server.client("bob")
    for _ in range(2):  # entering it, and coming back to it
        assert f"* {told}" in bob.ask("/join #lab")
        bob.ask("/join #lobby")
    page = WebSocket(server.port)
    server.clients.append(page)
    page.send(type="hello", name="cy", room="#lab")
    assert page.expect("notice") == {"type": "notice", "text": told, "room": "#lab"}
    seen = str([bot.ask(type="stats"), program("dot", server, room="#lab").ask(type="stats")])
    assert told not in seen  # programs get an error when they speak


def test_people_who_type_see_the_rules_and_what_becomes_of_their_lines(server: Running) -> None:
    ann = server.client()
    ann.send("ann #lab")
    ann.expect("You are in #lab")
    bob = server.client()
    bob.send("bob #lab")
    bob.expect("You are in #lab")
    assert "/ban" not in "".join(bob.ask("/help"))
    assert "/ban [#room]" in "".join(ann.ask("/help"))
    ann.send("/room")
    ann.expect("* Everybody may enter #lab. Everybody in it may speak.")
    ann.send("/room slow 600")
    bob.expect("* ann made #lab slow: only its operators may speak more often than once in 10 minutes")
    bob.send("one", "two", "/me three", "/topic four")
    bob.expect("bob: one")
    for what, unsent in (
        ("this", "two"),
        ("this action", "three"),
        ("this topic", "four"),
    ):  # each error says which line it is about
        told = bob.expect("! #lab is slow: everybody but its operators may speak once in 10 minutes.")
        assert told.endswith(f"Send {what} again in 10 minutes: {unsent}")
    ann.send("/mute bob 5x rude words")
    ann.expect("! 5x is not a time. Nothing was done. A time is like 10m, 2h or 3d.")
    ann.send("/ban bo", "/kick bo", "/mute bbo", "/mute 5m bob", "/room lab quiet", "/ban zed 5m early")
    for typed in ("bo", "bo", "bbo"):
        ann.expect(f"! Nobody here is called {typed}. Did you mean bob?")
    ann.expect("! The person's name comes first. Type /mute bob 5m.")
    ann.expect("! lab quiet is not a setting of a room. Did you mean /room #lab quiet?")
    ann.expect("* Nobody is called zed now, so this holds for the name only.")
    ann.expect("* ann banned zed from #lab for 5 minutes: early")
    ann.send("/bans", "/ban bob 0s", "/op ann")
    ann.expect("zed     banned  5 minutes    ann   early")
    ann.expect("! 0s is too short or too long. Nothing was done.")
    ann.expect("! ann owns #lab, and may do more than an operator there.")
    ann.send("/mute bob for 3 hours rude words")
    bob.expect("* ann muted bob in #lab for 3 hours: rude words")
    bob.send("/nick shouting")
    bob.expect("! You are muted in #lab for 3 hours (rude words). You keep your name there.")
    bob.send("hello?")
    bob.expect("! You are muted in #lab for 3 hours (rude words). This was not sent: hello?")
    bob.send("/me waves")
    bob.expect("! You are muted in #lab for 3 hours (rude words). This action was not sent: waves")
    ann.send("/bans")
    ann.expect("bob     muted")
    ann.send("/room pink")
    ann.expect("! pink is not a setting of a room. Try one of: public, invite-only,")
    bob.send("/mute ann")
    bob.expect(
        "! Only the owner and the operators of #lab may do that. /ignore NAME hides from you what somebody says."
    )
    ann.send("/room closed")
    ann.expect("! closed is not a setting of a room. Did you mean invite-only?")
    ann.send("/ban list", "/ban nobody", "/kick ann")
    ann.expect("! /ban keeps somebody out. Type /bans to list who is banned.")
    ann.expect("! Nobody here is called nobody.")
    ann.expect("! You cannot do that to yourself.")
    bob.send("/deop bob")
    bob.expect("! bob is not an operator of #lab. /room #lab names its operators.")
    ann.send("/unban bob", "/deop bob")
    ann.expect("! bob is not banned from #lab. /bans #lab lists who is.")
    ann.expect("! bob is not an operator of #lab. /room #lab names its operators.")
    ann.send("/room slow", "/room slow 0")
    for _ in range(2):
        ann.expect("Write slow and a number of seconds, 1 to 3600, such as slow 10; or slow off.")
    ann.send("/op bob", "/op bob", "/mute bob 1m", "/unmute bob")
    bob.expect("* ann lets bob speak in #lab again")
    bob.send("/room slow off")  # he has not lost the role
    bob.expect("* bob ended the slow mode of #lab: nobody has to wait between two messages there")
    ann.send("/deop bob")
    ann.expect("* bob is an operator of #lab already.")
    bob.expect("* ann took the role of operator of #lab from bob")
    ann.send("/kick bob too loud", "/invite bob", "/bans")
    ann.expect("! bob was just sent out of #lab. /unban bob first.")
    ann.expect("bob     sent out")
    bob.send("/join #lab")
    bob.expect("! You were sent out of #lab (too loud). You may come back in")
    ann.send("/unban bob")
    ann.expect("* ann lifted bob's ban from #lab")
    bob.send("/join #lab")
    bob.expect("You are in #lab")
    ann.send("/mute bob -1m", "/mute bob 2h 30m", "/report ann")
    ann.expect("! -1m is not a time. Nothing was done. A time is like 10m, 2h or 3d.")
    ann.expect("! 2h 30m is not a time. Nothing was done. A time is like 10m, 2h or 3d.")
    ann.expect("! You cannot do that to yourself.")
    ann.send("/ban bob")
    bob.expect("* ann banned bob from #lab for good")
    bob.expect("You left #lab and are not in a room now.")
    ann.send("/invite bob")
    ann.expect("! bob is banned from #lab. /unban bob first.")
    ann.send("/kick bob #lab rudely")
    ann.expect("! bob is not in #lab. /who #lab lists who is.")
    bob.send("/join #lab")
    bob.expect("! You are banned from #lab.")
    ann.send("that was me")
    ann.expect("ann: that was me")
    ann.send("/quit")
    ann.rest()
    ann = server.client("ann #lab")
    ann.send("/room open", "/mute bob", "/bans", "/audit", "/redact 2")
    for _ in range(4):
        ann.expect("! #lab was made by ann, under another token. If that was you, /resume TOKEN first.")
    ann.expect("! Message 2 of #lab is from ann, under another token. If that was you, /resume TOKEN first.")


def test_in_a_room_without_an_owner_members_are_told_who_may_make_operators(server: Running) -> None:
    ann, _ = server.clients_named("ann", "bob")
    for line in ("/op bob", "/deop bob"):
        assert ann.ask(line) == ["! Only the server's operators may do that."]


def test_a_slow_room_takes_one_message_of_each_person_in_that_time(server: Running, program: Start) -> None:
    ann, bob, cy = class_of(program, server, "ann", "bob", "cy")
    assert code(done(ann, "/room slow 1")) is None
    assert code(done(bob, "one")) is None
    assert code(done(bob, "/topic two")) == code(done(bob, "/nick two")) == "too_soon"
    refused = done(bob, "two")[-1]
    assert (refused["code"], refused["seconds"]) == ("too_soon", 1)
    assert code(done(cy, "mine")) is code(done(ann, "a")) is code(done(ann, "b")) is None
    wait_for(lambda: code(done(bob, "two")) is None)
    bob.send({"type": "quit", "words": "three"})  # otherwise people would speak as often as they come and go
    bob.rest()
    assert "words" not in cy.expect("presence", kind="left", names=["bob"])
    bob = program("bob", server, room="#lab")
    assert code(done(ann, "/room slow 600")) is None
    assert code(done(bob, "/nick rob")) is code(done(ann, "/nick anna")) is code(done(ann, "/nick ann")) is None
    assert code(done(bob, "three")) == code(done(bob, "/nick bob")) == "too_soon"
    assert code(done(ann, "/room slow off")) is None
    assert code(done(bob, "three")) is code(done(bob, "four")) is None


def test_in_an_accounts_only_room_nobody_without_an_account_speaks_or_enters(server: Running, program: Start) -> None:
    ann, bob, cy = *class_of(program, server, "ann", "bob"), program("cy", server)
    assert code(done(ann, "/room accounts-only")) is None
    refused = done(bob, "hi")
    assert code(refused) == code(done(cy, "/join #lab")) == "accounts_only"
    assert refused[-1]["text"].endswith(" This was not sent: hi")  # as in a quiet room
    assert "has to log in" in done(ann, "/invite cy")[-1]["text"]
    for name in ("bob", "cy"):
        server.chat.sessions.named(name).account = True
    assert code(done(cy, "/join #lab")) is code(done(bob, "hi")) is code(done(ann, "hi")) is None


# --- who may enter --------------------------------------------------------------------------------------


def test_only_invited_people_enter_and_those_who_were_there_may_come_back(server: Running, program: Start) -> None:
    ann, bob, cy, dan = *class_of(program, server, "ann", "bob"), program("cy", server), program("dan", server)
    early = program("early", server)
    assert code(done(ann, "/invite early")) is code(done(bob, "/invite cy")) is None  # only an operator's is for later
    ann.send({"type": "room", "setting": "invite-only"}, {"type": "invite", "name": "dan"})
    dan.expect("invited")
    assert code(done(early, "/join #lab")) is code(done(ann, "/uninvite early")) is code(done(early, "/leave")) is None
    assert code(done(dan, "/join #lab")) is None
    done(bob, "/leave")
    assert code(done(cy, "/join #lab")) == code(cy.ask(type="join", room="#lab", since=0)) == "invite_only"
    assert code(done(bob, "/join #lab")) is None
    assert code(done(bob, "/invite cy")) == "not_allowed"
    assert code(done(ann, "/invite cy")) is None
    cy.expect("invited")
    assert code(done(cy, "/join #lab")) is None
    assert rules(ann)["invited"] == ["bob", "dan", "cy"]
    assert "invited" not in rules(bob)
    assert code(done(ann, "/uninvite eve")) == "not_listed"
    assert done(ann, "/uninvite cy")[-1]["text"] == "cy is not invited to #lab any more, but is still in it."
    done(cy, "/leave #lab")
    done(bob, "/leave #lab")
    assert done(ann, "/uninvite bob")[-1]["text"] == "bob is not invited to #lab any more."
    assert code(done(cy, "/join #lab")) == code(done(bob, "/join #lab")) == "invite_only"
    assert code(done(ann, "/room public")) is code(done(ann, "/room invite-only")) is None
    assert rules(ann)["invited"] == ["dan"]  # those who are there
    assert code(done(ann, "/room public")) is None
    assert code(done(program("eve", server), "/join #lab")) is None


@pytest.mark.parametrize("rooms", [["#lab"], ["#lab", "#study"]])
def test_that_a_room_could_not_be_entered_at_first_is_the_last_thing_that_one_reads(
    server: Running, program: Start, rooms: list[str]
) -> None:
    ann = program("ann", server, room="#lab")
    assert code(done(ann, "/room invite-only")) is None
    for room in ("#study", "#lobby"):
        done(ann, f"/join {room}")
        ann.ask(type="say", text="hello")
    with server.client() as bob:
        bob.send(f"bob {rooms[0]}")
        before = bob.upto("! #lab is only for people who were invited.")
        assert before[-1].endswith(" ann: hello")
        assert bob.news() == []
    cy = program(server=server)
    cy.send(type="hello", name="cy", since=dict.fromkeys(rooms, 0))
    before = cy.upto("error", code="invite_only")
    assert [each["room"] for each in before if each["type"] == "message"] == (rooms[1:] or ["#lobby"])


def test_who_enters_while_a_room_is_being_closed_has_to_leave(
    server: Running, program: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob, cy = *class_of(program, server, "ann", "bob"), program("cy", server)
    commits, go_on, commit = threading.Event(), threading.Event(), server.chat.storage.commit

    def slowly(batch: Any) -> None:
        if batch.governed:
            commits.set()
            assert go_on.wait(WAIT)
        commit(batch)

    monkeypatch.setattr(server.chat.storage, "commit", slowly)
    ann.send(type="room", setting="invite-only", ref="r")
    assert commits.wait(WAIT)
    cy.send(type="join", room="#lab")
    cy.expect("joined", room="#lab")
    go_on.set()
    ann.expect("ack", ref="r")
    cy.expect("left", room="#lab")
    assert code(done(cy, "/join #lab")) == "invite_only"
    assert code(done(bob, "hi")) is None


def test_nothing_of_a_banned_person_appears_after_the_notice(serve: Callable[..., Running], program: Start) -> None:
    ann, bob, cy = class_of(program, serve(queue_limit=10_000), "ann", "bob", "cy")
    flood = threading.Thread(
        target=lambda: bob.send(*[{"type": "say", "text": "spam", "room": "#lab", "ref": str(n)} for n in range(3000)])
    )
    flood.start()
    for _ in range(20):
        cy.expect("message", **{"from": "bob"})
    ann.send(type="kick", name="bob")
    cy.expect("moderated", action="kick", name="bob")
    answers = bob.upto("left")
    flood.join(WAIT)
    bob.send({"type": "ping", "ref": "end"})
    rest = bob.upto("pong", ref="end")
    last = max(each["number"] for each in [*answers, *rest] if each["type"] == "ack")
    assert {each["type"] for each in rest} <= {"error", "ack", "presence"}
    assert {each["code"] for each in rest if each["type"] == "error"} <= {"banned", "not_in_room"}
    ann.send(type="say", text="quiet again", ref="q")
    assert ann.expect("ack", ref="q")["number"] == last + 1
    assert texts(cy.ask(type="who")) in ([], ["quiet again"])


def test_a_ban_holds_under_other_names_on_other_connections_and_for_the_name(server: Running, program: Start) -> None:
    ann, bob = class_of(program, server, "ann", "bob")
    token = bob.ask(type="token")[-1]["token"]
    assert code(done(ann, "/ban bob")) is None
    bob.expect("left")
    assert code(done(bob, "/nick rob")) is None
    assert code(done(bob, "/join #lab")) == "banned"
    bob.send({"type": "quit"})
    bob.rest()
    again = program(server=server)
    again.send(type="hello", token=token, since={"#lab": 0})
    again.expect("joined", room="#lobby")
    assert again.expect("error")["code"] == "banned"
    guest = program("BOB", server)  # a new identity
    assert code(done(guest, "/join #lab")) == "banned"
    guest.send(type="register", password="correct horse", ref="r")
    guest.expect("notice", ref="r")
    assert code(done(guest, "/join #lab")) == "banned"
    assert code(done(again, "/nick carl")) is None
    assert code(done(ann, "/unban bob")) is None
    assert code(done(again, "/join #lab")) is None


def test_the_person_concerned_is_told_outside_the_room_what_changes(server: Running, program: Start) -> None:
    ann, bob = class_of(program, server, "ann", "bob")
    for line in ("/op bob", "/deop bob", "/ban bob", "/mute bob"):
        assert done(ann, line)[-1]["type"] == "ack", line
    bob.expect("left", room="#lab")
    assert code(done(bob, "/nick rob")) is None
    for line, said in (
        ("/unban bob", "ann lifted your ban from #lab."),
        ("/unmute bob", "ann lifted your mute in #lab."),
        ("/op rob", "ann made you an operator of #lab."),
        ("/deop rob", "ann took the role of operator of #lab from you."),
        ("/ban rob 2h so loud", "ann banned you from #lab for 2 hours: so loud"),
        ("/mute rob", "ann muted you in #lab for good."),
        ("/unban rob", "ann lifted your ban from #lab."),
        ("/unmute rob", "ann lifted your mute in #lab."),
        ("/op rob", "ann made you an operator of #lab."),
    ):
        assert done(ann, line)[-1]["type"] == "ack", line
        bob.expect("notice", text=said, room="#lab")
    bob.ask(type="ignore", name="ann")
    assert code(done(ann, "/deop rob")) is code(done(ann, "/op rob")) is code(done(bob, "/join #lab")) is None
    assert len([each for each in bob.seen if "you an operator of #lab" in each.get("text", "")]) == 2


def test_a_ban_of_an_old_name_finds_the_person_also_if_others_have_said_much_since(
    server: Running, program: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = class_of(program, server, "ann", "bob")
    for line in ("spam", "/nick zorro"):
        assert code(done(bob, line)) is None
    monkeypatch.setattr(server.chat.publisher, "recent", lambda name: ())
    assert code(done(ann, "/ban bob")) is None
    bob.expect("left", room="#lab")
    assert "name only" in str(done(ann, "/ban nora"))


def test_an_account_that_is_given_up_and_taken_again_stays_banned(server: Running, program: Start) -> None:
    ann, bob = class_of(program, server, "ann", "bob")
    for kind in ("register", "unregister", "register"):
        if kind == "unregister":
            assert code(done(ann, "/ban bob")) is None
        bob.send(type=kind, password="correct horse", ref=kind)
        assert bob.expect("notice", ref=kind)
        if kind == "unregister":
            bob.send({"type": "quit"})
            bob.rest()
            bob = program("bob", server)
    assert code(done(bob, "/join #lab")) == "banned"


def test_a_kick_does_not_shorten_a_ban_and_nobody_in_the_room_takes_a_banned_name(
    server: Running, program: Start
) -> None:
    ann, _, cy = class_of(program, server, "ann", "bob", "cy")
    ann.send({"type": "ban", "name": "bob", "ref": "b"}, {"type": "kick", "name": "bob", "ref": "k"})
    assert ann.expect("error", ref="k")["code"] == "not_listed"
    assert code(done(ann, "/ban eve")) is None
    assert code(done(cy, "/nick eve")) == "banned"
    assert [(each["name"], each["seconds"]) for each in ann.ask(type="bans")[-1]["people"]] == [
        ("bob", None),
        ("eve", None),
    ]
    assert code(done(cy, "hi")) is None


def test_an_operator_of_the_server_is_protected_under_old_names_too(server: Running, program: Start) -> None:
    ann, boss = class_of(program, server, "ann", "chief")
    server.chat.sessions.named("chief").operator = True
    for line in ("hello", "/nick boss"):
        assert code(done(boss, line)) is None
    assert code(done(ann, "/ban chief")) == code(done(ann, "/mute chief")) == "not_allowed"


def test_an_operator_whose_name_is_banned_leaves_with_the_role(server: Running, program: Start) -> None:
    ann, bob, cy = class_of(program, server, "ann", "bob", "cy")
    for client, line in ((ann, "/op bob"), (ann, "/op cy"), (cy, "/ban ghost"), (bob, "/nick ghost")):
        assert code(done(client, line)) is None, line
    assert code(done(bob, "I stay")) is None
    assert code(done(ann, "/deop ghost")) is None
    bob.expect("left", room="#lab")
    assert code(done(ann, "a secret")) is None
    assert code(done(bob, "/join #lab")) == "banned"
    assert "a secret" not in texts(bob.seen)


def test_a_room_that_somebody_may_not_enter_any_more_is_not_kept_for_them(server: Running, program: Start) -> None:
    ann = program("ann", server, room="#lab")
    bob = server.client("bob")
    bob.send("/join #lab", "/token")
    token = bob.expect("* /resume ").split()[-1]
    bob.send("/quit")
    bob.rest()
    assert code(done(ann, "/ban bob")) is None
    for told in (["! You are banned from #lab."], []):
        bob = server.client()
        bob.send(f"/resume {token}", "/who", "/quit")
        assert [line for line in bob.rest() if line.startswith("!")] == told


def test_somebody_with_an_account_is_banned_and_made_an_operator_while_they_are_away(
    server: Running, program: Start
) -> None:
    ann, bob = program("ann", server, room="#lab"), program("bob", server)
    bob.send(type="register", password="correct horse", ref="r")
    bob.expect("notice", ref="r")
    bob.send({"type": "quit"})
    bob.rest()
    assert code(done(ann, "/op bob")) is code(done(ann, "/deop bob")) is code(done(ann, "/ban BOB")) is None
    bob = program("bob", server, password="correct horse")
    assert code(done(bob, "/join #lab")) == "banned"
    assert code(done(ann, "/room accounts-only")) is code(done(ann, "/unban bob")) is None
    assert code(done(bob, "/join #lab")) is code(done(bob, "/nick rob")) is None
    done(ann, "/kick bob")  # everybody knows them as rob
    assert bob.expect("moderated", action="kick")["name"] == "rob"


def test_nobody_becomes_another_person_to_speak_or_to_stay(server: Running, program: Start) -> None:
    ann, bob, cy = class_of(program, server, "ann", "bob", "cy")
    tokens = []
    for each in (bob, cy):
        each.send(type="token")
        tokens.append(each.expect("token")["token"])
    cy.send({"type": "quit"})
    cy.rest()
    assert code(done(ann, "/mute bob")) is None
    assert code(done(bob, f"/resume {tokens[1]}")) == "muted"
    assert code(done(ann, "/unmute bob")) is code(done(ann, "/ban cy")) is None
    bob.send(type="resume", token=tokens[1])
    bob.expect("error", code="banned")
    bob.expect("left", room="#lab")
    assert code(done(bob, "/join #lab")) == "banned"


def test_nobody_is_moved_from_a_deleted_room_into_a_lobby_from_which_they_are_banned(
    server: Running, program: Start
) -> None:
    ann, bob = class_of(program, server, "ann", "bob")
    server.chat.sessions.named("ann").operator = True
    assert code(done(ann, "/ban #lobby bob")) is None
    assert code(done(ann, "/delete #lab yes")) is None
    assert bob.expect("deleted")["current"] is None
    assert code(done(bob, "hello?")) == "not_in_room"
    assert code(done(ann, "hello?")) is None


def test_an_address_is_banned_by_the_servers_operators_only(server: Running, program: Start) -> None:
    ann, _ = class_of(program, server, "ann", "bob")
    assert code(done(ann, "/ban bob address")) == "not_allowed"
    server.chat.sessions.named("ann").operator = True
    assert code(done(ann, "/ban zed address")) == "not_listed"
    assert [each["address"] for each in done(ann, "/ban bob 1h address rude") if each["type"] == "moderated"] == [True]
    (row,) = ann.ask(type="bans")[-1]["people"]
    assert (row["address"], row["why"], row["seconds"] > 3000) == (True, "rude", True)
    cy = program("cy", server)
    refused = done(cy, "/join #lab")[-1]  # all come from one address
    assert refused["code"] == "banned"
    assert refused["text"].startswith("Everybody who comes from your address is banned from #lab for ")
    assert refused["text"].endswith(" (rude). It was done by ann, who can lift it.")
    unlisted = done(ann, "/unban cy")[-1]
    assert (unlisted["code"], unlisted["near"]) == ("not_listed", "bob")
    assert code(done(ann, "hi")) is None
    assert code(done(cy, "/history #lab")) == "banned"
    done(ann, "/room invite-only")
    assert code(done(cy, "/history #lab")) == "unknown_room"  # and who comes from there learns nothing of the room now


def test_of_long_lists_one_address_adds_few_and_a_short_list_always_takes_one_more(
    server: Running, program: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is on the lists is in memory all the time, and a room costs nothing. But nobody who bans many keeps
    others at the same address, such as a teacher, from banning somebody."""
    monkeypatch.setattr(changes, "LONG", 2)
    monkeypatch.setattr(changes, "LONG_INVITED", 1)
    monkeypatch.setattr(server.chat.sessions, "_added", Handout(lambda: 0.0, at_once=1, a_second=1 / 60))
    ann, _ = class_of(program, server, "ann", "bob")
    cy = program("cy", server)
    program("dora", server)
    for line in ("/ban x1", "/ban x2", "/kick bob", "/mute x1", "/invite cy", "/ban x3"):
        assert code(done(ann, line)) is None, line
    late = done(ann, "/ban x4")[-1]
    assert (late["code"], late["seconds"], late["room"]) == ("try_later", 60, "#lab")
    assert code(done(ann, "/unban x3")) is None
    assert code(done(ann, "/ban x4")) == "try_later"
    assert code(done(ann, "/invite dora")) == "try_later"
    assert code(done(ann, "/mute x2")) is None
    done(cy, "/join #teachers")
    assert code(done(cy, "/ban x4")) is None
    server.chat.sessions.named("ann").operator = True
    assert code(done(ann, "/ban x4")) is None


@pytest.mark.slow
def test_what_has_a_time_ends_by_itself(server: Running, program: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "KICKED", 1)
    ann, bob = class_of(program, server, "ann", "bob")
    for line in ("/kick bob", "/ban bob 1s"):
        assert code(done(ann, line)) is None
        bob.expect("left")
        assert code(done(bob, "/join #lab")) == "banned"
        wait_for(lambda: code(done(bob, "/join #lab")) is None)
    assert code(done(ann, "/mute bob 1s")) is None
    assert code(done(bob, "hi")) == "muted"
    wait_for(lambda: code(done(bob, "hi")) is None)
    assert ann.ask(type="bans")[-1]["people"] == []


def test_a_person_who_would_delete_messages_by_a_rule_is_asked_first(server: Running, program: Start) -> None:
    ann = program("ann", server, room="#lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server.chat.history, "_now", lambda: time.time() - 3 * 86400)
        for text in ("old", "older"):
            assert code(done(ann, text)) is None
    ann.ask(type="say", text="new")
    said = "2 messages are older in #lab, and would be deleted for good. Add yes to do that."
    assert done(ann, "/room keep 2")[-1]["text"] == done(ann, "/room KEEP 2")[-1]["text"] == said
    assert "keep all" in rules(ann)["settings"]
    for line in ("/room keep 30", "/room #lab keep 2 yes"):
        assert done(ann, line)[-1]["type"] == "ack"
    ann.ask(type="room", setting="keep all")
    ann.send(type="room", setting="keep 1", ref="r")  # programs are not asked
    ann.expect("ack", ref="r")


def test_a_guest_who_has_left_for_good_is_on_no_list_and_the_owner_hears_of_it_before(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "OPERATORS", 2)
    ann, bob, cy = (server.client(f"{name} #lab") for name in ("ann", "bob", "cy"))
    cy.ask("/token")
    ann.send("/op bob", "/op cy", "/room invite-only")
    ann.expect("* The role ends with bob's connection: bob has neither account nor token.")
    ann.expect("* 1 person here has neither account nor token. After they disconnect, they need another invitation.")
    ann.send("/room")
    ann.expect("* Invited: bob, cy.")
    ann.expect("its operators: bob, cy.")
    assert "cy's connection" not in str(ann.seen)
    for each in (bob, cy):
        each.send("/quit")
        each.rest()
    bob = server.client("bob")
    assert "! #lab is only for people who were invited." in bob.ask("/join #lab")[0]
    ann.send("/room")
    ann.expect("* Invited: cy.")
    ann.expect("its operators: cy.")
    ann.send("/invite bob", "/op bob", "/room")
    ann.expect("* Invited: cy, bob.")
    ann.expect("its operators: cy, bob.")
    ann.send("/deop bob", "/room")
    ann.expect("its operators: cy.")


def test_bans_list_a_name_once_that_several_people_had(server: Running, program: Start) -> None:
    (ann,) = class_of(program, server, "ann")
    for seconds in (300, 7200, 600):
        bob = program("bob", server, room="#lab")
        bob.ask(type="say", text="grr")
        assert code(done(ann, f"/mute bob {seconds}s")) is None
        bob.send({"type": "quit"})
        bob.rest()
    ann.send(type="bans", ref="b")
    (row,) = ann.expect("bans", ref="b")["people"]
    assert row["action"] == "mute"
    assert 7100 < row["seconds"] <= 7200
    assert code(done(ann, "/unmute bob")) is None
    ann.send(type="bans", ref="c")
    assert ann.expect("bans", ref="c")["people"] == []


# --- what stays -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_bans_mutes_operators_and_settings_survive_kill_9(
    start_process: Callable[..., Process], program: Start
) -> None:
    server = start_process()
    ann, bob, cy = (program(name, server, room="#lab") for name in ("ann", "bob", "cy"))
    tokens = []
    for each in (ann, bob, cy):
        each.send(type="token")
        tokens.append(each.expect("token")["token"])
    for line in ("/op cy", "/mute bob", "/room slow 5", "/room unlisted", "/ban zora 1d"):
        assert code(done(ann, line)) is None
    ann.send(type="room", ref="r")
    rules = ann.expect("room", ref="r")
    server.kill()
    server = start_process()
    ann, bob, cy = (program(server=server) for _ in range(3))
    for each, token in zip((ann, bob, cy), tokens, strict=True):
        each.send(type="hello", token=token, since={"#lab": 0})
        each.expect("joined", room="#lab")
    ann.send(type="room", ref="r")
    assert ann.expect("room", ref="r") == rules
    assert code(done(bob, "hi")) == "muted"
    assert code(done(program("zora", server), "/join #lab")) == "banned"
    assert code(done(cy, "/unmute bob")) is None
    assert code(done(bob, "hi")) is None


def test_a_room_with_rules_stays_when_everybody_has_left_and_goes_with_its_rules(
    serve: Callable[..., Running], program: Start
) -> None:
    server = serve()
    ann = program("ann", server, room="#lab")
    token = ann.ask(type="token")[-1]["token"]
    assert code(done(ann, "/ban bob secretly")) is None
    done(ann, "/leave")
    assert "#lab" in [row["room"] for row in ann.ask(type="rooms")[-1]["rooms"]]
    ann.send({"type": "quit"})
    ann.rest()
    server.chat.stop()
    server = serve()
    ann = program(server=server)
    ann.send(type="hello", token=token, room="#lab")
    ann.expect("joined", room="#lab")
    assert [row["why"] for row in ann.ask(type="bans")[-1]["people"]] == ["secretly"]
    ann.send(type="delete", room="#lab", ref="d")
    ann.expect("ack", ref="d")
    assert server.chat.storage.governed() == {}


def test_a_change_that_cannot_be_stored_changes_nothing(server: Running, program: Start) -> None:
    ann, bob = class_of(program, server, "ann", "bob")

    def full(batch: object) -> None:
        raise StorageError("the disk is full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server.chat.storage, "commit", full)
        assert code(done(ann, "/mute bob")) == code(done(ann, "/ban bob")) == "not_stored"
    assert code(done(bob, "hi")) is None
    assert ann.ask(type="bans")[-1]["people"] == []
    assert code(done(ann, "/room slow 600")) is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server.chat.storage, "commit", full)
        for line in ("hi again", "/topic new"):
            assert code(done(bob, line)) == "not_stored"
    assert code(done(bob, "hi again")) is None  # what was not stored did not cost the turn
    assert code(done(bob, "and again")) == "too_soon"


@pytest.mark.slow
def test_with_bans_coming_and_going_everybody_sees_one_order_and_nothing_of_a_banned_person(
    start_process: Callable[..., Process], program: Start
) -> None:
    server = start_process("--rate", "0")
    ann, eve, fay = (program(name, server, room="#lab") for name in ("ann", "eve", "fay"))
    names, over = ("bob", "cy", "dan"), threading.Event()

    def talk(client: Program) -> None:
        number = 0
        while not over.is_set():
            number += 1
            client.send({"type": "join", "room": "#lab"}, {"type": "say", "text": str(number), "room": "#lab"})
            client.ask(type="away")

    talkers = [threading.Thread(target=talk, args=(program(name, server, room="#lab"),)) for name in names]
    for each in talkers:
        each.start()
    try:
        for turn in range(60):
            name = names[turn % 3]
            for line in (f"/ban {name}{' 1h' if turn % 2 else ''}", f"/unban {name}"):
                assert code(done(ann, line)) is None
    finally:
        over.set()
        for each in talkers:
            each.join(WAIT)
    assert code(done(ann, "/ban bob")) is code(done(ann, "the end")) is None
    orders = []
    for reader in (eve, fay):
        reader.expect("message", text="the end")
        order = [each for each in reader.seen if each["type"] in ("message", "moderated")]
        out: set[str] = set()
        for each in order:
            if each["type"] == "message":
                assert each["from"] not in out
            else:
                (out.discard if each["action"] == "unban" else out.add)(each["name"])
        numbers = [each["number"] for each in order if each["type"] == "message"]
        assert numbers == [*range(1, len(numbers) + 1)]
        assert len(numbers) > 60
        orders.append(order)
    assert orders[0] == orders[1]
    server.kill()
    server = start_process("--rate", "0")
    assert code(done(program("bob", server), "/join #lab")) == "banned"


def test_a_rule_that_holds_already_is_not_announced_again(server: Running) -> None:
    ann, bob = server.client("ann"), server.client("bob")
    for each in (ann, bob):
        each.ask("/join #lab")
    ann.ask("/room quiet")
    bob.ask("hello")
    assert "* #lab has that rule already." in ann.ask("/room quiet")
    assert not any("quiet" in line for line in bob.news())


@pytest.mark.parametrize("how", ["/kick bob", "/ban bob", "/delete #lab yes"])
def test_a_line_that_may_have_been_begun_in_a_room_that_one_had_to_leave_is_not_said_in_another(server, how):
    ann, bob, cy = server.client("ann"), server.client("bob"), server.client("cy")
    ann.ask("/create #lab")
    bob.ask("/join #lab")
    bob.send_bytes(b"half a li")
    ann.send(how)
    bob.expect("goes to #lobby")
    bob.send("ne")
    bob.expect("! You are in #lobby now, not in #lab, so nothing was sent.")
    bob.send("meant for the lobby")
    bob.expect("bob: meant for the lobby")
    assert "half" not in str(cy.upto("meant for the lobby"))


def test_whoever_tries_to_go_back_to_the_room_that_they_had_to_leave_is_still_asked(server):
    ann, bob = server.client("ann"), server.client("bob")
    ann.ask("/create #lab")
    bob.ask("/join #lab")
    ann.send("/kick bob")
    bob.expect("goes to #lobby")
    bob.send("/join #lab", "meant for the lab")
    bob.expect("! You were sent out of #lab.")
    bob.expect("! You are in #lobby now, not in #lab, so nothing was sent.")


def test_somebody_who_enters_a_room_by_themselves_is_not_asked_which_one_a_line_is_for(server):
    ann, bob = server.client("ann"), server.client("bob")
    ann.ask("/create #lab")
    bob.ask("/join #lab")
    ann.send("/kick bob")
    bob.expect("goes to #lobby")
    bob.send("/join #other", "hello")
    bob.expect("bob: hello")
