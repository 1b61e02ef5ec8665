"""Run threads one at a time, in every order that matters, until one goes wrong.

The operating system decides which thread runs, so a race may show itself once in a million runs, on somebody else's
machine. Here the stepper decides: a thread runs only while it has the turn, and at certain points the turn may go to
another thread. ``explore`` tries all orders in which a thread that could continue is stopped ("preempted") at most
twice; nearly every race and deadlock needs no more. The sequence of orders is always the same, so a fault that was
found once is found again::

    def make():                                   # called anew for every order
        table, got = task.NameTable(), []
        return got, {"ann": lambda: got.append(table.claim("sam")), "bob": lambda: got.append(table.claim("sam"))}

    def check(got):                               # after all threads have ended: what is wrong, or None
        return "Both were given the name." if got == [True, True] else None

    result = explore(make, check, only=[task])    # threads take turns in the module task
    if result.fault:
        print(story(result))

``make()`` returns a value for ``check``, and the threads: a function without arguments for each name. The functions
and ``make`` itself may start more threads with ``threading.Thread``. It is also a fault if a thread dies of an
exception, if threads wait for each other for ever, or if they do not end. Daemon threads may still wait at the end.

There are two kinds of Python, and ``explore`` tries both. With the interpreter lock, a thread loses the turn only when
a function begins, after a call, and between two rounds of a loop. Without it ("free-threaded"), a thread may
lose it before each access to something shared, even in the middle of a line. See points.py.

``result.schedule`` is the order in one line: who was chosen at each point where several threads could continue. Given
to ``explore``, it tells the same story again, on every Python.

The code under test needs no change: it is loaded anew, with calls between its parts (see rewriting.py), and with other
locks (see standins.py). Time stands still: during ``time.sleep`` other threads may or may not have the turn. A timeout
ends when no other thread can continue, or early, for the price of a preemption. A real socket would really wait, so
give the threads a fake one.

Not every order is tried, so code that passes is well tested, but not proved to be right.
"""

from __future__ import annotations

import importlib.util
import os
import sys

from .search import Moment, Result, Step, explore
from .stories import story
from .turns import STEPS, idled, note, point

__all__ = ["STEPS", "Moment", "Result", "Step", "explore", "idled", "load_task", "note", "point", "story"]


def load_task(beside: str):
    """The student's module: task.py beside that file, or the file that the variable LAB_TASK names."""
    path = os.environ.get("LAB_TASK") or os.path.join(os.path.dirname(os.path.abspath(beside)), "task.py")
    spec = importlib.util.spec_from_file_location("task", os.path.abspath(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules["task"] = module
    spec.loader.exec_module(module)
    return module
