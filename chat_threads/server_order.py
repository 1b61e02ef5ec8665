"""Commands for keeping order on the whole server. See commands."""

from __future__ import annotations

from dataclasses import dataclass

from .usage import Command, bare, command


@command(
    "/report [#room] NAME|N [why]",
    "tell the operators about somebody",
    "report",
    more="N is the number of a message, which /history shows. Operators of the room and of the server see the report;"
    " those of the room see none about themselves.",
    cost=10,
)
@dataclass(frozen=True, slots=True)
class Report(Command):
    """Report a person or a message, ``about`` a name or a number, to the operators."""

    about: str
    room: str | None = None
    why: str = ""

    @classmethod
    def typed(cls, rest: str) -> Command | None:
        words = rest.split()
        room = words.pop(0) if words and words[0].startswith("#") else None
        return cls(bare(words[0]), room, " ".join(words[1:])) if words else None


@command(
    "/announce text",
    "say something to everybody",
    "announce",
    more="Only the server's operators may do that.",
    cost=10,
)
@dataclass(frozen=True, slots=True)
class Announce(Command):
    """Show a text to everybody who is connected. For the server's operators."""

    text: str


@command(
    "/audit [#room]",
    "list what operators did",
    "audit",
    more="It shows the last 50 things that were done or reported in a room. Its owner and its operators may see them."
    " Without #room, it is your current room; for the server's operators, it is every room.",
    cost=5,
)
@dataclass(frozen=True, slots=True)
class Audit(Command):
    """List what operators did in a room, or everywhere, and what was reported."""

    room: str | None = None


OF_ORDER: tuple[type[Command], ...] = (Report, Announce, Audit)
