"""The checks of lab 4. They run Room under a stepper: see the folder stepper beside this one."""

import pathlib
import sys
import threading
from functools import partial

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import stepper

task = stepper.load_task(__file__)


def no_order_goes_wrong(scene, make, check):
    def check_also_the_clock(members):
        waited = stepper.idled()
        return f"All threads waited for {waited:g} s." if waited else check(*members)

    result = stepper.explore(make, check_also_the_clock, only=[task])
    if result.fault:
        pytest.fail(f"{scene}\n\n{stepper.story(result)}", pytrace=False)


class Member(task.Member):
    """A member that notes whether cut_off was called."""

    was_cut_off = False

    def cut_off(self, room):
        self.was_cut_off = True
        super().cut_off(room)

    def read(self):
        text = self.queue.get()
        stepper.note(f"reads {text}")
        stepper.point()
        return text


def room_of(**limits):
    """A room and its members, each with the limit of its queue."""
    room = task.Room()
    members = [Member(name, limit) for name, limit in limits.items()]
    for member in members:
        room.join(member)
    return room, members


def say(room, *texts):
    for text in texts:
        room.say(text)


def waiting(member):
    return list(member.queue.queue)


def test_a_member_can_leave_while_its_queue_is_full():
    def make():
        room, (bob,) = room_of(bob=1)
        return [bob], {"ann": partial(say, room, "1", "2"), "bob": partial(room.leave, bob)}

    scene = "ann says two texts. bob, for whom one text may wait, reads none of them and leaves."
    no_order_goes_wrong(scene, make, lambda bob: None)


def test_nobody_waits_for_a_member_that_does_not_read():
    def make():
        room, members = room_of(slow=2, asleep=2, quick=5)
        return members, {"ann": partial(say, room, "1", "2", "3")}

    def check(slow, asleep, quick):
        for member, limit, wanted, cut in (
            (quick, 5, ["1", "2", "3"], False),
            (slow, 2, ["1", "2"], True),
            (asleep, 2, ["1", "2"], True),
        ):
            has = f"{member.name} has room for {limit} texts. It has {waiting(member)}"
            if waiting(member) != wanted:
                return f"{has} and should have {wanted}."
            if member.was_cut_off != cut:
                return f"{has} and was {'' if member.was_cut_off else 'not '}disconnected by cut_off()."
        return None

    scene = (
        "ann says three texts. Five may wait for quick, two for slow and asleep. Nobody reads. Two get disconnected."
    )
    no_order_goes_wrong(scene, make, check)


def test_all_members_get_the_texts_in_one_order():
    def make():
        room, members = room_of(cy=2, dan=2)
        return members, {"ann": partial(say, room, "from ann"), "bob": partial(say, room, "from bob")}

    def check(cy, dan):
        if sorted(waiting(cy)) != ["from ann", "from bob"]:
            return f"ann and bob have said a text each, and cy and dan get {waiting(cy)}."
        if waiting(cy) != waiting(dan):
            return f"cy gets {waiting(cy)}, and dan {waiting(dan)}."
        return None

    no_order_goes_wrong("ann and bob each say a text to cy and dan, who do not read yet.", make, check)


def test_two_speakers_disconnect_all_that_are_slow():
    def make():
        room, members = room_of(dan=1, eve=2, quick=4)
        say(room, "1")
        return members, {"ann": partial(say, room, "from ann"), "bob": partial(say, room, "from bob")}

    def check(dan, eve, quick):
        texts = waiting(quick)
        for member, wanted in ((dan, texts[:1]), (eve, texts[:2]), (quick, texts)):
            has = f"{member.name} has {waiting(member)}"
            if waiting(member) != wanted:
                return f"{has} and should have {wanted}."
            if member.was_cut_off != (member is not quick):
                return f"{has} and was {'' if member.was_cut_off else 'not '}disconnected by cut_off()."
        if len(texts) != 3:
            return f"Three texts were said, and quick has {texts}."
        return None

    scene = (
        "1 was said. One text may wait for dan, two for eve, four for quick, and nobody reads. "
        "ann and bob each say a text."
    )
    no_order_goes_wrong(scene, make, check)


def test_two_speakers_and_one_free_place():
    def make():
        room, members = room_of(dan=1, quick=2)
        return members, {"ann": partial(say, room, "from ann"), "bob": partial(say, room, "from bob")}

    def check(dan, quick):
        if waiting(dan) != waiting(quick)[:1] or len(waiting(quick)) != 2:
            return f"quick has {waiting(quick)}, and dan {waiting(dan)}: he should have the first of them."
        if not dan.was_cut_off:
            return f"dan has {waiting(dan)} and was not disconnected by cut_off()."
        return None

    scene = "One text may wait for dan, who does not read, and two for quick. ann and bob each say a text."
    no_order_goes_wrong(scene, make, check)


def test_a_member_that_has_left_gets_nothing():
    def make():
        room, (bob,) = room_of(bob=2)
        had = []

        def leave():
            room.leave(bob)
            had.extend(waiting(bob))

        return (bob, had), {"ann": partial(say, room, "1"), "bob": leave}

    def check(bob, had):
        if waiting(bob) != had:
            return (
                f"When leave() returned, bob's queue held {had}; later {waiting(bob)}: a text came after he had left."
            )
        return None

    no_order_goes_wrong("ann says a text while bob leaves.", make, check)


def test_a_disconnected_member_sees_no_hole():
    def make():
        room, (bob, cy) = room_of(bob=2, cy=4)
        say(room, "1", "2")
        got = []

        def read_two():
            for _ in range(2):
                got.append(bob.read())

        return (bob, cy, got), {"ann": partial(say, room, "3"), "dan": partial(say, room, "4"), "bob": read_two}

    def check(bob, cy, got):
        got = got + waiting(bob)
        for text, wanted in zip(got, waiting(cy), strict=False):
            if text != wanted:
                return f"cy gets {waiting(cy)}, and bob {got}: he got {text} and not {wanted}, which came before it."
        if len(got) < 4 and not bob.was_cut_off:
            return f"bob gets {got} and was not disconnected."
        return None

    scene = "bob's queue holds 1 and 2 and is full. ann says 3 and dan 4, while bob reads two. cy's queue has room."
    no_order_goes_wrong(scene, make, check)


def test_a_member_that_joins_while_another_is_disconnected_is_a_member():
    def make():
        room, _ = room_of(dan=1)
        cy = Member("cy", 3)
        say(room, "1")
        return (room, cy), {"ann": partial(say, room, "2"), "cy": partial(room.join, cy)}

    def check(room, cy):
        room.say("3")
        return None if waiting(cy)[-1:] == ["3"] else f"cy has joined. After that 3 was said, and cy has {waiting(cy)}."

    scene = "dan's queue holds 1 and is full. ann says 2, while cy joins."
    no_order_goes_wrong(scene, make, check)


def test_a_member_can_join_while_another_is_disconnected():
    def make():
        came = threading.Event()

        class Slow(Member):
            def cut_off(self, room):
                if threading.current_thread().name != "cy":
                    came.wait()
                super().cut_off(room)

        room, bob, cy = task.Room(), Slow("bob", 1), Member("cy", 3)
        room.join(bob)
        room.say("1")

        def come_in():
            room.join(cy)
            room.say("3")
            came.set()

        def read_all():
            while True:
                bob.read()

        threading.Thread(target=read_all, name="bob", daemon=True).start()
        return [], {"ann": partial(say, room, "2"), "cy": come_in}

    scene = "bob's queue holds 1 and is full. ann says 2. cut_off() waits until cy has joined and said 3."
    result = stepper.explore(make, preemptions=1, only=[task])
    if result.fault:
        pytest.fail(f"{scene}\n\n{stepper.story(result)}", pytrace=False)
