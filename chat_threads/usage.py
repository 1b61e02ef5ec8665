"""What a command is: a class with a row in the table of commands.

The row has the usage, such as ``/topic [#room] [text]``, and reads what people type by it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import ClassVar, TypeVar

NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)
_WORD = re.compile("[^ \n]*")


@dataclass(frozen=True, slots=True)
class Row:
    """A command's row in the table of commands."""

    usage: str = ""  # what people type after a /; "": it has no such word
    does: str = ""  # its line in /help
    type: str = ""  # of the request that programs send; "": only people can ask for it
    aliases: Sequence[str] = ()
    more: str = ""  # what /help COMMAND adds
    named: Mapping[str, str] = field(default_factory=dict)  # fields that have another name in a request
    local: Sequence[str] = ()  # fields that the JSON dialect's table of requests lacks

    @property
    def name(self) -> str:
        """The word that people type, with its ``/``; "": none."""
        return self.usage.partition(" ")[0]

    @property
    def places(self) -> list[str]:
        """What follows the name: ``#room``, ``NAME`` and the like stand for one word, ``N`` for a number, and a word in
        lower case for the rest of the line. Brackets mark what is optional."""
        return re.findall(r"\[[^]]*\]|\S+", self.usage)[1:]

    def read(self, names: Iterable[str], rest: str) -> dict[str, str | int] | None:
        """Read ``rest``, the stripped text after the command's name: a value for each place, by the field's name.

        ``names`` has the fields in the order of the places. None if ``rest`` does not fit the usage. An optional room
        that is not the last place must begin with #; otherwise the place is left empty.
        """
        given: dict[str, str | int] = {}
        for place, name in zip(self.places, names, strict=False):
            kind, optional = place.strip("[]"), place.startswith("[")
            if kind[0].islower():
                value, rest = rest, ""
            elif optional and kind == "#room" and place != self.places[-1] and not rest.startswith("#"):
                value = ""
            else:
                value = _WORD.match(rest)[0]  # type: ignore[index]
                rest = rest[len(value) :].strip()
                if kind == "NAME":
                    value = bare(value)
            if (not value and not optional) or (kind == "N" and not NUMBER.fullmatch(value)):
                return None
            if value:
                given[name] = int(value) if kind == "N" else value
        return None if rest else given


def bare(name: str) -> str:
    """A name, which is often typed as it is in a text: @ann, or ann:"""
    return name.removeprefix("@").rstrip(",:;") or name


class Command:
    """What one client asks for. The client's reader thread carries it out."""

    __slots__ = ()
    row: ClassVar[Row] = Row()
    cost: ClassVar[float] = 1  # in tokens, see pace

    @classmethod
    def typed(cls, rest: str) -> Command | None:
        """The command that a person types, from what follows its name, stripped; None if it is not as the usage says.

        The places of the usage are the first fields, in their order.
        """
        given = cls.row.read((each.name for each in fields(cls)), rest)  # type: ignore[arg-type]
        return None if given is None else cls(**given)


C = TypeVar("C", bound=type[Command])
ALL: list[type[Command]] = []
"""The commands that people type or programs send, in the order of /help."""


def command(
    usage: str = "",
    does: str = "",
    type: str = "",
    *,
    aliases: Sequence[str] = (),
    more: str = "",
    cost: float = 1,
    named: Mapping[str, str] | None = None,
    local: Sequence[str] = (),
) -> Callable[[C], C]:
    """Give a class of commands its row and its cost."""

    def register(kind: C) -> C:
        kind.row = Row(usage, does, type, aliases, more, named or {}, local)
        kind.cost = cost
        ALL.append(kind)
        return kind

    return register
