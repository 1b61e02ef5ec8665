"""The parcel: events as a session's queue holds them, encoded once for everybody who sees them the same way."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .events import Event
from .memory import Output


class View(Protocol):
    """A way of showing events: a dialect with its options. Immutable; compared by identity, so one way of
    showing is one object, and a thousand sessions that are shown the same share it."""

    def encode(self, events: Sequence[Event]) -> bytes:
        """The bytes of these events. Pure: any thread, no waiting, the same bytes every time."""


@dataclass(frozen=True, slots=True)
class Views:
    """How one client is shown what happens: where it is, and in the other rooms that it is in."""

    here: View
    """For its current room, and for all that belongs to no room."""
    elsewhere: View

    def of(self, here: bool) -> View:
        """The view for its current room, or the other one."""
        return self.here if here else self.elsewhere


class Parcel:
    """Events for all sessions that share a view, turned into bytes once, by whoever needs them first.

    One parcel is put into many queues; writer threads ask it for ``data``.
    """

    __slots__ = ("lines", "size", "_lock", "_view", "_events", "_data", "_held")

    def __init__(self, view: View, events: Sequence[Event], output: Output | None = None) -> None:
        """``output`` counts its bytes until no queue has it any more."""
        self.lines = sum(event.lines for event in events)
        self.size = sum(event.size for event in events)
        self._lock = threading.Lock()  # guards _events; only View.encode is called under it
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
