"""A view for tests, and parcels for that view."""

from __future__ import annotations

from collections.abc import Sequence

from chat_threads.events import Event, Notice, Problem
from chat_threads.parcel import Parcel


class Words:
    """A view that shows notices and problems as their text, and nothing else."""

    def encode(self, events: Sequence[Event]) -> bytes:
        return b"|".join(event.text.encode() for event in events if isinstance(event, (Notice, Problem)))


WORDS = Words()


def parcel(text: str = "hello", lines: int = 1) -> Parcel:
    return Parcel(WORDS, [Notice(text)] * lines)


def texts(parcels: list[Parcel]) -> list[str]:
    return [each.data.decode() for each in parcels]
