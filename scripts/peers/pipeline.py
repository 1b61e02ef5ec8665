#!/usr/bin/env python3
"""The threads of chat_threads and nothing else: pipeline.py --port 8090

A reader thread for each client puts what it says into a queue. One history thread takes what is there, stores it with
one commit, and puts it into the clients' lists. Two writer threads send what is in the lists. There are no names to
check, no limits and no errors, and a client that does not read stops its writer. bench.py shows by it how fast these
threads can be, and so what all the rest of chat_threads costs.

Clients speak as people do with chat_threads: a name, or a name and a room, then one text a line.
"""

from __future__ import annotations

import pathlib
import queue
import socket
import socketserver
import sqlite3
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import click

LOBBY = "#lobby"
WRITERS = 2
NEIGHBOURS = 64  # clients that came one after the other and share a writer


class Member:
    """One client. ``Pipeline.lock`` guards ``waiting``."""

    def __init__(self, connection: socket.socket, ready: queue.SimpleQueue[list[Member]]) -> None:
        self.connection = connection
        self.ready = ready  # of its writer
        self.waiting: list[bytes] = []


class Pipeline:
    """The queues, and the threads that empty them. ``lock`` guards the members and their lists."""

    def __init__(self, path: pathlib.Path, queues: Callable[[], queue.SimpleQueue[Any]] = queue.SimpleQueue) -> None:
        self.lock = threading.Lock()
        self.members: defaultdict[str, list[Member]] = defaultdict(list)
        self.count = 0  # clients so far
        self.said: queue.SimpleQueue[tuple[str, str, str]] = queues()  # room, name, text
        self.ready: list[queue.SimpleQueue[list[Member]]] = [queues() for _ in range(WRITERS)]
        threading.Thread(target=self.store, args=(path,), name="history", daemon=True).start()
        for number, ready in enumerate(self.ready, 1):
            threading.Thread(target=write, args=(self, ready), name=f"writer-{number}", daemon=True).start()

    def enter(self, room: str, connection: socket.socket) -> Member:
        with self.lock:
            member = Member(connection, self.ready[self.count // NEIGHBOURS % WRITERS])
            self.count += 1
            others = len(self.members[room])
            connection.sendall(f"* You are in {room} with {others} others.\r\n".encode())
            self.members[room].append(member)
            return member

    def leave(self, room: str, member: Member) -> None:
        with self.lock:
            self.members[room].remove(member)

    def hear(self, room: str, name: str, line: bytes) -> None:
        """A client's reader thread has read a line."""
        self.said.put((room, name, line.decode("utf-8", "replace").rstrip("\r\n")))

    def store(self, path: pathlib.Path) -> None:
        """The history thread."""
        history = sqlite3.connect(path, isolation_level=None)
        history.execute("PRAGMA journal_mode = WAL")
        history.execute("PRAGMA synchronous = NORMAL")
        history.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, room, at, sender, text)")
        while True:
            batch = [self.said.get()]
            while not self.said.empty():
                batch.append(self.said.get())
            self.commit(history, batch)
            self.publish(batch)

    def commit(self, history: sqlite3.Connection, batch: list[tuple[str, str, str]]) -> None:
        at = time.time()
        history.execute("BEGIN")
        for room, name, text in batch:
            history.execute("INSERT INTO messages (room, at, sender, text) VALUES (?, ?, ?, ?)", (room, at, name, text))
        history.execute("COMMIT")

    def publish(self, batch: list[tuple[str, str, str]]) -> None:
        """Put a stored batch into the lists of the members, and wake the writers."""
        clock = time.strftime("[%H:%M]")
        lines: defaultdict[str, list[str]] = defaultdict(list)
        for room, name, text in batch:
            lines[room].append(f"{clock} {name}: {text}\r\n")
        ready: defaultdict[queue.SimpleQueue[list[Member]], list[Member]] = defaultdict(list)
        with self.lock:
            for room, said in lines.items():
                data = "".join(said).encode()
                for member in self.members[room]:
                    if not member.waiting:
                        ready[member.ready].append(member)
                    member.waiting.append(data)
        for writer, members in ready.items():
            writer.put(members)


def write(pipeline: Pipeline, ready: queue.SimpleQueue[list[Member]]) -> None:
    """A writer thread: a system call for each member that has something waiting."""
    while True:
        for member in ready.get():
            with pipeline.lock:
                data, member.waiting = member.waiting, []
            try:
                member.connection.sendall(b"".join(data) if data[1:] else data[0])
            except OSError:
                pass  # the client is gone; its reader sees that, too


class Reader(socketserver.StreamRequestHandler):
    """One client's conversation, in its reader thread."""

    disable_nagle_algorithm = True
    server: Server

    def handle(self) -> None:
        pipeline = self.server.pipeline
        threading.current_thread().name = "reader"
        self.connection.sendall(b"* Welcome to the pipeline. What is your name?\r\n")
        name, _, room = self.rfile.readline().decode("utf-8", "replace").strip().partition(" ")
        room = room or LOBBY
        member = pipeline.enter(room, self.connection)
        try:
            for line in self.rfile:
                pipeline.hear(room, name, line)
        except OSError:
            pass  # the client is gone
        finally:
            pipeline.leave(room, member)


class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 1024
    daemon_threads = True

    def __init__(self, port: int, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        super().__init__(("127.0.0.1", port), Reader)


@click.command(help=__doc__.split(":", maxsplit=1)[0] + ".")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N", default=8090, show_default=True, help="0 chooses a free port."
)
def main(port: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with Server(port, Pipeline(pathlib.Path(folder, "pipeline.db"))) as server:
            click.echo(f"telnet 127.0.0.1 {server.server_address[1]}")
            server.serve_forever()


if __name__ == "__main__":
    main()
