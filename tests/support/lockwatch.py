"""Checks the code against the rules about locks in ``chat_threads/__init__.py``.

While a Watch is installed, it replaces every lock that the package makes by a watched lock. It recognises such a lock
by the line that makes it. The locks inside the package's queues and events are watched, too. A watched lock knows its
name and its row in the table, and

- raises WrongOrder, in the thread that takes it, if the table does not allow that order;
- notes which locks were held when it was taken, so that the Watch can search for a circle at the end;
- while it is held, checks every call of its thread with a profile function, and notes each call that may wait.
"""

from __future__ import annotations

import _queue
import _socket
import _thread
import contextlib
import dis
import io
import logging
import queue
import re
import select
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from types import BuiltinFunctionType, CodeType, FrameType
from typing import Any

import chat_threads
from chat_threads.inside import CountedLock
from chat_threads.mailbox import Mailbox
from chat_threads.queues import BatchQueue

PACKAGE = chat_threads.__name__
STANDARD = ("threading", "queue")  # modules that make locks for their callers


@dataclass(frozen=True)
class Table:
    """The lock table: its rows from top to bottom, and for each lock the locks that may be taken under it."""

    rows: tuple[str, ...]
    inside: dict[str, frozenset[str]]


def read_table(docstring: str) -> Table:
    """The table under the heading "Locks"; ValueError if a row cannot be checked."""
    lines = docstring.split("\nLocks\n", 1)[1].splitlines()
    rules = [number for number, line in enumerate(lines) if re.fullmatch(r"=+( +=+)+", line)]
    starts = [match.start() for match in re.finditer("=+", lines[rules[0]])]
    columns = list(zip(starts, [*starts[1:], None], strict=True))  # the last one may be wider than its rule
    cells: list[list[str]] = []
    for line in lines[rules[1] + 1 : rules[2]]:
        found = [line[start:end].strip() for start, end in columns]
        if found[0]:
            cells.append(found)
        else:  # this line continues the row before
            cells[-1] = [f"{before} {more}".strip() for before, more in zip(cells[-1], found, strict=True)]
    rows = tuple(name.strip("`") for name, _, _ in cells)
    inside = {}
    for name, (_, _, taken) in zip(rows, cells, strict=True):
        said = re.findall("``(.+?)``", taken)
        inside[name] = frozenset(row for row in rows if row in said or row.rpartition(".")[2] in said)
        if bool(inside[name]) is (taken == "none"):
            raise ValueError(f"what may be taken while {name} is held: {taken}")
        if any(rows.index(row) <= rows.index(name) for row in inside[name]):
            raise ValueError(f"what may be taken while {name} is held stands above it: {taken}")
    return Table(rows, inside)


class WrongOrder(AssertionError):
    """A lock was taken under a lock for which the table does not allow it."""


class LockFaults(AssertionError):
    """The code broke the rules about locks. Each fault is noted once, so a second run of the test would not find it."""


class _Held(threading.local):
    def __init__(self) -> None:
        self.locks: list[WatchedLock] = []


class WatchedLock:
    """A Lock that knows its name and reports to its watch which thread takes it while holding other locks."""

    __slots__ = ("name", "_watch", "_inner", "_held")

    def __init__(self, name: str, watch: Watch, inner: Any) -> None:
        self.name = name
        self._watch = watch
        self._inner = inner
        self._held = watch.held

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        held = self._held.locks
        if held and (blocking or self not in held):
            self._watch.taking(self, held)
        if not self._inner.acquire(blocking, timeout):
            return False
        held.append(self)
        if self._watch.looks:
            sys.setprofile(self._watch.look)
        return True

    def release(self) -> None:
        held = self._held.locks
        self._inner.release()
        if self in held:  # a Lock may be released by a thread that did not take it
            held.remove(self)
        if self._watch.looks and not held:
            sys.setprofile(None)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()

    def locked(self) -> bool:
        return self._inner.locked()

    def _is_owned(self) -> bool:  # asked for by Condition
        return self in self._held.locks

    def _at_fork_reinit(self) -> None:  # asked for by Event
        self._inner._at_fork_reinit()


class WatchedRLock(WatchedLock):
    """The same for an RLock; taking it again is allowed."""

    __slots__ = ()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self in self._held.locks:
            self._inner.acquire()
            self._held.locks.append(self)
            return True
        return super().acquire(blocking, timeout)

    def _release_save(self) -> int:  # asked for by Condition
        times = self._held.locks.count(self)
        for _ in range(times):
            self.release()
        return times

    def _acquire_restore(self, times: int) -> None:
        for _ in range(times):
            self.acquire()


class Watch:
    """Watches the locks that are made while it is installed. ``faults`` and ``edges`` are filled by any thread."""

    def __init__(self, table: Table | None = None, looks: bool = True) -> None:
        self.table = table or read_table(chat_threads.__doc__ or "")
        self.looks = looks  # whether calls are looked at while a lock is held
        self.held = _Held()
        self.names: set[str] = set()  # of the locks that were made
        self.edges: dict[tuple[str, str], str] = {}  # (held, taken): where that was first
        self.faults: list[str] = []
        self._known: set[tuple[object, ...]] = set()
        self._made: dict[tuple[CodeType, int, type], str] = {}

    # --- making ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def installed(self) -> Iterator[Watch]:
        """A context in which the locks that the package makes are watched. Other locks stay plain."""
        lock, rlock = threading.Lock, threading.RLock

        def make_lock() -> Any:
            name = self._name(sys._getframe(1))
            return WatchedLock(name, self, _thread.allocate_lock()) if name else lock()

        def make_rlock() -> Any:
            name = self._name(sys._getframe(1))
            return WatchedRLock(name, self, _thread.RLock()) if name else rlock()

        shared = Mailbox.mutex  # made when the module was imported
        self.names |= {"Mailbox.mutex"} & {*self.table.rows}
        threading.Lock, threading.RLock = make_lock, make_rlock  # type: ignore[misc, assignment]
        Mailbox.mutex = WatchedLock("Mailbox.mutex", self, _thread.allocate_lock())  # type: ignore[assignment]
        try:
            yield self
        finally:
            threading.Lock, threading.RLock, Mailbox.mutex = lock, rlock, shared  # type: ignore[misc]

    def _name(self, frame: FrameType) -> str | None:
        """The name of the lock that this frame makes: "Class.attribute"; None: it is not the package's."""
        between: list[FrameType] = []
        maker: FrameType | None = frame
        while maker is not None and maker.f_globals.get("__name__") in STANDARD:
            between.append(maker)
            maker = maker.f_back
        ours = maker is not None and maker.f_globals.get("__name__", "").split(".")[0] == PACKAGE
        owner = next((type(each.f_locals["self"]) for each in reversed(between) if "self" in each.f_locals), None)
        if owner and issubclass(owner, queue.Queue):
            name = self._of_queue(owner)
            ours = ours or owner.__module__.split(".")[0] == PACKAGE
        elif maker is not None and ours and (owner is None or owner is threading.Condition):
            name = self._of_attribute(maker)
        elif owner:
            name = f"{owner.__name__} of the standard library"
        if not ours:
            return None
        self.names.add(name)
        return name

    def _of_queue(self, owner: type) -> str:
        names = [f"{each.__name__}.mutex" for each in owner.__mro__ if each.__module__.startswith(PACKAGE)]
        listed = [name for name in names if name in self.table.rows]
        return (listed or names[-1:] or [f"{owner.__name__} of the standard library"])[0]

    def _of_attribute(self, maker: FrameType) -> str:
        """The class and the attribute that the lock is about to be bound to."""
        owner = type(maker.f_locals.get("self"))
        key = (maker.f_code, maker.f_lasti, owner)
        if key not in self._made:
            stores = (each for each in dis.get_instructions(maker.f_code) if each.offset > maker.f_lasti)
            store = next((each for each in stores if each.opname.startswith("STORE_")), None)
            classes = (each for each in owner.__mro__ if _code(vars(each).get("__init__")) is maker.f_code)
            holder = next(classes, None)
            self._made[key] = f"{holder.__name__ if holder else maker.f_code.co_name}.{store.argval if store else '?'}"
        return self._made[key]

    # --- taking ---------------------------------------------------------------------------------------------

    def taking(self, lock: WatchedLock, held: list[WatchedLock]) -> None:
        """Called by a lock before it is taken while others are held."""
        for other in held:
            if (other.name, lock.name) not in self.edges:
                self.edges[other.name, lock.name] = _where()
            if lock.name not in self.table.inside.get(other.name, ()):
                what = f"{lock.name} is taken while {other.name} is held"
                self._fault(what, (what,))
                raise WrongOrder(what)

    def circle(self) -> list[str] | None:
        """A circle of lock names: each was held while the next was taken, and the last while the first was taken."""
        after: dict[str, list[str]] = {}
        for held, taken in list(self.edges):
            after.setdefault(held, []).append(taken)

        def look(path: list[str]) -> list[str] | None:
            for name in after.get(path[-1], []):
                if name in path:
                    return path[path.index(name) :]
                found = look([*path, name])
                if found:
                    return found
            return None

        return next((found for name in after if (found := look([name]))), None)

    # --- while one is held ----------------------------------------------------------------------------------

    def look(self, frame: FrameType, event: str, called: Any) -> None:
        """The profile function."""
        if event == "c_call":
            what = _may_wait(called)
        elif event == "call":
            what = self._python_may_wait(frame)
        else:
            return
        held = self.held.locks
        if what and held:
            names = ", ".join(lock.name for lock in held)
            self._fault(f"{what} while {names} is held", (what, names, frame.f_code))

    def _python_may_wait(self, frame: FrameType) -> str | None:
        code = frame.f_code
        if code is _WAIT:
            lock = frame.f_locals["self"]._lock
            if self.held.locks == [lock._lock if isinstance(lock, CountedLock) else lock]:
                return None  # which releases it
        if code in (_PUT, _BATCH_PUT, _GET):
            bounded = code is _GET or frame.f_locals["self"].maxsize > 0
            return _PYTHON[code] if frame.f_locals["block"] and bounded else None
        return _PYTHON.get(code)

    def _fault(self, what: str, key: tuple[object, ...]) -> None:
        if key not in self._known:
            self._known.add(key)
            self.faults.append(f"{what}, in {threading.current_thread().name}:\n{_where()}")


def _code(function: object) -> CodeType | None:
    return getattr(function, "__code__", None)


def _where() -> str:
    """The end of the stack, the innermost first, without this module and without reading files."""
    stack = [frame for frame, _ in traceback.walk_stack(None) if frame.f_code.co_filename != __file__]
    return "".join(f"  {each.f_code.co_filename}:{each.f_lineno} in {each.f_code.co_name}\n" for each in stack[:8])


_WAIT, _PUT, _GET = threading.Condition.wait.__code__, queue.Queue.put.__code__, queue.Queue.get.__code__
_BATCH_PUT = BatchQueue.put.__code__
_PYTHON: dict[CodeType, str] = {
    _WAIT: "a wait for a Condition",
    _PUT: "a put that can wait",
    _BATCH_PUT: "a put that can wait",
    _GET: "a get that can wait",
    threading.Event.wait.__code__: "a wait for an Event",
    threading.Thread.join.__code__: "a join",
    threading.Thread.start.__code__: "the start of a thread",
    **{
        getattr(logging.Logger, level).__code__: "a log line"
        for level in ("debug", "info", "warning", "error", "exception", "critical", "log")
    },
}
_TYPES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (_socket.socket, "a socket call"),
    ((sqlite3.Connection, sqlite3.Cursor), "SQL"),
    ((io.RawIOBase, io.BufferedIOBase, io.TextIOWrapper), "use of a file"),
)
_FUNCTIONS: dict[object, str] = {
    time.sleep: "a sleep",
    select.select: "a wait for sockets",
    print: "a printed line",
    open: "use of a file",
}
_POLLS = tuple(type(getattr(select, kind)()) for kind in ("poll",) if hasattr(select, kind))


def _may_wait(called: BuiltinFunctionType) -> str | None:
    """How a function written in C may wait, or None."""
    owner = getattr(called, "__self__", None)
    if isinstance(owner, _POLLS):
        return "a wait for sockets"
    if isinstance(owner, _queue.SimpleQueue):  # its put never waits
        return "a get that can wait" if called.__name__ == "get" else None
    for types, what in _TYPES:
        if isinstance(owner, types):
            return f"{what} ({called.__name__})"
    try:
        return _FUNCTIONS.get(called)
    except TypeError:  # a method of an object without a hash
        return None
