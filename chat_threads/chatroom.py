"""A room: its members, grouped by their views, and its newest messages."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from itertools import islice, takewhile
from sys import getsizeof
from typing import Protocol

from . import events
from .errors import ChatError, CutOff, InTooManyRooms, RoomExists
from .governance import Governance
from .lookalikes import looks
from .paging import Page
from .parcel import Parcel, View, Views
from .redaction import removed
from .refusals import ClosedRoom, NamesakesRoom, NobodysRoom, OthersRoom
from .rules import fold

RECENT = 200  # messages of a room kept in memory for those who enter
RECENT_BYTES = 1 << 26  # bytes of these messages, over all rooms, by default
MESSAGE = 400  # bytes that a message takes in memory besides its text
ROOMS_EACH = 20  # rooms that one session may be in
LOOKED_AT = 1000  # members whose names may complete what somebody types
NAMED = 10  # people named on entering a room; the others are counted


class Mailbox(Protocol):
    @property
    def life(self) -> object: ...
    def push(self, parcel: Parcel) -> bool:
        """Put a parcel without waiting. True: the queue was idle, so tell a writer; or ``life`` is OVERFLOWED."""

    def add(self, parcel: Parcel) -> bool:
        """As ``push``, for a caller that holds the lock of all mailboxes."""


class Subscriber(Protocol):
    """What the Publisher needs of a session."""

    views: Views
    """How the session is shown events. Set under the Publisher's lock; without it before the session is in a room."""
    identity: int
    """The number of its account, or of its token (tokens.token_id). It owns the rooms that the session makes."""
    address: str
    """The address of its client."""
    account: bool
    """Whether it is logged in."""
    operator: bool
    """Whether it is one of the server's operators."""
    sent_out: tuple[str, float] | None
    """The room that was its current one when it had to leave it, and when that was."""

    @property
    def name(self) -> str: ...
    @property
    def mailbox(self) -> Mailbox: ...
    def person(self, rooms: tuple[str, ...]) -> events.PersonRow: ...
    def cut_off(self, error: CutOff) -> None: ...
    def next_page(self) -> bool:
        """Called by the reader: wait until the client may get a page of messages; False if the session is over."""

    def was_shown(self, size: int) -> None:
        """Called by the reader: ``size`` bytes were queued as an answer, and the client has to pay for them."""


class ChatRoom:
    """A room. The Publisher's lock guards everything except id, name, key, looks, creator and owner, which never
    change. Any thread may read ``last``, ``governance``, the number of members, and whether a session is one of them,
    without the lock.
    """

    __slots__ = (
        *("id", "name", "key", "looks", "creator", "owner", "address", "topic", "last"),
        *("recent", "held", "loaded", "members", "groups", "changes", "governance"),
    )

    def __init__(
        self,
        id: int,
        name: str,
        key: str,
        creator: str,
        topic: str = "",
        last: int = 0,
        owner: int = 0,
        governance: Governance | None = None,
    ) -> None:
        self.id = id
        self.name = name
        self.key = key
        self.looks = looks(name)  # the looks that no other room may have
        self.creator = creator  # the creator's name when the room was made; somebody else may have it now
        self.owner = owner  # the number of a token; 0: it belongs to nobody
        self.address = ""  # of the creator; "" if made before the server's start
        self.topic = topic
        self.last = last  # the number of the newest message that was published
        self.recent: deque[events.Message] = deque(maxlen=RECENT)  # ends with number ``last``; Recent changes it
        self.held = 0  # roughly the bytes of ``recent``
        self.loaded = last == 0  # whether ``recent`` has all messages that it may hold
        self.members: dict[Subscriber, int] = {}  # with the number of the change that added each, in that order
        self.groups: dict[View, dict[Subscriber, None]] = {}  # the same members, by view
        self.changes = 0  # of the list of members so far
        self.governance = governance  # None: as any room. Replaced as a whole; any thread reads it

    def names(self) -> list[str]:
        """The names of at most LOOKED_AT members, those who spoke last first."""
        here = {member.name: None for member in islice(self.members, LOOKED_AT)}
        spoke = dict.fromkeys(message.sender for message in reversed(self.recent) if message.sender in here)
        return list(spoke | here)

    def refusal(self, session: Subscriber) -> ChatError | None:
        """Why the session may not enter the room, and so may not read in it; None: it may."""
        governance = self.governance
        return governance.entering(self.name, session, int(time.time() * 1000)) if governance else None

    def may_read(self, session: Subscriber | None) -> bool:
        """Whether the session may read what is said in the room; None may: it is the server itself. Takes no lock.

        This is the one place that decides. Whoever may not enter may not read.
        """
        return not self.governance or session is None or session in self.members or self.refusal(session) is None

    def is_listed(self, session: Subscriber | None) -> bool:
        """Whether the room is in lists, searches of all rooms and completions for the session. Takes no lock."""
        governance = self.governance
        if not governance or session is None or session in self.members:
            return True
        return not (governance.unlisted and not governance.rank(session)) and self.refusal(session) is None

    def exists(self, typed: str, session: Subscriber | None) -> RoomExists:
        """Why the session cannot make a room with the name of this one. Takes no lock."""
        if not self.may_read(session):
            return ClosedRoom(typed)
        return RoomExists(self.name if self.is_listed(session) else typed)

    def check_owner(self, session: Subscriber) -> None:
        """Raise NotAllowed unless the room is the session's, or the session is one of the server's operators."""
        if session.operator or (self.owner and self.owner == session.identity):
            return
        if not self.owner:
            raise NobodysRoom(self.name)
        namesake = fold(self.creator) == fold(session.name)
        raise (NamesakesRoom if namesake else OthersRoom)(self.name, self.creator)

    def last_words(self, session: Subscriber, words: str) -> str:
        """The words on leaving, if the session may speak in the room at any time; otherwise ""."""
        if words and (rules := self.governance):
            slow = rules.slow and not rules.rank(session)  # nobody speaks by leaving and coming back again and again
            if slow or rules.speaking(self.name, session, int(time.time() * 1000), "this", words):
                return ""
        return words

    @property
    def is_kept(self) -> bool:
        """Whether the room stays when everybody has left it: it has a message, a topic, or rules of its own."""
        return bool(self.last or self.topic or self.governance)

    def add(self, session: Subscriber, view: View) -> int:
        self.changes += 1
        self.members[session] = self.changes
        self.groups.setdefault(view, {})[session] = None
        return self.changes

    def remove(self, session: Subscriber, view: View) -> None:
        del self.members[session]
        self.changes += 1
        self._ungroup(session, view)

    def fitting(self, most: int) -> int:
        """How many of the newest messages fit into one page, at most ``most``."""
        return len(list(takewhile(Page().takes, islice(reversed(self.recent), max(0, most)))))

    def newest(self, count: int, oldest: int) -> tuple[events.Message, ...]:
        """The ``count`` newest messages, without those sent before ``oldest``, in milliseconds of the epoch."""
        newest = islice(self.recent, max(0, len(self.recent) - count), None)
        return tuple(message for message in newest if message.at >= oldest)

    def oldest(self, retain: float | None) -> int:
        """The time, in milliseconds of the epoch, before which messages are too old to be shown. All are deleted after
        ``retain`` seconds, and those of this room maybe earlier."""
        keep = self.governance.keep * 86400 if self.governance else 0
        limits = [each for each in (retain, keep) if each]
        return int((time.time() - min(limits)) * 1000) if limits else 0

    def entered(self, first_time: bool = False) -> events.Entered:
        """The event for a session that is about to become a member."""
        others = tuple(other.name for other in islice(self.members, NAMED))
        return events.Entered(self.name, self.topic, others, len(self.members), self.last, first_time)

    def regroup(self, session: Subscriber, old: View, new: View) -> None:
        self._ungroup(session, old)
        self.groups.setdefault(new, {})[session] = None

    def _ungroup(self, session: Subscriber, view: View) -> None:
        group = self.groups[view]
        del group[session]
        if not group:
            del self.groups[view]


class Place:
    """The rooms that one session is in, and the one that its messages go to. The Publisher's lock guards it."""

    __slots__ = ("rooms", "current")

    def __init__(self) -> None:
        self.rooms: dict[int, ChatRoom] = {}  # by id; the room entered last is last
        self.current: ChatRoom | None = None

    def in_order(self) -> list[ChatRoom]:
        """The rooms as they were entered, but the current one at the end."""
        return sorted(self.rooms.values(), key=lambda room: room is self.current)

    def check(self) -> None:
        """Raise InTooManyRooms if the session may not enter another room."""
        if len(self.rooms) >= ROOMS_EACH:
            raise InTooManyRooms(ROOMS_EACH)

    def go_to(self, session: Subscriber, room: ChatRoom | None) -> None:
        """Make a room the current one. The session has one view for it, and another for its other rooms."""
        if self.current is not room:
            here, elsewhere = session.views.here, session.views.elsewhere
            if self.current is not None:
                self.current.regroup(session, here, elsewhere)
            if room is not None:
                room.regroup(session, elsewhere, here)
            self.current = room


class Recent:
    """The newest messages of all rooms with members, in at most ``most`` bytes. The Publisher's lock guards it.

    Beyond that, the room with the longest silence drops its oldest messages. They are read from the history again
    when somebody enters that room.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0  # roughly the bytes of the messages
        self._rooms: OrderedDict[int, ChatRoom] = OrderedDict()  # with messages; the room of the newest message is last
        self._newest: ChatRoom | None = None  # that room, if it is known

    def add(self, room: ChatRoom, message: events.Message) -> None:
        """Add a published message, the newest of its room."""
        recent = room.recent
        change = getsizeof(message.text) + MESSAGE  # as _weight, which takes longer; this is the hot path
        if len(recent) == RECENT:
            change -= getsizeof(recent[0].text) + MESSAGE
        recent.append(message)
        room.held += change
        self.held += change
        if room is not self._newest:
            self._newest = self._rooms[room.id] = room
            self._rooms.move_to_end(room.id)

    def fill(self, room: ChatRoom, stored: Sequence[events.Message], as_of: int) -> bool:
        """Put ``stored`` before the messages in memory. ``stored`` are the newest messages up to number ``as_of``.
        Return False if there would be a hole, because later messages have been dropped from memory."""
        first = room.recent[0].number if room.recent else room.last + 1
        if first > as_of + 1:
            return False
        newer = list(room.recent)
        room.recent.clear()
        room.recent.extend([message for message in stored if message.number < first] + newer)
        self._count(room, sum(map(_weight, room.recent)) - room.held)
        self._rooms[room.id] = room
        self._newest = None
        room.loaded = True
        return True

    def redact(self, room: ChatRoom, number: int) -> None:
        """Drop the text of a message."""
        for at, message in enumerate(room.recent):
            if message.number == number:
                left = room.recent[at] = removed(message)
                self._count(room, _weight(left) - _weight(message))
                return

    def forget(self, room: ChatRoom) -> None:
        """Drop the room's messages from memory: it has no members."""
        self._rooms.pop(room.id, None)
        self._newest = None
        self._count(room, -room.held)
        room.recent.clear()
        room.loaded = room.last == 0

    def trim(self) -> None:
        """Drop the messages beyond ``most`` bytes. Do not call it while a session is about to be shown them."""
        while self.held > self.most and self._rooms:
            room = next(iter(self._rooms.values()))
            while self.held > self.most and room.recent:
                self._count(room, -_weight(room.recent.popleft()))
                room.loaded = False
            if not room.recent:
                del self._rooms[room.id]
                self._newest = None

    def _count(self, room: ChatRoom, change: int) -> None:
        room.held += change
        self.held += change


def _weight(message: events.Message) -> int:
    """Roughly the bytes of a message in memory."""
    return getsizeof(message.text) + MESSAGE
