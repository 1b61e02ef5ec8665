"""Step 6: a slow reader harms nobody."""

from __future__ import annotations

import time

from stairs.chat import TALK, in_a_row, number_of
from stairs.talk import Client, Failed, Stage

MESSAGES = 3000  # more than the system and a bounded queue keep for one who does not read
AT_ONCE = 20
TEXT = "x" * 1900
WAITING = 500  # messages that may wait for anybody
PINGS = 100_000
REF = "🧵" * 60
MUCH = 15  # megabytes


def _talk(talker: Client, others: list[Client], count: int, text: str, within: float) -> None:
    """Say so many texts, a few at a time; the others see each of them, by its number."""
    deadline = time.monotonic() + within
    numbers: dict[str, list[int]] = {client.name: [] for client in (talker, *others)}
    for before in range(0, count, AT_ONCE):
        for _ in range(AT_ONCE):
            talker.send({"type": "say", "room": "#a", "text": text, "ref": talker.ref()}, quietly=True)
        acks = 0
        wanted = f"{talker.name} gets its messages and acks, while somebody does not read"
        while acks < AT_ONCE or len(numbers[talker.name]) < before + AT_ONCE:
            event = talker.expect(("message", "ack"), wanted, aside=TALK, quietly=True)
            if event["type"] == "ack":
                acks += 1
            else:
                numbers[talker.name].append(number_of(event))
        for other in others:
            for _ in range(AT_ONCE):
                wanted = f"{other.name} gets what is said, while somebody does not read"
                numbers[other.name].append(number_of(other.expect("message", wanted, aside=TALK, quietly=True)))
        if time.monotonic() > deadline:
            raise Failed(
                f"Expected: {count:,} messages within {within:g} s.\n"
                f"After {len(numbers[talker.name]):,} it had taken so long. Does anybody wait for the one who sleeps?"
            )
    for client in (talker, *others):
        in_a_row(client, numbers[client.name], numbers[client.name][0])


def one_who_does_not_read_keeps_nobody_waiting_and_is_cut_off(stage: Stage) -> None:
    ann, bob = stage.member("ann", "#a"), stage.member("bob", "#a")
    cy = stage.client("cy", receive_buffer=4096)
    cy.hello(room="#a")
    cy.expect("joined")
    stage.note(f"cy does not read. ann says {MESSAGES:,} long texts, {AT_ONCE} at a time, and bob reads them")
    _talk(ann, [bob], MESSAGES, TEXT, within=12 * stage.patience)
    stage.note("cy reads now, to the end of the connection")
    numbers: list[int] = []
    end: list[str] = []
    still_open = False
    try:
        while event := cy.next():
            if event["type"] == "message":
                numbers.append(number_of(event))
            elif event["type"] not in TALK:
                cy.got(event)
                end.append(str(event.get("code", event["type"])))
    except TimeoutError:
        still_open = True
    in_a_row(cy, numbers, 1, "what cy gets before it is cut off has no gap")
    if len(numbers) == MESSAGES:
        raise Failed(f"Expected: cy is cut off.\nAll {MESSAGES:,} messages were kept for cy, and more would have been.")
    if still_open:
        raise Failed("Expected: cy, who has not read for long, is cut off.\nIts connection is still open.")
    if end[:1] != ["too_slow"]:
        raise Failed(
            'Expected: the last thing that cy gets is an error with the code "too_slow", so that cy knows that it has '
            f"missed something.\nAfter message {len(numbers):,} it got: {', '.join(end) or 'nothing'}."
        )


def one_who_pauses_is_not_cut_off(stage: Stage) -> None:
    ann, bob = stage.member("ann", "#a"), stage.client("bob", receive_buffer=4096)
    bob.hello(room="#a")
    bob.expect("joined", room="#a")
    stage.note(f"bob does not read while ann says {WAITING} texts")
    _talk(ann, [], WAITING, "🧵" * 1900, within=12 * stage.patience)
    for number in range(1, WAITING + 1):
        event = bob.expect("message", f"bob gets all {WAITING}, because so many may wait", aside=TALK, quietly=True)
        in_a_row(bob, [number_of(event)], number)
    bob.ask("ping", "pong", "bob is still here")


def one_who_never_reads_its_answers_fills_no_memory(stage: Stage) -> None:
    ann, bob = stage.guest("ann"), stage.client("bob", receive_buffer=4096)
    bob.hello()
    before = stage.program.memory()
    many = b'{"type":"ping","ref":"' + REF.encode() + b'"}\n'
    stage.note(f"bob sends {PINGS:,} pings and reads nothing")
    for turn in range(0, PINGS, 1000):
        if not bob.push(many * 1000):
            break  # the program reads no more from bob, or has cut it off
        if turn % 10_000 == 0:
            ann.ask("ping", "pong", "ann is served meanwhile")
    after = stage.program.memory()
    if before is not None and after is not None and after - before > MUCH:
        raise Failed(
            f"The program's memory has grown from {before} to {after} MB. What waits for one client has to be bounded, "
            "answers, too."
        )
    ann.ask("ping", "pong", "ann is served as before")


CHECKS = (
    one_who_does_not_read_keeps_nobody_waiting_and_is_cut_off,
    one_who_pauses_is_not_cut_off,
    one_who_never_reads_its_answers_fills_no_memory,
)
