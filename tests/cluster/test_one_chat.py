"""Several servers are one chat: one order, and the same names, rooms, accounts and rules on all of them."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

import pytest
from support.clients import said
from support.copies import expect_same, rows
from support.waiting import WAIT, in_threads, wait_for

from chat_threads import changes, events
from chat_threads.cluster import entries
from chat_threads.errors import NameTaken

pytestmark = pytest.mark.slow


def test_all_members_on_all_servers_and_all_copies_have_one_order(join, tmp_path):
    servers = [join(name) for name in "abc"]
    people = [server.client(f"{name}{at}") for at, server in enumerate(servers) for name in ("ann", "bob")]

    def speak(client: Any, number: int) -> None:
        for at in range(30):
            client.send(f"{number}-{at}")

    in_threads(speak, people, range(len(people)))
    seen = []
    for client in people:
        found: list[str] = []
        while len(found) < 180:
            line = client.line()
            found += [text for _, text in said([line])]
        seen.append(found)
    assert all(each == seen[0] for each in seen)
    for number in range(len(people)):
        assert [text for text in seen[0] if text.startswith(f"{number}-")] == [f"{number}-{at}" for at in range(30)]
    expect_same(tmp_path, "a", "b", "c")


def test_a_name_belongs_to_one_person_on_all_servers(join):
    first, second = join("a"), join("b")
    first.client("ann")
    wait_for(lambda: second.chat.sessions.people())
    other = second.client()
    other.send("ann")
    assert "ann is taken" in other.expect("! The name ann is taken")
    outcomes = []

    def enter(server: Any) -> None:
        client = server.client()
        client.send("eve")
        while (line := client.line()) is not None and "eve is taken" not in line and "You are in #lobby" not in line:
            pass
        outcomes.append("taken" in str(line))

    in_threads(enter, [first, second])
    assert sorted(outcomes) == [False, True]


def test_a_room_is_made_once(join, tmp_path):
    first, second = join("a"), join("b")
    ann, bob = first.client("ann"), second.client("bob")
    in_threads(lambda client: client.ask("/join #lab"), [ann, bob])
    bob.send("here")
    ann.expect("here")
    ann.send("/leave #lab", "/join #lobby")
    bob.expect("ann left")
    bob.ask("/delete #lab")
    expect_same(tmp_path, "a", "b")


def test_a_token_brings_its_person_back_on_another_server(join):
    first, second = join("a"), join("b")
    ann = first.client("ann")
    ann.send("/join #lab", "hello", "/token")
    token = ann.expect("/resume ").split()[-1]
    again = second.client()
    again.send(f"/resume {token}")
    again.expect("You are in #lab")
    ann.expect("You reconnected elsewhere")
    assert "ann" in str(again.ask("/who #lab"))


def test_a_request_that_is_sent_to_two_servers_is_stored_once(join, program, tmp_path):
    first, second = join("a"), join("b")
    ann = program(None, server=first)
    ann.send(type="hello", name="ann")
    token = ann.expect("welcome")["token"]
    ann.send(type="say", room="#lobby", text="once", ref="r1")
    assert ann.expect("ack")["number"] == 1
    again = program(None, server=second)
    again.send(type="hello", name="ann", token=token)
    again.expect("joined")
    again.send(type="say", room="#lobby", text="once", ref="r1")
    assert again.expect("ack")["number"] == 1
    expect_same(tmp_path, "a", "b")
    assert len(rows(tmp_path / "a.db")["messages"]) == 1


def test_private_lines_and_invitations_reach_people_on_other_servers(join):
    first, second = join("a"), join("b")
    ann, bob = first.client("ann"), second.client("bob")
    ann.expect("bob joined")
    long = "ß" * 1900
    ann.send(f"/msg bob {long}")
    assert long in bob.expect("ann -> you")
    bob.send("/r and back")
    ann.expect("bob -> you: and back")
    ann.send("/join #lab", "/invite bob")
    bob.expect("ann invites you to #lab")
    bob.send("/ignore ann")
    bob.expect("hidden")
    ann.send("/msg bob unseen", "/join #lobby", "seen")
    bob.send("/unignore ann", "/msg bob self")
    assert not [line for line in bob.upto("self") if "unseen" in line]


def test_a_private_line_may_be_quicker_than_the_news_of_its_sender(join):
    first, second = join("a"), join("b")
    bob = second.client("bob")
    bob.send("/msg bob before")
    session = second.chat.sessions.owner("bob")
    to = second.chat.history.server, session.number
    first.chat.cluster.post.send(to, events.PrivateLine(0, "ann", "bob", "early"))
    bob.expect("ann -> you: early")
    bob.send("/r who?")
    bob.expect("! Nobody has sent you a private line since you connected")


def test_every_change_of_a_rooms_rules_has_a_place_in_the_log():
    kinds = {each for each in vars(changes).values() if isinstance(each, type) and issubclass(each, changes.Change)}
    assert kinds - {changes.Change} == set(entries._CHANGES.values())


def test_rules_of_a_room_hold_on_all_servers(join, tmp_path):
    first, second = join("a"), join("b")
    ann, bob = first.client("ann"), second.client("bob")
    ann.send("/create #mine", "/room quiet")
    ann.expect("made #mine quiet")
    bob.send("/join #mine", "may I?")
    bob.expect("#mine is quiet")
    ann.send("/op bob")
    bob.expect("an operator")
    bob.send("I may")
    ann.expect("I may")
    ann.send("/deop bob", "/room invite-only", "/uninvite bob")
    ann.expect("* bob is not invited to #mine any more, but is still in it.")
    ann.send("/room public", "/ban bob why")
    bob.expect("banned")
    bob.send("/join #mine")
    bob.expect("You are banned")
    ann.send("/room open", "/redact 1")
    ann.expect("removed")
    bob.send("/join #other")
    bob.expect("You are in #other")
    ann.send("/delete #mine yes")
    ann.expect("What you type goes to #lobby")
    expect_same(tmp_path, "a", "b")
    assert rows(tmp_path / "b.db")["messages"] == []
    assert "ann" in str(bob.ask("/who #lobby"))
    assert "bob" in str(ann.ask("/who #other"))
    assert sorted(json.loads(person)[5] for _, _, person in rows(tmp_path / "b.db")["present"]) == [[1], [1, 3]]


def test_in_a_slow_room_each_error_says_what_was_not_sent(join):
    ann, bob = join("a").client("ann #lab"), join("b").client("bob #lab")
    ann.send("/room slow 600")
    bob.expect("ann made #lab slow")
    bob.send("one", "two", "/me three", "/topic four")
    for what, unsent in (("this", "two"), ("this action", "three"), ("this topic", "four")):
        assert bob.expect("! #lab is slow").endswith(f"Send {what} again in 10 minutes: {unsent}")


def test_a_new_server_gets_everything_from_the_beginning_of_the_log(join, tmp_path):
    first = join("a")
    ann = first.client("ann")
    ann.send("/create #lab about", "one", "two")
    ann.expect("two")
    second = join("b")
    bob = second.client("bob")
    bob.send("/join #lab")
    bob.expect("two")
    assert "ann" in str(bob.ask("/who #lab"))
    expect_same(tmp_path, "a", "b")


def test_people_leave_when_their_server_stops_and_when_it_is_killed(join, start_process, url, tmp_path, monkeypatch):
    monkeypatch.setattr("chat_threads.cluster.history.LEASE", 2.0)
    first = join("a")
    ann = first.client("ann")
    second = start_process("--cluster", url, "--rate", "0", db=tmp_path / "b.db")
    with second.client("bob"):
        ann.expect("bob joined")
        second.kill()
    ann.expect("bob left")
    second = start_process("--cluster", url, "--rate", "0", db=tmp_path / "b.db")
    with second.client("bob") as bob:
        ann.expect("bob joined")
        bob.send("back")
        ann.expect("back")
        assert second.stop() == 0
    ann.expect("bob left")


def test_who_is_away_and_who_has_just_spoken_is_known_on_all_servers(join):
    first, second = join("a"), join("b")
    ann, bob = first.client("ann"), second.client("bob")
    ann.expect("bob joined")
    ann.send("/away lunch")
    person = second.chat.sessions.owner("ann")
    wait_for(lambda: person.profile.away == "lunch")
    bob.send("/msg ann hello")
    bob.expect("ann is away: lunch")
    ann.ask("/nick eve")
    assert "lunch" in str(join("c").client("cy").ask("/whois eve"))
    person.heard -= 600
    ann.send("/back", "here")
    bob.expect("eve: here")
    assert "lunch" not in str(bob.ask("/whois eve"))
    assert time.monotonic() - person.heard < 300


def test_a_registered_name_is_not_given_by_the_log_although_a_server_did_not_know(join):
    first, second = join("a", plain_passwords=True), join("b", plain_passwords=True)
    ann, bob = first.client("ann"), second.client("bob")
    ann.send("/register", "secret word of ann", "secret word of ann")
    ann.expect("ann is yours now")
    ann.close()
    bob.expect("ann left")
    session = second.chat.sessions.owner("bob")
    for name in ("ann", "\N{CYRILLIC SMALL LETTER A}nn"):
        with pytest.raises(NameTaken):
            second.chat.history.claim(session, name, "", session.who)
    assert session.name == "bob"


def test_stats_and_metrics_say_how_far_a_server_is_with_the_log(join, program):
    server = join("a")
    client = program("ann", server=server)
    shown: dict[str, int] = {}

    def has_read_what_it_appended() -> bool:
        client.send(type="stats")
        shown.update(client.expect("stats"))
        return shown["log_position"] >= shown["log_appends"] > 0

    wait_for(has_read_what_it_appended)
    assert (shown["log_behind"], shown["log_retries"]) == (0, 0)
    assert "rows behind" in str(server.client("bob").ask("/stats"))
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=WAIT) as answer:
        text = answer.read().decode()
    assert "\nchat_threads_log_behind_rows 0\n" in text
    stamp = float(text.partition("\nchat_threads_log_appended_timestamp_seconds ")[2].split()[0])
    assert 0 <= time.time() - stamp < 60


def test_the_way_of_a_message_is_shown_by_the_server_that_it_was_sent_to(join, tmp_path):
    first, second = join("a", lab=True, trace=str(tmp_path / "trace.json")), join("b")
    ann, bob = first.client("ann"), second.client("bob")
    ann.expect("bob joined")
    bob.send("one")
    ann.expect("bob: one")
    ann.send("two")
    bob.expect("ann: two")
    shown = str(ann.ask("/trace 2"))
    assert "by ann" in shown
    assert "* ann " in shown
    assert "* bob " not in shown
    assert "! " in str(ann.ask("/trace 1"))
    ann.ask("/lab pause history 1")
    ann.send("three")
    bob.expect("ann: three")


def test_an_account_that_is_made_on_one_server_is_known_on_all(join, tmp_path):
    first, second = join("a", plain_passwords=True), join("b", plain_passwords=True)
    ann, bob, cy = first.client("ann"), second.client("bob"), second.client("cy")
    ann.send("/register", "secret word of ann", "secret word of ann")
    ann.expect("ann is yours now")
    wait_for(lambda: second.chat.accounts.named("ann"))
    bob.send("/nick ann")
    bob.expect("The name ann has a password")
    bob.send("secret word of ann")
    ann.expect("You reconnected elsewhere")
    cy.expect("bob is ann now")
    bob.close()
    cy.expect("ann left")
    cy.send("/nick ann")
    cy.expect("The name ann has a password")
    expect_same(tmp_path, "a", "b")
