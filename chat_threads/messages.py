"""The values that cross threads: commands that come in, events that go out, and the parcel of events.

All are frozen: whoever holds one may read it in any thread without a lock. A *command* is what one client
asked for, whatever its dialect; ``service`` has the table of what each does. An *event* is what a client is
shown; each dialect has a table of how. *Ordered* values travel through the history's queue, so that they
take effect, and are seen, between the same two messages by everybody.

Times are UTC in milliseconds since 1970; rooms are written with their ``#``.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Kind = Literal["say", "action"]
LINE_SIZE = 128  # about how many bytes a line has without its text


# --- commands: what a client asks for ----------------------------------------------------------------


class Command:
    """Asked for by one client, obeyed by its reader thread."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Hello(Command):
    """The handshake: a name, and the room to begin in; or a token that was handed out before, and in ``since`` the
    rooms to come back to, each with the number of the last message that was seen there."""

    name: str = ""
    room: str | None = None
    token: str = ""
    since: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Say(Command):
    """Say ``text`` in ``room``, or in the current room."""

    text: str
    kind: Kind = "say"
    room: str | None = None


@dataclass(frozen=True, slots=True)
class Private(Command):
    to: str
    text: str


@dataclass(frozen=True, slots=True)
class Reply(Command):
    text: str


@dataclass(frozen=True, slots=True)
class Join(Command):
    """Go to a room, and be shown its newest messages, or all that came after number ``since``."""

    room: str
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Leave(Command):
    room: str | None = None


@dataclass(frozen=True, slots=True)
class Create(Command):
    room: str
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Delete(Command):
    """Delete a room with its history; with ``ask`` only say how much that would be, and how it is done."""

    room: str
    ask: bool = False


@dataclass(frozen=True, slots=True)
class ListRooms(Command):
    pass


@dataclass(frozen=True, slots=True)
class Who(Command):
    room: str | None = None


@dataclass(frozen=True, slots=True)
class Topic(Command):
    """Show the topic (``text`` is None) or set it."""

    room: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Invite(Command):
    name: str
    room: str | None = None


@dataclass(frozen=True, slots=True)
class Nick(Command):
    name: str


@dataclass(frozen=True, slots=True)
class ShowToken(Command):
    pass


@dataclass(frozen=True, slots=True)
class Resume(Command):
    """Take the place of whoever was given this token."""

    token: str


@dataclass(frozen=True, slots=True)
class Whois(Command):
    name: str


@dataclass(frozen=True, slots=True)
class Away(Command):
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Back(Command):
    pass


@dataclass(frozen=True, slots=True)
class Ignore(Command):
    name: str


@dataclass(frozen=True, slots=True)
class Unignore(Command):
    name: str


@dataclass(frozen=True, slots=True)
class ReadHistory(Command):
    """A page of a room's history: the newest ``count``, or those next to a number, or since a while ago."""

    room: str | None = None
    count: int | None = None
    before: int | None = None
    after: int | None = None
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Search(Command):
    words: str
    room: str | None = None
    sender: str | None = None


@dataclass(frozen=True, slots=True)
class SetOption(Command):
    """Change what this session is shown; without a name, show the settings."""

    name: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Stats(Command):
    pass


@dataclass(frozen=True, slots=True)
class ShowThreads(Command):
    pass


@dataclass(frozen=True, slots=True)
class ShowLocks(Command):
    pass


@dataclass(frozen=True, slots=True)
class ShowTrip(Command):
    """The trip of a message of the current room, by its number."""

    number: int


@dataclass(frozen=True, slots=True)
class MakeFault(Command):
    """A fault to look at: "slow" a person's sends by ``amount`` milliseconds, or "pause" the publisher or the
    history for so many seconds."""

    fault: str
    target: str
    amount: int


@dataclass(frozen=True, slots=True)
class Ping(Command):
    pass


@dataclass(frozen=True, slots=True)
class AreYouThere(Command):
    """Telnet's AYT (RFC 854)."""


@dataclass(frozen=True, slots=True)
class Quit(Command):
    words: str = ""


@dataclass(frozen=True, slots=True)
class Help(Command):
    """Help on one command, or the list; the dialect knows its own."""

    about: str | None = None


# --- events: what a client is shown ------------------------------------------------------------------


class Event:
    """Shown to a client. ``lines`` and ``size`` are what it counts for against a queue's limits."""

    __slots__ = ()

    @property
    def lines(self) -> int:
        return 1

    @property
    def size(self) -> int:
        """About how many bytes it is shown in."""
        return LINE_SIZE * self.lines


@dataclass(frozen=True, slots=True)
class Message(Event):
    """What was said, as the history has it: committed before anybody sees it (promise 1).

    ``number`` counts a room's messages from 1 without a gap (promise 2).
    """

    room_id: int
    room: str
    number: int
    at: int
    sender: str
    kind: Kind
    text: str

    @property
    def size(self) -> int:
        return LINE_SIZE + _utf8_length(self.text)


@dataclass(frozen=True, slots=True)
class Greeting(Event):
    """The first line to a client, before its name is known."""

    version: str


@dataclass(frozen=True, slots=True)
class Welcome(Event):
    name: str
    motd: tuple[str, ...] = ()
    version: str = ""
    token: str = ""

    @property
    def lines(self) -> int:
        return 1 + len(self.motd)


@dataclass(frozen=True, slots=True)
class Entered(Event):
    """The receiver is in a room now. ``others`` names some, ``count`` counts all of the others."""

    room: str
    topic: str
    others: tuple[str, ...]
    count: int
    last: int
    first_time: bool = False


@dataclass(frozen=True, slots=True)
class Replay(Event):
    """The newest messages of a room on entering it, or some that one who comes back has missed: ``messages`` out of
    numbers 1 to ``last``."""

    room: str
    messages: tuple[Message, ...]
    last: int

    @property
    def lines(self) -> int:
        return 1 + len(self.messages)

    @property
    def size(self) -> int:
        return sum(message.size for message in self.messages)


@dataclass(frozen=True, slots=True)
class Departed(Event):
    """The receiver has left a room; ``current`` is where its texts go now."""

    room: str
    current: str | None


@dataclass(frozen=True, slots=True)
class Current(Event):
    """The receiver was a member already; its texts go to this room now."""

    room: str


@dataclass(frozen=True, slots=True)
class Presence(Event):
    """Others joined or left a room. ``words`` are what one who left had to say."""

    room: str
    kind: Literal["joined", "left"]
    names: tuple[str, ...]
    words: str = ""


@dataclass(frozen=True, slots=True)
class Renamed(Event):
    """Somebody in a room with the receiver has another name now; shown once, however many rooms they share."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class TopicChanged(Event):
    room: str
    by: str
    topic: str


@dataclass(frozen=True, slots=True)
class TopicShown(Event):
    room: str
    topic: str


@dataclass(frozen=True, slots=True)
class RoomDeleted(Event):
    """A room is gone with its history; the receiver is in ``now_in``."""

    room: str
    by: str
    now_in: str


@dataclass(frozen=True, slots=True)
class PrivateLine(Event):
    """A private line: live only, never stored. ``sent`` is true in the sender's own copy."""

    at: int
    sender: str
    to: str
    text: str
    sent: bool = False

    @property
    def size(self) -> int:
        return LINE_SIZE + _utf8_length(self.text)


@dataclass(frozen=True, slots=True)
class Invited(Event):
    by: str
    room: str


@dataclass(frozen=True, slots=True)
class HistoryPage(Event):
    """Messages of one room in order, at most 200. The numbers before and after, if there are any, go on."""

    room: str
    messages: tuple[Message, ...]
    last: int
    before: int | None
    after: int | None

    @property
    def lines(self) -> int:
        return 2 + len(self.messages)

    @property
    def size(self) -> int:
        return sum(message.size for message in self.messages)


@dataclass(frozen=True, slots=True)
class SearchPage(Event):
    """What a search found, oldest first; ``more`` when older hits were left out."""

    words: str
    messages: tuple[Message, ...]
    more: bool

    @property
    def lines(self) -> int:
        return 2 + len(self.messages)

    @property
    def size(self) -> int:
        return sum(message.size for message in self.messages)


@dataclass(frozen=True, slots=True)
class RoomRow:
    room: str
    people: int
    messages: int
    topic: str


@dataclass(frozen=True, slots=True)
class RoomList(Event):
    """The rooms, the fullest first; ``more`` counts those left out."""

    rooms: tuple[RoomRow, ...]
    more: int

    @property
    def lines(self) -> int:
        return 3 + len(self.rooms)


@dataclass(frozen=True, slots=True)
class PersonRow:
    name: str
    rooms: tuple[str, ...]
    idle: float  # seconds since the last line
    away: str | None  # None: here; otherwise the reason, maybe empty


@dataclass(frozen=True, slots=True)
class PeopleList(Event):
    room: str | None
    people: tuple[PersonRow, ...]
    more: int

    @property
    def lines(self) -> int:
        return 3 + len(self.people)


@dataclass(frozen=True, slots=True)
class PersonShown(Event):
    person: PersonRow
    connected: float  # seconds


@dataclass(frozen=True, slots=True)
class StatsShown(Event):
    version: str
    uptime: float  # seconds
    sessions: int
    rooms: int
    stored: int
    threads: int
    per_second: float  # messages, mean of the last ten seconds


@dataclass(frozen=True, slots=True)
class ThreadRow:
    thread: str
    role: str
    session: str | None  # its name
    doing: str
    seconds: float  # for how long it has been doing that
    where: str  # file, line and function
    waiting: int | None  # in the queue that it empties, or that is emptied for it: lines, batches or messages
    most: int | None  # that ever waited there
    lines: int | None  # that its session's writer took, so far
    bytes: int | None  # that were sent to its session, so far


@dataclass(frozen=True, slots=True)
class ThreadList(Event):
    """What every thread is doing; ``more`` counts the readers that were left out."""

    threads: tuple[ThreadRow, ...]
    more: int

    @property
    def lines(self) -> int:
        return 3 + len(self.threads)


@dataclass(frozen=True, slots=True)
class LockRow:
    lock: str
    taken: int
    contended: int  # how often somebody else had it
    waited: float  # seconds, in all
    longest: float  # seconds that it was held
    holder: str | None  # the thread that has it now
    held: float | None  # seconds, until now


@dataclass(frozen=True, slots=True)
class LockList(Event):
    """How the locks were used; ``counted`` is false if nobody counts that."""

    counted: bool
    locks: tuple[LockRow, ...]

    @property
    def lines(self) -> int:
        return 3 + len(self.locks)


@dataclass(frozen=True, slots=True)
class MemberTrip:
    name: str
    queued: float  # milliseconds since it was received
    written: float | None  # None: not yet, or never


@dataclass(frozen=True, slots=True)
class TripShown(Event):
    """A message's way through the threads: each stage in milliseconds since it was received, None if not reached."""

    room: str
    number: int
    sender: str
    stages: tuple[tuple[str, float | None], ...]
    members: tuple[MemberTrip, ...]
    more: int

    @property
    def lines(self) -> int:
        return 8 + len(self.members)


@dataclass(frozen=True, slots=True)
class TokenShown(Event):
    token: str


@dataclass(frozen=True, slots=True)
class Pong(Event):
    """The answer to a ping. ``through``: seconds through the server's queue and back; ``network``: TCP's own
    estimate of the round trip in seconds, where the system tells it."""

    through: float
    network: float | None


@dataclass(frozen=True, slots=True)
class HelpShown(Event):
    about: str | None

    @property
    def lines(self) -> int:
        return 40


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """A short answer in words."""

    text: str


@dataclass(frozen=True, slots=True)
class Problem(Event):
    """An error of the client's, or one that it has to know of: the code and text of a ChatError."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Bye(Event):
    """The last event of a session: "quit", or the code of the problem that ended it."""

    reason: str = "quit"


@dataclass(frozen=True, slots=True)
class Ack(Event):
    """What was asked is done, and committed. For a message, its room and number."""

    room: str | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Answer(Event):
    """An event that answers a request which the client gave a name to."""

    event: Event
    ref: str

    @property
    def lines(self) -> int:
        return self.event.lines

    @property
    def size(self) -> int:
        return self.event.size


@dataclass(frozen=True, slots=True)
class WireBytes(Event):
    """Bytes that go out as they are: a telnet layer's answers, an HTTP answer."""

    data: bytes


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def answers(ref: str, *events: Event) -> tuple[Event, ...]:
    """The events as answers to the request of that name; "": it has none, and they are sent as they are."""
    return tuple(Answer(event, ref) for event in events) if ref else events


# --- ordered: what goes through the history's queue ---------------------------------------------------


class Ordered:
    """Takes its turn in the history's queue. ``origin`` is the session that asked, opaque to the history."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Draft(Ordered):
    """Something said, not yet numbered. Becomes a Message, or its origin is told why not.

    With a ``token`` (tokens.token_id) and a ``ref`` it becomes one once, however often it is submitted.
    """

    room_id: int
    room: str
    sender: str
    kind: Kind
    text: str
    origin: Any
    ref: str = ""
    token: int = 0


@dataclass(frozen=True, slots=True)
class RoomMade(Ordered):
    """A room was made in memory; its row is stored before any message of it."""

    room_id: int
    room: str
    key: str
    topic: str
    creator: str
    at: int
    origin: Any = None
    ref: str = ""
    owner: int = 0  # the number of the token (tokens.token_id) that it belongs to; 0: to nobody's


@dataclass(frozen=True, slots=True)
class RoomEnds(Ordered):
    """Delete a room with its history; shown once that is committed."""

    room_id: int
    by: str
    origin: Any
    ref: str = ""


@dataclass(frozen=True, slots=True)
class TopicSet(Ordered):
    """Set a room's topic; shown once that is committed."""

    room_id: int
    by: str
    topic: str
    origin: Any
    ref: str = ""


@dataclass(frozen=True, slots=True)
class TokenUsed(Ordered):
    """A token (tokens.token_id) was handed out, or shown, under a name: stored before what is said under it."""

    token: int
    name: str


@dataclass(frozen=True, slots=True)
class Joined(Ordered):
    """A session became a member, as the ``change``-th change of the room's list of members."""

    room_id: int
    session: Any
    name: str  # when it joined
    change: int


@dataclass(frozen=True, slots=True)
class Leaves(Ordered):
    """A session leaves a room: after what it said before, so that it still sees that."""

    room_id: int
    session: Any
    ref: str = ""


@dataclass(frozen=True, slots=True)
class Acked(Ordered):
    """Something that ``origin`` gave a name to is committed: shown after what came before it."""

    origin: Any
    ref: str
    room: str | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class LeavesAll(Ordered):
    """A session's conversation is over."""

    session: Any
    words: str = ""


@dataclass(frozen=True, slots=True)
class Renames(Ordered):
    session: Any
    old: str
    new: str


# What the history hands on once a batch is committed: messages, and the ordered values but for drafts.
Published = Message | Acked | RoomEnds | TopicSet | Joined | Leaves | LeavesAll | Renames


# --- the parcel: what a session's queue holds ---------------------------------------------------------


class View(Protocol):
    """A way of showing events: a dialect with its options. Immutable; compared by identity, so one way of
    showing is one object, and a thousand sessions that are shown the same share it."""

    def encode(self, events: Sequence[Event]) -> bytes:
        """The bytes of these events. Pure: any thread, no waiting, the same bytes every time."""


class Parcel:
    """Events for all sessions that share a view, turned into bytes once, by whoever needs them first.

    One parcel is put into many queues; writer threads ask it for ``data``.
    """

    __slots__ = ("lines", "size", "_lock", "_view", "_events", "_data")

    def __init__(self, view: View, events: Sequence[Event]) -> None:
        self.lines = sum(event.lines for event in events)
        self.size = sum(event.size for event in events)
        self._lock = threading.Lock()  # guards _events; only View.encode is called under it
        self._view = view
        self._events: Sequence[Event] | None = events
        self._data: bytes | None = None  # set once, under the lock, and read as a whole

    @property
    def data(self) -> bytes:
        data = self._data
        return self._encode() if data is None else data

    def _encode(self) -> bytes:
        with self._lock:
            if self._events is not None:
                self._data = self._view.encode(self._events)
                self._events = None
            assert self._data is not None
            return self._data
