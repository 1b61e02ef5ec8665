"""How a command is used: its usage, such as ``/topic [#room] [text]``, and reading what people type by it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Row:
    """A command's row in the table of commands."""

    usage: str = ""  # what people type; "": they cannot
    does: str = ""  # in a line of /help
    type: str = ""  # of the request that programs send; "": they cannot
    aliases: Sequence[str] = ()
    more: str = ""  # what /help COMMAND adds
    cost: int = 1  # in tokens, see pace
    named: Mapping[str, str] = field(default_factory=dict)  # fields that have another name in a request
    local: Sequence[str] = ()  # fields that are not read from a request by themselves

    @property
    def name(self) -> str:
        """The word that people type; "": none."""
        return self.usage.partition(" ")[0]

    @property
    def places(self) -> list[str]:
        """What follows the name: ``#room``, ``NAME`` and the like are a word, ``N`` is a number, and a word in small
        letters is the rest of the line. What is in brackets is optional."""
        return re.findall(r"\[[^]]*\]|\S+", self.usage)[1:]

    def read(self, names: Iterable[str], rest: str) -> dict[str, str | int] | None:
        """What follows the command's name, stripped, as values for the fields with these names, one for each place;
        None if it is not as the usage says.

        An optional room that something else can follow begins with #.
        """
        given: dict[str, str | int] = {}
        for place, name in zip(self.places, names, strict=False):
            kind, optional = place.strip("[]"), place.startswith("[")
            if kind[0].islower():
                value, rest = rest, ""
            elif optional and kind == "#room" and place != self.places[-1] and not rest.startswith("#"):
                value = ""
            else:
                value, _, rest = rest.partition(" ")
                rest = rest.strip()
            if (not value and not optional) or (kind == "N" and not NUMBER.fullmatch(value)):
                return None
            if value:
                given[name] = int(value) if kind == "N" else value
        return None if rest else given
