"""The rooms and the people that a user has seen, for the bottom line and for completion."""

from __future__ import annotations

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
        self.names: dict[str, None] = {}  # people that were seen, the latest last
        self.rooms: dict[str, None] = {}  # rooms that were seen, likewise
        self.useless = frozenset(("/edit",))  # commands that do not work here: /edit is for telnet alone

    def note(self, event: events.Event, name: str) -> None:
        """Keep what the event tells. ``name``: the user's own."""
        if isinstance(event, events.Entered):
            self.people[fold(event.room)] = event.count + 1
            self._meet(name, *event.others)
        elif isinstance(event, events.Presence) and fold(event.room) in self.people:
            self.people[fold(event.room)] += len(event.names) * (1 if event.kind == "joined" else -1)
            self._meet(name, *event.names)
        elif isinstance(event, events.Renamed):
            self.names.pop(event.old, None)
            self._meet(name, event.new)
        elif isinstance(event, events.PeopleList):
            if event.room and fold(event.room) in self.people:
                self.people[fold(event.room)] = len(event.people) + event.more
            self._meet(name, *(row.name for row in event.people))
        elif isinstance(event, events.Message):
            self._meet(name, event.sender)
        elif isinstance(event, (events.Departed, events.RoomDeleted)):
            self.people.pop(fold(event.room), None)
            self.room = event.current if isinstance(event, events.Departed) else event.now_in
        elif isinstance(event, events.RoomList):
            _see(self.rooms, *(row.room for row in event.rooms))
        elif isinstance(event, Other) and event.type == "help":
            works = event.fields.get("requests", ())
            named = (kind.row for kind in commands.TYPED if kind.row.type and kind.row.type not in works)
            self.useless = frozenset(("/edit", *(row.name for row in named)))
        if isinstance(event, (events.Entered, events.Current)):
            self.room = event.room
            _see(self.rooms, event.room)

    def _meet(self, own: str, *names: str) -> None:
        _see(self.names, *(name for name in names if name != own))


def _see(known: dict[str, None], *words: str) -> None:
    for word in words:
        known.pop(word, None)
        known[word] = None
    while len(known) > MAX_KNOWN:
        del known[next(iter(known))]
