"""The clients of bench.py: as little work as possible for each delivery, so that the servers are measured and not they.

One of them talks, and keeps a number of messages under way. Every message has a mark, and the clients count marks
instead of reading lines. At the end, every client must have as many as there were messages. load.py looks at each
message, and so finds more; it costs several times as much.

A crowd may be in several processes. The client that talks is in the first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import multiprocessing
import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from . import machine
from .dialects import DIALECTS
from .secure import SecureSocket
from .websocket import Handshake
from .worker import Failed, raise_file_limit

BUFFER = 1 << 18  # bytes read at a time
PATIENCE = 15.0  # seconds without a byte, after which what is missing is lost
LIMIT = 60.0  # seconds that the rest of a run's messages may take to arrive
BUSY = 0.9  # of a core: above this, the crowd may be the bottleneck
END_OF_HEAD = b"\r\n\r\n"
TICK = 0.05  # seconds between two looks at the clock and at the other processes


@dataclass(frozen=True, slots=True)
class Task:
    """What the crowd has to do. Times are in seconds."""

    port: int
    dialect: str
    clients: int  # that get each message
    window: int  # messages under way
    seconds: float  # of talk; 0: they only join
    run: str  # letters and digits for the clients' names
    at_once: int = 64  # connections under way
    rooms: int = 1  # more than one only for joining, without talk
    size: int = 64  # characters in a message
    others: tuple[int, ...] = ()  # ports of more servers: the clients take turns with all of them
    meter: int = 0  # the client that ends a message's time under way; 0: the sender, or the first of the others


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a crowd found."""

    clients: int
    joining: float  # seconds until all clients were in the room
    joining_cpu: float  # of a core, of the busiest process meanwhile
    memory: int | None  # bytes that the server took for a client
    delivered: int = 0  # during the seconds of talk
    in_all: int = 0  # up to the last message
    sent: int = 0
    wrong: int = 0  # messages that a client did not get, or got twice
    cpu: float = 0.0  # of a core, of the busiest process during the talk
    server_cpu: float | None = None  # seconds from the beginning of the talk to the last message
    latencies: Sequence[float] = (0.0,)  # seconds until the sender, or the first of the others, had a message; in order

    def latency(self, percent: float) -> float:
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * percent / 100))]


class Crowd:
    """Processes with clients. They do one task after another."""

    def __init__(self, pipes: list[Connection]) -> None:
        self._pipes = pipes

    def do(self, task: Task, server: int) -> Outcome:
        """``server`` is its process. Raises Failed; another task may follow."""
        return self._do([task], lambda: machine.usage(server))

    def do_each(self, tasks: Sequence[Task], usage: Callable[[], machine.Usage | None]) -> Outcome:
        """One task for each process, which has a sender of its own, and a room. ``usage`` is that of all servers; it is
        asked for three times: before all, before the talk, and after the last message."""
        assert len(tasks) == len(self._pipes)
        return self._do(tasks, usage)

    def _do(self, tasks: Sequence[Task], usage: Callable[[], machine.Usage | None]) -> Outcome:
        try:
            return self._work(tasks, usage)
        finally:
            self._tell("end")
            with contextlib.suppress(EOFError, OSError):  # a process has ended, which was reported
                for pipe in self._pipes:
                    while pipe.recv() != "ended":
                        pass

    def _work(self, tasks: Sequence[Task], usage: Callable[[], machine.Usage | None]) -> Outcome:
        """One task for all processes, or one for each."""
        before = usage()
        clients = sum(task.clients for task in tasks)
        self._tell(*tasks)
        joined = self._hear()
        self._tell("warm up")  # which also shows that everything before that has arrived
        self._hear()
        ready = usage()
        outcome = Outcome(
            clients=clients,
            joining=max(each[0] for each in joined),
            joining_cpu=max(each[1] for each in joined),
            memory=(ready.memory - before.memory) // clients if before and ready else None,
        )
        if not tasks[0].seconds:
            return outcome
        self._tell("talk")
        talked = self._hear()
        sent = [each[1] for each in talked[: len(tasks)]]  # if there is one task, the first process has the sender
        self._tell(*sent)
        done = self._hear()
        after = usage()
        return dataclasses.replace(
            outcome,
            delivered=sum(each[0] for each in talked),
            in_all=sum(each[0] for each in done),
            sent=sum(sent) - sum(task.window for task in tasks),
            wrong=sum(each[1] for each in done),
            cpu=max(each[2] for each in talked),
            server_cpu=after.cpu - ready.cpu if ready and after else None,
            latencies=sorted(latency for each in talked for latency in each[3]) or (0.0,),
        )

    def _tell(self, *what: object) -> None:
        """Tell all processes the same, or each one something else."""
        for pipe, each in zip(self._pipes, what if len(what) > 1 else what * len(self._pipes), strict=True):
            with contextlib.suppress(OSError):  # the process has ended: _hear reports it
                pipe.send(each)

    def _hear(self) -> list[Any]:
        """The next message of each process. Raises Failed if a process says so."""
        found: dict[Connection, Any] = {}
        try:
            while len(found) < len(self._pipes):
                for pipe in wait([pipe for pipe in self._pipes if pipe not in found]):
                    assert isinstance(pipe, Connection)
                    found[pipe] = pipe.recv()
                    if isinstance(found[pipe], Failed):
                        raise found[pipe]
        except (EOFError, OSError):
            raise Failed("a process with clients ended before its time") from None
        return [found[pipe] for pipe in self._pipes]


@contextlib.contextmanager
def crowd(processes: int, apart: bool = False) -> Iterator[Crowd]:
    """A crowd during the ``with`` block. ``apart``: each process is to have tasks of its own."""
    context = multiprocessing.get_context("spawn")
    started, pipes = [], []
    try:
        for number in range(processes):
            share = (0, 1) if apart else (number, processes)
            ours, theirs = context.Pipe()
            started.append(context.Process(target=_main, args=(*share, theirs), daemon=True))
            started[-1].start()
            theirs.close()
            pipes.append(ours)
        yield Crowd(pipes)
    finally:
        for pipe in pipes:
            pipe.close()
        for process in started:
            process.join(2)
            if process.is_alive():
                process.terminate()
                process.join()


def _main(number: int, processes: int, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # bench.py handles Ctrl-C, and closes the pipe
    raise_file_limit()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            task, over = pipe.recv(), False
            try:
                with contextlib.closing(_Clients(task, number, processes, pipe)) as clients:
                    clients.work()
                    over = pipe.recv() == "end"  # only then may the clients leave, which costs the server time
            except Failed as failed:
                pipe.send(failed)
            except _Over:
                over = True
            while not over:
                over = pipe.recv() == "end"
            pipe.send("ended")


class _Over(Exception):
    """Another process has failed."""


@dataclass(slots=True, eq=False)
class _Client:
    sock: socket.socket
    waits_for: deque[tuple[bytes, bytes]] = field(default_factory=deque)  # signs, and what to send after each
    talks: bool = False
    meter: bool = False  # when it has a message, the sender may send another one
    had: int = 0
    tail: bytes = b""  # the last bytes, which may be the beginning of a mark; when entering, all bytes


class _Clients:
    """The clients of one process."""

    def __init__(self, task: Task, process: int, processes: int, pipe: Connection) -> None:
        self.task = task
        self.pipe = pipe
        self.dialect = DIALECTS[task.dialect]
        self.all = task.clients + (not self.dialect.echo)  # a sender without an echo is one more
        self.numbers = list(range(process, self.all, processes))
        if process == 0 and not self.dialect.echo and processes > 1:
            self.numbers = [0, 1, *self.numbers[1:]]  # the sender and the meter are in the same process
        elif process == 1 and not self.dialect.echo:
            self.numbers = self.numbers[1:]
        self.selector = selectors.DefaultSelector()
        self.clients: list[_Client] = []
        self.room = f"#{task.run}r0"  # a new one has no history that would be shown
        self.sender: _Client | None = None
        self.read_into = memoryview(bytearray(BUFFER))
        self.heard = time.perf_counter()
        before, after = self.dialect.say
        text = f"{'abcdefghijklmnopqrstuvwxyz' * 80}"[: task.size - len(self.dialect.mark)] + self.dialect.mark.decode()
        self.line = f"{before.format(room=self.room)}{text}{after.format()}".encode()
        self.out = b""  # bytes of the sender that the system has not taken yet
        self.sent = 0
        self.due: deque[float] = deque()  # when the messages under way were sent
        self.latencies: list[float] = []
        self.talking = False

    def close(self) -> None:
        for client in self.clients:
            client.sock.close()
        self.selector.close()

    # --- what happens, in order -----------------------------------------------------------------------------

    def work(self) -> None:
        began, cpu = time.perf_counter(), time.process_time()
        self._join()
        took = time.perf_counter() - began
        self.pipe.send((took, (time.process_time() - cpu) / took))
        self._expect("warm up")
        window = self.task.window if self.task.rooms == 1 else 0
        if self.sender:
            self._say(window)
        self._read_until_all_have(window)
        if any(client.had < window for client in self.clients if self._is_owed(client)):
            raise Failed("not everybody has the first messages")
        self.pipe.send("warm")
        self._expect("talk")
        self._talk()
        sent = self._next()
        self._read_until_all_have(sent)
        owed = [client for client in self.clients if self._is_owed(client)]
        self.pipe.send((self._had() - window * len(owed), sum(abs(sent - client.had) for client in owed)))

    def _join(self) -> None:
        waiting = deque(self.numbers)
        under_way: set[_Client] = set()
        while waiting or under_way:
            while waiting and len(under_way) < self.task.at_once:
                under_way.add(self._connect(waiting.popleft()))
            self._enter()
            under_way = {client for client in under_way if client.waits_for}
            if time.perf_counter() - self.heard > PATIENCE:
                raise Failed("the server no longer answers")

    def _connect(self, number: int) -> _Client:
        task, dialect = self.task, self.dialect
        sock = SecureSocket() if dialect.tls else socket.socket()
        client = _Client(sock, talks=number == 0, meter=number == (task.meter or (0 if dialect.echo else 1)))
        self.clients.append(client)
        if client.talks:
            self.sender = client
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name, room = f"b{task.run}x{number}", f"#{task.run}r{number % task.rooms}"
        hello = dialect.packed(((dialect.first if client.talks else "") + dialect.hello(name, room)).encode())
        steps = [(b"", hello), (dialect.inside, b"")]  # what to see first, and what to send then
        if dialect.welcome:
            steps[1:1] = [(dialect.welcome, dialect.enter(room).encode()), *dialect.asked]
        if dialect.upgrade:
            handshake = Handshake(f"127.0.0.1:{task.port}", os.urandom(16))
            steps = [(b"", handshake.request), (END_OF_HEAD, hello), *steps[1:]]
        client.waits_for.extend(steps)
        ports = (task.port, *task.others)
        error = sock.connect_ex(("127.0.0.1", ports[number % len(ports)]))
        if error not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            raise Failed(os.strerror(error))
        self.selector.register(sock, selectors.EVENT_WRITE, client)
        return client

    def _enter(self) -> None:
        """Serve the clients that are ready, once, while some of them join."""
        for key, events in self.selector.select(TICK):
            client: _Client = key.data
            self.heard = time.perf_counter()
            if events & selectors.EVENT_WRITE:  # it is connected
                self._step(client)
                self.selector.modify(client.sock, selectors.EVENT_READ, client)
                continue
            data = self._received(client)
            if not client.waits_for:
                continue
            data = client.tail + data
            while client.waits_for and (at := data.find(client.waits_for[0][0])) >= 0:
                data = data[at + len(client.waits_for[0][0]) :]
                self._step(client)
            if trouble := self.dialect.trouble.search(data) if client.waits_for else None:
                raise Failed(trouble[0].decode("utf-8", "replace").strip())
            if not client.waits_for:
                client.tail = b""
            else:  # a line that is not whole yet; of an HTTP response, everything
                client.tail = data if client.waits_for[0][0] == END_OF_HEAD else data[data.rfind(b"\n") + 1 :]

    def _step(self, client: _Client) -> None:
        _, answer = client.waits_for.popleft()
        try:
            if answer and client.sock.send(answer) < len(answer):
                raise Failed("the server takes no more")
        except OSError as error:
            raise Failed(f"{error.strerror}") from None

    def _received(self, client: _Client) -> bytes:
        try:
            data = client.sock.recv(65536)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise Failed(f"{error.strerror}") from None
        if not data:
            said = client.tail.decode("utf-8", "replace").strip().splitlines()
            raise Failed(f"the server closed the connection{': ' + said[-1] if said else ''}")
        return data

    def _talk(self) -> None:
        before, cpu, began = self._had(), time.process_time(), time.perf_counter()
        end = began + self.task.seconds
        self.latencies.clear()
        self.talking = True
        if self.sender:
            self._say(self.task.window)
        while (now := time.perf_counter()) < end:
            self._read(min(TICK, end - now))
        self.talking = False
        took = time.perf_counter() - began
        delivered = round((self._had() - before) * self.task.seconds / took)
        share = (time.process_time() - cpu) / took
        self.pipe.send((delivered, self.sent, share, self.latencies))

    # --- reading and sending --------------------------------------------------------------------------------

    def _read(self, timeout: float) -> None:
        """Wait for the sockets, and count what has come, once for each of them."""
        into, mark = self.read_into, self.dialect.mark
        rest = len(mark) - 1
        buffer = into.obj
        assert isinstance(buffer, bytearray)
        count = buffer.count
        ready = self.selector.select(timeout)
        for key, events in ready:
            client: _Client = key.data
            if events & selectors.EVENT_WRITE:
                self._send()
            try:
                if rest:  # a mark may begin in what was read before
                    kept = len(client.tail)
                    into[:kept] = client.tail
                    got = kept + client.sock.recv_into(into[kept:])
                    client.tail = bytes(into[max(0, got - rest) : got])
                else:
                    kept = 0
                    got = client.sock.recv_into(into)
            except BlockingIOError:
                continue
            except OSError as error:
                raise Failed(f"a client was cut off: {error.strerror}") from None
            if got == kept:
                raise Failed("the server closed a connection")
            marks = count(mark, 0, got)
            client.had += marks
            if client.meter and marks:
                self._came_back(marks)
        if ready:
            self.heard = time.perf_counter()

    def _read_until_all_have(self, messages: int) -> None:
        """Read until every client has so many messages, or nothing has come for PATIENCE."""
        began = self.heard = time.perf_counter()
        while any(client.had < messages for client in self.clients if self._is_owed(client)):
            self._read(TICK)
            now = time.perf_counter()
            if now - self.heard > PATIENCE or now - began > LIMIT:
                return

    def _came_back(self, marks: int) -> None:
        now = time.perf_counter()
        for _ in range(min(marks, len(self.due))):
            self.latencies.append(now - self.due.popleft())
        if self.talking:
            self._say(self.task.window - len(self.due))

    def _say(self, messages: int) -> None:
        """Each message is sent by itself, as people do."""
        for _ in range(messages):
            self.out += self.dialect.packed(self.line)
            self.sent += 1
            self.due.append(time.perf_counter())
            self._send()

    def _send(self) -> None:
        assert self.sender
        sock = self.sender.sock
        with contextlib.suppress(BlockingIOError):
            self.out = self.out[sock.send(self.out) :]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.out else 0)
        if self.selector.get_key(sock).events != events:
            self.selector.modify(sock, events, self.sender)

    # --- counting -------------------------------------------------------------------------------------------

    def _is_owed(self, client: _Client) -> bool:
        """Whether it gets the messages; a sender without an echo does not."""
        return self.dialect.echo or not client.talks

    def _had(self) -> int:
        return sum(client.had for client in self.clients)

    # --- the main process -----------------------------------------------------------------------------------

    def _next(self) -> Any:
        """Read until the main process says something."""
        while not self.pipe.poll():
            self._read(TICK)
        said = self.pipe.recv()
        if said == "end":
            raise _Over
        return said

    def _expect(self, wanted: str) -> None:
        said = self._next()
        assert said == wanted, said
