"""One process of the driver. It serves its share of the clients in one thread that never waits for a single client."""

from __future__ import annotations

import contextlib
import errno
import heapq
import os
import select
import selectors
import signal
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from .checks import OneOrder, Room, Seen, Tally
from .dialects import DIALECTS, Texts, room_name
from .histogram import Histogram
from .plan import Plan, clock
from .websocket import Broken, Handshake

READ = 65536  # bytes at a time
IN_FLIGHT = 64  # connections under way; more would fill a server's backlog
TICK = 0.02  # seconds between two checks of the timed tasks
NEWS = 0.1  # seconds between two reports of how many are connected
LAST_LOOK = 1.0  # seconds for a slow client that was disconnected to see the end
LAST = 1000  # last received bytes that are kept, because they may contain a reason
RETRY = 500_000  # microseconds until a client whose reconnect was refused tries again
BATCHES = 256  # chunks of received bytes that are remembered, in all rooms together
PLACES = 500_000  # messages whose order is remembered, in all rooms together
TROUBLES = 5  # different complaints of the server that are kept
SPARE_FILES = 32


@dataclass
class Interval:
    """The work of a process in one interval of the run; intervals are numbered from the start."""

    number: int
    sent: int = 0
    delivered: int = 0
    counts: dict[int, int] = field(default_factory=dict)
    longest: int = 0
    orders: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # of rooms that are spread over processes


@dataclass
class Report:
    """The final report of a process."""

    tally: Tally
    cut_off: int = 0  # clients that were disconnected although they read
    slow_cut_off: int = 0
    reconnected: int = 0
    refused: int = 0  # reconnects that were refused; they were tried again
    unsent: int = 0  # messages that were due and could not be sent
    troubles: list[str] = field(default_factory=list)  # the server's complaints, each line once
    cpu: float = 0.0  # of a core, during the run
    round: int = 0  # microseconds for one round over the clients, 99th percentile


class Failed(Exception):
    """The run cannot take place; the text says why."""


class Client:
    """A client and its connection. The number stays the same when it reconnects; the name does not."""

    __slots__ = (
        *("acked", "gone", "handshake", "inside", "last", "name", "next", "number", "out", "progress"),
        *("room", "seen", "slow", "sock", "tail", "watched"),
    )

    def __init__(self, number: int, slow: bool, room: Room) -> None:
        self.number = number
        self.slow = slow  # it enters, and reads nothing after that
        self.room = room
        self.name = ""
        self.sock: socket.socket | None = None
        self.handshake: Handshake | None = None  # a WebSocket's that is under way
        self.inside = False
        self.gone = False
        self.watched = 0  # the events that the selector watches
        self.tail = b""  # the beginning of a line
        self.last = b""  # the end of what was received last
        self.seen = Seen(room.senders)
        self.out = b""  # bytes that the system has not taken yet
        self.next = 0  # the number of its next message
        self.acked = 0  # its own messages that it has seen, or given up
        self.progress = 0  # the time of the last change of that


class Worker:
    """Connect, wait for the start, send and read until the end, read until everything has arrived, and report."""

    def __init__(self, plan: Plan, process: int, pipe: Connection) -> None:
        self.plan = plan
        self.pipe = pipe
        self.dialect = DIALECTS[plan.dialect]
        self.packed, self.whole = self.dialect.packed, self.dialect.whole
        self.texts = Texts(plan.run, plan.size, plan.dialect)
        self.selector = selectors.DefaultSelector()
        numbers = plan.clients_of(process)
        self.rooms = {room: self._room(room) for room in sorted({plan.room_of(number) for number in numbers})}
        self.clients = [Client(number, plan.is_slow(number), self.rooms[plan.room_of(number)]) for number in numbers]
        self.senders = [client for client in self.clients if plan.is_sender(client.number)]
        self.tally = Tally()
        self.latencies = Histogram()
        self.rounds = Histogram()
        self.report = Report(self.tally)
        self.start: int | None = None  # the clock at the start of the run
        self.end = 0
        self.window_at = 0  # the next time to check for senders whose messages do not come back
        self.agenda: list[tuple[int, int, Client]] = []  # when each sender's next message is due, in the open loop
        self.churners: deque[Client] = deque()
        self.churn_at = 0
        self.churn_every = 0.0
        self.returning: list[tuple[int, int, Client]] = []
        self.interval = Interval(0)
        self.heard = 0  # the time of the last message
        self._delivered_before = 0

    def _room(self, room: int) -> Room:
        plan = self.plan
        order = OneOrder(max(1000, PLACES // plan.rooms)) if plan.senders > 1 else None
        if order and plan.across_processes(room):
            order.news = []
        return Room(plan.senders_in(room), self.texts.find, order, max(4, BATCHES // plan.rooms))

    # --- the phases -----------------------------------------------------------------------------------------

    def work(self) -> None:
        self._connect_all()
        began = self._await("start")
        self._begin(began)
        cpu = time.process_time()
        readers = sum(not client.slow for client in self.clients)
        while (now := clock()) < self.end and (self.report.cut_off < readers or not readers):
            self._round(self._idle_time(now))
            self._look_after(clock())
        self.report.cpu = (time.process_time() - cpu) / ((clock() - began) / 1e6)
        self.report.round = self.rounds.percentile(99) or 0
        self._send_the_rest()
        self.pipe.send(("sent", {client.number: client.next for client in self.senders}))
        sent = self._await("totals")
        self._wait_for_the_rest(sent)
        self._finish(sent)

    def _await(self, wanted: str) -> Any:
        """Keep reading until the conductor sends the expected message; return it."""
        while True:
            if self.pipe.poll():
                said, value = self.pipe.recv()
                assert said == wanted, said
                return value
            self._round(TICK)
            if self.start is not None:
                self._look_after(clock())

    def _connect_all(self) -> None:
        waiting = deque(self.clients)
        under_way: set[Client] = set()
        began = clock()
        told = moved = began
        pace = self.plan.ramp * 1e6 / self.plan.clients  # microseconds from one client to the next, over all processes
        while waiting or under_way:
            now = clock()
            while waiting and len(under_way) < IN_FLIGHT and began + waiting[0].number * pace <= now:
                client = waiting.popleft()
                self._connect(client)
                under_way.add(client)
                moved = now
            self._round(TICK if len(under_way) == IN_FLIGHT or not pace else min(TICK, pace / 1e6))
            arrived = {client for client in under_way if client.inside}
            for client in under_way:
                if client.gone:
                    raise Failed(self._why(client))
            if arrived:
                moved = clock()
                under_way -= arrived
            if under_way and clock() - moved > max(20e6, self.plan.patience * 1e6):
                raise Failed("the server no longer answers")
            if clock() - told > NEWS * 1e6 or not (waiting or under_way):
                told = clock()
                self.pipe.send(("connected", sum(client.inside for client in self.clients)))
        for client in self.clients:
            if client.slow:
                self._watch(client, 0)

    def _begin(self, began: int) -> None:
        plan = self.plan
        self.start, self.end = began, began + int(plan.duration * 1e6)
        self.heard = began
        self.rounds = Histogram()
        for client in self.senders:
            client.progress = began
            if plan.rate:
                self._take_turn(client)
        self.churners = deque(client for client in self.clients if plan.may_churn(client.number))
        if plan.churn and self.churners:
            everywhere = sum(plan.may_churn(number) for number in range(plan.clients))
            self.churn_every = 1e6 * everywhere / (plan.churn * len(self.churners))
            self.churn_at = began + int(self.churn_every)
        while clock() < began:
            self._round(min(TICK, max(0.0, (began - clock()) / 1e6)))

    def _send_the_rest(self) -> None:
        """In the open loop, send the unsent messages that were due before the end: they are late, not left out."""
        self.churn_every = 0.0
        if self.plan.rate:
            moved, before = clock(), -1
            while behind := sum(self._behind(client) for client in self.senders if not client.gone):
                if clock() - moved > self.plan.patience * 1e6:
                    break
                if behind != before:
                    before, moved = behind, clock()
                self._round(TICK)
                self._look_after(clock())
            self.report.unsent = sum(map(self._behind, self.senders))
        self.agenda.clear()

    def _behind(self, sender: Client) -> int:
        """The number of messages that were due before the end of the run and are not sent."""
        assert self.start is not None
        due = self.plan.first_due(sender.number, self.end, self.start)
        assert due is not None
        return due - sender.next

    def _wait_for_the_rest(self, sent: dict[int, int]) -> None:
        self.heard = clock()
        waited_for = [client for client in self.clients if self._is_owed(client)]
        while waited_for and clock() - self.heard < self.plan.patience * 1e6:
            self._round(TICK)
            self._look_after(clock())
            waited_for = [client for client in waited_for if self._is_owed(client) and not client.seen.has_all(sent)]

    def _is_owed(self, client: Client) -> bool:
        return client.inside and not client.gone and not client.slow

    def _finish(self, sent: dict[int, int]) -> None:
        self._report_interval(force=True)
        self._look_at_slow()
        for client in self.clients:
            if not client.slow and (client.inside or client.gone):
                client.seen.count_lost(sent, self.tally)
        self.pipe.send(("done", self.report))  # before the clients leave, which costs the server time
        for client in self.clients:
            if client.sock:
                client.sock.close()

    def _look_at_slow(self) -> None:
        """Read the unread bytes of the slow clients, to see which of them were disconnected."""
        slow = [client for client in self.clients if client.slow and not client.gone]
        for client in slow:
            self._watch(client, selectors.EVENT_READ)
        began = self.heard = clock()
        while not all(client.gone for client in slow):
            now = clock()
            if now - self.heard > LAST_LOOK * 1e6 or now - began > 10 * LAST_LOOK * 1e6:
                break
            self._round(TICK)
        self.report.slow_cut_off = sum(client.gone for client in slow)

    # --- timed tasks ------------------------------------------------------------------------------------------

    def _idle_time(self, now: int) -> float:
        """Seconds until the next task."""
        until = now + int(TICK * 1e6)
        if self.agenda:
            until = min(until, self.agenda[0][0])
        if self.churn_every:
            until = min(until, self.churn_at)
        return max(0, until - now) / 1e6

    def _look_after(self, now: int) -> None:
        """Send the messages that are due, reconnect clients, and report complete intervals."""
        if self.agenda and self.agenda[0][0] <= now:
            self._send_due(now)
        if self.plan.window and self.window_at <= now < self.end:
            self.window_at = now + int(TICK * 1e6)
            for client in self.senders:
                self._fill_window(client, now)
        if self.churn_every and self.churn_at <= now:
            self._churn(now)
        while self.returning and self.returning[0][0] <= now:
            self._connect(heapq.heappop(self.returning)[2])
        self._report_interval()

    def _report_interval(self, force: bool = False) -> None:
        assert self.start is not None
        number = int((clock() - self.start) / (self.plan.interval * 1e6))
        interval = self.interval
        if number == interval.number and not force:
            return
        interval.delivered = self.tally.delivered - self._delivered_before
        self._delivered_before = self.tally.delivered
        interval.counts, interval.longest = self.latencies.take()
        for room, seen in self.rooms.items():
            if seen.order and seen.order.news:
                interval.orders[room] = seen.order.news
                seen.order.news = []
        self.pipe.send(("interval", interval))
        self.interval = Interval(number)

    # --- the sockets ------------------------------------------------------------------------------------------

    def _round(self, timeout: float) -> None:
        """Wait for the sockets, and serve all that are ready, once."""
        if 0 < timeout < TICK and hasattr(self.selector, "fileno"):
            # epoll counts in milliseconds; select, which can wait for an epoll, in microseconds.
            if not select.select([self.selector], [], [], timeout)[0]:
                return
            timeout = 0
        ready = self.selector.select(timeout)
        if not ready:
            return
        began = clock()
        for key, events in ready:
            client = key.data
            if events & selectors.EVENT_READ:
                self._read(client)
            if events & selectors.EVENT_WRITE and client.sock is key.fileobj:
                self._write(client)
        self.rounds.record(clock() - began)

    def _watch(self, client: Client, events: int) -> None:
        if events == client.watched:
            return
        assert client.sock
        if not client.watched:
            self.selector.register(client.sock, events, client)
        elif not events:
            self.selector.unregister(client.sock)
        else:
            self.selector.modify(client.sock, events, client)
        client.watched = events

    def _connect(self, client: Client) -> None:
        plan = self.plan
        client.sock = sock = socket.socket(plan.family, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if client.slow:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        again = "" if not client.name else f"-{self.report.reconnected + self.report.refused}"
        client.name = f"load-{plan.run}-{client.number}{again}"
        client.inside = client.gone = False
        client.tail = client.last = b""
        if self.dialect.upgrade:
            client.handshake = Handshake(plan.host, os.urandom(16))
            client.out = client.handshake.request
        else:
            client.out = self._hello(client)
        error = sock.connect_ex(plan.address)
        if error not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            self._ended(client, os.strerror(error))
            return
        self._watch(client, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def _hello(self, client: Client) -> bytes:
        return self.packed(self.dialect.hello(client.name, room_name(self.plan.room_of(client.number))).encode())

    def _read(self, client: Client) -> None:
        assert client.sock
        try:
            data = client.sock.recv(READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._ended(client, error.strerror)
            return
        if not data:
            self._ended(client, "the server closed the connection")
            return
        if client.slow and self.start is not None:
            self.heard = clock()
            return
        if client.tail:
            data = client.tail + data
        try:
            if client.handshake:
                data = self._shake(client, data)
                if client.handshake:
                    return
            end = self.whole(data)
        except Broken as broken:
            client.last = b""
            self._ended(client, str(broken))
            return
        client.tail = data[end:]
        if end < len(data):
            data = data[:end]
        client.last = data[-LAST:]
        if not client.inside:
            data = self._enter(client, data)
        if not data:
            return
        batch, new = client.room.read(data)
        if new:
            self._note_troubles(data)
        if not batch.messages:
            return
        now = self.heard = clock()
        client.seen.take(batch, now - self.plan.epoch, self.tally, self.latencies)
        if self.plan.window and now < self.end:
            own = [after for sender, _, after in batch.spans if sender == client.number]
            if own:
                client.acked = max(client.acked, own[0])
                client.progress = now
                self._fill_window(client, now)
        if self.agenda and self.agenda[0][0] <= now:
            self._send_due(now)

    def _shake(self, client: Client, data: bytes) -> bytes:
        """When the response to the handshake is whole, say hello; return the bytes after it. Raises Broken."""
        assert client.handshake
        end = client.handshake.response(data)
        if not end:
            client.tail, client.last = data, data[-LAST:]
            return b""
        client.handshake = None
        client.tail = b""
        client.out += self._hello(client)
        self._flush(client)
        return data[end:]

    def _enter(self, client: Client, data: bytes) -> bytes:
        """Look for the line that says that the client has entered; return the lines after it."""
        at = data.find(self.dialect.inside)
        if at < 0:
            if self.dialect.trouble.search(data):
                self._ended(client, None)
            return b""
        client.inside = True
        if self.start is not None:
            start, now = self.start, clock()
            plan = self.plan
            client.seen = Seen(client.room.senders, now - plan.epoch, lambda sender: plan.first_due(sender, now, start))
            self.churners.append(client)
            self.report.reconnected += 1
        return data[data.index(b"\n", at) + 1 :]

    def _write(self, client: Client) -> None:
        """Send the rest of an earlier send; a sender continues only after that."""
        self._flush(client)
        now = clock()
        if client.out or self.start is None or not self.plan.is_sender(client.number):
            return
        if not self.plan.window:
            self._take_turn(client)
        elif now < self.end:
            self._fill_window(client, now)

    def _take_turn(self, client: Client) -> None:
        """Put a sender's next message on the agenda, unless an earlier one is not fully sent."""
        assert self.start is not None
        due = self.plan.due(client.number, client.next, self.start)
        if due < self.end and not client.out and not client.gone:
            heapq.heappush(self.agenda, (due, client.number, client))

    def _flush(self, client: Client) -> None:
        assert client.sock
        if client.out:
            try:
                client.out = client.out[client.sock.send(client.out) :]
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                self._ended(client, error.strerror)
                return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.out else 0)
        if not (client.slow and client.inside):
            self._watch(client, events)

    def _ended(self, client: Client, why: str | None) -> None:
        """The server closed the connection, or it broke."""
        assert client.sock
        self._watch(client, 0)
        client.sock.close()
        client.sock = None
        if self.start is not None and not client.inside and self.plan.may_churn(client.number):
            self.report.refused += 1
            self._note_troubles(client.last or (why or "").encode(), every=not client.last)
            heapq.heappush(self.returning, (clock() + RETRY, client.number, client))
            return
        client.gone = True
        if not client.slow:
            self.report.cut_off += 1
        if not self.dialect.trouble.search(client.last):
            client.last = (why or "").encode()
            self._note_troubles(client.last, every=True)

    def _note_troubles(self, data: bytes, every: bool = False) -> None:
        for line in [data] if every else self.dialect.trouble.findall(data):
            text = line.decode("utf-8", "replace").strip()
            if text not in self.report.troubles and len(self.report.troubles) < TROUBLES:
                self.report.troubles.append(text)

    def _why(self, client: Client) -> str:
        found = self.dialect.trouble.search(client.last)
        return (found[0] if found else client.last).decode("utf-8", "replace").strip()

    # --- sending ----------------------------------------------------------------------------------------------

    def _say(self, client: Client, at: int) -> None:
        """Send a message by itself, as people do, with the time from which its latency counts."""
        room = self.plan.room_of(client.number)
        client.out = self.packed(self.texts.message(client.number, room, client.next, at - self.plan.epoch).encode())
        client.next += 1
        self.interval.sent += 1
        self._flush(client)

    def _send_due(self, now: int) -> None:
        """Open loop: send the due messages, with the times at which they were due. A sender with a full socket gets its
        next turn when the system takes more; no message is left out."""
        assert self.start is not None
        while self.agenda and self.agenda[0][0] <= now:
            client = heapq.heappop(self.agenda)[2]
            if client.gone:
                continue
            self._say(client, self.plan.due(client.number, client.next, self.start))
            self._take_turn(client)

    def _fill_window(self, client: Client, now: int) -> None:
        """Closed loop: keep ``--window`` messages under way. After ``patience``, give up those that are lost."""
        assert self.plan.window
        if client.next - client.acked >= self.plan.window:
            if now - client.progress < self.plan.patience * 1e6:
                return
            client.acked, client.progress = client.next, now
        while client.next - client.acked < self.plan.window and not client.out and not client.gone:
            self._say(client, now)

    # --- leaving and coming back --------------------------------------------------------------------------------

    def _churn(self, now: int) -> None:
        while self.churn_at <= now:
            self.churn_at += int(self.churn_every)
            if not self.churners:
                continue
            client = self.churners.popleft()
            if client.gone:
                continue
            assert client.sock
            client.seen.count_lost(None, self.tally)
            self._watch(client, 0)
            client.sock.close()
            self._connect(client)


def files_wanted(plan: Plan) -> int:
    """The number of files that the process with the most clients has open."""
    return max(len(plan.clients_of(process)) for process in range(plan.processes)) + SPARE_FILES


def main(plan: Plan, process: int, pipe: Connection) -> None:
    """The main function of a process. It ends with a report, or with the reason why there is none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the conductor handles Ctrl-C, and closes the pipe
    with contextlib.suppress(BrokenPipeError, EOFError, ConnectionResetError):
        try:
            raise_file_limit()
            Worker(plan, process, pipe).work()
        except Failed as failed:
            pipe.send(("failed", str(failed)))


def raise_file_limit() -> int | None:
    """Raise the limit of open files as far as possible; return it, or None if there is none."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return None if hard == resource.RLIM_INFINITY else hard
