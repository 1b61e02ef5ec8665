"""No thread ends unnoticed: the server either keeps working for everybody, or ends with an exit code that says so. It
never stays alive without answering. See also test_steps.py."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import sys
import threading
import time
import types

import pytest
from support.servers import Process
from support.waiting import WAIT, wait_for
from support.wellness import check_history

from chat_threads.cli import BROKEN
from chat_threads.conversation import Limits
from chat_threads.ends import STUCK, Ends
from chat_threads.server import MAX_REFUSED, ChatServer
from chat_threads.writers import JOINED, Crew

pytestmark = pytest.mark.slow

# The report of a broken thread fails, as it does when no memory is left; checks and alarms come soon.
UNTOLD = """
import signal, threading
from chat_threads import chat, cli, ends, history, logs, server, writers
ends.Ends.__enter__ = lambda self: self
ends.Ends.__exit__ = lambda self, *args: None
ends.STUCK, cli.BROKEN_AFTER = 2, 1.0

def breaks(*args):
    raise MemoryError

def is_stuck(*args):
    threading.Event().wait()

"""


def answers(process: Process) -> bool:
    """Whether a newcomer can enter and sees its own text, and nobody else is still in the room.

    While the threads of those who have just left are about to end, there may be no memory for another one. The server
    says so, or has none to say so, and another newcomer tries.
    """
    deadline, tries = time.monotonic() + WAIT, itertools.count()
    while time.monotonic() < deadline and process.popen.poll() is None:
        with contextlib.suppress(OSError, AssertionError), process.client() as late:
            name = f"late{next(tries)}"
            late.send(name)
            late.expect("You are in")
            late.send("still here")
            late.expect(f"{name}: still here")
            wait_for(lambda: not any("ann" in line or "guest" in line for line in late.ask("/who")))
            return True
    return False


def test_a_server_that_finds_no_memory_for_words_says_so(start_process):
    echo = "echo = cli.click.echo; cli.click.echo = lambda text, err=False: breaks() if err else echo(text)"
    process = start_process(plant=f"{UNTOLD}{echo}; server.ChatServer.service_actions = breaks")
    assert process.popen.wait(WAIT) == BROKEN
    process.stop()
    assert "chat_threads: A fault in the server: it is out of memory" in process.errors


@pytest.mark.parametrize(
    ("where", "name", "why"),
    [
        ("server.ChatServer.service_actions = breaks", "acceptor", "nobody knows why"),
        ("server.ChatServer.process_request = is_stuck", "acceptor", "TimeoutError"),
        ("history.History._handle = breaks", "history", "nobody knows why"),
        ("writers.Crew._turn = breaks", "writer-1", "nobody knows why"),
        ("writers.Crew._send = is_stuck", "writer-1", "TimeoutError"),
        ("logs.LogThread._put = breaks", "log", "nobody knows why"),
        ("announce = cli.announce; cli.announce = lambda *args: announce(*args) or breaks()", "main", "MemoryError"),
        ("server.ChatServer.beats = property(breaks, lambda *args: None)", "main", "MemoryError"),
    ],
)
def test_a_thread_that_is_gone_or_stuck_is_noticed_without_a_notice(start_process, where, name, why):
    process = start_process(plant=UNTOLD + where)
    with contextlib.suppress(OSError, AttributeError), process.client() as client:
        client.send("ann")
    assert process.popen.wait(WAIT) == BROKEN
    process.stop()
    assert f"chat_threads: A fault in the server: the thread {name} ended: {why}." in process.errors


MANY = 3 * STUCK  # more steps than the checks at which a thread may be where it was


def test_a_writer_that_goes_on_is_not_stuck_however_many_sessions_its_turn_has():
    """On a loaded machine each may take a while, as one does for which a thread is started."""
    ends = Ends(lambda: None)

    class LookedAt(Crew):
        def _send(self, session: object, parcels: object, sealed: bytes = b"") -> None:
            ends.look(self.vital())

    crew = LookedAt(1, WAIT)
    crew.schedule([types.SimpleNamespace(cohort=1, mailbox=types.SimpleNamespace(take=list))] * MANY)
    assert crew.stop(WAIT) == []
    assert ends.broken is None


def test_a_thread_for_a_session_is_started_without_joining_all_that_have_ended():
    crew, joined = Crew(1, WAIT), []
    crew._ended = [types.SimpleNamespace(join=lambda *_: joined.append(1), ident=1, is_alive=bool, name="")] * MANY
    crew._start("writer-of-1", lambda: None).join(WAIT)
    assert len(joined) == JOINED
    assert crew.stop(WAIT) == []
    assert len(joined) == MANY  # none is forgotten


def test_nobody_waits_for_an_acceptor_that_broke():
    with ChatServer(("127.0.0.1", 0), None, None, None, Limits()) as server:
        server.service_actions = lambda: 1 / 0
        with pytest.raises(ZeroDivisionError):
            server.serve_forever(0.01)
        stops = threading.Thread(target=server.shutdown, daemon=True)
        stops.start()
        stops.join(WAIT)
        assert not stops.is_alive()


class NoRoom(dict):  # type: ignore[type-arg]
    """There is no memory for one more."""

    def setdefault(self, *_: object) -> None:
        raise MemoryError


def test_a_place_is_given_back_if_memory_ends_while_it_is_taken():
    with ChatServer(("127.0.0.1", 0), None, None, None, Limits(max_clients=1)) as server:
        server.door._waiting = NoRoom()
        with pytest.raises(MemoryError):
            server.process_request(None, ("127.0.0.1", 1))
        assert server.door._network_of == server.door._from == {}


@pytest.mark.parametrize("what", ["readers that end", "connections that were refused"])
def test_an_acceptor_that_goes_on_is_not_stuck_however_much_there_is_to_clear_away(what):
    ends, steps = Ends(lambda: None), []

    def look(*_: object) -> bytes:
        steps.append(what)
        ends.look([(threading.current_thread(), server.beats)])
        return b""

    with ChatServer(("127.0.0.1", 0), None, None, None, Limits()) as server:
        for number in range(MAX_REFUSED):
            if what == "readers that end":
                server._readers[number] = types.SimpleNamespace(join=look)
                server._ended.put(number)
            else:
                server._refused.append((0.0, types.SimpleNamespace(recv=look, close=look)))
        server.service_actions()
    assert len(steps) >= MAX_REFUSED > MANY
    assert ends.broken is None


@pytest.mark.parametrize(
    "where",
    [
        "chat.Chat.stop = is_stuck",
        "chat.Chat.stop = breaks",
        "logs.LogThread.stop = is_stuck",
        "chat.Chat.stop = is_stuck; logs.LogThread.stop = is_stuck",
    ],
)
@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_stop_that_fails_or_takes_too_long_still_ends_the_server(start_process, where, failures):
    """Also if the alarm itself fails a few times for want of memory."""
    alarm = f"""
failures, catch, cli.FORCE_AFTER = [None] * {failures}, signal.signal, 1.0

def caught(number, handler):
    failing = lambda *args: breaks(failures.pop()) if failures else handler(*args)
    catch(number, failing if number == signal.SIGALRM else handler)

signal.signal = caught
"""
    process = start_process(plant=UNTOLD + alarm + where)
    assert process.stop() == BROKEN


def test_without_memory_the_server_serves_or_says_why_it_ends(start_process):
    """In 160 MB of address space the interpreter fits, and not many threads."""
    process = start_process(shell="ulimit -v 160000")
    acknowledged = 0
    with contextlib.ExitStack() as stack, contextlib.suppress(AssertionError, OSError):
        ann = stack.enter_context(process.client("ann"))
        for number in range(120):
            stack.enter_context(process.client()).send(f"guest{number}")
            ann.send(f"text {number}")
            ann.expect(f"ann: text {number}")
            acknowledged = number
    if process.popen.poll() is None and answers(process):
        code = process.stop()  # it may still break while it stops
    else:
        code = process.popen.wait(WAIT)
        process.stop()
    assert code in (0, BROKEN)
    assert ("chat_threads: A fault in the server: " in process.errors) == (code == BROKEN)
    check_history(process.db)
    with contextlib.closing(sqlite3.connect(process.db)) as history:
        assert history.execute("SELECT count(*) FROM messages WHERE sender = 'ann'").fetchone()[0] >= acknowledged


def test_a_thread_that_breaks_before_it_begins_is_noticed_too(monkeypatch):
    """Python calls only the unraisable hook, and the thread that starts the other one waits for it for ever."""
    woken = threading.Event()

    def break_at_once(thread: threading.Thread) -> None:
        raise MemoryError

    with Ends(woken.set) as ends:
        monkeypatch.setattr(threading.Thread, "_bootstrap", break_at_once)
        late = threading.Thread(target=print, name="late")
        monkeypatch.setattr(late, "_started", types.SimpleNamespace(is_set=lambda: False, wait=lambda: None))
        late.start()
        assert woken.wait(WAIT)
    name, error = ends.broken
    assert name in ("late", "that was to begin")
    assert isinstance(error, MemoryError)


def test_only_the_first_thread_that_breaks_counts_and_the_hooks_are_given_back():
    before = threading.excepthook, sys.unraisablehook

    def broken(error: type[Exception]) -> None:
        raise error

    with Ends(lambda: None) as ends:
        for error in (ZeroDivisionError, MemoryError):
            thread = threading.Thread(target=broken, args=(error,), name=error.__name__)
            thread.start()
            thread.join()
    assert ends.broken[0] == "ZeroDivisionError"
    assert (threading.excepthook, sys.unraisablehook) == before
