"""The checks of lab 3. They run NameTable under a stepper: see stepper.py in the folder above."""

import pathlib
import sys
from functools import partial

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import stepper

task = stepper.load_task(__file__)


def no_order_goes_wrong(scene, make, check):
    result = stepper.explore(make, check, only=[task])
    if result.fault:
        pytest.fail(f"{scene}\n\n{stepper.story(result)}", pytrace=False)


class Scene:
    """A table, and what each session was told."""

    def __init__(self, **names):
        self.table = task.NameTable()
        self.told = {}
        for session, name in names.items():
            self.table.claim(session, name)

    def claim(self, session, name):
        self._try(session, self.table.claim, session, name)

    def rename(self, session, old, new):
        self._try(session, self.table.rename, session, old, new)

    def _try(self, session, ask, *args):
        try:
            ask(*args)
        except task.NameTaken:
            self.told[session] = "no"
        else:
            self.told[session] = "yes"

    def who(self, *names):
        return [self.table.who(name) for name in names]


def test_a_name_is_given_to_one():
    def make():
        scene = Scene()
        return scene, {"ann": partial(scene.claim, "ann", "sam"), "bob": partial(scene.claim, "bob", "Sam")}

    def check(scene):
        if sorted(scene.told.values()) != ["no", "yes"]:
            return f"Both claimed the name sam. They were told: {scene.told}. The table says: {scene.who('sam')[0]}."
        if scene.told.get(scene.who("sam")[0]) != "yes":
            return f"They were told: {scene.told}. But the table says that sam is {scene.who('sam')[0]}."
        return None

    no_order_goes_wrong("The sessions ann and bob claim the same name, sam.", make, check)


def test_a_new_name_is_taken_and_the_old_one_given_back_in_one_step():
    def make():
        scene = Scene(ann="ann")
        seen = []

        def look():
            seen.append((scene.who("sam", "ann"), scene.who("ann", "sam")))

        return seen, {"ann": partial(scene.rename, "ann", "ann", "sam"), "bob": look}

    def check(seen):
        (sam, ann), (ann_before, sam_after) = seen[0]
        if sam and ann:
            return "bob looked who is sam: ann's session; and then who is ann: still the same. It had two names."
        if not ann_before and not sam_after:
            return "bob looked who is ann: nobody; and then who is sam: nobody. The session had no name."
        return None

    scene = "The session of ann takes the name sam instead. bob looks who is sam, who ann; and who is ann, who sam."
    no_order_goes_wrong(scene, make, check)


def test_who_does_not_get_a_new_name_keeps_the_old_one():
    def make():
        scene = Scene(ann="ann", bob="bob")
        return scene, {
            "ann": partial(scene.rename, "ann", "ann", "sam"),
            "bob": partial(scene.rename, "bob", "bob", "sam"),
        }

    def check(scene):
        names = dict(zip(("sam", "ann", "bob"), scene.who("sam", "ann", "bob"), strict=True))
        if sorted(scene.told.values()) != ["no", "yes"]:
            return f"Both asked for the name sam. They were told: {scene.told}. The table says: {names}."
        won, lost = sorted(scene.told, key=scene.told.get, reverse=True)
        if names != {"sam": won, won: None, lost: lost}:
            return f"They were told: {scene.told}. But the table says: {names}."
        return None

    no_order_goes_wrong("ann and bob, who have these names, both ask for the name sam instead.", make, check)


def test_what_is_given_back_twice_is_not_taken_from_the_next():
    def make():
        scene = Scene(bob="sam")

        def ann():
            scene.claim("ann", "sam")

        release = partial(scene.table.release, "bob", "sam")
        return scene, {"bob's reader": release, "bob's writer": release, "ann": ann}

    def check(scene):
        if scene.told["ann"] == "yes" and scene.who("sam")[0] != "ann":
            return f"ann was given the name sam. But the table says that sam is {scene.who('sam')[0]}."
        return None

    scene = "bob is sam and goes: two threads find that out, and both give his name back. ann claims it meanwhile."
    no_order_goes_wrong(scene, make, check)
