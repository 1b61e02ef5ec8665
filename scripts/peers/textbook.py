#!/usr/bin/env python3
"""The chat server of a textbook: textbook.py --port 8090

Every client has a reader thread and a writer thread with a queue.Queue between them; for each
member of the room, a message costs one ``put``, one wake-up of a writer, and one ``sendall``. It is correct, short, and
slow in large rooms: bench.py compares it with chat_threads, which uses batches. It stores nothing and bounds nothing:
the queue of a client that does not read grows for ever.

Clients speak as people do with chat_threads: a name, or a name and a room, then one text a line.
"""

from __future__ import annotations

import queue
import socket
import socketserver
import threading
import time
from collections import defaultdict

import click

LOBBY = "#lobby"


class Rooms:
    """The members of each room, as their queues. ``lock`` guards it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.members: defaultdict[str, set[queue.Queue[str | None]]] = defaultdict(set)

    def enter(self, room: str, member: queue.Queue[str | None]) -> int:
        with self.lock:
            self.members[room].add(member)
            return len(self.members[room]) - 1

    def leave(self, room: str, member: queue.Queue[str | None]) -> None:
        with self.lock:
            self.members[room].discard(member)

    def say(self, room: str, line: str) -> None:
        with self.lock:  # so that all members get the lines in one order
            for member in self.members[room]:
                member.put(line)


class Reader(socketserver.StreamRequestHandler):
    """One client's conversation, in its reader thread."""

    disable_nagle_algorithm = True
    server: Server

    def handle(self) -> None:
        outgoing: queue.Queue[str | None] = queue.Queue()
        writer = threading.Thread(target=write, args=(self.connection, outgoing), daemon=True)
        writer.start()
        outgoing.put("* Welcome to the textbook. What is your name?")
        name, _, room = self.rfile.readline().decode("utf-8", "replace").strip().partition(" ")
        room = room or LOBBY
        others = self.server.rooms.enter(room, outgoing)
        outgoing.put(f"* You are in {room} with {others} others.")
        try:
            for line in self.rfile:
                text = line.decode("utf-8", "replace").rstrip("\r\n")
                self.server.rooms.say(room, f"{time.strftime('[%H:%M]')} {name}: {text}")
        except OSError:
            pass  # the client is gone
        finally:
            self.server.rooms.leave(room, outgoing)
            outgoing.put(None)
            writer.join()


def write(connection: socket.socket, outgoing: queue.Queue[str | None]) -> None:
    """One client's writer thread: a line, a system call."""
    while (line := outgoing.get()) is not None:
        try:
            connection.sendall(f"{line}\r\n".encode())
        except OSError:
            return  # the client is gone; its reader sees that, too


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, port: int) -> None:
        self.rooms = Rooms()
        super().__init__(("127.0.0.1", port), Reader)


@click.command(help=__doc__.split(":", maxsplit=1)[0] + ".")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N", default=8090, show_default=True, help="0 chooses a free port."
)
def main(port: int) -> None:
    threading.stack_size(512 * 1024)
    with Server(port) as server:
        click.echo(f"telnet 127.0.0.1 {server.server_address[1]}")
        server.serve_forever()


if __name__ == "__main__":
    main()
