"""People who do too much at once: floods, coming and going, fights for names, rooms deleted while they are used."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import time
from typing import Any

import pytest
from support.clients import Client, Program
from support.servers import Process
from support.waiting import WAIT, in_threads
from support.wellness import needs_proc, staying_well

pytestmark = [pytest.mark.slow, needs_proc]


def come_in(process: Process, name: str, room: str = "#lobby") -> Program:
    program = Program(process.port)
    program.send(type="hello", name=name, room=room, replay=0)
    program.expect("joined")
    return program


# --- floods ----------------------------------------------------------------------------------------------


@pytest.mark.stress
@pytest.mark.parametrize("flooders", [1, 50])
def test_a_client_that_floods_waits_and_nobody_else_does(start_process, flooders):
    """Each sends as fast as the system takes it, with the limits that the server has unless told otherwise."""
    process = start_process()
    rate, burst, seconds = 20, 50, 2.5
    with staying_well(process):

        def flood(number: int) -> None:
            with Client(process.port, f"flooder{number} #flood") as client:
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
                client.sock.setblocking(False)
                lines = b"a line\n" * 1000
                rest = lines
                began = time.monotonic()
                seen = bytearray()
                blocked = 0.0
                while (now := time.monotonic()) < began + seconds:
                    reading, writing, _ = select.select([client.sock], [client.sock], [], 0.05)
                    if writing:
                        rest = rest[client.sock.send(rest) :] or lines
                    else:
                        blocked = now - began
                    if reading:
                        seen += client.sock.recv(65536)
                mine = seen.count(f" flooder{number}: a line".encode())
                assert burst <= mine <= burst + rate * (time.monotonic() - began) + 1
                assert blocked > seconds / 2, "it did not have to wait"
                client.reset()

        in_threads(flood, range(flooders))


# --- coming and going ------------------------------------------------------------------------------------------


def test_join_and_leave_churn_leaves_everybody_where_they_are(start_process):
    """Ten go in and out of five rooms, ten come and go altogether, some without a word."""
    process = start_process("--rate", "0")
    with staying_well(process), contextlib.closing(come_in(process, "counter")) as counter:

        def go_around(number: int) -> None:
            chance = random.Random(number)
            with contextlib.closing(come_in(process, f"wanderer{number}")) as program:
                inside = {"#lobby"}
                for _ in range(60):
                    room = f"#room{chance.randrange(5)}"
                    program.send(type="leave" if room in inside else "join", room=room, ref="x")
                    program.expect("left" if room in inside else "joined", ref="x", room=room)
                    inside ^= {room}
                for room in sorted(inside):
                    program.send(type="say", room=room, text="here", ref=room)
                    assert program.expect("ack", ref=room)["room"] == room
                (shown,) = [each for each in program.ask(type="whois", name=f"wanderer{number}") if "rooms" in each]
                assert set(shown["rooms"]) == inside

        def come_and_go(number: int) -> None:
            for count in range(12):
                program = come_in(process, f"guest{number}-{count}", f"#room{count % 5}")
                if count % 3 == 0:
                    program.send(type="quit")
                    program.rest()
                program.close()

        work = [go_around] * 10 + [come_and_go] * 10
        in_threads(lambda what, number: what(number), work, [*range(10), *range(10)])
        deadline = time.monotonic() + WAIT

        def asked(kind: str) -> dict[str, Any]:
            (answer,) = [each for each in counter.ask(type=kind) if each["type"] == kind]
            return answer

        while len(people := asked("who")["people"]) > 3:  # itself and the canary
            assert time.monotonic() < deadline, people
        rooms = {row["room"]: row["people"] for row in asked("rooms")["rooms"]}
        assert rooms == {"#canary": 2, "#lobby": 1, **{f"#room{number}": 0 for number in range(5)}}


def test_a_session_that_is_gone_is_forgotten_by_those_it_wrote_to(start_process):
    """Each gets a private line from the one before, begins a long line, and goes before it has ended."""
    process = start_process("--rate", "0")
    with staying_well(process):
        before = come_in(process, "person0")
        for number in range(1, 500):
            this = come_in(process, f"person{number}")
            before.ask(type="private", to=f"person{number}", text="hello")
            before.sock.sendall(b"x" * 65_000)
            before.close()
            before = this
        before.close()


# --- names ----------------------------------------------------------------------------------------------------


def test_in_a_race_for_names_each_name_has_one_owner_at_a_time(start_process):
    """Twelve clients race for three names. The holder says so in public; nobody else does until the name is free."""
    process = start_process("--rate", "0")
    with staying_well(process), contextlib.closing(come_in(process, "witness", "#ring")) as witness:
        won: list[str] = []
        lost: list[str] = []

        def race(number: int) -> None:
            mine, chance = f"rival{number}", random.Random(number)
            with contextlib.closing(come_in(process, mine, "#ring")) as program:
                for _ in range(40):
                    wanted = f"Champion{chance.randrange(3)}"
                    program.send(type="nick", name=wanted, ref="x")
                    while (told := program.read()) and told.get("ref") != "x":
                        pass
                    if told["type"] == "error":
                        assert told["code"] == "name_taken"
                        lost.append(wanted)
                        continue
                    won.append(wanted)
                    program.ask(type="say", text=f"{number} has it")
                    program.ask(type="say", text=f"{number} had it")
                    program.send(type="nick", name=mine, ref="back")
                    assert program.expect("notice", ref="back")["text"] == f"You are {mine} now."

        in_threads(race, range(12))
        assert set(won) == set(lost) == {"Champion0", "Champion1", "Champion2"}
        holder: dict[str, str] = {}
        for event in witness.ask():
            if event["type"] == "message":
                number, what = event["text"].split(" ", 1)
                if what == "has it":
                    assert event["from"] not in holder, f"{event['from']} is {holder[event['from']]} already"
                    holder[event["from"]] = number
                else:
                    assert holder.pop(event["from"]) == number
        assert holder == {}


# --- rooms ---------------------------------------------------------------------------------------------------


def test_a_room_is_deleted_while_people_talk_in_it_and_join_it(start_process):
    """Again and again, by the person who made it; a new room of the same name starts at 1. Its members see no hole,
    each sender learns whether the message is stored, and everybody lands in a room."""
    process = start_process("--rate", "0")
    with staying_well(process):
        deleted: list[str] = []
        said: list[str] = []

        def follow(events: list[dict[str, Any]]) -> None:
            """From coming into the room to its end every number is seen, and none at other times."""
            next_one = None
            for event in events:
                if event.get("room") != "#doomed":
                    continue
                if event["type"] == "joined":
                    next_one = event["last"] + 1
                elif event["type"] == "deleted":
                    next_one = None
                elif event["type"] == "message":
                    assert event["number"] == next_one
                    next_one += 1

        def answer(program: Program, **request: object) -> dict[str, Any]:
            program.send(request)
            while (event := program.read()) is not None:
                if event.get("ref") == request["ref"]:
                    return event
            raise AssertionError(f"cut off: {program.seen[-5:]}")

        def take_part(program: Program, count: int) -> None:
            program.send(type="join", room="#doomed")
            told = answer(program, type="say", room="#doomed", text=f"text {count}", ref=f"say {count}")
            said.append(told.get("code", "stored"))
            told = answer(program, type="delete", room="#doomed", ref=f"delete {count}")
            deleted.append(told.get("code", "deleted"))

        def stay(number: int) -> None:
            with contextlib.closing(come_in(process, f"talker{number}", "#doomed")) as program:
                for count in range(50):
                    take_part(program, count)
                (me,) = [each for each in program.ask(type="whois", name=f"talker{number}") if "rooms" in each]
                assert set(me["rooms"]) & {"#lobby", "#doomed"}
                follow(program.seen)

        def come_and_go(number: int) -> None:
            for count in range(15):
                with contextlib.closing(come_in(process, f"guest{number}-{count}", "#doomed")) as program:
                    take_part(program, count)
                    follow(program.seen)

        in_threads(lambda what, number: what(number), [stay] * 5 + [come_and_go] * 3, [*range(5), *range(3)])
        assert deleted.count("deleted") >= 20
        assert said.count("stored") >= 50
        assert set(deleted) <= {"deleted", "not_allowed", "unknown_room"}
        assert set(said) <= {"stored", "unknown_room", "not_in_room"}
