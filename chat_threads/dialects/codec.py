"""Events as JSON objects, and back: derived from the dataclasses' fields and ``FORMS``, a table of what differs.

The server writes with ``encode`` and the client reads with ``decode``, so the two cannot disagree. Everything is pure.
docs/protocol.rst describes the objects for people.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import datetime, timezone
from functools import cache, lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from .. import events

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    """How the JSON object of a dataclass differs from its fields."""

    type: str | None = None  # the object's type; None: it stands only inside other objects
    named: Mapping[str, str] = field(default_factory=dict)  # fields with another name in JSON
    order: Sequence[str] = ()  # all fields, if JSON has them in another order
    local: Mapping[str, Any] = field(default_factory=dict)  # fields that JSON lacks, and their values on reading
    optional: Sequence[str] = ()  # fields that JSON leaves out if they are the default
    flat: Sequence[str] = ()  # fields whose dataclass's fields stand directly in the object
    digits: Mapping[str, int] = field(default_factory=dict)  # decimals to which these fields are rounded
    constant: Mapping[str, Any] = field(default_factory=dict)  # keys and values that other forms of the type lack


# Of two forms of one type, the one that fits fewer objects comes first: an object is read as the first that fits.
FORMS: dict[type, Form] = {
    events.Message: Form("message", named={"sender": "from"}, local={"room_id": 0, "who": 0, "lines": 1}),
    events.Welcome: Form("welcome", order=("name", "token", "version", "motd")),
    events.Entered: Form("joined", named={"others": "people"}, local={"first_time": False}),
    events.Current: Form("current"),
    events.Departed: Form("left"),
    events.Renamed: Form("presence", constant={"kind": "renamed"}),
    events.Presence: Form("presence", local={"who": 0}, optional=("words",)),
    events.TopicChanged: Form("topic", order=("room", "topic", "by")),
    events.TopicShown: Form("topic"),
    events.Redacted: Form("redacted"),
    events.RoomDeleted: Form("deleted", named={"now_in": "current"}),
    events.Moderated: Form("moderated", optional=("why", "seconds", "address")),
    events.RoomSet: Form("room", optional=("still",)),
    events.RoomShown: Form("room", optional=("invited",)),
    events.AuditRow: Form(local={"who": 0, "reporter": 0}),
    events.AuditList: Form("audit"),
    events.SanctionRow: Form(optional=("address",)),
    events.SanctionList: Form("bans"),
    events.PrivateLine: Form("private", named={"sender": "from"}, local={"sent": False}),
    events.Invited: Form("invited", order=("room", "by")),
    events.HistoryPage: Form("history"),
    events.SearchPage: Form("search", optional=("older", "limits")),
    events.RoomRow: Form(),
    events.RoomList: Form("rooms"),
    events.PersonRow: Form(optional=("account",), digits={"idle": 3}),
    events.PeopleList: Form("who"),
    events.PersonShown: Form("whois", flat=("person",), optional=("logged_in_as", "operator"), digits={"connected": 3}),
    events.QrShown: Form("qr"),
    events.StatsShown: Form(
        "stats",
        digits={"uptime": 3},
        optional=("log_position", "log_behind", "log_appends", "log_retries"),
    ),
    events.ThreadRow: Form(
        named={"waiting": "queue"}, optional=("lock", "holder", "held"), digits={"seconds": 4, "held": 6}
    ),
    events.ThreadList: Form("threads"),
    events.LockRow: Form(optional=("waiting",), digits={"waited": 6, "longest": 6, "held": 6}),
    events.LockList: Form("locks"),
    events.Stages: Form(digits={"queued": 3, "taken": 3, "committed": 3, "published": 3}),
    events.MemberTrip: Form(digits={"queued": 3, "written": 3}),
    events.TripShown: Form("trace", named={"sender": "from"}, flat=("stages",)),
    events.TokenShown: Form("token"),
    events.Restored: Form("restored"),
    events.Pong: Form("pong"),
    events.Ack: Form("ack", optional=("room", "number")),
    events.Notice: Form("notice", optional=("person", "name", "room", "next")),
    events.Problem: Form("error", optional=("room", "near", "seconds"), local={"kind": None, "fact": ""}),
    events.Bye: Form("bye"),
}


# --- writing --------------------------------------------------------------------------------------------


def encode(event: events.Event) -> Object:
    """The object of an event that has a type in FORMS."""
    found: Object = _write(event)
    return found


_PLAIN = frozenset((str, int, bool, type(None)))  # in JSON as they are; most fields are of these


def _write(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_write(each) for each in value]
    kind: type = type(value)
    if kind not in FORMS:
        return value
    found: Object = {}
    form, columns = _shape(kind)
    if form.type:
        found["type"] = form.type
    found.update(form.constant)
    for column in columns:
        inner = getattr(value, column.name)
        if column.optional and inner == column.default:
            continue
        if column.flat:
            found.update(_write(inner))
        elif column.name == "at":
            found[column.key] = timestamp(inner)
        elif column.digits is not None and inner is not None:
            found[column.key] = round(inner, column.digits)
        else:
            found[column.key] = inner if type(inner) in _PLAIN else _write(inner)
    return found


@lru_cache(maxsize=256)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")


def timestamp(milliseconds: int) -> str:
    """A time in milliseconds since 1970, in UTC, as RFC 3339 writes it."""
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


# --- reading --------------------------------------------------------------------------------------------


def decode(found: Object) -> events.Event | None:
    """The event that an object is, or None if its type is not in FORMS.

    Fields that are not known are ignored. Raises KeyError, TypeError, ValueError or AttributeError if the object lacks
    a field or a field has a wrong value.
    """
    kinds = _BY_TYPE.get(found["type"], ())
    for kind in kinds[:-1]:
        if _fits(kind, found):
            return _read(kind, found)  # type: ignore[no-any-return]
    return _read(kinds[-1], found) if kinds else None


def _fits(kind: type, found: Object) -> bool:
    form, columns = _shape(kind)
    return all(found.get(key) == value for key, value in form.constant.items()) and all(
        column.key in found for column in columns if not column.optional
    )


def _read(kind: type, found: Object) -> Any:
    arguments = {}
    for column in _shape(kind)[1]:
        if column.flat:
            arguments[column.name] = column.read(found)
        elif column.key in found or not column.optional:
            arguments[column.name] = column.read(found[column.key])
    return kind(**arguments, **FORMS[kind].local)


def _milliseconds(at: str) -> int:
    return round(datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp() * 1000)


def _reader(hint: Any) -> Callable[[Any], Any]:
    """The function that turns a value from JSON into one of that type. Strings stay as they are."""
    if get_origin(hint) in (Union, types.UnionType):  # X | None
        inner = _reader(get_args(hint)[0])
        return lambda value: None if value is None else inner(value)
    if get_origin(hint) is tuple:
        each_of = _reader(get_args(hint)[0])
        return lambda value: tuple(each_of(each) for each in value)
    if is_dataclass(hint):
        kind: Any = hint
        return lambda value: _read(kind, value)
    if hint in (int, float, bool):
        number: Callable[[Any], Any] = hint
        return number
    return lambda value: value


# --- what both need -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    name: str  # the dataclass's
    key: str  # JSON's
    read: Callable[[Any], Any]
    default: Any
    optional: bool
    flat: bool
    digits: int | None


@cache
def _shape(kind: type) -> tuple[Form, tuple[_Column, ...]]:
    form, hints = FORMS[kind], get_type_hints(kind)
    defaults = {each.name: each.default for each in fields(kind) if each.name not in form.local}
    return form, tuple(
        _Column(
            name,
            form.named.get(name, name),
            _milliseconds if name == "at" else _reader(hints[name]),
            None if defaults[name] is MISSING else defaults[name],
            name in form.optional,
            name in form.flat,
            form.digits.get(name),
        )
        for name in (form.order or defaults)
    )


_BY_TYPE: dict[str, list[type]] = {}
for _kind, _form in FORMS.items():
    if _form.type:
        _BY_TYPE.setdefault(_form.type, []).append(_kind)
