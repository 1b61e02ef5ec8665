"""What the server sends, as events: the table that turns dialects/jsonlines' one round. Pure functions.

The events are those of ``chat_threads.events``. Three are the client's own: ``Offline`` and ``Online``, and
``Other``, an object that has no event. Every string in them has passed through ``rules.clean``, so that none can
harm a terminal, whatever server it comes from.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .. import events
from ..rules import clean


@dataclass(frozen=True, slots=True)
class Offline(events.Event):
    """The connection is lost, and the client tries to come back."""

    why: str


@dataclass(frozen=True, slots=True)
class Online(events.Event):
    """The client has come back, under this name."""

    name: str


@dataclass(frozen=True, slots=True)
class Other(events.Event):
    """An object of a type that has no event here; ``fields`` is all of it."""

    type: str
    fields: dict[str, Any]


Fields = dict[str, Any]


def decode(line: bytes) -> tuple[events.Event, Fields]:
    """A line as its event, and all of its fields; raise ValueError if it is not one of the protocol's."""
    try:
        fields = json.loads(line)
        if not isinstance(fields, dict):
            raise ValueError("it is no object")
        fields = _harmless(fields)
        kind = fields["type"]
        return (_READ[kind](fields) if kind in _READ else Other(str(kind), fields)), fields
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_harmless(each) for each in value]
    if isinstance(value, dict):
        return {key: _harmless(each) for key, each in value.items()}
    return value


def _milliseconds(at: str) -> int:
    return round(datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp() * 1000)


def _message(fields: Fields) -> events.Message:
    return events.Message(
        0,  # the server's own number of the room, which it does not tell
        fields["room"],
        int(fields["number"]),
        _milliseconds(fields["at"]),
        fields["from"],
        "action" if fields["kind"] == "action" else "say",
        fields["text"],
    )


def _messages(fields: Fields) -> tuple[events.Message, ...]:
    return tuple(_message(each) for each in fields["messages"])


def _presence(fields: Fields) -> events.Event:
    if fields["kind"] == "renamed":
        return events.Renamed(fields["old"], fields["new"])
    return events.Presence(fields["room"], fields["kind"], tuple(fields["names"]), fields.get("words", ""))


def _topic(fields: Fields) -> events.Event:
    if "by" in fields:
        return events.TopicChanged(fields["room"], fields["by"], fields["topic"])
    return events.TopicShown(fields["room"], fields["topic"])


def _private(fields: Fields) -> events.PrivateLine:
    """One's own copy is the answer to a request, and answers bring its ref back."""
    return events.PrivateLine(
        _milliseconds(fields["at"]), fields["from"], fields["to"], fields["text"], "ref" in fields
    )


def _person(fields: Fields) -> events.PersonRow:
    return events.PersonRow(fields["name"], tuple(fields["rooms"]), float(fields["idle"]), fields["away"])


def _stats(fields: Fields) -> events.StatsShown:
    return events.StatsShown(
        fields["version"],
        float(fields["uptime"]),
        int(fields["sessions"]),
        int(fields["rooms"]),
        int(fields["stored"]),
        int(fields["threads"]),
        float(fields["per_second"]),
    )


def _thread(fields: Fields) -> events.ThreadRow:
    numbers = (fields[name] for name in ("queue", "most", "lines", "bytes"))
    return events.ThreadRow(
        fields["thread"],
        fields["role"],
        fields["session"],
        fields["doing"],
        float(fields["seconds"]),
        fields["where"],
        *numbers,
    )


def _lock(fields: Fields) -> events.LockRow:
    return events.LockRow(
        fields["lock"],
        int(fields["taken"]),
        int(fields["contended"]),
        float(fields["waited"]),
        float(fields["longest"]),
        fields["holder"],
        fields["held"],
    )


_STAGES = ("queued", "taken", "committed", "published")


def _trip(fields: Fields) -> events.TripShown:
    return events.TripShown(
        fields["room"],
        int(fields["number"]),
        fields["from"],
        tuple((stage, fields[stage]) for stage in _STAGES),
        tuple(events.MemberTrip(each["name"], float(each["queued"]), each["written"]) for each in fields["members"]),
        int(fields["more"]),
    )


def _room(fields: Fields) -> events.RoomRow:
    return events.RoomRow(fields["room"], int(fields["people"]), int(fields["messages"]), fields["topic"])


_READ: dict[str, Callable[[Fields], events.Event]] = {
    "message": _message,
    "welcome": lambda f: events.Welcome(f["name"], tuple(f["motd"]), f["version"], f.get("token", "")),
    "joined": lambda f: events.Entered(f["room"], f["topic"], tuple(f["people"]), int(f["count"]), int(f["last"])),
    "current": lambda f: events.Current(f["room"]),
    "left": lambda f: events.Departed(f["room"], f["current"]),
    "presence": _presence,
    "topic": _topic,
    "deleted": lambda f: events.RoomDeleted(f["room"], f["by"], f["current"]),
    "private": _private,
    "invited": lambda f: events.Invited(f["by"], f["room"]),
    "history": lambda f: events.HistoryPage(f["room"], _messages(f), int(f["last"]), f["before"], f["after"]),
    "search": lambda f: events.SearchPage(f["words"], _messages(f), bool(f["more"])),
    "rooms": lambda f: events.RoomList(tuple(_room(each) for each in f["rooms"]), int(f["more"])),
    "who": lambda f: events.PeopleList(f["room"], tuple(_person(each) for each in f["people"]), int(f["more"])),
    "whois": lambda f: events.PersonShown(_person(f), float(f["connected"])),
    "stats": _stats,
    "threads": lambda f: events.ThreadList(tuple(_thread(each) for each in f["threads"]), int(f["more"])),
    "locks": lambda f: events.LockList(bool(f["counted"]), tuple(_lock(each) for each in f["locks"])),
    "trace": _trip,
    "token": lambda f: events.TokenShown(f["token"]),
    "pong": lambda f: events.Pong(float(f["through"]), f["network"]),
    "ack": lambda f: events.Ack(f.get("room"), f.get("number")),
    "notice": lambda f: events.Notice(f["text"]),
    "error": lambda f: events.Problem(f["code"], f["text"]),
    "bye": lambda f: events.Bye(f["reason"]),
}
