"""Reports, announcements, and the audit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.clients import Program, Start
from support.servers import Running

from chat_threads import audit
from chat_threads.service import order
from chat_threads.storage_errors import StorageError


def rows(client: Program, **more: object) -> list[tuple[str, str, str, str]]:
    client.send({"type": "audit", **more, "ref": "a"})
    found = client.expect("audit", ref="a")["rows"]
    assert all(row.keys() == {"at", "room", "by", "action", "about", "why"} for row in found)  # and nobody's number
    return [(row["by"], row["action"], row["about"], row["why"]) for row in found]


def done(client: Program, line: str) -> dict[str, Any]:
    client.send(type="typed", line=line, ref=line)
    while (found := client.read()) is not None:
        if found.get("ref") == line:
            return found
    raise AssertionError(client.seen)


def test_a_report_reaches_the_operators_who_are_here_and_those_who_come_later(server: Running, program: Start) -> None:
    ann, bob, cy = (program(name, server, room="#lab") for name in ("ann", "bob", "cy"))
    boss = program("boss", server)
    server.chat.sessions.named("boss").operator = True
    assert done(cy, "/report bob rude words")["type"] == "notice"
    for each in (ann, boss):
        assert each.expect("notice", name="bob")["text"] == "cy reports bob in #lab: rude words"
    assert "cy reports" not in str(bob.ask(type="stats"))
    assert done(cy, "/report 17")["code"] == "unknown_message"
    bob.ask(type="say", text="hi")
    assert done(cy, "/report 1")["type"] == "notice"
    assert boss.expect("notice", room="#lab")["text"] == "cy reports message 1 from bob in #lab."
    assert done(cy, "/report 1 so loud")["type"] == "notice"
    assert boss.expect("notice", room="#lab")["text"] == "cy reports message 1 from bob in #lab: so loud"
    assert done(cy, "/report #lobby bob")["code"] == "not_in_room"
    assert (
        done(cy, "/report b/o/b")["code"]
        == done(cy, "/report nobody")["code"]
        == done(cy, "/report bobb")["code"]
        == "unknown_person"
    )
    expected = [
        ("cy", "report", "bob", "rude words"),
        ("cy", "report", "1", "from bob"),
        ("cy", "report", "1", "from bob: so loud"),
    ]
    assert rows(ann, room="#lab") == rows(boss, room="#lab") == rows(boss) == expected
    assert done(cy, "/audit")["code"] == done(bob, "/audit #lab")["code"] == "not_allowed"


def test_a_report_about_an_operator_reaches_the_others_only(server: Running, program: Start) -> None:
    ann, bob, cy = (program(name, server, room="#lab") for name in ("ann", "bob", "cy"))
    assert done(ann, "/op bob")["type"] == "ack"
    bob.send(type="say", text="grr", ref="s")
    bob.expect("ack", ref="s")
    for line in ("/report bob threatens me", "/report 1 so", "/report ann helps bob"):
        assert done(cy, line)["text"] == "Your report is kept, and shown to the operators who are here."
    assert [row[2] for row in rows(ann)] == ["bob", "bob", "1"]  # the first one is that he became an operator
    assert [row[2] for row in rows(bob)] == ["bob", "ann"]
    assert [each["text"] for each in bob.seen if each["type"] == "notice"] == ["cy reports ann in #lab: helps bob"]


def test_what_an_operator_of_the_server_is_shown_at_once_is_what_the_audit_shows(
    server: Running, program: Start
) -> None:
    boss, bob = (program(name, server, room="#lab") for name in ("boss", "bob"))
    server.chat.sessions.named("boss").operator = True
    boss.ask(type="say", text="grr")
    for line in ("/report boss threatens me", "/report 1 so"):
        assert done(bob, line)["text"] == "Your report is kept, and shown to the operators who are here."
    assert [row[2] for row in rows(boss)] == ["boss", "1"]
    shown = [each["text"] for each in boss.seen if each["type"] == "notice"]
    assert shown == ["bob reports boss in #lab: threatens me", "bob reports message 1 from boss in #lab: so"]


def test_a_report_about_somebody_who_is_not_known_says_so(server: Running, program: Start) -> None:
    ann, bob = (program(name, server, room="#lab") for name in ("ann", "bob"))
    kept = "Your report is kept, and shown to the operators who are here."
    assert done(bob, "/report zorro spam")["text"] == f"{kept} Nobody is called zorro now."
    cy = program("cy", server, room="#lab")
    cy.ask(type="say", text="spam")
    cy.send({"type": "quit"})
    cy.rest()
    assert done(bob, "/report cy spam")["text"] == kept  # it is known who that was
    assert [row[2] for row in rows(ann)] == ["zorro", "cy"]
    assert done(ann, "/report bob spam")["text"] == "Your report is kept in the list of what operators did."
    cy = program("cy", server, room="#other")
    eve = program("eve", server, room="#other")
    cy.send({"type": "quit"})
    cy.rest()
    assert done(eve, "/report cy spam")["text"].startswith("Your report is kept for operators who come later.")


@pytest.mark.parametrize("before", [True, False])
def test_no_new_name_lets_an_operator_see_who_has_reported_them(server: Running, program: Start, before: bool) -> None:
    ann, bob, cy = (program(name, server, room="#lab") for name in ("ann", "bob", "cy"))
    assert done(ann, "/op bob")["type"] == "ack"
    lines = [(bob, "/nick rob"), (cy, "/report bob threatens me")]
    for client, line in lines if before else reversed(lines):
        assert "code" not in done(client, line)
    assert done(ann, "/nick bob" if before else "/nick anna")["type"] == "notice"  # and a namesake is somebody else
    assert [row[1] for row in rows(bob)] == ["op"]
    assert [row[1] for row in rows(ann)] == ["op", "report"]
    assert [each for each in bob.seen if each.get("text", "").startswith("cy reports")] == []
    assert "who" not in str(rows(ann))


def test_what_cannot_be_stored_is_shown_to_nobody(
    server: Running, program: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob, cy = (
        program(name, server, room=room) for name, room in (("ann", "#lab"), ("bob", "#lobby"), ("cy", "#lab"))
    )
    server.chat.sessions.named("ann").operator = True
    assert done(ann, "/room invite-only")["type"] == "ack"

    def full(batch: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(server.chat.storage, "commit", full)
        for client, line in ((cy, "/report bob rude words"), (ann, "/announce hello"), (ann, "/invite bob")):
            assert done(client, line)["code"] == "not_stored", line
    seen = str([each.ask(type="stats") for each in (ann, bob, cy)])
    assert "cy reports" not in seen
    assert "announces" not in seen
    assert "invite" not in seen
    assert [action for _, action, _, _ in rows(ann)] == ["room"]
    assert done(ann, "/invite bob")["text"] == "bob is invited to #lab."
    assert bob.expect("invited")["room"] == "#lab"


def test_an_announcement_is_shown_to_everybody_and_is_for_the_servers_operators(
    server: Running, program: Start
) -> None:
    boss, bob, person = program("boss", server), program("bob", server, room="#lab"), server.client("cy")
    assert done(boss, "/announce hi")["code"] == "not_allowed"
    server.chat.sessions.named("boss").operator = True
    assert done(boss, "/announce five minutes left")["type"] == "notice"
    said = "boss announces to everybody: five minutes left"
    assert bob.expect("notice")["text"] == said
    assert person.expect("* boss announces") == f"* {said}"
    assert rows(boss) == [("boss", "announce", "", "five minutes left")]


def test_nobody_hides_by_reports_or_by_rules_of_their_own_room_what_others_did(
    server: Running, program: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "KEPT", 4)
    monkeypatch.setattr(order, "MOST", 3)
    ann, bob, cy = (program(name, server, room="#lab") for name in ("ann", "bob", "cy"))
    boss, eve = program("boss", server), program("eve", server, room="#own")
    server.chat.sessions.named("boss").operator = True
    for client, *lines in (
        (cy, "/report bob rude words"),
        (ann, "/mute bob", "/unmute bob"),
        (bob, *(line for number in range(6) for line in (f"/nick bob{number}", f"/report cy {number}"))),
        (eve, *(f"/room slow {number}" for number in range(1, 6))),
    ):
        for line in lines:
            assert "code" not in done(client, line)
    reports = [("cy", "report", "bob", "rude words"), *((f"bob{why}", "report", "cy", why) for why in "45")]
    actions = [("ann", "mute", "bob", ""), ("ann", "unmute", "bob", "")]
    assert rows(ann) == [reports[0], *actions, *reports[1:]]
    assert rows(boss) == [reports[0], actions[1], *reports[1:], *(("eve", "room", f"slow {n}", "") for n in (4, 5))]


def test_what_operators_do_is_remembered_for_each_room_and_goes_with_it(
    serve: Callable[..., Running], program: Start, monkeypatch: Any
) -> None:
    server = serve()
    ann, bob = program("ann", server, room="#lab"), program("bob", server, room="#lab")
    bob.send({"type": "say", "text": "spam"}, {"type": "say", "text": "sorry"})
    ann.expect("message", text="sorry")
    assert "code" not in done(bob, "/redact 2")  # one's own is not
    program("cy", server)
    for line in (
        *("/invite cy", "/uninvite cy"),
        *("/room slow 5", "/op bob", "/deop bob", "/redact 1", "/mute bob 1h rude", "/unmute bob"),
    ):
        assert "code" not in done(ann, line), line
    assert done(bob, "/kick ann")["code"] == "not_allowed"  # and what was refused is not
    expected = [
        ("ann", "invite", "cy", ""),
        ("ann", "uninvite", "cy", ""),
        ("ann", "room", "slow 5", ""),
        ("ann", "op", "bob", ""),
        ("ann", "deop", "bob", ""),
        ("ann", "redact", "1", "from bob"),
        ("ann", "mute", "bob", "1 hour: rude"),
        ("ann", "unmute", "bob", ""),
    ]
    assert rows(ann) == expected
    monkeypatch.setattr(audit, "KEPT", 4)
    assert done(bob, "/report zed x")["type"] == "notice"
    assert done(ann, "/room slow off")["type"] == "ack"
    assert rows(ann) == [*expected[5:], ("bob", "report", "zed", "x"), ("ann", "room", "slow off", "")]
    assert "code" not in done(ann, "/delete #lab yes")
    done(bob, "/join #new")
    assert done(bob, "/report ann x")["type"] == "notice"
    assert "code" not in done(bob, "/leave #new")  # nothing was said there
    ann.ask(type="rooms")
    assert server.chat.storage.audit(None, 50) == ()
