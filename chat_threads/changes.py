"""Changes of a room's rules: who may make each, what it does, and what the members see of it.

The history thread calls these methods, between two messages. See ``governance``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from . import events
from .addresses import network
from .governance import Governance, Person, Rank, Sanction, Sanctions, Somebody, read_setting
from .refusals import (
    ListedAddress,
    ListFull,
    NoAddress,
    NoOperator,
    NotInvited,
    NotListed,
    NotOperator,
    NotOwner,
    NotServerOperator,
    NotThere,
    Protected,
)
from .rules import fold

P = TypeVar("P", bound=Person)

OPERATORS = 50  # of one room
SANCTIONS = 300  # bans in force, and as many mutes
KICKS = 30  # in force; the oldest make room
INVITED = 1000  # people
LONG = 20  # bans, or mutes, in one room; further ones count against the address of whoever makes them
LONG_INVITED = 200  # the same for invitations, which take less memory
KICKED = 60  # seconds for which a kicked person stays outside: longer than anything waits in the history's queue


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for a change of which room, and when."""

    room: str
    by: Person
    rank: Rank
    at: int


class Change:
    """A change that somebody asks for. The history thread calls the methods."""

    __slots__ = ()

    def applied(self, before: Governance, asked: Asked) -> Governance:
        """The Governance after it; raise a ChatError if it is not allowed."""
        raise NotImplementedError

    def shown(self, asked: Asked, after: Governance) -> events.Event | None:
        """What the members see of it; ``after``: the rules from then on. None: nothing."""
        raise NotImplementedError

    def lengthens(self, before: Governance) -> bool:
        """Whether it adds to a list that is long already. One address may do so only so often."""
        return False

    def leaving(self, after: Governance, members: Iterable[P], at: int) -> list[P]:
        """Those of the members who have to leave the room. Called when the members are shown the change."""
        return []


@dataclass(frozen=True, slots=True)
class Set(Change):
    """Set a setting, as typed. If the room becomes invite-only, the people who are ``present`` are invited, as well as
    those whom its operators have invited before. If it becomes public, all invitations end."""

    setting: str
    present: tuple[tuple[int, str], ...] = ()

    def applied(self, before: Governance, asked: Asked) -> Governance:
        if not asked.rank:
            raise NotOperator(asked.room, before.rulers(asked.room))
        fields = read_setting(self.setting)
        if "keep" in fields and asked.rank < Rank.OWNER:  # it deletes messages
            raise _not_owner(before, asked)
        after = replace(before, **fields)
        if after.invite_only != before.invite_only:
            invited = {**before.invited, **dict(self.present)} if after.invite_only else {}
            after = replace(after, invited=dict([*invited.items()][-INVITED:]))
        return after

    def leaving(self, after: Governance, members: Iterable[P], at: int) -> list[P]:
        """Whoever entered after the change was asked for, and before it was stored, came too late."""
        stay = {identity for identity, _ in self.present}
        late = [each for each in members if each.identity not in stay]
        return [each for each in late if after.entering("", each, at)]

    def shown(self, asked: Asked, after: Governance) -> events.Event:
        setting = " ".join(self.setting.lower().split())
        still = "quiet" if after.quiet and setting != "quiet" else ""
        if after.slow and setting == "open":
            still = f"slow {after.slow}"
        if setting == "public" and after.accounts_only:
            still = "accounts-only"
        if setting == "everybody" and after.invite_only:
            still = "invite-only"
        return events.RoomSet(asked.room, asked.by.name, setting, still)


@dataclass(frozen=True, slots=True)
class Invite(Change):
    """Let a person enter the room while it is invite-only, now or later. The invitation itself is shown to the person
    elsewhere. Those who are ``gone`` can never come back: they make room for others."""

    person: Somebody
    gone: tuple[int, ...] = ()

    def applied(self, before: Governance, asked: Asked) -> Governance:
        if not asked.rank:
            raise NotOperator(asked.room, before.rulers(asked.room))
        invited = {**_without(before.invited, *self.gone), self.person.identity: self.person.name}
        if len(invited) > INVITED and not before.invite_only:  # nobody needs it now, so nobody is told to make room
            del invited[next(iter(invited))]
        if len(invited) > INVITED:
            raise ListFull(asked.room, INVITED, "people invited")
        return replace(before, invited=invited)

    def lengthens(self, before: Governance) -> bool:
        return len(before.invited) >= LONG_INVITED

    def shown(self, asked: Asked, after: Governance) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Uninvite(Change):
    """Take an invitation back."""

    person: Somebody

    def applied(self, before: Governance, asked: Asked) -> Governance:
        if not asked.rank:
            raise NotOperator(asked.room, before.rulers(asked.room))
        found = _named(before.invited, self.person)
        if found is None:
            raise NotInvited(self.person.name, asked.room)
        return replace(before, invited=_without(before.invited, found))

    def shown(self, asked: Asked, after: Governance) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Appoint(Change):
    """Make a person an operator of the room. Those who are ``gone`` can never come back: they make room for others."""

    person: Somebody
    gone: tuple[int, ...] = ()

    def applied(self, before: Governance, asked: Asked) -> Governance:
        if asked.rank < Rank.OWNER:
            raise _not_owner(before, asked)
        operators = {**_without(before.operators, *self.gone), self.person.identity: self.person.name}
        if len(operators) > OPERATORS:
            raise ListFull(asked.room, OPERATORS, "operators")
        return replace(before, operators=operators)

    def shown(self, asked: Asked, after: Governance) -> events.Event:
        return events.Moderated(asked.room, asked.by.name, "op", self.person.name)


@dataclass(frozen=True, slots=True)
class Dismiss(Change):
    """Take the role of operator back; operators may give up their own."""

    person: Somebody

    def applied(self, before: Governance, asked: Asked) -> Governance:
        found = _named(before.operators, self.person)
        if asked.rank < Rank.OWNER and (found is None or found != asked.by.identity):
            raise _not_owner(before, asked)
        if found is None:
            raise NoOperator(self.person.name, asked.room)
        return replace(before, operators=_without(before.operators, found))

    def leaving(self, after: Governance, members: Iterable[P], at: int) -> list[P]:
        """Those whom a ban keeps out now. While they were operators, it did not hold for them."""
        return _kept_out(after, members, at)

    def shown(self, asked: Asked, after: Governance) -> events.Event:
        return events.Moderated(asked.room, asked.by.name, "deop", self.person.name)


def _not_owner(before: Governance, asked: Asked) -> NotOwner | NotServerOperator:
    return NotOwner(asked.room) if before.owner else NotServerOperator()


def _named(people: Mapping[int, str], person: Somebody) -> int | None:
    """The identity on a list that is the person's, or else the one that was noted under its name."""
    if person.identity and person.identity in people:
        return person.identity
    return next((identity for identity, name in people.items() if fold(name) == fold(person.name)), None)


def _without(people: Mapping[int, str], *identities: int) -> dict[int, str]:
    return {each: name for each, name in people.items() if each not in identities}


@dataclass(frozen=True, slots=True)
class Sanctioned(Change):
    """Ban, mute or kick a person. A kick is a ban of KICKED seconds. What holds for another person stays, also if it
    was made under the same name."""

    kind: events.Action
    person: Somebody
    seconds: int | None = None  # None: until it is lifted
    why: str = ""
    by_address: bool = False  # also whoever comes from the person's network

    def applied(self, before: Governance, asked: Asked) -> Governance:
        if not asked.rank:
            raise NotOperator(asked.room, before.rulers(asked.room))
        if self.by_address and asked.rank < Rank.SERVER:
            raise NotServerOperator()
        if self.by_address and not self.person.address:
            raise NoAddress(self.person.name, asked.room)
        listed = _LISTS[self.kind]
        in_force = _in_force(getattr(before, listed), asked.at)
        person = _identified(self.person, in_force)
        if (least := before.rank(person)) >= asked.rank:
            raise Protected(asked.room, least)
        if self.kind == "kick" and before.banned(person, asked.at):  # it must not make the ban shorter
            raise NotThere(person.name, asked.room)
        seconds = KICKED if self.kind == "kick" else self.seconds
        until = None if seconds is None else asked.at + seconds * 1000
        where = network(person.address) if self.by_address else ""
        by, kick = asked.by.name, self.kind == "kick"
        made = Sanction(person.identity, person.name, until, by, self.why, where, asked.rank, person.account, kick)
        others = tuple(each for each in in_force if not _is_replaced(each, person))
        if asked.rank < Rank.SERVER and any(each.rank == Rank.SERVER for each in in_force if each not in others):
            raise NotServerOperator()
        alike = [each for each in others if each.kick == kick]
        if len(alike) >= (KICKS if kick else SANCTIONS):
            if not kick:
                raise ListFull(asked.room, SANCTIONS, f"people {_WHAT[listed].split()[0]}")
            others = tuple(each for each in others if each is not alike[0])
        fields: dict[str, Any] = {listed: Sanctions((*others, made))}
        return replace(before, **fields)

    def lengthens(self, before: Governance) -> bool:
        listed: Sanctions = getattr(before, _LISTS[self.kind])
        return self.kind != "kick" and sum(not each.kick for each in listed) >= LONG

    def leaving(self, after: Governance, members: Iterable[P], at: int) -> list[P]:
        return [] if self.kind == "mute" else _kept_out(after, members, at)

    def shown(self, asked: Asked, after: Governance) -> events.Event:
        seconds = None if self.kind == "kick" else self.seconds
        by, name = asked.by.name, self.person.name
        return events.Moderated(asked.room, by, self.kind, name, self.why, seconds, self.by_address)


@dataclass(frozen=True, slots=True)
class Lifted(Change):
    """Lift a ban or a mute: of the name under which it was made, or of the person who has the name now.

    Operators of the room may lift what its owner did. Only the server's operators may lift what one of them did.
    """

    kind: events.Action
    person: Somebody

    def applied(self, before: Governance, asked: Asked) -> Governance:
        if not asked.rank:
            raise NotOperator(asked.room, before.rulers(asked.room))
        listed = _LISTS[self.kind]
        in_force = _in_force(getattr(before, listed), asked.at)
        left = tuple(_others(in_force, self.person))
        if len(left) == len(in_force):
            if asked.rank == Rank.SERVER and (where := network(self.person.address)):  # nobody else learns whose it is
                for each in in_force:
                    if each.network == where:
                        raise ListedAddress(self.person.name, _WHAT[listed], asked.room, each.name)
            raise NotListed(self.person.name, _WHAT[listed], asked.room)
        lifted = [each for each in in_force if each not in left]
        if asked.rank < Rank.SERVER and any(each.rank == Rank.SERVER for each in lifted):
            raise NotServerOperator()
        fields: dict[str, Any] = {listed: Sanctions(left)}
        return replace(before, **fields)

    def shown(self, asked: Asked, after: Governance) -> events.Event:
        return events.Moderated(asked.room, asked.by.name, self.kind, self.person.name)


_LISTS = {"ban": "bans", "kick": "bans", "unban": "bans", "mute": "mutes", "unmute": "mutes"}
_WHAT = {"bans": "banned from", "mutes": "muted in"}


def _in_force(sanctions: Sanctions, at: int) -> list[Sanction]:
    """Those that have not ended."""
    return [each for each in sanctions if each.until is None or each.until > at]


def _kept_out(after: Governance, members: Iterable[P], at: int) -> list[P]:
    """Those of the members who are banned."""
    return [each for each in members if after.banned(each, at)]


def _identified(person: Somebody, sanctions: Iterable[Sanction]) -> Somebody:
    """The person; if only the name is known, the one on the list who had it."""
    if person.identity:
        return person
    key = fold(person.name)
    known = (each for each in sanctions if each.key == key and each.identity)
    return next((replace(person, identity=each.identity, account=each.account) for each in known), person)


def _is_replaced(sanction: Sanction, person: Somebody) -> bool:
    """Whether a new sanction for the person takes the place of this one."""
    if sanction.identity and person.identity:
        return sanction.identity == person.identity
    return sanction.key == fold(person.name)


def _others(sanctions: Iterable[Sanction], person: Somebody) -> Iterator[Sanction]:
    """The sanctions without those of a person or a name."""
    key = fold(person.name)
    for each in sanctions:
        if each.key != key and not (person.identity and each.identity == person.identity):
            yield each
