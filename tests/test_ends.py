"""No thread ends unnoticed: whatever a thread raises, and at whichever of its steps, the server goes on for everybody
or ends with a code that says so. It never lives on without answering."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import sqlite3
import sys
import threading
import time
import types
from collections.abc import Callable

import pytest
from conftest import WAIT, Process, wait_for
from wellness import check_history, needs_proc

from chat_threads.cli import BROKEN
from chat_threads.ends import Ends

# Raises in one thread when it comes to a line of the package for the first time, after a file says so. Without a line
# to raise at, it notes down all the lines that each kind of thread comes to.
PLANT = """
import atexit, builtins, json, os, re, sys, threading
KIND, FILE, LINE, ERROR, SIGN, FOUND = json.loads({case!r})
PACKAGE = os.sep + "chat_threads" + os.sep
found, done = set(), []

def kind():
    return re.sub(r"\\d+", "N", threading.current_thread().name)

def watch(frame, event, argument):
    name = frame.f_code.co_filename
    if PACKAGE not in name:
        return None
    mine = kind()
    if LINE and mine != KIND:
        return None
    short = name.rpartition(PACKAGE)[2]

    def look(frame, event, argument):
        if event == "line" and os.path.exists(SIGN):
            if not LINE:
                found.add((mine, short, frame.f_lineno))
            elif (short, frame.f_lineno) == (FILE, LINE) and not done:
                done.append(True)
                raise getattr(builtins, ERROR)("planted")
        return look

    return look

threading.settrace(watch)
if FOUND:
    atexit.register(lambda: open(FOUND, "w").write(json.dumps(sorted(found))))
"""

Start = Callable[..., Process]


def plant(sign: pathlib.Path, kind: str = "", file: str = "", line: int = 0, error: str = "", found: str = "") -> str:
    return PLANT.format(case=json.dumps([kind, file, line, error, str(sign), found]))


def conversation(process: Process) -> set[str]:
    """What people do while the fault strikes, whatever becomes of it; returns the texts that were acknowledged."""
    seen: set[str] = set()
    for name in ("ann", "bob"):
        with contextlib.suppress(AssertionError, OSError), process.client() as client:
            client.sock.settimeout(2.0)
            client.send(name)
            client.expect("You are in", 2.0)
            for number in range(2):
                client.send(f"{name} {number}")
                client.expect(f"{name}: {name} {number}", 2.0)
                seen.add(f"{name} {number}")
            client.send("/quit")
            client.rest(2.0)
    return seen


def answers(process: Process) -> bool:
    """Whether a newcomer is let in and hears itself, and nobody is left behind in the room.

    While the threads of those who have just left are about to end, there may be no memory for another one. The server
    says so, and a newcomer tries again.
    """
    deadline = time.monotonic() + WAIT
    with contextlib.suppress(OSError, AssertionError):
        while time.monotonic() < deadline:
            with process.client() as late:
                late.send("late")
                if "The server is full" in (late.line() or ""):
                    continue
                late.expect("You are in")
                late.send("still here")
                late.expect("late: still here")
                wait_for(lambda: not any("ann" in line or "bob" in line for line in late.ask("/who")))
                return True
    return False


def lines_of_threads(tmp_path: pathlib.Path) -> list[tuple[str, str, int]]:
    """The kinds of threads, and the lines of the package that each came to in the conversation."""
    sign, found = tmp_path / "sign", tmp_path / "found"
    process = Process(tmp_path / "found.db", plant=plant(sign, found=str(found)))
    sign.touch()
    assert conversation(process) == {"ann 0", "ann 1", "bob 0", "bob 1"}
    assert process.stop() == 0
    return [(kind, file, line) for kind, file, line in json.loads(found.read_text()) if kind != "log" or "logs" in file]


def goes_on_or_says_why_it_ends(start_process: Start, tmp_path: pathlib.Path, case: tuple[str, str, int, str]) -> str:
    kind, file, line, error = case
    sign = tmp_path / f"{file.replace('/', '.')}-{line}-{kind}-{error}"
    process = start_process(db=sign.with_suffix(".db"), plant=plant(sign, kind, file, line, error))
    sign.touch()
    seen = conversation(process)
    if process.popen.poll() is None and answers(process):
        assert process.stop() == 0, (case, process.errors)
        how = "went on"
    else:
        code = process.popen.wait(WAIT)
        process.stop()
        assert code == BROKEN, (case, code, process.errors)
        assert re.search(r"chat_threads: A fault in the server: the thread \S+ ended: ", process.errors), case
        how = "ended"
    check_history(process.db)
    again = start_process(db=process.db)
    with again.client("late") as late:
        page = "\n".join(late.ask("/history"))
        assert all(text in page for text in seen), (case, page)
    assert again.stop() == 0
    return how


@needs_proc
@pytest.mark.timeout(900)
@pytest.mark.parametrize("share", [60, pytest.param(5, marks=pytest.mark.stress)], ids=["few", "some"])
def test_a_thread_that_breaks_at_any_step_harms_nobody_or_ends_the_server(start_process, tmp_path, share):
    steps = lines_of_threads(tmp_path)
    assert {"acceptor", "history", "reader-N", "writer-N", "log"} <= {kind for kind, _, _ in steps}
    cases = [
        (*step, ("MemoryError", "ZeroDivisionError")[number // share % 2])
        for number, step in enumerate(steps)
        if number % share == share // 2
    ]
    outcomes, wrong = set(), []
    for case in cases:
        try:
            outcomes.add(goes_on_or_says_why_it_ends(start_process, tmp_path, case))
        except AssertionError as error:
            wrong.append(str(error)[:2000])
    assert wrong == []
    assert outcomes == {"went on", "ended"}


def test_an_acceptor_that_is_stuck_ends_the_server(start_process):
    stuck = "server.ChatServer.process_request = lambda self, *args: threading.Event().wait()"
    plant = f"import threading\nfrom chat_threads import cli, server\ncli.STUCK, cli.FORCE_AFTER = 2, 1.0\n{stuck}"
    process = start_process(plant=plant)
    with process.client():
        assert process.popen.wait(WAIT) == BROKEN
    process.stop()
    assert "chat_threads: A fault in the server: the thread acceptor ended: TimeoutError." in process.errors


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
    assert ("chat_threads: A fault in the server: the thread " in process.errors) == (code == BROKEN)
    check_history(process.db)
    with contextlib.closing(sqlite3.connect(process.db)) as history:
        assert history.execute("SELECT count(*) FROM messages WHERE sender = 'ann'").fetchone()[0] >= acknowledged


def test_a_thread_that_breaks_before_it_begins_is_noticed_too(monkeypatch):
    """Python says so to the unraisable hook only, and whoever starts the thread waits for it for ever."""
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
