"""What the last word of a typed line may become, by the usage of its command. For both line editors. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from .. import commands
from ..rules import fold
from ..usage import Row


class Known(Enum):
    """Words that depend on who asks."""

    NOTHING = "none"
    ROOMS = "all rooms"
    OWN_ROOMS = "the rooms that the person is in"
    MEMBERS = "the people in a room"
    PEOPLE = "the same, and then everybody"
    IGNORED = "those whom the person ignores"
    BANNED = "those who are banned from a room"
    MUTED = "those who are muted in it"
    INVITED = "those who are invited to it"
    OPERATORS = "its operators"


@dataclass(frozen=True, slots=True)
class Goal:
    """What a word may become: one of ``words``, or of what is ``known``, that begins with ``start``. ``lead`` stands in
    front of it. ``room``: the one whose members come first, if it was typed."""

    start: str
    known: Known = Known.NOTHING
    words: Sequence[str] = ()
    lead: str = ""
    room: str = ""

    def fitting(self, found: Iterable[str], most: int | None = None) -> list[str]:
        """The words that begin with ``start``, each with ``lead`` in front of it."""
        start = fold(self.start)
        return [self.lead + each for each in dict.fromkeys(found) if fold(each).startswith(start)][:most]


_OWN_ROOMS = (commands.Leave, commands.Invite)
_NEW = (commands.Nick, commands.Create, commands.Resume)  # what follows is not known yet, or a secret
_OPTIONS: Mapping[str, Sequence[str]] = {
    option: values.split("|") if "|" in values else ()
    for option, values in re.findall(r"/set (\w+) ([^ :,]+)", commands.SetOption.row.more)
} | {"zone": ("server", "UTC")}
_LISTED: Mapping[type[commands.Command], Known] = {
    commands.Unban: Known.BANNED,
    commands.Unmute: Known.MUTED,
    commands.Uninvite: Known.INVITED,
    commands.Deop: Known.OPERATORS,
}
_RULES: dict[str, list[str]] = {}  # the settings of a room, each with the words that may follow
for _rule, _more in re.findall(r"/room ([a-z-]+)(?: ([a-z]+))?", commands.Room.row.more):
    _RULES.setdefault(_rule, []).extend([_more] if _more else [])
_FAULTS: Mapping[str, Goal] = {
    "slow": Goal("", Known.PEOPLE),
    "pause": Goal("", words=("publisher", "history")),
    "off": Goal(""),
}


def goal(before: str) -> Goal:
    """What the last word of the line may become, which may be empty; ``before`` is the line up to the cursor."""
    *typed, word = before.split(" ")
    if not typed and word.startswith("/"):
        return Goal(word, words=[kind.row.name for kind in commands.TYPED])
    kind = commands.BY_NAME.get(typed[0].lower()) if typed else None
    if kind is None:  # an empty line may begin with a name; a second Tab must not add another one
        return _in_text(word) if word or not typed else Goal(word)
    typed = [each for each in typed[1:] if each]
    if kind in _NEW:
        return Goal(word)
    if kind is commands.Search:
        return _in_search(word)
    if kind is commands.Help:
        if typed:
            return Goal(word)
        slash = "/" * word.startswith("/")
        return Goal(word.removeprefix("/"), words=[each.row.name[1:] for each in commands.TYPED], lead=slash)
    if words := _fixed(kind, typed):
        return Goal(word, words=words)
    if kind is commands.MakeFault and typed:
        found = _FAULTS.get(typed[0].lower(), Goal("")) if len(typed) == 1 else Goal("")
        return Goal(word, found.known, found.words)
    if kind is commands.Unignore:
        return Goal(word, Known.IGNORED)
    return _in_place(kind, typed, word)


def _fixed(kind: type[commands.Command], typed: Sequence[str]) -> Sequence[str]:
    """The words that a command has in the place after those that are typed; none if people and rooms may follow."""
    after = [each.lower() for each in typed if not each.startswith("#")]
    if kind is commands.Edit:
        return ("on", "off") if not typed else ()
    if kind is commands.SetOption:
        return [*_OPTIONS] if not typed else _OPTIONS.get(typed[0].lower(), ()) if len(typed) == 1 else ()
    if kind is commands.Room and typed:
        return [*_RULES] if not after else _RULES.get(after[0], ()) if len(after) == 1 else ()
    if kind is commands.Delete and len(typed) == 1:
        return ("yes",)
    if kind is commands.ReadHistory and typed:
        return ("before", "after") if not after else ()
    return [*_FAULTS] if kind is commands.MakeFault and not typed else ()


def _in_place(kind: type[commands.Command], typed: Sequence[str], word: str) -> Goal:
    """What the usage of the command has in this place. An optional room comes first only if a # is typed."""
    places, row = [each.strip("[]") for each in kind.row.places], kind.row
    room = typed[0] if typed and typed[0].startswith("#") else ""
    if places[:1] == ["#room"] and places[1:] and not room and (typed or word or places[1].startswith("NAME")):
        del places[0]
    place = places[len(typed)] if len(typed) < len(places) else (places or [""])[-1] if _is_text(places) else ""
    if word.startswith("#"):
        place = "#room" if _takes_room(row, place, room) else ""
    if kind is commands.Room and not word.startswith("#") and word:
        return Goal(word, words=[*_RULES])
    if place == "#room" and any(each.startswith("#") for each in typed):
        return Goal(word)
    if place == "#room":
        return Goal(word, Known.OWN_ROOMS if kind in _OWN_ROOMS else Known.ROOMS)
    if place.startswith("NAME"):
        at = "@" * word.startswith("@")
        known = _LISTED.get(kind, Known.MEMBERS if kind is commands.Kick else Known.PEOPLE)
        return Goal(word.removeprefix("@"), known, (), at, room)
    return _in_text(word) if _is_text([place]) and word else Goal(word)


def _is_text(places: Sequence[str]) -> bool:
    """Whether the last place is for the rest of the line."""
    return re.fullmatch("[a-z]+", places[-1]) is not None if places else False


def _takes_room(row: Row, place: str, room: str) -> bool:
    return ("#room" in row.usage and not room) or _is_text([place])


def _in_search(word: str) -> Goal:
    limit, colon, start = word.partition(":")
    if colon and limit.lower() == "in":
        return Goal(start, Known.ROOMS, lead=f"{limit}:")
    if colon and limit.lower() == "from":
        at = "@" * start.startswith("@")
        return Goal(start.removeprefix("@"), Known.PEOPLE, lead=f"{limit}:{at}")
    return _in_text(word) if word else Goal(word)


def _in_text(word: str) -> Goal:
    """In a text, any room and any person in the current room may be named."""
    if word.startswith("#"):
        return Goal(word, Known.ROOMS)
    if word.startswith("/"):
        return Goal(word)
    return Goal(word.removeprefix("@"), Known.MEMBERS, (), "@" * word.startswith("@"))
