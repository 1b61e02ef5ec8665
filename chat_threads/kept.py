"""What a token keeps for a person who comes back: where they were, what they had seen, and how they had set it up.

It is stored beside the token, as one line of JSON, and forgotten with the token. A room stands in it by its id and a
checksum, so that its name is nowhere in the file once it is deleted. Any thread may read it, because it is frozen.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from dataclasses import dataclass

from .rules import fold


@dataclass(frozen=True, slots=True)
class Seen:
    """A room, and the number of the newest message that the person had surely seen there."""

    room: int
    mark: int  # of its name: an id may be used again after its room was deleted
    number: int


@dataclass(frozen=True, slots=True)
class Kept:
    """At most about 30,000 bytes as text: a person is in 20 rooms at most, and ignores 100 people."""

    rooms: tuple[Seen, ...] = ()  # the current one is the last
    away: str | None = None
    ignored: tuple[tuple[int, str], ...] = ()  # as in session.Profile
    settings: tuple[tuple[str, str], ...] = ()  # as for /set

    def text(self) -> str:
        """As it is stored."""
        rooms = [(each.room, each.mark, each.number) for each in self.rooms]
        return json.dumps([rooms, self.away, self.ignored, self.settings], ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def read(cls, text: str) -> Kept:
        """From what is stored; nothing is kept in a text that a newer version wrote in another form."""
        with contextlib.suppress(ValueError, TypeError):
            rooms, away, ignored, settings = json.loads(text)
            return cls(
                tuple(Seen(*each) for each in rooms),
                away,
                tuple((person, name) for person, name in ignored),
                tuple((option, value) for option, value in settings),
            )
        return cls()


def mark_of(room: str) -> int:
    """The checksum of a room's name."""
    return zlib.crc32(fold(room).encode("utf-8"))
