"""The conditions that a server in its own process must meet during a fault and after it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pathlib
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import pytest

from support.servers import Process
from support.waiting import WAIT, wait_for

EVERY = 0.1  # seconds between two of the canary's messages
SLOWEST = 1.0  # seconds: the 99th percentile of the canary's messages stays under it
AFTERWARDS = 3  # messages that the canary exchanges after the fault
GROWTH = 20  # MB
ROOM = "#canary"

needs_proc = pytest.mark.skipif(
    not pathlib.Path("/proc/self/task").exists(), reason="threads, descriptors and memory are read from /proc"
)


class Canary:
    """Two programs in a room of their own: every 100 ms one of them says a number, and the other must receive it.

    The time of a message counts from the moment when it was due. So a pause of the server delays every message that
    was due in the pause, not just one. A message is excused if it was under way at any moment of an excused time.
    """

    def __init__(self, port: int) -> None:
        self._stop = threading.Event()
        self._lock = threading.Condition()  # guards what follows
        self._due: dict[int, float] = {}  # when it was to be sent
        self._heard: dict[int, float] = {}  # when the other one heard it
        self._refused: dict[int, tuple[float, str]] = {}  # when, and the server's words
        self._excused: list[list[float]] = []  # from, to
        self._troubles: list[str] = []
        self.acknowledged = 0  # the highest number that was acknowledged or that the other program heard
        self._socks = [socket.create_connection(("127.0.0.1", port), WAIT) for _ in range(2)]
        self._files = [sock.makefile("rb") for sock in self._socks]
        self._threads = [threading.Thread(target=self._talk, daemon=True)]
        for number, (sock, file) in enumerate(zip(self._socks, self._files, strict=True), 1):
            self._say(sock, type="hello", name=f"canary{number}", room=ROOM)
            while b'"joined"' not in (line := file.readline()):  # the greeting is a line of text
                assert line, f"canary{number} was not let in"
            sock.settimeout(None)
            self._threads.append(threading.Thread(target=self._listen, args=(file, f"canary{number}"), daemon=True))
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _say(sock: socket.socket, **request: str) -> None:
        sock.sendall(json.dumps(request).encode() + b"\n")

    def _talk(self) -> None:
        due = time.monotonic()
        number = 0
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            with self._lock:
                self._due[number] = due
            try:
                self._say(self._socks[number % 2], type="say", text=str(number), ref=str(number))
            except OSError as error:
                return self._trouble(f"message {number} could not be sent: {error}")
            number += 1
            due += EVERY
        return None

    def _listen(self, file: BinaryIO, me: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed at the end
            for line in file:
                now = time.monotonic()
                event = json.loads(line)
                with self._lock:
                    if event["type"] in ("message", "ack") and event["room"] == ROOM:
                        self.acknowledged = max(self.acknowledged, event["number"])
                    if event["type"] == "message" and event["from"] != me and event["room"] == ROOM:
                        self._heard[int(event["text"])] = now
                    elif event["type"] == "error" and event.get("ref"):
                        self._refused[int(event["ref"])] = now, event["text"]
                    elif event["type"] in ("error", "bye") and not any(until == math.inf for _, until in self._excused):
                        self._troubles.append(f"{me} was told: {event}")
                    self._lock.notify_all()
        if not self._stop.is_set():
            self._trouble(f"the connection of {me} ended")

    def _trouble(self, what: str) -> None:
        with self._lock:
            self._troubles.append(what)
            self._lock.notify_all()

    @contextlib.contextmanager
    def excused(self) -> Iterator[None]:
        """A context in which messages may take any time or be refused."""
        with self._lock:
            self._excused.append([time.monotonic(), math.inf])
            mine = self._excused[-1]
        try:
            yield
        finally:
            with self._lock:
                mine[1] = time.monotonic()

    def sing(self, count: int = AFTERWARDS) -> None:
        """Wait until ``count`` more messages have arrived."""
        with self._lock:
            first = len(self._due)

            def sung() -> bool:
                return len([each for each in self._heard if each >= first]) >= count

            if not self._lock.wait_for(lambda: self._troubles or sung(), WAIT) or not sung():
                raise AssertionError(f"the canary is silent; {self._troubles}, {list(self._refused.values())[-3:]}")

    def end(self) -> None:
        """Stop talking, and wait for the messages under way."""
        self._stop.set()
        self._threads[0].join(WAIT)
        with self._lock:
            self._lock.wait_for(lambda: self._troubles or len(self._heard) + len(self._refused) >= len(self._due), WAIT)

    def close(self) -> None:
        self._stop.set()
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(WAIT)
        for file, sock in zip(self._files, self._socks, strict=True):
            file.close()
            sock.close()

    def check(self) -> None:
        """Every message that is not excused arrived, and in time."""
        assert not self._troubles, self._troubles
        times: list[float] = []
        for number, due in self._due.items():
            refused, why = self._refused.get(number, (math.inf, ""))
            end = min(self._heard.get(number, math.inf), refused)
            if not any(begin <= end and due <= until for begin, until in self._excused):
                assert not why, f"message {number} was refused: {why}"
                assert number in self._heard, f"message {number} was never heard"
                times.append(end - due)
        times.sort()
        assert times, "every message of the canary was excused"
        slow = times[math.ceil(len(times) * 0.99) - 1]
        assert slow < SLOWEST, f"the canary's 99th percentile is {slow:.2f} s, of {len(times)} messages"


def threads(process: Process) -> int:
    return len(os.listdir(f"/proc/{process.popen.pid}/task"))


def descriptors(process: Process) -> int:
    return len(os.listdir(f"/proc/{process.popen.pid}/fd"))


def open_files(process: Process) -> Iterator[str]:
    for path in pathlib.Path(f"/proc/{process.popen.pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            yield os.readlink(path)


def memory(process: Process) -> int:
    """The resident memory, in MB."""
    status = pathlib.Path(f"/proc/{process.popen.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) // 1024


@contextlib.contextmanager
def staying_well(
    process: Process, tracebacks: int = 0, comes_back: bool = True, growth: int = GROWTH
) -> Iterator[Canary]:
    """A context in which a test causes a fault. At its end, the server is stopped and checked.

    The canary's messages must arrive throughout. ``with canary.excused()`` excuses those that the fault has to stop.
    At the end, the server must have as many threads and descriptors as before, and use at most ``growth`` MB more. It
    must stop with exit code 0, with exactly ``tracebacks`` tracebacks in its stderr, and its history must be sound.
    The test's clients must connect and disconnect inside the block. Pass ``comes_back=False`` for a fault that lasts
    until the server restarts: then the canary's messages need not arrive again.
    """
    canary = Canary(process.port)
    try:
        canary.sing(2)  # after that, every module has been loaded
        looks = [(threads(process), descriptors(process)) for _ in range(10)]
        before = min(each[0] for each in looks), min(each[1] for each in looks)  # without what exists for a moment
        resident = memory(process)
        yield canary
        if comes_back:
            canary.sing()
        canary.end()

        try:
            wait_for(lambda: threads(process) <= before[0] and descriptors(process) <= before[1])
        except AssertionError as error:
            now = f"{threads(process)} and {descriptors(process)} ({', '.join(open_files(process))})"
            what = f"there were {before[0]} threads and {before[1]} descriptors, and there are {now}"
            raise AssertionError(f"{what}; see {process.errors[-2000:]}") from error
        wait_for(lambda: memory(process) <= resident + growth, f"the memory is about {resident} MB again", 5.0)
    finally:
        canary.close()
    code = process.stop()
    assert code == 0, f"exit code {code}: {process.errors[-2000:]}"
    assert process.errors.count("Traceback") == tracebacks, process.errors[-5000:]
    canary.check()
    check_history(process.db, {ROOM: canary.acknowledged})


def check_history(db: pathlib.Path, acknowledged: Mapping[str, int] = {}) -> None:
    """A history that no server has open is sound, and each room's messages are numbered 1 to its last.

    ``acknowledged`` gives the highest acknowledged number of a room. Without it, nobody could see that the last message
    is lost: the file itself does not show that.
    """
    with contextlib.closing(sqlite3.connect(db)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        for name, last, count, lowest, highest in connection.execute(
            "SELECT r.name, max(r.last, coalesce(max(m.number), 0)), count(m.id), coalesce(min(m.number), 1),"
            " coalesce(max(m.number), 0)"
            " FROM rooms AS r LEFT JOIN messages AS m ON m.room = r.id GROUP BY r.id"
        ).fetchall():
            assert (name, count, lowest, highest) == (name, last, 1, last)
            assert highest >= acknowledged.get(name, 0), f"{name} has lost what was acknowledged after {highest}"
        homeless = (
            "SELECT count(*) FROM messages"
            " WHERE room NOT IN (SELECT id FROM rooms) AND room NOT IN (SELECT room FROM doomed)"
        )
        assert connection.execute(homeless).fetchone() == (0,)
