"""Where a thread may lose the turn. The code under test calls these methods: see rewriting.py.

With the interpreter lock, CPython gives another thread the turn only at certain points: when a function written in
Python begins, when a call has returned, and when a loop begins its next round. (Python 3.10 to 3.13 differ a little:
some of them have no such point after a call of a function written in Python. All points of all of them are points here,
so that a schedule means the same everywhere.) Between these points a thread is alone, so ``self.count += 1`` cannot be
interrupted. That is how these Pythons happen to be built, and no promise.

Without the interpreter lock ("free-threaded"), threads really run at the same time. Then there is a point before each
access to something shared: an attribute, an item, a global variable, each round of a loop over a container, and each
call of something that may change. One access by itself is still a whole: CPython protects its dictionaries and lists.
"""

from __future__ import annotations

import dataclasses
import sys
import types

from . import turns
from .rewriting import NAME

PLAIN = {str, bytes, int, float, bool, type(None), tuple, frozenset, range, types.ModuleType, types.FunctionType}
PLAIN |= {types.BuiltinFunctionType, types.MethodType}  # these do not change, so it does not matter when they are used


class Points:
    """The ``__step__`` of one file. The first argument of each method is the index of the place of its call."""

    def __init__(self, places):
        self.places = places

    def line(self, at):
        """A line begins."""
        if turns.running.current:
            turns.running.current.begun = at
            turns.running.line(self.places[at])

    def begins(self, at):
        """A function begins."""
        if turns.running.current and not turns.running.free:
            turns.running.point(f"stopped at the beginning of {self.places[at].text}()")

    def again(self, at, shown):
        """A while loop looks at its condition, the first time directly after its line has begun."""
        run = turns.running
        if run.current and run.current.begun != at - 1:
            self.round(self.places[at], shown)
        if run.current:
            run.current.begun = at
        return True

    def round(self, place, shown):
        """A loop begins its next round."""
        run = turns.running
        if not run.free:
            run.point("stopped between two rounds of the loop")
        if shown:
            run.line(place)

    def at(self, at, value):
        """Something is about to be done with this value."""
        if turns.running.current:
            place = self.places[at]
            if type(value) not in PLAIN or (place.name and type(value) is types.FunctionType):  # f.count is shared, too
                turns.running.access(place, value)
        return value

    def value(self, at, value):
        """This value is about to be used to change something, or to find it."""
        if turns.running.current:
            turns.running.access(self.places[at])
        return value

    def before(self, at):
        """A global variable is about to be read."""
        self.value(at, None)

    def each(self, at, values, shown=False):
        """A loop goes through these values."""
        return _Each(self, self.places[at], values, shown) if turns.running.current else values

    def block(self, at, manager):
        """A with statement enters and leaves this."""
        return _Block(self.places[at], manager) if turns.running.current else manager

    def call(self, at, function, /, *args, **more):
        """A call."""
        return _call(self.places[at], function, args, more)


class _Each:
    def __init__(self, points, place, values, shown):
        self.points, self.place, self.shown = points, place, shown
        self.changes = type(values) not in PLAIN
        self.values = iter(values)
        self.first = True

    def __iter__(self):
        return self

    def __next__(self):
        run = turns.running
        if run.current:
            if not self.first:
                self.points.round(self.place, self.shown)
            if self.changes:
                run.access(self.place)
        self.first = False
        return next(self.values)


class _Block:
    def __init__(self, place, manager):
        self.place, self.manager = place, manager
        if not hasattr(type(manager), "__enter__"):
            raise TypeError(f"{place.text} is no context manager: with needs an object, such as threading.Lock().")
        if hasattr(manager, "is_used_as"):
            manager.is_used_as(place.text, sys._getframe(2).f_locals.get("self"))

    def __enter__(self):
        return _call(self.place, self.manager.__enter__, (), {})

    def __exit__(self, *error):
        run = turns.running
        if run.over:
            return self.manager.__exit__(*error)
        if run.current:
            run.line(self.place)
        leaves = dataclasses.replace(self.place, does=f"leaves {self.place.text}")
        return _call(leaves, self.manager.__exit__, error, {})


def _is_python(function):
    """Whether it is written in Python, also on a Python without the stepper: its locks and SimpleQueue are not."""
    code = getattr(function, "__code__", None)
    return code is not None and not code.co_filename.endswith("standins.py")


def _call(place, function, args, more):
    run = turns.running
    if not run.current:
        return function(*args, **more)
    if _may_change_something(function, (*args, *more.values())):
        if not run.free and _is_python(function):
            run.point(f"stopped before it {place.does}")
        run.access(place, getattr(function, "__self__", None))
    result = function(*args, **more)
    if not run.free:
        run.point(f"stopped after it {place.does}")
    return result


def _may_change_something(function, args):
    """Whether a call is an access. A function of the file is not: the accesses are in it."""
    if NAME in getattr(function, "__globals__", ()):
        return False
    if isinstance(function, (types.BuiltinFunctionType, type)):
        owner = getattr(function, "__self__", None)
        return any(type(each) not in PLAIN for each in (owner, *args))
    return True
