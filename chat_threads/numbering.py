"""Numbers a batch: each message gets the next number of its room, and everything keeps its place in the order.

Nothing is stored or shown here. The result takes effect if the commit succeeds, and is dropped if it fails. So a failed
commit leaves no gap in the numbers. The history thread calls all of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import ordered
from .batch import Batch, StoredRef
from .errors import RoomGone
from .events import Message
from .once import Once, Refused


class Numbering:
    """One batch and its numbers.

    ``last`` has the last committed number of each room; ``at`` is the time of the batch, in milliseconds.
    """

    __slots__ = ("_last", "_once", "_at", "_refs", "_counts", "batch", "numbers", "published", "refused")

    def __init__(self, last: Mapping[int, int | None], once: Once, at: int) -> None:
        self._last = last
        self._once = once
        self._at = at
        self._refs: dict[tuple[int, str], StoredRef] = {}  # the requests in this batch, by token and ref
        self._counts: dict[int, int] = {}  # the number of requests so far, by token
        self.batch = Batch()  # what to commit
        self.numbers: dict[int, int | None] = {}  # each room's last number after the commit; None: it is gone
        self.published: list[ordered.Published] = []  # the values to show after the commit, in order
        self.refused: Refused = []  # values whose room is gone

    def make(self, rooms: Iterable[ordered.RoomMade]) -> None:
        """Begin with the rooms whose rows are not stored yet, before any message in them."""
        for room in rooms:
            self.batch.rooms_made.append(room)
            self.numbers[room.room_id] = 0

    def take(self, items: Iterable[ordered.Ordered | None]) -> None:
        """Go through a batch in order."""
        for item in items:
            _TAKES[type(item)](self, item)

    def _last_of(self, room_id: int) -> int | None:
        """The last number of a room so far; None: the room is gone."""
        return self.numbers[room_id] if room_id in self.numbers else self._last.get(room_id)

    def _draft(self, draft: ordered.Draft) -> None:
        room_id, token, ref = draft.room_id, draft.token, draft.ref
        last = self.numbers[room_id] if room_id in self.numbers else self._last.get(room_id)  # as _last_of
        if last is None:
            self.refused.append((draft, RoomGone()))
            return
        if token and (again := self._refs.get((token, ref))):
            self.published.append(ordered.Acked(draft.origin, ref, again.room, again.number))
            return
        number = self.numbers[room_id] = last + 1
        message = Message(room_id, draft.room, number, self._at, draft.sender, draft.kind, draft.text, draft.who)
        self.batch.messages.append(message)
        self.published.append(message)
        if ref:
            self.published.append(ordered.Acked(draft.origin, ref, draft.room, number))
        if token:
            self._count(draft, number)

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
        self.batch.topics[item.room_id] = item.topic
        self._publish_with_ack(item)

    def _room_ended(self, item: ordered.RoomEnded) -> None:
        if self._last_of(item.room_id) is None:
            self.refused.append((item, RoomGone()))
            return
        self.batch.rooms_ended.append(item.room_id)
        self.numbers[item.room_id] = None
        self._publish_with_ack(item)

    def _publish_with_ack(self, item: ordered.TopicSet | ordered.RoomEnded) -> None:
        self.published.append(item)
        if item.ref:
            self.published.append(ordered.Acked(item.origin, item.ref))

    def _token_used(self, item: ordered.TokenUsed) -> None:
        self.batch.tokens[item.token] = item
        self.batch.tokens_used += 1

    def _place_kept(self, item: ordered.PlaceKept) -> None:
        self.batch.places[item.token] = item.place

    def _pass(self, item: ordered.RoomMade | ordered.Marker | None) -> None:
        """``make`` has handled the new rooms. A Marker, or None for the end, is only a place in the queue."""

    def _publish(self, item: ordered.Published) -> None:
        """It needs no storing, only its place in the order."""
        self.published.append(item)


_TAKES: dict[type[ordered.Ordered | None], Callable[[Numbering, Any], None]] = {
    ordered.Draft: Numbering._draft,
    ordered.TopicSet: Numbering._topic_set,
    ordered.RoomEnded: Numbering._room_ended,
    ordered.TokenUsed: Numbering._token_used,
    ordered.PlaceKept: Numbering._place_kept,
    **dict.fromkeys((ordered.RoomMade, ordered.Marker, type(None)), Numbering._pass),
    **dict.fromkeys(
        (ordered.Acked, ordered.Joined, ordered.Left, ordered.LeftAll, ordered.NameChanged), Numbering._publish
    ),
}
