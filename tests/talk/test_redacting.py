"""/redact over text and JSON: who may, what everybody sees, and what is left in pages, searches and exports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chat_threads.client import Client, Refused


def test_a_person_removes_what_they_have_said_and_all_see_it_in_both_dialects(server, program):
    ann, bob = server.client("ann"), program("bob", server)
    ann.ask("/join #lab")
    bob.ask(type="join", room="#lab")
    ann.ask("my password is hunter2")
    number = bob.expect("message")["number"]
    assert ann.ask(f"/redact {number}") == [f"* ann removed message {number} of #lab"]
    assert bob.expect("redacted") == {"type": "redacted", "room": "#lab", "number": number, "by": "ann"}
    assert ann.ask(f"/redact {number}") == [f"! Message {number} of #lab has been removed already."]
    ann.ask("/set timestamps off")
    assert f"{number} * a message from ann was removed" in ann.ask("/history")
    (page,) = [each for each in bob.ask(type="history") if each["type"] == "history"]
    assert [(each["from"], each["kind"], each["text"]) for each in page["messages"]] == [("ann", "removed", "")]
    assert ann.ask("/search hunter2") == ["* Nothing was found for: hunter2"]
    cy = program("cy", server, room="#lab", replay=10)
    assert [(each["kind"], each["text"]) for each in cy.ask() if each["type"] == "message"] == [("removed", "")]


def test_of_all_others_only_the_person_who_made_the_room_can_remove_a_message(server, program):
    ann, bob = program("ann", server), server.client("bob")
    ann.ask(type="create", room="#lab")
    bob.ask("/join #lab")
    bob.ask("hello")
    ann.send(type="say", text="mine")
    number = ann.expect("message", **{"from": "ann"})["number"]
    assert (
        bob.ask(f"/redact {number}")[-1]
        == f"! Message {number} of #lab is from ann. Only ann, the owner and the operators of #lab can remove it."
    )
    ann.send(type="redact", number=number - 1, ref="1")
    ann.expect("ack", ref="1")
    for request, code in (
        ({"number": 99}, "unknown_message"),
        ({"number": 0}, "unknown_message"),
        ({}, "bad_request"),
        ({"number": 1, "room": "#lobby"}, "unknown_message"),
    ):
        ann.send({"type": "redact", **request, "ref": "2"})
        assert ann.expect("error", ref="2")["code"] == code
    bob.ask("/leave")
    assert bob.ask(f"/redact {number} #lab")[-1:] == ["! You are not in #lab. /join #lab goes there."]


def test_a_message_of_long_ago_that_no_memory_has_is_removed_after_a_restart(serve, tmp_path):
    db = str(tmp_path / "chat.db")
    server = serve(db=db)
    with Client(port=server.port, name="ann") as ann:
        ann.create("#lab")
        ann.say("#lab", "secret")
        token = ann.welcome.token
    assert server.chat.stop() == []
    server = serve(db=db)
    with Client(port=server.port, name="ann") as other:
        other.join("#lab")
        with pytest.raises(Refused, match="is from ann"):  # she has the name, but not the token
            other.redact(1)
        other.request("resume", token=token)
        other.redact(1)
        other.redact(1)  # as after a lost connection
        assert [(each.kind, each.text) for each in other.history().messages] == [("removed", "")]
        other.say("#lab", "stays")
    done = subprocess.run(
        [sys.executable, "scripts/export.py", db, "--room", "#lab"], capture_output=True, text=True, check=True
    )
    assert [line.partition("] ")[2] for line in done.stdout.splitlines()] == [
        "* a message from ann was removed",
        "ann: stays",
    ]
