"""Joins and leaves, as the members of a room see them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from . import events, ordered
from .chatroom import ChatRoom, Subscriber


def arranged(
    room: ChatRoom, items: Iterable[events.Event | ordered.Joined], crowded: bool
) -> tuple[Sequence[events.Event], dict[Subscriber, Sequence[events.Event]]]:
    """Return what to show to the room's members of the joins, leaves and messages that wait for it, and what to show
    instead to each member that came late: what it has not seen. No join of a session that has left is shown."""
    items = [
        item for item in items if not isinstance(item, ordered.Joined) or room.members.get(item.session) == item.change
    ]
    joined = [item.change for item in items if isinstance(item, ordered.Joined)]
    late: dict[Subscriber, Sequence[events.Event]] = {}
    if joined and not crowded:
        first = min(joined)
        # A session that became a member at or after the first of these changes saw some of them on entering.
        # Members stand in the order of their changes, so these are the last ones.
        for session in reversed(room.members):
            since = room.members[session]
            if since < first:
                break
            late[session] = _merged(room.name, items, crowded, since)
    return _merged(room.name, items, crowded, 0), late


def _merged(room: str, items: Iterable[events.Event | ordered.Joined], crowded: bool, since: int) -> list[events.Event]:
    """The events to show. Neighbouring joins or leaves become one event. Joins up to change ``since`` are left out."""
    shown: list[Any] = []
    this: Any
    people: tuple[str, ...]
    kind: Any = None  # whether the people in ``names`` have joined or left
    names: list[str] = []
    for item in items:
        if isinstance(item, ordered.Joined):
            if item.change <= since:
                continue
            this, people, words = "joined", (item.name,), ""
        elif isinstance(item, events.Presence):
            this, people, words = item.kind, item.names, item.words
        else:
            this, people, words = None, (), ""
        if this and crowded:
            continue
        if names and (this != kind or words):
            shown.append(events.Presence(room, kind, tuple(names)))
            names = []
        kind = this
        if this and not words:
            names += people
        else:
            shown.append(item)
    if names:
        shown.append(events.Presence(room, kind, tuple(names)))
    return shown
