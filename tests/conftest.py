"""Fixtures: a server in this process or in one of its own, and its clients; and the watch on all locks."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import certificates, lockwatch
from support.clients import Program, Start
from support.servers import Process, Running, client_threads, needs, our_threads
from support.terminals import Tmux
from support.waiting import WAIT

from chat_threads.chat import Chat, Options
from chat_threads.client import Client as LibraryClient
from chat_threads.conversation import Limits

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a shell's background; our programs would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # under nohup; likewise
    signal.signal(signal.SIGHUP, lambda number, frame: None)

if os.path.isdir("/dev/shm"):  # tmp_path is in memory: every commit syncs, which is slow on a disk
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/dev/shm")


def pytest_timeout_set_timer(item: Any, settings: object) -> None:
    item.time_limit = settings


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: Any) -> None:
    """A test that is run once more has its whole time limit again. The failure stopped the timer."""
    if getattr(item, "execution_count", 1) > 1 and hasattr(item, "time_limit"):
        item.ihook.pytest_timeout_cancel_timer(item=item)
        item.ihook.pytest_timeout_set_timer(item=item, settings=item.time_limit)


@pytest.fixture(scope="session", autouse=True)
def watched_locks() -> Iterator[lockwatch.Watch]:
    """Watch all locks of the package, throughout the suite, and the calls made under them. From Python 3.12 on, only
    test_locks.py checks the calls, because each change of the profile function is slow there."""
    with lockwatch.Watch(looks=sys.version_info < (3, 12)).installed() as watch:
        yield watch
    if circle := watch.circle():
        raise lockwatch.LockFaults(circle)


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file system of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing may be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def nimble() -> Iterator[None]:
    """Make threads take turns often, so that races show."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(autouse=True)
def locks_as_in_their_table(watched_locks: lockwatch.Watch) -> Iterator[None]:
    """In every test, no lock is taken in a wrong order, and nothing waits under a lock."""
    watched_locks.faults.clear()
    yield
    if watched_locks.faults:
        raise lockwatch.LockFaults("\n".join(watched_locks.faults))


@pytest.fixture
def waits_under_a_lock_on_purpose(watched_locks: lockwatch.Watch) -> Iterator[None]:
    """For a test that lets other threads run while the code holds a lock."""
    yield
    watched_locks.faults[:] = [fault for fault in watched_locks.faults if not fault.startswith(("a wait for", "a get"))]


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


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> certificates.Files:
    """A certificate for this machine, and its key."""
    return certificates.make(tmp_path_factory.mktemp("tls"), "ours")


@pytest.fixture
def greets_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test in which many connections wait for the greeting. The server gives a browser time to speak first."""
    monkeypatch.setattr("chat_threads.receiver.GREETING_PAUSE", 0.0)
    monkeypatch.setattr("chat_threads.receiver.TWIN_PAUSE", 0.0)


@pytest.fixture
def greets_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test in which clients speak before they are greeted, however late the machine lets them."""
    monkeypatch.setattr("chat_threads.receiver.GREETING_PAUSE", WAIT)


@pytest.fixture
def server(serve: Callable[..., Running]) -> Running:
    """A server in this process with a fresh history and no limit on the rate."""
    return serve()


@pytest.fixture
def program(serve) -> Iterator[Start]:
    """Programs on a server, by default a server of their own: program("ann", room="#a"), program(server=server)."""
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


@pytest.fixture
def tmux(tmp_path) -> Iterator[Callable[..., Tmux]]:
    """Start programs in terminals: tmux("python", "-m", …); killed at the end."""
    started: list[Tmux] = []

    def start(*command: str, **size: int) -> Tmux:
        started.append(Tmux(needs("tmux"), tmp_path / f"written{len(started)}", *command, **size))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def screen(tmux) -> Callable[..., Tmux]:
    """Enter with the terminal client: screen(server, "ann")."""
    pytest.importorskip("prompt_toolkit")

    def come_in(to: Any, name: str, *options: str, **size: int) -> Tmux:
        address = f"127.0.0.1:{to if isinstance(to, int) else to.port}"
        opened = tmux(sys.executable, "-m", "chat_threads.client", address, "--name", name, *options, **size)
        opened.expect(rf"^\* Hello, {name}\.", r"^\* You are in #", r"^> *$", rf"^ {name}   #")
        return opened

    return come_in
