"""The trips of messages through the threads, with times: from the reader to each socket.

``Recorder`` keeps the last few hundred trips, for /trace. ``TraceFile`` writes all trips as they happen, for --trace,
as Trace Event JSON. Perfetto (https://ui.perfetto.dev) and chrome://tracing draw it, with a row for each thread. The
server makes them only on request. The classes in ``watched`` report to them. They keep names, rooms and numbers, never
the text of a message.

Times are of time.monotonic().
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from . import inside
from .errors import StartError
from .events import Event, MemberTrip, Message, Stages, TripShown
from .memory import Output
from .ordered import Draft, Ordered
from .parcel import Parcel, View
from .rules import fold
from .streams import own_file

log = logging.getLogger(__name__)

KEPT = 300  # trips
MEMBERS = 100  # members kept for each trip: the first to whom it was queued
BACKLOG = 200_000  # items that may wait for the trace thread; with more, the trace ends
CHUNK = 2000  # items written in one call


class Trip:
    """The trip of one message. Each time is set once, by the thread that was there; 0.0: not yet."""

    __slots__ = tuple("sender reader room room_id number received queued taken committed published to more".split())

    def __init__(self, sender: str, reader: str, received: float) -> None:
        self.sender = sender
        self.reader = reader  # the thread
        self.room = ""
        self.room_id = 0
        self.number = 0
        self.received = received  # the reader had the line and began with it
        self.queued = 0.0  # it entered the history's queue
        self.taken = 0.0  # the history thread took it, and the writers have sent what came before
        self.committed = 0.0
        self.published = 0.0  # the Publisher began to queue it to members
        self.to: dict[int, Leg] = {}  # by the session's number
        self.more = 0  # members beyond MEMBERS, only counted

    def goes_to(self, number: int, name: str, now: float) -> None:
        """Note that the message is put into this session's queue."""
        if len(self.to) < MEMBERS:
            self.to[number] = Leg(name, now)
        else:
            self.more += 1

    def shown(self) -> TripShown:
        """The trip for /trace, with times in milliseconds since the message was received."""

        def after(at: float) -> float | None:
            return (at - self.received) * 1000 if at else None

        queued = min(self.queued, self.taken) if self.queued and self.taken else self.queued or self.taken
        stages = Stages(after(queued), after(self.taken), after(self.committed), after(self.published))
        legs = tuple(self.to.values())
        return TripShown(
            self.room,
            self.number,
            self.sender,
            stages,
            tuple(MemberTrip(leg.name, after(leg.queued) or 0.0, after(leg.written)) for leg in legs),
            self.more,
        )


class Leg:
    """The last stretch of a trip, to one member."""

    __slots__ = ("name", "queued", "written")

    def __init__(self, name: str, queued: float) -> None:
        self.name = name
        self.queued = queued  # when it was put into the session's queue
        self.written = 0.0  # when all of it was handed to the system


class TracedParcel(Parcel):
    """A parcel that knows the trips of its messages."""

    __slots__ = ("trips",)

    def __init__(self, view: View, events: Sequence[Event], output: Output, trips: Sequence[Trip]) -> None:
        super().__init__(view, events, output)
        self.trips = trips


class Recorder:
    """Gets reports from the threads about messages. Keeps the last KEPT trips, and writes all trips to a file, if
    there is one. Takes no lock: each value is set by one thread, in a single operation."""

    def __init__(self, file: TraceFile | None = None) -> None:
        self.file = file
        self._drafts: dict[int, Trip] = {}  # of queued drafts, by the draft's id
        self._batch: list[tuple[Draft, Trip]] = []  # the history thread's: its present batch
        self._trips: OrderedDict[tuple[str, int], Trip] = OrderedDict()  # by room and number; the history thread's
        self._behind: dict[int, list[Trip]] = {}  # by session: partly written trips; its writer's

    # --- the readers ----------------------------------------------------------------------------------------

    def submitting(self, draft: Draft, received: float) -> Trip:
        trip = Trip(draft.sender, threading.current_thread().name, received)
        self._drafts[id(draft)] = trip
        return trip

    def not_submitted(self, draft: Draft) -> None:
        self._drafts.pop(id(draft), None)

    # --- the history thread ---------------------------------------------------------------------------------

    def taken(self, items: Sequence[Ordered | None]) -> None:
        now = time.monotonic()
        self._batch = [
            (item, trip)
            for item in items
            if isinstance(item, Draft) and (trip := self._drafts.pop(id(item), None)) is not None
        ]
        for _, trip in self._batch:
            trip.taken = now

    def committed(self, messages: Sequence[Message], began: float, ended: float) -> None:
        """The batch is committed. ``messages`` are its drafts in order, without refused or already stored ones. In a
        cluster, others are from other servers."""
        at = 0
        for message in messages:
            for place in range(at, len(self._batch)):
                draft, trip = self._batch[place]
                if draft.text == message.text and draft.room_id == message.room_id and draft.sender == message.sender:
                    trip.room, trip.room_id = message.room, message.room_id
                    trip.number, trip.committed = message.number, ended
                    self._trips[message.room, message.number] = trip
                    at = place + 1
                    break
        while len(self._trips) > KEPT:
            self._trips.popitem(last=False)
        if self.file and messages:
            self.file.slice("commit", "history", began, ended, messages=len(messages))
            for _, trip in self._batch:
                if trip.committed:
                    read_until = min(trip.queued or trip.taken, trip.taken)
                    self.file.slice("read", trip.reader, trip.received, read_until, room=trip.room, number=trip.number)

    def trips_of(self, events: Sequence[Event]) -> list[Trip]:
        return [
            trip
            for event in events
            if isinstance(event, Message) and (trip := self._trips.get((event.room, event.number))) is not None
        ]

    # --- the writers ----------------------------------------------------------------------------------------

    def sent(self, number: int, name: str, parcels: Sequence[Parcel], began: float, whole: bool) -> None:
        """These parcels were sent. Not ``whole``: a part was sent, and the rest will follow."""
        trips = [trip for parcel in parcels if isinstance(parcel, TracedParcel) for trip in parcel.trips]
        if whole:
            self._written(number, name, trips, began)
        else:
            self._behind[number] = trips
            if self.file:
                self.file.slice("send", threading.current_thread().name, began, time.monotonic(), to=name, part=True)

    def rest_sent(self, number: int, name: str, began: float) -> None:
        """The rest was sent, too."""
        self._written(number, name, self._behind.pop(number, []), began)

    def given_up(self, number: int) -> None:
        self._behind.pop(number, None)

    def _written(self, number: int, name: str, trips: Sequence[Trip], began: float) -> None:
        now = time.monotonic()
        for trip in trips:
            leg = trip.to.get(number)
            if leg:
                leg.written = now
        if self.file:
            self.file.send(threading.current_thread().name, began, now, name, trips)

    def waiting(self, flush: Callable[[bool], bool]) -> Callable[[bool], bool]:
        """Return a flush that also writes its time to the file."""

        def waits(may_go_on: bool) -> bool:
            began = time.monotonic()
            done = flush(may_go_on)
            if self.file:
                self.file.slice("wait for writers", threading.current_thread().name, began, time.monotonic())
            return done

        return waits

    # --- any thread -----------------------------------------------------------------------------------------

    def find(self, room: str, number: int) -> Trip | None:
        """The trip of that message, whatever the case of the room's letters."""
        return self._trips.get((room, number)) or next(
            (trip for trip in self._kept() if trip.number == number and fold(trip.room) == fold(room)), None
        )

    def newest(self, room: str | None) -> Trip | None:
        """The latest trip of the room, or of any room."""
        return next((trip for trip in self._kept() if room is None or fold(trip.room) == fold(room)), None)

    def _kept(self) -> list[Trip]:
        """The trips, the latest first. Copied in a single operation, as the history thread may change them."""
        return list(self._trips.values())[::-1]

    def publisher_used(self, asked: float, had: float, released: float) -> None:
        """The calling thread has just released the Publisher's lock."""
        if self.file is None:
            return
        thread = threading.current_thread().name
        if thread == "history" or had > asked:
            self.file.slice("wait for lock", thread, asked, had)
        if thread == "history":
            self.file.slice("fan-out", thread, had, released)


class TraceFile:
    """A file of trace events. The ``trace`` thread writes it; the other threads only put events into its queue.

    The file can be read at any moment, even after the server was killed: only the bracket at its end is missing, which
    is optional in the format. After ``limit`` events nothing more is written.
    """

    def __init__(self, path: str, limit: int) -> None:
        """Make the file, and replace an older one. Raise StartError."""
        head = b'[{"ph":"M","pid":1,"tid":0,"name":"process_name","args":{"name":"chat_threads"}}'
        try:
            with contextlib.ExitStack() as undo:
                self._file = undo.enter_context(io.FileIO(path, "wb", opener=own_file))
                self._file.write(head)
                undo.pop_all()
        except OSError as error:
            raise StartError(f"The file of --trace, {path}, cannot be written: {error.strerror}.") from error
        self._limit = limit
        self.full = False  # no more events are accepted; set by any thread
        self._began = time.monotonic()
        self._items: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        # Used only by the trace thread:
        self._arrows = 0
        self._rows: dict[str, int] = {}  # by the thread's name
        self._written = 0
        self._length = len(head)  # of the whole events in the file
        self._thread = threading.Thread(target=self._run, name="trace", daemon=True)
        self._thread.start()

    # --- any thread -----------------------------------------------------------------------------------------

    def slice(self, name: str, thread: str, began: float, ended: float, **about: object) -> None:
        """Record something that a thread did."""
        self._put(("slice", name, thread, began, ended, about))

    def send(self, thread: str, began: float, ended: float, to: str, trips: Sequence[Trip]) -> None:
        """Record a send, with an arrow from the beginning of each of these trips."""
        self._put(("send", "send", thread, began, ended, {"to": to, "messages": len(trips)}, trips))

    def _put(self, item: tuple[Any, ...]) -> None:
        if not self.full:
            if self._items.qsize() > BACKLOG:
                self.full = True
            self._items.put(item)

    def stop(self, timeout: float) -> bool:
        """Write the queued events and the end of the file; False if that takes too long."""
        self.full = True
        self._items.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # --- the trace thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        inside.run("trace", "writes the trace", self._write_all)

    def _write_all(self) -> None:
        more, told, failed = True, False, ""
        while more:
            items = [self._items.get()]
            with contextlib.suppress(queue.Empty):
                while len(items) < CHUNK:
                    items.append(self._items.get_nowait())
            more = None not in items
            text = "".join([self._events(item) for item in items if item])
            failed = failed or self._append(text.encode())
            why = failed or (f"it has {self._written} events" if self.full and more else "")
            if why and not told:
                log.warning("the trace ends here: %s", why)
                self.full = told = True
        self._append(b"]\n")
        self._file.close()

    def _append(self, text: bytes) -> str:
        """Add to the file; return "", or why that failed, as when the disk is full. Then nothing of the text is in the
        file, so that a viewer can read it, and the chat continues."""
        rest = memoryview(text)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):  # it may be a pipe
                self._file.truncate(self._length)
                self._file.seek(self._length)
            return error.strerror or str(error)
        self._length += len(text)
        return ""

    def _events(self, item: tuple[Any, ...]) -> str:
        if self._written >= self._limit:
            self.full = True
            return ""
        _, name, thread, began, ended, about = item[:6]
        row, text = self._row(thread)
        start, length = self._time(began), round(max(0.0, ended - began) * 1e6, 3)
        text += _line("X", row, start, name=name, dur=length, args=about)
        self._written += 1
        for trip in item[6] if item[0] == "send" else ():
            self._arrows += 1
            from_row, head = self._row(trip.reader)
            same = f'"name":"message","cat":"message","id":{self._arrows}}}'  # without json.dumps, for speed
            text += (
                f'{head},\n{{"ph":"s","pid":1,"tid":{from_row},"ts":{self._time(trip.received)},{same}'
                f',\n{{"ph":"f","bp":"e","pid":1,"tid":{row},"ts":{start},{same}'
            )
            self._written += 2
        return text

    def _time(self, at: float) -> float:
        return round((at - self._began) * 1e6, 3)

    def _row(self, thread: str) -> tuple[int, str]:
        """The number of a thread's row, and at its first use the events that name it. Readers come first, writers last.

        Some viewers sort by these numbers, and take the process's own number for the main thread.
        """
        row = self._rows.get(thread)
        if row is not None:
            return row, ""
        kind = {"reader": 0, "history": 1_000_000, "writer": 2_000_000}.get(thread.partition("-")[0], 3_000_000)
        row = self._rows[thread] = kind + len(self._rows) + 2
        return row, _line("M", row, None, name="thread_name", args={"name": thread}) + _line(
            "M", row, None, name="thread_sort_index", args={"sort_index": row}
        )


def _line(kind: str, row: int, at: float | None, **more: object) -> str:
    event = {"ph": kind, "pid": 1, "tid": row, **({} if at is None else {"ts": at}), **more}
    return ",\n" + json.dumps(event, ensure_ascii=False, separators=(",", ":"))
