"""Step 2: many at once."""

from __future__ import annotations

import time

from stairs.talk import Failed, Stage, at_once, encoded

CROWD = 60
SPARE = 2  # threads or descriptors more than before that do not matter


def a_client_that_says_nothing_keeps_nobody_waiting(stage: Stage) -> None:
    stage.client("mute")
    half = stage.client("half")
    half.send(b'{"type":"hel')
    ann = stage.guest("ann")
    stage.guest("bob").ask("ping", "pong")
    ann.ask("ping", "pong")
    half.send(b'lo","name":"half","ref":"1"}\n')
    half.expect("welcome", "the half line is still known when its other half comes", ref="1")


def sixty_clients_are_served_at_the_same_time(stage: Stage) -> None:
    clients = [stage.client(f"c{number}") for number in range(1, CROWD + 1)]
    for client in clients:
        client.hello()
    for turn in range(5):
        for client in clients:
            client.send({"type": "ping", "ref": f"{client.name} {turn}"})
        for client in clients:
            client.expect("pong", f"{client.name} gets the pong for its own ping", ref=f"{client.name} {turn}")


def each_client_has_its_own_half_of_a_line(stage: Stage) -> None:
    clients = [stage.guest(name) for name in ("ann", "bob", "cy")]
    lines = [encoded({"type": "ping", "ref": f"of {client.name}"}) for client in clients]
    for cut in (0, 9, 17):
        for client, line in zip(clients, lines, strict=True):
            client.send(line[cut : {0: 9, 9: 17, 17: None}[cut]])
            time.sleep(0.02)
    for client in clients:
        client.expect("pong", f"{client.name} gets its own pong", ref=f"of {client.name}")


def clients_that_break_off_harm_nobody(stage: Stage) -> None:
    ann = stage.guest("ann")
    for number in range(20):
        other = stage.client(f"x{number}")
        other.send(encoded({"type": "hello", "name": other.name}) * (number % 2), b'{"type":"pi')
        other.break_off()
        ann.ask("ping", "pong", "ann is served as before")
    stage.guest("bob").ask("ping", "pong", "newcomers are served as before")


def a_client_that_sends_without_pause_keeps_nobody_waiting(stage: Stage) -> None:
    ann, loud = stage.guest("ann"), stage.guest("loud")
    until = time.monotonic() + 1
    many = encoded({"type": "ping"}) * 50

    def flood() -> None:
        while time.monotonic() < until:
            loud.send(many, quietly=True)
            for _ in range(50):
                loud.next()

    with at_once(flood):
        while time.monotonic() < until:
            ann.ask("ping", "pong")


def threads_and_sockets_are_gone_when_their_clients_are(stage: Stage) -> None:
    stage.guest("ann").quit()
    time.sleep(0.2)
    before = stage.program.usage()
    if before is None:
        return  # the system does not say
    clients = [stage.guest(f"c{number}") for number in range(CROWD)]
    for number, client in enumerate(clients):
        if number % 2:
            client.quit()
        else:
            client.break_off()
    deadline = time.monotonic() + stage.patience
    while (now := stage.program.usage()) and max(a - b for a, b in zip(now, before, strict=True)) > SPARE:
        if time.monotonic() > deadline:
            raise Failed(
                f"Threads at first: {before[0]}; open files and sockets: {before[1]}.\n"
                f"{CROWD} clients came and went, and now it has {now[0]} and {now[1]}."
            )
        time.sleep(0.05)


CHECKS = (
    a_client_that_says_nothing_keeps_nobody_waiting,
    sixty_clients_are_served_at_the_same_time,
    each_client_has_its_own_half_of_a_line,
    clients_that_break_off_harm_nobody,
    a_client_that_sends_without_pause_keeps_nobody_waiting,
    threads_and_sockets_are_gone_when_their_clients_are,
)
