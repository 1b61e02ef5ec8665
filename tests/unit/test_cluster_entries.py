"""Entries: every ordered value comes out of a row of the log as it went in."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sqlite3
from typing import Any

import pytest

from chat_threads import changes, events, ordered
from chat_threads.cluster import copy, entries, values
from chat_threads.cluster.errors import NewerEntry, OtherLayout
from chat_threads.cluster.ledger import Entered
from chat_threads.governance import Somebody
from chat_threads.passwords import Account, Password

ANN = Somebody(2**62 + 1, "änn", True, True, "192.0.2.1")
ORIGIN = (7, 1)  # what stands for a session, here and in a row
ACCOUNT = Account(5, "ann", 1_000, Password(2, 3, 4, b"\x00salt", b"\xffhash"), True)
TOLD: ordered.Told = (
    ((ORIGIN, (8, 2)), events.Notice("said", name="ann", room="#a", next="help")),
    ((ORIGIN,), events.Answer(events.Notice("kept"), "r1")),
    ((ORIGIN,), events.Invited("#a", "ann")),
)
CHANGES = (
    changes.Set("invite-only", ((1, "ann"), (2, "bob"))),
    *(changes.Invite(ANN, (3, 4)), changes.Uninvite(ANN), changes.Appoint(ANN, (3,)), changes.Dismiss(ANN)),
    *(changes.Sanctioned("ban", ANN, 60, "why", True), changes.Lifted("unban", ANN)),
)
VALUES: tuple[Any, ...] = (
    ordered.Draft(1, "#a", "ann", "text", "two\nlines \u2028 \U0001f600", ORIGIN, "r", 3, 4),
    ordered.RoomMade(1, "#A", "#a", "topic", "ann", 5, None, "r", 6),
    ordered.RoomEnded(1, "ann", ORIGIN, "r", "#a", 3),
    ordered.TopicSet(1, "ann", "topic", ORIGIN, "r", "#a", 3),
    *(ordered.RoomChanged(1, "#a", 2, change, ANN, ORIGIN, "r", TOLD) for change in CHANGES),
    ordered.Redacted(1, "#a", 2, "ann", 3, 4, ORIGIN, "r"),
    ordered.Noted(1, "#a", Somebody(7, "ann"), "report", "bob", "why", ORIGIN, "r", TOLD),
    *(ordered.TokenUsed(1, "ann"), ordered.TokenUsed(1, "ann", 2, b"\x00proof")),
    ordered.PlaceKept(1, '{"rooms": []}'),
    *(ordered.AccountStored(ACCOUNT, key, ORIGIN, "r") for key in (None, 0, 2**62)),
    ordered.AccountEnded(ACCOUNT, 1, ORIGIN, "r"),
    ordered.Joined(1, ORIGIN, "ann", 2),
    ordered.Left(1, ORIGIN, "r"),
    ordered.LeftAll(ORIGIN, "bye"),
    ordered.NameChanged(ORIGIN, "ann", "änn"),
    values.NameClaimed(ORIGIN, "ann", 1, 2, True, True),
    *(values.Summoned(ORIGIN), values.ServerStarted(1), values.ServerBeat(), values.ServerEnded()),
    *(values.ServerGone(1, 2), values.Swept(3, None, 4), values.AwaySet(ORIGIN, None)),
)
IN_NO_ROW = {"RoomGoverned", "Acked", "Marker", "RoomUnused", "Wake"}


def _load(payload: bytes) -> tuple[list[Any], entries.Flags, int]:
    return entries.load(payload, tuple)


def test_every_value_comes_out_of_a_row_as_it_went_in():
    flags = {1: (True, False, "192.0.2.1"), 2: (False, True, "")}
    found, noted, read = _load(entries.dump(VALUES, flags, lambda session: session, 7))
    assert read == 7
    assert found == [*VALUES]
    assert [type(each) for each in found] == [type(each) for each in VALUES]
    assert noted == flags


def _kinds(base: type) -> set[str]:
    """The names of all kinds of something. (A dataclass with slots is made twice, and so is here twice.)"""
    ours = [each for each in base.__subclasses__() if each.__module__.startswith("chat_threads.")]
    return {name for each in ours for name in (each.__name__, *_kinds(each))}


def test_every_kind_of_value_and_of_change_is_tried():
    tried = {type(each).__name__ for each in VALUES}
    assert tried == {each.__name__ for each in entries.KINDS} == _kinds(ordered.Ordered) - IN_NO_ROW
    assert {type(each).__name__ for each in CHANGES} == _kinds(changes.Change)


@pytest.mark.parametrize(
    "row",
    [
        [entries.VERSION + 1, [], []],
        [entries.VERSION, [[len(entries.KINDS)]], [], 0],
        [entries.VERSION, [[4, 1, "#a", 2, ["Newer"], [1, "ann", False, False, ""], None, "", []]], [], 0],
        [entries.VERSION, [[6, 1, "#a", "ann", "report", "", "", None, "", [[[], ["Newer", []]]]]], [], 0],
    ],
)
def test_what_a_newer_version_wrote_is_not_guessed(row):
    with pytest.raises(NewerEntry):
        _load(json.dumps(row).encode())


def test_a_change_of_version_2_lists_nobody_who_is_gone():
    by = [1, "ann", False, False, ""]
    row = [2, [[4, 1, "#a", 2, ["Appoint", by], by, None, "", []]], [], 0]
    (found,), _, _ = _load(json.dumps(row).encode())
    assert found.change == changes.Appoint(Somebody(1, "ann"))


def test_what_other_versions_wrote_is_read_or_refused_by_its_number(tmp_path):
    """If this is red: servers of two versions share a log, and a new version gets the files of an old one. If a value
    has other fields, raise VERSION. If rows of before cannot be read any more, or mean something else, raise FORMAT. If
    the file cannot be read, raise LAYOUT. A kind that is new needs no number, because older servers stop at its first
    row. Then put the new digest here."""
    pytest.importorskip("psycopg")
    from chat_threads.cluster import engine

    rows = entries.dump(VALUES, {1: (True, False, "192.0.2.1")}, lambda session: session, 7)
    made = copy.Copy(str(tmp_path / "a.db"))
    made.close()
    with sqlite3.connect(tmp_path / "a.db") as file:
        tables = file.execute(
            "SELECT sql FROM sqlite_master WHERE name IN ('copy', 'present', 'servers', 'sweeps') ORDER BY name"
        ).fetchall()
    file.close()
    present = [field.name for field in dataclasses.fields(Entered)]
    digests = [hashlib.sha256(each).hexdigest()[:12] for each in (rows, repr((tables, present)).encode())]
    assert (entries.VERSION, engine.FORMAT, copy.LAYOUT, *digests) == (3, 2, 1, "fb029d4ceac4", "694608a22dfa")


def test_a_file_of_another_layout_is_refused_with_a_line_and_left_as_it_is(tmp_path):
    path = str(tmp_path / "a.db")
    made = copy.Copy(path)
    made.begin(1, 2)
    made.close()
    with sqlite3.connect(path) as file:
        file.execute("UPDATE copy SET layout = layout + 1")
    with pytest.raises(OtherLayout, match="another version"):
        copy.Copy(path)
    with sqlite3.connect(path) as file:
        file.execute("DROP TABLE copy")
        file.execute("CREATE TABLE copy (one, engine, position, last_room, server, file)")  # the first one there was
        file.execute("INSERT INTO copy VALUES (1, 2, 3, 4, 5, '')")
    with pytest.raises(OtherLayout, match="another version"):
        copy.Copy(path)
    file.close()
