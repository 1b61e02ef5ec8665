"""Run threads one line at a time, in every order that matters, until one goes wrong.

The operating system decides which thread runs, so a race may show itself once in a million runs, on somebody else's
machine. Here the stepper decides: a thread runs only while it has the turn, and before each line the turn may go to
another thread. ``explore`` tries all orders in which a thread that could continue is stopped ("preempted") at most
twice; nearly every race and deadlock needs no more. The sequence of orders is always the same, so a fault that was
found once is found again::

    def make():                                   # called anew for every order
        table, got = task.NameTable(), []
        return got, {"ann": lambda: got.append(table.claim("sam")), "bob": lambda: got.append(table.claim("sam"))}

    def check(got):                               # after all threads have ended: what is wrong, or None
        return "Both were given the name." if got == [True, True] else None

    result = explore(make, check, only=[task])    # a step is a line of the module task
    if result.fault:
        print(story(result))

``make()`` returns a value for ``check``, and the threads: a function without arguments for each name. The functions
and ``make`` itself may start more threads with ``threading.Thread``. It is also a fault if a thread dies of an
exception, if threads wait for each other for ever, or if they do not end. Daemon threads may still wait at the end.

The code under test needs no change. In the standard library, ``Condition``, ``Event``, ``Semaphore`` and
``queue.Queue`` are plain Python on top of ``threading.Lock``. The stepper replaces this lock, and so it decides which
thread waits and which continues. Time stands still: during ``time.sleep`` other threads may or may not have the turn,
and a timeout ends when no other thread can continue. A real socket would really wait, so give the threads a fake one.

A line is one step here, but the interpreter can also switch inside a line: code that passes is well tested, not proved.
"""

from __future__ import annotations

import concurrent.futures.thread
import contextlib
import importlib.util
import linecache
import os
import queue
import sys
import textwrap
import threading
import time
from _thread import allocate_lock, start_new_thread  # the real ones, whatever threading has at the moment
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter

STEPS = 3000  # lines in one run; a longer run counts as an endless loop
ORDERS = 10_000  # tried at most
PATIENCE = 10.0  # seconds for one run; a longer run waits for something that the stepper does not know
TIDY_UP = 1.0  # seconds that a thread has to end when it is no longer needed
WIDTH = 120  # characters in a line of the story
ROWS = 60  # lines of a story; the middle of a longer story is left out
NEVER = float("inf")


@dataclass
class Result:
    """What ``explore`` found. ``fault`` says what went wrong; None: nothing did."""

    fault: str | None
    orders: int  # that were tried, including the one with the fault
    seconds: float  # that the search took

    complete: bool = True  # False: there are more than ORDERS orders, and the rest was not tried
    threads: list[str] = field(default_factory=list)  # names
    steps: list[tuple[int, int, str]] = field(default_factory=list)  # which thread; line, or 0 for a note; text


def explore(make, check=lambda state: None, preemptions=2, only=()) -> Result:
    """Try the orders until the first fault, those with the fewest preemptions first. See above.

    ``only``: the modules whose lines are steps. Everything else runs without a stop.
    """
    began = time.perf_counter()
    files = {module.__file__ for module in only}
    untried = [deque([()]), *(deque() for _ in range(preemptions))]  # by the number of preemptions
    for file in files:
        linecache.checkcache(file)
    orders, idle = 0, []
    with _replaced(_Run(files, (), idle), only):
        for spent, waiting in enumerate(untried):
            while waiting and orders < ORDERS:
                order = waiting.popleft()
                orders += 1
                run = _Run(files, order, idle)
                if fault := run.run(make, check):
                    seconds = time.perf_counter() - began
                    return Result(fault, orders, seconds, True, [each.name for each in run.threads], run.story())
                taken = order + (0,) * (len(run.choices) - len(order))
                for at in range(len(order), len(taken)):  # the same up to here, then another thread
                    threads, price = run.choices[at]
                    if spent + price <= preemptions:
                        untried[spent + price].extend((*taken[:at], other) for other in range(1, threads))
    return Result(None, orders, time.perf_counter() - began, not any(untried))


def story(result: Result) -> str:
    """Show the run that went wrong: a column for each thread, and a row for each step with its line number and text."""
    cells = [(thread, line, f"{line:>4} {text}" if line else f"     ({text})") for thread, line, text in result.steps]
    width = max(len(text) for text in (*result.threads, *(cell for _, _, cell in cells), ""))
    width = min(width, WIDTH // max(1, len(result.threads)))
    rows = ["step  " + "  ".join(f"{name:<{width}}" for name in result.threads).rstrip()]
    number = 0
    for thread, line, cell in cells:
        number += line > 0
        if line:
            fitting = [cell if len(cell) <= width else cell[: width - 1] + "…"]
        else:  # a note is not in the file, so it is shown in full
            fitting = textwrap.wrap(cell, width, subsequent_indent=" " * 6)
        for part in fitting:
            rows.append(f"{number if line else '':>4}  " + " " * ((width + 2) * thread) + part)
    if len(rows) > ROWS:
        rows[ROWS // 2 : -ROWS // 2] = ["   …"]
    return "\n".join(["How the threads took turns, each row a line of code:", "", *rows, "", result.fault, ""])


def note(text: str) -> None:
    """For the functions that ``make`` returns: add a note to the story, in the column of the calling thread."""
    _running.note(text)


def load_task(beside: str):
    """The student's module: task.py beside that file, or the file that the variable LAB_TASK names."""
    path = os.environ.get("LAB_TASK") or os.path.join(os.path.dirname(os.path.abspath(beside)), "task.py")
    spec = importlib.util.spec_from_file_location("task", os.path.abspath(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules["task"] = module
    spec.loader.exec_module(module)
    return module


# --- one run ------------------------------------------------------------------------------------------------


class _Stop(BaseException):
    """Ends a thread that is no longer needed."""


class _Thread:
    """The stepper's notes on one thread."""

    def __init__(self, number, thread):
        self.number = number
        self.thread = thread
        unnamed = thread.name.startswith("Thread-")
        self.name = getattr(thread._target, "__name__", type(thread).__name__) if unnamed else thread.name
        self.turn = allocate_lock()  # released for a moment when this thread gets the turn
        self.turn.acquire()
        self.fresh = True  # it has got the turn, and has not reached a line since then
        self.done = False
        self.error = None  # the exception that ended it
        self.until = None  # a function that says whether its wait is over; None: it does not wait
        self.why = ""  # the same in words
        self.deadline = NEVER  # the time at which its wait ends in any case
        self.asleep = False

    def ready(self, now):
        """Whether it can continue."""
        return not self.done and (self.until is None or self.until() or self.deadline <= now)


class _Carrier:
    """A real thread. It runs one thread under test after another, because starting a real thread takes long."""

    def __init__(self, idle):
        self._idle = idle  # the list to which it adds itself when it has nothing to do
        self._wake = allocate_lock()
        self._wake.acquire()
        start_new_thread(self._run, ())

    def carry(self, work):
        """Do this work; end if it is None."""
        self._work = work
        self._wake.release()

    def _run(self):
        while self._wake.acquire() and self._work:
            self._work()
            self._idle.append(self)


class _Run:
    """One order. Only the thread with the turn uses it, and before and after the threads, the caller of ``run``."""

    def __init__(self, files, order, idle):
        self.files = files
        self.order = order  # for each choice, which thread gets the turn; after these 0: the one that would continue
        self.idle = idle  # carriers
        self.choices = []  # so far: among how many threads, and 1 if any choice but 0 is a preemption
        self.threads = []
        self.named = []  # the threads that make() returned, without those that were started later
        self.steps = []  # as in Result, but with the file of a step instead of its text
        self.current = None  # the thread that has the turn; None: the caller has it
        self.turn = allocate_lock()  # the caller's
        self.turn.acquire()
        self.now = 0.0  # seconds
        self.over = None  # why the run is over; from then on, a thread that gets the turn ends

    def run(self, make, check):
        """Run this order; return what is wrong, or None."""
        global _running
        _running = self
        try:
            state, threads = make()
            for name, work in threads.items():
                thread = threading.Thread(target=work, name=name)
                thread.start()
                self.named.append(thread._noted)
            self._give(self._next())
            if not self.turn.acquire(timeout=PATIENCE):
                self.over = f"{self.current.name} waits for something that is no lock or queue, or never ends a line."
            self.current = None
            return self._fault() or check(state)
        except _Stop:
            return self.over
        finally:
            self.over = self.over or "It is over."
            for thread in self.threads:
                if not thread.done:
                    self._give(thread)
                    self.turn.acquire(timeout=TIDY_UP)

    def _fault(self):
        for thread in self.threads:
            if thread.error:
                said = f": {thread.error}" if str(thread.error) else "."
                return f"{thread.name} died of {type(thread.error).__name__}{said}"
        waiting = [each for each in self.threads if not each.done and not each.thread.daemon]
        if self.over or not waiting:
            return self.over
        why = "; ".join(f"{each.name} {each.why}" for each in waiting)
        if all(each.done for each in self.named):
            return f"{' and '.join(each.name for each in self.named)} ended, but the program did not: {why}."
        return f"No thread can continue: {why}."

    def _live(self, thread):
        thread.turn.acquire()
        if not self.over:
            sys.settrace(self._trace)
            try:
                thread.thread.run()
                self.note("ends")
            except _Stop:
                pass
            except BaseException as error:
                thread.error = error
                self.note(f"dies of {type(error).__name__}")
            sys.settrace(None)
        thread.done = True
        self._give(None if self.over else self._next())

    def _trace(self, frame, event, arg):
        """Called by Python before each line of a thread, and for each call."""
        if event == "call":
            return self._trace if frame.f_code.co_filename in self.files else None
        if event == "line":
            thread = self.current
            if not thread.fresh:
                self.switch()
            thread.fresh = False
            self.steps.append((thread.number, frame.f_lineno, frame.f_code.co_filename))
            if len(self.steps) > STEPS:
                self.over = f"There was no end after {STEPS} lines of code: is {thread.name} in an endless loop?"
                self._give(None)
                thread.turn.acquire()
                raise _Stop
        return self._trace

    def note(self, text):
        """Add a note below the thread's current line."""
        if self.current and not self.over:
            self.steps.append((self.current.number, 0, text))

    def story(self):
        """The steps as in Result."""

        def text(where, line):
            return linecache.getline(where, line).partition("  #")[0].strip() if line else where

        return [(thread, line, text(where, line)) for thread, line, where in self.steps]

    # --- turns ------------------------------------------------------------------------------------------------

    def start(self, thread):
        """A thread begins, and waits for its turn. Returns the notes on it."""
        noted = _Thread(len(self.threads), thread)
        if any(each.name == noted.name for each in self.threads):
            noted.name = f"{noted.name} {noted.number}"
        self.threads.append(noted)
        carrier = self.idle.pop() if self.idle else _Carrier(self.idle)
        carrier.carry(partial(self._live, self.threads[-1]))
        return self.threads[-1]

    def switch(self):
        """The thread that has the turn keeps it or passes it on: a choice."""
        thread = self.current
        chosen = self._next()
        if chosen is not thread:
            self._give(chosen)
            thread.turn.acquire()
        if self.over:
            sys.settrace(None)
            raise _Stop

    def _next(self):
        """The thread that gets the next turn; None if no thread can continue."""
        here = self.current.number + self.current.asleep if self.current else 0
        around = self.threads[here:] + self.threads[:here]
        ready = [thread for thread in around if thread.ready(self.now)]
        if not ready:  # only now does time pass
            soonest = min((each.deadline for each in around if not each.done), default=NEVER)
            if soonest == NEVER:
                return None
            self.now = soonest
            ready = [thread for thread in around if thread.ready(self.now)]
        if len(ready) == 1:
            return ready[0]
        ready.sort(key=attrgetter("asleep"))
        chosen = self.order[len(self.choices)] if len(self.choices) < len(self.order) else 0
        self.choices.append((len(ready), int(self.current is not None and self.current.ready(self.now))))
        return ready[min(chosen, len(ready) - 1)]  # fewer only if the runs of a program differ

    def _give(self, thread):
        self.current = thread
        if thread:
            thread.fresh = True
        (thread or self).turn.release()

    def wait(self, until, why, timeout=None):
        """The thread with the turn waits until ``until()`` is true; False after the timeout."""
        thread = self.current
        if self.over:
            raise _Stop
        if until():
            return True
        if timeout is not None and timeout <= 0:
            return False
        if thread is None:
            self.over = f"When all threads had ended, a lock was still held: the check {why()}."
            raise _Stop
        thread.until, thread.why = until, why()
        thread.deadline = NEVER if timeout is None else self.now + timeout
        self.note(thread.why)
        self.switch()
        thread.until, thread.deadline = None, NEVER
        if not until():
            return False
        if thread.why.startswith("waits in"):  # a lock with a name makes a note itself
            self.note("continues")
        return True

    def sleep(self, seconds):
        """Other threads may have the turn; this one may get it back at any time."""
        thread, wake = self.current, self.now + seconds
        if thread:
            thread.asleep = True
            self.switch()
            thread.asleep = False
        self.now = max(self.now, wake)


_running: _Run


# --- what replaces parts of the standard library during a search  -----------------------------------------------


class _Lock:
    """threading.Lock. A lock that is made in a file under test has a name in the story."""

    def __init__(self):
        frame = sys._getframe(1)
        while frame.f_code.co_filename == __file__ or frame.f_code is threading.Condition.__init__.__code__:
            frame = frame.f_back
        self._name = ""
        if frame.f_code.co_filename in _running.files:
            name, made, _ = linecache.getline(frame.f_code.co_filename, frame.f_lineno).partition(" = ")
            self._name = name.strip() if made else f"the lock that is made in line {frame.f_lineno}"
        self._taken = False
        self._holder = None

    def acquire(self, blocking=True, timeout=-1):
        if not _running.wait(self._free, self._why, 0 if not blocking else None if timeout < 0 else timeout):
            return False
        self._taken, self._holder = True, _running.current
        if self._name:
            _running.note(f"takes {self._name}")
        return True

    def release(self):
        if not self._taken:
            raise RuntimeError("release unlocked lock")
        self._taken = False
        if self._name:
            _running.note(f"releases {self._name}")

    def locked(self):
        return self._taken

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *error):
        self.release()

    def _free(self):
        return not self._taken

    def _at_fork_reinit(self):
        self._taken = False

    def _why(self):
        if self._name and self._holder:
            whose = "it holds itself" if self._holder is _running.current else f"{self._holder.name} holds"
            return f"waits for {self._name}, which {whose}"
        frame, inner, why = sys._getframe(1), "", ""
        while frame.f_code.co_filename not in _running.files:
            if frame.f_code in (threading.Thread.run.__code__, _Run._live.__code__):
                return f"waits in {inner}(){why}"
            if frame.f_code in (queue.Queue.put.__code__, queue.Queue.get.__code__):
                why = ": it is full" if frame.f_code.co_name == "put" else ": it is empty"
            frame, inner = frame.f_back, frame.f_code.co_name
        return f"waits in {inner}(), line {frame.f_lineno}{why}"


class _RLock(threading._PyRLock):
    def __init__(self):
        super().__init__()
        self._block = _Lock()

    def acquire(self, blocking=True, timeout=-1):
        if self._is_owned() and self._block._name:
            _running.note(f"has {self._block._name} already")
        return super().acquire(blocking, timeout)

    __enter__ = acquire


def _start(self):
    self._noted = _running.start(self)


def _join(self, timeout=None):
    _running.wait(lambda: self._noted.done, lambda: f"waits for {self._noted.name} to end", timeout)


def _is_alive(self):
    return hasattr(self, "_noted") and not self._noted.done


@contextlib.contextmanager
def _replaced(run, only):
    """Replace everything that waits or tells the time, and reload those modules, so that they use it."""
    global _running
    _running = run
    this_thread = threading.current_thread()
    new = [
        (threading, {"Lock": _Lock, "_allocate_lock": _Lock, "RLock": _RLock, "_time": lambda: _running.now}),
        (threading, {"current_thread": lambda: _running.current.thread if _running.current else this_thread}),
        (threading.Thread, {"start": _start, "join": _join, "is_alive": _is_alive}),
        (queue, {"SimpleQueue": queue.Queue, "time": lambda: _running.now}),
        (time, {"sleep": lambda seconds: _running.sleep(seconds), "monotonic": lambda: _running.now}),
    ]
    old = [(place, {name: getattr(place, name) for name in names}) for place, names in new]
    modules = [(module, dict(vars(module))) for module in only if module.__spec__]  # not the program itself
    try:
        _set(new)
        for module, _ in modules:
            module.__loader__.exec_module(module)
        yield
    finally:
        _set(old)
        for module, names in modules:
            vars(module).clear()
            vars(module).update(names)
        for carrier in run.idle:
            carrier.carry(None)
        queues = concurrent.futures.thread._threads_queues  # Python wants to end these threads before it ends itself
        for thread in [each for each in queues if hasattr(each, "_noted")]:
            del queues[thread]


def _set(places):
    for place, names in places:
        for name, value in names.items():
            setattr(place, name, value)
