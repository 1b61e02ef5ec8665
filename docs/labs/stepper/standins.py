"""What replaces parts of the standard library during a search, so that the stepper decides who waits and who goes on.

``Condition``, ``Event``, ``Semaphore`` and ``queue.Queue`` are plain Python on top of locks. So it is enough to replace
locks, the beginning and end of threads, and the clock.
"""

from __future__ import annotations

import _thread
import _threading_local
import concurrent.futures.thread
import contextlib
import linecache
import os
import queue
import re
import sys
import threading
import time

from . import turns
from .points import Points
from .rewriting import NAME, rewrite

FOLDER = os.path.dirname(__file__)
LIBRARY = os.path.dirname(threading.__file__)
MADE = re.compile(r"\s*([\w.]+)(?: *:[^=]+)? *= ")  # "self._lock = ", in a line that makes a lock


class Lock:
    """threading.Lock. A lock that is made in a file under test has a name in the story."""

    def __init__(self):
        frame = sys._getframe(1)
        while _is_on_the_way(frame.f_code):
            frame = frame.f_back
        self.name = ""
        self._needs_a_name = False
        if NAME in frame.f_globals:
            made = MADE.match(linecache.getline(frame.f_code.co_filename, frame.f_lineno))
            self.name = made[1] if made else f"the lock that is made in line {frame.f_lineno}"
            self._needs_a_name = not made
        self.taken = False
        self._holder = None

    def acquire(self, blocking=True, timeout=-1):
        run = turns.running
        if not run.wait(self._free, self._why, 0 if not blocking else None if timeout < 0 else timeout):
            if run.current and not blocking:
                run.spin(self, self._holder is run.current)
            return False
        self.taken, self._holder = True, run.current
        if run.current:
            run.current.took(self)
        if self.name:
            run.note(f"takes {self.name}")
        return True

    def release(self):
        if not self.taken:
            raise RuntimeError("release unlocked lock")
        self.taken = False
        if turns.running.current:
            turns.running.current.fresh = False
        if self.name:
            turns.running.note(f"releases {self.name}")

    def locked(self):
        if self.taken and turns.running.current:
            turns.running.spin(self, self._holder is turns.running.current)
        return self.taken

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *error):
        self.release()

    def whose(self, thread):
        """In words, for that thread: "self._lock, which ann holds"."""
        holder = "it holds itself" if self._holder is thread else f"{self._holder and self._holder.name} holds"
        return f"{self.name or 'a lock'}, which {holder}" if self._holder else self.name or "a lock"

    def is_used_as(self, name, owner):
        """The lock is used by a with statement under this name, in a method of this object."""
        if self._needs_a_name:
            self.name, self._needs_a_name = _attribute(owner, self) or name, False

    def _free(self):
        return not self.taken

    def _at_fork_reinit(self):
        self.taken = False

    def _why(self):
        if self.name:
            return f"waits for {self.whose(turns.running.current)}"
        frame, inner, why, found = sys._getframe(1), "", "", False
        while NAME not in frame.f_globals:
            if frame.f_code in (threading.Thread.run.__code__, turns.Run._live.__code__):
                return f"waits in {inner}(){why}"
            if frame.f_code in (queue.Queue.put.__code__, queue.Queue.get.__code__):
                why = ": it is full" if frame.f_code.co_name == "put" else ": it is empty"
            if frame.f_code is queue.Queue.join.__code__:
                why = f": {frame.f_locals['self'].unfinished_tasks} times without task_done()"
            if not found and not frame.f_code.co_filename.startswith(FOLDER):
                inner = frame.f_code.co_name
                found = not frame.f_code.co_filename.startswith(
                    LIBRARY
                )  # a function of the checks, with a telling name
            frame = frame.f_back
        return f"waits in {inner}(), line {frame.f_lineno}{why}"


def _attribute(owner, lock):
    """The name of a lock in an object's attributes, also in a dictionary: "self._locks['ann']"."""
    for attribute, value in getattr(owner, "__dict__", {}).items():
        for key, each in value.items() if isinstance(value, dict) else ():
            if lock in (each, getattr(each, "_block", None)):
                return f"self.{attribute}[{key!r}]"
    return ""


def _is_on_the_way(code):
    """Whether this makes a lock for its caller."""
    return code.co_filename.startswith((FOLDER, "<")) or code is threading.Condition.__init__.__code__


class RLock(threading._PyRLock):
    def __init__(self):
        super().__init__()
        self._block = Lock()

    def acquire(self, blocking=True, timeout=-1):
        if self._is_owned() and self._block.name:
            turns.running.note(f"has {self._block.name} already")
        return super().acquire(blocking, timeout)

    __enter__ = acquire

    def is_used_as(self, name, owner):
        self._block.is_used_as(name, owner)


class SimpleQueue(queue.Queue):
    """queue.SimpleQueue. Its methods are here, because points.py takes what is here for a part of the interpreter."""

    def __init__(self):
        super().__init__()

    def put(self, item, block=True, timeout=None):
        super().put(item, block, timeout)

    def get(self, block=True, timeout=None):
        return super().get(block, timeout)


def _start(self):
    if hasattr(self, "_noted"):
        raise RuntimeError("threads can only be started once")
    self._noted = turns.running.start(self)


def _join(self, timeout=None):
    if not hasattr(self, "_noted"):
        raise RuntimeError("cannot join thread before it is started")
    if self._noted is turns.running.current:
        raise RuntimeError("cannot join current thread")
    turns.running.wait(lambda: self._noted.done, lambda: f"waits for {self._noted.name} to end", timeout)


def _is_alive(self):
    return hasattr(self, "_noted") and not self._noted.done


def _start_new_thread(function, args, kwargs=None):
    thread = threading.Thread(target=function, args=args, kwargs=kwargs)
    thread.start()
    return thread._noted.number


@contextlib.contextmanager
def replaced(only, idle):
    """Replace everything that waits or tells the time, and load those modules anew, rewritten and with what is new.

    ``idle``: the carriers, which end after that.
    """
    this_thread = threading.current_thread()

    def current_thread():
        return turns.running.current.thread if turns.running.current else this_thread

    def now():
        return turns.running.now

    new = [
        (threading, {"Lock": Lock, "_allocate_lock": Lock, "RLock": RLock, "_time": now}),
        (threading, {"current_thread": current_thread, "local": _threading_local.local}),
        (_threading_local, {"current_thread": current_thread}),
        (_thread, {"allocate_lock": Lock, "allocate": Lock, "RLock": RLock, "start_new_thread": _start_new_thread}),
        (threading.Thread, {"start": _start, "join": _join, "is_alive": _is_alive}),
        (queue, {"SimpleQueue": SimpleQueue, "time": now}),
        (time, {"sleep": lambda seconds: turns.running.sleep(seconds), "monotonic": now}),
    ]
    old = [(place, {name: getattr(place, name) for name in names}) for place, names in new]
    modules = [(module, dict(vars(module))) for module in only]
    try:
        _set(new)
        for module, _ in modules:
            code, places = rewrite(module.__file__)
            vars(module)[NAME] = Points(places)
            exec(code, vars(module))
        yield
    finally:
        _set(old)
        for module, names in modules:
            vars(module).clear()
            vars(module).update(names)
        for carrier in idle:
            carrier.carry(None)
        queues = concurrent.futures.thread._threads_queues  # Python wants to end these threads before it ends itself
        for thread in [each for each in queues if hasattr(each, "_noted")]:
            del queues[thread]


def _set(places):
    for place, names in places:
        for name, value in names.items():
            setattr(place, name, value)
