"""The post: lines between two people on different servers. They are shown at once, stored nowhere, and have no place in
the order. So they do not go through the log, but as notifications of PostgreSQL, which forgets them.

A server confirms each private line that it has shown to somebody. If a line is not confirmed within ANSWER seconds, its
sender is told so: the other server may have ended, or the person may have left.

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
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from .. import inside
from ..events import Event, PrivateLine
from ..latch import Latch
from .entries import pack_event
from .errors import Unreached
from .ledger import Key
from .link import Link, connect

log = logging.getLogger(__name__)

PIECE = 7000  # bytes of a notification
WAITING = 300  # lines that wait to be sent
TOGETHER = 50  # lines in one transaction, at most: while a transaction with notifications commits, all others wait
ANSWER = 5.0  # seconds in which the other server has to confirm a private line
UNFINISHED = 100  # lines of which not all pieces have come
HAD = 1000  # lines that have come, and are known if they come again


def channel(server: int) -> str:
    """The channel on which a server is sent lines for its people."""
    return f"chat_threads_{server}"


@dataclass(frozen=True, slots=True)
class _Line:
    """Pieces, each with its channel. If ``number`` is not None, the other server has to confirm the line from
    ``sender`` to ``to``; if there are no pieces, it has done so."""

    pieces: Sequence[tuple[str, str]] = ()
    number: int | None = None
    sender: str = ""
    to: str = ""


class Post:
    """Any thread may call ``send``, ``confirm`` and ``arrived``; its own thread sends. It calls ``unsure`` with the
    sender of a private line and the person to whom it was sent, if nobody knows whether that person got it."""

    # Set by main before it begins:
    server: Callable[[], int]  # this server's number
    identity: Callable[[str], int]  # the number of the person here who has this name
    unsure: Callable[[str, str], None]

    def __init__(self, url: str) -> None:
        self._url = url
        self._queue: queue.Queue[_Line | None] = queue.Queue(WAITING)
        self._unconfirmed: dict[int, tuple[float, _Line]] = {}  # by number, with a deadline; owned by its thread
        self._sender = secrets.token_hex(8)
        self._numbers = itertools.count()  # of the lines; any thread takes one
        self._stopping = Latch()
        self.thread = threading.Thread(target=self._run, name="post", daemon=True)

    def send(self, to: Key, event: Event) -> None:
        """Send an event to a session of another server. Never waits; raises NotStored if too much waits."""
        number = next(self._numbers)
        reply = [self.server(), number, self.identity(event.sender)] if isinstance(event, PrivateLine) else None
        pieces = self._pieces(to[0], number, [to[1], pack_event(event), reply])
        line = _Line(pieces, number, event.sender, event.to) if isinstance(event, PrivateLine) else _Line(pieces)
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            raise Unreached() from None

    def _pieces(self, server: int, number: int, content: Any) -> list[tuple[str, str]]:
        text = json.dumps(content, separators=(",", ":"))  # ASCII, so that pieces are whole
        pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
        return [
            (channel(server), f"{self._sender} {number} {at} {len(pieces)} {piece}") for at, piece in enumerate(pieces)
        ]

    def confirm(self, server: int, number: int) -> None:
        """Tell another server that its private line was shown. Never waits."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(_Line(self._pieces(server, next(self._numbers), [None, number])))

    def arrived(self, number: int) -> None:
        """Another server has confirmed a private line. Never waits."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(_Line(number=number))

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
            found = self._take()
            for again in (True, False) if found else ():
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

    def _take(self) -> list[tuple[str, str]]:
        """Wait for lines, and return the pieces to send. Tell the senders of lines that were not confirmed in time."""
        first = next(iter(self._unconfirmed.values()), None)
        found: list[tuple[str, str]] = []
        with contextlib.suppress(queue.Empty):
            wait = None if first is None else max(0.0, first[0] - time.monotonic())
            for _ in range(TOGETHER):
                line = self._queue.get(timeout=wait)
                wait = 0.0
                if line is None:
                    break
                found += line.pieces
                if line.number is not None:
                    if line.pieces:
                        self._unconfirmed[line.number] = time.monotonic() + ANSWER, line
                    else:
                        self._unconfirmed.pop(line.number, None)
        while self._unconfirmed:
            number, (deadline, line) = next(iter(self._unconfirmed.items()))
            if deadline > time.monotonic():
                break
            del self._unconfirmed[number]
            self.unsure(line.sender, line.to)
        return found


class Pieces:
    """Puts the pieces of lines together. Owned by the listener.

    A line comes twice if the connection of its sender broke while the first one was committed: it is sent again then.
    """

    def __init__(self) -> None:
        self._parts: OrderedDict[tuple[str, str], dict[int, str]] = OrderedDict()
        self._had: OrderedDict[tuple[str, str], None] = OrderedDict()

    def add(self, payload: str) -> Any:
        """What was sent, if this was the last piece, for the first time; otherwise None."""
        sender, number, at, count, piece = payload.split(" ", 4)
        line = sender, number
        if line in self._had:
            return None
        parts = self._parts.setdefault(line, {})
        parts[int(at)] = piece
        if len(parts) < int(count):
            if len(self._parts) > UNFINISHED:
                self._parts.popitem(last=False)
            return None
        del self._parts[line]
        self._had[line] = None
        if len(self._had) > HAD:
            self._had.popitem(last=False)
        return json.loads("".join(parts[each] for each in sorted(parts)))
