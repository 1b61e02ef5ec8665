"""The checks of lab 6. They run Keeper and Names under a stepper: see the folder stepper beside this one."""

import pathlib
import sys
import threading
import time
from functools import partial

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import stepper

task = stepper.load_task(__file__)


def no_order_goes_wrong(scene, make, check, preemptions=2):
    result = stepper.explore(make, lambda state: check(*state), preemptions, only=[task])
    if result.fault:
        pytest.fail(f"{scene}\n\n{stepper.story(result)}", pytrace=False)


def shown(who, **sessions):
    return "None: nobody" if who is None else next(name for name, session in sessions.items() if session is who)


def started(store):
    keeper = task.Keeper(store)
    keeper.start()
    return keeper


def test_every_accepted_text_is_stored_when_stop_returns():
    def make():
        stored, told, stored_then = [], [], []

        def store(text):
            time.sleep(5)
            stored.append(text)

        keeper = started(store)

        def submit_and_stop():
            told.extend([keeper.submit("1"), keeper.submit("2")])
            keeper.stop()
            stored_then.extend(stored)
            told.append(keeper.submit("3"))

        return (told, stored_then), {"ann": submit_and_stop}

    def check(told, stored_then):
        if told[:2] != [True, True]:
            return f"1 and 2 came before stop(). ann was told {told[:2]}, and should have been told [True, True]."
        if told[2]:
            return f"3 came after stop(). ann was told {told[2]}, and should have been told False."
        if stored_then != ["1", "2"]:
            return f"1 and 2 were accepted. When stop() returned, the stored texts were {stored_then}."
        return None

    scene = "ann submits 1 and 2, and calls stop(). After that she submits 3. The disk takes a while for each."
    no_order_goes_wrong(scene, make, check)


def test_a_text_submitted_during_stop_is_stored_or_refused():
    def make():
        stored, told, stored_then = [], [], []
        keeper = started(stored.append)

        def stop():
            keeper.stop()
            stored_then.extend(stored)

        def submit():
            told.append(keeper.submit("1"))

        return (stored, told, stored_then), {"ann": submit, "bob": stop}

    def check(stored, told, stored_then):
        if told[0] and not stored:
            return "ann was told that 1 is accepted. It is not stored."
        if stored and not told[0]:
            return "ann was told that 1 is not accepted. It is stored."
        if stored and not stored_then:
            return "ann was told that 1 is accepted. But bob's stop() returned before it was stored."
        return None

    no_order_goes_wrong("ann submits 1 while bob calls stop().", make, check)


def test_submit_does_not_wait_for_the_disk():
    def make(count):
        disk, told = threading.Event(), []

        def store(text):
            disk.wait()

        keeper = started(store)

        def submit():
            told.extend(keeper.submit(str(number)) for number in range(1, count + 1))
            disk.set()
            keeper.stop()

        return [told], {"ann": submit}

    def check(count, told):
        return None if told == [True] * count else f"ann was told {told} before anybody had called stop()."

    scene = "The disk stores nothing before ann has submitted {} texts. She must not wait for it."
    for count, preemptions in ((5, 1), (150, 0)):
        no_order_goes_wrong(scene.format(count), partial(make, count), partial(check, count), preemptions)


def test_submit_during_stop_does_not_wait_for_the_disk():
    def make():
        disk = threading.Event()

        def store(text):
            disk.wait()

        keeper = started(store)

        def submit_and_stop():
            keeper.submit("1")
            keeper.stop()

        def submit():
            stepper.note(f"is told {keeper.submit('2')}")
            disk.set()

        return [], {"bob": submit_and_stop, "ann": submit}

    scene = (
        "bob submits 1 and calls stop(). The disk stores nothing before ann has submitted 2, too. She must not wait."
    )
    no_order_goes_wrong(scene, make, lambda: None)


def test_an_empty_text_is_a_text():
    texts = ["", "STOP", "None", "2"]

    def make():
        all_stored, stored = threading.Event(), []

        def store(text):
            stored.append(text)
            if text == "2":
                all_stored.set()

        keeper = started(store)

        def wait_until_2_is_stored():
            all_stored.wait()

        def submit_both():
            for text in texts:
                keeper.submit(text)
            wait_until_2_is_stored()
            keeper.stop()

        return [stored], {"ann": submit_both}

    def check(stored):
        return None if stored == texts else f"{texts} were accepted, and {stored} was stored."

    scene = f"ann submits {texts}. When 2 is stored she calls stop()."
    no_order_goes_wrong(scene, make, check, preemptions=1)


def test_the_thread_sleeps_until_it_has_something_to_do():
    def make():
        keeper = started(lambda text: None)
        never = threading.Event()

        def do_nothing():
            never.wait(3600)
            keeper.stop()

        return [], {"ann": do_nothing}

    scene = "Nobody submits anything for an hour, then ann calls stop(). The keeper has nothing to do until then."
    no_order_goes_wrong(scene, make, lambda: None, preemptions=0)


def test_a_text_is_stored_however_long_nobody_has_submitted_any():
    def make():
        stored, told, never = [], [], threading.Event()
        keeper = started(stored.append)

        def submit_late():
            never.wait(24 * 3600)
            told.append(keeper.submit("1"))
            keeper.stop()

        return (stored, told), {"ann": submit_late}

    def check(stored, told):
        if told != [True] or stored != ["1"]:
            return f"ann was told {told[0]}, and {stored} was stored. She should have been told True, and 1 stored."
        return None

    scene = "Nobody submits anything for a day. Then ann submits 1, and calls stop()."
    no_order_goes_wrong(scene, make, check, preemptions=0)


def test_of_two_sessions_that_enter_at_once_one_is_told_of_the_other():
    def make():
        names, told = task.Names(), {}
        sessions = {name: task.Session("sam") for name in ("ann", "bob")}

        def enter(name):
            told[name] = names.enter(sessions[name])
            stepper.note(f"is told {shown(told[name], **sessions)}")

        return (names, told, sessions), {name: partial(enter, name) for name in sessions}

    def check(names, told, sessions):
        for first, second in (("ann", "bob"), ("bob", "ann")):
            ended = told[first] is None and told[second] is sessions[first]
            if ended and names.who("sam") is sessions[second]:
                return None
        who = {name: shown(told[name], **sessions) for name in told}
        return (
            f"The first has to be told None, and the second has to be told of the first, and is sam then. "
            f"But ann was told {who['ann']}, bob was told {who['bob']}, and "
            f"who('sam') is {shown(names.who('sam'), **sessions)}."
        )

    no_order_goes_wrong("Two sessions, of ann and of bob, enter as sam at the same time.", make, check)


def test_an_old_session_does_not_take_the_name_from_a_new_one():
    def make():
        names, old, new = task.Names(), task.Session("sam"), task.Session("sam")
        names.enter(old)
        return (names, old, new), {"old": partial(names.leave, old), "new": partial(names.enter, new)}

    def check(names, old, new):
        if names.who("sam") is not new:
            who = shown(names.who("sam"), old=old)
            return f"The new session has entered, and is sam (both sessions are equal by ==). But who('sam') is {who}."
        return None

    no_order_goes_wrong("A new session enters as sam, while the old session named sam ends.", make, check)


def test_a_name_is_free_when_its_session_has_left():
    def make():
        names, sam, tom = task.Names(), task.Session("sam"), task.Session("tom")
        names.enter(sam)
        names.enter(tom)
        return (names, sam, tom), {"sam": partial(names.leave, sam)}

    def check(names, sam, tom):
        who = [shown(names.who(name), sam=sam, tom=tom) for name in ("sam", "tom")]
        if who != ["None: nobody", "tom"]:
            return f"sam has left, tom has not. But who('sam') is {who[0]}, and who('tom') is {who[1]}."
        return None

    no_order_goes_wrong("sam and tom are here, and sam leaves.", make, check)


def test_the_name_is_free_when_both_sessions_have_left_in_any_order():
    def make():
        names, old, new = task.Names(), task.Session("sam"), task.Session("sam")
        names.enter(old)
        names.enter(new)
        return (names, old, new), {"old": partial(names.leave, old), "new": partial(names.leave, new)}

    def check(names, old, new):
        who = names.who("sam")
        return None if who is None else f"Both have left. But who('sam') is {shown(who, old=old, new=new)}."

    no_order_goes_wrong("A new session has entered as sam. Now the old and the new session end.", make, check)
