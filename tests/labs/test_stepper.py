"""The stepper, which lets threads take turns in every order: docs/labs/stepper."""

from __future__ import annotations

import _thread
import pathlib
import queue
import re
import threading
import time

import pytest
from support.waiting import wait_for

# Seconds: on a busy machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

LABS = pathlib.Path(__file__).parents[2] / "docs" / "labs"


@pytest.fixture
def stepper(monkeypatch):
    monkeypatch.syspath_prepend(LABS)
    import stepper

    return stepper


COUNTER = """
import threading

class Counter:
    _lock = threading.Lock()

    def __init__(self):
        self.count = 0

    def locked(self):
        with self._lock:
            self.count += 1

    def calls(self):
        self.count = self.next()

    def next(self):
        return self.count + 1

    def adds(self):
        self.count += 1

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
    result = explore(COUNTER, "calls", "calls", check=two_counted)
    assert (result.orders, result.free) == (3, False)
    assert stepper.story(result) == (
        "How the threads took turns, each row a line of code:\n"
        "\n"
        "step  ann                                         bob\n"
        "   1    15 self.count = self.next()\n"
        "   2    18 return self.count + 1\n"
        "           ── stopped after it calls self.next()\n"
        "   3                                                15 self.count = self.next()\n"
        "   4                                                18 return self.count + 1\n"
        "                                                       self.count = 1\n"
        "                                                       (ends)\n"
        "   5    18 … return self.count + 1\n"
        "           (ends)\n"
        "\n"
        "Schedule: gil ann, bob\n"
        "\n"
        "Two counted, and the count is 1.\n"
    )


def test_without_the_interpreter_lock_a_thread_is_stopped_before_each_access(explore, stepper):
    assert explore(COUNTER, "adds", "adds", check=two_counted, free=False).fault is None
    result = explore(COUNTER, "adds", "adds", check=two_counted)
    assert (result.fault, result.free) == ("Two counted, and the count is 1.", True)
    assert stepper.story(result) == (
        "How the threads took turns, on a Python without the interpreter lock, each row a line of code:\n"
        "\n"
        "step  ann                                        bob\n"
        "   1    21 self.count += 1\n"
        "           ── stopped before it sets self.count\n"
        "   2                                               21 self.count += 1\n"
        "                                                      self.count = 1\n"
        "                                                      (ends)\n"
        "   3    21 … self.count += 1\n"
        "           (ends)\n"
        "\n"
        "Schedule: free ann, bob\n"
        "\n"
        "Two counted, and the count is 1.\n"
    )


@pytest.mark.parametrize(("method", "free"), [("calls", False), ("adds", True)])
def test_a_schedule_tells_the_story_again(explore, stepper, monkeypatch, method, free):
    found = explore(COUNTER, method, method, check=two_counted)
    again = explore(COUNTER, method, method, check=two_counted, schedule=found.schedule)
    assert stepper.story(again) == stepper.story(found)
    assert (again.steps, again.free, again.orders) == (found.steps, free, 1)
    monkeypatch.setenv("LAB_SCHEDULE", "gil")
    assert explore(COUNTER, method, method, check=two_counted).fault is None


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("gil cy", "does not fit this program: cy cannot be next, only ann or bob."),
        ("ann, bob", "A schedule begins with gil or free, and not with 'ann,'."),
    ],
)
def test_a_schedule_that_does_not_fit_is_refused(explore, line, why):
    with pytest.raises(ValueError, match=why):
        explore(COUNTER, "calls", "calls", schedule=line)


def test_a_function_can_choose_who_is_next(explore):
    seen = []

    def bob_first(moment):
        seen.append((moment.names, [step.text for step in moment.steps]))
        return "bob" if "bob" in moment.names else moment.names[0]

    result = explore(COUNTER, "calls", "calls", check=two_counted, schedule=bob_first)
    assert result.fault is None
    assert seen[0] == (["ann", "bob"], [])
    assert seen[1] == (["bob", "ann"], ["self.count = self.next()", "return self.count + 1"])
    assert result.schedule == "gil bob"


def test_correct_locking_passes_after_all_orders_were_tried(explore):
    result = explore(COUNTER, "locked", "locked", check=two_counted)
    assert (result.fault, result.complete) == (None, True)


@pytest.mark.parametrize(("preemptions", "orders"), [(0, 2), (1, 4), (2, 6), (3, 6)])
def test_two_threads_of_two_accesses_have_six_orders(explore, preemptions, orders):
    """There are four accesses, and two of them are ann's: 4! / (2! 2!) = 6."""
    assert explore(COUNTER, "adds", "adds", preemptions=preemptions, free=True).orders == orders


def test_more_orders_than_are_tried_are_said_to_be_more(explore, stepper, monkeypatch):
    monkeypatch.setattr(stepper.search, "ORDERS", 5)
    result = explore(COUNTER, "adds", "adds", free=True)
    assert (result.complete, result.orders) == (False, 5)


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
    assert explore("import time\n" + COUNTER, "sleeper", "adds", check=two_counted).fault


def test_a_thread_that_polls_ends_if_it_lets_others_have_the_turn(explore, stepper):
    assert explore(WAITS, "poll", "set").fault is None
    result = explore(WAITS, "spin", "set")
    assert result.fault == "There was no end after 3000 lines of code: is ann in an endless loop?"
    assert len(stepper.story(result).splitlines()) == stepper.stories.ROWS + len(
        ["title", "", "…", "", "schedule", "", "fault"]
    )


def test_a_daemon_thread_may_be_left_waiting(explore):
    assert explore(WAITS, "serve").fault is None
    assert explore(WAITS, "forever").fault == "No thread can continue: ann waits in get(), line 57: it is empty."


def test_a_wait_that_the_stepper_knows_nothing_of_is_given_up(explore, stepper, monkeypatch):
    monkeypatch.setattr(stepper.turns, "PATIENCE", 0.2)
    monkeypatch.setattr(stepper.turns, "TIDY_UP", 0.2)
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
    text = "import stepper\n" + COUNTER.replace("+= 1", f"+= 1; stepper.note({words!r})")
    story = stepper.story(explore(text, "adds", "adds", check=two_counted))
    assert f"({words})" in " ".join(story.replace("(ends)", "").split())
    assert all(len(row) <= stepper.stories.WIDTH + 10 for row in story.splitlines())


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


SPINS = """
import _thread

class Spins:
    def __init__(self):
        self._lock = _thread.allocate_lock()
        self._other = _thread.allocate_lock()
        self.count = 0

    def waits(self):
        with self._lock:
            self.count += 1

    def spins(self):
        while not self._lock.acquire(blocking=False):
            pass
        self.count += 1
        self._lock.release()

    def both(self):
        self._lock.acquire()
        while not self._other.acquire(blocking=False):
            pass
        self._other.release()
        self._lock.release()

    def other(self):
        with self._other:
            while not self._lock.acquire(blocking=False):
                pass
            self._lock.release()

    def ignores(self):
        got = self._lock.acquire(timeout=0.001)
        self.count += 1
        if got:
            self._lock.release()
"""


def test_any_lock_works_and_a_thread_may_spin_for_it(explore):
    for methods in (["waits", "waits"], ["spins", "spins"], ["waits", "spins"]):
        assert explore(SPINS, *methods, check=two_counted).fault is None


def test_threads_that_spin_for_ever_are_named_with_their_locks(explore):
    assert explore(SPINS, "both", "other").fault == (
        "There was no end after 3000 lines of code: "
        "ann spins for self._other, which bob holds; bob spins for self._lock, which ann holds."
    )


def test_a_timeout_may_end_while_others_can_go_on(explore, stepper):
    result = explore(SPINS, "ignores", "ignores", check=two_counted)
    assert result.fault == "Two counted, and the count is 1."
    assert "(its timeout of 0.001 s ends)" in stepper.story(result)
    assert explore(SPINS, "ignores", "ignores", check=two_counted, preemptions=1).fault is None


def test_a_stop_that_a_thread_has_kept_ends_no_other_thread(explore):
    text = (
        SPINS
        + """
    def keeps(self):
        self._lock.acquire()

    def look(self):
        try:
            self._lock.acquire()
        except BaseException as error:
            Spins.kept = error

    def raises(self):
        raise getattr(Spins, "kept", None) or KeyError
"""
    )

    def look(spins):
        spins.look()

    assert explore(text, "keeps", check=look).fault.startswith("When all threads had ended, a lock was still held")
    assert explore(text, "raises").fault == "ann died of KeyError."


def test_an_attribute_of_a_function_is_shared(explore):
    text = (
        COUNTER.replace("self.count = 0", "self.count = state.count = 0")
        + """
    def keeps(self):
        state.count += 1
        self.count = state.count

def state():
    pass
"""
    )
    assert explore(text, "keeps", "keeps", check=two_counted).fault == "Two counted, and the count is 1."


SYNTAX = '''
from __future__ import annotations
import queue
import threading
from dataclasses import dataclass, field

TOTAL = 0

@dataclass
class Syntax:
    items: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    __hidden = 1

    def all(self) -> int:
        """Everything that Python has, more or less."""
        global TOTAL
        with self.lock, self.another() as other:
            self.items += [each * 2 for each in range(3) if each or not each]
        first, *rest = self.items
        self.pair = first, rest = rest[0], rest[1:]
        total: int = sum(each for each in self.items)
        TOTAL = total + TOTAL
        while (item := self.items.pop()) if self.items else None:
            if item == 2: continue
            elif item in self.items: break
        else:
            del self.items[:]
        match self.pair:
            case (int(a), [b]) if a and not b: TOTAL -= a
            case [_, [queue.Empty]] | _: pass
        try:
            raise KeyError(f"{self.__hidden:>{3}} {super().__init__ is None}")
        except (KeyError, IndexError) as error:
            assert error.args
        finally:
            self.items[0:1] = [lambda: TOTAL]
        self.items[len(self.items) - 1] = list(self.numbers(a=1, **{"b": 2}))
        return {key: value for key, value in zip("ab", self.items)}, {*self.items[0]}, locals()

    @staticmethod
    def numbers(a, *, b):
        def inner():
            nonlocal a
            a += 1
            yield a
        yield from inner()
        yield a + b

    @classmethod
    def another(cls):
        return Syntax().lock
'''


def test_the_code_under_test_does_what_it_did_before(explore):
    got = []
    for free in (False, True):
        text = SYNTAX.replace("return {", "self.got = {")
        result = explore(text, "all", check=lambda syntax: got.append((syntax.got[:2], syntax.pair)), free=free)
        assert result.fault is None
    namespace = {}
    exec(compile(text, "plain", "exec"), namespace)
    plain = namespace["Syntax"]()
    plain.all()
    assert got == [(plain.got[:2], plain.pair)] * 2
