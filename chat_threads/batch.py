"""The content of one transaction, and the rows of rooms and requests that are read back."""

from __future__ import annotations

from dataclasses import dataclass, field

from .events import AuditRow, Message
from .ordered import AccountChange, RoomMade, TokenUsed

TOKEN_PAGES = 3  # pages that a request under a token adds to SQLite's log; more requests add more
PAGE_LETTERS = 1000  # letters of long texts that fill a page, at four bytes each
INDEX_PAGES = 40  # pages that a change of the index of a few messages adds


@dataclass(frozen=True, slots=True)
class StoredRoom:
    id: int
    name: str
    key: str
    topic: str
    creator: str
    last: int
    owner: int


@dataclass(frozen=True, slots=True)
class StoredRef:
    """The result of a request: number ``count`` under its token, from 1."""

    token: int
    count: int
    ref: str
    room: str
    number: int


@dataclass(slots=True)
class Batch:
    """The content of one transaction."""

    rooms_made: list[RoomMade] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    topics: dict[int, str] = field(default_factory=dict)  # by room
    rooms_ended: list[int] = field(default_factory=list)
    rooms_unused: list[int] = field(default_factory=list)  # rooms in which nothing was ever said
    tokens: dict[int, TokenUsed] = field(default_factory=dict)
    tokens_used: int = 0  # how many of them a client got or showed; others were only used in messages
    refs: list[StoredRef] = field(default_factory=list)
    governed: dict[int, str] = field(default_factory=dict)  # Governance.text by room
    places: dict[int, str] = field(default_factory=dict)  # what tokens keep (kept.Kept.text), by token
    redacted: list[tuple[int, int]] = field(default_factory=list)  # each a room and the number of a message
    accounts: list[AccountChange | TokenUsed] = field(default_factory=list)  # in order, with the tokens for them
    audit: list[tuple[int, AuditRow]] = field(default_factory=list)  # each with the id of its room

    def __bool__(self) -> bool:
        return bool(self.messages) or self.more

    @property
    def sweeps(self) -> bool:
        """Whether something is to be deleted after it."""
        return bool(self.rooms_ended or self.redacted or self.governed)

    @property
    def more(self) -> bool:
        """Whether there is anything besides messages."""
        rooms = self.rooms_made or self.rooms_ended or self.rooms_unused or self.topics or self.redacted or self.audit
        return bool(rooms or self.governed or self.tokens or self.refs or self.places or self.accounts)

    def pages(self) -> int:
        """Roughly the pages that all but the messages add to SQLite's log."""
        pages = TOKEN_PAGES + len(self.tokens) if self.tokens else 0
        if self.places or self.governed:
            texts = [*self.places.values(), *self.governed.values()]
            pages += len(texts) + sum(map(len, texts)) // PAGE_LETTERS
        if self.rooms_made or self.topics or self.audit:
            pages += 2 * len(self.rooms_made) + len(self.topics) + len(self.audit)
        return pages + (INDEX_PAGES if self.redacted else 0)
