"""What one transaction stores, and what is read back of rooms and requests."""

from __future__ import annotations

from dataclasses import dataclass, field

from .events import Message
from .ordered import RoomMade, TokenUsed


@dataclass(frozen=True, slots=True)
class StoredRoom:
    id: int
    name: str
    key: str
    topic: str
    creator: str
    created: int
    last: int
    owner: int


@dataclass(frozen=True, slots=True)
class StoredRef:
    """What became of a request: the ``count``-th under its token, from 1."""

    token: int
    count: int
    ref: str
    room: str
    number: int


@dataclass(slots=True)
class Batch:
    """What one transaction holds."""

    rooms_made: list[RoomMade] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    topics: dict[int, str] = field(default_factory=dict)  # by room
    rooms_ended: list[int] = field(default_factory=list)
    rooms_unused: list[int] = field(default_factory=list)  # nothing was ever said in them
    tokens: dict[int, TokenUsed] = field(default_factory=dict)
    tokens_used: int = 0  # how many of them were handed out or shown, and not only spoken under
    refs: list[StoredRef] = field(default_factory=list)

    def __bool__(self) -> bool:
        rooms = self.rooms_made or self.rooms_ended or self.rooms_unused or self.topics
        return bool(self.messages or rooms or self.tokens or self.refs)
