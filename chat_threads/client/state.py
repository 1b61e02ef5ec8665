"""What the client remembers, so that it can return to its place after a lost connection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..events import Current, Departed, Entered, Event, Message, Notice, Restored, RoomDeleted, TokenShown, Welcome
from ..rules import fold
from .decoding import Fields
from .requests import Request


@dataclass(slots=True)
class _Place:
    """A room that the client is in, and the number of the last message that the program got."""

    room: str
    number: int
    last: int = 0  # the room's newest number, as long as ``number`` is 0 because nobody knows which messages come


class State:
    """The client's name and token, its rooms with the last number seen in each, and the settings that last as long as
    a connection.

    It has no lock: the thread that calls a method or reads an attribute holds ``Link._changed``.
    """

    def __init__(self, name: str, first_room: str | None, replay: int, place: bool = False, password: str = "") -> None:
        self.name = name
        self._account, self._password = name, password  # of the account; "": none is known
        self._place = place
        # Whether the rooms that are entered now are those that the server has kept for the person
        self._returning = place and password != ""
        self.token = ""
        self.welcome = Welcome(name)
        self._first_room = first_room
        self._nowhere = False  # whether it has left its last room
        self.replay = replay  # earlier messages that are asked for on entering a room
        self.places: dict[str, _Place] = {}  # by folded name; the current room is the last one
        self._standing: dict[tuple[str, str], Fields] = {}  # requests to repeat on the next connection

    @property
    def room(self) -> str | None:
        """The current room."""
        return self.places[next(reversed(self.places))].room if self.places else None

    def hello(self) -> Fields:
        """The handshake: with the token if there is one, else the name, and the rooms where the client was."""
        hello: Fields = {"type": "hello", "replay": self.replay}
        if self._place:
            hello["place"] = True
        if self.token:
            hello["token"] = self.token
        elif self._password:
            hello |= {"name": self._account, "password": self._password}
        else:
            hello["name"] = self.name
        if self.places:
            hello["since"] = {place.room: place.number or place.last for place in self.places.values()}
        elif self._nowhere and self._place:
            hello["since"] = {}
        elif self._first_room:
            hello["room"] = self._first_room
        return hello

    def welcomed(self, event: Welcome) -> None:
        """The server has accepted the handshake."""
        self.welcome = event
        self.name = event.name
        self.token = event.token

    def standing(self) -> Iterator[tuple[str, Fields]]:
        """The kinds and fields of the requests to repeat on a new connection."""
        return ((kind, fields) for (kind, _), fields in self._standing.items())

    def note(self, event: Event, request: Request | None) -> bool:
        """Remember what a new connection needs; False: the program already got this event."""
        places = self.places
        if request:
            self._returning = request.kind in ("resume", "login")
        if isinstance(event, Message):
            place = places.setdefault(fold(event.room), _Place(event.room, 0))
            if event.number <= place.number:
                return False
            place.number = event.number
        elif isinstance(event, Entered):
            entered = places.pop(fold(event.room), None)
            place = entered or _Place("", event.last + 1)
            if place.number > event.last:  # the client was not in this room, or it is a new room of the same name
                place.number = 0 if self._returning else max(0, event.last - self.replay)
                place.last = event.last if self._returning else 0
            place.room = event.room
            self._nowhere = False
            places[fold(event.room)] = place
        elif isinstance(event, (Departed, RoomDeleted)):
            places.pop(fold(event.room), None)
            self._nowhere = not places
            current = event.current if isinstance(event, Departed) else event.now_in
            self._make_current(current)
        elif isinstance(event, Current):
            self._make_current(event.room)
        elif isinstance(event, TokenShown):
            self.token = event.token
        elif isinstance(event, Restored):
            self.replay = next((int(each[7:]) for each in event.settings if each.startswith("replay ")), self.replay)
        elif isinstance(event, Notice) and request:
            self._note_settings(request.kind, request.fields, event)
        return True

    def _note_settings(self, kind: str, fields: Fields, said: Notice) -> None:
        """The server has done a request whose effect this client has to repeat on its next connection."""
        if kind in ("register", "login"):
            self._account, self._password = said.name, fields["password"]
        elif kind == "password":
            self._password = fields["new"]
        elif kind == "unregister":
            self._password = ""
        if kind in ("nick", "resume", "login"):
            self.name = said.name or fields.get("name", self.name)  # 1.0.0 says the name only in words
            self.token = fields.get("token", self.token)
        elif kind == "ignore" and fields.get("name"):
            # Whoever has that name later may be somebody else. A server that names no person goes by names.
            person = {"person": said.person} if said.person else {}
            self._standing["ignore", said.person or fold(fields["name"])] = {**fields, **person}
        elif kind == "unignore":
            self._standing.pop(("ignore", said.person or fold(fields["name"])), None)
        elif kind == "away":
            self._standing["away", ""] = fields
        elif kind == "back":
            self._standing.pop(("away", ""), None)
        elif kind == "set" and fields.get("option") == "replay":
            self.replay = int(fields["value"])
        elif kind == "set" and fields.get("option"):
            self._standing["set", fields["option"]] = fields

    def _make_current(self, room: str | None) -> None:
        place = self.places.pop(fold(room), None) if room else None
        if place:
            self.places[fold(place.room)] = place
