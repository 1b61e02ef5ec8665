"""Step 7: goodbye."""

from __future__ import annotations

import signal
import time

from stairs.chat import TALK, in_a_row, number_of, said
from stairs.talk import Client, Failed, Stage

WITHIN = 10.0  # seconds for the whole end
SPARE = 2  # threads or descriptors more than before that do not matter
CROWD = 30
WAITING = 450  # texts: more than the system keeps for one who does not read, and fewer than may wait
TEXT = "🧵" * 1900


def _ends_in_order(stage: Stage, how: int) -> None:
    """Send a signal, and expect the exit code 0."""
    stage.note(f"the program gets {signal.Signals(how).name}")
    stage.program.send_signal(how)
    _has_ended(stage)


def _has_ended(stage: Stage) -> None:
    deadline = time.monotonic() + WITHIN
    while stage.program.ended is None:
        if time.monotonic() > deadline:
            raise Failed(f"Expected: the program ends within {WITHIN:g} s.\nIt still runs.")
        time.sleep(0.02)
    if stage.program.ended != 0:
        raise Failed(f"Expected: the program ends with the exit code 0.\nIt has ended with {stage.program.ended}.")


def _is_told(client: Client) -> None:
    codes = [event.get("code") for event in client.expect_end() if event["type"] == "error"]
    if codes != ["shutting_down"]:
        raise Failed(f'Expected: before the end, {client.name} gets one error, with the code "shutting_down".')


def on_sigterm_everybody_is_told_and_the_program_ends(stage: Stage) -> None:
    ann, bob = stage.member("ann", "#a"), stage.member("bob", "#a")
    said(ann, "#a", "hello")
    _ends_in_order(stage, signal.SIGTERM)
    _is_told(ann)
    bob.expect("message", aside=TALK)
    _is_told(bob)


def ctrl_c_ends_it_in_the_same_way(stage: Stage) -> None:
    ann = stage.member("ann", "#a")
    _ends_in_order(stage, signal.SIGINT)
    _is_told(ann)


def what_waits_for_somebody_is_sent_before_the_end(stage: Stage) -> None:
    eve = stage.client("eve", receive_buffer=4096)
    eve.hello(room="#a")
    eve.expect("joined", room="#a")
    ann = stage.member("ann", "#a")
    stage.note(f"ann says {WAITING} long texts, and eve does not read them yet")
    for _ in range(WAITING):
        ann.send({"type": "say", "room": "#a", "text": TEXT, "ref": ann.ref()}, quietly=True)
        ann.expect("ack", quietly=True)
    stage.note("the program gets SIGTERM, and eve begins to read")
    stage.program.send_signal(signal.SIGTERM)
    came = eve.rest()
    numbers = [number_of(event) for event in came if event["type"] == "message"]
    in_a_row(eve, numbers, 1)
    if len(numbers) != WAITING:
        raise Failed(
            f"Expected: eve gets all {WAITING} messages, because they were acknowledged.\n"
            f"The last that she got is {len(numbers)}."
        )
    codes = [event.get("code") for event in came if event["type"] == "error"]
    if codes != ["shutting_down"]:
        raise Failed(f'Expected: after them, eve gets one error, with the code "shutting_down". She got {codes}.')
    _has_ended(stage)


def clients_that_say_or_read_nothing_do_not_hold_up_the_end(stage: Stage) -> None:
    stage.client("mute")
    half = stage.client("half")
    half.send(b'{"type":"hel')
    cy = stage.client("cy", receive_buffer=4096)
    cy.hello(room="#a")
    ann = stage.member("ann", "#a")
    stage.note(f"ann says {WAITING} long texts, and cy does not read them")
    for _ in range(WAITING):
        ann.send({"type": "say", "room": "#a", "text": TEXT, "ref": ann.ref()}, quietly=True)
        ann.expect("ack", quietly=True)
    _ends_in_order(stage, signal.SIGTERM)


def it_can_be_started_again_at_once(stage: Stage) -> None:
    for _ in range(3):
        ann = stage.guest("ann")
        _ends_in_order(stage, signal.SIGTERM)
        _is_told(ann)
        stage.note("the program is started again, on the same port")
        stage.program.start()
    stage.guest("ann").ask("ping", "pong")


def members_that_are_gone_leave_nothing_behind(stage: Stage) -> None:
    stage.member("ann", "#a").quit()
    time.sleep(0.2)
    before = stage.program.usage()
    if before is None:
        return  # the system does not say
    clients = [stage.member(f"c{number}", "#a") for number in range(CROWD)]
    for client in clients:
        client.send({"type": "say", "room": "#a", "text": "hello", "ref": client.ref()}, quietly=True)
    for client in clients:
        client.break_off()
    deadline = time.monotonic() + stage.patience
    while (now := stage.program.usage()) and max(a - b for a, b in zip(now, before, strict=True)) > SPARE:
        if time.monotonic() > deadline:
            raise Failed(
                f"Threads at first: {before[0]}; open files and sockets: {before[1]}.\n"
                f"{CROWD} members of a room came and broke off, and now it has {now[0]} and {now[1]}."
            )
        time.sleep(0.05)
    ann = stage.member("ann", "#a")
    said(ann, "#a", "nobody is here")
    _ends_in_order(stage, signal.SIGTERM)
    _is_told(ann)


CHECKS = (
    on_sigterm_everybody_is_told_and_the_program_ends,
    ctrl_c_ends_it_in_the_same_way,
    what_waits_for_somebody_is_sent_before_the_end,
    clients_that_say_or_read_nothing_do_not_hold_up_the_end,
    it_can_be_started_again_at_once,
    members_that_are_gone_leave_nothing_behind,
)
