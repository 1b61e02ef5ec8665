"""Try the orders of the threads, those with the fewest preemptions first, until one goes wrong."""

from __future__ import annotations

import linecache
import os
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from . import standins, stories, turns

ORDERS = 1500  # tried at most, with the interpreter lock, and as many without it
MODES = ("gil", "free")  # the first word of a schedule


@dataclass(frozen=True)
class Step:
    """A row of the story."""

    thread: int  # its index in ``Result.threads``
    kind: str  # "line"; "goes on": others had the turn, and it goes on within its line; or what follows a line: "note",
    # "value": a shared value that it has changed, "stopped": it could have gone on here, but lost the turn
    line: int  # of the code, or 0
    text: str  # the line of code, or the note


@dataclass
class Result:
    """What ``explore`` found. ``fault`` says what went wrong; None: nothing did."""

    fault: str | None
    orders: int  # that were tried, including the one with the fault
    seconds: float  # that the search took
    complete: bool = True  # False: there are more than ORDERS orders, and only some of the last were tried
    threads: list[str] = field(default_factory=list)  # names
    steps: list[Step] = field(default_factory=list)
    free: bool = False  # the fault needs a Python without the interpreter lock
    schedule: str = ""  # the order that was run, for ``explore``: the same on every Python
    values: dict[str, str] = field(default_factory=dict)  # the shared values before the threads used them, in words


def explore(make, check=lambda state: None, preemptions=2, only=(), free=None, schedule=None) -> Result:
    """Try the orders until the first fault. See ``stepper``.

    ``only``: the modules in which threads take turns. Everything else runs without a stop.
    ``free``: without the interpreter lock, or with it. None: first with it, then without it.
    ``schedule``: a line ``Result.schedule``, to run only this order; or a function that chooses (see ``Moment``). The
    variable LAB_SCHEDULE does the same. ValueError if the line does not fit the program.
    """
    began = time.perf_counter()
    schedule = schedule or given or os.environ.get("LAB_SCHEDULE")
    for module in only:
        linecache.checkcache(module.__file__)
    search = _Search(make, check, only)
    turns.running = turns.Run(False, None, search.idle)
    with standins.replaced(only, search.idle):
        if schedule:
            result = search.follow(schedule, bool(free))
        else:
            for mode in (False, True) if free is None else (free,):
                result = search.search(preemptions, mode)
                if result.fault:
                    break
    result.seconds = time.perf_counter() - began
    return result


given: str | Callable | None = None  # a schedule for every ``explore`` that has none


@dataclass
class Moment:
    """What a function sees that is given as a schedule. It returns one of the names; the first would go on anyway."""

    names: list[str]  # of the threads that can be next
    early: set[str]  # those of them whose timeout would end early
    threads: list[str]
    steps: list[Step]  # until now
    values: dict[str, str]  # the shared values before the threads used them, in words
    why: str  # where the first would be stopped: "stopped after it calls self.get()"; "": it waits, or has not begun


class _Search:
    def __init__(self, make, check, only):
        self.make, self.check, self.only = make, check, only
        self.idle = []  # carriers
        self.orders = 0

    def search(self, preemptions, free):
        untried = [deque([()]), *(deque() for _ in range(preemptions))]  # by the number of preemptions
        most = self.orders + ORDERS
        for spent, waiting in enumerate(untried):
            if len(waiting) > most - self.orders:  # too many: try some of all kinds, the same ones each time
                random.Random(len(waiting)).shuffle(waiting)
            while waiting and self.orders < most:
                order = waiting.popleft()
                self.orders += 1
                run = turns.Run(free, _along(order), self.idle)
                if fault := run.run(self.make, self.check):
                    return self._told(order, free, fault)
                taken = order + (0,) * (len(run.choices) - len(order))
                for at in range(len(order), len(taken)):  # the same up to here, then another thread
                    for other, price in enumerate(run.choices[at]):
                        if other and spent + price <= preemptions:
                            untried[spent + price].append((*taken[:at], other))
        complete = not any(untried)
        return Result(None, self.orders, 0.0, complete, free=free)

    def _told(self, order, free, fault):
        """The order once more, now with the shared values, which take time."""
        run = turns.Run(free, _along(order), self.idle, stories.Recorder(self.only))
        return self._result(run, run.run(self.make, self.check) or fault)

    def follow(self, schedule, free):
        choose = schedule
        if isinstance(schedule, str):
            free, choose = read(schedule)
        self.orders = 1
        run = turns.Run(free, _asking(choose), self.idle, stories.Recorder(self.only))
        fault = run.run(self.make, self.check)
        if isinstance(choose, _Line) and choose.wrong:
            raise ValueError(choose.wrong)
        return self._result(run, fault)

    def _result(self, run, fault):
        names = [each.name for each in run.threads]
        needed = max((at for at, (_, index) in enumerate(run.picked, 1) if index), default=0)
        schedule = f"{MODES[run.free]} {_line(name for name, _ in run.picked[:needed])}".strip()
        return Result(fault, self.orders, 0.0, True, names, _steps(run), run.free, schedule, run.recorder.first)


def _steps(run):
    return [
        Step(thread.number, kind, place.line if place else 0, stories.source(place) if place else text)
        for thread, kind, place, text in run.rows
    ]


# --- schedules ----------------------------------------------------------------------------------------------


def _along(order):
    """Choose by these indexes, and then always the first."""

    def choose(run, ready, early):
        at = len(run.choices)
        return min(order[at], len(ready) + len(early) - 1) if at < len(order) else 0  # fewer only if runs differ

    return choose


def _asking(function):
    def choose(run, ready, early):
        names = [each.name for each in (*ready, *early)]
        here = names[0] if run.current in ready else ""
        threads, early = [each.name for each in run.threads], {each.name for each in early}
        moment = Moment(names, early, threads, _steps(run), dict(run.recorder.first), here and run.why)
        return names.index(function(moment))

    return choose


def _line(names):
    """The names as ``ann*3, bob, ann*2``."""
    parts: list[list] = []
    for name in names:
        if parts and parts[-1][0] == name:
            parts[-1][1] += 1
        else:
            parts.append([name, 1])
    return ", ".join(f"{name}*{count}" if count > 1 else name for name, count in parts)


def read(schedule):
    """Whether a schedule is without the interpreter lock, and what chooses as it says. ValueError if it is none."""
    mode, _, line = schedule.strip().partition(" ")
    if mode not in MODES:
        raise ValueError(f"A schedule begins with {' or '.join(MODES)}, and not with {mode!r}.")
    return mode == "free", _Line(line)


def misfit(name, names):
    return f"The schedule does not fit this program: {name} cannot be next, only {' or '.join(names)}."


class _Line:
    """Chooses by a line of names; after its end, the first thread."""

    def __init__(self, line):
        self.names = deque()
        self.wrong = ""
        for part in filter(None, line.split(", ")):
            name, star, count = part.rpartition("*")
            self.names.extend([name] * int(count) if star and count.isdigit() else [part])

    def __call__(self, moment):
        name = self.names.popleft() if self.names else moment.names[0]
        if name not in moment.names:
            self.wrong = self.wrong or misfit(name, moment.names)
            return moment.names[0]
        return name
