"""Which rooms there are, and which of them may be made and have to go."""

from __future__ import annotations

from collections.abc import Iterable

from . import errors
from .chatroom import ChatRoom, Subscriber
from .quota import Quota
from .refusals import LooksHidden

LOBBY = "#lobby"
ROOMS = 10_000  # rooms in all


class Register:
    """The rooms, by number, by name, and by what their names look like. The Publisher calls it, always under its
    lock."""

    def __init__(self) -> None:
        self.by_id: dict[int, ChatRoom] = {}
        self.by_key: dict[str, ChatRoom] = {}
        self._by_look: dict[str, ChatRoom] = {}
        self.quota = Quota()
        self.left: dict[int, ChatRoom] = {}  # rooms found without members since the last ``drop_unused``
        self.next_id = 1
        self.nearly_full = False  # more than nine tenths of ROOMS

    def claim(self, room: ChatRoom, maker: Subscriber | None) -> None:
        """Count a room for its owner, before it is added. Raise RoomExists, also if a room looks like it; or
        TooManyRooms."""
        if found := self.by_key.get(room.key):
            raise found.exists(room.name, maker)
        for look in room.looks:
            if other := self._by_look.get(look):
                raise errors.LooksLikeRoom(room.name, other.name) if other.is_listed(maker) else LooksHidden(room.name)
        if len(self.by_id) >= ROOMS:
            raise errors.ServerHasTooManyRooms(ROOMS)
        room.address = maker.address if maker else ""
        self.quota.take(room.owner, room.address)

    def unclaim(self, room: ChatRoom) -> None:
        """The room is not added after all, or is gone."""
        self.quota.give_back(room.owner, room.address)

    def restore(self, room: ChatRoom) -> None:
        """Count and add a room from the history."""
        self.quota.restore(room.owner)
        self.add(room)

    def add(self, room: ChatRoom) -> None:
        self.by_id[room.id] = self.by_key[room.key] = room
        self._by_look.update(dict.fromkeys(room.looks, room))
        self._count()

    def drop(self, room: ChatRoom) -> None:
        """Nobody can find the room from now on."""
        del self.by_id[room.id]
        del self.by_key[room.key]
        for look in room.looks:
            if self._by_look.get(look) is room:
                del self._by_look[look]
        self.unclaim(room)
        self._count()

    def _count(self) -> None:
        self.nearly_full = len(self.by_id) > ROOMS * 9 // 10

    def drop_unused(self, people: Iterable[Subscriber]) -> list[ChatRoom]:
        """Drop the rooms that everybody has left and in which there is nothing to keep. If it is nearly full, drop some
        in which nothing was said, too: first those whose makers are not among ``people``."""
        left = [room for room in self.left.values() if not (room.members or room.is_kept or room.name == LOBBY)]
        unused = [room for room in left if room.id in self.by_id]
        self.left.clear()
        for room in unused:
            self.drop(room)
        if self.nearly_full:
            others = (room for room in self.by_id.values() if room.name != LOBBY)
            for room in self.quota.surplus(others, ROOMS * 9 // 10 - 1, people):
                room.address = ""  # its creator's address may not at once make another one instead
                self.drop(room)
                unused.append(room)
        return unused
