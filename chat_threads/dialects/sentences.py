"""What a JSON object says, as a text for people: ``text`` of the objects in ``TEXTS``. Pure functions.

A page shows it as it is. So it needs no words of its own for what only the server understands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import events
from . import governed
from .amounts import time_span


def person_shown(event: events.PersonShown) -> tuple[str, ...]:
    """Where a person is, and since when."""
    person = event.person
    rooms = "in " + ", ".join(person.rooms) if person.rooms else "in no room that you can see"
    lines = [
        f"{person.name} is {rooms}.",
        f"Connected for {time_span(event.connected)}, last typed {time_span(person.idle)} ago.",
    ]
    if person.account:
        name = event.logged_in_as
        belongs = f"Logged in as {name}; the present name belongs to no account." if name else ""
        lines.append(belongs or "Logged in: the name belongs to an account.")
    if event.operator:
        lines.append("An operator of the server.")
    if person.away is not None:
        lines.append(f"Away: {person.away}" if person.away else "Away.")
    return tuple(lines)


def _sanctions(event: events.SanctionList) -> tuple[str, ...]:
    def told(row: events.SanctionRow) -> str:
        what, left = governed.sanction(row)
        what += f" {left}" if row.seconds is None else f" for {left} more"
        return f"{row.name}: {what}, by {row.by}" + (f": {row.why}" if row.why else "")

    return tuple(map(told, event.people)) or (governed.nobody(event),)


def _token_shown(event: events.TokenShown) -> tuple[str, ...]:
    return (
        f"Your token is {event.token} and nobody else should know it.",
        "To come back to where you were, in a browser or in a terminal, type this:",
        f"/resume {event.token}",
    )


TEXTS: dict[type[events.Event], Callable[[Any], tuple[str, ...]]] = {
    events.Moderated: lambda event: (governed.moderated(event),),
    events.RoomSet: lambda event: (governed.room_set(event),),
    events.RoomShown: governed.room_shown,
    events.SanctionList: _sanctions,
    events.PersonShown: person_shown,
    events.TokenShown: _token_shown,
}
"""The lines of each text."""
