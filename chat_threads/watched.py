"""The history and the writers, with what --lab adds to them.

Subclasses, so that the classes that they are made from do no more work for it, and read no worse.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from . import inside
from .history import History
from .lab import Faults
from .messages import Ordered, Parcel
from .session import Session
from .writers import SLICE, Crew, OnePerSession, Writers


class WatchedHistory(History):
    """The history thread, which can be paused."""

    def __init__(self, *args: Any, faults: Faults, **more: Any) -> None:
        super().__init__(*args, **more)
        self._faults = faults

    def _handle(self, items: list[Ordered]) -> None:
        self._faults.hold_history()
        super()._handle(items)


class _Watched(Writers):
    """Writers to whom a session can be made to look slow: its socket seems full, so that a thread of its own sends
    to it, and that one waits before each send."""

    def __init__(self, *args: Any, faults: Faults, **more: Any) -> None:
        super().__init__(*args, **more)
        self._faults = faults
        self._never = threading.Event()

    def _send(self, session: Session, parcels: list[Parcel]) -> memoryview | None:
        if self._faults.delay(session.number):
            data = b"".join([parcel.data for parcel in parcels])
            return memoryview(data) if data else None
        return super()._send(session, parcels)

    def _send_all(self, session: Session, rest: memoryview) -> bool:
        until = time.monotonic() + self._faults.delay(session.number)
        if self._faults.delay(session.number):
            inside.does("is slowed down by /lab")
        while (left := until - time.monotonic()) > 0 and self._faults.delay(session.number):
            if session.mailbox.cut:
                break
            self._never.wait(min(left, SLICE))
        return super()._send_all(session, rest)


class WatchedCrew(_Watched, Crew):
    """The crew of writers, watched."""


class WatchedOnePerSession(_Watched, OnePerSession):
    """A writer for each session, watched."""
