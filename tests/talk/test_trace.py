"""The trips of messages: /trace, and the file of --trace, read back by the rules of the Trace Event format."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import re
from collections import defaultdict
from typing import Any

import pytest
from support.waiting import WAIT, held, wait_for

from chat_threads.errors import StartError
from chat_threads.ordered import Left
from chat_threads.trace import KEPT, MEMBERS, TraceFile, Trip

CLOSE = 0.0015  # microseconds; times in the file are rounded to a thousandth


def events_of(path: pathlib.Path) -> list[dict[str, Any]]:
    """The events of a trace, with or without the bracket at its end; each must have what the format asks for."""
    text = path.read_text(encoding="utf-8").rstrip()
    events = json.loads(text if text.endswith("]") else text + "]")
    for event in events:
        assert event["ph"] in "MXsf"
        assert event["pid"] == 1
        assert isinstance(event["tid"], int)
        if event["ph"] != "M":
            assert event["ts"] >= 0
        if event["ph"] == "X":
            assert event["dur"] >= 0
        if event["ph"] in "sf":
            assert isinstance(event["id"], int)
    return events


def rows_of(events: list[dict[str, Any]]) -> dict[int, str]:
    """The names of the threads by their rows; each named once."""
    named = [event for event in events if event["ph"] == "M" and event["name"] == "thread_name"]
    rows = {event["tid"]: event["args"]["name"] for event in named}
    assert len(rows) == len(named) == len(set(rows.values()))
    assert {event["tid"] for event in events if event["ph"] != "M"} <= set(rows)
    kinds = [row.partition("-")[0] for _, row in sorted(rows.items())]
    assert kinds == sorted(kinds, key=["reader", "history", "writer"].index)
    assert 1 not in rows, "that is the process, and would be its main thread"
    return rows


def slices_of(events: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """The slices of each row in their order; they must lie beside or inside one another."""
    slices = defaultdict(list)
    for event in sorted((each for each in events if each["ph"] == "X"), key=lambda each: (each["ts"], -each["dur"])):
        slices[event["tid"]].append(event)
    for row in slices.values():
        around: list[float] = []
        for event in row:
            while around and around[-1] <= event["ts"] + CLOSE:
                around.pop()
            end = event["ts"] + event["dur"]
            assert not around or end <= around[-1] + CLOSE, f"{event} is only in part inside what is around it"
            around.append(end)
    return slices


def arrows_of(events: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each arrow as the slices at its two ends; each must have one beginning and one end, in that order."""
    slices = slices_of(events)
    ends: dict[int, dict[str, dict[str, Any]]] = defaultdict(dict)
    for event in events:
        if event["ph"] in "sf":
            assert event["ph"] not in ends[event["id"]], "an id is used twice"
            ends[event["id"]][event["ph"]] = event
    arrows = []
    for both in ends.values():
        assert set(both) == {"s", "f"}
        assert both["s"]["ts"] <= both["f"]["ts"]
        assert both["f"]["bp"] == "e"
        arrows.append(tuple(_around(slices[both[end]["tid"]], both[end]["ts"]) for end in "sf"))
    return arrows


def _around(slices: list[dict[str, Any]], at: float) -> dict[str, Any]:
    found = [each for each in slices if each["ts"] - CLOSE <= at <= each["ts"] + each["dur"] + CLOSE]
    assert found, f"no slice is around {at}"
    return found[0]


# --- /trace -------------------------------------------------------------------------------------------------


def trip(client, number: int) -> dict[str, Any]:
    client.send(type="trace", number=number, ref="look")
    return client.expect("trace", ref="look")


def written(found: dict[str, Any]) -> dict[str, bool]:
    """To whom it was written by now."""
    return {row["name"]: row["written"] is not None for row in found["members"]}


def test_a_trip_has_its_stages_in_order_and_every_member(serve, program):
    server = serve(lab=True)
    ann, bob = program("ann", server=server), server.client("bob")
    bob.send("hello")
    ann.expect("message", number=1)
    wait_for(lambda: all(row["written"] for row in trip(ann, 1)["members"]))
    found = trip(ann, 1)
    assert (found["room"], found["number"], found["from"], found["more"]) == ("#lobby", 1, "bob", 0)
    stages = [found[stage] for stage in ("queued", "taken", "committed", "published")]
    assert stages == sorted(stages)
    assert stages[0] >= 0
    assert {row["name"] for row in found["members"]} == {"ann", "bob"}
    for row in found["members"]:
        assert stages[-1] <= row["queued"] <= row["written"] < WAIT * 1000


def asked(client, **which: object) -> tuple[str, object]:
    """The room and the number of the trip that is shown, or the code of the error and its room."""
    [found] = [each for each in client.ask({"type": "trace", "ref": "look", **which}) if each.get("ref") == "look"]
    return (found["room"], found["number"]) if found["type"] == "trace" else (found["code"], found.get("room"))


def test_with_lab_everybody_sees_the_trips_of_every_room_and_the_newest_one(serve, program):
    server = serve(lab=True)
    ann, bob = program("ann", server=server), program("bob", server=server, room="#Lab2")
    assert asked(ann) == ("no_trip", "#lobby")
    bob.ask({"type": "say", "text": "one"}, {"type": "say", "text": "two"})
    ann.ask(type="say", text="three")
    assert asked(ann) == asked(ann, number=1) == ("#lobby", 1)
    assert asked(ann, room="#lab2") == ("#Lab2", 2)
    assert asked(ann, room="#LAB2", number=1) == ("#Lab2", 1)
    assert asked(ann, room="#lab2", number=3) == ("no_trip", "#lab2")
    assert asked(ann, room="lab2") == ("bad_room", None)
    ann.ask(type="leave")
    assert asked(ann) == ("#lobby", 1), "the newest of all rooms"
    assert asked(ann, number=1) == ("not_in_room", None)


def test_without_lab_only_the_current_room_has_trips(serve, program, tmp_path):
    server = serve(trace=str(tmp_path / "trace.json"))
    ann, bob = program("ann", server=server), program("bob", server=server, room="#lab2")
    bob.ask(type="say", text="one")
    assert asked(ann, room="#lab2") == ("not_in_room", "#lab2")
    assert asked(bob, room="#LAB2") == ("#lab2", 1)
    bob.ask(type="leave")
    assert asked(bob) == ("not_in_room", None)


def test_a_person_sees_a_trip_as_a_table(serve):
    server = serve(lab=True)
    bob = server.client("bob")
    bob.ask("hello")
    head, stages, titles, _, row = bob.ask("/trace 1")
    assert head == "* The trip of message 1 of #lobby, by bob, in ms since it was received:"
    assert re.match(r"\* queued \d+\.\d{3}, taken ", stages)
    assert titles.split() == ["*", "member", "queued", "written"]
    assert row.startswith("* bob ")


def test_a_member_who_enters_in_a_messages_batch_is_in_its_trip(serve, program):
    server = serve(lab=True)
    ann = program("ann", server=server, room="#other")
    ann.ask(type="ping")  # nothing of hers is under way
    server.chat.faults.pause_history(60, lambda: None)
    wait_for(lambda: not server.chat.faults._history_runs.is_set())
    server.chat.history.submit(Left(0, None))
    wait_for(lambda: server.chat.history._queue.depth()[0] == 0)
    server.client("bob").send("hello")
    wait_for(lambda: server.chat.history._queue.depth()[0] == 2)
    server.chat.faults.stop(WAIT)
    ann.ask({"type": "ping"}, {"type": "join", "room": "#lobby"})
    assert [row["name"] for row in trip(ann, 1)["members"]] == ["bob"]


def test_a_trip_in_a_large_room_keeps_a_hundred_members_and_counts_the_others():
    trip = Trip("ann", "reader-1", 1.0)
    for number in range(MEMBERS + 30):
        trip.goes_to(number, f"guest{number}", 1.002)
    shown = trip.shown()
    assert [each.name for each in shown.members] == [f"guest{number}" for number in range(MEMBERS)]
    assert (len(trip.to), shown.more) == (MEMBERS, 30)


def test_a_trip_that_waits_is_shown_as_far_as_it_has_come(serve, program):
    server = serve(lab=True)
    ann, bob = program("ann", server=server), server.client("bob")
    number = server.chat.sessions.named("bob").number
    ann.send(type="lab", fault="slow", target="bob", amount=10_000)
    wait_for(lambda: server.chat.faults.delay(number))
    ann.ask(type="say", text="hello")
    wait_for(lambda: written(trip(ann, 1)) == {"ann": True, "bob": False})
    server.chat.faults.stop(WAIT)
    bob.expect("hello")
    wait_for(lambda: all(row["written"] for row in trip(ann, 1)["members"]))


def test_nothing_is_known_of_a_message_that_is_not_there_or_too_old(serve, program):
    ann = program("ann", server=serve(lab=True, burst=10_000))
    for number in range(KEPT + 10):
        ann.send(type="say", text=f"{number}", ref=f"{number}")
    ann.expect("ack", ref=f"{KEPT + 9}")
    for number in (1, 10, KEPT + 11):
        [answer] = ann.ask(type="trace", number=number)
        assert (answer["type"], answer["code"]) == ("error", "no_trip")
    assert trip(ann, 11)["number"] == 11
    assert trip(ann, KEPT + 10)["number"] == KEPT + 10


def test_without_lab_and_trace_no_trip_is_recorded(server, program):
    ann = program("ann", server=server)
    ann.ask(type="say", text="hello")
    [answer] = ann.ask(type="trace", number=1)
    assert answer["code"] == "no_trip"
    assert type(server.chat.history).__name__ == "History"
    assert type(server.chat.publisher).__name__ == "Publisher"


def test_a_message_sent_again_under_a_token_has_one_trip(serve, program):
    ann = program("ann", server=serve(lab=True))
    for _ in range(2):
        ann.send(type="say", text="a", ref="1")
    ann.send({"type": "say", "text": "a", "ref": "2"}, {"type": "say", "text": "b", "ref": "3"})
    ann.expect("ack", ref="3", number=3)
    assert [trip(ann, number)["from"] for number in (1, 2, 3)] == ["ann"] * 3
    [answer] = ann.ask(type="trace", number=4)
    assert answer["code"] == "no_trip"


# --- the file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writers", [2, pytest.param(None, marks=pytest.mark.slow)], ids=["crew", "per-session"])
def test_a_trace_of_100_messages_to_50_members_has_5000_arrows(serve, program, tmp_path, writers):
    server = serve(trace=str(tmp_path / "trace.json"), writers=writers)
    ann = program("ann", server=server, room="#lab")
    others = [program(f"bob{number}", server=server, room="#lab") for number in range(49)]
    for number in range(1, 101):
        ann.send(type="say", text=f"secret {number}")
        if number % 10 == 0:
            ann.expect("message", number=number)
    for other in others:
        other.expect("message", number=100)
    numbers = {each.number: each.name for each in server.chat.sessions.all()}
    assert server.chat.stop() == []
    events = events_of(tmp_path / "trace.json")
    assert "secret" not in json.dumps(events)
    rows = rows_of(events)
    arrows = arrows_of(events)
    assert len(arrows) == 5000
    for start, end in arrows:
        assert (start["name"], end["name"]) == ("read", "send")
        assert numbers[int(rows[start["tid"]].removeprefix("reader-"))] == "ann"
        assert rows[end["tid"]].startswith("writer-")
    reached = defaultdict(set)
    for start, end in arrows:
        reached[start["args"]["number"]].add(end["args"]["to"])
    assert set(reached) == set(range(1, 101))
    assert all(names == {"ann", *(f"bob{number}" for number in range(49))} for names in reached.values())
    history = [event for event in events if event["ph"] == "X" and rows[event["tid"]] == "history"]
    assert {event["name"] for event in history} == {"commit", "wait for lock", "wait for writers", "fan-out"}
    commits = sorted((each["ts"], each["args"]["messages"]) for each in history if each["name"] == "commit")
    assert sum(count for _, count in commits) == 100
    read_at = {event["args"]["number"]: event["ts"] for event in events if event.get("name") == "read"}
    fan_outs = sorted(event["ts"] for event in history if event["name"] == "fan-out")
    done = 0
    for at, count in commits:
        assert all(read_at[number] <= at for number in range(done + 1, done + count + 1))
        assert any(fan_out >= at for fan_out in fan_outs)
        done += count


def test_a_killed_server_leaves_a_file_that_can_be_read(start_process, tmp_path):
    process = start_process("--trace", str(tmp_path / "trace.json"))
    with process.client("ann") as ann:
        ann.ask("hello")
        wait_for(lambda: '"ph":"f"' in (tmp_path / "trace.json").read_text())
        process.kill()
    assert not (tmp_path / "trace.json").read_text().endswith("]\n")
    assert len(arrows_of(events_of(tmp_path / "trace.json"))) == 1


def test_a_trace_ends_at_its_limit_and_the_chat_goes_on(serve, program, tmp_path):
    server = serve(trace=str(tmp_path / "trace.json"), trace_limit=50)
    ann = program("ann", server=server)
    for number in range(100):
        ann.send(type="say", text=f"{number}")
        ann.expect("message", number=number + 1)
    assert server.chat.stop() == []
    events = [event for event in events_of(tmp_path / "trace.json") if event["ph"] != "M"]
    assert 50 <= len(events) <= 52
    slices_of(events)


@pytest.mark.parametrize("path", [".", "/dev/full"])
def test_a_trace_that_cannot_be_written_is_reported(path):
    if not pathlib.Path(path).exists():
        pytest.skip("there is no /dev/full here")
    with pytest.raises(StartError, match=r"^The file of --trace, .*, cannot be written: "):
        TraceFile(path, 10)


def test_a_trace_on_a_full_disk_ends_with_its_last_whole_event_and_the_log_says_so(small_disk, caplog):
    ballast = small_disk / "ballast"
    trace = TraceFile(str(small_disk / "trace.json"), 1_000_000)
    free = os.statvfs(small_disk)
    ballast.write_bytes(bytes((free.f_bavail - 4) * free.f_frsize))
    for number in range(10 * free.f_frsize // 100):
        trace.slice("read", "reader-1", 1.0, 2.0, number=number)
    wait_for(lambda: trace.full, "the end of the trace")
    ballast.unlink()
    trace.slice("read", "reader-2", 1.0, 2.0, number=-1)
    assert trace.stop(WAIT)
    [told] = [record.getMessage() for record in caplog.records if "trace" in record.getMessage()]
    assert told == f"the trace ends here: {os.strerror(errno.ENOSPC)}"
    assert all(event.get("args", {}).get("number") != -1 for event in events_of(small_disk / "trace.json"))


def test_trips_can_be_asked_for_while_a_trace_is_written_and_the_locks_are_counted(serve, program, tmp_path):
    server = serve(trace=str(tmp_path / "trace.json"))
    ann = program("ann", server=server)
    ann.ask(type="say", text="hello")
    assert trip(ann, 1)["from"] == "ann"
    [answer] = ann.ask(type="locks")
    assert answer["counted"]
    [answer] = ann.ask(type="lab", fault="pause", target="publisher", amount=1)
    assert answer["code"] == "not_allowed"


@pytest.mark.usefixtures("waits_under_a_lock_on_purpose")
def test_a_thread_that_waits_for_the_publishers_lock_is_in_the_trace(serve, program, tmp_path):
    server = serve(trace=str(tmp_path / "trace.json"))
    ann = program("ann", server=server)
    with held(server.chat.publisher._lock):
        ann.send({"type": "rooms"})
        wait_for(lambda: _where(server, "ann").endswith(" list_chat_rooms"))
    ann.expect("rooms")
    assert server.chat.stop() == []
    events = events_of(tmp_path / "trace.json")
    rows = rows_of(events)
    waits = [event for event in events if event.get("name") == "wait for lock" and "reader" in rows[event["tid"]]]
    assert waits
    assert max(event["dur"] for event in waits) > 0


def _where(server, name: str) -> str:
    from chat_threads import inside

    thread = f"reader-{server.chat.sessions.named(name).number}"
    return next(inside.places({slot.ident}).get(slot.ident, "") for slot in inside.slots() if slot.name == thread)
