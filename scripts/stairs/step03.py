"""Step 3: hello and names."""

from __future__ import annotations

import time

from stairs.chat import hello_goes_on
from stairs.talk import Client, Failed, Stage

ROUNDS = 30
RIVALS = 8
TRIES = 10


def hello_comes_first_and_only_once(stage: Stage) -> None:
    ann = stage.client("ann")
    ann.refused("bad_request", "before hello, a ping is refused", {"type": "ping"})
    ann.hello()
    ann.refused("bad_request", "a second hello is refused", {"type": "hello", "name": "bea"})
    ann.ask("ping", "pong", "the connection goes on")
    stage.client("bob").quit()  # that is right before hello, too


def a_name_has_a_form(stage: Stage) -> None:
    for wrong in ("", "a b", "1st", "_ann", "x" * 21, "ann\n", "ann!", "a#b"):
        ann = stage.client("ann")
        ann.refused("bad_name", f"{wrong!r} is no name", {"type": "hello", "name": wrong})
        ann.hello()
        ann.quit()
    for odd in (5, None, ["ann"]):
        ann = stage.client("ann")
        ann.refused("bad_request", f"{odd!r} is no string", {"type": "hello", "name": odd})
        ann.hello()
        ann.quit()
    for right in ("a", "Bob-2", "x" * 20, "a.b_c"):
        stage.guest(right)


def a_name_that_somebody_has_is_refused_in_capitals_too(stage: Stage) -> None:
    ann, other = stage.guest("ann"), stage.client("bob")
    for name, who in (("ann", "bob"), ("ANN", "cy"), ("Ann", "dan")):
        other = stage.client(who)
        other.refused("name_taken", f"ann is here, so {name} is taken", {"type": "hello", "name": name})
    other.hello()  # dan tries again, with his own name
    ann.ask("ping", "pong", "ann keeps her name and her connection")
    stage.client("ann").refused("name_taken", "ann is still here", {"type": "hello", "name": "ann"})


def of_eight_who_want_a_name_at_the_same_moment_one_gets_it(stage: Stage) -> None:
    for turn in range(ROUNDS):
        name = f"sam{turn}"
        rivals = [stage.client(f"no. {number}") for number in range(1, RIVALS + 1)]
        for rival in rivals:
            rival.send({"type": "hello", "name": name, "ref": "1"}, quietly=True)
        answers = [_answer(rival) for rival in rivals]
        stage.note(f"{RIVALS} clients say hello as {name}, and get: {', '.join(answers)}")
        if answers.count("welcome") != 1 or answers.count("name_taken") != RIVALS - 1:
            raise Failed(f"Expected: one of the {RIVALS} is welcome, and for all others the name is taken.")
        for rival in rivals:
            rival.close()


def _answer(client: Client) -> str:
    while True:
        try:
            event = client.next()
        except TimeoutError:
            return "nothing"
        if event is None:
            return "the end"
        if event.get("ref") == "1" and event["type"] in ("welcome", "error"):
            return str(event.get("code") if event["type"] == "error" else event["type"])


def a_name_is_free_again_when_its_client_is_gone(stage: Stage) -> None:
    first = stage.guest("ann")
    first.quit()
    second = _come_back(stage, "she has quit")
    second.break_off()
    third = _come_back(stage, "her connection broke")
    stage.client("bob").refused("name_taken", "ann is here again", {"type": "hello", "name": "ann"})
    third.quit()


def _come_back(stage: Stage, why: str) -> Client:
    """The name may be free a moment after the connection has ended, so ann may try again."""
    found: list[Client] = []
    tries: list[int] = []

    def is_in() -> bool:
        tries.append(len(stage.story))
        ann = stage.client("ann")
        ann.send({"type": "hello", "name": "ann", "ref": "1"})
        if (answer := _answer(ann)) == "welcome":
            found.append(ann)
        else:
            ann.close()
            stage.story.forget_since(tries[0])
            stage.note(f"ann comes {len(tries)} times and says hello, but her name is not free: {answer}")
        return bool(found)

    stage.wait_for(is_in, f"ann's name is free again, because {why}")
    return found[0]


def a_hello_that_was_refused_takes_no_name(stage: Stage) -> None:
    ann = stage.guest("ann")
    bob = stage.client("bob")
    bob.refused("name_taken", "ann is here", {"type": "hello", "name": "ann"})
    bob.break_off()
    for _ in range(TRIES):  # the program may notice a moment later that bob is gone
        time.sleep(0.02)
        cy = stage.client("cy")
        cy.refused("name_taken", "ann is still here, though bob is gone", {"type": "hello", "name": "Ann"})
        cy.quit()
    ann.quit()
    _come_back(stage, "she has quit, and nobody else ever had it")


def whatever_is_in_a_hello_the_connection_goes_on(stage: Stage) -> None:
    hello_goes_on(stage, name="ann")
    stage.guest("bob")


CHECKS = (
    hello_comes_first_and_only_once,
    a_name_has_a_form,
    a_name_that_somebody_has_is_refused_in_capitals_too,
    of_eight_who_want_a_name_at_the_same_moment_one_gets_it,
    a_name_is_free_again_when_its_client_is_gone,
    a_hello_that_was_refused_takes_no_name,
    whatever_is_in_a_hello_the_connection_goes_on,
)
