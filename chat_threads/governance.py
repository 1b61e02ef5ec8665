"""How a room is governed: its settings, its operators, and who is banned, muted or invited.

Each change goes through the history's queue, like a message. The history thread checks whether the person may make the
change, applies it, and checks each later message by the new rules. So two operators cannot race, and no message from a
banned person appears after the notice. A room that was never changed has no Governance, and its messages cost nothing
more.

Everything but ``Spoken`` is frozen, so any thread may read it without a lock. The functions are pure: they are given
the time. ``identity`` says who a person is: it is the number of a token or of an account.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from typing import Any, Protocol

from .addresses import network
from .errors import ChatError
from .refusals import (
    AccountsOnly,
    BadSetting,
    Banned,
    BannedAddress,
    InviteOnly,
    Muted,
    QuietRoom,
    RoomInSetting,
    unsent,
)
from .rules import fold, is_room, nearest


class StoredRoom(Protocol):
    """What is needed of a room in the history."""

    @property
    def id(self) -> int: ...
    @property
    def owner(self) -> int: ...


SLOWEST = 3600  # seconds


class Rank(IntEnum):
    """What a person may do in a room."""

    MEMBER = 0
    OPERATOR = 1
    OWNER = 2
    SERVER = 3  # an operator of the server


class Person(Protocol):
    """What the rules need of a person: a session, or a ``Somebody``. A session's name and identity may change."""

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
        """The person of a session, with identity and name of an earlier moment. ``origin`` may be no session."""
        account, operator = getattr(origin, "account", False), getattr(origin, "operator", False)
        return cls(identity, name, account, operator, getattr(origin, "address", ""))


@dataclass(frozen=True, slots=True)
class Sanction:
    """A ban or a mute. It holds for the identity; for the name, also if somebody registers it later; and for the
    network, if a server's operator asked for that. It holds only for people of a lower ``rank``."""

    identity: int  # 0: unknown
    name: str
    until: int | None  # milliseconds since 1970; None: until it is lifted
    by: str
    why: str = ""
    network: str = ""
    rank: int = Rank.OPERATOR  # of the person who made it
    account: bool = False  # whether the identity is an account
    kick: bool = False  # a ban for a moment
    key: str = field(init=False, compare=False)  # the folded name

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", fold(self.name))

    def holds(self, person: Person, key: str, at: int) -> bool:
        """Whether it holds for a person with this folded name, at this time."""
        if self.until is not None and self.until <= at:
            return False
        return self.is_for(person, key) or (bool(self.network) and network(person.address) == self.network)

    def is_for(self, person: Person, key: str) -> bool:
        """Whether it is for a person with this folded name, and not only for others from the same network."""
        if self.identity and self.identity == person.identity:
            return True
        return self.key == key and not (person.account and self.account)

    def left(self, at: int) -> int | None:
        """The seconds until it ends, rounded up."""
        return None if self.until is None else max(1, -(-(self.until - at) // 1000))

    def ban(self, room: str, at: int, person: Person) -> Banned:
        """As an error for the person who is banned from this room."""
        if not self.is_for(person, fold(person.name)):
            return BannedAddress(room, self.left(at), self.why, self.by)
        return Banned(room, self.left(at), self.why, self.kick)


class Sanctions(tuple[Sanction, ...]):
    """Bans or mutes. No two are for the same identity. Several are for the same name if different people had it. A
    lookup among hundreds is as fast as in one."""

    @cached_property
    def _by_identity(self) -> dict[int, Sanction]:
        return {each.identity: each for each in self if each.identity}

    @cached_property
    def _by_key(self) -> dict[str, list[Sanction]]:
        return _grouped((each.key, each) for each in self)

    @cached_property
    def _by_network(self) -> dict[str, list[Sanction]]:
        return _grouped((each.network, each) for each in self if each.network)

    def without_account(self, identity: int, key: str) -> Sanctions:
        """The same, after the account with this number and folded name has ended. What was done under another name
        does not hold for an account that has that name now."""
        ended = [each for each in self if each.identity == identity and each.account and each.key == key]
        if not ended:
            return self
        return Sanctions(replace(each, account=False) if each in ended else each for each in self)

    def in_force(self, at: int) -> Iterator[Sanction]:
        """Those that have not ended at this time."""
        return (each for each in self if each.until is None or each.until > at)

    def on(self, person: Person, rank: int, at: int) -> Sanction | None:
        """The one that holds for a person of this rank."""
        if not self:
            return None
        key = fold(person.name)
        maybe = [self._by_identity.get(person.identity), *self._by_key.get(key, ())]
        if self._by_network:
            maybe += self._by_network.get(network(person.address), ())
        return next((each for each in maybe if each and rank < each.rank and each.holds(person, key, at)), None)


def _grouped(pairs: Iterable[tuple[str, Sanction]]) -> dict[str, list[Sanction]]:
    found: dict[str, list[Sanction]] = {}
    for key, each in pairs:
        found.setdefault(key, []).append(each)
    return found


@dataclass(frozen=True, slots=True)
class Governance:
    """The settings and lists of one room. ``text`` is stored; ``owner`` is stored with the room itself."""

    owner: int = 0
    invite_only: bool = False
    quiet: bool = False
    slow: int = 0  # seconds between two messages of one person
    accounts_only: bool = False
    unlisted: bool = False
    keep: int = 0  # days for which messages are kept; 0: as long as the server keeps them
    operators: Mapping[int, str] = field(default_factory=dict)  # by identity, the names when they became operators
    invited: Mapping[int, str] = field(default_factory=dict)
    bans: Sanctions = field(default_factory=Sanctions)
    mutes: Sanctions = field(default_factory=Sanctions)

    @property
    def is_stored(self) -> bool:
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

    def rulers(self, room: str) -> str:
        """Who may change the room, in words."""
        if self.owner:
            return f"the owner and the operators of {room}"
        return f"the operators of {room}" if self.operators else "the server's operators"

    def banned(self, person: Person, at: int) -> Sanction | None:
        """The ban that keeps the person out of the room."""
        return self.bans.on(person, self.rank(person), at) if self.bans else None

    def muted(self, person: Person, at: int) -> Sanction | None:
        """The mute that keeps the person from speaking in the room."""
        return self.mutes.on(person, self.rank(person), at) if self.mutes else None

    def entering(self, room: str, person: Person, at: int) -> ChatError | None:
        """Why the person may not enter the room, and so may not read in it; None: the person may."""
        ban, rank = self.banned(person, at), self.rank(person)
        if self.invite_only and not rank and person.identity not in self.invited:
            if ban is None or not ban.is_for(person, fold(person.name)):  # a stranger at the same address
                return InviteOnly(room, person.account)
        if ban:
            return ban.ban(room, at, person)
        if rank:
            return None
        return AccountsOnly(room) if self.accounts_only and not person.account else None

    def speaking(self, room: str, person: Person, at: int, what: str, text: str) -> ChatError | None:
        """Why the person may not speak in the room now; None: the person may. Does not check ``slow``. The error names
        the text, and ``what`` it is."""
        if ban := self.banned(person, at):
            return ban.ban(room, at, person)
        if mute := self.muted(person, at):
            return Muted(room, mute.left(at), mute.why, unsent(what, text))
        if self.rank(person):
            return None
        if self.quiet:
            return QuietRoom(room, unsent(what, text))
        return AccountsOnly(room, unsent(what, text)) if self.accounts_only and not person.account else None

    def governing(self, room: str, person: Person, at: int) -> Muted | None:
        """Why an operator of the room may not act as one now: a muted person must not speak by the reasons that others
        see. None: the person may, or is no operator."""
        mute = self.muted(person, at) if self.rank(person) else None
        return Muted(room, mute.left(at), mute.why, "Nothing was done.") if mute else None

    def without_account(self, identity: int, name: str) -> Governance | None:
        """The rules after the account with this number and name has ended; None: they stay as they are."""
        bans, mutes = (each.without_account(identity, fold(name)) for each in (self.bans, self.mutes))
        return None if bans is self.bans and mutes is self.mutes else replace(self, bans=bans, mutes=mutes)

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
        """The stored form: one line of JSON; "" if there is nothing to store."""
        if not self.is_stored:
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
        """Read the stored form, without the settings of a newer version. Raises ValueError, KeyError or TypeError."""
        found = json.loads(text)
        made = cls(
            owner,
            operators=dict(found["operators"]),
            invited=dict(found["invited"]),
            bans=Sanctions(Sanction(*each) for each in found["bans"]),
            mutes=Sanctions(Sanction(*each) for each in found["mutes"]),
        )
        for setting in found["settings"]:
            with contextlib.suppress(ChatError):
                made = replace(made, **read_setting(setting))
        return made


def governed(rooms: Iterable[StoredRoom], texts: Mapping[int, str]) -> dict[int, Governance]:
    """The Governance of each room that has one, by the room's id. A room whose text cannot be read, because a newer
    version wrote it, keeps out everybody but its owner and the server's operators. Raises nothing."""
    found = {}
    for room in rooms:
        if room.id in texts:
            try:
                found[room.id] = Governance.read(texts[room.id], room.owner)
            except (ValueError, KeyError, TypeError):
                found[room.id] = Governance(room.owner, invite_only=True)
    return found


def _row(made: Sanction) -> tuple[Any, ...]:
    what = (made.why, made.network, int(made.rank), made.account, made.kick)
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
_NUMBERS = {
    "slow": f"Write slow and a number of seconds, 1 to {SLOWEST}, such as slow 10; or slow off.",
    "keep": "Write keep and a number of days, such as keep 30; or keep all. Older messages are deleted for good.",
}
_MEANT = {
    word: setting
    for setting, words in (
        ("public", "unlocked unlock invite-only-off"),
        ("invite-only", "closed private locked lock members-only"),
        ("open", "normal loud noisy unquiet unmute not-quiet no-quiet quiet-off"),
        ("quiet", "moderated silent silence muted mute lecture"),
        ("slow off", "fast no-slow not-slow"),
        ("accounts-only", "registered login"),
        ("everybody", "anybody anyone guests accounts-only-off"),
        ("listed", "visible shown show unlisted-off"),
        ("unlisted", "hidden hide secret"),
    )
    for word in words.split()
}  # what people may call a setting, with hyphens in place of spaces
SETTINGS = (
    "public, invite-only, open, quiet, slow 10, slow off, accounts-only, everybody, listed, unlisted, keep 30, keep all"
)
_SPELLED = re.compile("(slow|keep)[a-z :=_-]*?([0-9]{1,5}) ?([a-z]?)[a-z]*", re.ASCII)
_UNITS = {"slow": {"": 1, "s": 1, "m": 60, "h": 3600}, "keep": {"": 1, "d": 1, "w": 7, "m": 30, "y": 365}}


def read_setting(typed: str) -> dict[str, Any]:
    """The fields of Governance that a setting changes; raise BadSetting."""
    words = typed.lower().split()
    setting = " ".join(words)
    fields = _fields(setting)
    if fields is None:
        raise _bad_setting(setting, words)
    return fields


def _fields(setting: str) -> dict[str, Any] | None:
    word, _, number = setting.partition(" ")
    if setting in _WORDS:
        return _WORDS[setting]
    if number.isascii() and number.isdigit() and len(number) <= 5:
        if word == "slow" and 1 <= int(number) <= SLOWEST:
            return {"slow": int(number)}
        if word == "keep" and 1 <= int(number) <= 36500:
            return {"keep": int(number)}
    return None


def _bad_setting(setting: str, words: list[str]) -> BadSetting:
    near = None
    if spelled := _SPELLED.fullmatch(setting):  # slow 10s, slow: 10, keep 4 weeks
        word, number, unit = spelled.groups()
        near = f"{word} {int(number) * _UNITS[word].get(unit, 0)}"
    key = re.sub("[ =:_-]+", "-", setting).removesuffix("-on")
    if near is None or _fields(near) is None:
        near = _MEANT.get(key)
    for at in range(1, len(words)):
        if _fields(one := " ".join(words[:at])) and _fields(" ".join(words[at:])):
            return BadSetting(setting, f"They are set one at a time, first {one}.")
    if near is None and key[:4] in _NUMBERS:
        return BadSetting(f"{setting} alone" if setting in _NUMBERS else setting, _NUMBERS[key[:4]])
    rest = " ".join(words[1:])
    if near is None and rest and is_room(room := f"#{words[0]}") and _fields(rest) is not None:
        return RoomInSetting(setting, room, rest)
    names = SETTINGS.split(", ")
    near = near or nearest(key, names) or nearest(key.partition("-")[0], names)
    advice = f"Did you mean {near}?" if near else f"Try one of: {SETTINGS}."
    if not near and len(words) == 1 and is_room(room := f"#{words[0]}"):
        advice += f" A room's name begins with '#': {room}."
    return BadSetting(setting or "An empty text", advice, near)


# --- slow rooms -----------------------------------------------------------------------------------------


class Spoken:
    """When each person last spoke in each slow room. In memory only. Owned by the history thread; others may look."""

    MOST = 10_000  # people, over all rooms; beyond it, those who spoke longest ago are forgotten

    def __init__(self) -> None:
        self._last: dict[tuple[int, int], int] = {}

    def wait(self, room_id: int, slow: int, identity: int, at: int) -> int:
        """For how many seconds, rounded up, the person must still wait in a room with this ``slow``."""
        last = self._last.get((room_id, identity))
        return -(-(last + slow * 1000 - at) // 1000) if last is not None and last <= at < last + slow * 1000 else 0

    def note(self, people: Iterable[tuple[int, int]], at: int) -> None:
        """These people have spoken, each in the room that is named first."""
        for each in people:
            self._last.pop(each, None)  # the person who spoke last is last
            self._last[each] = at
            if len(self._last) > self.MOST:
                del self._last[next(iter(self._last))]
