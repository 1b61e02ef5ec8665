"""Where a message's time goes, stage by stage, with one message under way: in this server, in another version of it,
in the pipeline, which has the same threads and less to do, and in the floor, which has only a loop.

``moments`` measures one server in a process of its own. Here the servers take turns, so that other work on the machine
affects them alike, and the stages become tables.
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
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from tabulate import tabulate

from . import counts
from .worker import Failed

STAGES = (  # in the order in which a message passes them
    "client to reader",
    "reader: line, checks",
    "reader to history thread",
    "history: number",
    "history: commit",
    "history: check, notes",
    "Publisher: fan-out to the queues",
    "history thread to writer",
    "writers: send to all members",
    "clients: read, and send the next",
)
SERVER, BEFORE, PIPELINE = "server", "before", "pipeline"
KINDS = {SERVER: "server", BEFORE: "server", PIPELINE: "pipeline", "floor": "floor"}  # by the column
MORE = "server - pipeline"
TRIES = 1000  # of a step by itself
PATIENCE = 120.0  # seconds for one measurement
SCRIPTS = pathlib.Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Account:
    """What one message to ``members`` members takes, in microseconds, with ``window`` messages under way."""

    column: str
    members: int
    window: int
    stages: dict[str, float]
    """Means of the messages whose whole trip was in the middle half; empty with more than one message under way."""
    whole: float | None  # the sum of these
    middle: float | None  # until half of the members had the message, the mean of the same messages
    alone: float  # from one message to the next, without notes; the median of the rounds, as in the next two
    spread: tuple[float, float]
    cpu: dict[str, float]  # by the role of the thread; empty where the system does not tell


def accounts(members: int, window: int, rounds: int, before: str | None) -> list[Account]:
    """Measure all servers, in turn. ``before``: a folder with another version of the package. Raises Failed."""
    columns = [column for column in KINDS if before or column != BEFORE]
    found: dict[str, list[dict[str, Any]]] = {column: [] for column in columns}
    for _, column in itertools.product(range(rounds), columns):
        folder = before if column == BEFORE and before else str(SCRIPTS.parent)
        found[column].append(_measured(KINDS[column], members, window, folder))
    return [_account(column, members, window, found[column]) for column in columns]


def _measured(kind: str, members: int, window: int, folder: str) -> dict[str, Any]:
    messages = max(40, min(200, 20_000 // members)) * (1 if window == 1 else window // 4)
    command = [sys.executable, "-m", "driver.moments", kind, *map(str, (members, window, messages))]
    environment = {**os.environ, "PYTHONPATH": os.path.abspath(folder)}
    try:
        done = subprocess.run(
            command, cwd=SCRIPTS, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"the {kind} in {folder} took too long") from None
    if done.returncode:
        raise Failed(f"the {kind} in {folder} cannot be measured: {done.stderr.strip()[-200:]}")
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def _account(column: str, members: int, window: int, found: Sequence[dict[str, Any]]) -> Account:
    alone = [each["alone"] for each in found]
    roles = found[0]["cpu"]
    cpu = {role: statistics.median(each["cpu"][role] for each in found) for role in roles}
    trips = [trip for each in found for trip in each["trips"]]
    middles = [middle for each in found for middle in each["middle"]]
    lengths = [sum(length or 0.0 for length in trip) for trip in trips]
    kept = sorted(range(len(trips)), key=lengths.__getitem__)[len(trips) // 4 : -(len(trips) // 4) or None]
    stages = {
        name: statistics.fmean(trips[each][at] for each in kept)
        for at, name in enumerate(STAGES)
        if kept and trips[0][at] is not None
    }
    whole = sum(stages.values()) if kept else None
    middle = statistics.fmean(middles[each] for each in kept) if kept else None
    return Account(
        column, members, window, stages, whole, middle, statistics.median(alone), (min(alone), max(alone)), cpu
    )


def table(found: Sequence[Account]) -> str:
    """A table with a column for each account, all of the same members and window, and how much more the server takes
    than the pipeline."""
    by_column = {each.column: each for each in found}

    def row(name: str, of: Callable[[Account], float | None], digits: int = 0) -> list[str]:
        values = {column: of(each) for column, each in by_column.items()}
        ours, bare = values.get(SERVER), values.get(PIPELINE)
        values[MORE] = None if ours is None or bare is None else ours - bare
        return [name, *("-" if values[column] is None else f"{values[column]:.{digits}f}" for column in columns)]

    columns = [column for column in (BEFORE, SERVER, PIPELINE, MORE, "floor") if column == MORE or column in by_column]
    lines = [row(name, lambda each, name=name: each.stages.get(name)) for name in STAGES]  # type: ignore[misc]
    lines += [
        row("all of it: the sum", lambda each: each.whole),
        row("half of the members have it after", lambda each: each.middle),
    ]
    if all(each.whole is None for each in found):
        lines = []
    lines += [
        row("all of it, without notes", lambda each: each.alone),
        ["lowest and highest", *(_spread(by_column.get(column)) for column in columns)],
    ]
    lines += [row(f"CPU: {role}", lambda each, role=role: each.cpu.get(role)) for role in counts.ROLES]  # type: ignore[misc]
    lines.append(row("CPU: for a delivery", lambda each: sum(each.cpu.values()) / each.members or None, 1))
    members, window = found[0].members, found[0].window
    headers = [f"{members}x{window}", *columns]
    align = ["left", *["right"] * len(columns)]
    return tabulate(lines, headers, tablefmt="rst", disable_numparse=True, colalign=align)


def _spread(account: Account | None) -> str:
    return f"{account.spread[0]:.0f}-{account.spread[1]:.0f}" if account else "-"


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
