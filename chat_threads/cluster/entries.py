"""Entries: the ordered values of one batch, as they stand in a row of the log.

A row is one line of JSON: the version, a list of entries, the flags of their sessions, and the position up to which the
server that wrote it had read. An entry is the number of its kind and its fields, in order. Every server decodes every
row, also its own, so all of them work with the same values. Sessions stand in an entry by their numbers: ``resolve``
finds what a server knows of that session.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .. import changes, events, ordered
from ..events import Event
from ..governance import Person, Somebody
from ..passwords import Account, Password
from .errors import NewerEntry
from .values import AwaySet, NameClaimed, ServerBeat, ServerEnded, ServerGone, ServerStarted, Summoned, Swept

VERSION = 3
KINDS: tuple[type[ordered.Ordered], ...] = (  # the place in here is the kind's number, so add new ones at the end
    ordered.Draft,
    ordered.RoomMade,
    ordered.RoomEnded,
    ordered.TopicSet,
    ordered.RoomChanged,
    ordered.Redacted,
    ordered.Noted,
    ordered.TokenUsed,
    ordered.PlaceKept,
    ordered.AccountStored,
    ordered.AccountEnded,
    ordered.Joined,
    ordered.Left,
    ordered.LeftAll,
    ordered.NameChanged,
    NameClaimed,
    ServerStarted,
    ServerBeat,
    ServerEnded,
    ServerGone,
    Summoned,
    Swept,
    AwaySet,
)
_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
_CHANGES: dict[str, type[changes.Change]] = {
    kind.__name__: kind
    for kind in (
        *(changes.Set, changes.Invite, changes.Uninvite, changes.Appoint, changes.Dismiss),
        *(changes.Sanctioned, changes.Lifted),
    )
}
_FIELDS = {kind: tuple(each.name for each in dataclasses.fields(kind)) for kind in KINDS}  # type: ignore[arg-type]
_OF_CHANGES: dict[str, Callable[[Any], Any]] = {
    "person": lambda found: Somebody(*found),
    "present": lambda found: tuple(map(tuple, found)),
    "gone": tuple,
}

_SESSIONS = ("origin", "session")
_EVENTS = {
    kind.__name__: tuple(each.name for each in dataclasses.fields(kind))
    for kind in (events.Notice, events.PrivateLine, events.Invited)
}

Flags = Mapping[int, tuple[bool, bool, str]]
"""Of sessions of the server that writes a row, by number: whether they are logged in, whether they are operators of the
server, and the addresses of their clients. For those only for which the rules of a room may need it."""


def _person(person: Person) -> list[Any]:
    return [person.identity, person.name, person.account, person.operator, person.address]


def _pack(name: str, found: Any, key_of: Callable[[Any], Any]) -> Any:
    if name in _SESSIONS:
        return None if found is None else key_of(found)
    if name == "by" and not isinstance(found, str):
        return _person(found)
    if name == "told":
        return [[[key_of(each) for each in sessions], pack_event(event)] for sessions, event in found]
    if isinstance(found, changes.Change):
        fields = [getattr(found, each.name) for each in dataclasses.fields(found)]  # type: ignore[arg-type]
        return [type(found).__name__, *[_person(each) if isinstance(each, Somebody) else each for each in fields]]
    if isinstance(found, Account):
        secret = found.password
        return [
            *(found.id, found.name, found.made, found.operator),
            *(secret.n, secret.r, secret.p, secret.salt.hex(), secret.hash.hex()),
        ]
    return found.hex() if isinstance(found, bytes) else found


def pack_event(event: Event) -> Any:
    """An event that sessions on other servers are shown, as JSON has it."""
    if isinstance(event, events.Answer):
        return ["Answer", [pack_event(event.event), event.ref]]
    return [type(event).__name__, [getattr(event, name) for name in _EVENTS[type(event).__name__]]]


def unpack_event(found: Any) -> Event:
    """An event from JSON. Raise NewerEntry."""
    kind, fields = found
    if kind == "Answer":
        return events.Answer(unpack_event(fields[0]), fields[1])
    if kind not in _EVENTS:
        raise NewerEntry(f"an event {kind}")
    return getattr(events, kind)(*fields)  # type: ignore[no-any-return]


def dump(items: Iterable[ordered.Ordered], flags: Flags, key_of: Callable[[Any], Any], read: int) -> bytes:
    """The row for these values. ``key_of`` gives what stands for a session. ``read``: the position up to which the
    server that writes the row has read the log."""
    rows: list[list[Any]] = []
    for item in items:
        if type(item) is ordered.Draft:  # most are; as below, but in a third of the time
            row = [0, item.room_id, item.room, item.sender, item.kind, item.text, key_of(item.origin)]
            rows.append([*row, item.ref, item.token, item.who])
        else:
            kind = type(item)
            rows.append([_NUMBERS[kind], *[_pack(name, getattr(item, name), key_of) for name in _FIELDS[kind]]])
    return json.dumps([VERSION, rows, [*flags.items()], read], ensure_ascii=False, separators=(",", ":")).encode()


def _unpack(kind: type[ordered.Ordered], name: str, found: Any, resolve: Callable[[Any], Any]) -> Any:
    if name in _SESSIONS:
        return None if found is None else resolve(found)
    if name == "by" and isinstance(found, list):
        return Somebody(*found)
    if name == "told":
        return tuple((tuple(map(resolve, keys)), unpack_event(event)) for keys, event in found)
    if name == "change" and kind is ordered.RoomChanged:
        if found[0] not in _CHANGES:
            raise NewerEntry(f"a change {found[0]}")
        change, fields = _CHANGES[found[0]], found[1:]
        names = [each.name for each in dataclasses.fields(change)]  # type: ignore[arg-type]
        made = {
            field: _OF_CHANGES[field](each) if field in _OF_CHANGES else each
            for field, each in zip(names, fields, strict=False)  # version 2 had fewer fields
        }
        return change(**made)
    if name == "account" and kind in (ordered.AccountStored, ordered.AccountEnded):
        number, text, at, operator, n, r, p, salt, digest = found
        return Account(number, text, at, Password(n, r, p, bytes.fromhex(salt), bytes.fromhex(digest)), operator)
    if name == "slow":
        return tuple(found)
    return bytes.fromhex(found) if name == "proof" else found


def load(payload: bytes, resolve: Callable[[Any], Any]) -> tuple[list[ordered.Ordered], Flags, int]:
    """The values in a row, the flags of their sessions, and what its server had read. Raise NewerEntry."""
    version, rows, *more = json.loads(payload)
    if version > VERSION:
        raise NewerEntry(f"an entry of version {version}")
    found: list[ordered.Ordered] = []
    for number, *fields in rows:
        if number == 0:
            fields[5] = resolve(fields[5])
            found.append(ordered.Draft(*fields))
            continue
        if number >= len(KINDS):
            raise NewerEntry(f"an entry of kind {number}")
        kind = KINDS[number]
        names = _FIELDS[kind]
        found.append(kind(*[_unpack(kind, name, each, resolve) for name, each in zip(names, fields, strict=True)]))
    flags, read = more
    return found, {session: tuple(each) for session, each in flags}, read
