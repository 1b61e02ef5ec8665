"""A relay between clients and a server that breaks connections, and a log of what a client saw."""

from __future__ import annotations

import random
import select
import socket
import threading

from chat_threads import events
from chat_threads.client import Client, Message

from .waiting import WAIT, wait_for


class Relay:
    """A relay between clients and a server, on its own port and in a thread. It can break connections.

    It serves one client at a time, and none while ``held`` is set. ``cut`` breaks the present connection after a given
    number of further bytes; it chooses at random how.
    """

    def __init__(self, port: int, chance: random.Random) -> None:
        self.cuts = 0
        self.accepted = 0
        self.held = False
        self.to = port
        self._chance = chance
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._after: int | None = None  # the bytes until the next cut
        self._stopped = False
        self._left: list[socket.socket] = []  # ends of cut connections that the other side still believes in
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self, after: int = 0) -> None:
        before = self.cuts
        self._after = after
        wait_for(lambda: self.cuts > before, "a cut")

    def _run(self) -> None:
        while not self._stopped:
            if not select.select([self._listener], [], [], 0.02)[0] or self.held:
                continue
            near = self._listener.accept()[0]
            self.accepted += 1
            far = socket.create_connection(("127.0.0.1", self.to), WAIT)
            self._pass_on(near, far)

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        """Copy both ways until one side ends or a cut is due."""
        left: int | None = None
        while not self._stopped:
            if left is None:
                left = self._after
            if left == 0:
                break
            for sock in select.select([near, far], [], [], 0.02)[0]:
                try:
                    data = sock.recv(65536 if left is None else min(left, 65536))
                    (far if sock is near else near).sendall(data)
                except OSError:
                    data = b""
                if not data:
                    near.close()
                    far.close()
                    return
                left = None if left is None else left - len(data)
        if self._stopped or not self._chance.randrange(3):
            near.close()
            far.close()
        else:  # the client sees the end of the connection, and the server sees nothing
            if self._chance.randrange(2):
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            near.close()
            self._left.append(far)
        if left == 0:
            self._after = None
            self.cuts += 1

    def drop(self) -> None:
        """Let the server see the end of the broken connections."""
        while self._left:
            self._left.pop().close()

    def close(self) -> None:
        self._stopped = True
        self._thread.join(WAIT)
        self._listener.close()
        self.drop()


class Log:
    """Collects a client's events in a thread of its own until the client ends. ``of(room)`` returns its messages."""

    def __init__(self, reader: Client) -> None:
        self.events: list[events.Event] = []
        self._reader = reader
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.events.extend(event for event in self._reader.events())

    def of(self, room: str) -> list[Message]:
        return [event for event in self.events if isinstance(event, Message) and event.room == room]

    def count(self, kind: type[events.Event]) -> int:
        return sum(isinstance(event, kind) for event in self.events)

    def end(self) -> None:
        self._reader.close()
        self._thread.join(WAIT)
