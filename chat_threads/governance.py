"""How a room is governed: its settings, its operators, and who is banned, muted or invited.

Each change is an ordered value. The history thread applies it between two messages, and checks there whether the person
may make it, and each message by what was changed before it. So two operators cannot race, and nothing of a banned
person appears after the notice. A room that was never changed has no Governance, and its messages cost nothing more.

Everything here is frozen, so any thread may read it without a lock. Pure functions, except that the time is passed in.
A person is known by ``identity``: the number of a token or of an account.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Protocol

from . import events
from .addresses import network
from .errors import ChatError
from .refusals import (
    AccountsOnly,
    BadSetting,
    Banned,
    InviteOnly,
    ListFull,
    Muted,
    NotListed,
    NotOperator,
    NotOwner,
    NotServerOperator,
    Protected,
    QuietRoom,
    TooSoon,
)
from .rules import fold, nearest


class StoredRoom(Protocol):
    """What is needed of a room in the history."""

    @property
    def id(self) -> int: ...
    @property
    def owner(self) -> int: ...


OPERATORS = 50  # of one room
SANCTIONS = 300  # bans in force, and as many mutes
INVITED = 1000  # people
KICKED = 60  # seconds for which a kicked person stays outside: longer than anything waits in the history's queue
SLOWEST = 3600  # seconds
LONGEST = 3650 * 86400  # seconds of a ban or a mute


class Rank(IntEnum):
    """What a person may do in a room."""

    MEMBER = 0
    OPERATOR = 1
    OWNER = 2
    SERVER = 3  # an operator of the server


class Person(Protocol):
    """What the rules need of a person: a session, or what was noted of it. Its name and identity may change later."""

    @property
    def identity(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def account(self) -> bool: ...
    @property
    def operator(self) -> bool:
        """Whether it is one of the server's operators."""

    @property
    def address(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Somebody:
    """A person as noted at one moment."""

    identity: int
    name: str
    account: bool = False
    operator: bool = False
    address: str = ""

    @classmethod
    def of(cls, origin: Any, identity: int, name: str) -> Somebody:
        """The person behind a session, which may have another name and identity by now; or nobody's session."""
        account, operator = getattr(origin, "account", False), getattr(origin, "operator", False)
        return cls(identity, name, account, operator, getattr(origin, "address", ""))


@dataclass(frozen=True, slots=True)
class Sanction:
    """A ban or a mute. It holds for the identity; for the name, under another identity that is no account; and for the
    network, if a server's operator said so. It holds only for people of a lower ``rank``."""

    identity: int  # 0: unknown
    name: str
    until: int | None  # milliseconds since 1970; None: until it is lifted
    by: str
    why: str = ""
    network: str = ""
    rank: int = Rank.OPERATOR  # of the person who made it
    key: str = field(init=False, compare=False)  # the folded name

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", fold(self.name))

    def holds(self, person: Person, key: str, at: int) -> bool:
        """Whether it holds for a person with this folded name, at this time."""
        if self.until is not None and self.until <= at:
            return False
        if self.identity and self.identity == person.identity:
            return True
        if not person.account and self.key == key:
            return True
        return bool(self.network) and network(person.address) == self.network

    def left(self, at: int) -> int | None:
        """The seconds until it ends, rounded up."""
        return None if self.until is None else max(1, -(-(self.until - at) // 1000))


Sanctions = tuple[Sanction, ...]


@dataclass(frozen=True, slots=True)
class Governance:
    """All of it for one room. ``text`` is how it is stored; ``owner`` is stored with the room itself."""

    owner: int = 0
    invite_only: bool = False
    quiet: bool = False
    slow: int = 0  # seconds between two messages of one person
    accounts_only: bool = False
    unlisted: bool = False
    keep: int = 0  # days for which messages are kept; 0: as long as the server keeps them
    operators: Mapping[int, str] = field(default_factory=dict)  # their names when they became operators
    invited: Mapping[int, str] = field(default_factory=dict)
    bans: Sanctions = ()
    mutes: Sanctions = ()

    def __bool__(self) -> bool:
        """Whether anything differs from a room that was never changed."""
        return self != Governance(self.owner)

    # --- who may do what ----------------------------------------------------------------------------------

    def rank(self, person: Person) -> Rank:
        """What the person may do."""
        if person.operator:
            return Rank.SERVER
        if self.owner and person.identity == self.owner:
            return Rank.OWNER
        return Rank.OPERATOR if person.identity in self.operators else Rank.MEMBER

    def expelled(self, person: Person, ban: Sanction, at: int) -> bool:
        """Whether a new ban takes the person out of the room."""
        return self._sanction((ban,), person, at) is not None

    def banned(self, person: Person, at: int) -> Sanction | None:
        """The ban that keeps the person out of the room."""
        return self._sanction(self.bans, person, at)

    def muted(self, person: Person, at: int) -> Sanction | None:
        """The mute that keeps the person from speaking in the room."""
        return self._sanction(self.mutes, person, at)

    def _sanction(self, sanctions: Sanctions, person: Person, at: int) -> Sanction | None:
        if not sanctions:
            return None
        rank, key = self.rank(person), fold(person.name)
        return next((each for each in sanctions if rank < each.rank and each.holds(person, key, at)), None)

    def entering(self, room: str, person: Person, at: int) -> ChatError | None:
        """Why the person may not enter the room; None: it may. Whoever may not enter may not read either."""
        if ban := self.banned(person, at):
            return Banned(room, ban.left(at), ban.why)
        if self.rank(person):
            return None
        if self.invite_only and person.identity not in self.invited:
            return InviteOnly(room)
        return AccountsOnly(room) if self.accounts_only and not person.account else None

    def speaking(self, room: str, person: Person, at: int) -> ChatError | None:
        """Why the person may not speak in the room now; None: it may. ``slow`` is not looked at."""
        if ban := self.banned(person, at):
            return Banned(room, ban.left(at), ban.why)
        if mute := self.muted(person, at):
            return Muted(room, mute.left(at), mute.why)
        if self.rank(person):
            return None
        if self.quiet:
            return QuietRoom(room)
        return AccountsOnly(room) if self.accounts_only and not person.account else None

    @property
    def entries(self) -> int:
        """The number of people on all lists."""
        return len(self.operators) + len(self.invited) + len(self.bans) + len(self.mutes)

    def settings(self) -> tuple[str, ...]:
        """The settings as people type them, all of them."""
        return (
            "invite-only" if self.invite_only else "public",
            "quiet" if self.quiet else "open",
            f"slow {self.slow}" if self.slow else "slow off",
            "accounts-only" if self.accounts_only else "everybody",
            "unlisted" if self.unlisted else "listed",
            f"keep {self.keep}" if self.keep else "keep all",
        )

    # --- how it is stored ---------------------------------------------------------------------------------

    def text(self) -> str:
        """As it is stored: one line of JSON; "" if there is nothing to store."""
        if not self:
            return ""
        found = {
            "settings": self.settings(),
            "operators": [*self.operators.items()],
            "invited": [*self.invited.items()],
            "bans": [_row(each) for each in self.bans],
            "mutes": [_row(each) for each in self.mutes],
        }
        return json.dumps(found, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def read(cls, text: str, owner: int) -> Governance:
        """From what is stored. Settings of a newer version are left out. Raises ValueError, KeyError or TypeError."""
        found = json.loads(text)
        made = cls(
            owner,
            operators=dict(found["operators"]),
            invited=dict(found["invited"]),
            bans=tuple(Sanction(*each) for each in found["bans"]),
            mutes=tuple(Sanction(*each) for each in found["mutes"]),
        )
        for setting in found["settings"]:
            with contextlib.suppress(ChatError):
                made = replace(made, **read_setting(setting))
        return made


def governed(rooms: Iterable[StoredRoom], texts: Mapping[int, str]) -> dict[int, Governance]:
    """The governance of those of the rooms in a history that have any. A text of a newer version, in another form,
    keeps out everybody but the owner and the server's operators. Raises nothing."""
    found = {}
    for room in rooms:
        if room.id in texts:
            try:
                found[room.id] = Governance.read(texts[room.id], room.owner)
            except (ValueError, KeyError, TypeError):
                found[room.id] = Governance(room.owner, invite_only=True)
    return found


def _row(sanction: Sanction) -> tuple[Any, ...]:
    made, what = sanction, (sanction.why, sanction.network, int(sanction.rank))
    return (made.identity, made.name, made.until, made.by, *what)


# --- settings -------------------------------------------------------------------------------------------

_WORDS: dict[str, dict[str, Any]] = {
    "public": {"invite_only": False},
    "invite-only": {"invite_only": True},
    "open": {"quiet": False},
    "quiet": {"quiet": True},
    "slow off": {"slow": 0},
    "accounts-only": {"accounts_only": True},
    "everybody": {"accounts_only": False},
    "listed": {"unlisted": False},
    "unlisted": {"unlisted": True},
    "keep all": {"keep": 0},
}
_MEANT = {
    "closed": "invite-only",
    "private": "invite-only",
    "normal": "open",
    "moderated": "quiet",
    "hidden": "unlisted",
}
SETTINGS = "public, invite-only, open, quiet, slow 10, slow off, accounts-only, everybody, listed, unlisted, keep 30"


def read_setting(typed: str) -> dict[str, Any]:
    """The fields of Governance that a setting changes; raise BadSetting."""
    words = typed.lower().split()
    setting = " ".join(words)
    if setting in _WORDS:
        return _WORDS[setting]
    if len(words) == 2 and words[1].isascii() and words[1].isdigit() and len(words[1]) <= 5:
        number = int(words[1])
        if words[0] == "slow" and number <= SLOWEST:
            return {"slow": number}
        if words[0] == "keep" and 1 <= number <= 36500:
            return {"keep": number}
    near = nearest(_MEANT.get(setting, setting), SETTINGS.split(", "))
    raise BadSetting(f"Try {near}." if near else f"Try one of: {SETTINGS}.")


# --- changes --------------------------------------------------------------------------------------------


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

    def shown(self, asked: Asked) -> events.Event | None:
        """What the members see of it; None: nothing."""
        raise NotImplementedError

    def expels(self, after: Governance) -> Sanction | None:
        """The ban by which members have to leave the room."""
        return None


@dataclass(frozen=True, slots=True)
class Set(Change):
    """Set a setting, as typed. The people ``present`` stay invited if the room becomes invite-only."""

    setting: str
    present: tuple[tuple[int, str], ...] = ()

    def applied(self, before: Governance, asked: Asked) -> Governance:
        if not asked.rank:
            raise NotOperator(asked.room)
        fields = read_setting(self.setting)
        if "keep" in fields and asked.rank < Rank.OWNER:  # it deletes messages
            raise NotOwner(asked.room)
        after = replace(before, **fields)
        if after.invite_only and not before.invite_only:
            people = dict(self.present) | dict(before.invited)
            after = replace(after, invited=dict([*people.items()][:INVITED]))
        return after

    def shown(self, asked: Asked) -> events.Event:
        return events.RoomSet(asked.room, asked.by.name, " ".join(self.setting.lower().split()))


@dataclass(frozen=True, slots=True)
class Invite(Change):
    """Let a person enter an invite-only room. Shown to that person, apart from this."""

    person: Somebody

    def applied(self, before: Governance, asked: Asked) -> Governance:
        if not asked.rank:
            raise NotOperator(asked.room)
        invited = {**before.invited, self.person.identity: self.person.name}
        if len(invited) > INVITED:
            raise ListFull(asked.room, INVITED, "people invited")
        return replace(before, invited=invited)

    def shown(self, asked: Asked) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Appoint(Change):
    """Make a person an operator of the room."""

    person: Somebody

    def applied(self, before: Governance, asked: Asked) -> Governance:
        if asked.rank < Rank.OWNER:
            raise NotOwner(asked.room)
        operators = {**before.operators, self.person.identity: self.person.name}
        if len(operators) > OPERATORS:
            raise ListFull(asked.room, OPERATORS, "operators")
        return replace(before, operators=operators)

    def shown(self, asked: Asked) -> events.Event:
        return events.Moderated(asked.room, asked.by.name, "op", self.person.name)


@dataclass(frozen=True, slots=True)
class Dismiss(Change):
    """Take the role of operator back; operators may give up their own."""

    person: Somebody

    def applied(self, before: Governance, asked: Asked) -> Governance:
        found = _named(before.operators, self.person)
        if asked.rank < Rank.OWNER and (found is None or found != asked.by.identity):
            raise NotOwner(asked.room)
        if found is None:
            raise NotListed(self.person.name, "an operator of", asked.room)
        operators = {identity: name for identity, name in before.operators.items() if identity != found}
        return replace(before, operators=operators)

    def shown(self, asked: Asked) -> events.Event:
        return events.Moderated(asked.room, asked.by.name, "deop", self.person.name)


def _named(people: Mapping[int, str], person: Somebody) -> int | None:
    """The identity on a list that is the person's, or else the one that was noted under its name."""
    if person.identity and person.identity in people:
        return person.identity
    return next((identity for identity, name in people.items() if fold(name) == fold(person.name)), None)


@dataclass(frozen=True, slots=True)
class Sanctioned(Change):
    """Ban, mute or kick a person. A kick is a ban of KICKED seconds."""

    kind: events.Action
    person: Somebody
    seconds: int | None = None  # None: until it is lifted
    why: str = ""
    by_address: bool = False  # also whoever comes from the person's network

    def applied(self, before: Governance, asked: Asked) -> Governance:
        if not asked.rank:
            raise NotOperator(asked.room)
        if self.by_address and asked.rank < Rank.SERVER:
            raise NotServerOperator()
        if before.rank(self.person) >= asked.rank:
            raise Protected(self.person.name, asked.room)
        seconds = KICKED if self.kind == "kick" else self.seconds
        until = None if seconds is None else asked.at + max(1, min(seconds, LONGEST)) * 1000
        where = network(self.person.address) if self.by_address else ""
        made = Sanction(self.person.identity, self.person.name, until, asked.by.name, self.why, where, asked.rank)
        listed = _LISTS[self.kind]
        others = tuple(_others(getattr(before, listed), self.person, asked.at))
        if len(others) >= SANCTIONS:
            raise ListFull(asked.room, SANCTIONS, f"people {_WHAT[listed].split()[0]}")
        fields: dict[str, Any] = {listed: (*others, made)}
        operators = {who: name for who, name in before.operators.items() if who != self.person.identity}
        return replace(before, operators=operators, **fields)

    def expels(self, after: Governance) -> Sanction | None:
        return None if self.kind == "mute" else after.bans[-1]

    def shown(self, asked: Asked) -> events.Event:
        seconds = None if self.kind == "kick" else self.seconds
        return events.Moderated(asked.room, asked.by.name, self.kind, self.person.name, self.why, seconds)


@dataclass(frozen=True, slots=True)
class Lifted(Change):
    """Lift a ban or a mute: of the name under which it was made, or of the person who has the name now. Operators of
    the room may lift what its owner did, but only the server's operators what one of them did."""

    kind: events.Action
    person: Somebody

    def applied(self, before: Governance, asked: Asked) -> Governance:
        if not asked.rank:
            raise NotOperator(asked.room)
        listed = _LISTS[self.kind]
        in_force = getattr(before, listed)
        left = tuple(_others(in_force, self.person, asked.at))
        if len(left) == sum(each.until is None or each.until > asked.at for each in in_force):
            raise NotListed(self.person.name, _WHAT[listed], asked.room)
        if asked.rank < Rank.SERVER and any(each.rank == Rank.SERVER for each in in_force if each not in left):
            raise NotServerOperator()
        fields: dict[str, Any] = {listed: left}
        return replace(before, **fields)

    def shown(self, asked: Asked) -> events.Event:
        return events.Moderated(asked.room, asked.by.name, self.kind, self.person.name)


_LISTS = {"ban": "bans", "kick": "bans", "unban": "bans", "mute": "mutes", "unmute": "mutes"}
_WHAT = {"bans": "banned from", "mutes": "muted in"}


def _others(sanctions: Sanctions, person: Somebody, at: int) -> Iterator[Sanction]:
    """The sanctions in force, without those of a person or a name."""
    key = fold(person.name)
    for each in sanctions:
        over = each.until is not None and each.until <= at
        same = (person.identity and each.identity == person.identity) or each.key == key
        if not over and not same:
            yield each


# --- slow rooms -----------------------------------------------------------------------------------------


class Spoken:
    """When people spoke last in slow rooms. In memory only. Owned by the history thread."""

    MOST = 10_000  # people, over all rooms; beyond it, those who spoke longest ago are forgotten

    def __init__(self) -> None:
        self._last: dict[tuple[int, int], int] = {}

    def refuse(self, room_id: int, room: str, slow: int, identity: int, at: int) -> ChatError | None:
        """Why the person may not speak yet; None: it may, and has spoken now."""
        last = self._last.pop((room_id, identity), None)
        if last is not None and last <= at < last + slow * 1000:
            self._last[room_id, identity] = last
            return TooSoon(room, slow, -(-(last + slow * 1000 - at) // 1000))
        self._last[room_id, identity] = at
        if len(self._last) > self.MOST:
            del self._last[next(iter(self._last))]
        return None
