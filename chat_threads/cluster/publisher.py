"""The Publisher of a server in a cluster: rooms are made, and entered by people of other servers, as the log says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .. import events, ordered
from ..chatroom import ChatRoom, Place, Subscriber
from ..outbox import Outbox
from ..parcel import Parcel, View
from ..publisher import Publisher
from ..rules import fold
from .errors import Unreached
from .ledger import Ledger
from .members import NOWHERE, RemotePerson
from .values import RoomUnused


class ClusterPublisher(Publisher):
    """``settle`` waits for everything that was submitted before. ``carry`` is for the history thread: it puts a value
    into the next row of the log."""

    def __init__(
        self, *args: Any, settle: Callable[[], bool], carry: Callable[[ordered.Ordered], None], **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self._settle = settle
        self._carry = carry

    def populate(self, ledger: Ledger, person_of: Callable[[tuple[int, int]], RemotePerson]) -> None:
        """Put the people of other servers into their rooms. Called once, before any session exists."""
        with self._lock:
            for at, each in ledger.people.items():
                for room_id in each.rooms:
                    self._put(person_of(at), room_id)

    def _put(self, person: Any, room_id: int) -> int:
        assert self._lock.locked()
        room = self._rooms.get(room_id)
        place = self._places.setdefault(person, Place())
        if room is None or room_id in place.rooms:
            return 0
        place.rooms[room_id] = room
        return room.add(person, person.views.elsewhere)

    def create_chat_room(
        self, name: str, creator: str, topic: str = "", origin: Subscriber | None = None, ref: str = ""
    ) -> ChatRoom:
        """As in the Publisher, but the log decides. Waits for it."""
        room = ChatRoom(0, name, fold(name), creator, topic, owner=origin.identity if origin else 0)
        with self._lock:
            self._submit_room(room, origin, None, ref)
        if origin is None:  # before anybody is let in
            return room
        self._settle()
        with self._lock:
            found = self._register.by_key.get(room.key)
            if found is not None and found.owner == room.owner and not found.address:
                found.address = room.address  # it counts for its maker until it is dropped
                self._register.quota.give_back(room.owner, "")  # it was counted twice: here, and when the log had it
                return found
            self._register.unclaim(room)
        if found is None:
            raise Unreached("done")
        raise found.exists(name, origin)

    def _joined(self, item: ordered.Joined, outbox: Outbox) -> None:
        if isinstance(item.session, RemotePerson):
            change = self._put(item.session, item.room_id)
            if not change:
                return
            item = ordered.Joined(item.room_id, item.session, item.name, change)
        super()._joined(item, outbox)

    def _change(self, item: Any, outbox: Outbox) -> None:
        if isinstance(item, RoomUnused):
            if room := self._rooms.get(item.room_id):
                if room.members:  # somebody has entered it whose join is still on its way into the log
                    self._end_room(ordered.RoomEnded(room.id, "", None), outbox)
                else:
                    self._drop(room)
        elif isinstance(item, ordered.RoomMade):
            room = ChatRoom(item.room_id, item.room, item.key, item.creator, item.topic, owner=item.owner)
            self._register.restore(room)
        else:
            super()._change(item, outbox)

    def _tells_of_joins(self, room: ChatRoom) -> bool:
        """The other servers have to know of all."""
        return True

    def _move(self, session: Any, place: Place, lobby: ChatRoom, outbox: Outbox) -> Sequence[events.Event]:
        """People of other servers come when the log says so."""
        return () if isinstance(session, RemotePerson) else super()._move(session, place, lobby, outbox)

    def _tell_of(self, joined: ordered.Joined, outbox: Outbox) -> None:
        self._carry(joined)

    def _govern(self, item: ordered.RoomGoverned, outbox: Outbox) -> None:
        """As in the Publisher. The log is told who of this server had to leave."""
        room = self._rooms.get(item.room_id)
        before = [each for each in room.members if not isinstance(each, RemotePerson)] if room else []
        super()._govern(item, outbox)
        for session in before:
            if room and session not in room.members:
                self._carry(ordered.Left(item.room_id, session))

    def _address(
        self, view: View, shown: Sequence[events.Event], members: Iterable[Subscriber]
    ) -> tuple[Parcel, Iterable[Subscriber]]:
        """Nothing is queued for people of other servers."""
        parcel, members = super()._address(view, shown, members)
        return parcel, () if view is NOWHERE else members

    def _drop_unused(self) -> list[int]:
        self._register.left.clear()
        return []
