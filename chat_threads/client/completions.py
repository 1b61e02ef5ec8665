"""What the word that a person types may become, from what their client knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..dialects.completing import Known, goal
from ..rules import fold
from .surroundings import Surroundings

OFFERED = 20  # completions that are shown at once


def completions(around: Surroundings, before: str) -> list[str]:
    """What the last word of the line may become; names have a colon at the beginning of the line."""
    wanted = goal(before)
    found: Iterable[str] = [each for each in wanted.words if f"/{each.removeprefix('/')}" not in around.useless]
    if wanted.known in (Known.ROOMS, Known.OWN_ROOMS):
        rooms = list(around.rooms)  # at once, because another thread may add one
        found = sorted(each for each in rooms if wanted.known is Known.ROOMS or fold(each) in around.people)
    elif wanted.known is not Known.NOTHING:
        room = fold(wanted.room or around.room or "")
        latest_first = [*reversed(around.names.copy())]
        found = members = [each for each in latest_first if room in around.names.get(each, ())]
        if wanted.known is not Known.MEMBERS:
            found = members + latest_first
    colon = ": " if not wanted.words and " " not in before and not before.startswith("#") else ""
    return [each + colon for each in wanted.fitting(found)]


def in_words(found: Sequence[str]) -> str:
    """What is shown if there are several."""
    more = f" and {len(found) - OFFERED} more" if len(found) > OFFERED else ""
    return " ".join(each.strip() for each in found[:OFFERED]) + more
