"""Link: a conversation that outlasts its connections, with a thread that reads and one that writes."""

from __future__ import annotations

import random
import secrets
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ..events import Ack, Answer, Bye, Event, Notice, Problem, Welcome
from ..rules import clean
from .connection import Connection
from .decoding import Fields, Offline, Online, decode
from .errors import ClientError, Disconnected, Refused, TimedOut, Unread
from .requests import SAID, Asked, Request, encode
from .state import State

MAX_UNANSWERED = 256  # requests; the server remembers as many refs, so a request that is sent again is done once
MAX_EVENTS = 10_000  # events that wait for the program before the reader stops reading
MAX_UNREAD = 10 * MAX_EVENTS
CONNECT_WITHIN = 10.0  # seconds to be connected and welcomed
TURN_WITHIN = 45.0  # while it waits for its turn at passwords, the server says so every 20 seconds
GOODBYE_WITHIN = 30.0  # seconds for the answers to the last requests, on closing
FIRST_PAUSE = 0.2  # seconds before the first try to reconnect, at most; doubled with each failed try
STEADY = 5.0  # seconds after which a connection counts as good, and the pauses are short again
MAX_REFUSALS = 5  # in a row; then the client no longer tries to reconnect
NAME_KEPT = (
    150.0  # seconds for which a server may hold our name because it has not noticed that the old connection is dead
)
FIRST_ASK = 2.0  # seconds before a client without a token asks for one, at most; doubled each time, up to LONGEST_ASK
LONGEST_ASK = 60.0

_AGAIN = "again"  # the ref of requests that the program did not make; the program does not get their answers
_CLOSED = "The client is closed."
_FINAL = frozenset(("quit", "replaced"))  # reasons of a ``bye`` after which the client does not reconnect


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """``Client`` explains each of these."""

    reconnect: bool = False
    listen: bool = True
    answers: bool = False
    longest_pause: float = 30.0  # seconds
    give_up: float | None = None  # seconds
    tls: ssl.SSLContext | None = None  # None: not encrypted
    told: Callable[[str], None] | None = None


class Link:
    """What the program's threads share with the reader and the writer: requests, events, and the state.

    Any number of the program's threads call ``submit``, ``forget``, ``next_event``, ``settle``, ``close`` and read the
    properties. One of them calls ``open`` first, and is the reader until it starts the reader thread. From then on only
    that thread reads from the connection, replaces it, closes it, and ends the link. It starts a writer thread for each
    connection and joins it. Only the writer writes to the connection after the handshake.
    """

    def __init__(self, host: str, port: int, state: State, options: LinkOptions) -> None:
        self._host = host
        self._port = port
        self._options = options
        self._told = options.told  # until we are let in for the first time; the reader's
        self._refs = secrets.token_hex(4)  # begins every ref, because another program may have used our token
        # Guards everything below, and is notified of every change. No socket is touched and no callback is made while
        # it is held.
        self._changed = threading.Condition()
        self._state = state
        self._requests: dict[str, Request] = {}  # not answered, by ref, in the order in which they were asked
        self._unsent: deque[Request] = deque()
        self._events: deque[Event] = deque()
        self._count = 0  # requests so far
        self._max_unanswered = MAX_UNANSWERED
        self._connection: Connection | None = None  # None: the client is offline; set by the reader
        self._closing = False
        self._ended: ClientError | None = None  # set once: why there will be no further connection

    # --- the program's threads ------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect, start the reader, and wait until the client is in a room. Raise OSError or a ClientError."""
        connection = self._come_in()
        with self._changed:
            self._connection = connection
        self._reader = threading.Thread(
            target=self._run, args=(connection,), name=f"client-{self.name}-reader", daemon=True
        )
        self._reader.start()
        with self._changed:
            self._changed.wait_for(lambda: self._state.places or self._events or self._ended, CONNECT_WITHIN)
            came_in, ended = self._state.places or self._events, self._ended
        if ended and not came_in:
            raise ended

    def close(self, words: str) -> None:
        """Send the waiting requests and the last words, wait for the answers, and end the threads."""
        deadline = time.monotonic() + GOODBYE_WITHIN
        with self._changed:
            if not self._closing:
                self._closing = True
                if self._connection:
                    self._ask("quit", {"words": words} if words else {})
                self._changed.notify_all()
            self._changed.wait_for(lambda: self._ended or not self._connection, deadline - time.monotonic())
            connection = self._connection
        if connection:
            connection.abort()
        self._reader.join()

    @property
    def name(self) -> str:
        """The client's name now."""
        with self._changed:
            return self._state.name

    @property
    def room(self) -> str | None:
        """The current room; None: the client is in no room."""
        with self._changed:
            return self._state.room

    @property
    def heading(self) -> str | None:
        """The room that will be the current one after the requests so far; None: that is not known, or none."""
        with self._changed:
            return self._heading()

    @property
    def replay(self) -> int:
        """How many earlier messages are asked for on entering a room."""
        with self._changed:
            return self._state.replay

    @property
    def welcome(self) -> Welcome:
        """The server's last welcome."""
        with self._changed:
            return self._state.welcome

    @property
    def online(self) -> bool:
        """Whether there is a connection now."""
        with self._changed:
            return self._connection is not None

    @property
    def unanswered(self) -> int:
        """How many requests wait for their answers."""
        with self._changed:
            return len(self._requests)

    def settle(self, timeout: float | None) -> bool:
        """Wait until nothing is unanswered; False when the time is up."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: not self._requests, timeout))

    def next_event(self, timeout: float | None) -> Event | None:
        """Take an event, or wait for one. None: none came in time, or the client is closed. Otherwise raises the error
        that ended the link."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._ended, timeout)
            if not self._events:
                if self._ended is None or self._closing:
                    return None
                raise self._ended
            event = self._events.popleft()
            if len(self._events) == MAX_EVENTS - 1:
                self._changed.notify_all()
            return event

    def submit(self, kind: str, fields: Fields, timeout: float | None) -> Asked:
        """Queue a request; wait at most ``timeout`` seconds while too many are not answered."""
        with self._changed:
            if kind in SAID and "room" not in fields and (room := self._heading()):
                fields["room"] = room  # another room may be the current one when it is sent again
            if not self._changed.wait_for(
                lambda: self._ended or self._closing or len(self._requests) < self._max_unanswered, timeout
            ):
                raise TimedOut(f"{self._max_unanswered} requests have waited {timeout:g} seconds for an answer.")
            if self._ended or self._closing:
                raise self._ended or Disconnected("quit", _CLOSED)
            if len(self._events) > MAX_UNREAD:
                raise Unread(f"{len(self._events)} events wait to be read.")
            return self._ask(kind, fields)

    def _heading(self) -> str | None:
        """The room that will be the current one after the requests so far; None: that is not known."""
        for request in reversed(self._requests.values()):
            if request.kind in ("join", "create"):
                return str(request.fields["room"])
            if request.kind in ("leave", "delete", "resume"):
                return None
        return self._state.room

    def _ask(self, kind: str, fields: Fields) -> Asked:
        """Queue a request. The caller holds the lock."""
        self._count += 1
        request = Request(kind, fields, f"{self._refs}-{self._count}")
        self._requests[request.asked.ref] = request
        self._unsent.append(request)
        self._changed.notify_all()
        return request.asked

    def forget(self, asked: Asked) -> bool:
        """Nobody waits for this answer any more; False if it has come."""
        with self._changed:
            request = self._requests.pop(asked.ref, None)
            if request and not request.asked.sent:
                self._unsent.remove(request)
            self._changed.notify_all()
        return request is not None

    # --- entering: the caller's thread at first, then the reader's ------------------------------------------

    def _come_in(self) -> Connection:
        """Connect and be welcomed; raise OSError, Disconnected or Refused."""
        connection = Connection(self._host, self._port, CONNECT_WITHIN, self._options.tls)
        try:
            self._handshake(connection)
            connection.patient()
        except BaseException:
            connection.close()
            raise
        return connection

    def _handshake(self, connection: Connection) -> None:
        connection.send(self._hello())
        greeting = strange = ""
        while lines := connection.lines():
            while lines:
                line = lines.pop(0)
                if not line.startswith(b"{"):  # the greeting, or the reason for not greeting
                    text = clean(line.decode("utf-8", "replace")).strip()
                    if text.startswith(("*", "!")):
                        greeting = text.removeprefix("! ")
                    strange = strange or text
                    continue
                event, fields = _decode(line)
                if isinstance(event, Welcome):
                    self._welcomed(event, fields)
                    self._told = None
                    connection.give_back(lines)
                    return
                if isinstance(event, Problem) and event.code == "unknown_token":
                    with self._changed:
                        self._state.token = ""
                    connection.send(self._hello())
                elif isinstance(event, Problem):
                    raise Refused(event.code, event.text, event.room, event.near, event.seconds)
                elif isinstance(event, Notice):
                    connection.patient(TURN_WITHIN)
                    if self._told:
                        self._told(event.text)
        if strange and not greeting:
            greeting = f"What answers there is no chat_threads server. It said: {strange[:80]}"
        raise Disconnected("lost", greeting or "The connection ended before a welcome.")

    def _hello(self) -> bytes:
        with self._changed:
            return encode(self._state.hello())

    def _welcomed(self, event: Welcome, fields: Fields) -> None:
        with self._changed:
            self._state.welcomed(event)
            limit = fields.get("limits", {}).get("refs")
            if isinstance(limit, int) and limit > 0:
                self._max_unanswered = min(limit, MAX_UNANSWERED)

    # --- the reader -----------------------------------------------------------------------------------------

    def _run(self, connection: Connection | None) -> None:
        failed = 0  # tries to reconnect, since a connection was good
        try:
            while connection:
                began = time.monotonic()
                why = self._converse(connection)
                if time.monotonic() - began > STEADY:
                    failed = 0
                connection = None
                if self._lost(why):
                    connection, failed = self._come_back(failed)
        finally:
            self._end(Disconnected("internal", "The client broke; its reader's traceback says where."))

    def _converse(self, connection: Connection) -> Disconnected:
        """Read to the end of a connection, while another thread writes; return why it ended."""
        writer = threading.Thread(
            target=self._write, args=(connection,), name=f"client-{self.name}-writer", daemon=True
        )
        writer.start()
        try:
            return self._read(connection)
        finally:
            with self._changed:
                self._connection = None
                self._changed.notify_all()
            connection.abort()
            writer.join()
            connection.close()

    def _read(self, connection: Connection) -> Disconnected:
        said = ""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: len(self._events) < MAX_EVENTS or self._requests or self._closing)
            lines = connection.lines()
            if not lines:
                return Disconnected("lost", "The connection was lost.")
            taken, why = _decode_all(lines)
            for asked, event in self._take(taken):
                asked.answer(event)
            for event, fields in taken:
                if isinstance(event, Problem) and "ref" not in fields:
                    said = event.text
                elif isinstance(event, Bye):
                    return Disconnected(event.reason, said or _CLOSED)
            if why:
                return why

    def _take(self, taken: list[tuple[Event, Fields]]) -> list[tuple[Asked, Event]]:
        """Keep the events for the program; return the answers, each with the future that waits for it."""
        answered: list[tuple[Asked, Event]] = []
        with self._changed:
            for event, fields in taken:
                request = self._requests.pop(fields.get("ref", ""), None)
                if not self._state.note(event, request) or fields.get("ref") == _AGAIN:
                    continue
                if request:
                    answered.append((request.asked, event))
                    if self._options.answers:
                        self._keep(Answer(event, request.asked.ref, request.kind))
                elif not isinstance(event, Ack):  # otherwise the answer to a forgotten request
                    self._keep(event)
            self._changed.notify_all()
        return answered

    def _keep(self, event: Event) -> None:
        if self._options.listen:
            self._events.append(event)

    def _lost(self, why: Disconnected) -> bool:
        """A connection has ended: keep the requests to send again, fail the others. Returns whether to reconnect."""
        with self._changed:
            if self._closing or not self._options.reconnect or why.code in _FINAL:
                going_on = False
            else:
                going_on = True
                kept = [each for each in self._requests.values() if each.may_be_sent]
                dropped = [each for each in self._requests.values() if each not in kept]
                self._requests = {each.asked.ref: each for each in kept}
                self._unsent = deque(kept)
                self._keep(Offline(why.text))
                self._changed.notify_all()
        if not going_on:
            self._end(why)
            return False
        for each in dropped:
            each.asked.set_exception(why)
        return True

    def _come_back(self, failed: int) -> tuple[Connection | None, int]:
        """Try to connect, with pauses; None: the client has given up and ended."""
        refused = 0
        with self._changed:
            name_kept = 0.0 if self._state.token else time.monotonic() + NAME_KEPT
        until = None if self._options.give_up is None else time.monotonic() + self._options.give_up
        while True:
            pause = random.uniform(0, min(self._options.longest_pause, FIRST_PAUSE * 2.0 ** min(failed, 50)))
            if until is not None:
                left = until - time.monotonic()
                if left <= 0:
                    self._end(
                        Disconnected("lost", f"The server could not be reached for {self._options.give_up:g} seconds.")
                    )
                    return None, failed
                pause = min(pause, left)
            failed += 1
            with self._changed:
                if self._changed.wait_for(lambda: self._closing, pause):
                    break
            try:
                connection = self._come_in()
            except (OSError, Disconnected):
                continue
            except Refused as error:
                if error.code == "name_taken" and time.monotonic() < name_kept:
                    continue
                refused += 1
                if refused == MAX_REFUSALS:
                    self._end(error)
                    return None, failed
                continue
            with self._changed:
                if not self._closing:
                    again = [Request(kind, fields, _AGAIN) for kind, fields in self._state.standing()]
                    self._unsent.extendleft(reversed(again))
                    self._connection = connection
                    self._keep(Online(self._state.name))
                    self._changed.notify_all()
                    return connection, failed
            connection.close()
            break
        self._end(Disconnected("quit", _CLOSED))
        return None, failed

    def _end(self, why: ClientError) -> None:
        """There will be no further connection: wake every thread that waits. The first reason stays."""
        with self._changed:
            if self._ended is None:
                self._ended = why
                self._closing |= isinstance(why, Disconnected) and why.code == "quit"
            requests = list(self._requests.values())
            self._requests.clear()
            self._unsent.clear()
            self._changed.notify_all()
        for each in requests:
            each.asked.set_exception(why)

    # --- the writer -----------------------------------------------------------------------------------------

    def _write(self, connection: Connection) -> None:
        """Send the requests in order, all that wait in one call, until this connection has ended.

        A client that is to reconnect needs a token: while it has none, ask for one from time to time.
        """
        pause = FIRST_ASK
        ask_at = time.monotonic() + random.uniform(pause / 2, pause)
        while True:
            with self._changed:
                wanted = self._options.reconnect and not self._state.token
                self._changed.wait_for(
                    lambda: self._unsent or self._connection is not connection,
                    max(0.0, ask_at - time.monotonic()) if wanted else None,
                )
                if self._connection is not connection:
                    return
                if wanted and not self._state.token and time.monotonic() >= ask_at:
                    pause = min(2 * pause, LONGEST_ASK)
                    ask_at = time.monotonic() + random.uniform(pause / 2, pause)
                    self._unsent.append(Request("token", {}, _AGAIN))
                batch = list(self._unsent)
                self._unsent.clear()
                for request in batch:
                    request.asked.sent = True
                    request.by_token = bool(self._state.token)
            try:
                connection.send(b"".join(request.line for request in batch))
            except OSError:
                connection.abort()  # the reader sees the end, and reconnects
                return


def _decode(line: bytes) -> tuple[Event, Fields]:
    try:
        return decode(line)
    except ValueError as error:
        raise Disconnected("lost", f"The server sent a line that is not in its protocol: {error}.") from error


def _decode_all(lines: list[bytes]) -> tuple[list[tuple[Event, Fields]], Disconnected | None]:
    """The events up to the first line that is not in the protocol, and the error for that line."""
    taken = []
    for line in lines:
        if line.startswith(b"{"):  # otherwise it is the greeting, which came late
            try:
                taken.append(_decode(line))
            except Disconnected as error:
                return taken, error
    return taken, None
