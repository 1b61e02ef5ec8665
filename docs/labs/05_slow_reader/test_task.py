"""The check of lab 5: one of three does not read; nobody else may notice, and it may see no hole."""

from __future__ import annotations

import pathlib
import sys
import threading
import tracemalloc

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
import stepper

task = stepper.load_task(__file__)

LIMIT = 5
patience = [3.0]  # seconds to wait for what should happen at once; the last counts, less once it has not


def tell(*story: str) -> None:
    """Fail with a story instead of a traceback."""
    pytest.fail("\n".join(story), pytrace=False)


def numbers(lines: list[str]) -> list[int]:
    """The numbers of what was said; the server's own lines, which begin with "!", are left out."""
    return [int(line.split()[0]) for line in lines if not line.startswith("!")]


def hole(lines: list[str], first: int = 1) -> str | None:
    """What is wrong with a member's lines, in words: one is missing, repeated, or after the last word."""
    end = next((at for at, line in enumerate(lines) if line.startswith("!")), len(lines) - 1)
    if lines[end + 1 :]:
        return f"after the last word comes {lines[end + 1]!r}"
    for number, found in enumerate(numbers(lines), first):
        if found > number:
            return f"{number} is missing" if found == number + 1 else f"{number} to {found - 1} are missing"
        if found < number:
            return f"{found} comes twice, or too late"
    return None


def last_word(lines: list[str]) -> bool:
    """Whether one of the lines gives the reason for the end."""
    return any(line.startswith("!") and line[1:].strip() for line in lines)


class Story:
    """The steps of a check and their results, which are shown if the check fails."""

    def __init__(self) -> None:
        self.room = task.Room(LIMIT)
        self.members = {name: self.room.enter(name) for name in ("ann", "bob", "cy")}
        self.given: dict[str, list[str]] = {name: [] for name in self.members}
        self.steps = [f"A room in which {LIMIT} lines may wait for one member. Ann, bob and cy enter.", ""]
        self.last = 0

    def say(self, count: int, *readers: str) -> None:
        """Say ``count`` lines, each of which these people read at once."""
        first = self.last + 1
        for number in range(first, first + count):
            self._in_time(number, first, readers)
            self.last = number
            for name in readers:
                self.read(name, quietly=True)
        self._was_said(first, readers)

    def _was_said(self, first: int, readers: tuple[str, ...]) -> None:
        if self.last >= first:
            said = f"{first} to {self.last}" if self.last > first else f"{first}"
            who = " and ".join(readers) or "nobody"
            self.steps.append(f"  {said} said; {who} read{'s' * (len(readers) < 2)} at once")

    def _in_time(self, number: int, first: int, readers: tuple[str, ...]) -> None:
        """The publisher's thread says a line. If it does not return in time, show where it is."""
        error: list[Exception] = []

        def publish() -> None:
            try:
                self.room.say(f"line {number}")
            except Exception as raised:
                error.append(raised)

        publisher = threading.Thread(target=publish, name="publisher", daemon=True)
        publisher.start()
        publisher.join(patience[-1])
        if error or publisher.is_alive():
            self._was_said(first, readers)
        if error:
            self.tell(
                f"When {number} is said, say() raises {error[0]!r}.",
                "The exception ends the publisher's thread, and with it the chat.",
            )
        if publisher.is_alive():
            patience.append(0.2)
            frame = sys._current_frames()[publisher.ident or 0]
            while frame.f_back and frame.f_code.co_filename != task.__file__:
                frame = frame.f_back
            self.tell(
                f"When {number} is said, say() does not return. It waits in {pathlib.Path(task.__file__).name}, "
                f"line {frame.f_lineno}.",
                "A publisher that waits for one reader makes all others wait.",
            )

    def read(self, name: str, quietly: bool = False) -> list[str]:
        lines = self.members[name].collect()
        self.given[name] += lines
        if not quietly:
            self.steps.append(f"  {name} reads: {self._short(lines)}")
        return lines

    def _short(self, lines: list[str]) -> str:
        shown = lines if len(lines) <= 8 else [*lines[:3], f"... {len(lines) - 6} more ...", *lines[-3:]]
        return (
            ", ".join(
                repr(line)
                if line[:1] == "!"
                else line.replace(" line ", " ").split()[0]
                if line[:1].isdigit()
                else line
                for line in shown
            )
            or "nothing"
        )

    def tell(self, *what: str) -> None:
        tell(*self.steps, "", *what)


def test_every_member_gets_every_line():
    story = Story()
    story.say(3)
    for name in story.members:
        if story.read(name) != ["1 line 1", "2 line 2", "3 line 3"]:
            story.tell(f"{name} should have got '1 line 1', '2 line 2' and '3 line 3'.")


def test_say_never_waits():
    limit = 2

    def make():
        room = task.Room(limit)
        room.enter("bob")
        waited = []

        def publish():
            for number in range(1, limit + 3):
                began = stepper.idled()
                room.say(f"line {number}")
                waited.append(stepper.idled() - began)

        return waited, {"publisher": publish}

    def check(waited):
        for number, seconds in enumerate(waited, 1):
            if seconds:
                return (
                    f"When {number} was said, say() waited {seconds:g} s for bob, who does not read.\n"
                    "Ann waits as long, and with 1000 slow readers a thousand times as long."
                )
        return None

    result = stepper.explore(make, check, preemptions=0, only=[task])
    if result.fault:
        patience.append(0.2)
        tell(
            f"Bob does not read, and {limit} lines may wait for him. Only waiting takes time in this check.",
            "",
            stepper.story(result),
        )


def test_nobody_notices_a_slow_reader():
    story = Story()
    story.say(LIMIT * 3, "ann", "cy")
    for name in ("ann", "cy"):
        if problem := hole(story.given[name]) or len(numbers(story.given[name])) != story.last:
            what = problem if isinstance(problem, str) else f"{len(story.given[name])} of {story.last} lines came"
            story.tell(f"Bob does not read, and that harms {name}: {what}.")


def test_two_slow_readers_are_no_worse_than_one():
    story = Story()
    story.say(LIMIT * 2, "cy")
    problem = hole(story.given["cy"]) or (None if len(numbers(story.given["cy"])) == story.last else "some never came")
    if problem:
        story.tell(f"Ann and bob do not read, and that harms cy: {problem}.")


def test_the_lines_that_wait_for_a_member_are_bounded():
    story = Story()
    story.say(LIMIT * 40, "ann", "cy")
    lines = story.read("bob")
    if len(numbers(lines)) > LIMIT:
        kept = len(numbers(lines))
        story.tell(
            f"{kept} lines were kept for bob; {LIMIT} may wait, with one last word.",
            f"A member with {LIMIT} waiting lines is disconnected when one more is said."
            if kept == LIMIT + 1
            else "Nobody knows how long bob will not read, so no number of lines is large enough.",
        )
    room = task.Room(LIMIT)
    room.enter("bob")
    tracemalloc.start()
    try:
        for number in range(500):
            room.say(f"{number}" * 2000)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    if held > 200_000:
        tell(
            "Bob does not read, and 500 lines of about 5 kB are said.",
            "",
            f"{held:,} bytes are held for him, though {LIMIT} lines may wait.",
        )


def test_a_member_that_keeps_up_is_not_disconnected():
    story = Story()
    for _ in range(4):
        story.say(LIMIT, "ann", "cy")
        lines = story.read("bob")
        if len(numbers(lines)) != LIMIT or last_word(lines):
            story.tell(f"{LIMIT} lines may wait. Bob read before there were more. He should have got them.")
    if "bob" not in story.room.names():
        story.tell("Bob has kept up, but he is no longer in the room.")


def test_a_member_that_does_not_read_sees_no_hole_and_gets_a_reason():
    for late in (1, LIMIT, LIMIT * 10):
        story = Story()
        story.say(2, "ann", "bob", "cy")
        story.say(LIMIT + late, "ann", "cy")
        story.read("bob")
        story.say(3, "ann", "cy")
        story.read("bob")
        problem = hole(story.given["bob"])
        if problem:
            story.tell(f"Bob should get every line up to the last word, but {problem}. He cannot know that.")
        if not last_word(story.given["bob"]) and "bob" in story.room.names():
            story.tell(f"{LIMIT + late} lines waited for bob where {LIMIT} may: he should have been disconnected.")
        if not last_word(story.given["bob"]):
            story.tell(
                "Bob is no longer in the room, and nothing tells him: the last line that he gets has to be one",
                "that begins with '!' and says why.",
            )


def test_a_disconnected_member_is_gone_and_may_enter_again():
    story = Story()
    story.say(LIMIT + 1, "ann", "cy")
    if sorted(story.room.names()) != ["ann", "cy"]:
        story.tell(
            f"{LIMIT} lines were waiting for bob when one more was said: he should be out of the room by now,",
            f"but names() says {story.room.names()}.",
        )
    story.read("bob")
    story.members["bob"] = story.room.enter("bob")
    story.steps.append("  bob enters again")
    story.say(2, "ann", "cy")
    if numbers(story.read("bob")) != [story.last - 1, story.last]:
        story.tell("Bob entered again, and should have got every line since then.")


@pytest.mark.parametrize("before", [0, 2])
def test_a_member_that_reads_while_it_is_disconnected_sees_no_hole(before):
    limit, words = 2, ["one", "two", "three", "four"]

    def make():
        room = task.Room(limit)
        bob = room.enter("bob")
        given = []
        for word in words[:before]:
            room.say(word)

        def publish():
            for word in words[before:]:
                room.say(word)

        def write():
            given.extend(bob.collect())
            given.extend(bob.collect())

        return (given, bob), {"publisher": publish, "writer": write}

    def check(state):
        given, bob = state
        given.extend(bob.collect())
        problem = hole(given)
        if problem:
            return f"Bob got {given}: {problem}."
        if len(numbers(given)) < 4 and not last_word(given):
            return f"Bob got {given} and no last word, so he does not know that more was said."
        return None

    result = stepper.explore(make, check, only=[task])
    if result.fault:
        tell(
            f"{limit} lines may wait, and {before} do. Bob's writer collects twice while {len(words) - before} "
            "lines are said, and once more at the end.",
            "",
            stepper.story(result),
        )


def test_somebody_may_enter_while_a_line_is_said():
    def make():
        room = task.Room(LIMIT)
        members = [room.enter("ann"), room.enter("bob")]

        def publish():
            room.say("one")
            room.say("two")

        def enter():
            members.append(room.enter("cy"))

        return members, {"publisher": publish, "cy": enter}

    def check(members):
        *others, late = [member.collect() for member in members]
        if others != [["1 one", "2 two"]] * 2:
            return f"Ann and bob were in the room, and got {others}."
        if late not in ([], ["2 two"], ["1 one", "2 two"]):
            return f"Cy entered and got {late}."
        return None

    result = stepper.explore(make, check, only=[task])
    if result.fault:
        tell("Cy enters while two lines are said.", "", stepper.story(result))


def test_a_member_that_enters_again_at_once_is_in_the_room():
    def make():
        room = task.Room(1)
        bobs = [room.enter("bob")]

        def publish():
            for word in ("one", "two", "three"):
                room.say(word)

        def write():
            if last_word(bobs[0].collect()):
                bobs.append(room.enter("bob"))
                stepper.note("bob enters again")

        return (room, bobs), {"publisher": publish, "writer": write}

    def check(state):
        room, bobs = state
        if len(bobs) < 2 or last_word(bobs[1].collect()):  # or was cut off a second time
            return None
        room.say("four")
        if numbers(bobs[1].collect())[-1:] != [4] or room.names() != ["bob"]:
            return f"Bob entered again. The members are {room.names()}, and the next line does not reach him."
        return None

    result = stepper.explore(make, check, only=[task])
    if result.fault:
        tell(
            "1 line may wait for bob, and three are said. When his writer gets the last word, he enters again.",
            "",
            stepper.story(result),
        )
