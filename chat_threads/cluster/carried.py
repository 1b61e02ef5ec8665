"""What a server carries until it is in the log: which of it goes into the next row, and what becomes of the rest if the
engine does not answer for long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .. import ordered
from ..governance import Governance
from .entries import Flags
from .values import AwaySet, ServerStarted

LETTERS = 50_000  # of messages and of what tokens keep, in one row, at most, or one of these; all servers hold rows
VALUES = 1000  # in one row, at most

STAYS = (  # what goes into the log as soon as it can be reached, however long that takes
    *(ordered.Joined, ordered.Left, ordered.LeftAll, ordered.NameChanged, ordered.PlaceKept, ordered.TokenUsed),
    *(ServerStarted, AwaySet),
)


def latest(items: Iterable[ordered.Ordered]) -> list[ordered.Ordered]:
    """The values without those that later ones make needless, so that they do not become more and more."""
    found: dict[object, ordered.Ordered] = {}
    for item in items:
        about: object = item
        if isinstance(item, (ordered.Joined, ordered.Left)):
            about = item.session, item.room_id
        elif isinstance(item, (ordered.PlaceKept, ordered.TokenUsed)):
            about = type(item), item.token
        elif isinstance(item, AwaySet):
            about = AwaySet, item.session
        found.pop(about, None)
        found[about] = item
    return [*found.values()]


def for_one_row(items: list[ordered.Ordered]) -> list[ordered.Ordered]:
    """The first of the values, which do not make a row too long."""
    letters = 0
    for count, item in enumerate(items):
        letters += len(getattr(item, "text", "") or getattr(item, "place", ""))
        if letters > LETTERS and count:
            return items[:count]
    return items[:VALUES]


def flags_of(items: Iterable[ordered.Ordered], governed: Mapping[int, Governance]) -> Flags:
    """The flags of the sessions for which the rules of a room may need them."""
    found: dict[int, tuple[bool, bool, str]] = {}
    for item in items:
        if isinstance(item, (ordered.Draft, ordered.TopicSet, ordered.Redacted, ordered.RoomEnded)):
            rules = governed.get(item.room_id)
            if item.origin is not None and (rules or isinstance(item, ordered.Redacted)):
                session = item.origin
                networks = rules and any(each.network for each in (*rules.bans, *rules.mutes))
                before = found.get(session.number, (False, False, ""))[2]  # another room needs it
                address = session.address if networks else before
                found[session.number] = session.account, session.operator, address
    return found
