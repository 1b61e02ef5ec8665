"""Numbers a batch: each message gets the next number of its room, and everything keeps its place in the order.

Nothing is stored or shown here. The result takes effect if the commit succeeds, and is dropped if it fails. So a failed
commit leaves no gap in the numbers. The history thread calls all of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from . import audit, ordered, redaction
from .batch import Batch, StoredRef
from .changes import Asked
from .errors import ChatError, RoomGone
from .events import Answer, AuditRow, Message
from .governance import Governance, Person, Somebody, Spoken
from .once import Once, Refused
from .refusals import TooSoon


class Rooms:
    """What the history knows of rooms between two batches. Owned by the history thread."""

    def __init__(
        self,
        last: dict[int, int | None],
        message: Callable[[int, int], Message | None],
        governed: dict[int, Governance] | None = None,
    ) -> None:
        """``message`` reads the committed message of a room with a number; may raise Unreadable."""
        self.last = last  # the last committed number of each room
        self.message = message
        self.governed = governed or {}  # those rooms whose governance was ever changed; replaced as a whole
        self.spoken = Spoken()
        self.unsaved: dict[int, ordered.RoomMade] = {}  # rooms whose row is not committed yet
        self.unused: list[int] = []  # forgotten rooms whose rows are still in the file
        self._unborn: set[int] = set()  # rooms that were forgotten before their RoomMade arrived

    def make(self, room: ordered.RoomMade) -> bool:
        """Take note of a new room. Return whether its row must be stored: not if the room was forgotten meanwhile."""
        if room.room_id in self._unborn:
            self._unborn.remove(room.room_id)
            return False
        self.unsaved[room.room_id] = room
        return True

    def forget(self, rooms: Iterable[int]) -> bool:
        """Nothing can be said in these rooms any more. Return whether there is another row to delete."""
        before = len(self.unused)
        for room in rooms:
            self.governed.pop(room, None)
            if self.last.pop(room, None) is not None:
                self.unused.append(room)
            elif self.unsaved.pop(room, None) is None:
                self._unborn.add(room)
        return len(self.unused) > before


class Numbering:
    """One batch and its numbers, which it gets when this is made. ``at`` is the time of the batch, in milliseconds."""

    takes: ClassVar[dict[type[ordered.Ordered | None], Callable[[Any, Any], None]]]
    """What is done with a value, by its type."""

    __slots__ = (
        *("_rooms", "_once", "at", "_refs", "_counts", "governed", "spoke"),
        *("batch", "numbers", "published", "refused", "unsure", "answered", "under_tokens", "further"),
    )

    def __init__(
        self,
        rooms: Rooms,
        once: Once,
        at: int,
        items: Iterable[ordered.Ordered | None],
        batch: Batch | None = None,
    ) -> None:
        self._rooms = rooms
        self._once = once
        self.at = at
        self._refs: dict[tuple[int, str], StoredRef] = {}  # the requests in this batch, by token and ref
        self._counts: dict[int, int] = {}  # the number of requests so far, by token
        self.batch = Batch() if batch is None else batch  # what to commit
        self.governed = rooms.governed  # as it is after the commit: another dict after the first change
        self.spoke: dict[tuple[int, int], None] = {}  # rooms that are slow, each with a person who speaks there
        self.numbers: dict[int, int | None] = {}  # each room's last number after the commit; None: it is gone
        self.published: list[ordered.Published] = []  # the values to show after the commit, in order
        self.refused: Refused = []  # values whose room is gone
        self.unsure: Refused = []  # requests of which nobody knows whether they are committed
        self.answered: dict[int, ordered.Acked | None] = {}  # by id: drafts that are known already, or in ``unsure``
        self.under_tokens = False  # whether requests under tokens were looked up
        self.further = 0  # lines of the messages, beyond the first of each
        if rooms.unsaved:  # an earlier batch could not store them
            for made in rooms.unsaved.values():
                self._make(made)
        takes = self.takes
        for item in items:
            takes[type(item)](self, item)
        if rooms.unused and self.batch:
            self.batch.rooms_unused = rooms.unused

    def _make(self, room: ordered.RoomMade) -> None:
        self.batch.rooms_made.append(room)
        self.numbers[room.room_id] = 0

    def _room_made(self, room: ordered.RoomMade) -> None:
        if self._rooms.make(room):
            self._make(room)

    def _last_of(self, room_id: int) -> int | None:
        """The last number of a room so far; None: the room is gone."""
        return self.numbers[room_id] if room_id in self.numbers else self._rooms.last.get(room_id)

    def _draft(self, draft: ordered.Draft) -> None:
        room_id, token, ref = draft.room_id, draft.token, draft.ref
        if token and self._is_answered(draft):
            return
        try:
            last = (self.numbers if room_id in self.numbers else self._rooms.last)[room_id]  # as _last_of
        except KeyError:
            last = None
        if last is None:
            self.refused.append((draft, RoomGone()))
            return
        if token and (again := self._refs.get((token, ref))):
            self.published.append(ordered.Acked(draft.origin, ref, again.room, again.number))
            return
        if self.governed and room_id in self.governed and (error := self._refusal(draft)):
            self.refused.append((draft, error))
            return
        number = self.numbers[room_id] = last + 1
        text, lines = draft.text, 1
        if "\n" in text:
            lines += text.count("\n")
            self.further += lines - 1
        message = Message(room_id, draft.room, number, self.at, draft.sender, draft.kind, text, draft.who, lines)
        self.batch.messages.append(message)
        self.published.append(message)
        if ref:
            self.published.append(ordered.Acked(draft.origin, ref, draft.room, number))
        if token:
            self._count(draft, number)

    def _refusal(self, draft: ordered.Draft) -> ChatError | None:
        """Why a message may not be said in a governed room; None: it may."""
        sender = self._somebody(draft.origin, draft.who, draft.sender)
        return self._silence(self.governed[draft.room_id], draft.room_id, draft.room, sender, draft)

    def _somebody(self, origin: Any, identity: int, name: str) -> Somebody:
        return Somebody.of(origin, identity, name)

    def _silence(
        self, governance: Governance, room_id: int, room: str, sender: Somebody, said: ordered.Said
    ) -> ChatError | None:
        """Why the person may not say this now; None: they may."""
        error = governance.speaking(room, sender, self.at, said.called, said.text)
        if error is None and governance.slow and not governance.rank(sender):
            return self._too_soon(governance.slow, room_id, room, sender, said)
        return error

    def _too_soon(self, slow: int, room_id: int, room: str, sender: Somebody, said: ordered.Said) -> ChatError | None:
        now = (room_id, sender.identity) in self.spoke
        if wait := slow if now else self._rooms.spoken.wait(room_id, slow, sender.identity, self.at):
            return TooSoon(room, slow, wait, said.text, what=said.called)
        self.spoke[room_id, sender.identity] = None
        return None

    def _is_answered(self, draft: ordered.Draft) -> bool:
        """Whether a request needs no message: it is committed already, or nobody knows whether it is."""
        self.under_tokens = True
        acked: ordered.Acked | None = None
        try:
            known = self._once.recall(draft.token, draft.ref)
        except ChatError as error:
            self.unsure.append((draft, error))
        else:
            if known is None:
                return False
            acked = ordered.Acked(draft.origin, draft.ref, known.room, known.number)
            self.published.append(acked)
        self.answered[id(draft)] = acked
        return True

    def _count(self, draft: ordered.Draft, number: int) -> None:
        """Remember a request with its message's number, so that it is not carried out twice."""
        token = draft.token
        count = self._counts.get(token, self._once.count(token)) + 1
        self._counts[token] = count
        ref = self._refs[token, draft.ref] = StoredRef(token, count, draft.ref, draft.room, number)
        self.batch.refs.append(ref)
        self.batch.tokens.setdefault(token, ordered.TokenUsed(token, draft.sender))

    def _topic_set(self, item: ordered.TopicSet) -> None:
        if self._last_of(item.room_id) is None:
            self.refused.append((item, RoomGone()))
            return
        if governance := self.governed.get(item.room_id):
            sender = self._somebody(item.origin, item.who, item.by)
            if error := self._silence(governance, item.room_id, item.room, sender, item):
                self.refused.append((item, error))
                return
        self.batch.topics[item.room_id] = item.topic
        self._publish_with_ack(item)

    def _redacted(self, item: ordered.Redacted) -> None:
        try:
            rules = self.governed.get(item.room_id) or Governance(item.owner)
            person = self._somebody(item.origin, item.who, item.by)
            said = redaction.check(self._said(item), item, person, rules, self.at)
        except redaction.RemovedAlready as error:
            if item.ref:  # a program may ask again after a broken connection
                self.published.append(ordered.Acked(item.origin, item.ref))
            else:
                self.refused.append((item, error))
        except ChatError as error:
            self.refused.append((item, error))
        else:
            self.batch.redacted.append((item.room_id, item.number))
            self._publish_with_ack(item)
            if said.who != item.who:  # what people do with their own words is nobody's business
                whose = f"from {said.sender}"
                self._note(item.room_id, AuditRow(self.at, item.room, item.by, "redact", str(item.number), whose))

    def _said(self, item: ordered.Redacted) -> Message | None:
        """The message that is to be removed, committed or in this batch; None: there is none. Raise RoomGone or
        Unreadable."""
        room, number = item.room_id, item.number
        last = self._last_of(room)
        if last is None:
            raise RoomGone()
        if not 0 < number <= last:
            return None
        if number > (self._rooms.last.get(room) or 0):
            found = next(each for each in self.batch.messages if (each.room_id, each.number) == (room, number))
        elif (committed := self._rooms.message(room, number)) is not None:
            found = committed
        else:
            return None
        return redaction.removed(found) if (room, number) in self.batch.redacted else found

    def _room_changed(self, item: ordered.RoomChanged) -> None:
        if self._last_of(item.room_id) is None:
            self.refused.append((item, RoomGone()))
            return
        before = self.governed.get(item.room_id) or Governance(item.owner)
        asked = Asked(item.room, item.by, before.rank(item.by), self.at)
        try:
            self._refuse_banned(item.room_id, item.room, item.by)
            if error := before.governing(item.room, item.by, self.at):
                raise error
            after = item.change.applied(before, asked)
        except ChatError as error:
            self.refused.append((item, error.without_stack()))
            return
        self._govern(item.room_id, after)
        shown = item.change.shown(asked, after)
        if row := audit.row_of(self.at, asked, item.change, shown):
            self._note(item.room_id, row)
        rules = self.governed.get(item.room_id)
        self.published.append(
            ordered.RoomGoverned(item.room_id, rules, shown, item.change, self.at, item.origin, item.told)
        )
        if item.ref and not any(isinstance(event, Answer) for _, event in item.told):
            self.published.append(ordered.Acked(item.origin, item.ref))

    def _govern(self, room_id: int, after: Governance) -> None:
        if self.governed is self._rooms.governed:
            self.governed = self.governed.copy()
        if after.is_stored:
            self.governed[room_id] = after
        else:
            self.governed.pop(room_id, None)
        self.batch.governed[room_id] = after.text()

    def _refuse_banned(self, room_id: int, room: str, person: Person) -> None:
        """Raise Banned if the person is banned from the room."""
        governance = self.governed.get(room_id)
        if governance and (ban := governance.banned(person, self.at)):
            raise ban.ban(room, self.at, person)

    def _room_ended(self, item: ordered.RoomEnded) -> None:
        if self._last_of(item.room_id) is None:
            self.refused.append((item, RoomGone()))
            return
        try:  # its owner may have been banned meanwhile
            self._refuse_banned(item.room_id, item.room, self._somebody(item.origin, item.who, item.by))
        except ChatError as error:
            self.refused.append((item, error.without_stack()))
            return
        self.batch.rooms_ended.append(item.room_id)
        self.numbers[item.room_id] = None
        if item.room_id in self.governed:
            self.batch.governed[item.room_id] = ""
            self.governed = {room: each for room, each in self.governed.items() if room != item.room_id}
        self._publish_with_ack(item)

    def _noted(self, item: ordered.Noted) -> None:
        if item.room_id != audit.SERVER and self._last_of(item.room_id) is None:
            self.refused.append((item, RoomGone()))
            return
        reporter = item.by.identity if item.action == "report" else 0
        row = AuditRow(self.at, item.room, item.by.name, item.action, item.about, item.why, item.accused, reporter)
        self._note(item.room_id, row)
        self.published.append(item)

    def _note(self, room: int, row: AuditRow) -> None:
        self.batch.audit.append((room, row))

    def _publish_with_ack(self, item: ordered.TopicSet | ordered.Redacted | ordered.RoomEnded) -> None:
        self.published.append(item)
        if item.ref:
            self.published.append(ordered.Acked(item.origin, item.ref))

    def _token_used(self, item: ordered.TokenUsed) -> None:
        self.batch.tokens[item.token] = item
        self.batch.tokens_used += 1
        if item.account:
            self.batch.accounts.append(item)

    def _place_kept(self, item: ordered.PlaceKept) -> None:
        self.batch.places[item.token] = item.place

    def _account_changed(self, item: ordered.AccountChange) -> None:
        self.batch.accounts.append(item)

    def _account_ended(self, item: ordered.AccountEnded) -> None:
        """Whoever takes the name now may be the same person, so what holds for the name holds for them."""
        self.batch.accounts.append(item)
        for room_id, rules in [*self.governed.items()]:
            if (after := rules.without_account(item.account.id, item.account.name)) is not None:
                self._govern(room_id, after)
                self.published.append(ordered.RoomGoverned(room_id, after, None, None, self.at, None))

    def _pass(self, item: ordered.Marker | None) -> None:
        """A Marker, or None for the end, is only a place in the queue."""

    def _name_changed(self, item: ordered.NameChanged) -> None:
        for room_id in item.slow:
            self.spoke[room_id, item.who] = None
        self.published.append(item)

    def _publish(self, item: ordered.Published) -> None:
        """It needs no storing, only its place in the order."""
        self.published.append(item)


Numbering.takes = {
    ordered.Draft: Numbering._draft,
    ordered.TopicSet: Numbering._topic_set,
    ordered.Redacted: Numbering._redacted,
    ordered.Noted: Numbering._noted,
    ordered.RoomMade: Numbering._room_made,
    ordered.RoomEnded: Numbering._room_ended,
    ordered.RoomChanged: Numbering._room_changed,
    ordered.TokenUsed: Numbering._token_used,
    ordered.PlaceKept: Numbering._place_kept,
    ordered.AccountStored: Numbering._account_changed,
    ordered.AccountEnded: Numbering._account_ended,
    **dict.fromkeys((ordered.Marker, type(None)), Numbering._pass),
    ordered.NameChanged: Numbering._name_changed,
    **dict.fromkeys((ordered.Acked, ordered.Joined, ordered.Left, ordered.LeftAll), Numbering._publish),
}
