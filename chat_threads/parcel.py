"""A parcel: events in sessions' queues, encoded once for all sessions with the same view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .events import Event
from .memory import Held, Output

ROUGH = 4096  # bytes; the size of a parcel that is no larger is counted as estimated


class View(Protocol):
    """A way to show events: a dialect with its options. Immutable, and compared by identity: there is one object for
    each way, and a thousand sessions can share it."""

    def __hash__(self) -> int: ...

    def encode(self, events: Sequence[Event]) -> bytes:
        """Encode these events. Pure: any thread, no waiting, the same bytes every time."""


@dataclass(frozen=True, slots=True)
class Views:
    """A client's views: one for its current room, one for its other rooms, and one for what only this client is shown.

    Members of a room share the first two. The last one also depends on the client's window.
    """

    here: View
    elsewhere: View
    own: View = None  # type: ignore[assignment]  # without it, the one for its current room

    def __post_init__(self) -> None:
        if self.own is None:
            object.__setattr__(self, "own", self.here)

    def of(self, here: bool) -> View:
        """The view for the current room (``here``), or the other one."""
        return self.here if here else self.elsewhere


class Parcel:
    """Events for all sessions with one view. The first thread that needs the bytes encodes them.

    One parcel is put into many queues; writer threads read its ``data``. There is no lock: if two writers need the
    bytes at the same moment, both encode, and both get the same bytes.
    """

    __slots__ = ("lines", "size", "encoded", "_view", "_events", "_output", "_held")

    def __init__(self, view: View, events: Sequence[Event], output: Output | None = None) -> None:
        """``output`` counts the bytes until no queue holds the parcel any more."""
        lines = size = 0
        for event in events:
            lines += event.lines
            size += event.size
        self.lines = lines
        self.size = size
        self.encoded: bytes | None = None  # ``data``, once a thread has read that; set as a whole
        self._view = view
        self._events: Sequence[Event] | None = events
        self._output = output
        self._held = Held(size, output.note) if output else None

    @property
    def data(self) -> bytes:
        events = self._events
        if events is not None:
            data = self._view.encode(events)
            if self._output and (self.size > ROUGH or len(data) > ROUGH):
                self._held = Held(len(data), self._output.note)  # in place of the one with the estimated size
            self.encoded = data
            self._events = None
        assert self.encoded is not None
        return self.encoded
