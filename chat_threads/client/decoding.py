"""The server's lines as events. Pure functions on top of ``dialects.codec``.

The events are those of ``chat_threads.events``. Three are the client's own: ``Offline`` and ``Online``, and
``Other``, an object that has no event. Every string has passed through ``rules.clean``, so that no server can harm
a terminal. Only what somebody said may have several lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .. import events
from ..dialects import codec
from ..rules import clean, clean_lines


@dataclass(frozen=True, slots=True)
class Offline(events.Event):
    """The connection is lost, and the client tries to reconnect."""

    why: str


@dataclass(frozen=True, slots=True)
class Online(events.Event):
    """The client has reconnected, under this name."""

    name: str


@dataclass(frozen=True, slots=True)
class Other(events.Event):
    """An object of a type that has no event here; ``fields`` is all of it."""

    type: str
    fields: dict[str, Any]


Fields = dict[str, Any]


def decode(line: bytes) -> tuple[events.Event, Fields]:
    """A line's event and all of its fields; raise ValueError if the line is not in the protocol."""
    try:
        fields = json.loads(line)
        if not isinstance(fields, dict):
            raise ValueError("it is not an object")
        fields = _harmless(fields)
        event = codec.decode(fields)
        if event is None:
            event = Other(str(fields["type"]), fields)
        elif isinstance(event, events.PrivateLine) and "ref" in fields:  # one's own copy is the answer to a request
            event = replace(event, sent=True)
        return event, fields
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _harmless(value: Any, cleaned: Callable[[str], str] = clean) -> Any:
    if isinstance(value, str):
        return cleaned(value)
    if isinstance(value, list):
        return [_harmless(each) for each in value]
    if isinstance(value, dict):
        text = clean_lines if value.get("type") in ("message", "private") else clean
        return {clean(key): _harmless(each, text if key == "text" else clean) for key, each in value.items()}
    return value
