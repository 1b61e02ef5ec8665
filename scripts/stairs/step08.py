"""Step 8: store first."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time

from stairs.chat import TALK, goes_on, heard, in_a_row, number_of, said
from stairs.talk import Client, Event, Failed, Stage, at_once

KILLS = 4
ENOUGH = 60  # acknowledged texts between two kills
LOCKED = 1.0  # seconds
VISITS = 15

Rows = dict[int, tuple[object, object, object]]
"""Messages of a room by their numbers: from, kind and text."""


def row(event: Event) -> tuple[object, object, object]:
    return event.get("from"), event.get("kind"), event.get("text")


def whole(stage: Stage, room: str, name: str = "eve") -> Rows:
    """Everything in a room, as somebody sees it who enters it with since=0."""
    client = stage.guest(name)
    found = missed(client, client.ask_since(room, 0), 0, room)
    client.quit()
    return found


def missed(client: Client, came: list[Event], since: int, room: str) -> Rows:
    """Read on up to the room's last number. ``came`` ends with the room's joined, and may begin with messages."""
    last = came[-1].get("last")
    if not isinstance(last, int):
        raise Failed('Expected: "last" in joined, the number of the last message.')
    events = came[:-1]
    while since + len(events) < last:
        events.append(
            client.expect("message", f"{client.name} gets all messages up to {last}", aside=TALK, quietly=True)
        )
    in_a_row(client, [number_of(each) for each in events], since + 1, f"after {since}, all messages up to {last} come")
    return {number_of(each): row(each) for each in events}


def kill(stage: Stage) -> None:
    stage.note("kill -9, and the program is started again")
    stage.program.kill()
    stage.program.start()


def what_anybody_saw_is_there_after_kill_9(stage: Stage) -> None:
    known: Rows = {}
    for turn in range(KILLS):
        reader = stage.member("eve", "#a")
        talkers = [stage.member(f"t{number}", "#a") for number in (1, 2, 3)]
        enough = threading.Event()
        seen: list[Event] = []
        acked: list[tuple[int, tuple[object, object, object]]] = []

        def read(reader: Client = reader, seen: list[Event] = seen) -> None:
            while event := reader.next():
                if event["type"] == "message":
                    seen.append(event)

        def talk(
            talker: Client,
            turn: int = turn,
            acked: list[tuple[int, tuple[object, object, object]]] = acked,
            enough: threading.Event = enough,
        ) -> None:
            count = 0
            while True:
                count += 1
                text = f"{talker.name} says {turn}-{count}"
                request = f'{{"type":"say","room":"#a","text":"{text}","ref":"{turn}-{count}"}}\n'
                if not talker.push(request.encode()):
                    return
                while event := talker.next():
                    if event["type"] == "ack":
                        acked.append((number_of(event), (talker.name, "say", text)))
                        break
                if not event:
                    return
                if len(acked) > ENOUGH:
                    enough.set()

        with at_once(read, *(lambda talker=talker: talk(talker) for talker in talkers)):
            if not enough.wait(4 * stage.patience):
                stage.program.kill()
                raise Failed(f"Expected: {ENOUGH} acks while three talk. There were {len(acked)}.")
            stage.note(f"three clients have said {len(acked)} texts; kill -9, and the program is started again")
            stage.program.kill()
        stage.program.start()
        known |= {number_of(event): row(event) for event in seen} | dict(acked)
        there = whole(stage, "#a")
        for number, what in sorted(known.items()):
            if there.get(number) != what:
                found = f"is {there[number][2]!r}" if number in there else "is lost"
                raise Failed(
                    f"Expected: message {number}, {what[2]!r}, is there, because somebody has seen it or its ack.\n"
                    f"After the start, it {found}. The last message is {max(there, default=0)}."
                )
        known = there


def the_numbers_go_on_after_a_restart(stage: Stage) -> None:
    ann = stage.member("ann", "#a")
    for number in (1, 2, 3):
        said(ann, "#a", f"text {number}")
    bob = stage.member("bob", "#b")
    said(bob, "#b", "hello")
    kill(stage)
    ann = stage.guest("ann")
    if (joined := ann.ask("join", "joined", room="#a")).get("last") != 3:
        raise Failed(f'Expected: "last" is 3, as before. It is {joined.get("last")}.')
    for number in (4, 5):
        if (found := number_of(said(ann, "#a", f"text {number}"))) != number:
            raise Failed(f"Expected: the number {number}. It is {found}.")


def since_brings_what_was_missed_and_then_what_comes(stage: Stage) -> None:
    ann, bob = stage.member("ann", "#a"), stage.guest("bob")
    for number in range(1, 8):
        said(ann, "#a", f"text {number}")
    found = missed(bob, bob.ask_since("#a", 3), 3, "#a")
    if [what[2] for what in found.values()] != [f"text {number}" for number in range(4, 8)]:
        raise Failed("Expected: bob gets text 4 to text 7, and nothing else.")
    said(ann, "#a", "live")
    heard(bob, "#a", "ann", "live")
    over = threading.Event()

    def talk() -> None:
        while not over.is_set():
            ann.send({"type": "say", "room": "#a", "text": "well, well", "ref": ann.ref()}, quietly=True)
            ann.expect("ack", quietly=True)

    with at_once(talk):
        stage.note("ann talks without pause, and bob leaves and comes back")
        try:
            last = 8
            for _ in range(VISITS):
                ref = bob.ref()
                bob.send({"type": "leave", "room": "#a", "ref": ref}, quietly=True)
                last += len(bob.until("left", ref)[:-1])
                found = missed(bob, bob.ask_since("#a", last), last, "#a")
                last += len(found)
                for _ in range(3):
                    message = bob.expect("message", "while ann talks, bob sees it", aside=TALK, quietly=True)
                    in_a_row(bob, [number_of(message)], last + 1, "bob sees each message once, and misses none")
                    last += 1
        finally:
            over.set()


def nothing_is_shown_that_is_not_in_the_file(stage: Stage) -> None:
    ann, bob = stage.member("ann", "#a"), stage.member("bob", "#a")
    said(ann, "#a", "one")
    heard(bob, "#a", "ann", "one")
    with contextlib.closing(sqlite3.connect(stage.program.file, timeout=stage.patience, isolation_level=None)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                return
            raise Failed(
                "Expected: 'one' was acknowledged, so it is committed.\n"
                f"But the program still holds the write lock of its file, after {stage.patience:g} s."
            ) from None
        except sqlite3.DatabaseError:
            return  # it is not a file of SQLite
        stage.note("another program locks the file, so that nothing can be written")
        ref = ann.ref()
        ann.send({"type": "say", "room": "#a", "text": "two", "ref": ref})
        until = time.monotonic() + LOCKED
        for client in (bob, ann):
            while (left := until - time.monotonic()) > 0:
                with contextlib.suppress(TimeoutError):
                    event = client.next(left)
                    if event and (event["type"] == "ack" or event.get("text") == "two"):
                        client.got(event)
                        raise Failed("Expected: nobody sees 'two' or its ack, because it is not in the file yet.")
        other.execute("ROLLBACK")
        stage.note("the other program has let go")
    refused = False
    while (event := ann.expect(("message", "ack", "error"), "'two' is stored now, or refused", aside=TALK))[
        "type"
    ] != "ack":
        if event["type"] == "error":
            if event.get("code") != "not_stored":
                raise Failed('Expected: an ack, or an error with the code "not_stored".')
            refused = True
            break
    if not refused:
        heard(bob, "#a", "ann", "two")
    bob_says = bob.ref()
    bob.send({"type": "say", "room": "#a", "text": "three", "ref": bob_says})
    number = number_of(bob.expect("ack", aside=TALK | {"message"}, ref=bob_says))
    if number != (2 if refused else 3):
        raise Failed(f"Expected: the number {2 if refused else 3}. It is {number}.")


def whatever_since_is_the_connection_goes_on(stage: Stage) -> None:
    ann = stage.member("ann", "#a")
    said(ann, "#a", "one")
    goes_on(stage.guest("bob"), "join", room="#a", since=0)
    said(ann, "#a", "two")


CHECKS = (
    what_anybody_saw_is_there_after_kill_9,
    the_numbers_go_on_after_a_restart,
    since_brings_what_was_missed_and_then_what_comes,
    nothing_is_shown_that_is_not_in_the_file,
    whatever_since_is_the_connection_goes_on,
)
