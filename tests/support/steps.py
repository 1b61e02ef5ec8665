"""Servers in which a thread breaks: for test_steps.py.

Run as a program, this file is a worker. It imports the server once and forks for each case. That is fast enough to
try one server for each line that any of its threads reaches.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import mmap
import os
import pathlib
import re
import signal
import sqlite3
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import chat_threads
from chat_threads import chat, cli, receiver
from support.clients import Client
from support.waiting import wait_for
from support.wellness import check_history

PACKAGE = os.path.dirname(chat_threads.__file__) + os.sep
FAULT = "chat_threads: A fault in the server: "
SHORT = 2.0  # seconds that clients wait for an answer that may never come

Trace = Callable[[FrameType, str, Any], Any]
Step = tuple[str, str, int]
"""The kind of thread, a file of the package, and a line of it."""


def kind() -> str:
    return re.sub(r"\d+", "N", threading.current_thread().name)


def raises(step: Step, error: str, armed: mmap.mmap) -> Trace:
    """A trace function that breaks a thread of that kind at that line, once, after the server is armed."""
    mine, file, line = step
    path, done = PACKAGE + file, []

    def look(frame: FrameType, event: str, argument: object) -> Trace:
        if frame.f_lineno == line and event == "line" and armed[0] and not done:
            done.append(True)
            raise getattr(builtins, error)("planted")
        return look

    def watch(frame: FrameType, event: str, argument: object) -> Trace | None:
        return look if frame.f_code.co_filename == path and kind() == mine else None

    return watch


def notes(found: set[Step], armed: mmap.mmap) -> Trace:
    """A trace function that notes all lines that each kind of thread reaches."""

    def watch(frame: FrameType, event: str, argument: object) -> Trace | None:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        mine, file = kind(), frame.f_code.co_filename[len(PACKAGE) :]

        def look(frame: FrameType, event: str, argument: object) -> Trace:
            if event == "line" and armed[0]:
                found.add((mine, file, frame.f_lineno))
            return look

        return look

    return watch


class Forked:
    """A server in a copy of this process. Traced with ``trace`` after it is armed."""

    def __init__(
        self, db: pathlib.Path, trace: Callable[[mmap.mmap], Trace] | None = None, found: set[Step] | None = None
    ) -> None:
        self.armed = mmap.mmap(-1, 1)
        self.log = db.with_suffix(".log")
        self.code: int | None = None
        out, into = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(out)
            self._serve(db, into, trace and trace(self.armed), found)
        os.close(into)
        said = ""
        with open(out, encoding="utf-8") as lines:
            while "History:" not in said:
                line = lines.readline()
                assert line, self.errors
                said += line
        self.port = int(re.search(r"telnet \S+ (\d+)", said)[1])  # type: ignore[index]

    def _serve(self, db: pathlib.Path, out: int, trace: Trace | None, found: set[Step] | None) -> None:
        code = 1
        try:
            os.dup2(out, 1)
            os.dup2(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
            chat.POLL, receiver.GREETING_PAUSE = 0.02, 0.01  # so that it starts and stops soon
            chat.STOP_WITHIN, cli.BROKEN_AFTER = 1.0, 2.0
            if trace:
                threading.settrace(trace)
                sys.settrace(trace)
            cli.main(["--host", "127.0.0.1", "--port", "0", "--db", str(db)])
        except SystemExit as error:
            sys.settrace(None)
            code = int(error.code or 0)
            if found:
                db.with_suffix(".json").write_text(json.dumps(sorted(found)))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    @property
    def errors(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def arm(self) -> None:
        self.armed[0] = 1

    def client(self, name: str | None = None) -> Client:
        return Client(self.port, name)

    def ended(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def end(self, number: int = 0) -> int:
        """Send the signal, if one is given, and wait until the server ends. Return its exit code."""
        if number and not self.ended():
            os.kill(self.pid, number)
        wait_for(self.ended, "it ends")
        assert self.code is not None
        return self.code

    def kill(self) -> None:
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            self.end()
        self.armed.close()


@contextlib.contextmanager
def forked(*args: Any, **more: Any) -> Iterator[Forked]:
    process = Forked(*args, **more)
    try:
        yield process
    finally:
        process.kill()


# --- a case -------------------------------------------------------------------------------------------------


def conversation(process: Forked) -> set[str]:
    """Let people talk during the fault. Return the acknowledged texts."""
    seen: set[str] = set()
    for name in ("ann", "bob"):
        with contextlib.suppress(AssertionError, OSError), process.client() as client:
            client.sock.settimeout(SHORT)
            client.send(name)
            client.expect("You are in", SHORT)
            for number in range(2):
                client.send(f"{name} {number}")
                client.expect(f"{name}: {name} {number}", SHORT)
                seen.add(f"{name} {number}")
            client.send("/quit")
            client.rest(SHORT)
    return seen


def answers(process: Forked) -> bool:
    """Whether a newcomer can enter and sees its own text, and nobody else is still in the room. The connection of the
    first newcomer may break the acceptor; then that connection is closed, and the second newcomer must get in."""
    for name in ("late", "later"):
        with contextlib.suppress(OSError, AssertionError), process.client(name) as late:
            late.send("still here")
            late.expect(f"{name}: still here")
            wait_for(lambda: not any("ann" in line or "bob" in line for line in late.ask("/who")))
            return True
    return False


def steps(db: pathlib.Path) -> list[Step]:
    """The lines that each kind of thread reaches in the conversation, and while the server stops."""
    found: set[Step] = set()
    with forked(db, lambda armed: notes(found, armed), found) as process:
        process.arm()
        assert conversation(process) == {"ann 0", "ann 1", "bob 0", "bob 1"}
        assert process.end(signal.SIGTERM) == 0, process.errors
    return [tuple(step) for step in json.loads(db.with_suffix(".json").read_text())]


def outcome(db: pathlib.Path, step: Step, error: str) -> str:
    """Return "went on" or "ended": the server's reaction when a thread breaks at a step. AssertionError if neither."""
    with forked(db, lambda armed: raises(step, error, armed)) as process:
        process.arm()
        seen = conversation(process)
        if not process.ended() and answers(process):
            code = process.end(signal.SIGTERM)
        else:
            code = process.end()
            assert code, f"exit code 0: {process.errors}"
        said = FAULT in process.errors
        if step[0] == "MainThread" and code == 1:  # at a line of main that is outside its try blocks
            said = "Traceback" in process.errors
        else:
            assert code in (0, cli.BROKEN), f"exit code {code}: {process.errors}"
        assert said == (code != 0), process.errors
    check_history(db)
    with contextlib.closing(sqlite3.connect(db)) as history:
        kept = {text for (text,) in history.execute("SELECT text FROM messages")}
    assert seen <= kept, f"{seen - kept} is lost"
    if not code:
        return "went on"
    with forked(db) as again:
        with again.client("late") as late:
            page = "\n".join(late.ask("/history"))
        assert all(text in page for text in seen), page
        assert again.end(signal.SIGTERM) == 0, again.errors
    return "ended"


def work(directory: pathlib.Path) -> None:
    """A worker: for each line of stdin, a step and an error, print what happened; for "null" print the steps."""
    for number, line in enumerate(sys.stdin):
        case = json.loads(line)
        db = directory / f"{number}.db"
        try:
            found = outcome(db, tuple(case[:3]), case[3]) if case else steps(db)
        except (AssertionError, OSError) as wrong:
            found = f"{case}: {wrong}"[:3000]
        for path in directory.glob(f"{number}.*"):
            path.unlink()
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    work(pathlib.Path(sys.argv[1]))
