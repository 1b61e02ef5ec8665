"""What a server carries until it is in the log: which of it goes into the next row, and what becomes of the rest if the
engine does not answer for long."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .. import ordered
from ..governance import Governance
from .entries import Flags
from .values import AwaySet, ServerStarted

LETTERS = 50_000  # in one row at most, unless its first value has more: every server has rows in its memory
VALUES = 1000  # in one row at most

STAYS = (  # what goes into the log as soon as it can be reached, however long that takes
    *(ordered.Joined, ordered.Left, ordered.LeftAll, ordered.NameChanged, ordered.PlaceKept, ordered.TokenUsed),
    *(ServerStarted, AwaySet),
)


def latest(items: Iterable[ordered.Ordered]) -> list[ordered.Ordered]:
    """The values that still matter: of several about the same thing, only the last one. So their number stays small."""
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
    """As many of the first values as fit into one row."""
    letters = 0
    for count, item in enumerate(items):
        letters += len(getattr(item, "text", "") or getattr(item, "place", ""))
        if letters > LETTERS and count:
            return items[:count]
    return items[:VALUES]


def flags_of(items: Iterable[ordered.Ordered], governed: Mapping[int, Governance]) -> Flags:
    """The flags of the sessions whose values are judged by the rules of a room."""
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
