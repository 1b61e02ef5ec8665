"""The code keeps to the lock table: the order, no waiting under a lock, and no circle. Threads take turns often here.

The fixtures in conftest.py check the same throughout the suite. These tests show that the checks find faults.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import logging
import os
import pathlib
import queue
import re
import select
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import lockwatch
from support.clients import Program
from support.lockwatch import Table, Watch, WrongOrder, read_table
from support.samples import for_each
from support.waiting import WAIT, in_threads, wait_for
from support.words import error_line

import chat_threads
from chat_threads.dialects.text import TextDialect
from chat_threads.disconnects import ShuttingDown
from chat_threads.errors import NotStored
from chat_threads.events import Notice
from chat_threads.mailbox import Mailbox
from chat_threads.parcel import Parcel
from chat_threads.publisher import Publisher
from chat_threads.queues import BatchQueue
from chat_threads.session import SessionStore
from chat_threads.storage_errors import StorageError

TABLE = read_table(chat_threads.__doc__ or "")
MAKERS = {"threading.Lock", "threading.RLock", "threading.Condition", "threading.Semaphore", "threading.Barrier"}


def a_publisher() -> Publisher:
    """A Publisher whose surroundings do nothing."""
    parts = [part for part in inspect.signature(Publisher).parameters.values() if part.default is part.empty]
    return Publisher(*[lambda *_: None for _ in parts])  # type: ignore[arg-type]


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Watch only the locks that this test makes, so that a planted fault does not count for the suite."""
    with Watch().installed() as watch:
        yield watch


# --- the table and the code -----------------------------------------------------------------------------


def locks_in(source: str) -> list[str]:
    """The locks that a module makes, "Class.attribute"; those that are bound to no attribute by their line."""
    found: list[str] = []
    bound: list[ast.AST] = []
    tree = ast.parse(source)

    def makers(within: ast.AST) -> list[ast.Call]:
        calls = [each for each in ast.walk(within) if isinstance(each, ast.Call)]
        return [
            each
            for each in calls
            if ast.unparse(each.func) in MAKERS
            and not (each.args and isinstance(each.args[0], ast.Attribute))  # a condition of another lock
        ]

    for owner in [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]:
        for node in ast.walk(owner):
            if isinstance(node, ast.Assign) and (made := makers(node.value)):
                if isinstance(target := node.targets[0], ast.Attribute):
                    found.append(f"{owner.name}.{target.attr}")
                elif isinstance(target, ast.Name) and node in owner.body:  # one for all objects of the class
                    found.append(f"{owner.name}.{target.id}")
                else:
                    continue
                bound += made
        mutex = f"{owner.name}.mutex"
        if any("queue.Queue" in ast.unparse(base) for base in owner.bases) and mutex not in found:
            found.append(mutex)
    unbound = [call for call in makers(tree) if call not in bound]
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "threading"]
    return found + [f"line {node.lineno}" for node in [*unbound, *imported]]


def test_every_lock_has_its_row_in_the_table_and_every_row_its_lock():
    """The client library is no part of the server; it has one lock, as it says itself, and takes none under it."""
    package = pathlib.Path(chat_threads.__file__).parent
    found: dict[bool, list[str]] = {True: [], False: []}
    for path in package.rglob("*.py"):
        found[package / "client" in path.parents] += locks_in(path.read_text())
    assert sorted(found[False]) == sorted(TABLE.rows)
    assert found[True] == ["Link._changed"]


def test_a_lock_without_a_row_is_found_in_the_source():
    source = "class A(queue.Queue[T]):\n def f(self):\n  self._x = threading.Condition()\n  return threading.Lock()"
    assert locks_in(source) == ["A._x", "A.mutex", "line 4"]
    assert locks_in("class A:\n x = threading.Lock()\n def f(self):\n  y = threading.Lock()") == ["A.x", "line 4"]
    assert locks_in("from threading import Lock") == ["line 1"]


DOCSTRING = """A package.

Locks
=====

===========  ======  =====
lock         guards  taken
===========  ======  =====
``A._x``     all     a ``mutex``, or
                     else ``C._z``
``B.mutex``  it      none
``C._z``     this    none
===========  ======  =====
"""


def test_the_table_is_read_from_the_docstring():
    table = read_table(DOCSTRING)
    assert table.rows == ("A._x", "B.mutex", "C._z")
    assert table.inside == {"A._x": {"B.mutex", "C._z"}, "B.mutex": set(), "C._z": set()}
    assert TABLE.inside["Publisher._lock"] == {"Mailbox.mutex", "BatchQueue.mutex"}


@for_each("row", ["``C._z``     this    it depends", "``C._z``     this    ``A._x``"])
def test_a_row_that_cannot_be_checked_or_points_upwards_is_refused(row):
    with pytest.raises(ValueError, match=r"what may be taken while C\._z is held"):
        read_table(DOCSTRING.replace("``C._z``     this    none", row))


# --- a conversation in which everything happens ------------------------------------------------------------


def everything_happens(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command, a slow reader, a broken connection, a full disk, a program, a room that ends, a stop."""
    ann, bob = server.clients_named("ann", "bob")
    slow = server.client("slow #flood", receive_buffer=4096)
    for line in (
        "hi",
        "/create #lab Graphs and trees",
        "/topic Trees",
        "/topic",
        "/invite bob",
        "/rooms",
        "/who",
        "/who #lobby",
        "/whois bob",
        "/msg bob psst",
        "/away lunch",
        "/back",
        "/ignore bob",
        "/unignore bob",
        "/set numbers on",
        "/nick anna",
        "/me waves",
        "/history",
        "/history 1h",
        "/search hi",
        "/stats",
        "/help",
        "/join #lobby",
        "/nonsense",
        "",
    ):
        ann.ask(line)
    bob.ask("/reply what?")
    bob.ask("/join #lab")
    bob.send("/join #lab2", "/leave #lab2")
    ann.ask("/nick ann")
    assert ann.ask("/delete #lab yes")[-1].startswith("* ann deleted #lab")
    bob.expect("ann deleted #lab")
    with contextlib.closing(Program(server.port)) as program:
        program.send(type="hello", name="robot")
        program.expect("joined")
        program.ask({"type": "say", "text": "beep", "ref": "1"}, {"type": "say", "text": "", "ref": "2"})
    flood = server.chat.sessions.named("slow")
    ann.ask("/join #flood")
    while not flood.ended.is_set():
        ann.ask("\r\n".join(["x" * 1900] * 50))
        ann.seen.clear()
    with monkeypatch.context() as patch:
        patch.setattr(server.chat.storage, "commit", _full)
        ann.send("not kept")
        ann.expect(error_line(NotStored("disk full")))
    bob.reset()
    ann.expect("")
    slow.close()
    stranger = server.client()
    stranger.expect("* Welcome")  # otherwise it may not be accepted before the end
    ann.send("/quit")
    ann.rest()
    wait_for(lambda: len(server.chat.sessions.people()) == 0, "all to be gone")
    assert server.chat.stop() == []
    assert stranger.rest()[-1] == error_line(ShuttingDown())


def _full(batch: object) -> None:
    raise StorageError("disk full")


@pytest.mark.parametrize("writers", [2, pytest.param(None, marks=pytest.mark.slow)], ids=["crew", "per-session"])
def test_in_a_conversation_in_which_everything_happens_the_table_says_what_the_locks_do(
    watch, serve, monkeypatch, certificate, writers
):
    server = serve(writers=writers, queue_limit=600, send_timeout=5.0, **certificate.options)
    with server.client("safe", tls=certificate.trusted) as safe:
        safe.ask("hello")
    everything_happens(server, monkeypatch)
    assert watch.faults == []
    assert watch.circle() is None
    assert {name for name in watch.names if "standard library" not in name} == set(TABLE.rows)
    assert set(watch.edges) == {(held, taken) for held in TABLE.rows for taken in TABLE.inside[held]}


# --- what is planted is found ------------------------------------------------------------------------------

PLANTED = """
import queue, threading

class Upper:
    def __init__(self):
        self._lock = threading.Lock()

class Lower:
    def __init__(self):
        self._changed = threading.Condition()
        self.ended = threading.Event()

class Lines(queue.Queue):
    pass

def nameless():
    made = threading.Lock()
    return made
"""
SMALL = Table(
    ("Upper._lock", "Lower._changed", "Lines.mutex"),
    {"Upper._lock": frozenset({"Lower._changed"}), "Lower._changed": frozenset(), "Lines.mutex": frozenset()},
)


@pytest.fixture
def planted() -> Iterator[tuple[Watch, dict[str, Any]]]:
    """A watch with a table of its own, and a module of the package that makes the locks in it."""
    module: dict[str, Any] = {"__name__": "chat_threads.planted"}
    exec(PLANTED, module)
    with Watch(SMALL).installed() as watch:
        yield watch, module


def test_locks_are_named_by_where_they_are_made_and_only_the_packages_are_watched(planted):
    watch, module = planted
    ours = module["Upper"]()._lock, module["Lower"]()._changed._lock, module["Lines"]().mutex, module["nameless"]()
    assert [lock.name for lock in ours] == ["Upper._lock", "Lower._changed", "Lines.mutex", "nameless.made"]
    assert module["Lower"]().ended._cond._lock.name == "Event of the standard library"
    for other in (threading.Lock(), threading.Condition()._lock, queue.Queue().mutex, threading.Event()._cond._lock):
        assert not isinstance(other, lockwatch.WatchedLock)
    assert watch.names == {"Event of the standard library", *(lock.name for lock in ours)}


def test_the_order_of_the_table_is_allowed(planted):
    watch, module = planted
    upper, lower = module["Upper"](), module["Lower"]()
    with upper._lock, lower._changed, lower._changed:  # a Condition may be entered twice
        assert upper._lock.locked()
    with lower._changed:
        lower._changed.wait(0)
    assert not upper._lock.locked()
    assert set(watch.edges) == {("Upper._lock", "Lower._changed")}
    assert watch.faults == []


def test_another_order_fails_and_is_noted(planted):
    watch, module = planted
    upper, lower = module["Upper"](), module["Lower"]()
    with lower._changed, pytest.raises(WrongOrder, match=r"Upper\._lock is taken while Lower\._changed is held"):
        upper._lock.acquire()
    assert not upper._lock.locked()
    assert len(watch.faults) == 1
    assert "test_another_order_fails_and_is_noted" in watch.faults[0]


@pytest.mark.parametrize("make", ["nameless", "Lines"])
def test_a_lock_that_is_not_allowed_there_fails_whether_it_has_a_row_or_not(planted, make):
    _, module = planted
    made = module[make]()
    with module["Upper"]()._lock, pytest.raises(WrongOrder):
        made.qsize() if make == "Lines" else made.acquire()


def test_two_locks_of_one_kind_fail_for_nobody_says_which_one_comes_first(planted):
    _, module = planted
    with module["Upper"]()._lock, pytest.raises(WrongOrder):
        module["Upper"]()._lock.acquire()


def test_a_lock_that_is_taken_twice_by_its_thread_fails_instead_of_waiting_for_ever(planted):
    _, module = planted
    lock = module["Upper"]()._lock
    with lock, pytest.raises(WrongOrder):
        lock.acquire()


def test_the_packages_own_locks_fail_in_a_wrong_order(watch):
    """Imitate a store that asks the publisher about its rooms, and a session that pushes into another one's mailbox."""
    store = SessionStore()
    publisher = a_publisher()
    with store._lock, pytest.raises(WrongOrder):
        publisher.list_chat_rooms()
    with publisher._lock, pytest.raises(WrongOrder):
        len(store)
    boxes = Mailbox(10), Mailbox(10)
    with publisher._lock:
        boxes[0].push(Parcel(TextDialect().views.here, ()))
    with boxes[0].mutex, pytest.raises(WrongOrder):
        boxes[1].push(Parcel(TextDialect().views.here, ()))
    assert len(watch.faults) == 3


def test_a_circle_is_found_though_no_thread_was_ever_caught_in_it(planted):
    """Each order alone does no harm as long as the threads run one after the other."""
    watch, module = planted
    upper, lower, lines = module["Upper"]()._lock, module["Lower"]()._changed, module["Lines"]().mutex

    def take(first: Any, second: Any) -> None:
        with first, contextlib.suppress(WrongOrder), second:
            pass

    take(upper, lower)
    take(lower, lines)
    assert watch.circle() is None
    take(lines, upper)
    assert sorted(watch.circle() or ()) == ["Lines.mutex", "Lower._changed", "Upper._lock"]


def _query() -> object:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        return connection.execute("SELECT 1").fetchone()


def _send() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.send(b"x")


def _poll() -> None:
    with contextlib.closing(socket.socket()) as sock:
        poll = select.poll()
        poll.register(sock, 0)
        poll.poll(0)


def _thread() -> threading.Thread:
    thread = threading.Thread(target=int, name="planted")
    thread.start()
    thread.join()
    return thread


def _simple(item: object = 1) -> queue.SimpleQueue[object]:
    waiting: queue.SimpleQueue[object] = queue.SimpleQueue()
    waiting.put(item)
    return waiting


def _bounded() -> queue.Queue[int]:
    waiting: queue.Queue[int] = queue.Queue(2)
    waiting.put_nowait(1)
    return waiting


NOWHERE = io.FileIO(os.devnull, "wb")
ENDED = threading.Event()
ENDED.set()
LOG = logging.getLogger("chat_threads.planted")
WAITS: dict[str, tuple[str, Callable[[], object]]] = {
    "socket": ("a socket call (send)", _send),
    "select": ("a wait for sockets", lambda: select.select([], [], [], 0)),
    "poll": ("a wait for sockets", _poll),
    "SQL": ("SQL (execute)", _query),
    "sleep": ("a sleep", lambda: time.sleep(0)),
    "join": ("a join", _thread),
    "thread": ("the start of a thread", _thread),
    "put": ("a put that can wait", lambda: _bounded().put(1)),
    "get": ("a get that can wait", lambda: _bounded().get()),
    "simple get": ("a get that can wait", lambda: _simple().get()),
    "Event": ("a wait for an Event", lambda: ENDED.wait()),
    "Condition": ("a wait for a Condition", lambda: threading.Event().wait(0)),
    "log": ("a log line", lambda: LOG.debug("not even shown")),
    "error": ("a log line", lambda: LOG.error("planted")),
    "file": ("use of a file (write)", lambda: NOWHERE.write(b"x")),
    "print": ("a printed line", lambda: print(end="")),
}


@pytest.mark.parametrize("what", WAITS)
def test_a_call_that_may_wait_is_found_while_a_lock_is_held_and_only_then(watch, what):
    found, call = WAITS[what]
    call()
    lock = SessionStore()._lock
    assert watch.faults == []
    with lock:
        call()
    assert [fault for fault in watch.faults if fault.startswith(f"{found} while SessionStore._lock is held")]
    count = len(watch.faults)
    call()
    assert len(watch.faults) == count


def test_a_call_that_may_wait_is_found_in_any_thread_and_however_deep(watch):
    store = SessionStore()

    def deep(levels: int) -> None:
        if levels:
            return deep(levels - 1)
        return time.sleep(0)

    def hold() -> None:
        with store._lock:
            deep(20)

    thread = threading.Thread(target=hold, name="reader-7")
    thread.start()
    thread.join()
    (fault,) = watch.faults
    assert fault.startswith("a sleep while SessionStore._lock is held, in reader-7:")


def test_a_call_that_cannot_wait_is_no_fault(watch):
    store, ended = SessionStore(), threading.Event()
    with store._lock:
        _bounded().put_nowait(1)
        _bounded().get_nowait()
        _simple()
        queue.Queue().put(1)
        ended.set()
        sorted(map(str, range(10)))
        b"".join([b"a", b"b"])
        Notice("hello")
    assert watch.faults == []


def test_waiting_for_a_condition_whose_lock_is_held_is_no_fault_but_with_another_one_held_it_is(watch):
    full: BatchQueue[int] = BatchQueue(1)
    full.put(1)

    def put_more() -> None:
        with contextlib.suppress(queue.Full):
            full.put(2, timeout=0.01)

    put_more()
    assert watch.faults == []
    with a_publisher()._lock:
        put_more()
    put, wait = watch.faults
    assert put.startswith("a put that can wait while Publisher._lock is held")
    assert wait.startswith("a wait for a Condition while Publisher._lock, BatchQueue.mutex is held")


SUITE = """
import contextlib, time
import pytest
from chat_threads.session import SessionStore
from test_locks import a_publisher

@pytest.fixture
def publisher():
    return a_publisher()

def test_sleep(publisher):
    with publisher._lock:
        time.sleep(0)

def test_order(publisher):
    with SessionStore()._lock, contextlib.suppress(AssertionError):
        publisher.list_chat_rooms()

def test_well(publisher):
    publisher.list_chat_rooms()

def test_hidden_circle(publisher, watched_locks):
    with publisher._lock, contextlib.suppress(AssertionError):
        len(SessionStore())
    watched_locks.faults.clear()
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="calls under locks are looked at here only")
def test_a_suite_with_such_faults_fails(tmp_path):
    """The tests of this file apart: the fixtures for all tests, in a suite in which each fault was planted."""
    here = pathlib.Path(__file__).parents[1]
    (tmp_path / "conftest.py").write_text((here / "conftest.py").read_text())
    (tmp_path / "test_planted.py").write_text(SUITE)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here / "unit"), *sys.path])},
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    assert re.search(r"4 passed, (\d+ warnings?, )?3 errors", ran.stdout), ran.stdout + ran.stderr
    assert "a sleep while Publisher._lock is held" in ran.stdout
    assert "Publisher._lock is taken while SessionStore._lock is held" in ran.stdout
    assert re.search(r"LockFaults: \['(Publisher|SessionStore)._lock', '(SessionStore|Publisher)._lock'\]", ran.stdout)


# --- threads that take turns often --------------------------------------------------------------------------


@pytest.fixture
def nimble() -> Iterator[None]:
    """Threads take turns a thousand times as often as usual, so that what can go wrong between two of them does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("nimble")
@pytest.mark.parametrize("writers", [2, pytest.param(None, marks=pytest.mark.slow)], ids=["crew", "per-session"])
def test_with_threads_that_take_turns_all_the_time_the_promises_hold(serve, writers):
    """Eight talk in two rooms, four come and go, two fight for names, one does not read and is cut off."""
    server = serve(writers=writers, queue_limit=5000, replay=20)
    rooms, each = ("#even", "#odd"), 60
    acked: dict[str, tuple[str, int]] = {}
    views: list[list[dict[str, Any]]] = []

    def come_in(program: Program, name: str, room: str, **more: object) -> None:
        program.send(type="hello", name=name, room=room, **more)
        program.expect("joined")

    def leave(program: Program) -> None:
        program.send(type="quit", words="that was it")
        assert program.rest()[-1] == {"type": "bye", "reason": "quit"}
        views.append([event for event in program.seen if event["type"] == "message"])

    def talk(number: int) -> None:
        with contextlib.closing(Program(server.port)) as me:
            come_in(me, f"talker{number}", rooms[number % 2], replay=0)
            for count in range(0, each, 10):
                refs = [f"{number} {count + more}" for more in range(10)]
                me.send(*({"type": "say", "text": f"text {ref}", "ref": ref} for ref in refs))
                for ref in refs:
                    ack = me.expect("ack", ref=ref)
                    acked[ref] = ack["room"], ack["number"]
            leave(me)

    def come_and_go(number: int) -> None:
        for count in range(10):
            with contextlib.closing(Program(server.port)) as me:
                come_in(me, f"guest{number}-{count}", rooms[count % 2])
                me.ask(type="stats")
                leave(me)

    def fight(number: int) -> None:
        with contextlib.closing(Program(server.port)) as me:
            come_in(me, f"rival{number}", "#ring")
            for count in range(30):
                (told,) = [each for each in me.ask(type="nick", name=f"champion{count}") if "text" in each]
                assert told["type"] == "notice" or told["code"] == "name_taken"
            leave(me)

    def sleep_through_it(_: int) -> None:
        with contextlib.closing(Program(server.port, receive_buffer=4096)) as me:
            come_in(me, "sleeper", "#flood")
            session = server.chat.sessions.named("sleeper")
            with contextlib.closing(Program(server.port)) as other:
                come_in(other, "flood", "#flood")
                while not session.ended.is_set():
                    other.ask(*[{"type": "say", "text": "x" * 2000}] * 200)
                    other.seen.clear()

    work = [talk] * 8 + [come_and_go] * 4 + [fight] * 2 + [sleep_through_it]
    in_threads(lambda what, number: what(number), work, [*range(8), *range(4), *range(2), 0])
    assert server.chat.stop() == []
    with contextlib.closing(sqlite3.connect(server.chat.storage.path)) as connection:
        rows = connection.execute(
            "SELECT r.name, number, sender, text FROM messages JOIN rooms AS r ON r.id = room ORDER BY room, number"
        ).fetchall()
    history = {(room, number): (sender, text) for room, number, sender, text in rows}
    for name in {room for room, _ in history}:
        numbers = [number for room, number in history if room == name]
        assert numbers == list(range(1, len(numbers) + 1))
    assert len(acked) == 8 * each
    assert {ref: history[place] for ref, place in acked.items()} == {
        ref: (f"talker{ref[0]}", f"text {ref}") for ref in acked
    }
    for number in range(8):
        places = [acked[f"{number} {count}"] for count in range(each)]
        assert places == sorted(places)
    assert len(views) == 8 + 40 + 2
    for view in views:
        numbers = [event["number"] for event in view]
        assert numbers == list(range(min(numbers, default=1), max(numbers, default=0) + 1))
        assert all(history[event["room"], event["number"]] == (event["from"], event["text"]) for event in view)
