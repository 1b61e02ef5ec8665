"""Commands: what a client asks for, whatever its dialect. ``service`` has the table of what each does.

All are frozen, so any thread may read them without a lock. Rooms are written with their ``#``.
"""

from __future__ import annotations

from dataclasses import dataclass

from .events import Kind


class Command:
    """Asked for by one client, obeyed by its reader thread."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Hello(Command):
    """The handshake: a name, and the room to begin in; or a token that was handed out before, and in ``since`` the
    rooms to come back to, each with the number of the last message that was seen there."""

    name: str = ""
    room: str | None = None
    token: str = ""
    since: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Say(Command):
    """Say ``text`` in ``room``, or in the current room."""

    text: str
    kind: Kind = "say"
    room: str | None = None


@dataclass(frozen=True, slots=True)
class Private(Command):
    to: str
    text: str


@dataclass(frozen=True, slots=True)
class Reply(Command):
    text: str


@dataclass(frozen=True, slots=True)
class Join(Command):
    """Go to a room, and be shown its newest messages, or all that came after number ``since``."""

    room: str
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Leave(Command):
    room: str | None = None


@dataclass(frozen=True, slots=True)
class Create(Command):
    room: str
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Delete(Command):
    """Delete a room with its history; with ``ask`` only say how much that would be, and how it is done."""

    room: str
    ask: bool = False


@dataclass(frozen=True, slots=True)
class ListRooms(Command):
    pass


@dataclass(frozen=True, slots=True)
class Who(Command):
    room: str | None = None


@dataclass(frozen=True, slots=True)
class Topic(Command):
    """Show the topic (``text`` is None) or set it."""

    room: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Invite(Command):
    name: str
    room: str | None = None


@dataclass(frozen=True, slots=True)
class Nick(Command):
    name: str


@dataclass(frozen=True, slots=True)
class ShowToken(Command):
    pass


@dataclass(frozen=True, slots=True)
class Resume(Command):
    """Take the place of whoever was given this token."""

    token: str


@dataclass(frozen=True, slots=True)
class Whois(Command):
    name: str


@dataclass(frozen=True, slots=True)
class Away(Command):
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Back(Command):
    pass


@dataclass(frozen=True, slots=True)
class Ignore(Command):
    name: str


@dataclass(frozen=True, slots=True)
class Unignore(Command):
    name: str


@dataclass(frozen=True, slots=True)
class ReadHistory(Command):
    """A page of a room's history: the newest ``count``, or those next to a number, or since a while ago."""

    room: str | None = None
    count: int | None = None
    before: int | None = None
    after: int | None = None
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Search(Command):
    words: str
    room: str | None = None
    sender: str | None = None


@dataclass(frozen=True, slots=True)
class SetOption(Command):
    """Change what this session is shown; without a name, show the settings."""

    name: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Stats(Command):
    pass


@dataclass(frozen=True, slots=True)
class ShowThreads(Command):
    pass


@dataclass(frozen=True, slots=True)
class ShowLocks(Command):
    pass


@dataclass(frozen=True, slots=True)
class ShowTrip(Command):
    """The trip of a message of the current room, by its number."""

    number: int


@dataclass(frozen=True, slots=True)
class MakeFault(Command):
    """A fault to look at: "slow" a person's sends by ``amount`` milliseconds, or "pause" the publisher or the
    history for so many seconds."""

    fault: str
    target: str
    amount: int


@dataclass(frozen=True, slots=True)
class Ping(Command):
    pass


@dataclass(frozen=True, slots=True)
class AreYouThere(Command):
    """Telnet's AYT (RFC 854)."""


@dataclass(frozen=True, slots=True)
class Quit(Command):
    words: str = ""


@dataclass(frozen=True, slots=True)
class Help(Command):
    """Help on one command, or the list; the dialect knows its own."""

    about: str | None = None
