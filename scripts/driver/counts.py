"""Counts what one message costs the server: calls, system calls and thread switches. Other work on the machine changes
times; it hardly changes these.

The server runs in this process, and its clients in another. One client talks and keeps a number of messages under way;
a message is under way until every member of the room has it. So with one under way, each is a batch of its own.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pathlib
import re
import selectors
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from chat_threads.chat import Chat, Options
from chat_threads.conversation import Limits

from . import secure
from .dialects import DIALECTS, Dialect
from .websocket import Handshake
from .worker import Failed

PATIENCE = 30.0  # seconds to wait for the clients, and for strace
LINE = 64  # characters in a message
ROLES = ("reader", "history", "writer")
RUNTIME = 1 << 20  # bytes; more than the structure of the interpreter that contains the GIL has


@dataclass(frozen=True, slots=True)
class Counts:
    """The costs of ``messages`` messages to ``members`` members. A number that is not available is None."""

    members: int
    messages: int
    calls: dict[str, int] = field(default_factory=dict)
    """Calls of Python and C functions, by the role of the thread; threading.setprofile counts them."""
    writes: int | None = None
    """Calls of pwrite64. Sends to sockets do not count (proc(5), io, syscw)."""
    switches: int | None = None
    """How often a thread of the server began to wait (proc(5), status, voluntary_ctxt_switches)."""
    futexes: int | None = None
    """Calls of futex, by strace. With strace, only this and the next are counted."""
    gil_futexes: int | None = None
    """Those of them with which threads wait for Python's own lock, or wake somebody who does."""


@dataclass(frozen=True, slots=True)
class Times:
    """Of one message, by time.monotonic: when it was sent, and when half of the members and all of them had it."""

    sent: float
    middle: float
    last: float


HEADERS = ("reader", "history", "writers", "all calls", "by delivery", "pwrite64", "futex", "for the GIL", "switches")


def row(found: Sequence[Counts]) -> list[str]:
    """A row of a table under HEADERS: the medians for one message. "-": not available."""

    def median(of: Callable[[Counts], float | None]) -> str:
        values = [value / each.messages for each in found if (value := of(each)) is not None]
        return f"{statistics.median(values):.1f}" if values else "-"

    return [
        *(median(lambda each, role=role: each.calls.get(role)) for role in ROLES),  # type: ignore[misc]
        median(lambda each: sum(each.calls.values()) if each.calls else None),
        median(lambda each: each.calls["writer"] / each.members if each.calls else None),
        median(lambda each: each.writes),
        median(lambda each: each.futexes),
        median(lambda each: each.gil_futexes),
        median(lambda each: each.switches),
    ]


class _Calls:
    """Counts the calls of all threads that start while it is installed."""

    def __init__(self) -> None:
        self._by_thread: Counter[int] = Counter()  # by its ident; each thread changes its own

    @contextmanager
    def installed(self) -> Iterator[list[int]]:
        before = threading.getprofile()
        threading.setprofile(self._event)
        try:
            yield []
        finally:
            threading.setprofile(before)

    def _event(self, frame: FrameType, event: str, arg: object) -> None:
        if event in ("call", "c_call"):
            self._by_thread[threading.get_ident()] += 1

    def by_role(self) -> Counter[str]:
        """The calls so far of the threads that have not ended."""
        found: Counter[str] = Counter()
        for thread in threading.enumerate():
            found[thread.name.partition("-")[0]] += self._by_thread[thread.ident or 0]
        return found


def count(
    members: int, under_way: int, messages: int, rounds: int = 1, strace: bool = False, dialect: str = "text"
) -> list[Counts]:
    """Send ``messages`` messages in each round; the first one is for warming up, and does not count."""
    calls = _Calls()
    found: list[Counts] = []
    with tempfile.TemporaryDirectory() as folder:
        limits = Limits(rate=0, max_clients=members + 1)
        with _nothing() if strace else calls.installed():
            options = Options("127.0.0.1", 0, db=str(pathlib.Path(folder, "counts.db")), limits=limits)
            if DIALECTS[dialect].tls:
                cert, key = secure.make_now(folder)
                options = replace(options, tls_cert=cert, tls_key=key)
            chat = Chat(options)
            chat.start()
            try:
                with clients(chat.address[1], members, dialect) as them:
                    for _ in range(rounds + 1):
                        before = calls.by_role(), _writes(), _switches()
                        with _stracing(folder) if strace else _nothing() as futexes:
                            talk(them, under_way, messages)
                        after = calls.by_role(), _writes(), _switches()
                        found.append(_difference(members, messages, before, after, futexes))
            finally:
                chat.stop()
    return found[1:]


def count_joins(dialect: str, room_size: int, joins: int = 50) -> dict[str, float]:
    """The calls for each client that joins, by the role of the thread. It speaks at once, and another one comes when it
    has entered. There are ``room_size`` members in each room at the end. Threads that end are not counted."""
    calls, speaks = _Calls(), DIALECTS[dialect]
    with tempfile.TemporaryDirectory() as folder, calls.installed(), ExitStack() as stack:
        chat = Chat(Options("127.0.0.1", 0, db=str(pathlib.Path(folder, "counts.db")), limits=Limits(rate=0)))
        chat.start()
        stack.callback(chat.stop)

        def join(number: int) -> None:
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", chat.address[1]), PATIENCE))
            sock.sendall(speaks.hello(f"counts{number}", f"#counts{number // room_size}").encode())
            _until(sock, speaks.inside)

        first = room_size * (-(-joins // room_size))  # in whole rooms, so that each join is like any other
        for number in range(first):
            join(number)
        before = calls.by_role()
        for number in range(first, first + joins):
            join(number)
        after = calls.by_role()
    return {role: (after[role] - before[role]) / joins for role in ("acceptor", *ROLES)}


def _difference(
    members: int, messages: int, before: tuple[Any, ...], after: tuple[Any, ...], futexes: list[int]
) -> Counts:
    """What was counted between two moments."""
    if futexes:
        return Counts(members, messages, futexes=futexes[0], gil_futexes=futexes[1])
    calls = {role: after[0][role] - before[0][role] for role in ROLES}
    writes, switches = (
        None if was is None or now is None else now - was for was, now in zip(before[1:], after[1:], strict=True)
    )
    return Counts(members, messages, calls, writes, switches)


def _writes() -> int | None:
    return _number("/proc/self/io", "syscw")


def _switches() -> int | None:
    """By all threads but this one. Threads that have ended do not count."""
    if not os.path.isdir("/proc/self/task"):
        return None
    others = [each for each in os.listdir("/proc/self/task") if int(each) != threading.get_native_id()]
    return sum(_number(f"/proc/self/task/{each}/status", "voluntary_ctxt_switches") or 0 for each in others)


def _number(path: str, name: str) -> int | None:
    with suppress(OSError):
        found = re.search(rf"^{name}:\s+(\d+)$", pathlib.Path(path).read_text(), re.MULTILINE)
        return int(found[1]) if found else None
    return None


@contextmanager
def _nothing() -> Iterator[list[int]]:
    yield []


@contextmanager
def _stracing(folder: str) -> Iterator[list[int]]:
    """During the ``with`` block, count the calls of futex by this process; the list has them afterwards, and then those
    for the GIL. Raise Failed if strace cannot."""
    output = pathlib.Path(folder, "strace")
    command = ["strace", "-f", "-e", "trace=futex", "-e", "signal=none", "-o", str(output), "-p", str(os.getpid())]
    found: list[int] = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        said = strace.stderr.readline()
        if "attached" not in said:
            raise Failed(f"strace does not count: {said.strip()}")
        yield found
        strace.send_signal(signal.SIGINT)
        strace.communicate(timeout=PATIENCE)
    calls = [int(address, 16) for address in re.findall(r"futex\(0x([0-9a-f]+),", output.read_text())]
    runtime = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    found += [len(calls), sum(runtime <= each < runtime + RUNTIME for each in calls)]


# --- the clients, in a process of their own ---------------------------------------------------------------


@contextmanager
def clients(port: int, members: int, dialect: str) -> Iterator[Connection]:
    """Clients in one room. The connection is for ``talk``."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_be_the_clients, args=(port, members, dialect, theirs))
    process.start()
    theirs.close()
    try:
        _wait(ours)
        yield ours
    finally:
        ours.close()  # it ends with that
        process.join(PATIENCE)


def talk(clients: Connection, under_way: int, messages: int) -> list[Times]:
    """Have one of the clients say the messages; return when all of them have them."""
    clients.send((under_way, messages))
    return [Times(*each) for each in _wait(clients)]


def _wait(clients: Connection) -> Any:
    try:
        if not clients.poll(PATIENCE):
            raise Failed("the clients did not get everything in time")
        return clients.recv()
    except EOFError:
        raise Failed("the clients broke off") from None


def _be_the_clients(port: int, members: int, dialect: str, orders: Connection) -> None:
    speaks = DIALECTS[dialect]
    with ExitStack() as stack:
        socks = []
        for _ in range(members):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            if speaks.tls:
                sock = stack.enter_context(secure.trusting().wrap_socket(sock))
            if speaks.upgrade:  # at once: the server greets a client that says nothing
                sock.sendall(Handshake(f"127.0.0.1:{port}", bytes(16)).request)
                _until(sock, b"\r\n\r\n")
            socks.append(sock)
        for number, sock in enumerate(socks):
            sock.sendall(speaks.packed(speaks.hello(f"counts{number}", "#lobby").encode()))
        for sock in socks:
            if speaks.welcome:
                _until(sock, speaks.welcome)
                sock.sendall(speaks.enter("#lobby").encode())
            for question, answer in speaks.asked:
                _until(sock, question)
                sock.sendall(answer)
            _until(sock, speaks.inside)
        orders.send("ready")
        with suppress(EOFError):
            while True:
                orders.send(_say(socks, speaks, *orders.recv()))


def _until(sock: socket.socket, wanted: bytes) -> None:
    data = b""
    while wanted not in data:
        more = sock.recv(65536)
        if not more:
            raise Failed(f"the server closed a connection: {data[-200:]!r}")
        data += more


def _say(socks: list[socket.socket], speaks: Dialect, under_way: int, messages: int) -> list[list[float]]:
    """The first socket says the messages, each with a mark at its end. Returns the Times of each message."""
    (before, after), mark = speaks.say, speaks.mark
    text = "x" * (LINE - len(mark)) + mark.decode()
    line = speaks.packed(f"{before.format(room='#lobby')}{text}{after.format()}".encode())
    had = dict.fromkeys(socks, 0)
    cut = dict.fromkeys(socks, b"")  # the last bytes, which may be the beginning of a mark
    times: list[list[float]] = []
    having = [0] * messages  # members that have each of the messages
    done = 0  # messages that all members have
    with selectors.DefaultSelector() as selector:
        for sock in socks:
            selector.register(sock, selectors.EVENT_READ, sock)
        while done < messages:
            if more := min(done + under_way, messages) - len(times):
                times += [[time.monotonic(), 0.0, 0.0] for _ in range(more)]
                socks[0].sendall(more * line)
            for key, _ in selector.select():
                member: socket.socket = key.data
                data = cut[member] + member.recv(65536)
                cut[member] = data[len(data) + 1 - len(mark) :]
                first = had[member]
                had[member] = first + data.count(mark)
                for number in range(first, had[member]):
                    having[number] += 1
                    if having[number] == (len(socks) + 1) // 2:
                        times[number][1] = time.monotonic()
                    if having[number] == len(socks):
                        times[number][2] = time.monotonic()
                        done += 1
    return times
