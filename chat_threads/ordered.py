"""Ordered values: they travel through the history's queue, so that they take effect, and are seen, between the same
two messages by everybody.

All are frozen, so any thread may read them without a lock. Times are UTC in milliseconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .events import Kind, Message


class Ordered:
    """Takes its turn in the history's queue. ``origin`` is the session that asked, opaque to the history."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Draft(Ordered):
    """Something said, not yet numbered. Becomes a Message, or its origin is told why not.

    With a ``token`` (tokens.token_id) and a ``ref`` it becomes one once, however often it is submitted. ``who`` is
    the number of its sender's token in any case.
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
class RoomEnded(Ordered):
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
class Left(Ordered):
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
class LeftAll(Ordered):
    """A session's conversation is over."""

    session: Any
    words: str = ""


@dataclass(frozen=True, slots=True)
class NameChanged(Ordered):
    session: Any
    old: str
    new: str


# What the history hands on once a batch is committed: messages, and the ordered values but for drafts.
Published = Message | Acked | RoomEnded | TopicSet | Joined | Left | LeftAll | NameChanged
