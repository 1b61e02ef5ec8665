"""The check of lab 7: servers are killed while they show a line, and people enter while others speak."""

from __future__ import annotations

import pathlib
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
import stepper

task = stepper.load_task(__file__)

WAIT = 3.0  # seconds for what should happen at once
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def tell(*story: str) -> None:
    """Fail with a story instead of a traceback."""
    pytest.fail("\n".join(story), pytrace=False)


class Disk:
    """A store in memory: what would be in the file after kill -9, and what was only added to it."""

    def __init__(self) -> None:
        self.file: dict[int, str] = {}
        self.added: dict[int, str] = {}
        self.full = False
        self.refusals = 0  # commits that are still to be refused

    def append(self, number: int, text: str) -> None:
        if number in self.file or number in self.added:
            raise sqlite3.IntegrityError(f"number {number} is given twice")
        self.added[number] = text

    def commit(self) -> None:
        if self.added and (self.full or self.refusals):
            self.refusals -= not self.full
            raise sqlite3.OperationalError("database or disk is full")
        self.file |= self.added
        self.added.clear()

    def rollback(self) -> None:
        self.added.clear()

    def after(self, number: int) -> list[tuple[int, str]]:
        return sorted((each, text) for each, text in (self.file | self.added).items() if each > number)

    def last(self) -> int:
        return max(self.file | self.added, default=0)


class Person:
    """A person who gets lines, and what is wrong with these."""

    def __init__(self, name: str, disk: Disk) -> None:
        self.name = name
        self.disk = disk
        self.lines: list[int] = []
        self.texts: list[str] = []
        self.too_soon: list[int] = []
        self.acknowledged: list[int] = []  # what say() returned to others before it was committed
        self.enough = threading.Event()
        self.wanted = 0

    def show(self, number: int, text: str) -> None:
        self.lines.append(number)
        self.texts.append(text)
        if number not in self.disk.file:
            self.too_soon.append(number)
        if len(self.lines) == self.wanted:
            self.enough.set()

    def wait_for(self, count: int) -> None:
        """Wait until ``count`` lines were shown, by any thread."""
        self.wanted = count
        if len(self.lines) < count:
            self.enough.wait(WAIT)

    def problem(self, first: int, last: int) -> str | None:
        """What is wrong, in words, if exactly these numbers should be shown: a hole, a repeat, another order."""
        saw = f"{self.name} was shown {', '.join(map(str, self.lines)) or 'nothing'}"
        twice = [number for number in self.lines if self.lines.count(number) > 1]
        if twice:
            return f"{saw}: {twice[0]} twice."
        missing = [number for number in range(first, last + 1) if number not in self.lines]
        if missing:
            return f"{saw}: {missing[0]} is missing."
        if self.lines != sorted(self.lines):
            return f"{saw}: not in order."
        return None

    def shown_too_soon(self) -> str | None:
        """What was shown before it was in the file, in words."""
        if self.too_soon:
            return f"{self.name} was shown {self.too_soon[0]} before it was committed: a kill -9 now would lose it."
        return None


SERVER = """
import os, sys
sys.path.insert(0, sys.argv[1])
import stepper
task = stepper.load_task(sys.argv[2])
KILL, when = int(sys.argv[4]), sys.argv[5]

def show(number, text):
    os.write(1, f"{number} {text}\\n".encode())
    if number == 3 and when == "shown":
        os.kill(os.getpid(), KILL)

room = task.Room(task.Store(sys.argv[3]))
if when == "shown":
    room.enter(show)
for text in ("one", "two", "three"):
    number = room.say(text)
    if when == "returned":
        os.write(1, f"{number} {text}\\n".encode())
        if number == 3:
            os.kill(os.getpid(), KILL)
import time
time.sleep(10)
"""


def killed(path: pathlib.Path, when: str) -> list[str]:
    """Run a server on a file until it is killed at its third line. Returns what it showed or returned before."""
    here = pathlib.Path(__file__).resolve()
    arguments = [str(here.parent.parent), str(here), str(path), str(int(KILL)), when]
    process = subprocess.run(
        [sys.executable, "-c", SERVER, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    seen = process.stdout.splitlines()
    if len(seen) < 3:
        last = process.stderr.strip().splitlines()[-1:] or ["it was silent"]
        tell(
            "A server, in a process of its own, should say three lines and be killed at the third.",
            f"Only this was {when}: {seen}. {last[0]}",
        )
    return seen


def in_the_file(path: pathlib.Path) -> list[str]:
    store = task.Store(str(path))
    found = [f"{number} {text}" for number, text in store.after(0)]
    store._db.close()
    return found


def side_by_side(head: str, seen: list[str], kept: list[str]) -> list[str]:
    rows = [(head, "in the file after kill -9"), *((line, line if line in kept else "-") for line in seen)]
    return [f"  {left:24}{right}" for left, right in rows]


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "history.db"


def test_lines_are_numbered_and_shown():
    disk = Disk()
    room = task.Room(disk)
    bob = Person("bob", disk)
    room.enter(bob.show)
    numbers = [room.say(text) for text in ("one", "two", "three")]
    bob.wait_for(3)
    if numbers != [1, 2, 3] or bob.problem(1, 3):
        tell(
            "Bob enters. 'one', 'two' and 'three' are said.",
            "",
            f"  say() returned {numbers}",
            f"  bob was shown  {bob.lines}",
            "",
            bob.problem(1, 3) or "",
        )


def test_every_line_that_was_seen_is_there_after_kill_9(path: pathlib.Path):
    seen = killed(path, "shown")
    kept = in_the_file(path)
    lost = [line for line in seen if line not in kept]
    if lost:
        tell(
            "A server is killed with SIGKILL in the moment in which it shows bob the third line.",
            "",
            *side_by_side("bob has seen", seen, kept),
            "",
            f"Bob has seen {lost[0]!r} and will answer it, but nobody will find it: it was shown before it was stored.",
        )


def test_every_line_that_was_acknowledged_is_there_after_kill_9(path: pathlib.Path):
    seen = killed(path, "returned")
    kept = in_the_file(path)
    lost = [line for line in seen if line not in kept]
    if lost:
        tell(
            "A server is killed with SIGKILL as soon as say() has returned for the third time.",
            "",
            *side_by_side("say() has returned", seen, kept),
            "",
            f"say() returned the number of {lost[0]!r}, but the line is not in the file.",
        )


def test_after_kill_9_the_numbers_go_on(path: pathlib.Path):
    killed(path, "shown")
    kept = in_the_file(path)
    store = task.Store(str(path))
    number = task.Room(store).say("four")
    store._db.close()
    if number != len(kept) + 1:
        tell(
            f"After kill -9, {kept} were in the file.",
            f"A new server on this file gave the next line the number {number}, but {len(kept) + 1} comes next.",
        )


def explore(made, problem, *story: str, preemptions: int = 1) -> None:
    """Try every order of two threads' lines of code; tell the story of one that goes wrong."""
    result = stepper.explore(made, problem, preemptions, only=[task])
    if result.fault:
        tell(*story, "", stepper.story(result))


def bob_enters_and_ann_speaks():
    disk = Disk()
    room = task.Room(disk)
    bob = Person("bob", disk)

    def speak():
        room.enter(bob.show)
        number = room.say("one")
        if number not in disk.file:
            bob.acknowledged.append(number)

    return bob, {"ann": speak}


def bob_enters_while_ann_speaks():
    disk = Disk()
    disk.file[1] = "one"
    room = task.Room(disk)
    bob = Person("bob", disk)
    return bob, {"bob": lambda: room.enter(bob.show), "ann": lambda: room.say("two")}


def ann_and_cy_speak():
    disk = Disk()
    room = task.Room(disk)
    bob = Person("bob", disk)
    entered = threading.Event()

    def enter_and_speak():
        room.enter(bob.show)
        stepper.note("bob is in the room")
        entered.set()
        room.say("one")

    def speak():
        entered.wait()
        room.say("two")

    return bob, {"ann": enter_and_speak, "cy": speak}


def ann_and_cy_speak_and_one_is_refused():
    disk = Disk()
    disk.refusals = 1
    room = task.Room(disk)
    bob = Person("bob", disk)
    entered = threading.Event()

    def enter_and_speak():
        room.enter(bob.show)
        stepper.note("bob is in the room")
        entered.set()
        tell_what_comes("one")

    def speak():
        entered.wait()
        tell_what_comes("two")

    def tell_what_comes(text):
        try:
            stepper.note(f"is told {room.say(text)}")
        except sqlite3.OperationalError as error:
            stepper.note(f"is told: {error}")

    return bob, {"ann": enter_and_speak, "cy": speak}


def test_nothing_is_shown_or_acknowledged_before_it_is_committed():
    def problem(bob):
        if bob.acknowledged:
            return "say() returned 1 before it was committed: a kill -9 now would lose it."
        return bob.shown_too_soon()

    explore(bob_enters_and_ann_speaks, problem, "Bob enters, and ann says a line.")


def say_in_time(room: task.Room, text: str) -> tuple[str, Exception | None]:
    """Say a text. Returns the result in words, and the exception if there was one."""
    came: list[int | Exception] = []

    def speak() -> None:
        try:
            came.append(room.say(text))
        except Exception as error:
            came.append(error)

    speaker = threading.Thread(target=speak, name="speaker", daemon=True)
    speaker.start()
    speaker.join(WAIT)
    if not came:
        return f"say({text!r}) does not return", TimeoutError()
    if isinstance(came[0], Exception):
        return f"say({text!r}) raised {came[0]!r}", came[0]
    return f"say({text!r}) returned {came[0]}", None


def test_a_line_that_the_disk_does_not_take_is_shown_to_nobody():
    disk = Disk()
    room = task.Room(disk)
    bob, dan = Person("bob", disk), Person("dan", disk)
    room.enter(bob.show)
    told, error = say_in_time(room, "one")
    story = ["Bob is in the room.", "", f"  {told}"]
    if error:
        tell(*story)
    disk.full = True
    told, error = say_in_time(room, "two")
    story.append(f"  the disk is full; {told}")
    if not isinstance(error, sqlite3.OperationalError):
        tell(
            *story,
            "",
            "'two' is not in the file, and the caller must know: say() must raise the exception of commit().",
        )
    disk.full = False
    if "two" in bob.texts:
        tell(*story, f"  bob was shown {bob.texts}", "", "'two' was refused, but bob was shown it.")
    entering = threading.Thread(target=room.enter, args=(dan.show,), name="dan", daemon=True)
    entering.start()
    entering.join(WAIT)
    story.append(f"  the disk has room again; dan enters and is shown {dan.texts}")
    if entering.is_alive():
        tell(*story, "", "enter() does not return: is a lock still held that say('two') has taken?")
    if dan.texts != ["one"]:
        tell(*story, "", "'two' was refused. It is still added, but it has to be forgotten at once.")
    told, error = say_in_time(room, "three")
    story.append(f"  {told}")
    if isinstance(error, TimeoutError):
        tell(*story, "", "Is a lock still held that say('two') has taken?")
    if error:
        tell(*story, "", "The refused line is still added: it has to be forgotten before the next append().")
    bob.wait_for(2)
    story += [f"  bob was shown {bob.texts}", f"  in the file are {disk.file}", ""]
    if disk.file != {1: "one", 2: "three"}:
        tell(*story, "'two' was refused: it must not get into the file later, and 'three' has the next number, 2.")
    if bob.problem(1, 2):
        tell(*story, bob.problem(1, 2) or "")


def test_a_newcomer_sees_each_line_once_even_if_somebody_speaks():
    explore(
        bob_enters_while_ann_speaks,
        lambda bob: bob.problem(1, 2),
        "'one' was said. Bob enters while ann says 'two'. He has to see 1 and 2, each once.",
    )


def test_a_newcomer_sees_only_committed_lines():
    explore(
        bob_enters_while_ann_speaks,
        Person.shown_too_soon,
        "'one' was said. Bob enters while ann says 'two'. after() also returns lines that are not committed yet.",
        preemptions=2,
    )


def test_somebody_who_comes_back_sees_the_new_lines():
    disk = Disk()
    room = task.Room(disk)
    for text in ("one", "two", "three", "four"):
        room.say(text)
    bob = Person("bob", disk)
    room.enter(bob.show, after=2)
    room.say("five")
    bob.wait_for(3)
    if bob.lines != [3, 4, 5]:
        tell(
            "Four lines were said. Bob has seen 1 and 2, and enters with after=2. Then a fifth line is said.",
            f"He was shown {bob.lines}, but should have been shown [3, 4, 5].",
        )


def test_lines_said_at_once_are_shown_in_the_order_of_their_numbers():
    explore(
        ann_and_cy_speak,
        lambda bob: bob.problem(1, 2),
        "Bob enters. Then ann and cy each say a line at once. He has to see 1, then 2.",
    )


def test_a_refused_line_does_not_harm_another_speaker():
    def problem(bob):
        if len(bob.disk.file) != 1 or bob.texts != list(bob.disk.file.values()) or bob.lines != [1]:
            return (
                f"One of the two was refused, so the other one is number 1. In the file are {bob.disk.file}, "
                f"and bob was shown {bob.texts}."
            )
        return None

    explore(
        ann_and_cy_speak_and_one_is_refused,
        problem,
        "Bob enters. Then ann says 'one' and cy says 'two' at once. The first commit fails: the disk is full.",
    )
