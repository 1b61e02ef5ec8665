"""A parcel: events in sessions' queues, encoded once for all sessions with the same view."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .events import Event
from .memory import Output


class View(Protocol):
    """A way to show events: a dialect with its options. Immutable, and compared by identity: there is one object for
    each way, and a thousand sessions can share it."""

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
    """Events for all sessions with one view. The first thread that needs the bytes encodes them, once.

    One parcel is put into many queues; writer threads read its ``data``.
    """

    __slots__ = ("lines", "size", "_lock", "_view", "_events", "_data", "_held")

    def __init__(self, view: View, events: Sequence[Event], output: Output | None = None) -> None:
        """``output`` counts the bytes until no queue holds the parcel any more."""
        self.lines = sum(event.lines for event in events)
        self.size = sum(event.size for event in events)
        self._lock = threading.Lock()  # guards _events; only View.encode and Held.resize are called under it
        self._view = view
        self._events: Sequence[Event] | None = events
        self._data: bytes | None = None  # set once, under the lock, and read as a whole
        self._held = output.hold(self.size) if output else None

    @property
    def data(self) -> bytes:
        data = self._data
        return self._encode() if data is None else data

    def _encode(self) -> bytes:
        with self._lock:
            if self._events is not None:
                self._data = self._view.encode(self._events)
                if self._held:
                    self._held.resize(len(self._data))
                self._events = None
            assert self._data is not None
            return self._data
