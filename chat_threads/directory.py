"""What the Publisher knows of its rooms and of who is in them, for others to look up.

Any thread may call any method. Those that take the Publisher's lock return what was true at that moment.
"""

from __future__ import annotations

from heapq import nsmallest
from itertools import islice
from typing import Any

from . import errors, events
from .chatroom import ChatRoom, Place, Subscriber
from .refusals import InviteOnly
from .register import ROOMS, Register
from .rules import LIKELY, fold, nearest


class Directory:
    """The part of the Publisher that changes nothing. The Publisher makes and changes these attributes."""

    _lock: Any
    _register: Register
    _rooms: dict[int, ChatRoom]
    _places: dict[Subscriber, Place]

    def get(self, name: str) -> ChatRoom | None:
        """The room with this name, in upper or lower case, or None."""
        with self._lock:
            return self._register.by_key.get(fold(name))

    def peek(self, room_id: int) -> ChatRoom | None:
        """The room with this id, or None. Takes no lock, so it answers while another thread holds the lock."""
        return self._rooms.get(room_id)

    def __len__(self) -> int:
        """How many rooms there are. Takes no lock, so that /stats is answered while a thread holds it."""
        return len(self._rooms)

    def list_chat_rooms(self, most: int = ROOMS, viewer: Subscriber | None = None) -> list[events.RoomRow]:
        """At most ``most`` of the rooms that are listed for ``viewer``, the fullest first."""
        with self._lock:
            rooms = list(self._rooms.values())
        rooms = [room for room in rooms if not room.governance or room.is_listed(viewer)]
        # Sorted without the lock, because thousands of rooms take milliseconds. Each number is read as a whole.
        rooms = nsmallest(most, rooms, key=lambda room: (-len(room.members), -room.last, room.key))
        with self._lock:
            return [events.RoomRow(room.name, len(room.members), room.last, room.topic) for room in rooms]

    def find(self, name: str, viewer: Subscriber | None = None) -> ChatRoom:
        """The room with this name, in upper or lower case, for the session ``viewer``; None: for the server itself.

        Raise UnknownRoom, also if the room is invite-only and the viewer is not invited. If the viewer may not read in
        the room for another reason, raise that. The error suggests no room that is not listed for the viewer.
        """
        with self._lock:
            room = self._register.by_key.get(fold(name))
            others = list(islice(self._rooms.values(), LIKELY))
        refusal = None if room is None or viewer is None or room.may_read(viewer) else room.refusal(viewer)
        if room is None or isinstance(refusal, InviteOnly):
            names = [each.name for each in others if each is not room and each.is_listed(viewer)]
            raise errors.UnknownRoom(name, nearest(name, names))
        if refusal:
            raise refusal
        return room

    def hidden(self, viewer: Subscriber) -> tuple[int, ...]:
        """The ids of the rooms that are not listed for this session, those with the most messages first."""
        with self._lock:
            rooms = list(self._rooms.values())
        hidden = [room for room in rooms if room.governance and not room.is_listed(viewer)]
        return tuple(room.id for room in sorted(hidden, key=lambda room: -room.last))

    def topic(self, room: ChatRoom) -> str:
        with self._lock:
            return room.topic

    def last(self, room: ChatRoom) -> int:
        """The number of the room's newest published message, or 0."""
        with self._lock:
            return room.last

    def member_of(self, session: Subscriber, name: str) -> ChatRoom:
        """The room with this name, if the session is in it. Raise NotInRoom, or as ``find`` does."""
        room = self.find(name, session)
        with self._lock:
            place = self._places.get(session)
            if place is None or room.id not in place.rooms:
                raise errors.NotInRoom(room.name)
        return room

    def peek_current(self, session: Subscriber) -> ChatRoom | None:
        """The session's current room, or None. Takes no lock, so it answers while another thread holds the lock."""
        place = self._places.get(session)
        return place.current if place else None

    def check_place(self, session: Subscriber) -> None:
        """Raise TooManyRooms if the session may not enter another room."""
        with self._lock:
            if place := self._places.get(session):
                place.check()

    def rooms_of(self, session: Subscriber, viewer: Subscriber | None = None) -> tuple[str, ...]:
        """The names of the session's rooms: those that are listed for ``viewer``, or all."""
        with self._lock:
            place = self._places.get(session)
            rooms = list(place.rooms.values()) if place else []
        return tuple(room.name for room in rooms if room.is_listed(viewer))

    def seen(self, session: Subscriber) -> list[tuple[int, str, int, int]]:
        """The session's rooms, each with its id, its name, its newest number, and when that was said, in ms since 1970,
        or 0 if that is not in memory. The current one is the last."""
        with self._lock:
            place = self._places.get(session) or Place()
            rooms = place.in_order()
            return [(each.id, each.name, each.last, each.recent[-1].at if each.recent else 0) for each in rooms]

    def recent(self, name: str) -> tuple[events.Message, ...]:
        """The room's newest messages that are in memory, without a hole."""
        room = self.get(name)
        with self._lock:
            return tuple(room.recent) if room else ()

    def beginning(self, start: str, most: int, viewer: Subscriber | None = None) -> list[str]:
        """The names of at most ``most`` rooms that begin with ``start``, which is in the form of ``rules.fold``, and
        are listed for ``viewer``."""
        with self._lock:
            rooms = [room for key, room in self._register.by_key.items() if key.startswith(start)]
        return list(islice((room.name for room in rooms if room.is_listed(viewer)), most))

    def names(self, room: ChatRoom) -> list[str]:
        """The names of the room's members, those who spoke last first."""
        with self._lock:
            return room.names()

    def members(self, room: ChatRoom) -> list[Subscriber]:
        with self._lock:
            return list(room.members)
