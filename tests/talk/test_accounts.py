"""Accounts: a name that is reserved by a password, over text and JSON. No password reaches anybody or anything else."""

from __future__ import annotations

import contextlib
import logging
import pathlib
import queue
import re
import socket
import sqlite3
import sys
import threading
import time
import types
from typing import Any

import pytest
from support.clients import Client, Program
from support.terminals import run
from support.waiting import WAIT, wait_for
from support.words import error_line

from chat_threads import accounts, conversation, passwords, receiver
from chat_threads.account_errors import PasswordsBusy, TooManyAccounts, TooManyPasswords
from chat_threads.client import Refused, connection
from chat_threads.disconnects import TooManyTries
from chat_threads.errors import Unreadable
from chat_threads.ordered import TokenUsed
from chat_threads.passwords import Gate, Password
from chat_threads.service import table
from chat_threads.storage import Batch
from chat_threads.storage_errors import StorageError
from chat_threads.tokens import token_id

SECRET, OTHER = "correct horse", "battery staple"
HIDE, SHOW = b"\xff\xfb\x01", b"\xff\xfc\x01"  # IAC WILL ECHO, IAC WONT ECHO


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """Passwords cost next to nothing."""
    monkeypatch.setattr(passwords, "COST", (16, 8, 1))
    monkeypatch.setattr(accounts, "TRIED_AT_ONCE", 1000)


def registered(program, name: str = "ann", server=None, **hello: object) -> Program:
    """A program whose name has SECRET as its password."""
    client = program(name, server, **hello)
    client.send(type="register", password=SECRET)
    client.expect("notice", name=name)
    return client


def token_of(client: Program) -> str:
    return [each for each in client.seen if each["type"] in ("welcome", "token")][-1]["token"]


# --- over text ----------------------------------------------------------------------------------------


def test_a_person_registers_by_typing_the_password_when_asked_and_later_comes_in_by_it(server):
    ann = server.client("ann")
    ann.send("/register")
    ann.expect("Choose a password of 8 characters or more")
    ann.send("x" * 70_000)
    ann.expect("! That was too long.")
    ann.expect("Choose a password")
    ann.send(SECRET, OTHER)
    ann.expect("The two are not the same, so nothing was changed.")
    ann.expect("Choose a password")
    ann.send("short")
    ann.expect("! A password has 8 characters or more.")
    ann.send("/register")
    ann.expect("! That is a command, not a password.")
    ann.send(SECRET, SECRET)
    ann.expect("* ann is yours now")
    again = server.client()
    again.send("ANN")
    again.expect("* The name ann has a password. Type it; an empty line goes back, /quit leaves.")
    for _ in range(2):  # what is typed after a wrong password is one, too, and not a name
        again.send("wrong_password")
        again.expect("! That is not the password of ann.")
        again.expect("* The name ann has a password. Type it; an empty line goes back, /quit leaves.")
    again.send("/join #lab")
    again.expect("! That is a command, not a password.")
    again.send("")
    again.expect("* Nothing was typed. Type another name, or the same one again; /quit leaves.")
    again.send("ann #lab", SECRET)
    again.expect("You are in #lab")
    assert ann.rest()[-1] == "! You reconnected elsewhere; this connection is closed. Goodbye."
    assert "* Logged in: the name belongs to an account." in again.ask("/whois ann")
    again.send("/password")
    again.expect("* Type your password")
    again.send_bytes(b"secr\xff\xf4")  # telnet's IAC IP: Ctrl-C
    again.expect("* Nothing was typed, so nothing was changed.")
    again.send("hello")
    assert again.expect("hello").endswith("] ann: hello")
    again.send("/password", "/quit")
    assert again.rest()[-1].startswith("* Goodbye")


def test_three_wrong_passwords_end_the_handshake_however_many_names_were_refused(server, program):
    registered(program, server=server)
    eve = server.client()
    eve.send("1", "2", "3", "ann")
    for left in (2, 1, 0):
        eve.send("wrong password")
        eve.expect("! That is not the password of ann.")
        if left:
            assert ("* One more try is left." in eve.upto("* The name ann has a password.")) == (left == 1)
    assert eve.rest() == [error_line(TooManyTries())]


def test_what_cannot_be_a_password_is_no_try(server, program):
    registered(program, "ann", server)
    again = server.client()
    again.send("ann")
    refused = {"/quit?": "That is a command, not a password.", "quit": "A password has 8 characters"}
    for _ in range(3):
        for line, why in refused.items():
            again.send(line)
            again.expect(f"! {why}")
            again.expect("* The name ann has a password. Type it; an empty line goes back, /quit leaves.")
    again.send(SECRET)
    again.expect("* Hello, ann.")
    cy = server.client("cy")
    cy.send("/login")
    cy.expect("Type the name of your account")
    cy.send("/quit?")
    cy.expect("! That is a command, not a name.")
    cy.send("ann")
    cy.expect("* The name ann has a password.")


def test_a_program_cannot_choose_a_password_that_nobody_could_type(server, program):
    ann = program("ann", server)
    for password in ("/join #lab2", "/QUIT? never"):
        ann.send(type="register", password=password)
        assert ann.expect("error")["code"] == "bad_password"
    ann.send(type="register", password="/etc/passwords")
    ann.expect("notice", name="ann")
    ann.send(type="password", password="/etc/passwords", new="/me is secret")
    assert ann.expect("error")["code"] == "bad_password"
    typing = server.client()
    typing.send("ann", "/etc/passwords")
    typing.expect("You are in #lobby")


def test_telnet_is_asked_not_to_show_the_password_and_nc_is_told_that_it_was_seen(server):
    ann = server.client("ann")
    ann.send("/register")
    ann.expect("in nc, it is")
    assert ann.hidden == [HIDE]
    ann.send(SECRET)
    ann.expect("Your program has shown what you typed.")
    ann.send(SECRET)
    ann.expect("* ann is yours now")
    ann.send("/password")
    ann.expect("Type your password")
    ann.send_bytes(b"\xff\xfd\x01")  # IAC DO ECHO
    ann.send(SECRET, OTHER, OTHER)
    ann.expect("* Your password is changed")
    ann.ask("")
    assert ann.hidden == [HIDE, SHOW]  # the first question was not answered, so it stood until now
    assert str(ann.seen).count("has shown what you typed") == 1


@pytest.mark.parametrize("telnet", [True, False], ids=["text", "the terminal client"])
def test_a_wrong_old_password_is_told_before_a_new_one_is_asked_for(server, program, telnet):
    registered(program, "ann", server).close()
    lines = ["/password", "wrong password", SECRET, OTHER, OTHER, "done"]
    if telnet:
        ann = server.client()
        ann.send("ann", SECRET)
        ann.expect("You are in #lobby")
        ann.send_bytes(b"\xff\xfd\x01")  # IAC DO ECHO
        ann.send(*lines)
        seen = ann.upto("ann: done")
        assert ann.hidden[-2:] == [HIDE, SHOW]
    else:
        shown = run(server.port, "--name", "bob", typed="\n".join(["/login", "ann", SECRET, *lines, ""]))
        seen = [*shown.stdout.splitlines(), *shown.stderr.splitlines()]
        seen = seen[seen.index("* Type your password; an empty line goes back.") :]
        assert "ann: done" in shown.stdout
    kept = [line for line in seen if "password" in line or "once more" in line]
    wanted = [
        "* Type your password; an empty line goes back.",
        "! That is not the password of ann.",
        "* Type your password; an empty line goes back.",
        "* Type the new password; an empty line goes back.",
        "* Type it once more.",
        "* Your password is changed. Your other tokens are void.",
    ]
    assert sorted(kept[-6:]) == sorted(wanted)
    assert telnet is False or kept[-6:] == wanted


def ann_with_a_password(server, program):
    """A person who has typed her password."""
    registered(program, "ann", server).close()
    ann = server.client()
    ann.send("ann")
    ann.expect("The name ann has a password.")
    ann.send(SECRET)
    ann.expect("You are in #lobby")
    return ann


def test_a_token_that_is_asked_for_after_another_name_still_opens_the_account(server, program):
    ann = ann_with_a_password(server, program)
    ann.send("/nick anna")
    ann.expect("* You are anna now. ann stays yours, and has the password; this name has none.")
    ann.send("/register")
    ann.expect("! You are logged in as ann, and an account has one name: anna has no password.")
    ann.send("/whois anna")
    ann.expect("* Logged in as ann; the present name belongs to no account.")
    token = next(line for line in ann.ask("/token") if "/resume" in line).split()[-1]
    back = server.client()
    back.send(f"/resume {token}")  # while the other connection lives
    back.expect("You are in #lobby")
    assert any("Logged in" in line for line in back.ask("/whois anna"))
    back.send("/quit")
    back.rest()
    again = server.client()
    again.send(f"/resume {token}")
    again.expect("* Hello, anna.")
    assert any("Logged in" in line for line in again.ask("/whois anna"))
    again.send("/quit")
    again.rest()
    server.client("anna")  # then her own name is left
    again = server.client()
    again.send(f"/resume {token}")
    again.expect("* Hello, ann.")


def test_whoever_logs_in_with_a_room_is_in_that_and_where_they_were(server, program):
    registered(program, "ann", server).close()
    wait_for(lambda: not server.chat.sessions.people(), "she has gone")
    ann = server.client()
    ann.send("ann", SECRET)
    ann.expect("You are in #lobby")
    for room in ("#lab2", "#lab3"):
        ann.ask(f"/join {room}"), ann.ask("So that it stays.")
    ann.send("/quit")
    ann.rest()
    ann = server.client()
    ann.send("ann #LAB2", SECRET)
    entered = [line.split()[4].strip(",") for line in ann.upto("You are in #lab2") if "You are in" in line]
    assert entered == ["#lobby", "#lab3"]
    assert {"#lobby", "#lab2", "#lab3"} <= set(re.findall(r"#\w+", str(ann.ask("/whois ann"))))


def test_what_is_typed_after_the_command_is_refused_and_shown_to_nobody(server):
    ann, bob = server.client("ann"), server.client("bob")
    for command in ("/register", "/login", "/password", "/unregister"):
        assert any("choose another one" in line for line in ann.ask(f"{command} {SECRET}"))
    assert SECRET not in "\n".join([*bob.news(), *ann.seen])


def test_a_person_who_takes_a_registered_name_later_is_asked_and_has_the_rooms_of_the_account(server, program):
    registered(program, "ann", server, room="#lab")
    bob = server.client("bob")
    bob.send("/nick ann")
    bob.expect("* The name ann has a password. Type it; an empty line goes back, /quit leaves.")
    bob.send(SECRET)
    bob.expect("* You are ann now.")
    bob.expect("#lab")
    bob.send("/login")
    bob.expect("Type the name of your account; an empty line goes back.")
    bob.send("", "/who")
    bob.expect("logged in")
    cy = server.client("cy")
    cy.send("/join #lab")
    cy.expect("You are in #lab")
    for name, why in (
        ("nobody", "! There is no account nobody."),
        ("ANN", "! You are logged in as ann already."),
        ("/who", "! That is a command, not a name."),
    ):
        bob.send("/login", name, SECRET)  # whoever expects to be asked for the password
        bob.expect(why)
        bob.expect("! There is no account")
        bob.send("")
        bob.expect("Nothing was typed")
    assert not cy.news()


# --- over JSON ----------------------------------------------------------------------------------------


def test_a_registered_name_needs_its_password_whatever_is_tried(program):
    ann = registered(program)
    for hello, code in [
        ({"name": "ann"}, "password_needed"),
        ({"name": "ANN", "password": "wrong password"}, "wrong_password"),
        ({"name": "bob", "password": SECRET}, "no_account"),
    ]:
        eve = program()
        eve.send({"type": "hello", **hello})
        assert eve.expect("error")["code"] == code
        eve.close()
    eve = program("eve")
    eve.send(type="nick", name="ann")
    assert eve.expect("error")["code"] == "password_needed"
    eve.send(type="login", name="ann")
    assert eve.expect("error")["code"] == "bad_request"
    eve.send(type="login", name="ann", password=SECRET)
    assert eve.expect("notice")["name"] == "ann"
    assert eve.expect("token")["token"] == token_of(eve)
    assert ann.rest()[-1] == {"type": "bye", "reason": "replaced"}
    eve.send(type="whois", name="ann")
    assert eve.expect("whois")["account"] is True


def test_a_token_of_an_account_brings_back_its_person_without_a_password(program):
    ann = registered(program)
    ann.ask(type="create", room="#anns")
    back = program()
    back.send(type="hello", name="ann", password=SECRET)
    second = back.expect("welcome")["token"]
    assert second != token_of(ann)
    for token in (token_of(ann), second):
        again = program()
        again.send(type="hello", token=token)
        assert again.expect("welcome")["name"] == "ann"
        again.send(type="delete", room="#anns", ask=True)
        assert again.expect("notice")["next"] == "delete"


def test_a_change_of_the_password_voids_all_other_tokens(program):
    ann = registered(program)
    first = token_of(ann)
    second, back = program(), program()
    second.send(type="hello", name="ann", password=SECRET)
    second.expect("welcome")
    back.send(type="hello", name="ann", password=SECRET)
    back.send(type="password", password="wrong password", new=OTHER)
    assert back.expect("error")["code"] == "wrong_password"
    back.send(type="password", password=SECRET, new=OTHER)
    back.expect("notice")
    for hello, expected in [
        ({"token": first}, "unknown_token"),
        ({"token": token_of(second), "name": "bob"}, "unknown_token"),
        ({"name": "ann", "password": SECRET}, "wrong_password"),
        ({"token": token_of(back)}, None),
    ]:
        again = program()
        again.send({"type": "hello", **hello})
        assert again.expect("error" if expected else "welcome").get("code") == expected


def test_a_token_that_could_not_be_stored_is_stored_with_the_next_request(program, server, monkeypatch):
    registered(program, "ann", server).close()
    ann = program(None, server)

    def full(batch: object) -> None:
        raise StorageError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(server.chat.storage, "commit", full)
        ann.send(type="hello", name="ann", password=SECRET)
        ann.expect("joined")
        wait_for(lambda: server.chat.sessions.named("ann").token_lost, "it is refused")
    ann.ask(type="ping")
    ann.ask(type="ping")  # waits for what was submitted before
    assert server.chat.storage.token(token_id(token_of(ann))) is not None


def test_a_name_that_is_given_up_is_anybodys_and_its_void_tokens_stay_void(program):
    ann = registered(program)
    first = token_of(ann)
    back = program()
    back.send(type="hello", name="ann", password=SECRET)
    back.send(type="password", password=SECRET, new=OTHER)
    back.expect("notice")
    back.send(type="unregister", password=OTHER)
    back.expect("notice")
    back.send(type="register", password=SECRET)
    back.expect("notice")
    back.send(type="unregister", password=SECRET)
    back.expect("notice")
    back.close()
    thief = program()
    thief.send(type="hello", token=first)
    assert thief.expect("error")["code"] == "unknown_token"
    wait_for(lambda: _may_have(program, "ann"), "the name is free")


def _may_have(program, name: str) -> bool:
    client = program()
    client.send(type="hello", name=name)
    found = client.read()
    while found and found["type"] not in ("welcome", "error"):
        found = client.read()
    client.close()
    return bool(found) and found["type"] == "welcome"


def test_a_token_that_is_asked_for_after_the_account_was_given_up_is_worth_something(server, program):
    ann = ann_with_a_password(server, program)
    ann.ask("/create #anns"), ann.ask("This is mine.")
    ann.send("/unregister")
    ann.expect("Type your password")
    ann.send(SECRET)
    ann.expect("* ann belongs to nobody now.")
    token = next(line for line in ann.ask("/token") if "/resume" in line).split()[-1]
    ann.send("/quit")
    ann.rest()
    back = server.client()
    back.send(f"/resume {token}")
    back.expect("You are in #anns")
    back.send("/delete #anns")
    back.expect("/delete #anns yes")


def test_a_token_is_not_taken_for_valid_while_the_history_cannot_be_read(server, program, monkeypatch):
    """If the password was changed just before, the token is void: whoever shows it must not come in meanwhile."""
    ann = registered(program, "ann", server)
    ann.close()
    wait_for(lambda: not server.chat.sessions.people(), "she has gone")
    storage, token, asked = server.chat.storage, server.chat.storage.token, []

    def once(number: int) -> object:
        asked.append(number)
        if len(asked) > 1:
            raise Unreadable("it is busy")
        return token(number)

    monkeypatch.setattr(storage, "token", once)
    thief = program(None, server)
    thief.send(type="hello", token=token_of(ann))
    assert thief.expect("error")["code"] == "unreadable"
    assert not server.chat.sessions.people()
    monkeypatch.undo()
    thief.send(type="hello", token=token_of(ann))
    assert thief.expect("welcome")["name"] == "ann"


def test_names_that_look_like_a_registered_one_are_refused(program):
    registered(program, "copy")
    eve = program()
    eve.send(type="hello", name="сору")
    assert eve.expect("error")["code"] == "name_taken"


# --- what one client can do ---------------------------------------------------------------------------


def test_wrong_passwords_are_counted_and_logged_without_their_text_and_only_so_often(caplog):
    caplog.set_level("INFO", "chat_threads.accounts")
    now = [100.0]
    every = accounts.Accounts(clock=lambda: now[0])
    for number in range(accounts.LOGGED + 5):
        every.may_try("ann", f"192.0.2.{number}")
        every.tried("ann", f"192.0.2.{number}", False)
    every.may_try("ann", "192.0.2.99")
    every.tried("ann", "192.0.2.99", True)
    assert len(caplog.records) == accounts.LOGGED
    now[0] += accounts.LOG_PAUSE
    every.may_try("bob", "192.0.2.7")
    every.tried("bob", "192.0.2.7", False)
    assert caplog.records[0].getMessage() == "a wrong password for the account ann from 192.0.2.0"
    assert caplog.records[-1].getMessage() == (
        "a wrong password for the account bob from 192.0.2.7 (wrong ones since the last line: 6)"
    )
    assert every.wrong == accounts.LOGGED + 6


def test_wrong_passwords_delay_further_tries_from_there_and_nobody_elses(program, server, monkeypatch):
    registered(program, server=server)
    eve = program("eve", server)
    codes = []
    for _ in range(6):
        eve.send(type="login", name="ann", password="wrong password")
        codes.append(eve.expect("error")["code"])
    assert codes == ["wrong_password"] * 5 + ["try_later"]
    assert server.chat.accounts.wrong == 5
    with Client(server.port, source="127.0.0.2") as ann:
        ann.send("ann", SECRET)
        ann.expect("You are in #")


def test_passwords_that_are_checked_at_the_same_time_count_together():
    every = accounts.Accounts()
    for number in range(accounts.FAILURES):
        every.may_try("ann", f"2001:db8:0:{number}::1")  # one customer may have all of these
    with pytest.raises(TooManyPasswords):
        every.may_try("Ann", "2001:db8::1")
    every.may_try("ann", "2001:db8:1::1")
    every.tried("ann", "2001:db8::1", right=True)
    every.may_try("ann", "2001:db8::1")
    for number in range(accounts.MADE_AT_ONCE):
        every.may_make(f"2001:db8:0:{number:x}::1")
    with pytest.raises(TooManyAccounts):
        every.may_make("2001:db8:0:ffff::1")
    every.may_make("2001:db8:1::1")


def test_a_connection_that_is_asked_for_a_password_gives_way_like_one_without_a_name(serve, program):
    running = serve(max_clients=2)
    registered(program, "ann", running).close()
    wait_for(lambda: not len(running.chat.sessions), "she has gone")
    first, second = running.client(), running.client()
    for client in (first, second):
        client.send("ann")
        client.expect("The name ann has a password.")
    bob = running.client("bob")
    assert "your place went to somebody else" in first.rest()[-1]
    assert bob.ask("/who")


def test_whoever_logs_in_while_the_password_is_changed_keeps_no_way_in(program, server, monkeypatch):
    """With the old password, while the new one is worked on: then nothing is changed. And with a token that was shown
    before and is stored after the change: it opens nothing."""
    ann = registered(program, server=server)
    [account] = server.chat.storage.accounts()
    begun, gate, of = threading.Event(), threading.Event(), Password.of

    def slowly(text: str) -> Password:
        begun.set()
        assert gate.wait(WAIT)
        return of(text)

    monkeypatch.setattr(Password, "of", slowly)
    ann.send(type="password", password=SECRET, new=OTHER)
    assert begun.wait(WAIT)
    thief = program(None, server)
    thief.send(type="hello", name="ann", password=SECRET)
    thief.expect("welcome")
    gate.set()
    assert ann.rest()[-1]["reason"] == "replaced"
    assert server.chat.storage.accounts() == [account]
    monkeypatch.setattr(Password, "of", of)
    thief.send(type="password", password=SECRET, new=OTHER)
    thief.expect("notice")
    server.chat.history.submit(TokenUsed(token_id("late"), "ann", account.id, account.password.salt))
    late = program(None, server)
    late.send(type="hello", token="late")
    assert late.expect("error")["code"] == "password_needed"


def test_few_passwords_are_checked_at_a_time_and_who_waits_too_long_is_told(program, serve, monkeypatch):
    running = serve()
    gate, checked, at_once = threading.Event(), [], []

    def slowly(self: Password, text: str) -> bool:
        checked.append(text)
        at_once.append(len(checked))
        assert gate.wait(WAIT)
        checked.remove(text)
        return False

    registered(program, server=running)
    monkeypatch.setattr(Password, "matches", slowly)
    monkeypatch.setattr(accounts, "FAILURES", 100)
    running.chat.accounts.gate._most = 3
    others = []
    for number in range(6):
        others.append(program(None, running))
        others[-1].send({"type": "hello", "name": "ann", "password": f"wrong {number}"})
        if number < 5:
            gate_of = running.chat.accounts.gate
            wait_for(lambda: 2 - gate_of._free + len(gate_of) == number + 1, "it has come")  # noqa: B023
    assert others[-1].expect("error")["code"] == "busy"
    gate.set()
    assert [each.expect("error")["code"] for each in others[:-1]] == ["wrong_password"] * 5
    assert max(at_once) <= 2


def test_a_client_may_try_again_although_it_has_long_waited_for_its_turn(program, server, monkeypatch):
    late, enter = [0.0], Gate.enter

    def slowly(gate: Gate, *more: Any) -> None:
        late[0] += passwords.PATIENCE
        enter(gate, *more)

    registered(program, server=server)
    clock = types.SimpleNamespace(monotonic=lambda: time.monotonic() + late[0], time=time.time)
    monkeypatch.setattr(conversation, "time", clock)
    monkeypatch.setattr(receiver, "time", clock)
    monkeypatch.setattr(Gate, "enter", slowly)
    again = program(None, server)
    for _ in range(2):
        again.send(type="hello", name="ann", password=OTHER)
        assert again.expect("error")["code"] == "wrong_password"
    again.send(type="hello", name="ann", password=SECRET)
    again.expect("welcome", name="ann")


def test_the_client_library_waits_for_its_turn_and_hears_how_many_are_ahead(server, program, connect, monkeypatch):
    registered(program, "ann", server)
    gate, matches, patience, told = threading.Event(), Password.matches, [], []
    patient = connection.Connection.patient

    def slowly(self: Password, text: str) -> bool:
        assert gate.wait(WAIT)
        return matches(self, text)

    def patiently(self: connection.Connection, seconds: float | None = None) -> None:
        patience.append(seconds)
        patient(self, seconds)

    monkeypatch.setattr(Password, "matches", slowly)
    monkeypatch.setattr(accounts, "FAILURES", 100)
    monkeypatch.setattr(connection.Connection, "patient", patiently)
    for _ in range(6):
        program(None, server).send(type="hello", name="ann", password="wrong password")
    wait_for(lambda: len(server.chat.accounts.gate) == 4, "they wait")
    ann = connect(server, "ann", password=SECRET, told=lambda text: told.append(text) or gate.set())
    assert ann.name == "ann"
    assert told == ["Please wait: 4 others are ahead of you. A token needs no password."]
    assert patience == [45.0, None]


def test_without_tls_other_machines_are_warned_or_refused(serve, program, connect, monkeypatch):
    monkeypatch.setattr(conversation, "is_loopback", lambda address: False)
    monkeypatch.setattr("chat_threads.service.passwords.is_loopback", lambda address: False)
    monkeypatch.setattr(conversation, "is_local", lambda *addresses: False)
    for plain, expected in [("warn", "This connection is not encrypted"), ("refuse", "takes no passwords")]:
        running = serve(plain_passwords=plain, operators=("boss",), db=":memory:")
        ann = running.client("ann")
        ann.send("/register")
        ann.expect(expected)
        cy = program("cy", running)
        cy.send(type="register", password=SECRET)
        assert expected in cy.read()["text"]
        if plain == "warn":
            cy.expect("notice", name="cy")
            with connect(running, "cy", password=SECRET) as back:
                assert back.name == "cy"
        else:
            running.chat.accounts.plain = "warn"
            cy.send(type="register", password=SECRET)
            cy.expect("notice", name="cy")
            running.chat.accounts.plain = plain
            other = running.client()
            other.send("cy")
            other.expect("! The name cy belongs to an account, and this server takes no passwords without encryption.")
            other.send("di")
            other.expect("* Hello, di.")
        boss = running.client("boss")
        boss.send("/register")
        boss.expect("boss is an operator's name: it can be registered only on the server's own machine.")


# --- where a password must not be -----------------------------------------------------------------------


def test_a_password_is_in_no_log_history_trace_or_thread_list_and_is_shown_to_nobody(
    serve, tmp_path: pathlib.Path, caplog
):
    caplog.set_level(logging.DEBUG)
    trace = tmp_path / "trace.jsonl"
    running = serve(trace=str(trace), lab=True, db=str(tmp_path / "chat.db"))
    bob = running.client("bob")
    ann = running.client("ann")
    ann.send("/register", SECRET, SECRET)
    ann.expect("* ann is yours now")
    ann.send("/password", SECRET, OTHER, OTHER)
    ann.expect("* Your password is changed")
    ann.send("/login " + OTHER, "/register " + OTHER, "/password", SECRET, OTHER, SECRET, "x")
    ann.expect("The two are not the same")
    program = Program(running.port)
    program.send({"type": "hello", "name": "ann", "password": OTHER})
    program.expect("welcome")
    program.send({"type": "password", "password": OTHER, "new": SECRET, "ref": 7})
    program.send({"type": "password", "password": [SECRET]}, {"type": "login", "name": SECRET[:7], "pass": SECRET})
    seen = [*program.ask(type="threads"), *program.ask(type="stats")]
    ann.rest()
    told = "\n".join([*bob.ask("/threads"), *bob.ask("/history 200"), *ann.seen, *map(str, [*seen, *program.seen])])
    program.close()
    bob.close()
    assert running.chat.stop() == []
    files = [path.read_bytes() for path in tmp_path.iterdir() if path.is_file()]
    assert trace.exists()
    assert len(files) > 1
    for secret in (SECRET, OTHER):
        assert secret not in told
        assert secret not in caplog.text
        assert not any(secret.encode() in data for data in files)
    assert SECRET not in repr(Password.of(SECRET))


def test_an_account_that_is_stored_late_is_not_made_again(program, server, monkeypatch):
    ann = program("ann", server)
    gate, commit = threading.Event(), server.chat.storage.commit

    def later(batch: Batch) -> None:
        assert gate.wait(WAIT)
        commit(batch)

    monkeypatch.setattr(server.chat.storage, "commit", later)
    monkeypatch.setattr(table, "SETTLE", 0.1)
    ann.send(type="register", password=SECRET)
    assert ann.expect("error")["code"] == "busy"
    monkeypatch.undo()
    gate.set()
    wait_for(lambda: server.chat.accounts.named("ann"), "it is stored")
    ann.send(type="register", password=OTHER)
    assert ann.expect("error")["code"] == "wrong_password"
    ann.send(type="register", password=SECRET)
    ann.expect("token")
    assert server.chat.sessions.named("ann").account


def test_a_registered_account_is_committed_before_it_is_answered(start_process, tmp_path):
    db = tmp_path / "chat.db"
    process = start_process(db=db)
    ann = Program(process.port)
    ann.send({"type": "hello", "name": "ann"}, {"type": "register", "password": SECRET})
    ann.expect("notice", name="ann")
    process.kill()
    ann.close()
    again = start_process(db=db)
    ann = Program(again.port)
    ann.send(type="hello", name="ann")
    assert ann.expect("error")["code"] == "password_needed"
    ann.send(type="hello", name="ann", password=SECRET)
    assert ann.expect("welcome")["name"] == "ann"
    ann.close()
    with contextlib.closing(sqlite3.connect(db)) as file:
        [(name, n, salt)] = file.execute("SELECT name, n, salt FROM accounts").fetchall()
    assert (name, n, len(salt)) == ("ann", 1 << 14, 16)


def test_a_forgotten_password_ends_with_the_account_and_its_person_keeps_what_the_token_owns(serve, program, tmp_path):
    db = tmp_path / "chat_threads.db"
    running = serve(db=str(db))
    ann = registered(program, "ann", running)
    ann.ask(type="create", room="#anns")
    ann.ask(type="say", room="#anns", text="This is mine.")
    ann.close()
    assert running.chat.stop() == []
    docs = pathlib.Path(__file__).parents[2] / "docs" / "operators.rst"
    [sql] = re.findall(r"^    sqlite3 chat_threads.db \"(DELETE FROM accounts .*)\"$", docs.read_text("utf-8"), re.M)
    with contextlib.closing(sqlite3.connect(db)) as file, file:
        assert file.execute(sql).rowcount == 1
    again = serve(db=str(db))
    back = program(None, again)
    back.send(type="hello", token=token_of(ann))
    assert back.expect("welcome")["name"] == "ann"
    back.send(type="register", password=OTHER)
    back.expect("notice", name="ann")
    back.send(type="delete", room="#anns", ask=True)
    assert back.expect("notice")["next"] == "delete"


def test_the_servers_operators_are_named_or_show_the_token_that_it_prints_once(serve, program, tmp_path):
    db = str(tmp_path / "chat.db")
    running = serve(operators=("boss",), operator_token=True, db=db)
    token = running.chat.operator_token
    boss, ann, bob = (registered(program, name, running) for name in ("boss", "ann", "bob"))
    assert _operators(running) == {"boss"}
    guest = running.client("guest")
    assert guest.ask("/operator wrong")[-1] == (
        "! An operator of the server has an account, and you are not logged in."
        " /login logs you in, /register makes your name an account."
    )
    guest.close()
    bob.send({"type": "operator", "token": "wrong"})
    assert bob.expect("error")["code"] == "unknown_token"
    ann.send(type="operator", token=token)
    ann.expect("notice", name="ann")
    bob.send(type="operator", token=token)
    assert bob.expect("error")["code"] == "unknown_token"
    assert _operators(running) == {"boss", "ann"}
    for client in (ann, bob, boss):
        client.close()
    assert running.chat.stop() == []
    again = serve(operator_token=True, db=db)
    assert again.chat.operator_token == ""
    back = program(None, again)
    back.send(type="hello", token=token_of(ann))
    back.expect("joined")
    assert _operators(again) == {"ann"}


def test_whois_tells_a_name_that_belongs_to_an_account_and_operators_who_is_one(serve, program, caplog):
    caplog.set_level("INFO", "chat_threads")
    running = serve(operators=("boss", "root1"), db=":memory:")
    cy = program("cy", running)
    boss, chief, ann = (registered(program, name, running) for name in ("boss", "root1", "ann"))
    assert "You are an operator of the server now, with all rights in every room." in str(boss.seen)
    assert "operator" not in str(ann.seen)
    assert len([each for each in caplog.messages if "boss" in each and "is an operator of the server" in each]) == 1
    for asks, expected in ((boss, True), (ann, None), (cy, None)):
        asks.send(type="whois", name="root1", ref="w")
        assert asks.expect("whois", ref="w").get("operator") is expected
    boss.send(type="whois", name="ann", ref="a")
    assert "operator" not in boss.expect("whois", ref="a")
    chief.send({"type": "quit"})
    chief.rest()
    ann.send({"type": "quit"})
    ann.rest()
    for asks, name, said in (
        (cy, "ANN", "Nobody here is called ann now. The name belongs to an account."),
        (cy, "root1", "Nobody here is called root1 now. The name belongs to an account."),
        (boss, "root1", "Nobody here is called root1 now. The name belongs to an operator of the server."),
        (cy, "zed", "Nobody here is called zed."),
    ):
        asks.send(type="whois", name=name, ref=name)
        problem = asks.expect("error", ref=name)
        assert (problem["code"], problem["text"]) == ("unknown_person", said)
    boss.send(type="unregister", password=SECRET, ref="u")
    assert boss.expect("notice", ref="u")["text"].endswith("You are no longer an operator of the server.")


def _operators(server) -> set[str]:
    return {each.name for each in server.chat.sessions.people() if each.operator}


# --- the client -----------------------------------------------------------------------------------------


def test_the_client_library_registers_logs_in_and_comes_back(server, connect):
    with connect(server, "ann") as ann:
        ann.register(SECRET)
    with pytest.raises(Refused) as refused:
        connect(server, "ann")
    assert refused.value.code == "password_needed"
    ann = connect(server, "ann", password=SECRET)
    ann.change_password(SECRET, OTHER)
    bob = connect(server, "bob", reconnect=True)
    bob.login("ann", OTHER)
    assert bob.name == "ann"
    server.chat.sessions.named("ann").wire.stop_reading()  # the connection breaks
    assert bob.whois("ann").person.account
    bob.unregister(OTHER)
    assert not bob.whois("ann").person.account


@pytest.mark.slow
def test_in_the_terminal_client_and_with_edit_on_a_password_is_neither_drawn_nor_kept(server, program, screen, tmux):
    ann = screen(server, "ann")
    program("pia", server)
    ann.expect("pia joined")
    ann.enter("/register")
    ann.expect("Choose a password", r"^password \(not shown\): *$")
    ann.keys("x", "C-c", "C-c")
    ann.expect("Nothing was typed, so nothing was changed", "^> *$")
    ann.enter("/register")
    ann.expect("Nothing was typed", "Choose a password", r"^password \(not shown\): *$")
    ann.keys("Tab")  # completes no name here
    ann.enter(SECRET)
    ann.expect("Type it once more")
    ann.enter(SECRET)
    ann.expect("ann is yours now", "^> *$")
    ann.enter("/register")
    ann.expect("! ann has a password already, and you are logged in.", "^> *$")  # and no password was asked for
    ann.enter(f"/login {SECRET}")
    ann.expect("others may have seen it: choose")
    ann.keys("Up")
    ann.expect("^> /register *$")
    ann.keys("C-u")
    ann.enter("/quit")
    again = tmux(sys.executable, "-m", "chat_threads.client", f"127.0.0.1:{server.port}", "--name", "ann")
    again.expect("Its password:")
    again.enter(SECRET)
    again.expect(r"^\* You are in #", "^> *$")
    again.enter("/quit")
    bob = tmux("telnet", "127.0.0.1", str(server.port))
    bob.expect("What is your name")
    bob.enter("ann")
    bob.expect("The name ann has a password")
    bob.enter(SECRET)
    bob.expect(r"^\* You are in #")
    bob.enter("/edit on")
    bob.expect("stays whole")
    bob.enter("/password")
    bob.expect("Type your password", r"^password \(not shown\): *$")
    bob.keys("x", "C-c", "C-c")
    bob.expect("Nothing was typed, so nothing was changed", "^> *$")
    bob.enter("/password")
    bob.expect("Nothing was typed", "Type your password", r"^password \(not shown\): *$")
    bob.enter(SECRET)
    bob.expect("Type the new password")
    bob.enter(OTHER)
    bob.expect("Type it once more")
    bob.enter(OTHER)
    bob.expect("Your password is changed", "^> *$")
    bob.keys("Up")
    bob.expect("^> /password *$")
    for terminal in (ann, again, bob):
        written = terminal.written()
        assert OTHER.encode() not in written
        if terminal is not ann:  # she has typed it behind /login, where everybody can see it
            assert SECRET.encode() not in written


def test_an_unfinished_password_is_not_shown_when_the_conversation_ends(server):
    ann = server.client("ann")
    ann.send("/edit on")
    ann.sock.settimeout(WAIT)
    ann.send_bytes(b"\xff\xfc\x18\xff\xfd\x01\xff\xfd\x03")  # no name of the terminal; single keys, please
    ann.send_bytes(b"/register\r")
    came = b""
    while b"password (not shown)" not in came:
        came += ann.sock.recv(65536)
    ann.send_bytes(SECRET.encode())
    ann.send_bytes(b"\xff\xf6")  # Are You There: what came before it has been read when it is answered
    while b"* You are here" not in came and b"here" not in came[-200:]:
        came += ann.sock.recv(65536)
    stopping = threading.Thread(target=server.chat.stop)
    stopping.start()
    while data := ann.sock.recv(65536):
        came += data
    ann.close()
    stopping.join()
    assert b"password (not shown)" in came
    assert SECRET.encode() not in came


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells that a client has hung up")
def test_a_client_that_waits_with_its_input_ended_gets_its_answer_and_one_that_has_gone_gives_up_its_turn(
    program, server, monkeypatch
):
    registered(program, "ann", server), registered(program, "bob", server)
    gate, matches = threading.Event(), Password.matches

    def slowly(self: Password, text: str) -> bool:
        assert gate.wait(WAIT)
        return matches(self, text)

    monkeypatch.setattr(Password, "matches", slowly)
    monkeypatch.setattr(passwords, "LOOK", 0.02)
    line = server.chat.accounts.gate
    clients = []
    for wait, name in enumerate(("bob", "bob", "ann", "bob")):
        clients.append(server.client())
        clients[-1].send(name, SECRET, "/whois ann", "/quit")
        wait_for(lambda: 2 - line._free + len(line) == wait + 1, "it has come")  # noqa: B023
    half, whole = clients[2:]
    half.sock.shutdown(socket.SHUT_WR)  # as nc -N does
    whole.close()
    half.expect("* Please wait: your password is still to be checked.")
    wait_for(lambda: len(line) == 1, "one has gone")
    gate.set()
    half.expect("You are in #lobby")
    half.expect("* Logged in: the name belongs to an account.")
    assert half.rest()[-1].startswith("* Goodbye")


class Line:
    """Threads that wait at a Gate, one after the other, and pass one by one."""

    def __init__(self, most: int) -> None:
        self.gate = Gate(at_once=1, most=most)
        self.gate.enter("", lambda: False, lambda before: None)
        self.over: queue.Queue[str] = queue.Queue()  # the names of threads that have passed; with a "-": have not
        self.before: dict[str, int] = {}  # how many each was told

    def join(self, name: str) -> None:
        """A thread comes, from the site that the first letter names."""
        threading.Thread(target=self._enter, args=(name,)).start()
        wait_for(lambda: name in self.before or f"-{name}" in self.over.queue, "it waits")

    def _enter(self, name: str) -> None:
        try:
            self.gate.enter(name[0], lambda: False, lambda before: self.before.update({name: before}))
        except PasswordsBusy:
            self.over.put(f"-{name}")
        else:
            self.over.put(name)

    def passed(self) -> list[str]:
        found = []
        while len(self.gate) or not self.over.empty():
            if self.over.empty():
                self.gate.leave()
            found.append(self.over.get(timeout=WAIT))
        return found


def test_whoever_waits_long_for_a_turn_is_told_again_how_many_are_ahead(monkeypatch):
    monkeypatch.setattr(passwords, "LOOK", 0.01)
    monkeypatch.setattr(passwords, "TELL", 0.02)
    line = Line(most=9)
    line.join("a1")
    line.join("a2")
    assert line.before["a2"] == 1
    line.gate.leave()
    assert line.over.get(timeout=WAIT) == "a1"
    wait_for(lambda: line.before["a2"] == 0, "it is told again")
    assert line.passed() == ["a2"]


def test_sites_take_turns_at_passwords_so_that_one_cannot_hold_up_the_others():
    line = Line(most=100)
    for name in ("a1", "a2", "a3", "a4", "b1", "c1", "b2"):
        line.join(name)
    assert line.before == {"a1": 0, "a2": 1, "a3": 2, "a4": 3, "b1": 1, "c1": 2, "b2": 4}
    assert line.passed() == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


def test_one_site_may_have_all_places_at_passwords_until_another_one_comes():
    line = Line(most=4)
    for name in ("a1", "a2", "a3", "a4", "a5", "b1", "b2", "b3", "c1", "c2"):
        line.join(name)
    out = {line.over.get(timeout=WAIT) for _ in range(6)}
    assert out == {"-a5", "-a4", "-a3", "-b3", "-a2", "-c2"}
    assert line.passed() == ["a1", "b1", "c1", "b2"]
