"""Removing one message: who may do it, what is left of it, and how pages that are being read leave it out.

The number, the time and the sender of the message stay, so the numbers of its room still have no gap. Its text goes: in
the history's files (see ``retention``), in the index, and in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from . import ordered
from .errors import NotAllowed, Told, Unreadable
from .events import Message
from .governance import Governance, Somebody
from .refusals import NamesakesMessage
from .rules import fold

WITHIN = 86_400_000  # milliseconds in which people may remove what they have said
LATELY = 10_000  # removals that are remembered for pages that are being read


class UnknownMessage(Told):
    """The room has no message with that number, or it was deleted because it was too old."""

    code = "unknown_message"

    def __init__(self, room: str, number: int) -> None:
        super().__init__(f"{room} has no message {number}.")
        self.room, self.number = room, number


class RemovedAlready(UnknownMessage):
    """Somebody was faster."""

    def __init__(self, room: str, number: int) -> None:
        Told.__init__(self, f"Message {number} of {room} has been removed already.")
        self.room, self.number = room, number


class OthersMessage(NotAllowed):
    """A person may remove only their own messages, except for the owner and the operators of the room."""

    def __init__(self, room: str, number: int, sender: str, rulers: str) -> None:
        """``rulers``: who they are (see Governance)."""
        who = f"{sender}{',' if ' and ' in rulers else ' and'} {rulers}"
        super().__init__(f"Message {number} of {room} is from {sender}. Only {who} can remove it.")
        self.room, self.number = room, number


class OldMessage(NotAllowed):
    """The message is the person's own, but it was said more than WITHIN ago."""

    def __init__(self, room: str, number: int) -> None:
        super().__init__(f"Message {number} of {room} is older than a day, so you cannot remove it any more.")
        self.room, self.number = room, number


def check(message: Message | None, item: ordered.Redacted, person: Somebody, rules: Governance, at: int) -> Message:
    """The message, which the person may remove at the time ``at`` in a room with these rules; otherwise raise Banned,
    Muted, UnknownMessage, RemovedAlready or NotAllowed."""
    if ban := rules.banned(person, at):
        raise ban.ban(item.room, at, person)
    if message is None:
        raise UnknownMessage(item.room, item.number)
    own = item.who and message.who == item.who
    if not own and (muted := rules.governing(item.room, person, at)):
        raise muted
    if not rules.rank(person):
        if not own:
            if fold(message.sender) == fold(person.name):
                raise NamesakesMessage(item.room, item.number, message.sender)
            raise OthersMessage(item.room, item.number, message.sender, rules.rulers(item.room))
        if at - message.at > WITHIN:
            raise OldMessage(item.room, item.number)
    if message.kind == "removed":
        raise RemovedAlready(item.room, item.number)
    return message


def removed(message: Message) -> Message:
    """What is left of a message."""
    return replace(message, kind="removed", text="", lines=1)


class Lately:
    """The messages that were removed last. The Publisher's lock guards it; any thread may read ``count`` without it.

    A page of messages is read without a lock, and may be shown after one of them was removed. So whoever reads a page
    notes ``count`` before, and shows what ``without`` leaves of the page.
    """

    def __init__(self) -> None:
        self.count = 0  # of all removals so far
        self._last: deque[tuple[int, int]] = deque(maxlen=LATELY)  # each a room's id and a number

    def add(self, room: int, number: int) -> None:
        self._last.append((room, number))
        self.count += 1

    def without(self, messages: Sequence[Message], count: int) -> tuple[Message, ...]:
        """The messages, which were read when there had been ``count`` removals, without the texts that were removed
        meanwhile. Raise Unreadable if these are too many."""
        new = self.count - count
        if new > LATELY:
            raise Unreadable("too many messages were removed meanwhile")
        gone = set(islice(self._last, len(self._last) - new, None)) if new else ()
        return tuple(removed(each) if (each.room_id, each.number) in gone else each for each in messages)
