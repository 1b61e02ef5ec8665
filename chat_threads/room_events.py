"""Events about how a room is governed. See events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .event import Event, OneLine

Action = Literal["op", "deop", "kick", "ban", "unban", "mute", "unmute"]


@dataclass(frozen=True, slots=True)
class Moderated(OneLine, Event):
    """An operator has done something about a person in a room, and about all who come from the same ``address``, if
    so. ``seconds``: for how long; None: until it is undone."""

    room: str
    by: str
    action: Action
    name: str
    why: str = ""
    seconds: int | None = None
    address: bool = False


@dataclass(frozen=True, slots=True)
class RoomSet(OneLine, Event):
    """An operator has changed a setting of a room: "quiet", "slow 10" and the like, as people type it. ``still``:
    another rule that stays in force and is easily overlooked, "quiet" or "slow 10"; "": there is none."""

    room: str
    by: str
    setting: str
    still: str = ""


@dataclass(frozen=True, slots=True)
class RoomShown(Event):
    """How a room is governed: its settings, as people type them, who made it, and the names of its operators. Without
    a ``creator``, the room belongs to nobody. Only its operators are shown who is ``invited``."""

    room: str
    settings: tuple[str, ...]
    creator: str
    operators: tuple[str, ...]
    invited: tuple[str, ...] = ()

    @property
    def lines(self) -> int:
        return 4 + (len(self.operators) + len(self.invited)) // 3


@dataclass(frozen=True, slots=True)
class SanctionRow:
    name: str
    action: Action  # ban, kick or mute
    by: str
    why: str
    seconds: int | None  # until it ends; None: until it is lifted
    address: bool = False  # whether it is for all who come from the person's address


@dataclass(frozen=True, slots=True)
class SanctionList(Event):
    """Who is banned from a room or muted in it."""

    room: str
    people: tuple[SanctionRow, ...]

    @property
    def lines(self) -> int:
        return 3 + len(self.people)


@dataclass(frozen=True, slots=True)
class AuditRow:
    """What somebody did to keep order: an Action, or "room", "invite", "uninvite", "redact", "report" or "announce".
    ``about`` is a name, a setting, or the number of a message; then ``why`` begins with whose message it is."""

    at: int
    room: str  # "": the whole server
    by: str
    action: str
    about: str
    why: str = ""
    who: int = 0  # the number of the person whom a report is about; 0: unknown
    reporter: int = 0  # the number of the person who reports; 0: unknown, or it is no report


@dataclass(frozen=True, slots=True)
class AuditList(Event):
    """What was done to keep order, in one room or everywhere, the newest last."""

    room: str | None
    rows: tuple[AuditRow, ...]

    @property
    def lines(self) -> int:
        return 3 + len(self.rows)
