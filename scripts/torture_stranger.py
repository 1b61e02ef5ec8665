"""The torture of a server that is not ours, such as a student's (docs/capstone), with what any server can survive.

It speaks the part of the protocol that docs/capstone/protocol.rst has: no rules of rooms, no search, no TLS and no
WebSockets. Nobody knows how it keeps what was said. So the history is read from it, after another start, by a client
that enters each room with since=0.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

from stairs.program import command_line, free_port
from torture_checker import Row
from torture_clients import Client
from torture_connection import PATIENCE, Connection, Gone, Odd
from torture_faults import Meddling, Server
from torture_world import World, now

FAULTS = (
    "kills",
    "SIGTERM, and started again",
    "SIGSTOP, then SIGCONT",
    "clients broke off",
    "a client did not read",
)


class Stranger(Server):
    """A server that a command starts. It listens on the port of ``--port`` and keeps its history in ``--db``."""

    def __init__(self, command: str, db: pathlib.Path) -> None:
        super().__init__(db, (), {})
        self.port = free_port()
        self._command = command_line(command, self.port, db)

    def start(self) -> bool:
        """Return True when it accepts connections; False if it ends instead. Raises Odd."""
        try:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise Odd(f"the server could not be started: {error}") from error
        self.process.stderr = self.process.stdout  # the log has both
        self._drain = threading.Thread(target=self._read_log, args=(self.process,), daemon=True)
        self._drain.start()
        deadline = now() + PATIENCE
        while self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
            if now() > deadline:
                raise Odd(f"the server does not listen on port {self.port} after {PATIENCE:g} s")
            time.sleep(0.02)
        self._wait()
        return False

    def send_signal(self, number: int) -> None:
        """Send it to the process and to those that it has started: the command may be that of a launcher."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _wait(self) -> int:
        self.process.wait(PATIENCE)
        self._drain.join(PATIENCE)  # to the end of the last process that writes to its output
        if self._drain.is_alive():
            self.send_signal(signal.SIGKILL)
        return super()._wait()

    def end(self) -> None:
        """Kill it if it runs; and what it has left behind, if it has ended."""
        if hasattr(self, "process"):
            ended = self.process.poll() is not None
            self.send_signal(signal.SIGKILL)
            if not ended:
                self._wait()

    def history(self, rooms: list[str]) -> tuple[list[Row], list[str]]:
        """All messages in the rooms, after another start, and what was wrong with reading them."""
        if not self.start():
            return [], ["the server does not start again on its file"]
        try:
            reader = Historian(self.port)
            return [row for room in rooms for row in reader.read(room)], []
        except (Gone, Odd) as wrong:
            return [], [f"the history could not be read: {wrong or 'the connection ended'}"]
        except (LookupError, TypeError) as wrong:
            return [], [f"the history could not be read, a field is missing or odd: {type(wrong).__name__}: {wrong}"]
        finally:
            self.kill()


class Historian:
    """A client that reads all messages in a room."""

    def __init__(self, port: int) -> None:
        self._connection = Connection(port)
        self._connection.send({"type": "hello", "name": "historian", "replay": 0, "ref": "hello"})

    def read(self, room: str) -> list[Row]:
        self._connection.send({"type": "join", "room": room, "since": 0, "ref": room})
        rows: list[Row] = []
        last: int | None = None
        while last is None or len(rows) < last:
            event = self._connection.next(PATIENCE)
            if event is None:
                raise Odd(f"{room} has {last} messages, and {len(rows)} came")
            if event["type"] == "joined" and event["room"] == room:
                last = event["last"]
            elif event["type"] == "message" and event["room"] == room:
                rows.append(Row(room, event["number"], event["from"], event["kind"], event["text"]))
        return rows


class StrangerMeddler(Meddling):
    """The faults beside kills that any server has to survive."""

    def __init__(self, world: World, server: Server, clients: list[Client]) -> None:
        super().__init__(world, clients)
        self._server = server
        self._faults.append(self._pause)

    def _pause(self) -> None:
        with self._world.fault("SIGSTOP, then SIGCONT"):
            self._server.send_signal(signal.SIGSTOP)
            self._hold(0.5, 6)
            self._server.send_signal(signal.SIGCONT)  # no effect if it was killed in the meantime
