"""Commands about who may do what in a room. See commands.

They are about the current room, or about the room that is named first. The page and other clients do not have to know
them: they send the typed line (see ``Typed``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .refusals import BadTime, LateTime
from .usage import Command, bare, command

SPAN = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
LONGEST = 3650 * 86400  # seconds of a ban or a mute
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# The same at the beginning of a text, also in words: 10m, 10 minutes, for 2 h.
_BEGINS_WITH_SPAN = re.compile(
    r"(?:for )?([0-9]{1,9}) ?([smhd]|(?:sec|second|min|minute|hour|day)s?)(?: |$)", re.ASCII | re.IGNORECASE
)
# The same after a reason, or with the number in words, where it would be taken for a part of the reason.
_NUMBERS = {word: number for number, word in enumerate("one two three four five six seven eight nine ten".split(), 1)}
_NUMBERS |= {"a": 1, "an": 1, "twenty": 20, "thirty": 30}
_ENDS_WITH_SPAN = re.compile(
    r"(?:^| )(?:for )?(?:([0-9]{1,9}) ?([smhd]|(?:sec|second|min|minute|hour|day)s?)"
    rf"|({'|'.join(_NUMBERS)}) ((?:second|minute|hour|day)s?))$",
    re.ASCII | re.IGNORECASE,
)


@command(
    "/room [#room] [setting]",
    "show or change the rules of a room",
    "room",
    more="The owner and the operators of a room may change them:\n"
    "/room quiet: only operators speak; /room open\n"
    "/room slow 10: each may speak once in 10 seconds; /room slow off\n"
    "/room invite-only: only invited people may enter; /room public\n"
    "/room accounts-only: only people with accounts; /room everybody\n"
    "/room unlisted: /rooms does not show it; /room listed\n"
    "/room keep 30: deletes messages after 30 days; /room keep all; owner only\n"
    "The person who made a room owns it. /help ban and /help mute say more.",
    cost=3,
)
@dataclass(frozen=True, slots=True)
class Room(Command):
    """Show the rules of a room, or change one: ``setting`` is "quiet", "slow 10" and the like. With ``ask``, if that
    would delete messages, only say how many."""

    room: str | None = None
    setting: str | None = None
    ask: bool = False

    @classmethod
    def typed(cls, rest: str) -> Command | None:
        words = rest.split()
        room = words.pop(0) if rest.startswith("#") else None
        keep = bool(words) and words[0].lower() == "keep"
        sure = keep and words[-1].lower() == "yes"
        setting = " ".join(words[:-1] if sure else words)
        return cls(room, setting or None, keep and not sure)


@dataclass(frozen=True, slots=True)
class _About(Command):
    """A command about one person in a room."""

    name: str
    room: str | None = None

    @classmethod
    def typed(cls, rest: str) -> Command | None:
        room, words = _room_first(rest)
        return cls(bare(words[0]), room) if len(words) == 1 else None


@command(
    "/op [#room] NAME",
    "make somebody an operator",
    "op",
    more="Only the owner of a room may do that: the person who made it, on the same connection, or after /resume or"
    " /login. The role of somebody with neither account nor token ends with the connection."
    " An operator may do all that the owner may, except /op, /deop of others, /room keep and /delete.",
    cost=3,
)
@dataclass(frozen=True, slots=True)
class Op(_About):
    """Make a person an operator of a room."""


@command(
    "/deop [#room] NAME",
    "make an operator a member again",
    "deop",
    more="Only the owner of a room may do that to others. Operators may give up their own role.",
    cost=3,
)
@dataclass(frozen=True, slots=True)
class Deop(_About):
    """Take the role of operator from a person."""


@command(
    "/kick [#room] NAME [why]",
    "send somebody out for a minute",
    "kick",
    more="The owner and the operators of a room may do that. Nothing that the person says appears after the notice."
    " They may come back after a minute.",
    cost=3,
)
@dataclass(frozen=True, slots=True)
class Kick(_About):
    """Send a person out of a room for a minute."""

    why: str = ""

    @classmethod
    def typed(cls, rest: str) -> Command | None:
        room, words = _room_first(rest)
        return cls(bare(words[0]), room, " ".join(words[1:])) if words else None


@dataclass(frozen=True, slots=True)
class _Sanction(_About):
    """A command against one person, for ``seconds`` or for good. ``address``: also against whoever comes from there."""

    seconds: int | None = None
    why: str = ""
    address: bool = False

    @classmethod
    def typed(cls, rest: str) -> Command | None:
        room, words = _room_first(rest)
        if not words:
            return None
        name, seconds = bare(words.pop(0)), None
        address = _popped(words, "address")
        why = " ".join(words)
        if why.lstrip("+-")[:1].isdigit() and not _BEGINS_WITH_SPAN.match(why):
            raise BadTime(words[0])
        if found := _BEGINS_WITH_SPAN.match(why):
            seconds = int(found[1]) * UNITS[found[2][0].lower()]
            if not 1 <= seconds <= LONGEST:
                raise BadTime(words[0], " It is at most 3650d; without a time, it is for good.")
            rest = why[found.end() :].lstrip()
            if rest[:1].isdigit() and (more := _BEGINS_WITH_SPAN.match(rest)):  # 2h 30m
                raise BadTime(f"{found[0]}{more[0]}".strip())
            words = why[found.end() :].split()
            address = _popped(words, "address") or address
            why = " ".join(words)
        elif found := _ENDS_WITH_SPAN.search(why):
            span = f"{found[1] or _NUMBERS[found[3].lower()]}{(found[2] or found[4])[0].lower()}"
            right = (cls.row.name, room, name, span, why[: found.start()].strip())
            raise LateTime(" ".join(each[:40] for each in right if each))
        return cls(name, room, seconds, why, address)


@command(
    "/ban [#room] NAME [2h] [why]",
    "keep somebody out, for good or 2h",
    "ban",
    more="The owner and the operators of a room may do that. It holds for the person under any name, and for the name."
    " Without a time in s, m, h or d, it holds until /unban, also after restarts of the server. A guest who connects"
    " once more under another name is a new person. /help room says what keeps guests out."
    " The server's operators may put the word address after the name: then it holds for everybody who comes from that"
    " address, which may be a whole lecture hall.",
    cost=3,
)
@dataclass(frozen=True, slots=True)
class Ban(_Sanction):
    """Keep a person out of a room."""


@command(
    "/unban [#room] NAME", "lift a ban", "unban", more="The owner and the operators of a room may do that.", cost=3
)
@dataclass(frozen=True, slots=True)
class Unban(_About):
    """Lift a ban, or let a kicked person come back."""


@command(
    "/bans [#room]",
    "list who is banned or muted",
    "bans",
    more="It is for the owner and the operators of a room.",
    cost=3,
)
@dataclass(frozen=True, slots=True)
class ListBans(Command):
    """List who is banned from a room or muted in it."""

    room: str | None = None


@command(
    "/mute [#room] NAME [2h] [why]",
    "let somebody read, but not speak",
    "mute",
    more="The owner and the operators of a room may do that. It holds for the time that you give, as in /mute"
    " bob 10m, or until /unmute. It holds for the name and the person, who cannot take another name there; but a guest"
    " who connects once more under another name is a new person, and may speak. /help room says what keeps guests out.",
    cost=3,
)
@dataclass(frozen=True, slots=True)
class Mute(_Sanction):
    """Let a person read in a room, but not speak."""


@command(
    "/unmute [#room] NAME",
    "let somebody speak again",
    "unmute",
    more="The owner and the operators of a room may do that.",
    cost=3,
)
@dataclass(frozen=True, slots=True)
class Unmute(_About):
    """Lift a mute."""


@command(
    "/uninvite [#room] NAME",
    "take an invitation back",
    "uninvite",
    more="The owner and the operators of an invite-only room may do that. /room lists who is invited. Somebody who is"
    " in the room stays there: /kick sends them out, too.",
    cost=3,
)
@dataclass(frozen=True, slots=True)
class Uninvite(_About):
    """Take an invitation to an invite-only room back."""


def _popped(words: list[str], word: str) -> bool:
    """Whether the words begin with this one, which is taken away then."""
    if words and words[0].lower() == word:
        del words[0]
        return True
    return False


def _room_first(rest: str) -> tuple[str | None, list[str]]:
    """The room that is named first, or after the person, and the other words."""
    words = rest.split()
    at = next((at for at, word in enumerate(words[:2]) if word.startswith("#")), None)
    return (None if at is None else words.pop(at)), words


OF_ROLES: tuple[type[Command], ...] = (Room, Op, Deop, Kick, Ban, Unban, ListBans, Mute, Unmute, Uninvite)
"""These commands."""
