"""The post: lines between two people on different servers. They are shown at once, stored nowhere, and have no place in
the order. So they do not go through the log, but as notifications of PostgreSQL, which forgets them.

A notification holds less than 8,000 bytes (https://www.postgresql.org/docs/current/sql-notify.html), so a long line
goes in several pieces.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import queue
import secrets
import threading
from collections import OrderedDict
from typing import Any

import psycopg

from .. import inside
from ..events import Event
from ..latch import Latch
from .entries import pack_event
from .errors import Unreached
from .ledger import Key
from .link import Link, connect

log = logging.getLogger(__name__)

PIECE = 7000  # bytes of a notification
WAITING = 300  # lines that wait to be sent
TOGETHER = 50  # of them in one transaction: each one that notifies anybody holds up all others for its commit
UNFINISHED = 100  # lines of which not all pieces have come


def channel(server: int) -> str:
    """The channel on which a server is sent lines for its people."""
    return f"chat_threads_{server}"


class Post:
    """Any thread may call ``send``; its own thread sends."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._queue: queue.Queue[list[tuple[str, str]] | None] = queue.Queue(WAITING)
        self._sender = secrets.token_hex(8)
        self._numbers = itertools.count()  # of the lines; any thread takes one
        self._stopping = Latch()
        self.thread = threading.Thread(target=self._run, name="post", daemon=True)

    def send(self, to: Key, event: Event) -> None:
        """Send an event to a session of another server. Never waits; raises NotStored if too much waits."""
        text = json.dumps([to[1], pack_event(event)], separators=(",", ":"))  # ASCII, so that pieces are whole
        number = next(self._numbers)
        pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
        told = [f"{self._sender} {number} {at} {len(pieces)} {piece}" for at, piece in enumerate(pieces)]
        try:
            self._queue.put_nowait([(channel(to[0]), each) for each in told])
        except queue.Full:
            raise Unreached() from None

    def stop(self, timeout: float) -> bool:
        self._stopping.set()
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            pass
        if self.thread.is_alive():
            self.thread.join(timeout)
        return not self.thread.is_alive()

    def _run(self) -> None:
        inside.run("post", "waits for lines to other servers", self._work)

    def _work(self) -> None:
        connection: Link | None = None
        while not self._stopping.is_set():
            found = list(self._queue.get() or ())
            with contextlib.suppress(queue.Empty):
                for _ in range(TOGETHER):
                    found += self._queue.get_nowait() or ()
            for again in (True, False):
                try:
                    if connection is None or connection.closed:
                        connection = connect(self._url)
                    with connection.transaction():
                        for piece in found:
                            connection.execute("SELECT pg_notify(%s, %s)", piece)
                    break
                except psycopg.Error as error:
                    if connection is not None:
                        connection.close()
                    if not again:
                        log.warning("a private line to another server is lost: %s", error)
        if connection is not None:
            connection.close()


class Pieces:
    """Puts the pieces of lines together. Owned by the listener."""

    def __init__(self) -> None:
        self._parts: OrderedDict[tuple[str, str], dict[int, str]] = OrderedDict()

    def add(self, payload: str) -> Any:
        """What was sent, if this was the last piece; otherwise None."""
        sender, number, at, count, piece = payload.split(" ", 4)
        parts = self._parts.setdefault((sender, number), {})
        parts[int(at)] = piece
        if len(parts) < int(count):
            if len(self._parts) > UNFINISHED:
                self._parts.popitem(last=False)
            return None
        del self._parts[sender, number]
        return json.loads("".join(parts[each] for each in sorted(parts)))
