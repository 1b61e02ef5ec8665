"""Client: a program's end of the conversation, with a thread that reads and one that writes."""

from __future__ import annotations

import json
import random
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

from ..events import (
    Ack,
    Answer,
    Bye,
    Current,
    Departed,
    Entered,
    Event,
    HistoryPage,
    Message,
    Notice,
    PeopleList,
    PersonRow,
    PersonShown,
    Pong,
    PrivateLine,
    Problem,
    RoomDeleted,
    RoomList,
    RoomRow,
    SearchPage,
    StatsShown,
    TopicShown,
    Welcome,
)
from ..rules import fold
from .connection import Connection
from .decoding import Fields, Offline, Online, decode
from .errors import ClientError, Disconnected, Refused, TimedOut, Unread

PORT = 8080
MAX_UNANSWERED = 256  # requests; the server remembers as many refs, so that what is sent again is stored once
MAX_EVENTS = 10_000  # events that wait for the program, before the reader waits for it
MAX_UNREAD = 10 * MAX_EVENTS
CONNECT_WITHIN = 10.0  # seconds to be connected and welcomed
GOODBYE_WITHIN = 30.0  # seconds for what was asked before leaving
FIRST_PAUSE = 0.2  # seconds before the first try to come back, at most; doubled with each that fails
STEADY = 5.0  # seconds after which a connection counts as good, and the pauses begin again
MAX_REFUSALS = 5  # times that a client that wants to come back may be refused in a row

# What can be sent again without harm. Anything else that the connection ended on may have been done or not; to ignore
# again whoever has that name by now might be to ignore somebody else.
_SENT_AGAIN = frozenset(
    "say action join rooms who topic whois away back unignore history search set stats ping token".split()
)
_SAID = frozenset(("say", "action"))  # that, too, only under a token, by which the server knows them
_AGAIN = "again"  # the ref of what is asked for on coming back without the program's doing
_CLOSED = "The client is closed."
_FINAL = frozenset(("quit", "replaced"))  # reasons to leave it at that

E = TypeVar("E", bound=Event)


class Asked(Future[Event]):
    """The answer to come. ``result`` raises Refused if the answer is an error, Disconnected if there is none.

    Callbacks run in the client's reader thread and must not wait.
    """

    def __init__(self, ref: str) -> None:
        super().__init__()
        self.set_running_or_notify_cancel()  # what is asked cannot be taken back
        self.ref = ref


class _Request:
    """A request that is not answered: its answer to come, and whether it was sent, or at least begun to be."""

    def __init__(self, kind: str, fields: Fields, ref: str) -> None:
        self.kind = kind
        self.fields = fields
        self.line = _encode({"type": kind, **fields, "ref": ref})
        self.asked = Asked(ref)
        self.sent = False


@dataclass(slots=True)
class _Place:
    """A room that the client is in, and the number of the last message that it handed on."""

    room: str
    number: int


class Client:
    """A connection to a server, under a name::

        >>> from chat_threads.client import Client
        >>> chat = Client("localhost", 8080, name="ann", room="#lab")
        >>> chat.name, chat.room
        ('ann', '#lab')
        >>> chat.say("#lab", "hi")
        1
        >>> for event in chat.events(timeout=0.5):
        ...     print(type(event).__name__, event.room)
        Entered #lab
        Message #lab
        >>> chat.close()

    As a context manager it is closed at the end. Making it connects; it raises OSError if nobody listens there,
    and Refused if the server does not want the name. ``replay`` is how many messages ``events`` hands on that
    were said before the client came into a room.

    With ``reconnect=True`` a connection that is lost comes back by itself: after a pause that grows with each
    failed try, at most to ``longest_pause`` seconds, and is random below that, so that a thousand clients do not
    come back at once. The client shows its token and the numbers of the last messages that it handed on, and sends
    again what was not answered, with the same refs in the same order. So every message is handed on once, in order,
    and what the program says is in the history once. Meanwhile calls wait. It ends if the server refuses it
    several times in a row, if somebody else comes in with its token, or if it has tried for ``give_up`` seconds
    (None: it tries for ever), and some more for the last try.

    Every call may come from any thread, waits for its answer, at most ``timeout`` seconds (None: for ever), and
    raises a ClientError if there is none. ``listen=False`` throws the events away, for a program that only
    speaks. ``answers=True`` hands on the answers to requests among the events too, each an ``Answer``.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = PORT,
        *,
        name: str,
        room: str | None = None,
        replay: int = 0,
        reconnect: bool = False,
        timeout: float | None = 30.0,
        listen: bool = True,
        answers: bool = False,
        longest_pause: float = 30.0,
        give_up: float | None = None,
    ) -> None:
        self.timeout = timeout
        self._host = host
        self._port = port
        self._first_room = room
        self._replay = replay
        self._reconnect = reconnect
        self._listen = listen
        self._answers = answers
        self._longest_pause = longest_pause
        self._give_up = give_up
        self._refs = secrets.token_hex(4)  # what the refs begin with: another program may have had our token
        # Guards all below, and tells whoever waits for a change of it. Nothing waits for a socket, is written to one,
        # or is called back while it is held.
        self._changed = threading.Condition()
        self._name = name
        self._token = ""
        self._welcome = Welcome(name)
        self._places: dict[str, _Place] = {}  # by folded name; the current room is the last one
        self._requests: dict[str, _Request] = {}  # not answered, by ref, in the order in which they were asked
        self._standing: dict[tuple[str, str], Fields] = {}  # what holds for a connection only, to be asked again
        self._unsent: deque[_Request] = deque()
        self._events: deque[Event] = deque()
        self._count = 0  # requests so far
        self._unanswered_most = MAX_UNANSWERED
        self._connection: Connection | None = None  # None: there is none now
        self._closing = False
        self._ended: ClientError | None = None  # why there will be none any more
        connection = self._come_in()
        self._connection = connection
        self._reader = threading.Thread(target=self._run, args=(connection,), name=f"client-{name}-reader", daemon=True)
        self._reader.start()
        with self._changed:
            self._changed.wait_for(lambda: self._places or self._events or self._ended, CONNECT_WITHIN)
            came_in, ended = self._places or self._events, self._ended
        if ended and not came_in:
            raise ended

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self, words: str = "") -> None:
        """Leave, with a last word: send what was asked, wait for the answers, close the connection, end the
        threads. What is not answered then fails with Disconnected. A second call does nothing."""
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

    # --- what it is -----------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The client's name now."""
        with self._changed:
            return self._name

    @property
    def room(self) -> str | None:
        """The current room, where requests without a room go; None: none."""
        with self._changed:
            return self._current()

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

    def _current(self) -> str | None:
        return self._places[next(reversed(self._places))].room if self._places else None

    @property
    def welcome(self) -> Welcome:
        """The server's last welcome: its version, and its message of the day."""
        with self._changed:
            return self._welcome

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until nothing is unanswered; False when the time is up."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: not self._requests, timeout))

    # --- what comes -----------------------------------------------------------------------------------------

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """What happens, in order: each event once, whoever takes it.

        Ends when nothing has come for ``timeout`` seconds, or once the client is closed; raises Disconnected once
        the connection has ended otherwise. All is handed on first in either case. Answers to requests are not
        among the events, but for the messages that one says oneself::

            >>> chat.say("#lab", "hello")
            2
            >>> [event.text for event in chat.events(timeout=0.5) if isinstance(event, Message)]
            ['hello']

        When 10,000 wait to be taken and no call waits for an answer, no more are read: the server keeps the rest,
        cuts the client off in the end, and hands it over when it comes back.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._events or self._ended, timeout)
                if not self._events:
                    if self._ended is None or self._closing:  # the time is up, or it was closed
                        return
                    raise self._ended
                event = self._events.popleft()
                if len(self._events) == MAX_EVENTS - 1:
                    self._changed.notify_all()
            yield event

    # --- what is asked --------------------------------------------------------------------------------------

    def submit(self, type: str, **fields: Any) -> Asked:
        """Send a request of docs/protocol.rst without waiting for its answer; fields that are None are left out.

        Waits while 256 are not answered. What is said without a room is said in the current one::

            >>> asked = [chat.submit("say", text=f"message {number}") for number in range(100)]
            >>> asked[-1].result(timeout=10)
            Ack(room='#lab', number=102)
        """
        given = {key: value for key, value in fields.items() if value is not None}
        with self._changed:
            if type in ("say", "action") and "room" not in given and (room := self._heading()):
                given["room"] = room  # it may be sent again when another room is the current one
            if not self._changed.wait_for(
                lambda: self._ended or self._closing or len(self._requests) < self._unanswered_most, self.timeout
            ):
                raise TimedOut(f"{self._unanswered_most} requests have waited {self.timeout:g} seconds for an answer.")
            if self._ended or self._closing:
                raise self._ended or Disconnected("quit", _CLOSED)
            if len(self._events) > MAX_UNREAD:
                raise Unread(f"{len(self._events)} events wait to be read.")
            return self._ask(type, given)

    def _heading(self) -> str | None:
        """The room that will be the current one when what was asked so far is done; None: that is not known."""
        for request in reversed(self._requests.values()):
            if request.kind in ("join", "create"):
                return str(request.fields["room"])
            if request.kind in ("leave", "delete", "resume"):
                return None
        return self._current()

    def _ask(self, kind: str, fields: Fields) -> Asked:
        """With the lock held."""
        self._count += 1
        request = _Request(kind, fields, f"{self._refs}-{self._count}")
        self._requests[request.asked.ref] = request
        self._unsent.append(request)
        self._changed.notify_all()
        return request.asked

    def request(self, type: str, **fields: Any) -> Event:
        """Send a request of docs/protocol.rst, wait for its answer, and return it::

        >>> chat.request("say", room="#lab", text="hi")
        Ack(room='#lab', number=103)
        >>> chat.request("history", room="#attic")
        Traceback (most recent call last):
            ...
        chat_threads.client.errors.Refused: There is no room #attic. /rooms lists them, /join makes one.
        """
        asked = self.submit(type, **fields)
        try:
            return asked.result(self.timeout)
        except FutureTimeout:
            with self._changed:
                request = self._requests.pop(asked.ref, None)
                if request and not request.sent:
                    self._unsent.remove(request)
                self._changed.notify_all()
            if request is None:  # the answer came at the last moment
                return asked.result()
            raise TimedOut(f"No answer to {type} within {self.timeout:g} seconds.") from None

    def _get(self, expected: type[E], type: str, **fields: Any) -> E:
        answer = self.request(type, **fields)
        if not isinstance(answer, expected):
            raise Refused("internal", f"The server answered {type} with {answer}.")
        return answer

    def say(self, room: str, text: str) -> int:
        """Say it; return its number in the room, once it is committed to the history."""
        return self._get(Ack, "say", room=room, text=text).number or 0

    def action(self, room: str, text: str) -> int:
        """As /me does: ~ ann waves. Returns its number, as ``say`` does."""
        return self._get(Ack, "action", room=room, text=text).number or 0

    def private(self, to: str, text: str) -> PrivateLine:
        """Say it to one person. It is stored nowhere."""
        return self._get(PrivateLine, "private", to=to, text=text)

    def join(self, room: str) -> Entered | Current:
        """Go to a room, made if there is none; it is the current one then::

        >>> chat.join("#lab2")
        Entered(room='#lab2', topic='', others=(), count=0, last=0, first_time=False)
        """
        return self._get((Entered, Current), "join", room=room)  # type: ignore[arg-type]

    def leave(self, room: str | None = None) -> Departed:
        """Leave a room, or the current one."""
        return self._get(Departed, "leave", room=room)

    def create(self, room: str, topic: str | None = None) -> Entered:
        """Make a room and go there; Refused if there is one."""
        return self._get(Entered, "create", room=room, topic=topic)

    def delete(self, room: str) -> None:
        """Delete a room that one has made, with its history."""
        self._get(Ack, "delete", room=room)

    def rooms(self) -> tuple[RoomRow, ...]:
        """The rooms, the fullest first; a few hundred at most::

        >>> [(row.room, row.messages) for row in chat.rooms()]
        [('#lab', 103), ('#lab2', 0), ('#lobby', 0)]
        """
        return self._get(RoomList, "rooms").rooms

    def who(self, room: str | None = None) -> tuple[PersonRow, ...]:
        """Who is in a room, or here at all; a few hundred at most."""
        return self._get(PeopleList, "who", room=room).people

    def whois(self, name: str) -> PersonShown:
        """What is known of somebody."""
        return self._get(PersonShown, "whois", name=name)

    def topic(self, room: str | None = None) -> str:
        """What a room is about."""
        return self._get(TopicShown, "topic", room=room).topic

    def set_topic(self, text: str, room: str | None = None) -> None:
        """Say what a room is about."""
        self._get(Ack, "topic", room=room, text=text)

    def invite(self, name: str, room: str | None = None) -> None:
        """Ask somebody into a room that one is in."""
        self._get(Notice, "invite", name=name, room=room)

    def nick(self, name: str) -> None:
        """Take another name."""
        self._get(Notice, "nick", name=name)

    def away(self, reason: str = "") -> None:
        """Say that one is away; ``back`` ends it."""
        self._get(Notice, "away", reason=reason)

    def back(self) -> None:
        """Say that one is back."""
        self._get(Notice, "back")

    def ignore(self, name: str) -> None:
        """Be shown nothing that somebody says, under whatever name, but in pages of the history; ``unignore`` ends it.

        It outlasts the connection if the client comes back. The person is whoever has the name now."""
        self._get(Notice, "ignore", name=name)

    def unignore(self, name: str) -> None:
        """Be shown it again."""
        self._get(Notice, "unignore", name=name)

    def history(
        self,
        room: str | None = None,
        count: int | None = None,
        before: int | None = None,
        after: int | None = None,
        seconds: int | None = None,
    ) -> HistoryPage:
        """A page of what was said, at most 200 messages: the newest, or those next below ``before`` or above
        ``after``, or since so many ``seconds`` ago. Its ``before`` and ``after`` ask for the next page::

            >>> page = chat.history("#lab", after=0)
            >>> page.messages[-1].number, page.last, page.after
            (20, 103, 20)
            >>> chat.history("#lab", after=0, count=200).after is None
            True
        """
        return self._get(HistoryPage, "history", room=room, count=count, before=before, after=after, seconds=seconds)

    def search(self, words: str, room: str | None = None, sender: str | None = None) -> SearchPage:
        """The newest 50 messages with all the words."""
        return self._get(SearchPage, "search", words=words, room=room, **{"from": sender})

    def stats(self) -> StatsShown:
        """How the server is doing."""
        return self._get(StatsShown, "stats")

    def ping(self) -> Pong:
        """Time the way through the server and back."""
        return self._get(Pong, "ping")

    # --- coming in: the caller's thread at first, then the reader's ------------------------------------------

    def _come_in(self) -> Connection:
        """Connect and be welcomed; raise OSError, Disconnected or Refused."""
        connection = Connection(self._host, self._port, CONNECT_WITHIN)
        try:
            self._handshake(connection)
            connection.patient()
        except BaseException:
            connection.close()
            raise
        return connection

    def _handshake(self, connection: Connection) -> None:
        connection.send(self._hello())
        greeting = "The connection ended before a welcome."
        while lines := connection.lines():
            while lines:
                line = lines.pop(0)
                if not line.startswith(b"{"):  # the greeting, or why there is none
                    greeting = line.decode("utf-8", "replace").strip().removeprefix("! ") or greeting
                    continue
                event, fields = _decode(line)
                if isinstance(event, Welcome):
                    self._welcomed(event, fields)
                    connection.give_back(lines)
                    return
                if isinstance(event, Problem) and event.code == "unknown_token":
                    self._token = ""
                    connection.send(self._hello())
                elif isinstance(event, Problem):
                    raise Refused(event.code, event.text)
        raise Disconnected("lost", greeting)

    def _hello(self) -> bytes:
        with self._changed:
            hello: Fields = {"type": "hello", "replay": self._replay}
            if self._token:
                hello["token"] = self._token
            else:
                hello["name"] = self._name
            if self._places:
                hello["since"] = {place.room: place.number for place in self._places.values()}
            elif self._first_room:
                hello["room"] = self._first_room
            return _encode(hello)

    def _welcomed(self, event: Welcome, fields: Fields) -> None:
        with self._changed:
            self._welcome = event
            self._name = event.name
            self._token = event.token
            limit = fields.get("limits", {}).get("refs")
            if isinstance(limit, int) and limit > 0:
                self._unanswered_most = min(limit, MAX_UNANSWERED)

    # --- the reader -----------------------------------------------------------------------------------------

    def _run(self, connection: Connection | None) -> None:
        failed = 0  # tries to come back, since a connection was good
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
        """Read to the end of a connection, while a thread of its own writes; return why it ended."""
        writer = threading.Thread(
            target=self._write, args=(connection,), name=f"client-{self._name}-writer", daemon=True
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
                _answer(asked, event)
            for event, fields in taken:
                if isinstance(event, Problem) and "ref" not in fields:
                    said = event.text
                elif isinstance(event, Bye):
                    return Disconnected(event.reason, said or _CLOSED)
            if why:
                return why

    def _take(self, taken: list[tuple[Event, Fields]]) -> list[tuple[Asked, Event]]:
        """What has come: keep the events for the program, and return the answers with what they answer."""
        answered: list[tuple[Asked, Event]] = []
        with self._changed:
            for event, fields in taken:
                request = self._requests.pop(fields.get("ref", ""), None)
                if not self._note(event, fields, request) or fields.get("ref") == _AGAIN:
                    continue
                if request:
                    answered.append((request.asked, event))
                    if self._answers:
                        self._keep(Answer(event, request.asked.ref))
                elif not isinstance(event, Ack):  # of a request that nobody waits for any more
                    self._keep(event)
            self._changed.notify_all()
        return answered

    def _keep(self, event: Event) -> None:
        if self._listen:
            self._events.append(event)

    def _note(self, event: Event, fields: Fields, request: _Request | None) -> bool:
        """Remember what is needed to come back; False if the event was handed on before. With the lock held."""
        places = self._places
        if isinstance(event, Message):
            place = places.setdefault(fold(event.room), _Place(event.room, 0))
            if event.number <= place.number:
                return False
            place.number = event.number
        elif isinstance(event, Entered):
            entered = places.pop(fold(event.room), None)
            place = entered or _Place("", event.last + 1)
            if place.number > event.last:  # it was in no such room before, or that is another one now
                place.number = max(0, event.last - self._replay)
            place.room = event.room
            places[fold(event.room)] = place
        elif isinstance(event, (Departed, RoomDeleted)):
            places.pop(fold(event.room), None)
            current = event.current if isinstance(event, Departed) else event.now_in
            self._make_current(current)
        elif isinstance(event, Current):
            self._make_current(event.room)
        elif isinstance(event, Notice) and request:
            self._note_settings(request.kind, request.fields, event)
        return True

    def _note_settings(self, kind: str, fields: Fields, said: Notice) -> None:
        """The server has done what lasts as long as a connection. With the lock held."""
        if kind == "nick":
            self._name = fields["name"]
        elif kind == "resume":
            self._token = fields["token"]
            match = re.fullmatch(r"You are (\S+) now\.", said.text)  # nothing else says it
            self._name = match[1] if match else self._name
        elif kind == "ignore":
            # Whoever has that name later may be somebody else. A server that names no person goes by names.
            person = {"person": said.person} if said.person else {}
            self._standing["ignore", said.person or fold(fields["name"])] = {**fields, **person}
        elif kind == "unignore":
            self._standing.pop(("ignore", said.person or fold(fields["name"])), None)
        elif kind == "away":
            self._standing["away", ""] = fields
        elif kind == "back":
            self._standing.pop(("away", ""), None)
        elif kind == "set" and fields.get("option") == "replay":
            self._replay = int(fields["value"])
        elif kind == "set" and fields.get("option"):
            self._standing["set", fields["option"]] = fields

    def _make_current(self, room: str | None) -> None:
        place = self._places.pop(fold(room), None) if room else None
        if place:
            self._places[fold(place.room)] = place

    def _lost(self, why: Disconnected) -> bool:
        """A connection has ended: see what becomes of what was not answered. True: come back."""
        with self._changed:
            if self._closing or not self._reconnect or why.code in _FINAL:
                going_on = False
            else:
                going_on = True
                again = _SENT_AGAIN if self._token else _SENT_AGAIN - _SAID  # without a token the history has it twice
                kept = [each for each in self._requests.values() if not each.sent or each.kind in again]
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
        """Try until it works, with pauses; None: it is not to be, and the client has ended."""
        refused = 0
        until = None if self._give_up is None else time.monotonic() + self._give_up
        while True:
            pause = random.uniform(0, min(self._longest_pause, FIRST_PAUSE * 2.0 ** min(failed, 50)))
            if until is not None:
                left = until - time.monotonic()
                if left <= 0:
                    self._end(Disconnected("lost", f"The server could not be reached for {self._give_up:g} seconds."))
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
                refused += 1
                if refused == MAX_REFUSALS:
                    self._end(error)
                    return None, failed
                continue
            with self._changed:
                if not self._closing:
                    again = [_Request(kind, fields, _AGAIN) for (kind, _), fields in self._standing.items()]
                    self._unsent.extendleft(reversed(again))
                    self._connection = connection
                    self._keep(Online(self._name))
                    self._changed.notify_all()
                    return connection, failed
            connection.close()
            break
        self._end(Disconnected("quit", _CLOSED))
        return None, failed

    def _end(self, why: ClientError) -> None:
        """There will be no connection any more: whoever waits is told. Nothing, if that was said before."""
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
        """Send what is asked, in order, all that waits in one call, until the connection is another one."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._unsent or self._connection is not connection)
                if self._connection is not connection:
                    return
                batch = list(self._unsent)
                self._unsent.clear()
                for request in batch:
                    request.sent = True
            try:
                connection.send(b"".join(request.line for request in batch))
            except OSError:
                connection.abort()  # the reader sees the end of it
                return


def _encode(fields: Fields) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


def _decode(line: bytes) -> tuple[Event, Fields]:
    try:
        return decode(line)
    except ValueError as error:
        raise Disconnected("lost", f"The server sent a line that is not in its protocol: {error}.") from error


def _decode_all(lines: list[bytes]) -> tuple[list[tuple[Event, Fields]], Disconnected | None]:
    """The events up to a line that is none; None: they all are."""
    taken = []
    for line in lines:
        if line.startswith(b"{"):  # otherwise it is the greeting, late
            try:
                taken.append(_decode(line))
            except Disconnected as error:
                return taken, error
    return taken, None


def _answer(asked: Asked, event: Event) -> None:
    if isinstance(event, Problem):
        asked.set_exception(Refused(event.code, event.text))
    else:
        asked.set_result(event)
