"""Step 9: exactly once."""

from __future__ import annotations

import functools
from collections import Counter

from stairs.chat import ANY, ODD, TALK, heard, hello_goes_on, number_of, said
from stairs.step08 import kill, whole
from stairs.talk import Client, Event, Failed, Stage, at_once

KILLS = 3
TEXTS = 250  # of each talker
BETWEEN = 75  # acks between two kills
UNDER_WAY = 5


def _token(client: Client) -> str:
    if not client.token:
        raise Failed('Expected: the welcome has a "token".')
    return client.token


def a_token_takes_the_place_of_an_old_connection(stage: Stage) -> None:
    old = stage.member("ann", "#a")
    token = _token(old)
    new = stage.client("ann")
    welcome = new.ask(
        "hello", "welcome", "the token says who it is, so no name is needed", token=token, since={"#a": 0}
    )
    if welcome.get("name") != "ann" or welcome.get("token") != token:
        raise Failed("Expected: a welcome with the name ann, and with the same token.")
    old.expect_end()
    new.expect("joined", room="#a")
    said(new, "#a", "here again")
    stage.client("bob").refused("name_taken", "ann is here", {"type": "hello", "name": "ann"})
    stage.guest("bob")
    new.quit()
    again = stage.client("ann")
    again.ask("hello", "welcome", "the token is still ann's, though nobody is connected", token=token)


def a_token_is_known_after_kill_9(stage: Stage) -> None:
    token = _token(stage.guest("ann"))
    other = _token(stage.guest("bob"))
    if token == other:
        raise Failed("Expected: each client has a token of its own.")
    kill(stage)
    ann = stage.client("ann")
    if ann.ask("hello", "welcome", token=token).get("name") != "ann":
        raise Failed("Expected: the token is still ann's.")
    cy = stage.client("cy")
    cy.refused("unknown_token", "nobody was given that token", {"type": "hello", "token": "made-up"})
    cy.hello()


def hello_with_since_enters_many_rooms_without_a_gap(stage: Stage) -> None:
    bob = stage.guest("bob")
    for room in ("#a", "#b", "#c"):
        bob.ask("join", "joined", room=room)
        for number in range(1, 6):
            said(bob, room, f"{room} {number}")
    ann = stage.client("ann")
    ref = ann.ref()
    ann.send({"type": "hello", "name": "ann", "since": {"#a": 2, "#b": 5, "#c": 0}, "ref": ref})
    ann.expect("welcome", ref=ref)
    wanted = {("#a", 3), ("#a", 4), ("#a", 5), *(("#c", number) for number in range(1, 6))}
    got: list[tuple[str, int]] = []
    rooms: set[str] = set()
    while len(got) < len(wanted) or len(rooms) < 3:
        event = ann.expect(
            ("message", "joined"), f"{len(wanted)} messages, and joined for three rooms", TALK - {"joined"}
        )
        if event["type"] == "joined":
            rooms.add(str(event.get("room")))
        else:
            got.append((str(event.get("room")), number_of(event)))
    if set(got) != wanted or len(got) != len(wanted) or rooms != {"#a", "#b", "#c"}:
        raise Failed(f"Expected: {sorted(wanted)}, each once, and the three rooms.\nIt got {got} in {rooms}.")
    said(bob, "#b", "live")
    heard(ann, "#b", "bob", "live")


def a_text_that_is_sent_again_is_stored_once(stage: Stage) -> None:
    ann = stage.member("ann", "#a")
    token = _token(ann)
    first = number_of(said(ann, "#a", "once", ref="x"))
    said(ann, "#a", "another", ref="y")
    for how in ("the same connection", "another connection with ann's token", "a program that was killed"):
        if how.startswith("another"):
            ann = stage.client("ann")
            ann.ask("hello", "welcome", token=token, since={"#a": 2})
        if how.startswith("a program"):
            kill(stage)
            ann = stage.client("ann")
            ann.ask("hello", "welcome", token=token, since={"#a": 2})
        stage.note(f"ann sends 'once' again, to {how}")
        ann.send({"type": "say", "room": "#a", "text": "once", "ref": "x"})
        ack = ann.expect("ack", "the ack of the first time, and no message", aside=TALK, ref="x")
        if ack.get("number") != first or ack.get("room") != "#a":
            raise Failed(f"Expected: the number {first} and the room #a, as the first time.")
        ann.ask("ping", "pong", "the ack of the first time, and no message", aside=TALK)
    texts = [what[2] for what in whole(stage, "#a").values()]
    if texts != ["once", "another"]:
        raise Failed(f"Expected: 'once' and 'another' are in the room, each once. There is {texts}.")


def a_ref_belongs_to_a_token(stage: Stage) -> None:
    ann, bob = stage.member("ann", "#a"), stage.member("bob", "#a")
    said(ann, "#a", "by ann", ref="1")
    said(bob, "#a", "by bob", ref="1")
    said(bob, "#a", "by bob", ref="2")
    texts = [what[2] for what in whole(stage, "#a").values()]
    if texts != ["by ann", "by bob", "by bob"]:
        raise Failed(f"Expected: three messages, because their tokens or their refs differ. There is {texts}.")


class _Talker:
    """Says its texts, comes back when the program is killed, and sends again what has had no answer."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.name = name
        self._stage = stage
        self._token = ""
        self._sent = 0
        self._open: dict[str, Event] = {}
        self.acked: dict[str, int] = {}  # numbers by texts

    def run(self, client: Client) -> None:
        """Talk until everything is said, or the connection ends."""
        if not client.push(b"".join(_line(each) for each in self._open.values())):
            return
        while self._open or self._sent < TEXTS:
            while self._sent < TEXTS and len(self._open) < UNDER_WAY:
                self._sent += 1
                text = f"{self.name} {self._sent}"
                request = {"type": "say", "room": "#a", "text": text, "ref": str(self._sent)}
                self._open[str(self._sent)] = request
                if not client.push(_line(request)):
                    return
            try:
                event = client.next()
            except TimeoutError:
                raise Failed(f"Expected: {self.name} gets an ack for {list(self._open)}, sent once or again.") from None
            if event is None:
                return
            if event["type"] == "ack" and (request := self._open.pop(str(event.get("ref")), {})):
                self.acked[request["text"]] = number_of(event)
            elif event["type"] == "error":
                client.got(event)
                raise Failed(f"Expected: {self.name} gets acks.")

    def come(self) -> Client:
        client = self._stage.client(self.name)
        if self._token:
            client.ask("hello", "welcome", token=self._token)
        else:
            client.hello()
            self._token = _token(client)
        client.ask("join", "joined", room="#a")
        return client


def _line(request: Event) -> bytes:
    return f'{{"type":"say","room":"#a","text":"{request["text"]}","ref":"{request["ref"]}"}}\n'.encode()


def whatever_is_killed_when_each_text_is_there_once(stage: Stage) -> None:
    talkers = [_Talker(stage, f"t{number}") for number in (1, 2, 3)]
    for turn in range(KILLS + 1):
        clients = [talker.come() for talker in talkers]
        done = turn == KILLS
        goal = min(TEXTS * len(talkers), sum(len(talker.acked) for talker in talkers) + BETWEEN)

        def enough(goal: int = goal) -> bool:
            return sum(len(talker.acked) for talker in talkers) >= goal

        pairs = zip(talkers, clients, strict=True)
        with at_once(*(functools.partial(talker.run, client) for talker, client in pairs)):
            if not done:
                stage.wait_for(enough, f"{BETWEEN} acks while three talk")
                stage.note("three clients talk; kill -9, and the program is started again")
                stage.program.kill()
        if not done:
            stage.program.start()
    there = whole(stage, "#a")
    counts = Counter(str(what[2]) for what in there.values())
    for talker in talkers:
        for number in range(1, TEXTS + 1):
            text = f"{talker.name} {number}"
            if counts[text] != 1:
                raise Failed(f"Expected: {text!r} is in the room once. It is there {counts[text]} times.")
            if text not in talker.acked:
                raise Failed(f"Expected: {talker.name} gets an ack for {text!r}. Its connection ended before that.")
            if there.get(talker.acked[text], ("", "", ""))[2] != text:
                raise Failed(f"Expected: {text!r} has the number of its ack, {talker.acked[text]}.")
        own = [what[2] for what in there.values() if what[0] == talker.name]
        if own != [f"{talker.name} {number}" for number in range(1, TEXTS + 1)]:
            raise Failed(f"Expected: what {talker.name} said is there in its order. It is {own}.")


def whatever_is_in_a_hello_the_connection_goes_on(stage: Stage) -> None:
    token = _token(stage.guest("ann"))
    hello_goes_on(stage, token=token, since={"#a": 0})
    for odd in ODD:
        ann = stage.client("ann")
        ann.send({"type": "hello", "token": token, "since": {"#a": odd}}, {"type": "ping", "ref": "1"})
        while ann.expect(("pong", "error"), "whatever since is, it is answered", ANY, quietly=True).get("ref") != "1":
            pass
        ann.close()
    stage.member("bob", "#a")


CHECKS = (
    a_token_takes_the_place_of_an_old_connection,
    a_token_is_known_after_kill_9,
    hello_with_since_enters_many_rooms_without_a_gap,
    a_text_that_is_sent_again_is_stored_once,
    a_ref_belongs_to_a_token,
    whatever_is_killed_when_each_text_is_there_once,
    whatever_is_in_a_hello_the_connection_goes_on,
)
