"""What only a cluster has in its log, besides the ordered values of every server. Frozen: any thread may read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..ordered import Ordered


@dataclass(frozen=True, slots=True)
class NameClaimed(Ordered):
    """A session wants a name, and to be this person. The first entry in the log gets the name, unless it is held by a
    session of the same person, whose place it then takes."""

    session: Any
    name: str
    identity: int
    token: int  # the number of its token (tokens.token_id)
    account: bool = False
    operator: bool = False


@dataclass(frozen=True, slots=True)
class Summoned(Ordered):
    """Somebody shows the token of a session, or its password, on another server. Its own server cuts it off, so that
    its person can be there."""

    session: Any


@dataclass(frozen=True, slots=True)
class ServerStarted(Ordered):
    """The author of the row has begun. ``before`` is the server that used the same history before it; 0: none did."""

    before: int


@dataclass(frozen=True, slots=True)
class ServerBeat(Ordered):
    """The author of the row is alive, and has nothing else to say."""


@dataclass(frozen=True, slots=True)
class ServerEnded(Ordered):
    """The author of the row has stopped: its people have left."""


@dataclass(frozen=True, slots=True)
class ServerGone(Ordered):
    """Nobody has heard of a server since its row at position ``after``. Void if it has written a row since then."""

    server: int
    after: int


@dataclass(frozen=True, slots=True)
class AwaySet(Ordered):
    """Somebody is away; None: is back."""

    session: Any
    words: str | None


@dataclass(frozen=True, slots=True)
class Swept(Ordered):
    """Messages from before ``older_than`` go; None: none do. In rooms with a time of their own, messages go that are
    too old at the time ``now``, unless the room's time is shorter than ``least``: then the author does not trust its
    clock. All in milliseconds. Messages that come after this value stay, whatever their times are."""

    now: int
    older_than: int | None
    least: int


@dataclass(frozen=True, slots=True)
class RoomUnused(Ordered):
    """Everybody has left a room in which there is nothing to keep, so it is dropped. For the Publisher; in no row."""

    room_id: int


class Wake(Ordered):
    """There may be something new in the log. Only in the queue of one server."""
