"""Watched versions of the parts that messages pass through, for --lab and --trace.

They are subclasses, so that the plain classes do no extra work and stay easy to read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from . import inside
from .batch import Batch
from .chatroom import Subscriber
from .events import Event
from .history import History
from .lab import Faults
from .mailbox import Life
from .numbering import Numbering
from .ordered import Draft, Ordered
from .parcel import Parcel, View
from .publisher import Publisher
from .session import Session
from .storage import Storage
from .trace import Recorder, TracedParcel, Trip
from .writers import SLICE, Crew, OnePerSession, Unsent, Writers


class WatchedStorage(Storage):
    """Reports each commit to the recorder."""

    def __init__(self, *args: Any, recorder: Recorder) -> None:
        self._recorder = recorder
        super().__init__(*args)

    def commit(self, batch: Batch) -> None:
        began = time.monotonic()
        super().commit(batch)
        self._recorder.committed(batch.messages, began, time.monotonic())


class WatchedHistory(History):
    """Reports to the recorder what is submitted and taken. Can be paused."""

    def __init__(self, *args: Any, recorder: Recorder, faults: Faults, **more: Any) -> None:
        super().__init__(*args, **more)
        self._recorder = recorder
        self._faults = faults

    def submit(self, item: Ordered) -> None:
        if not isinstance(item, Draft):
            super().submit(item)
            return
        trip = self._recorder.submitting(item, item.origin.heard)
        try:
            super().submit(item)
        except BaseException:
            self._recorder.not_submitted(item)
            raise
        trip.queued = time.monotonic()

    def _handle(self, items: Sequence[Ordered | None], numbered: Numbering | None = None) -> Batch | None:
        self._recorder.taken(items)
        self._faults.hold_history()
        committed = super()._handle(items, numbered)
        self._recorder.taken(())  # hold no reference to finished drafts
        return committed


class WatchedPublisher(Publisher):
    """Reports to the recorder to which members a message is queued."""

    def __init__(self, *args: Any, recorder: Recorder, **more: Any) -> None:
        super().__init__(*args, **more)
        self._recorder = recorder

    def _address(
        self, view: View, events: Sequence[Event], members: Iterable[Subscriber]
    ) -> tuple[Parcel, Iterable[Subscriber]]:
        trips = self._recorder.trips_of(events)
        if not trips:
            return super()._address(view, events, members)
        now = time.monotonic()
        for trip in trips:
            trip.published = trip.published or now
        return TracedParcel(view, events, self._output, trips), _noted(members, trips)


def _noted(members: Iterable[Subscriber], trips: Sequence[Trip]) -> Iterator[Subscriber]:
    """Yield the members, and note each in the trips just before its parcel is queued."""
    for member in members:
        session = cast(Session, member)
        now = time.monotonic()
        for trip in trips:
            trip.goes_to(session.number, session.name, now)
        yield member


class _Watched(Writers):
    """Writers that report to the recorder what they send.

    They can make a session slow: they treat its socket as full, so the session gets a thread of its own, which waits
    before each send.
    """

    def __init__(self, *args: Any, recorder: Recorder, faults: Faults) -> None:
        super().__init__(*args)
        self._recorder = recorder
        self._faults = faults
        self._never = threading.Event()

    def _send(self, session: Session, parcels: list[Parcel], sealed: bytes = b"") -> Unsent | None:
        if not parcels:
            return super()._send(session, parcels)
        began = time.monotonic()
        rest: Unsent | None = None
        if self._faults.delay(session.number) and (data := b"".join([parcel.data for parcel in parcels])):
            session.wire.sent += len(sealed)
            rest = self._leave(session, parcels, data, b"" if sealed else data)
        else:
            rest = super()._send(session, parcels, sealed)
        self._recorder.sent(session.number, session.name, parcels, began, rest is None)
        return rest

    def _send_all(self, session: Session, rest: Unsent) -> bool:
        until = time.monotonic() + self._faults.delay(session.number)
        if self._faults.delay(session.number):
            inside.does("is slowed down by /lab")
        while (left := until - time.monotonic()) > 0 and self._faults.delay(session.number):
            if session.mailbox.life is Life.CUT:
                break
            self._never.wait(min(left, SLICE))
        began = time.monotonic()
        sent = super()._send_all(session, rest)
        if sent:
            self._recorder.rest_sent(session.number, session.name, began)
        else:
            self._recorder.given_up(session.number)
        return sent


class WatchedCrew(_Watched, Crew):
    """The crew of writers, watched."""


class WatchedOnePerSession(_Watched, OnePerSession):
    """A writer for each session, watched."""
