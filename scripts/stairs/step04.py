"""Step 4: rooms, and one writer for each socket."""

from __future__ import annotations

import time

from stairs.chat import TALK, goes_on, heard, said, text_of
from stairs.talk import Client, Failed, Stage, at_once

TALKERS = 8
TEXTS = 60  # of each talker: together more than the system keeps for one who does not read
STUCK = 0.5  # seconds without an ack after which the slow reader begins to read


def who_joins_a_room_is_told_so(stage: Stage) -> None:
    ann = stage.guest("ann")
    ann.ask("join", "joined", room="#lab")
    bob = stage.client("bob")
    bob.hello(room="#lab")
    bob.expect("joined", "hello with a room enters the room, too", room="#lab")
    for wrong in ("lab", "#", "#a b", "", "#" + "x" * 33):
        ann.refused("bad_room", f"{wrong!r} is no room", {"type": "join", "room": wrong})
    ann.refused("bad_request", "a room is a string", {"type": "join", "room": 5})


def what_is_said_comes_to_everybody_in_the_room_and_to_nobody_else(stage: Stage) -> None:
    ann, bob, cy = (stage.member(name, room) for name, room in (("ann", "#a"), ("bob", "#a"), ("cy", "#b")))
    for kind, text in (
        ("say", "hello"),
        ("say", 'é 🧵 "quoted" \\ {}'),
        ("action", "waves"),
        ("say", "two\nlines"),
        ("say", "x" * 1900),
    ):
        said(ann, "#a", text, kind)
        heard(bob, "#a", "ann", text, kind)
    cy.ask("ping", "pong", "cy is in another room, and gets nothing but a pong", aside=TALK)
    said(cy, "#b", "here")
    bob.ask("join", "joined", room="#b")
    said(bob, "#b", "me, too")
    heard(cy, "#b", "bob", "me, too")


def nobody_speaks_in_a_room_without_being_in_it(stage: Stage) -> None:
    ann, bob = stage.member("ann", "#a"), stage.member("bob", "#b")
    codes = ("not_in_room", "unknown_room")
    bob.refused(codes, "bob is not in #a", {"type": "say", "room": "#a", "text": "hello"})
    bob.refused(codes, "there is no room #c", {"type": "say", "room": "#c", "text": "hello"})
    bob.refused(codes, "bob is not in #a, and cannot leave it", {"type": "leave", "room": "#a"})
    ann.refused("bad_request", "a text is a string", {"type": "say", "room": "#a", "text": 5})
    ann.refused("nothing_to_say", "an empty text is nothing to say", {"type": "say", "room": "#a", "text": ""})
    ann.ask("ping", "pong", "ann gets nothing but a pong", aside=TALK)


def after_leaving_nothing_comes(stage: Stage) -> None:
    ann, bob = stage.member("ann", "#a"), stage.member("bob", "#a")
    bob.ask("leave", "left", room="#a")
    said(ann, "#a", "is bob here?")
    bob.ask("ping", "pong", "bob has left, and gets nothing but a pong", aside=TALK)
    bob.ask("join", "joined", room="#a")
    said(ann, "#a", "now he is")
    heard(bob, "#a", "ann", "now he is")


def members_that_break_off_harm_nobody(stage: Stage) -> None:
    ann, bob = stage.member("ann", "#a"), stage.member("bob", "#a")
    for number in range(10):
        other = stage.member(f"x{number}", "#a")
        other.send(b'{"type":"say","room":"#a","te')
        other.break_off()
        said(ann, "#a", f"text {number}")
        heard(bob, "#a", "ann", f"text {number}")


def lines_stay_whole_when_eight_speak_at_once(stage: Stage) -> None:
    slow = stage.client("slow", receive_buffer=8192)
    slow.hello(room="#a")
    slow.expect("joined")
    talkers = [stage.member(f"t{number}", "#a") for number in range(1, TALKERS + 1)]
    stage.note(f"{TALKERS} clients say {TEXTS} long texts each, at the same time")
    acks = [time.monotonic()]
    came: dict[str, list[int]] = {talker.name: [] for talker in talkers}

    def talk(talker: Client) -> None:
        for number in range(TEXTS):
            talker.send(
                {"type": "say", "room": "#a", "text": text_of(talker, number), "ref": talker.ref()}, quietly=True
            )
            talker.expect("ack", quietly=True)
            acks.append(time.monotonic())

    with at_once(*(lambda talker=talker: talk(talker) for talker in talkers)):
        while acks and time.monotonic() - acks[-1] < STUCK and len(acks) <= TALKERS * TEXTS:
            time.sleep(0.02)
        for _ in range(TALKERS * TEXTS):
            message = slow.expect("message", f"slow gets {TALKERS * TEXTS} messages", aside=TALK, quietly=True)
            who, number = str(message.get("from")), str(message.get("text")).partition(" ")[2].partition(" ")[0]
            if who not in came or not number.isdecimal() or message["text"] != text_of(slow, int(number), who):
                slow.got(message)
                raise Failed("Expected: a text that somebody has said. Nobody has said this.")
            came[who].append(int(number))
    for who, numbers in came.items():
        if numbers != list(range(TEXTS)):
            raise Failed(f"Expected: slow gets the texts of {who} in their order, each once. It got {numbers}.")


def whatever_is_in_a_request_the_connection_goes_on(stage: Stage) -> None:
    ann, bob = stage.member("ann", "#a"), stage.member("bob", "#b")
    goes_on(ann, "say", room="#a", text="hello")
    goes_on(ann, "join", room="#a")
    goes_on(ann, "leave", room="#a")
    said(bob, "#b", "bob is here")


CHECKS = (
    who_joins_a_room_is_told_so,
    what_is_said_comes_to_everybody_in_the_room_and_to_nobody_else,
    nobody_speaks_in_a_room_without_being_in_it,
    after_leaving_nothing_comes,
    members_that_break_off_harm_nobody,
    lines_stay_whole_when_eight_speak_at_once,
    whatever_is_in_a_request_the_connection_goes_on,
)
