"""Ordered values travel through the history's queue with the messages. So each takes effect, and everybody sees it,
between the same two messages.

All but Marker are frozen, so any thread may read them without a lock. Times are UTC in milliseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .changes import Change, P
from .events import Event, Kind, Message
from .governance import Governance, Person
from .latch import Latch
from .passwords import Account
from .values import value

Told = tuple[tuple[Sequence[Any], Event], ...]
"""Events, each with the sessions that are shown it after the commit, and nobody else."""


class Ordered:
    """Waits its turn in the history's queue. ``origin`` is the session that asked; opaque to the history."""

    __slots__ = ()


@value(frozen=True, slots=True)
class Draft(Ordered):
    """A message without a number. It becomes a Message, or its origin gets an error.

    With a ``token`` (tokens.token_id) and a ``ref``, it is stored once, however often it is submitted. ``who`` is
    always the number of the sender's token.
    """

    room_id: int
    room: str
    sender: str
    kind: Kind
    text: str
    origin: Any
    ref: str = ""
    token: int = 0
    who: int = 0

    @property
    def called(self) -> str:
        """What an error calls it."""
        return "this action" if self.kind == "action" else "this"


@dataclass(frozen=True, slots=True)
class RoomMade(Ordered):
    """A room was made in memory. Its row is stored before any of its messages."""

    room_id: int
    room: str
    key: str
    topic: str
    creator: str
    at: int
    origin: Any = None
    ref: str = ""
    owner: int = 0  # the number of its owner's token (tokens.token_id); 0: it belongs to nobody


@dataclass(frozen=True, slots=True)
class RoomEnded(Ordered):
    """Delete a room with its history; shown after the commit."""

    room_id: int
    by: str
    origin: Any
    ref: str = ""
    room: str = ""
    who: int = 0  # the number of the token of the person who deletes it


@dataclass(frozen=True, slots=True)
class TopicSet(Ordered):
    """Set a room's topic; shown after the commit."""

    room_id: int
    by: str
    topic: str
    origin: Any
    ref: str = ""
    room: str = ""
    who: int = 0  # the number of the token of the person who sets it

    @property
    def text(self) -> str:
        """What is said with it, as in a Draft."""
        return self.topic

    @property
    def called(self) -> str:
        """As in a Draft."""
        return "this topic"


@dataclass(frozen=True, slots=True)
class RoomChanged(Ordered):
    """``by`` asks for a change of how a room is governed. It becomes a RoomGoverned, or its origin gets an error. An
    answer that is ``told`` takes the place of an acknowledgement."""

    room_id: int
    room: str
    owner: int
    change: Change
    by: Person
    origin: Any
    ref: str = ""
    told: Told = ()


@dataclass(frozen=True, slots=True)
class RoomGoverned(Ordered):
    """The rules of a room from now on; None: it has none. Shown after the commit, also to an ``origin`` outside."""

    room_id: int
    governance: Governance | None
    shown: Event | None
    change: Change | None  # by which members may have to leave
    at: int
    origin: Any
    told: Told = ()

    def leaving(self, members: Iterable[P]) -> list[P]:
        """Those of the members who have to leave the room."""
        if self.change is None or self.governance is None:
            return []
        return self.change.leaving(self.governance, members, self.at)


@dataclass(frozen=True, slots=True)
class Redacted(Ordered):
    """Remove a message; shown after the commit.

    ``by`` is the name of the person who asks, and ``who`` the number of their token; ``owner`` is the room's.
    """

    room_id: int
    room: str
    number: int
    by: str
    who: int
    owner: int
    origin: Any
    ref: str = ""


@dataclass(frozen=True, slots=True)
class Noted(Ordered):
    """A row for the audit of a room, or of the server (events.AuditRow)."""

    room_id: int
    room: str
    by: Person
    action: str
    about: str
    why: str = ""
    origin: Any = None
    ref: str = ""
    told: Told = ()
    accused: int = 0  # the number of the person whom a report is about; 0: unknown


@dataclass(frozen=True, slots=True)
class TokenUsed(Ordered):
    """A client got or showed a token (tokens.token_id), under a name. Stored before the messages under that token.
    ``account``: the account that the token opens from now on; 0: it opens what it opened before."""

    token: int
    name: str
    account: int = 0
    proof: bytes = b""  # the salt of the account's password, with which it opens it, and with no other
    session: Any = None  # the session that has the token; it is not told if that is not stored


@dataclass(frozen=True, slots=True)
class AccountStored(Ordered):
    """An account was made or changed. ``key`` is the number of the only token that opens it from now on, besides its
    password; 0: none does; None: those that did. Shown to nobody."""

    account: Account
    key: int | None
    origin: Any
    ref: str = ""


@dataclass(frozen=True, slots=True)
class AccountEnded(AccountStored):
    """An account is given up. Its ``key`` stays a token of its person, and all other tokens are void."""


AccountChange = AccountStored  # or AccountEnded


@dataclass(frozen=True, slots=True)
class PlaceKept(Ordered):
    """What a token keeps for the person who has it, as ``kept.Kept.text`` writes it. Shown to nobody."""

    token: int
    place: str


@dataclass(frozen=True, slots=True)
class Joined(Ordered):
    """A session became a member: change number ``change`` of the room's list of members."""

    room_id: int
    session: Any
    name: str  # at the time of joining
    change: int


@dataclass(frozen=True, slots=True)
class Left(Ordered):
    """A session leaves a room. It still sees the messages that it sent before."""

    room_id: int
    session: Any
    ref: str = ""


@dataclass(frozen=True, slots=True)
class Acked(Ordered):
    """A request with the ``ref`` of ``origin`` is committed. Shown after all earlier messages."""

    origin: Any
    ref: str
    room: str | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class LeftAll(Ordered):
    """A session's conversation is over: it leaves all its rooms."""

    session: Any
    words: str = ""


@dataclass(frozen=True, slots=True)
class NameChanged(Ordered):
    """A session has another name. In these ``slow`` rooms, that counts as a message of the person ``who``."""

    session: Any
    old: str
    new: str
    slow: tuple[int, ...] = ()
    who: int = 0


class Marker(Ordered):
    """A place in the queue. Reports when everything before it has been published."""

    __slots__ = ("passed",)

    def __init__(self) -> None:
        self.passed = Latch()


Said = Draft | TopicSet  # what a room's rules may forbid, or allow only now and then

# What the history publishes after a commit: messages, and the ordered values that somebody sees. Some of them change
# rooms or members.
Rearranged = RoomEnded | TopicSet | Redacted | RoomGoverned | Noted | Left | LeftAll | NameChanged
Published = Message | Acked | Joined | Rearranged
