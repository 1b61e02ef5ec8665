"""The checks of lab 10. They decide in which order the servers take their steps, and when the log does not answer."""

import itertools
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import stepper

task = stepper.load_task(__file__)
CLOCKS = {"ann": 0, "bob": -10, "cy": 5}  # seconds by which the clock of each server is wrong


class Log:
    """A log whose connections can be broken."""

    def __init__(self):
        self.entries = []
        self.away = False
        self.next = []  # what happens to the next entries: "kept", "lost", "late", "away", "away after it"
        self.late = []

    def append(self, entry):
        if self.away:
            raise task.Away
        how = self.next.pop(0) if self.next else ""
        if how == "away":
            raise task.Away
        if how in ("", "kept", "away after it"):
            self.entries.append(entry)
        if how == "late":
            self.late.append(entry)
        if how in ("kept", "lost", "late"):
            raise task.Unknown
        self.away = how == "away after it"

    def after(self, position):
        if self.away:
            raise task.Away
        return self.entries[position:]

    def arrives(self):
        """The entries that were late come into the log."""
        self.entries += self.late
        self.late.clear()


class Scene:
    """Three servers on one log, and what happened so far, in words."""

    def __init__(self):
        self.log = Log()
        self.steps = []
        self._time = itertools.count(100)
        self.servers = {}
        for name in CLOCKS:
            self.start(name)

    def start(self, name):
        self.servers[name] = task.Server(lambda: next(self._time) + CLOCKS[name], self.log)

    def say(self, where, text, ref=""):
        """Returns the number; or "away" or "unknown"."""
        try:
            number = self.servers[where].say(text, ref or text)
        except task.Away:
            number = "away"
        except task.Unknown:
            number = "unknown"
        told = f"number {number}" if isinstance(number, int) else number
        self.steps.append(f"on {where}'s server somebody says {text!r}: {told}")
        self.same_so_far()
        if isinstance(number, int) and (number, text) not in self.shown(where):
            self.fail(f"say() returned {number}, so {where}'s server has shown {text!r} as number {number}.")
        return number

    def catch_up(self, where):
        self.servers[where].catch_up()
        self.steps.append(f"{where}'s server catches up")
        self.same_so_far()

    def all_catch_up(self):
        for name in self.servers:
            self.catch_up(name)

    def shown(self, name):
        return self.servers[name].shown

    def same_so_far(self):
        """What each server has shown is the beginning of what the one has shown that has shown most."""
        longest = max((self.shown(name) for name in self.servers), key=len)
        for name in self.servers:
            for (number, text), (_, other) in zip(self.shown(name), longest, strict=False):
                if text != other:
                    self.fail(
                        f"Number {number} is {text!r} on one server, and {other!r} on another.\n"
                        f"{name}'s server showed them in another order."
                    )
            numbers = [number for number, _ in self.shown(name)]
            if numbers != list(range(1, len(numbers) + 1)):
                self.fail(f"The numbers on {name}'s server are {numbers}, and not 1, 2, 3, ...")

    def everywhere(self, *texts):
        """Let all catch up; all must have shown these texts, in some order, each once."""
        self.all_catch_up()
        for name in self.servers:
            if sorted(text for _, text in self.shown(name)) != sorted(texts):
                said = ", ".join(map(repr, texts))
                self.fail(f"All servers should show {said}, each once; {name}'s server does not.")

    def fail(self, why):
        rows = [f"  {number} {step}" for number, step in enumerate(self.steps, 1)]
        seen = [f"  {name + ':':5} {', '.join(f'{n} {t}' for n, t in self.shown(name))}" for name in self.servers]
        pytest.fail("\n".join([*rows, "", "What the servers have shown:", *seen, "", why]), pytrace=False)


def test_all_servers_show_the_same_in_the_same_order():
    mine = {"ann": ["say a1", "catch up", "say a2"], "bob": ["say b1", "catch up", "say b2"]}
    for turns in sorted(set(itertools.permutations(["ann"] * 3 + ["bob"] * 3))):
        scene, done = Scene(), {"ann": 0, "bob": 0}
        for name in turns:
            step = mine[name][done[name]]
            done[name] += 1
            if step == "catch up":
                scene.catch_up(name)
            else:
                scene.say(name, step.removeprefix("say "))
        scene.everywhere("a1", "a2", "b1", "b2")


def test_what_was_said_later_has_a_higher_number_whatever_the_clocks_say():
    scene, last = Scene(), 0
    for where in ("ann", "bob", "cy", "bob", "ann", "cy"):
        number = scene.say(where, f"text {last + 1}")
        if number <= last:
            scene.fail(f"It was said after number {last}, and has number {number}.")
        last = number


def test_a_server_that_comes_later_or_was_away_shows_the_same():
    scene = Scene()
    for number in (1, 2, 3):
        scene.say("ann", f"text {number}")
    scene.log.away = True
    scene.steps.append("the log is away")
    if scene.say("bob", "text 4") != "away":
        scene.fail("The log is away, so nothing can be said: say() has to raise Away.")
    if any(text == "text 4" for _, text in scene.shown("bob")):
        scene.fail("'text 4' was not said, and bob's server has shown it. Nobody can take that back.")
    scene.log.away = False
    scene.steps.append("the log is back; cy's server is started anew")
    scene.start("cy")
    scene.say("bob", "text 5")
    scene.everywhere("text 1", "text 2", "text 3", "text 5")


def test_nothing_is_shown_when_the_log_did_not_take_it():
    scene = Scene()
    scene.log.next = ["away"]
    if scene.say("ann", "one") != "away":
        scene.fail("The log was away while 'one' was appended: say() has to raise Away.")
    scene.say("bob", "two")
    scene.everywhere("two")


def test_what_is_said_again_is_said_once():
    for fate, where in itertools.product(["kept", "lost", "late"], ["ann", "bob"]):
        scene = Scene()
        scene.log.next = [fate]
        if scene.say("ann", "one", "ref 1") != "unknown":
            scene.fail("The connection broke while 'one' was appended: say() has to raise Unknown.")
        scene.say("cy", "two", "ref 2")
        number = scene.say(where, "one", "ref 1")
        if fate == "late":
            scene.steps.append("what was appended first comes into the log after all")
            scene.log.arrives()
        scene.say("bob", "three", "ref 3")
        scene.everywhere("one", "two", "three")
        again = scene.say("cy", "one", "ref 1")
        if again != number:
            scene.fail(f"'one' had the number {number}, and said again with its ref it has {again}.")
        scene.everywhere("one", "two", "three")


def test_a_number_that_is_not_known_is_not_told():
    scene = Scene()
    scene.log.next = ["away after it"]
    told = scene.say("ann", "one")
    if told != "unknown":
        scene.fail(
            "'one' is in the log, which is away before it can be read: nobody knows the number. "
            "say() has to raise Unknown."
        )
    scene.log.away = False
    scene.say("bob", "two")
    scene.everywhere("one", "two")


def test_the_same_text_with_another_ref_is_another_text():
    scene = Scene()
    for ref, where in (("ref 1", "ann"), ("ref 2", "ann"), ("ref 3", "bob")):
        scene.say(where, "yes", ref)
    scene.everywhere("yes", "yes", "yes")
