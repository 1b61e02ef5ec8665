"""Events: what a client is shown. Each dialect has a table of how it shows them.

All are frozen, so any thread may read them without a lock. Times are UTC in milliseconds since 1970, unless a field
says seconds; rooms are written with their ``#``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, final

from .errors import ChatError
from .values import value

Kind = Literal["say", "action"]
LINE_SIZE = 128  # about how many bytes a line has without its text; each further line of a text adds 5


class Event:
    """Something that a client is shown. ``lines`` and ``size`` count against its queue's limits."""

    __slots__ = ()

    @property
    def lines(self) -> int:
        return 1

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return LINE_SIZE * self.lines


class _OneLine:
    """An event of one short line. ``lines`` and ``size`` are no properties, because each parcel asks for them."""

    __slots__ = ()
    lines: ClassVar[int] = 1
    size: ClassVar[int] = LINE_SIZE


@final
@value(frozen=True, slots=True)
class Message(Event):
    """A message as the history has it: committed before anybody sees it (promise 1).

    ``number`` counts a room's messages from 1 without a gap (promise 2). ``who`` is the number of the sender's token
    (tokens.token_id), by which people are ignored; 0: unknown. ``lines`` counts those of the text.
    """

    room_id: int
    room: str
    number: int
    at: int
    sender: str
    kind: Kind
    text: str
    who: int = 0
    lines: int = field(default=1, compare=False)  # no property, because each parcel with messages asks for it

    @property
    def size(self) -> int:
        text = self.text
        return LINE_SIZE + 5 * (self.lines - 1) + (len(text) if text.isascii() else _utf8_length(text))


class _Page:
    """Messages, and at most so many lines ``around`` them."""

    __slots__ = ()
    around: ClassVar[int] = 2
    messages: tuple[Message, ...]

    @property
    def lines(self) -> int:
        return self.around + sum(message.lines for message in self.messages)

    @property
    def size(self) -> int:
        return sum(message.size for message in self.messages)


@dataclass(frozen=True, slots=True)
class Greeting(_OneLine, Event):
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

    @property
    def size(self) -> int:
        return LINE_SIZE * (1 + len(self.motd))


@dataclass(frozen=True, slots=True)
class Entered(_OneLine, Event):
    """The receiver is in a room now. ``others`` names some of the others, and ``count`` counts them all."""

    room: str
    topic: str
    others: tuple[str, ...]
    count: int
    last: int
    first_time: bool = False


@dataclass(frozen=True, slots=True)
class Replay(_Page, Event):
    """Messages of a room up to number ``last``, the newest: shown on entering, or missed by a client that returns."""

    around: ClassVar[int] = 1
    room: str
    messages: tuple[Message, ...]
    last: int


@dataclass(frozen=True, slots=True)
class Departed(_OneLine, Event):
    """The receiver has left a room; ``current`` is where its texts go now."""

    room: str
    current: str | None


@dataclass(frozen=True, slots=True)
class Current(_OneLine, Event):
    """The receiver was a member already; its texts go to this room now."""

    room: str


@dataclass(frozen=True, slots=True)
class Presence(_OneLine, Event):
    """Others joined or left a room. ``words`` are the last words of a person who left; ``who`` is as in Message."""

    room: str
    kind: Literal["joined", "left"]
    names: tuple[str, ...]
    words: str = ""
    who: int = 0


@dataclass(frozen=True, slots=True)
class Renamed(_OneLine, Event):
    """Somebody in a room with the receiver has another name now. Shown once, however many rooms they share."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class TopicChanged(_OneLine, Event):
    room: str
    by: str
    topic: str


@dataclass(frozen=True, slots=True)
class TopicShown(_OneLine, Event):
    room: str
    topic: str


@dataclass(frozen=True, slots=True)
class RoomDeleted(_OneLine, Event):
    """A room is gone with its history; the receiver's texts go to ``now_in`` now."""

    room: str
    by: str
    now_in: str


@dataclass(frozen=True, slots=True)
class PrivateLine(Event):
    """A private line: shown at once, and never stored. ``sent`` is true in the sender's own copy."""

    at: int
    sender: str
    to: str
    text: str
    sent: bool = False

    @property
    def lines(self) -> int:
        return 1 + self.text.count("\n")

    @property
    def size(self) -> int:
        return LINE_SIZE + 5 * (self.lines - 1) + _utf8_length(self.text)


@dataclass(frozen=True, slots=True)
class Invited(_OneLine, Event):
    by: str
    room: str


@dataclass(frozen=True, slots=True)
class HistoryPage(_Page, Event):
    """Messages of one room in order, at most 200. ``before`` and ``after`` ask for more pages; None: there are none."""

    room: str
    messages: tuple[Message, ...]
    last: int
    before: int | None
    after: int | None


@dataclass(frozen=True, slots=True)
class SearchPage(_Page, Event):
    """The messages that a search found, oldest first. ``more``: older ones were left out; ``older`` is the search for
    them, as people type it."""

    words: str
    messages: tuple[Message, ...]
    more: bool
    older: str = ""


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
class PersonShown(_OneLine, Event):
    person: PersonRow
    connected: float  # seconds


@dataclass(frozen=True, slots=True)
class QrShown(Event):
    """The address of the chat, and its QR code as in ``qr.rows_of``."""

    url: str
    rows: tuple[str, ...]

    @property
    def lines(self) -> int:
        return 1 + len(self.rows) // 2

    @property
    def size(self) -> int:
        return LINE_SIZE + 2 * sum(map(len, self.rows))


@dataclass(frozen=True, slots=True)
class StatsShown(_OneLine, Event):
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
    waiting: int | None  # in its queue, or its session's: lines, batches or messages
    most: int | None  # the highest number so far
    lines: int | None  # lines that the session's writer has taken
    bytes: int | None  # bytes sent to the session


@dataclass(frozen=True, slots=True)
class ThreadList(Event):
    """What every thread is doing; ``more`` counts the readers that were left out."""

    threads: tuple[ThreadRow, ...]
    more: int

    @property
    def lines(self) -> int:
        return 3 + 2 * len(self.threads)


@dataclass(frozen=True, slots=True)
class LockRow:
    lock: str
    taken: int
    contended: int  # how often a thread had to wait for it
    waited: float  # seconds, in all
    longest: float  # seconds that it was held
    holder: str | None  # the thread that has it now
    held: float | None  # seconds, until now
    waiting: tuple[str, ...] = ()  # threads that wait for it now, in the order in which they came; 100 at most


@dataclass(frozen=True, slots=True)
class LockList(Event):
    """How the locks were used. ``counted``: whether the server counts lock use."""

    counted: bool
    locks: tuple[LockRow, ...]

    @property
    def lines(self) -> int:
        return 3 + len(self.locks)


@dataclass(frozen=True, slots=True)
class Stages:
    """When a message was put into the history's queue, taken from it, committed and published: milliseconds since it
    was received. None: not yet, or never."""

    queued: float | None
    taken: float | None
    committed: float | None
    published: float | None


@dataclass(frozen=True, slots=True)
class MemberTrip:
    name: str
    queued: float  # milliseconds since the message was received
    written: float | None  # None: not yet, or never


@dataclass(frozen=True, slots=True)
class TripShown(Event):
    """A message's way through the threads: the stages, and then each member."""

    room: str
    number: int
    sender: str
    stages: Stages
    members: tuple[MemberTrip, ...]
    more: int

    @property
    def lines(self) -> int:
        return 8 + len(self.members)


@dataclass(frozen=True, slots=True)
class TokenShown(_OneLine, Event):
    token: str


@dataclass(frozen=True, slots=True)
class Pong(_OneLine, Event):
    """The answer to a ping. ``through``: seconds through the server's queue and back; ``network``: TCP's own
    estimate of the round trip in seconds, where the system tells it."""

    through: float
    network: float | None


@dataclass(frozen=True, slots=True)
class MetricsShown(Event):
    """The numbers in the text format of Prometheus, version 0.0.4; its lines end with LF."""

    text: str

    @property
    def size(self) -> int:
        return len(self.text)


@dataclass(frozen=True, slots=True)
class HealthShown(_OneLine, Event):
    """``text`` is "ok", or the reason why the server cannot store or serve, in a sentence."""

    healthy: bool
    text: str


@dataclass(frozen=True, slots=True)
class HelpShown(Event):
    """Help on one command, on "all", or the commands in groups, ``without`` those that do not work for this client. One
    that is not ``named`` yet sees how to give its name."""

    about: str | None
    named: bool = True
    without: frozenset[str] = frozenset()

    @property
    def lines(self) -> int:
        return {"all": 40, None: 18 if self.named else 1}.get(self.about, 8)


@dataclass(frozen=True, slots=True)
class Notice(_OneLine, Event):
    """A short answer in words. Where it helps, the fields say whom or what it is about; ``person`` is in the form that
    ignore and unignore accept. ``next`` is the type of the request to send next; each dialect words it."""

    text: str
    person: str = ""
    name: str = ""
    room: str = ""
    next: str = ""


@dataclass(frozen=True, slots=True)
class Problem(_OneLine, Event):
    """A ChatError, as the client is shown it. ``problem`` makes it."""

    code: str
    text: str
    room: str | None = None
    near: str | None = None
    seconds: int | None = None
    # For a dialect that words the advice itself. JSON carries neither field, so an error decoded from JSON has neither.
    kind: type[ChatError] | None = field(default=None, compare=False)
    fact: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Bye(_OneLine, Event):
    """The last event of a session: "quit", or the code of the problem that ended it."""

    reason: str = "quit"


@dataclass(frozen=True, slots=True)
class Ack(_OneLine, Event):
    """The request is done and committed. For a message, with its room and number."""

    room: str | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Answer(Event):
    """An event that answers the request that the client called ``ref``."""

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
    """Bytes that go out as they are: an answer of the telnet layer, a page, or words of a protocol that is not ours."""

    data: bytes

    @property
    def size(self) -> int:
        return LINE_SIZE + len(self.data)


def _utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def problem(error: ChatError) -> Problem:
    """The event for an error. It does not keep the error, whose traceback would hold on to much memory."""
    return Problem(error.code, error.text, error.room, error.near, error.seconds, type(error), error.fact)


def answers(ref: str, *events: Event) -> tuple[Event, ...]:
    """The events as answers to the request ``ref``; if that is "", as they are."""
    return tuple(Answer(event, ref) for event in events) if ref else events
