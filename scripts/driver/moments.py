"""Notes when a message is where, on its way through a server in this process, and prints them as JSON.

``stages`` runs this: ``python -m driver.moments KIND MEMBERS WINDOW MESSAGES``, in a process of its own each time, so
that it can be another version of the package. KIND is "server", or one of the peers that have the same path with less
on it: "pipeline" and "floor". The clients are in another process. They note the beginning and the end, by the same
clock.

First the messages are timed without notes, in one server. Then another one is made, in which a few functions also note
the time: about ten notes for a message, however many members there are.
"""

from __future__ import annotations

import itertools
import json
import pathlib
import queue
import socket
import statistics
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from . import counts
from .contenders import PEERS
from .counts import Times
from .worker import Failed

WARMING = 4  # this part of the messages comes before those that count
SETTLING = 5.0  # seconds for the writers to come back after the last message
POINTS = ("received", "handed", "taken", "committing", "committed", "publishing")
"""Where a message is until the writers are told of it: the reader has it, and has put it into the history's queue; the
history thread has taken it, begins to commit it, has committed it, and begins to publish it."""


class NotedQueue:
    """A queue.SimpleQueue that notes when an item was put in and got out, and when its reader came back for more."""

    def __init__(self, inner: queue.SimpleQueue[Any] | None = None) -> None:
        self._inner: queue.SimpleQueue[Any] = inner or queue.SimpleQueue()
        self.put_at: list[float] = []
        self.got_at: list[float] = []
        self.back_at: list[float] = []
        self.empty, self.qsize = self._inner.empty, self._inner.qsize

    def put(self, item: object) -> None:
        self.put_at.append(time.monotonic())
        self._inner.put(item)

    def get(self) -> Any:
        self.back_at.append(time.monotonic())
        item = self._inner.get()
        self.got_at.append(time.monotonic())
        return item


@dataclass
class Notes:
    """What the threads noted. Each list is of one thread, or of threads of which only one works at a time."""

    points: dict[str, list[float]] = field(default_factory=dict)  # see POINTS; a server may have fewer
    writers: list[NotedQueue] = field(default_factory=list)  # the queue of each writer
    sends: tuple[list[float], list[float]] | None = None  # of a server without writers: begin and end

    def note(self, point: str) -> Callable[[], None]:
        append, now = self.points.setdefault(point, []).append, time.monotonic
        return lambda: append(now())

    def settle(self) -> None:
        """Wait until each writer waits for more."""
        deadline = time.monotonic() + SETTLING
        while any(each.put_at and each.back_at[-1:] < each.put_at[-1:] for each in self.writers):
            if time.monotonic() > deadline:
                raise Failed("the writers do not come back")
            time.sleep(0.01)

    def trip(self, sent: float, had: float) -> list[float | None] | None:
        """The moments of the message that was ``sent`` and that everybody ``had`` at these times: POINTS, then when the
        first writer was told, when the first one began, and when the last one was through. None: one is missing."""
        moments: list[float | None] = []
        for point in POINTS:
            times = self.points.get(point)
            if times is None:
                moments.append(None)
                continue
            at = bisect_left(times, sent)
            if at == len(times) or times[at] > had:
                return None
            moments.append(times[at])
        if self.sends:
            begun, ended = self.sends
            at = bisect_left(begun, sent)
            return [*moments, None, begun[at], ended[at]] if at < len(ended) else None
        told, begin, end = [], [], []
        for each in self.writers:
            at = bisect_left(each.put_at, sent)
            while at < len(each.put_at) and each.put_at[at] <= had:
                told.append(each.put_at[at])
                last = at - len(each.put_at)  # counted from the end, because the first was got before there were notes
                begin.append(each.got_at[last])
                end.append(each.back_at[last])
                at += 1
        return [*moments, min(told), min(begin), max(end)] if told else None


# --- the servers ------------------------------------------------------------------------------------------


@contextmanager
def _server(notes: Notes | None, members: int, folder: str) -> Iterator[int]:
    """chat_threads. Yields its port."""
    from chat_threads.chat import Chat, Options
    from chat_threads.conversation import Limits

    limits = Limits(rate=0, max_clients=members + 1)
    with ExitStack() as stack:
        if notes:
            _patch(stack, notes)
        chat = Chat(Options("127.0.0.1", 0, db=str(pathlib.Path(folder, "stages.db")), limits=limits))
        if notes:
            writers: Any = chat.writers
            notes.writers = [NotedQueue(each) for each in writers._ready]
            writers._ready[:] = notes.writers
        chat.start()
        try:
            yield chat.address[1]
        finally:
            chat.stop()


def _patch(stack: ExitStack, notes: Notes) -> None:
    """Until the stack is closed, methods of the package note when they begin or end."""
    from chat_threads.history import History
    from chat_threads.publisher import Publisher
    from chat_threads.storage import Storage
    from chat_threads.wire import Wire

    def patch(owner: type, name: str, before: str = "", after: str = "") -> None:
        real = getattr(owner, name)
        begin, end = notes.note(before) if before else None, notes.note(after) if after else None

        def noted(self: Any, *args: Any, **more: Any) -> Any:
            if begin and (not args or args[0]):  # the history thread also turns without a batch
                begin()
            found = real(self, *args, **more)
            if end and found != b"":
                end()
            return found

        setattr(owner, name, noted)
        stack.callback(setattr, owner, name, real)

    patch(Wire, "read", after="received")
    patch(History, "submit", before="handed")
    patch(History, "_handle", before="taken")
    patch(Storage, "commit", before="committing", after="committed")
    patch(Publisher, "dispatch_messages", before="publishing")


@contextmanager
def _pipeline(notes: Notes | None, members: int, folder: str) -> Iterator[int]:
    import pipeline

    class Noted(pipeline.Pipeline):
        def __init__(self, path: pathlib.Path, notes: Notes) -> None:
            self.received, self.committing, self.committed, self.publishing = (
                notes.note(point) for point in ("received", "committing", "committed", "publishing")
            )
            super().__init__(path, NotedQueue)  # type: ignore[arg-type]
            said: Any = self.said
            notes.points["handed"], notes.points["taken"] = said.put_at, said.got_at
            notes.writers = list(self.ready)  # type: ignore[arg-type]

        def hear(self, room: str, name: str, line: bytes) -> None:
            self.received()
            super().hear(room, name, line)

        def commit(self, history: Any, batch: list[tuple[str, str, str]]) -> None:
            self.committing()
            super().commit(history, batch)
            self.committed()

        def publish(self, batch: list[tuple[str, str, str]]) -> None:
            self.publishing()
            super().publish(batch)

    path = pathlib.Path(folder, "pipeline.db")
    with pipeline.Server(0, Noted(path, notes) if notes else pipeline.Pipeline(path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextmanager
def _floor(notes: Notes | None, members: int, folder: str) -> Iterator[int]:
    import floor

    class Noted(floor.Floor):
        def say(self, data: bytes) -> None:
            received()
            super().say(data)
            ended.append(time.monotonic())

    if notes:
        received = notes.note("received")
        ended: list[float] = []
        notes.sends = notes.points["received"], ended
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        server = (Noted if notes else floor.Floor)(listener)
        threading.Thread(target=server.serve, name="writer", daemon=True).start()
        yield listener.getsockname()[1]


KINDS = {"server": _server, "pipeline": _pipeline, "floor": _floor}


# --- measuring --------------------------------------------------------------------------------------------


def measure(kind: str, members: int, window: int, messages: int) -> dict[str, Any]:
    """Times are in microseconds. ``alone``: for one message, without notes. ``cpu``: of each kind of thread for one
    message, without notes. ``trips``: of each message, the lengths of its stages, None where there is no such stage.
    ``middle``: of each message, until half of the members had it."""
    found = _without_notes(kind, members, window, messages)
    return found if window > 1 else {**found, **_with_notes(kind, members, messages)}


def _without_notes(kind: str, members: int, window: int, messages: int) -> dict[str, Any]:
    with _talking(kind, None, members) as talk:
        talk(window, messages // WARMING)
        before = _cpu()
        times = talk(window, messages)
        after = _cpu()
    if window == 1:  # the median message, which other work on the machine did not disturb
        alone = statistics.median(following.sent - this.sent for this, following in itertools.pairwise(times))
    else:
        alone = (times[-1].last - times[0].sent) / messages
    cpu = {role: (after[role] - before[role]) / 1000 / messages for role in counts.ROLES}
    return {"alone": 1e6 * alone, "cpu": cpu if any(cpu.values()) else {}, "trips": [], "middle": []}


def _with_notes(kind: str, members: int, messages: int) -> dict[str, Any]:
    notes = Notes()
    with _talking(kind, notes, members) as talk:
        talk(1, messages // WARMING)
        times = talk(1, messages)
        notes.settle()
        trips, middle = [], []  # made here, because the end of the clients and of the server would be noted, too
        for this, following in itertools.pairwise(times):
            if moments := notes.trip(this.sent, this.last):
                trips.append(_lengths([this.sent, *moments], following.sent))
                middle.append(1e6 * (this.middle - this.sent))
    return {"trips": trips, "middle": middle}


def _lengths(moments: Sequence[float | None], end: float) -> list[float | None]:
    """The lengths of the stages that begin at the moments, in microseconds. A writer may note that it is through after
    the clients have read everything, and said something more."""
    lengths: list[float | None] = [None] * len(moments)
    for at in range(len(moments) - 1, -1, -1):
        begin = moments[at]
        if begin is not None:
            begin = min(begin, end)
            lengths[at], end = 1e6 * (end - begin), begin
    return lengths


@contextmanager
def _talking(kind: str, notes: Notes | None, members: int) -> Iterator[Callable[[int, int], list[Times]]]:
    """A server of that kind, and its clients. Yields a function that says messages: how many at once, how many."""
    with tempfile.TemporaryDirectory() as folder, KINDS[kind](notes, members, folder) as port:
        with counts.clients(port, members, "text") as them:
            yield lambda window, messages: counts.talk(them, window, messages)


def _cpu() -> Counter[str]:
    """The nanoseconds of CPU that the threads of this process have used, by role (proc(5), schedstat)."""
    found: Counter[str] = Counter()
    for thread in threading.enumerate():
        with suppress(OSError):
            text = pathlib.Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text()
            found[thread.name.partition("-")[0]] += int(text.split()[0])
    return found


if __name__ == "__main__":
    sys.path.append(str(PEERS))
    try:
        print(json.dumps(measure(sys.argv[1], *map(int, sys.argv[2:]))))
    except (Failed, ImportError, AttributeError) as failed:
        sys.exit(f"{failed}")
