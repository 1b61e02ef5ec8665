"""A server in this process or in a process of its own, and other programs that the tests start."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import random
import re
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
from typing import NoReturn

import pytest

from chat_threads.chat import Chat

from .clients import Client
from .waiting import WAIT


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

    def client(self, name: str | None = None, receive_buffer: int = 0, tls: ssl.SSLContext | None = None) -> Client:
        client = Client(self.port, name, receive_buffer=receive_buffer, tls=tls)
        self.clients.append(client)
        return client

    def clients_named(self, *names: str) -> list[Client]:
        """Clients that have all entered and have seen one another join."""
        clients = [self.client(name) for name in names]
        for _ in range(2):  # after the first round all have joined, after the second all have seen it
            for client in clients:
                client.news()
        return clients


def client_threads() -> list[threading.Thread]:
    """The client library's threads that are alive in this process."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("client-")]


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


def stored(db: pathlib.Path) -> list[tuple[int, str, str]]:
    """(number, sender, text) of all messages in a history with one room, in order, after its server has ended."""
    with contextlib.closing(sqlite3.connect(db)) as connection:
        return connection.execute("SELECT number, sender, text FROM messages ORDER BY number").fetchall()


STREAMS = [">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full", "</dev/null >&0 2>&0"]


def started_with(streams: str, *program: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a Python program by a shell, with the redirections given in the shell's syntax."""
    return subprocess.Popen(
        ["sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, *program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )


def free_port() -> int:
    """A port outside the system's range for connections, so that servers can listen on it again and again."""
    chance = random.Random()
    while True:
        port = chance.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def needs(program: str) -> str:
    """The path of a program that a test drives. Without it, skip; in CI, fail, because it must be there."""
    import shutil

    # Debian installs tt++ and haproxy in directories that may not be in PATH.
    path = shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":/usr/games:/usr/sbin")
    if path is None:
        lacks(program)
    return path


def lacks(what: str) -> NoReturn:
    """What a test is about is not installed: skip it; in CI, fail."""
    message = f"{what} is not installed, so this was not tested with it"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
