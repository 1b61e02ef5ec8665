"""The outbox: what the Publisher notes down while it holds its lock.

There are two lists in it: the events to deliver under the lock, and the sessions to look after once it is released. The
thread that holds the Publisher's lock makes an outbox, and no other thread sees it.
"""

from __future__ import annotations

from collections import defaultdict

from . import events, ordered
from .chatroom import Subscriber
from .memory import Output
from .parcel import Parcel, View


class Outbox:
    """The events to deliver under the lock, and the actions to take after the lock is released."""

    __slots__ = ("_output", "waiting", "mixed", "ready", "size")

    def __init__(self, output: Output) -> None:
        self._output = output
        # To be delivered, by room, in order. ``add`` adds to it, and dispatch_messages adds messages.
        self.waiting: defaultdict[int, list[events.Event | ordered.Joined]] = defaultdict(list)
        self.mixed: set[int] = set()  # rooms for which more than messages waits
        self.ready: list[Subscriber] = []  # for whom ``push`` returned True: to be scheduled; some to be cut off first
        self.size = 0  # bytes that ``put`` has queued; most parcels of _deliver are not counted

    def add(self, room_id: int, event: events.Event | ordered.Joined) -> None:
        """Have an event delivered to the room's members, after those that wait."""
        self.waiting[room_id].append(event)
        self.mixed.add(room_id)

    def show(self, session: Subscriber, *shown: events.Event) -> None:
        """Queue events for one session only."""
        self.put(session, Parcel(session.views.own, shown, self._output))

    def tell(self, told: ordered.Told) -> None:
        """Queue events, each for the sessions that stand with it. Those that have the same view share its bytes."""
        for sessions, event in told:
            parcels: dict[View, Parcel] = {}
            for session in sessions:
                view = session.views.own
                if view not in parcels:
                    parcels[view] = Parcel(view, (event,), self._output)
                self.put(session, parcels[view])

    def put(self, session: Subscriber, parcel: Parcel) -> None:
        """Queue a parcel, which other sessions may share."""
        self.size += parcel.size
        if session.mailbox.push(parcel):
            self.ready.append(session)
