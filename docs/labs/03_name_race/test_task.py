"""The checks of lab 3. They run NameTable under a stepper: see the folder stepper beside this one."""

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
    """A table, and the answer that each session got."""

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
        stepper.note(f"is told {self.told[session]}")

    def look(self, name):
        who = self.table.who(name)
        stepper.note(f"{name} is {session(who)}")
        return who

    def says(self, *names):
        """The table, in words."""
        return "The table says: " + ", ".join(f"{name} is {session(self.table.who(name))}" for name in names) + "."


def session(who):
    return f"{who}'s session" if who else "nobody"


def one_was_told_yes(scene, name):
    """Check that one session got yes, and that the table names the same one. Returns what is wrong, or None."""
    told = sorted(scene.told.values())
    if told == ["yes", "yes"]:
        return f"Both were told yes, and only one can be {name}. {scene.says(name)}"
    if told == ["no", "no"]:
        return f"Both were told no, and {name} was free. {scene.says(name)}"
    winner = max(scene.told, key=scene.told.get)
    return None if scene.table.who(name) == winner else f"{winner} was told yes. {scene.says(name)}"


def test_only_one_session_gets_a_name():
    def make():
        scene = Scene()
        return scene, {"ann": partial(scene.claim, "ann", "sam"), "bob": partial(scene.claim, "bob", "Sam")}

    scene = "ann's session claims the name sam, and bob's the name Sam, which is the same."
    no_order_goes_wrong(scene, make, lambda scene: one_was_told_yes(scene, "sam"))

    def make_in_capitals():
        scene = Scene(ann="Strauß")
        return scene, {"bob": partial(scene.claim, "bob", "STRAUSS")}

    def check_in_capitals(scene):
        if scene.told["bob"] == "no" and scene.table.who("STRAUSS") == "ann":
            return None
        return f"That is Strauß in capitals. bob was told {scene.told['bob']}. {scene.says('Strauß', 'STRAUSS')}"

    no_order_goes_wrong("ann is Strauß. bob claims the name STRAUSS.", make_in_capitals, check_in_capitals)


def test_rename_takes_the_new_name_and_frees_the_old_one_in_one_step():
    def make():
        scene = Scene(ann="ann")
        seen = []

        def look():
            seen.extend(scene.look(name) for name in ("sam", "ann", "ann", "sam"))

        return seen, {"ann": partial(scene.rename, "ann", "ann", "sam"), "bob": look}

    def check(seen):
        sam, ann, ann_before, sam_after = seen
        if sam and ann:
            return (
                "bob found the name sam with ann's session, and after that the name ann with it, too: it had two names."
            )
        if not ann_before and not sam_after:
            return "bob found nobody by the name ann, and after that nobody by the name sam: ann's session had no name."
        return None

    scene = "ann's session changes its name from ann to sam. bob looks up a name four times."
    no_order_goes_wrong(scene, make, check)


def test_a_session_that_changes_its_name_never_keeps_two_from_others():
    def make():
        scene = Scene(ann="ann")
        told = []

        def claim_both():
            for name in ("sam", "ann"):
                scene.claim("bob", name)
                told.append(scene.told["bob"])

        return told, {"ann": partial(scene.rename, "ann", "ann", "sam"), "bob": claim_both}

    def check(told):
        if told == ["no", "no"]:
            return "bob was told that sam is taken, and after that, that ann is taken: ann's session had both names."
        return None

    scene = "ann's session changes its name from ann to sam. bob claims sam, and then ann."
    no_order_goes_wrong(scene, make, check)


def test_a_session_that_does_not_get_the_new_name_keeps_the_old_one():
    def make():
        scene = Scene(ann="ann", bob="bob")
        return scene, {
            "ann": partial(scene.rename, "ann", "ann", "sam"),
            "bob": partial(scene.rename, "bob", "bob", "sam"),
        }

    def check(scene):
        if wrong := one_was_told_yes(scene, "sam"):
            return wrong
        won, lost = sorted(scene.told, key=scene.told.get, reverse=True)
        if scene.table.who(lost) != lost or scene.table.who(won):
            return f"{won} was told yes, so {lost} is still {lost}, and {won} is free. {scene.says('ann', 'bob')}"
        return None

    no_order_goes_wrong("The sessions of ann and bob both change their name to sam.", make, check)


def test_only_one_session_gets_a_name_by_claim_or_by_rename():
    def make():
        scene = Scene(bob="bob")
        return scene, {"ann": partial(scene.claim, "ann", "sam"), "bob": partial(scene.rename, "bob", "bob", "sam")}

    scene = "ann's session claims the name sam. bob's session changes its name from bob to sam."
    no_order_goes_wrong(scene, make, lambda scene: one_was_told_yes(scene, "sam"))


def test_two_sessions_that_want_each_others_names_are_both_refused():
    def make():
        scene = Scene(ann="ann", bob="bob")
        return scene, {
            "ann": partial(scene.rename, "ann", "ann", "bob"),
            "bob": partial(scene.rename, "bob", "bob", "ann"),
        }

    def check(scene):
        if scene.told == {"ann": "no", "bob": "no"} and all(scene.table.who(name) == name for name in scene.told):
            return None
        return f"Each name was taken the whole time, so both have to be told no. {scene.says('ann', 'bob')}"

    scene = "ann's session changes its name to bob, while bob's changes its name to ann."
    no_order_goes_wrong(scene, make, check)


def test_a_session_may_claim_its_own_name_in_another_case():
    def make():
        scene = Scene(ann="ann")

        def change():
            scene.rename("ann", "ann", "Ann")
            told.append((scene.told["ann"], scene.look("ann")))
            scene.claim("ann", "ANN")
            told.append((scene.told["ann"], scene.look("Ann")))

        told = []
        return told, {"ann": change}

    def check(told):
        yes, who = next((each for each in told if each != ("yes", "ann")), ("yes", "ann"))
        if (yes, who) != ("yes", "ann"):
            return f"That is the name that it has. It was told {yes}, and then ann was {session(who)}."
        return None

    no_order_goes_wrong("ann's session changes its name to Ann, and then claims ANN.", make, check)


def test_a_released_name_is_free():
    def make():
        scene = Scene(ann="sam")

        def leave_and_enter():
            scene.table.release("ann", "Sam")
            scene.look("sam")
            scene.claim("bob", "sam")

        return scene, {"ann": leave_and_enter}

    def check(scene):
        return None if scene.told["bob"] == "yes" else f"bob was told no. {scene.says('sam')}"

    no_order_goes_wrong("ann is sam and disconnects. After that, bob claims sam.", make, check)


def test_a_name_released_twice_is_not_taken_from_its_next_session():
    def make():
        scene = Scene(bob="sam")
        release = partial(scene.table.release, "bob", "sam")
        return scene, {"bob's reader": release, "bob's writer": release, "ann": partial(scene.claim, "ann", "sam")}

    def check(scene):
        if scene.told["ann"] == "yes" and scene.table.who("sam") != "ann":
            return f"ann was told yes. {scene.says('sam')}"
        return None

    scene = "bob is sam and disconnects. Two threads notice it, and both release his name. Then ann claims it."
    no_order_goes_wrong(scene, make, check)


def test_a_name_released_during_a_rename_is_not_taken_from_its_next_session():
    def make():
        scene = Scene(bob="sam")
        return scene, {
            "bob's reader": partial(scene.rename, "bob", "sam", "kim"),
            "bob's writer": partial(scene.table.release, "bob", "sam"),
            "ann": partial(scene.claim, "ann", "sam"),
        }

    def check(scene):
        if scene.told["ann"] == "yes" and scene.table.who("sam") != "ann":
            return f"ann was told yes. {scene.says('sam')}"
        return None if scene.table.who("kim") == "bob" else f"bob is kim now. {scene.says('kim')}"

    scene = "bob's session changes its name from sam to kim. Its writer releases sam, and ann claims sam."
    no_order_goes_wrong(scene, make, check)
