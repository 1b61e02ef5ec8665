"""Commands about rooms: going there and leaving, making and deleting them, and what they are about. See commands."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import SpacedRoom
from .rules import is_room
from .usage import Command, command

# Words with which a name begins or ends, so that what is typed as a room and a topic may be one name with spaces.
_BEGIN = frozenset("a an another her his just my new our that the their this your".split())
_END = frozenset("channel chat class club corner course group lab project room team".split())


@command("/join #room", "go to a room; make it if needed", "join", aliases=("/j",), cost=2)  # and pace.PAGE per page
@dataclass(frozen=True, slots=True)
class Join(Command):
    """Go to a room and see its newest messages, or all messages after number ``since``."""

    room: str
    since: int | None = None


@command("/leave [#room]", "leave a room, or the current one", "leave", aliases=("/part",))
@dataclass(frozen=True, slots=True)
class Leave(Command):
    room: str | None = None


@command(
    "/create #room [topic]",
    "make a new room and go there",
    "create",
    more="It is an error if the room exists. The person who made a room can /delete it; see /help delete.",
    cost=3,
)
@dataclass(frozen=True, slots=True)
class Create(Command):
    room: str
    topic: str = ""

    @classmethod
    def typed(cls, rest: str) -> Command | None:
        """Raises SpacedRoom if a room and its topic look like the two halves of a name, as in ``#my room``. A topic
        that is only a dash is none, as for Topic."""
        room, _, topic = rest.partition(" ")
        words = topic.lower().split()
        begins = room[1:].lower() in _BEGIN and len(words) <= 2
        halves = begins or (len(words) == 1 and (words[0] in _END or words[0].isdigit()))
        if words and halves and is_room(near := "_".join(rest.split())):
            raise SpacedRoom(room, near)
        return cls(room, "" if words == ["-"] else topic.strip()) if room else None


@command(
    "/delete #room [yes]",
    "delete your room and its history",
    "delete",
    more="Without yes, it only says how many messages would be deleted. For the server's operators, and for the"
    " person who made the room: on the same connection, or after /login or /resume TOKEN. Members who are in"
    " no other room move to #lobby.",
    cost=3,
)
@dataclass(frozen=True, slots=True)
class Delete(Command):
    """Delete a room with its history; with ``ask`` only say how many messages it has, and how to confirm."""

    room: str
    ask: bool = False

    @classmethod
    def typed(cls, rest: str) -> Command | None:
        room, *more = rest.split() or [""]
        return cls(room, ask=not more) if room and [*map(str.lower, more)] in ([], ["yes"]) else None


@command("/rooms", "list the rooms", "rooms", aliases=("/list",), cost=10)  # it compares all rooms, maybe 10,000
@dataclass(frozen=True, slots=True)
class ListRooms(Command):
    pass


@command("/who [#room]", "list who is here, or in a room", "who", aliases=("/names", "/users"), cost=3)
@dataclass(frozen=True, slots=True)
class Who(Command):
    room: str | None = None


@command(
    "/topic [#room] [text]",
    "show or set what a room is about",
    "topic",
    more="/topic - removes the topic.",
    cost=2,
)
@dataclass(frozen=True, slots=True)
class Topic(Command):
    """Show the topic (``text`` is None) or set it."""

    room: str | None = None
    text: str | None = None


@command(
    "/invite NAME [#room]",
    "invite somebody to a room",
    "invite",
    more="To an invite-only room, only its operators invite. /uninvite takes an invitation back, and /room lists who is"
    " invited.",
)
@dataclass(frozen=True, slots=True)
class Invite(Command):
    name: str
    room: str | None = None
