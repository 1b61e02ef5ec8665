"""The labs one_writer, name_race, deadlock and goodbye, and the stepper that checks them."""

from __future__ import annotations

import _thread
import importlib.util
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from support.waiting import wait_for

# Seconds: on a busy machine 20 times take a while.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ROOT = pathlib.Path(__file__).parents[2]
LABS = ROOT / "docs" / "labs"
WRONG = ROOT / "tests" / "labs" / "wrong_answers"
MINE = ("02_one_writer", "03_name_race", "04_deadlock", "06_goodbye")
RIGHT = ROOT / "tests" / "labs" / "right_answers"
WRONG_ANSWERS = [f"{lab}/{path.stem}" for lab in MINE for path in sorted((WRONG / lab).glob("*.py"))]
RIGHT_ANSWERS = [f"{lab}/{path.stem}" for lab in MINE for path in sorted((RIGHT / lab).glob("*.py"))]

# The failures of each unsolved task: all of its faults, and nothing else.
AS_HANDED_OUT = {
    "02_one_writer": {
        "test_lines_arrive_whole": "The client got the line 'ann bob 1', which nobody said.",
        "test_say_does_not_wait_for_the_client": "No thread can continue: ann waits in send(), line ",
    },
    "03_name_race": {
        "test_only_one_session_gets_a_name": "Both were told yes, and only one can be sam.",
        "test_rename_takes_the_new_name_and_frees_the_old_one_in_one_step": "it had two names.",
        "test_a_session_that_does_not_get_the_new_name_keeps_the_old_one": "Both were told yes, and only one can be",
        "test_only_one_session_gets_a_name_by_claim_or_by_rename": "Both were told yes, and only one can be sam.",
        "test_a_name_released_twice_is_not_taken_from_its_next_session": "The table says: sam is nobody.",
        "test_a_name_released_during_a_rename_is_not_taken_from_its_next_session": "The table says: sam is nobody",
    },
    "04_deadlock": {
        "test_a_member_can_leave_while_its_queue_is_full": "bob waits for self._lock, which ann holds.",
        "test_nobody_waits_for_a_member_that_does_not_read": "No thread can continue: ann waits in put(), line ",
    },
    "06_goodbye": {
        "test_every_accepted_text_is_stored_when_stop_returns": "the stored texts were ['1'].",
        "test_a_text_submitted_during_stop_is_stored_or_refused": "told that 1 is accepted. It is not stored.",
        "test_an_old_session_does_not_take_the_name_from_a_new_one": "But who('sam') is None: nobody.",
    },
}


@pytest.fixture
def stepper(monkeypatch):
    monkeypatch.syspath_prepend(LABS)
    import stepper

    return stepper


@pytest.fixture
def failures(stepper, monkeypatch):
    """A function that returns the failed checks of a lab for a file, with their messages: all, or one by name."""

    def failures(lab: str, path: pathlib.Path, only: str = "") -> dict[str, str]:
        monkeypatch.setenv("LAB_TASK", str(path))
        spec = importlib.util.spec_from_file_location(f"test_{lab}", LABS / lab / "test_task.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        said = {}
        for name, check in list(vars(module).items()):
            if name == only or (name.startswith("test_") and not only):
                try:
                    check()
                except pytest.fail.Exception as failed:
                    said[name] = str(failed)
        assert module.task.__file__ == str(path)
        return said

    return failures


@pytest.mark.parametrize("lab", MINE)
def test_a_task_as_handed_out_fails_its_checks_for_the_right_reason(lab, failures):
    said = failures(lab, LABS / lab / "task.py")
    assert set(said) == set(AS_HANDED_OUT[lab])
    for check, words in AS_HANDED_OUT[lab].items():
        assert words in said[check].splitlines()[-1]


@pytest.mark.parametrize("lab", MINE)
def test_a_solution_passes_twenty_times_in_a_row(lab, failures):
    assert [failures(lab, LABS / lab / "solution.py") for _ in range(20)] == [{}] * 20


@pytest.mark.parametrize("answer", WRONG_ANSWERS)
def test_a_wrong_answer_is_caught_by_the_check_that_it_names(answer, failures):
    path = WRONG / f"{answer}.py"
    check, words = re.search(r"^Caught by: (test_\w+): (.+)$", path.read_text(), re.M).groups()
    assert words in failures(path.parent.name, path, check)[check].splitlines()[-1]


@pytest.mark.parametrize("lab", MINE)
def test_there_are_ten_wrong_answers_to_a_lab_and_more(lab):
    assert len(list((WRONG / lab).glob("*.py"))) >= 10


@pytest.mark.parametrize("answer", RIGHT_ANSWERS)
def test_another_right_answer_passes(answer, failures):
    path = RIGHT / f"{answer}.py"
    assert failures(path.parent.name, path) == {}


@pytest.mark.parametrize("lab", MINE)
def test_a_lab_copied_out_tells_its_story_with_nothing_but_pytest(lab, tmp_path):
    shutil.copytree(LABS / lab, tmp_path / lab)
    shutil.copy(LABS / "stepper.py", tmp_path)
    done = run("-m", "pytest", "-p", "no:cacheprovider", "test_task.py", cwd=tmp_path / lab)
    assert done.returncode == 1
    assert f"{len(AS_HANDED_OUT[lab])} failed" in done.stdout
    assert "Traceback" not in done.stdout
    for words in AS_HANDED_OUT[lab].values():
        assert words in done.stdout
    for row in ("\nstep  ", "\n   1  "):
        assert row in done.stdout
    shutil.copy(tmp_path / lab / "solution.py", tmp_path / lab / "task.py")
    done = run("-m", "pytest", "-p", "no:cacheprovider", "test_task.py", cwd=tmp_path / lab)
    assert (done.returncode, "failed" in done.stdout) == (0, False)


@pytest.mark.parametrize("lab", MINE)
def test_the_story_in_the_readme_is_what_the_check_tells(lab, failures):
    checks = (LABS / lab / "README.rst").read_text().split("\nCheck it\n--------\n")[1]
    story = re.search(r"::\n\n(.*?)\n\n(?=\S)", checks, re.S)[1]
    assert textwrap.dedent(story) in [said.rstrip() for said in failures(lab, LABS / lab / "task.py").values()]


@pytest.mark.parametrize("lab", MINE)
def test_a_readme_asks_three_questions_which_are_answered_elsewhere(lab):
    readme = (LABS / lab / "README.rst").read_text()
    asked = readme.split("Questions\n---------\n")[1].split("\nIn the server\n")[0]
    answered = (LABS / "answers" / f"{lab}.rst").read_text()
    assert numbered(asked) == numbered(answered) == ["1", "2", "3"]
    assert answered.startswith(f"Lab {int(lab[:2])}: answers\n")


@pytest.mark.parametrize("lab", MINE)
def test_hints_are_numbered_paragraphs(lab):
    hints = (LABS / lab / "hints.rst").read_text()
    assert numbered(hints) == [str(number) for number in range(1, hints.count("\n\n") + 2)]
    assert len(numbered(hints)) >= 3


@pytest.mark.parametrize("lab", MINE)
def test_every_name_of_the_server_in_a_readme_exists(lab):
    section = (LABS / lab / "README.rst").read_text().split("\nIn the server\n")[1]
    code = re.findall(r"``([^`]+)``", section)
    files = [ROOT / name for name in code if name.endswith(".py")]
    sources = "".join(path.read_text() for path in files)
    assert files
    for name in code:
        if not name.endswith(".py"):
            assert all(re.search(rf"\b(class|def|self\.) ?{part}\b", sources) for part in name.split(".")), name


def numbered(text: str) -> list[str]:
    return re.findall(r"^(\d)\. ", text, re.M)


@pytest.mark.parametrize(
    ("lab", "shown", "mended"),
    [
        (
            "02_one_writer",
            r"100 lines were said\. \d+ came, \d\d? of them as they were said\.\n  a line of",
            "100 came, 100 of",
        ),
        ("03_name_race", r"By the stepper: after \d+ orders, \d+ ms:\n\nHow the threads", "no fault"),
        ("04_deadlock", r"ann has not ended\..+\nbob has not ended\.", "ann has ended.\nbob has ended."),
        ("06_goodbye", r"texts accepted: 100, stored: \d\d?\n.+\n.+nobody", "stored: 100"),
    ],
)
def test_the_fault_is_shown_by_running_the_task_and_gone_from_the_solution(lab, shown, mended):
    assert re.search(shown, run("task.py", cwd=LABS / lab).stdout)
    assert mended in run("solution.py", cwd=LABS / lab).stdout


def run(*args: str, cwd: pathlib.Path) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name not in ("LAB_TASK", "PYTEST_ADDOPTS")}
    return subprocess.run(
        [sys.executable, *args], cwd=cwd, env=env, capture_output=True, text=True, timeout=50, check=False
    )


# --- the stepper ------------------------------------------------------------------------------------------

COUNTER = """
import threading

class Counter:
    _lock = threading.Lock()

    def __init__(self):
        self.count = 0

    def race(self):
        before = self.count
        self.count = before + 1

    def locked(self):
        with self._lock:
            before = self.count
            self.count = before + 1

    def sleeper(self):
        time.sleep(1)
        before = self.count
        self.count = before + 1
"""

LOCKS = """
from threading import Lock

class Locks:
    def __init__(self):
        self._left = Lock()
        self._right = Lock()

    def left_first(self):
        with self._left:
            with self._right:
                pass

    def right_first(self):
        with self._right:
            with self._left:
                pass

    def both_left_first(self):
        self.left_first()

    def left_twice(self):
        with self._left:
            self._left.acquire()
"""

WAITS = """
import queue
import threading
import time

class Waits:
    def __init__(self):
        self.changed = threading.Condition()
        self.queue = queue.Queue(1)
        self.event = threading.Event()
        self.items = []
        self.got = []

    def put_two(self):
        for item in (1, 2):
            with self.changed:
                self.items.append(item)
                self.changed.notify()

    def take_if(self):
        with self.changed:
            if not self.items:
                self.changed.wait()
            self.got.append(self.items.pop(0))

    def take_while(self):
        with self.changed:
            while not self.items:
                self.changed.wait()
            self.got.append(self.items.pop(0))

    def fill(self):
        for item in (1, 2, 3):
            self.queue.put(item)

    def empty(self):
        for _ in range(3):
            self.got.append(self.queue.get())

    def two_timeouts(self):
        threading.Timer(3, self.event.set).start()
        self.got = [self.event.wait(2), self.event.wait(2), time.monotonic()]

    def poll(self):
        while not self.got:
            time.sleep(0.1)

    def spin(self):
        while not self.got:
            pass

    def set(self):
        self.got.append(1)

    def forever(self):
        while True:
            self.got.append(self.queue.get())

    def serve(self):
        threading.Thread(target=self.forever, daemon=True).start()
        self.queue.put(1)
"""


@pytest.fixture
def explore(tmp_path, monkeypatch, stepper):
    """A function: explore threads that call these methods of one object of the class in this text."""

    def explore(text: str, *methods: str, check=lambda thing: None, **more):
        path = tmp_path / "theirs.py"
        path.write_text(text)
        monkeypatch.setenv("LAB_TASK", str(path))
        theirs = stepper.load_task(__file__)
        kind = re.search(r"class (\w+)", text)[1]

        def make():
            thing = getattr(theirs, kind)()
            names = ("ann", "bob", "cy")[: len(methods)]
            return thing, {name: getattr(thing, method) for name, method in zip(names, methods, strict=True)}

        return stepper.explore(make, check, only=[theirs], **more)

    return explore


def two_counted(counter) -> str | None:
    return None if counter.count == 2 else f"Two counted, and the count is {counter.count}."


def test_the_stepper_finds_a_race_and_shows_the_turns(explore, stepper):
    result = explore(COUNTER, "race", "race", check=two_counted)
    assert result.orders == 3
    assert stepper.story(result) == (
        "How the threads took turns, each row a line of code:\n"
        "\n"
        "step  ann                           bob\n"
        "   1    11 before = self.count\n"
        "   2                                  11 before = self.count\n"
        "   3                                  12 self.count = before + 1\n"
        "                                         (ends)\n"
        "   4    12 self.count = before + 1\n"
        "           (ends)\n"
        "\n"
        "Two counted, and the count is 1.\n"
    )


def test_correct_locking_passes_after_all_orders_were_tried(explore):
    result = explore(COUNTER, "locked", "locked", check=two_counted)
    assert (result.fault, result.orders, result.complete) == (None, 8, True)


@pytest.mark.parametrize(("preemptions", "orders"), [(0, 2), (1, 4), (2, 6), (3, 6)])
def test_two_threads_of_two_lines_have_six_orders(explore, preemptions, orders):
    """There are four steps, and two of them are ann's: 4! / (2! 2!) = 6."""
    assert explore(COUNTER, "race", "race", preemptions=preemptions).orders == orders


def test_more_orders_than_are_tried_are_said_to_be_more(explore, stepper, monkeypatch):
    monkeypatch.setattr(stepper, "ORDERS", 5)
    assert (explore(COUNTER, "race", "race").complete, explore(COUNTER, "race", "race").orders) == (False, 5)


def test_the_stepper_finds_two_locks_taken_in_two_orders(explore):
    result = explore(LOCKS, "left_first", "right_first")
    assert result.orders == 3
    assert result.fault == (
        "No thread can continue: ann waits for self._right, which bob holds; bob waits for self._left, which ann holds."
    )


def test_two_locks_taken_in_one_order_pass(explore):
    assert explore(LOCKS, "left_first", "both_left_first").fault is None


def test_a_thread_that_waits_for_itself_is_found(explore):
    assert (
        explore(LOCKS, "left_twice").fault == "No thread can continue: ann waits for self._left, which it holds itself."
    )


def test_the_same_is_found_in_the_same_way_each_time(explore):
    results = [explore(LOCKS, "left_first", "right_first") for _ in range(20)]
    assert len({(result.fault, result.orders, tuple(result.steps)) for result in results}) == 1


def test_an_if_before_a_wait_where_a_while_belongs_is_found(explore):
    assert explore(WAITS, "take_if", "take_if", "put_two").fault.endswith("died of IndexError: pop from empty list")
    assert explore(WAITS, "take_while", "take_while", "put_two").fault is None


def test_a_full_queue_and_an_empty_one_make_threads_wait(explore):
    result = explore(WAITS, "fill", "empty", check=lambda waits: None if waits.got == [1, 2, 3] else str(waits.got))
    assert (result.fault, result.complete) == (None, True)
    assert explore(WAITS, "fill").fault == "No thread can continue: ann waits in put(), line 34: it is full."


def test_time_passes_only_while_nobody_can_go_on(explore):
    assert explore(WAITS, "two_timeouts", check=lambda waits: str(waits.got)).fault == "[False, True, 3.0]"


def test_a_sleep_keeps_nobody_from_coming_first(explore):
    assert explore("import time\n" + COUNTER, "sleeper", "race", check=two_counted).fault


def test_a_thread_that_polls_ends_if_it_lets_others_have_the_turn(explore, stepper):
    assert explore(WAITS, "poll", "set").fault is None
    result = explore(WAITS, "spin", "set")
    assert result.fault == "There was no end after 3000 lines of code: is ann in an endless loop?"
    assert len(stepper.story(result).splitlines()) == stepper.ROWS + len(["title", "", "…", "", "fault"])


def test_a_daemon_thread_may_be_left_waiting(explore):
    assert explore(WAITS, "serve").fault is None
    assert explore(WAITS, "forever").fault == "No thread can continue: ann waits in get(), line 57: it is empty."


def test_a_wait_that_the_stepper_knows_nothing_of_is_given_up(explore, stepper, monkeypatch):
    monkeypatch.setattr(stepper, "PATIENCE", 0.2)
    monkeypatch.setattr(stepper, "TIDY_UP", 0.2)
    text = "import os\nends = os.pipe()\nclass Pipe:\n    def read(self):\n        os.read(ends[0], 1)\n"
    assert "waits for something that is no lock or queue" in explore(text, "read").fault


def test_afterwards_the_standard_library_is_as_it_was(explore):
    def real():
        return (threading.Lock, threading.RLock, threading.Thread.start, queue.SimpleQueue, time.sleep, time.monotonic)

    before = real()
    threads = _thread._count()
    explore(WAITS, "fill", "empty")
    explore(WAITS, "fill")
    explore(WAITS, "spin")
    assert real() == before
    wait_for(lambda: _thread._count() <= threads, "the stepper's threads have ended")


def test_a_program_that_does_not_end_is_told_apart_from_threads_that_hang(explore):
    text = WAITS.replace("daemon=True", "name='server'")
    assert explore(text, "serve").fault == (
        "ann ended, but the program did not: server waits in get(), line 57: it is empty."
    )


def test_threads_of_one_name_are_numbered(explore):
    text = WAITS.replace("self.queue.put(1)", "threading.Thread(target=self.forever, daemon=True).start()")
    assert explore(text, "serve", check=lambda waits: "it ended").threads == ["ann", "forever", "forever 2"]


def test_a_check_may_have_something_in_the_story_and_what_is_long_is_wrapped(explore, stepper):
    words = " ".join(f"word{number}" for number in range(20))
    text = "import stepper\n" + COUNTER.replace("before + 1", f"before + 1; stepper.note({words!r})")
    story = stepper.story(explore(text, "race", "race", check=two_counted))
    assert f"({words})" in " ".join(story.replace("(ends)", "").split())
    assert all(len(row) <= stepper.WIDTH + 10 for row in story.splitlines())


def test_a_lock_that_is_taken_again_by_its_thread_says_so(explore, stepper):
    text = LOCKS.replace("import Lock", "import RLock as Lock")
    result = explore(text, "left_twice", check=lambda locks: "it ended")
    assert "(has self._left already)" in stepper.story(result)


def test_a_lock_that_is_still_held_at_the_end_is_named(explore):
    text = LOCKS + "\n    def keep(self):\n        self._left.acquire()\n"
    fault = explore(text, "keep", check=lambda locks: locks._left.acquire()).fault
    assert (
        fault == "When all threads had ended, a lock was still held: the check waits for self._left, which ann holds."
    )
