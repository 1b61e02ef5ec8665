"""What the tests share: a server in this process or in one of its own, and a client on a plain socket."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import random
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import lockwatch
import pytest

from chat_threads.chat import Chat, Options
from chat_threads.client import Client as LibraryClient
from chat_threads.conversation import Limits
from chat_threads.events import Message

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background; what we start would ignore it, too
    signal.signal(signal.SIGINT, signal.default_int_handler)

ASKS_FOR_BINARY = b"\xff\xfd\x00"  # what the server says to a client that has sent telnet's commands: IAC DO BINARY
WAIT = 20.0  # seconds; how long a test waits for what should come soon, on a busy machine


@pytest.fixture(scope="session", autouse=True)
def watched_locks() -> Iterator[lockwatch.Watch]:
    """All locks of the package, throughout the suite. What is called under them is looked at, too, but from
    Python 3.12 on only by test_locks.py: there each change of the profile function takes long."""
    with lockwatch.Watch(looks=sys.version_info < (3, 12)).installed() as watch:
        yield watch
    assert watch.circle() is None


@pytest.fixture(autouse=True)
def locks_as_in_their_table(watched_locks: lockwatch.Watch) -> Iterator[None]:
    """Whatever a test does, no lock is taken in a wrong order, and nothing waits under one."""
    watched_locks.faults.clear()
    yield
    assert watched_locks.faults == []


@pytest.fixture
def waits_under_a_lock_on_purpose(watched_locks: lockwatch.Watch) -> Iterator[None]:
    """For a test that lets others run in the middle of what the code does under a lock."""
    yield
    watched_locks.faults[:] = [fault for fault in watched_locks.faults if not fault.startswith(("a wait for", "a get"))]


class Client:
    """A chat client on a plain socket. Everything waits for what should come, and fails with what came."""

    def __init__(
        self,
        port: int,
        name: str | None = None,
        host: str = "127.0.0.1",
        receive_buffer: int = 0,
        source: str | None = None,
    ) -> None:
        """``source``: the address of this machine that it comes from, such as 127.0.0.2 (Linux)."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(WAIT)
        try:
            if source:
                self.sock.bind((source, 0))
            self.sock.connect((host, port))
        except OSError:
            self.sock.close()
            raise
        self.buffer = b""
        self.seen: list[str] = []  # every line read so far
        if name is not None:
            self.send(name)
            self.expect("You are in #")

    def send(self, *lines: str) -> None:
        self.send_bytes("".join(line + "\r\n" for line in lines).encode())

    def send_bytes(self, data: bytes) -> None:
        self.sock.sendall(data)

    def line(self, wait: float = WAIT) -> str | None:
        """The next line without its end; None at the end of the connection."""
        deadline = time.monotonic() + wait
        while b"\r\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"no line within {wait} s; seen: {self.seen[-20:]}, {self.buffer!r}")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return None
            if not data:
                return None
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        self.seen.append(line.replace(ASKS_FOR_BINARY, b"").decode())
        return self.seen[-1]

    def expect(self, text: str, wait: float = WAIT) -> str:
        """Read on to a line that has the text, and return it."""
        deadline = time.monotonic() + wait
        while True:
            line = self.line(max(0.0, deadline - time.monotonic()))
            if line is None:
                raise AssertionError(f"the connection ended before {text!r}; seen: {self.seen[-20:]}")
            if text in line:
                return line

    def upto(self, text: str, wait: float = WAIT) -> list[str]:
        """All lines up to one that has the text, that one left out."""
        at = len(self.seen)
        self.expect(text, wait)
        return self.seen[at:-1]

    def ask(self, line: str) -> list[str]:
        """Send a line and return all that comes up to the answer of a ping after it.

        What others say at that moment may be among it.
        """
        self.send(line, "/ping")
        return self.upto("* Pong:")

    def news(self) -> list[str]:
        """All that has come by now and was not read."""
        return self.ask("")

    def rest(self, wait: float = WAIT) -> list[str]:
        """All lines up to the end of the connection."""
        at = len(self.seen)
        deadline = time.monotonic() + wait
        while self.line(max(0.0, deadline - time.monotonic())) is not None:
            pass
        return self.seen[at:]

    def nothing_comes(self, wait: float = 0.2) -> bool:
        """Whether nothing can be read for a while."""
        return not self.buffer and not select.select([self.sock], [], [], wait)[0]

    def reset(self) -> None:
        """Break the connection: RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


def line_of(request: object) -> bytes:
    return json.dumps(request, ensure_ascii=False).encode() + b"\n"


class Program:
    """A client that speaks JSON lines on a plain socket. Everything waits for what should come."""

    def __init__(self, port: int, receive_buffer: int = 0) -> None:
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(WAIT)
        self.sock.connect(("127.0.0.1", port))
        self.file = self.sock.makefile("rb")
        self.greeting: bytes | None = None
        self.seen: list[dict[str, Any]] = []
        self._pings = itertools.count()

    def send(self, *requests: object, **fields: object) -> None:
        self.sock.sendall(b"".join(map(line_of, [*requests, *([fields] if fields else [])])))

    def read(self) -> dict[str, Any] | None:
        """The next object; None at the end of the connection. The greeting before them is skipped."""
        if self.greeting is None:
            self.greeting = self.file.readline()
            assert self.greeting.startswith(b"* Welcome to chat_threads ")
        line = self.file.readline()
        if not line:
            return None
        assert line.endswith(b"\n")
        self.seen.append(json.loads(line))
        return self.seen[-1]

    def expect(self, kind: str, /, **fields: object) -> dict[str, Any]:
        """Read on to an object of that type with these fields, and return it."""
        while (found := self.read()) is not None:
            if found["type"] == kind and fields.items() <= found.items():
                return found
        raise AssertionError(f"the connection ended before {kind} {fields}; seen: {self.seen[-20:]}")

    def upto(self, kind: str, /, **fields: object) -> list[dict[str, Any]]:
        """All objects up to such a one, that one left out."""
        at = len(self.seen)
        self.expect(kind, **fields)
        return self.seen[at:-1]

    def ask(self, *requests: object, **fields: object) -> list[dict[str, Any]]:
        """Send requests and return all that comes up to the answer of a ping after them."""
        ref = f"ping {next(self._pings)}"
        self.send(*requests, *([fields] if fields else []), {"type": "ping", "ref": ref})
        return self.upto("pong", ref=ref)

    def rest(self) -> list[dict[str, Any]]:
        at = len(self.seen)
        while self.read() is not None:
            pass
        return self.seen[at:]

    def close(self) -> None:
        self.file.close()
        self.sock.close()


Start = Callable[..., Program]


@contextlib.contextmanager
def held(lock: Any) -> Iterator[None]:
    """Somebody holds the lock."""
    taken, release = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            release.wait(WAIT)

    thread = threading.Thread(target=hold, name="holder")
    thread.start()
    assert taken.wait(WAIT)
    try:
        yield
    finally:
        release.set()
        thread.join()


def wait_for(condition: Callable[[], object], what: str = "", wait: float = WAIT) -> None:
    """Wait until the condition holds, looking again and again; for what has no event of its own."""
    deadline = time.monotonic() + wait
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {wait} s: {what or condition}"
        tick.wait(0.01)


def our_threads() -> list[threading.Thread]:
    """The server's threads that are alive in this process."""
    ours = re.compile(r"(reader-|writer-|acceptor|history|log$)")
    return [thread for thread in threading.enumerate() if ours.match(thread.name)]


@dataclasses.dataclass
class Running:
    """A server in this process, and clients that are closed at the end of the test."""

    chat: Chat
    clients: list[Client]

    @property
    def port(self) -> int:
        return self.chat.address[1]

    def client(self, name: str | None = None, receive_buffer: int = 0) -> Client:
        client = Client(self.port, name, receive_buffer=receive_buffer)
        self.clients.append(client)
        return client

    def clients_named(self, *names: str) -> list[Client]:
        """Clients that are all in, and have seen one another join."""
        clients = [self.client(name) for name in names]
        for _ in range(2):  # after the first round all have joined, after the second all have seen it
            for client in clients:
                client.news()
        return clients


@pytest.fixture
def serve(tmp_path: pathlib.Path) -> Iterator[Callable[..., Running]]:
    """Start servers in this process: serve(rate=…, queue_limit=…, writers=…, db=…), any Options or Limits."""
    started: list[Running] = []

    def start(**settings: object) -> Running:
        limits = {field.name for field in dataclasses.fields(Limits)}
        chosen = {"rate": 0.0, **{key: value for key, value in settings.items() if key in limits}}
        others = {key: value for key, value in settings.items() if key not in limits}
        options = {"host": "127.0.0.1", "port": 0, "db": str(tmp_path / "chat.db"), **others}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("chat_threads.chat.POLL", 0.02)  # so that many servers stop soon
            chat = Chat(Options(limits=Limits(**chosen), **options))  # type: ignore[arg-type]
        chat.start()
        started.append(Running(chat, []))
        return started[-1]

    yield start
    for running in started:
        for client in running.clients:
            client.close()
        assert running.chat.stop() == []
    assert our_threads() == []


@pytest.fixture
def server(serve: Callable[..., Running]) -> Running:
    """A server in this process with a fresh history and no limit on the rate."""
    return serve()


@pytest.fixture
def program(serve) -> Iterator[Start]:
    """Programs of a server, by default a server of their own: program("ann", room="#a"), program(server=server)."""
    with contextlib.ExitStack() as stack:
        default: list[Running] = []

        def start(
            name: str | None = None, server: Running | None = None, receive_buffer: int = 0, **hello: object
        ) -> Program:
            if server is None:
                default.extend([] if default else [serve()])
                server = default[0]
            client = Program(server.port, receive_buffer)
            stack.callback(client.close)
            if name is not None:
                client.send(type="hello", name=name, **hello)
                client.expect("joined")
            return client

        yield start


def client_threads() -> list[threading.Thread]:
    """Those of the client library that are alive in this process."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("client-")]


@pytest.fixture
def connect() -> Iterator[Callable[..., LibraryClient]]:
    """Make clients with the library: connect(server, "ann", reconnect=True, …), or to a port. Closed at the end."""
    with contextlib.ExitStack() as stack:

        def start(to: Any, name: str, **options: Any) -> LibraryClient:
            port = to if isinstance(to, int) else to.port
            options = {"timeout": WAIT, "longest_pause": 0.05, **options}
            return stack.enter_context(LibraryClient("127.0.0.1", port, name=name, **options))

        yield start
    assert client_threads() == []


def whole(reader: LibraryClient, room: str) -> list[Message]:
    """All that the history has of a room."""
    found: list[Message] = []
    after: int | None = 0
    while after is not None:
        page = reader.history(room, after=after, count=200)
        found += page.messages
        after = page.after
    return found


class Process:
    """A server in a process of its own, started as a user starts it; after a shell command, if there is one.

    ``plant`` is Python that this process runs first, to plant a fault in what follows.
    """

    def __init__(
        self,
        db: pathlib.Path,
        *options: str,
        port: int = 0,
        env: dict[str, str] | None = None,
        shell: str = "",
        plant: str = "",
    ) -> None:
        self.db = db
        program = ["-c", f"{plant}\nfrom chat_threads.cli import main\nmain()"] if plant else ["-m", "chat_threads"]
        command = [sys.executable, *program, "--host", "127.0.0.1", "--port", str(port), "--db", str(db)]
        self.popen = subprocess.Popen(
            [*(["sh", "-c", f'{shell} && exec "$@"', "sh"] if shell else []), *command, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        assert self.popen.stdout is not None
        self.output = ""
        self.errors = ""
        self._drain = threading.Thread(target=self._read_errors, daemon=True)
        self._drain.start()
        while "History:" not in self.output:
            line = self.popen.stdout.readline()
            if not line:
                self.kill()
                raise AssertionError(f"the server did not start: {self.output}{self.errors}")
            self.output += line
        found = re.search(r"telnet \S+ (\d+)", self.output)
        assert found
        self.port = int(found[1])

    def _read_errors(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            self.errors += line

    def client(self, name: str | None = None) -> Client:
        return Client(self.port, name)

    def kill(self) -> None:
        """kill -9"""
        self.popen.kill()
        self._end()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; return its exit code."""
        self.popen.send_signal(number)
        return self._end()

    def _end(self) -> int:
        assert self.popen.stdout is not None
        code = self.popen.wait(WAIT)
        self._drain.join(WAIT)
        self.output += self.popen.stdout.read()
        self.popen.stdout.close()
        assert self.popen.stderr is not None
        self.popen.stderr.close()
        return code


@pytest.fixture
def start_process(tmp_path: pathlib.Path) -> Iterator[Callable[..., Process]]:
    """Start servers in processes of their own: start_process("--rate", "0", db=…). Killed at the end."""
    started: list[Process] = []

    def start(*options: str, db: pathlib.Path | None = None, **more: object) -> Process:
        started.append(Process(db or tmp_path / "chat.db", *options, **more))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for process in started:
        if process.popen.poll() is None:
            process.kill()
        with contextlib.suppress(OSError, AttributeError):
            process.popen.stdout.close()  # type: ignore[union-attr]


@pytest.fixture
def clock(tmp_path: pathlib.Path) -> tuple[pathlib.Path, dict[str, str]]:
    """A file that says how far a process with that environment finds the clock moved; monotonic time stays."""
    found = [*pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]
    if not found:
        message = "libfaketime is not installed, so no clock was set"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    offset = tmp_path / "offset"
    offset.write_text("+0\n")
    return offset, {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


STREAMS = [">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full", "</dev/null >&0 2>&0"]


def started_with(streams: str, *program: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """A Python program, started by a shell with its streams as the shell's words say."""
    return subprocess.Popen(
        ["sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, *program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )


def free_port() -> int:
    """One that is not of those that the system gives to connections: it is to be listened on again and again."""
    chance = random.Random()
    while True:
        port = chance.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def needs(program: str) -> str:
    """The path of a program that a test drives; skip without it, and fail in CI, where it has to be."""
    import shutil

    # Debian has tt++ and haproxy where not everybody looks.
    path = shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":/usr/games:/usr/sbin")
    if path is None:
        message = f"{program} is not installed, so this was not tested with it"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path
