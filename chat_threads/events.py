"""Events: what a client is shown. Each dialect has a table of how it shows them.

All are frozen, so any thread may read them without a lock. Times are UTC in milliseconds since 1970, unless a field
says seconds; rooms are written with their ``#``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, final

from .errors import ChatError
from .event import LINE_SIZE as LINE_SIZE
from .event import Event as Event
from .event import OneLine, utf8_length
from .insights import HealthShown as HealthShown
from .insights import LockList as LockList
from .insights import LockRow as LockRow
from .insights import MemberTrip as MemberTrip
from .insights import MetricsShown as MetricsShown
from .insights import Pong as Pong
from .insights import Stages as Stages
from .insights import StatsShown as StatsShown
from .insights import ThreadList as ThreadList
from .insights import ThreadRow as ThreadRow
from .insights import TripShown as TripShown
from .room_events import Action as Action
from .room_events import AuditList as AuditList
from .room_events import AuditRow as AuditRow
from .room_events import Moderated as Moderated
from .room_events import RoomSet as RoomSet
from .room_events import RoomShown as RoomShown
from .room_events import SanctionList as SanctionList
from .room_events import SanctionRow as SanctionRow
from .values import value

Kind = Literal["say", "action", "removed"]


@final
@value(frozen=True, slots=True)
class Message(Event):
    """A message as the history has it: committed before anybody sees it (promise 1).

    ``number`` counts a room's messages from 1 without a gap (promise 2). ``who`` is the number of the sender's token
    (tokens.token_id), by which people are ignored; 0: unknown. ``lines`` counts those of the text. The text of
    a message that was removed is "".
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
        return LINE_SIZE + 5 * (self.lines - 1) + (len(text) if text.isascii() else utf8_length(text))


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
class Greeting(OneLine, Event):
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
class Entered(OneLine, Event):
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
class Departed(OneLine, Event):
    """The receiver has left a room; ``current`` is where its texts go now."""

    room: str
    current: str | None


@dataclass(frozen=True, slots=True)
class Current(OneLine, Event):
    """The receiver was a member already; its texts go to this room now."""

    room: str


@dataclass(frozen=True, slots=True)
class Presence(OneLine, Event):
    """Others joined or left a room. ``words`` are the last words of a person who left; ``who`` is as in Message."""

    room: str
    kind: Literal["joined", "left"]
    names: tuple[str, ...]
    words: str = ""
    who: int = 0


@dataclass(frozen=True, slots=True)
class Renamed(OneLine, Event):
    """Somebody in a room with the receiver has another name now. Shown once, however many rooms they share."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class TopicChanged(OneLine, Event):
    room: str
    by: str
    topic: str


@dataclass(frozen=True, slots=True)
class Redacted(OneLine, Event):
    """Somebody has removed a message of a room."""

    room: str
    number: int
    by: str


@dataclass(frozen=True, slots=True)
class TopicShown(OneLine, Event):
    room: str
    topic: str


@dataclass(frozen=True, slots=True)
class RoomDeleted(OneLine, Event):
    """A room is gone with its history; the receiver's texts go to ``now_in`` now; None: it is in no room."""

    room: str
    by: str
    now_in: str | None


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
        return LINE_SIZE + 5 * (self.lines - 1) + utf8_length(self.text)


@dataclass(frozen=True, slots=True)
class Invited(OneLine, Event):
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
    them, as people type it. ``limits``: how it was limited besides by its words, as people type it."""

    words: str
    messages: tuple[Message, ...]
    more: bool
    older: str = ""
    limits: str = ""


Page = Replay | HistoryPage | SearchPage


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
    idle: float  # seconds since the person did something
    away: str | None  # None: here; otherwise the reason, maybe empty
    account: bool = False  # whether the person is logged in


@dataclass(frozen=True, slots=True)
class PeopleList(Event):
    room: str | None
    people: tuple[PersonRow, ...]
    more: int

    @property
    def lines(self) -> int:
        return 3 + len(self.people)


@dataclass(frozen=True, slots=True)
class PersonShown(OneLine, Event):
    """``logged_in_as`` is the name of the person's account, if it is not the name that the person has now.
    ``operator``: of the server, which only such operators are shown."""

    person: PersonRow
    connected: float  # seconds
    logged_in_as: str = ""
    operator: bool = False


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
class TokenShown(OneLine, Event):
    token: str


@dataclass(frozen=True, slots=True)
class Restored(OneLine, Event):
    """The settings that a token has kept, each as people type it after /set, for a client that applies them itself."""

    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HelpShown(Event):
    """Help on one command, on "all", or the commands in groups, ``without`` those that do not work for this client. One
    that is not ``named`` yet sees how to give its name."""

    about: str | None
    named: bool = True
    without: frozenset[str] = frozenset()

    @property
    def lines(self) -> int:
        return {"all": 60, None: 21 if self.named else 1}.get(self.about, 8)


@dataclass(frozen=True, slots=True)
class Notice(OneLine, Event):
    """A short answer in words. Where it helps, the fields say whom or what it is about; ``person`` is in the form that
    ignore and unignore accept. ``next`` is the type of the request to send next; each dialect words it."""

    text: str
    person: str = ""
    name: str = ""
    room: str = ""
    next: str = ""


@dataclass(frozen=True, slots=True)
class Problem(OneLine, Event):
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
class Bye(OneLine, Event):
    """The last event of a session: "quit", or the code of the problem that ended it."""

    reason: str = "quit"


@dataclass(frozen=True, slots=True)
class Ack(OneLine, Event):
    """The request is done and committed. For a message, with its room and number."""

    room: str | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Answer(Event):
    """An event that answers the request that the client called ``ref``. For clients, ``kind`` is its type."""

    event: Event
    ref: str
    kind: str = ""

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


def problem(error: ChatError) -> Problem:
    """The event for an error. It does not keep the error, whose traceback would hold on to much memory."""
    return Problem(error.code, error.text, error.room, error.near, error.seconds, type(error), error.fact)


def answers(ref: str, *events: Event) -> tuple[Event, ...]:
    """The events as answers to the request ``ref``; if that is "", as they are."""
    return tuple(Answer(event, ref) for event in events) if ref else events
