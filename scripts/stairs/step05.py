"""Step 5: the same order for all."""

from __future__ import annotations

import threading

from stairs.chat import TALK, heard, in_a_row, number_of, said
from stairs.talk import Client, Failed, Stage, at_once

TALKERS = 4
TEXTS = 100  # of each talker
UNDER_WAY = 5  # texts that a talker sends before it reads
VISITS = 20


def each_room_counts_its_messages_from_one(stage: Stage) -> None:
    ann, bob = stage.member("ann", "#a"), stage.guest("bob")
    joined = bob.ask("join", "joined", room="#b")
    if joined.get("last") != 0:
        raise Failed('Expected: "last" is 0, because nothing was said in #b.')
    for number in (1, 2, 3):
        if number_of(said(ann, "#a", f"text {number}")) != number:
            raise Failed(f"Expected: the number {number}, in the ack.")
    if number_of(said(bob, "#b", "hello")) != 1:
        raise Failed("Expected: the number 1, because it is the first message in #b.")
    joined = bob.ask("join", "joined", room="#a")
    if joined.get("last") != 3:
        raise Failed('Expected: "last" is 3, because three messages were said in #a.')
    said(ann, "#a", "the fourth")
    message = heard(bob, "#a", "ann", "the fourth")
    if number_of(message) != 4:
        raise Failed("Expected: the number 4, in the message.")


def all_see_one_order_when_many_speak_at_once(stage: Stage) -> None:
    reader = stage.member("eve", "#a")
    talkers = [stage.member(f"t{number}", "#a") for number in range(1, TALKERS + 1)]
    total = TALKERS * TEXTS
    stage.note(f"{TALKERS} clients say {TEXTS} texts each, at the same time")
    seen: dict[str, list[tuple[int, str]]] = {}
    acked: dict[str, int] = {}  # the number of each text

    def talk(talker: Client) -> None:
        seen[talker.name] = []
        sent = acks = 0
        while len(seen[talker.name]) < total or acks < TEXTS:
            while sent < TEXTS and sent - acks < UNDER_WAY:
                sent += 1
                text = f"{talker.name} {sent}"
                talker.send({"type": "say", "room": "#a", "text": text, "ref": text}, quietly=True)
            event = talker.expect(("message", "ack"), f"{talker.name} gets all {total}", aside=TALK, quietly=True)
            if event["type"] == "ack":
                acks += 1
                acked[str(event.get("ref"))] = number_of(event)
            else:
                seen[talker.name].append((number_of(event), str(event.get("text"))))

    with at_once(*(lambda talker=talker: talk(talker) for talker in talkers)):
        seen["eve"] = []
        for _ in range(total):
            event = reader.expect("message", f"eve gets all {total}", aside=TALK, quietly=True)
            seen["eve"].append((number_of(event), str(event.get("text"))))
    for client in (reader, *talkers):
        in_a_row(client, [number for number, _ in seen[client.name]], 1)
        for (number, text), (_, other) in zip(seen["eve"], seen[client.name], strict=False):
            if text != other:
                raise Failed(
                    f"Expected: all see the same messages. Message {number} is {text!r} for eve, and {other!r} for "
                    f"{client.name}."
                )
    for number, text in seen["eve"]:
        if acked.get(text) != number:
            raise Failed(
                f"Expected: an ack has the number of the message. {text!r} is {number}, its ack {acked.get(text)}."
            )
    for talker in talkers:
        own = [text for _, text in seen["eve"] if text.startswith(talker.name)]
        if own != [f"{talker.name} {number}" for number in range(1, TEXTS + 1)]:
            raise Failed(
                f"Expected: what {talker.name} says comes in the order in which it was said. It came as {own}."
            )


def what_was_acknowledged_comes_before_what_is_said_after_it(stage: Stage) -> None:
    ann, bob = stage.member("ann", "#a"), stage.member("bob", "#a")
    last = 0
    for turn in range(100):
        speaker = (ann, bob)[turn % 2]
        speaker.send({"type": "say", "room": "#a", "text": f"text {turn}", "ref": str(turn)}, quietly=True)
        number = number_of(speaker.expect("ack", quietly=True))
        if number <= last:
            speaker.got({"type": "ack", "number": number, "ref": str(turn)})
            raise Failed(f"Expected: a number above {last}, which was acknowledged before this was said.")
        last = number


def a_newcomer_sees_what_comes_after_its_last_without_a_gap(stage: Stage) -> None:
    talkers = [stage.member(f"t{number}", "#a") for number in (1, 2, 3)]
    ann = stage.guest("ann")
    over = threading.Event()

    def talk(talker: Client) -> None:
        while not over.is_set():
            talker.send({"type": "say", "room": "#a", "text": "well, well", "ref": talker.ref()}, quietly=True)
            talker.expect("ack", quietly=True)

    with at_once(*(lambda talker=talker: talk(talker) for talker in talkers)):
        try:
            for _ in range(VISITS):
                ref = ann.ref()
                ann.send({"type": "join", "room": "#a", "ref": ref})
                joined = ann.expect("joined", "the first event of the room is its joined", aside=TALK, ref=ref)
                last = joined.get("last")
                if not isinstance(last, int):
                    raise Failed('Expected: "last" in joined, the number of the last message.')
                numbers = [
                    number_of(ann.expect("message", "while others talk, ann sees it", aside=TALK)) for _ in range(3)
                ]
                in_a_row(ann, numbers, last + 1, "after joined, ann sees all that follows, by its number")
                ann.ask("leave", "left", room="#a")
        finally:
            over.set()


CHECKS = (
    each_room_counts_its_messages_from_one,
    all_see_one_order_when_many_speak_at_once,
    what_was_acknowledged_comes_before_what_is_said_after_it,
    a_newcomer_sees_what_comes_after_its_last_without_a_gap,
)
