"""Where a message's time goes, stage by stage, with one message under way.

As with ``counts``, the server runs in this process, and its clients in another. The times of the stages come from the
trips that a server with ``--lab`` notes, which itself takes some microseconds of each. The CPU times of the threads
come from the system, in a run without that.
"""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import queue
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from chat_threads import trace
from chat_threads.chat import Chat, Options
from chat_threads.conversation import Limits
from chat_threads.trace import Trip

from . import counts
from .worker import Failed

STAGES = (  # in the order in which a message passes them
    "reader: line, checks",
    "reader to history thread",
    "history: number, commit",
    "history: check, to the Publisher",
    "Publisher: fan-out to the queues",
    "history thread to writer, first send",
    "writers: the other sends",
    "clients: until the next message is read",
)
ROUNDS = 3
ROOM = "#lobby"
TRIES = 1000  # of a step by itself
BENCH = pathlib.Path(__file__).resolve().parents[1] / "bench.py"


@dataclass(frozen=True, slots=True)
class Account:
    """What one message to ``members`` members takes, in microseconds, with ``window`` messages under way."""

    members: int
    window: int
    stages: dict[str, float]  # the medians; empty with more than one message under way
    noted: float | None  # from one message to the next, with the notes
    alone: float  # and without
    cpu: dict[str, float]  # by the role of the thread; empty where the system does not tell


def account(members: int, window: int) -> Account:
    """Measure it. Raises Failed."""
    messages = max(40, min(trace.KEPT, 4000 // members))
    if window > 1:
        _, alone, cpu = _run(members, window, messages * window // 4, lab=False)
        return Account(members, window, {}, None, alone, cpu)
    trace.MEMBERS = max(trace.MEMBERS, members)  # all legs of a trip are wanted
    trips, _, _ = _run(members, 1, messages, lab=True)
    _, alone, cpu = _run(members, 1, messages, lab=False)
    found = [_stages(trip, following) for trip, following in itertools.pairwise(trips)]
    noted = statistics.median(sum(each.values()) for each in found)
    return Account(
        members, 1, {name: statistics.median(each[name] for each in found) for name in STAGES}, noted, alone, cpu
    )


def bare() -> dict[str, float]:
    """What the steps cost by themselves, in Python and without anything around them: microseconds, the medians."""
    return {"a send": _bare_send(), "a commit of one row": _bare_commit(), "a hand-over": _bare_hand_over()}


def _bare_send() -> float:
    """Over TCP, to somebody who does not wait for it."""
    times = []
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sender:
        receiver, _ = listener.accept()
        with receiver:
            sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(TRIES):
                began = time.perf_counter()
                sender.send(bytes(counts.LINE))
                times.append(time.perf_counter() - began)
                receiver.recv(65536)
    return 1e6 * statistics.median(times)


def _bare_commit() -> float:
    """With a log, as the server's history has it."""
    times = []
    with tempfile.TemporaryDirectory() as folder:
        with closing(sqlite3.connect(pathlib.Path(folder, "bare.db"), isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("CREATE TABLE messages (number INTEGER PRIMARY KEY, text TEXT)")
            for _ in range(TRIES):
                began = time.perf_counter()
                database.execute("INSERT INTO messages (text) VALUES (?)", ("x" * counts.LINE,))
                times.append(time.perf_counter() - began)
    return 1e6 * statistics.median(times)


def _bare_hand_over() -> float:
    """From one thread to another that waits for it: half of the way there and back."""
    there: queue.SimpleQueue[bool] = queue.SimpleQueue()
    back: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def answer() -> None:
        while there.get():
            back.put(True)

    other = threading.Thread(target=answer, name="answer")
    other.start()
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        there.put(True)
        back.get()
        times.append(time.perf_counter() - began)
    there.put(False)
    other.join()
    return 1e6 * statistics.median(times) / 2


def of_another_version(members: int, window: int, folder: str) -> list[Account]:
    """The same of the package in that folder, in a process of its own. Raises Failed."""
    with tempfile.TemporaryDirectory() as scratch:
        found = pathlib.Path(scratch, "found.json")
        options = ["--stages", "--members", str(members), "--windows", str(window), "--json", str(found)]
        environment = {**os.environ, "PYTHONPATH": os.path.abspath(folder)}
        command = [sys.executable, str(BENCH), *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"the version in {folder} cannot be measured: {done.stderr.strip()[-200:]}")
        return [Account(**each) for each in json.loads(found.read_text("utf-8"))]


def _run(members: int, window: int, messages: int, lab: bool) -> tuple[list[Trip], float, dict[str, float]]:
    """The trips of the last messages; and the medians of microseconds for a message, and of each kind of thread's CPU
    time."""
    limits = Limits(rate=0, max_clients=members + 1)
    times, cpu = [], []
    with tempfile.TemporaryDirectory() as folder:
        chat = Chat(Options("127.0.0.1", 0, db=str(pathlib.Path(folder, "stages.db")), limits=limits, lab=lab))
        chat.start()
        try:
            with counts.clients(chat.address[1], members, "text") as them:
                counts.talk(them, window, messages)  # to warm up
                for _ in range(ROUNDS):
                    before, began = _cpu(), time.perf_counter()
                    counts.talk(them, window, messages)
                    times.append(1e6 * (time.perf_counter() - began) / messages)
                    after = _cpu()
                    cpu.append({role: (after[role] - before[role]) / 1000 / messages for role in counts.ROLES})
            history: Any = chat.history
            trips = [history._recorder.find(ROOM, number) for number in _last(messages)] if lab else []
        finally:
            chat.stop()
    known = counts.ROLES if any(cpu[0].values()) else ()
    return trips, statistics.median(times), {role: statistics.median(each[role] for each in cpu) for role in known}


def _last(messages: int) -> range:
    """The numbers of the last messages, after one round for warming up."""
    return range(ROUNDS * messages + 1, (ROUNDS + 1) * messages + 1)


def _cpu() -> Counter[str]:
    """The nanoseconds of CPU that the threads of this process have used, by role (proc(5), schedstat)."""
    found: Counter[str] = Counter()
    for thread in threading.enumerate():
        with suppress(OSError):
            text = pathlib.Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text()
            found[thread.name.partition("-")[0]] += int(text.split()[0])
    return found


def _stages(trip: Trip, following: Trip) -> dict[str, float]:
    """The stages of a message, in microseconds, until the next one is read."""
    queued = [leg.queued for leg in trip.to.values()]
    written = [leg.written for leg in trip.to.values()]
    moments = [
        trip.received,
        min(trip.queued, trip.taken),  # the reader notes it afterwards
        trip.taken,
        trip.committed,
        trip.published,
        max(queued),
        max(min(written), max(queued)),  # a writer may begin before the last queue has it
        max(written),
        following.received,
    ]
    lengths = [1e6 * (after - before) for before, after in itertools.pairwise(moments)]
    return dict(zip(STAGES, lengths, strict=True))


def rows(found: Sequence[Account]) -> list[list[str]]:
    """The rows of a table with a column for each account."""

    def row(name: str, of: Callable[[Account], float | None], digits: int = 0) -> list[str]:
        return [name, *("-" if (value := of(each)) is None else f"{value:.{digits}f}" for each in found)]

    lines = [row(name, lambda each, name=name: each.stages.get(name)) for name in STAGES]  # type: ignore[misc]
    lines += [
        row("all of it, with the notes", lambda each: each.noted),
        row("all of it, without", lambda each: each.alone),
    ]
    lines += [row(f"CPU: {role}", lambda each, role=role: each.cpu.get(role)) for role in counts.ROLES]  # type: ignore[misc]
    lines.append(row("CPU: for a delivery", lambda each: sum(each.cpu.values()) / each.members or None, 1))
    return lines
