"""The rooms and the people that a user has seen, for the bottom line and for completion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import commands, events
from ..rules import fold
from .decoding import Other

MAX_KNOWN = 1000  # names, and rooms


class Surroundings:
    """Where the user is, and who and what else there is. The thread in ``Talk.listen`` calls ``note``; any thread may
    read the attributes, and copies a dictionary before it goes through it."""

    def __init__(self) -> None:
        self.room: str | None = None  # the current one
        self.people: dict[str, int] = {}  # how many people are in each of the user's rooms, by folded name
        self.names: dict[str, set[str]] = {}  # people that were seen, the latest last, and in which of the user's
        # rooms they are, folded; an empty set: in none of them, as far as is known
        self._last: dict[str, int] = {}  # by folded room: the newest message when the user entered it
        self.rooms: dict[str, None] = {}  # rooms that were seen, likewise
        self.useless = frozenset(("/edit",))  # commands that do not work here: /edit is for telnet alone

    def note(self, event: events.Event, name: str) -> None:
        """Keep what the event tells. ``name``: the user's own."""
        if isinstance(event, events.Entered):
            self.people[fold(event.room)] = event.count + 1
            self._last[fold(event.room)] = event.last
            self._forget(fold(event.room))
            self._meet(name, *event.others, rooms=(event.room,))
        elif isinstance(event, events.Presence) and fold(event.room) in self.people:
            self.people[fold(event.room)] += len(event.names) * (1 if event.kind == "joined" else -1)
            if event.kind == "joined":
                self._meet(name, *event.names, rooms=(event.room,))
            else:
                self._leave(fold(event.room), *event.names)
        elif isinstance(event, events.Renamed):
            rooms = self.names.pop(event.old, {fold(self.room or "")})
            self._meet(name, event.new, rooms=rooms)
        elif isinstance(event, events.PeopleList):
            if event.room and fold(event.room) in self.people:
                self.people[fold(event.room)] = len(event.people) + event.more
            for row in event.people:
                self.names.pop(row.name, None)
                self._meet(name, row.name, rooms=row.rooms)
        elif isinstance(event, events.Message):
            if event.number > self._last.get(fold(event.room), 0):  # otherwise its sender may have left
                self._meet(name, event.sender, rooms=(event.room,))
        elif isinstance(event, (events.Departed, events.RoomDeleted)):
            self.people.pop(fold(event.room), None)
            self._last.pop(fold(event.room), None)
            self._forget(fold(event.room))
            self.room = event.current if isinstance(event, events.Departed) else event.now_in
        elif isinstance(event, events.RoomList):
            self._see(*(row.room for row in event.rooms))
        elif isinstance(event, Other) and event.type == "help":
            works = event.fields.get("requests")
            if isinstance(works, list):
                named = (kind.row for kind in commands.TYPED if kind.row.type and kind.row.type not in works)
                self.useless = frozenset(("/edit", *(row.name for row in named)))
        if isinstance(event, (events.Entered, events.Current)):
            self.room = event.room
            self._see(event.room)

    def _meet(self, own: str, *names: str, rooms: Iterable[str]) -> None:
        in_mine = self.people.keys() & map(fold, rooms)
        for name in names:
            if name != own:
                self.names[name] = self.names.pop(name, set()) | in_mine
        _bound(self.names)

    def _leave(self, room: str, *names: str) -> None:
        """These people have left the room. Whoever is in none of the user's rooms now may have left the chat."""
        for name in names:
            self.names.get(name, set()).discard(room)
            if not self.names.get(name):
                self.names.pop(name, None)

    def _forget(self, room: str) -> None:
        """Forget who is in this room."""
        for rooms in self.names.values():
            rooms.discard(room)

    def _see(self, *rooms: str) -> None:
        for room in rooms:
            self.rooms.pop(room, None)
            self.rooms[room] = None
        _bound(self.rooms)


def _bound(known: dict[str, Any]) -> None:
    while len(known) > MAX_KNOWN:
        del known[next(iter(known))]
