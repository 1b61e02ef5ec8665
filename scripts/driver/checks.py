"""Whether everybody has seen everything, once, and in one order.

Members of a room are sent the same bytes, as a rule. So what was received is read once, into a ``Batch``, and
each further client that got the same costs a look into a table and a few comparisons. What is unusual is gone
through message by message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .histogram import Histogram

MAX_MISSING = 10_000  # remembered for a client and sender; beyond that a gap counts as lost at once


@dataclass(slots=True)
class Tally:
    """What the checks found, in deliveries: a message to a hundred members is a hundred."""

    delivered: int = 0
    lost: int = 0
    duplicated: int = 0
    out_of_order: int = 0
    astray: int = 0  # shown to a client that is not in the room

    def add(self, other: Tally) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicated or self.out_of_order or self.astray)


class OneOrder:
    """The order in which a room's messages were first seen by anybody here; everybody else's is held against it."""

    def __init__(self, horizon: int) -> None:
        self._horizon = horizon  # messages; who is further behind is not judged
        self._positions: dict[tuple[int, int], int] = {}
        self._forgotten: dict[int, int] = {}  # sender: the highest number that was
        self._next = 0
        self.news: list[tuple[int, int]] | None = None  # what was first seen lately, if somebody wants to know

    def position(self, sender: int, number: int) -> int | None:
        """The place of a message, which is the next one if it is new; None: too old to say."""
        key = (sender, number)
        position = self._positions.get(key)
        if position is None and number > self._forgotten.get(sender, -1):
            position = self._positions[key] = self._next
            self._next += 1
            if self.news is not None:
                self.news.append(key)
            if len(self._positions) > self._horizon:
                old_sender, old_number = next(iter(self._positions))
                del self._positions[old_sender, old_number]
                self._forgotten[old_sender] = max(old_number, self._forgotten.get(old_sender, -1))
        return position


class Batch:
    """The messages in what was received at a time. Shared by all clients of a room that received the same."""

    __slots__ = ("earliest", "first", "last", "messages", "orderly", "spans", "times")

    def __init__(self, found: Sequence[tuple[int, int, int]], senders: Sequence[int], order: OneOrder | None) -> None:
        """``order`` is None where there is but one sender, whose own numbers say it all."""
        self.messages: list[tuple[int, int, int, int | None]] = []
        self.times = [at for _, _, at in found]
        self.earliest = min(self.times, default=0)
        self.orderly = True  # each sender's numbers go up by one, and the places go up
        spans: dict[int, tuple[int, int]] = {}
        self.first = self.last = -1
        for sender, number, at in found:
            if sender not in senders:
                self.messages.append((sender, number, at, None))
                self.orderly = False
                continue
            position = order.position(sender, number) if order else None
            self.messages.append((sender, number, at, position))
            first, after = spans.get(sender, (number, number))
            if number != after:
                self.orderly = False
            spans[sender] = (first, number + 1)
            if position is not None:
                if position <= self.last:
                    self.orderly = False
                elif self.first < 0:
                    self.first = position
                self.last = max(self.last, position)
        self.spans = [(sender, first, after) for sender, (first, after) in spans.items()]


class Room:
    """A room as the clients of one process see it. ``keep``: how many batches to recognize; those that the other
    members get at about the same time are enough."""

    def __init__(
        self,
        senders: Sequence[int],
        find: Callable[[bytes], list[tuple[int, int, int]]],
        order: OneOrder | None,
        keep: int,
    ) -> None:
        self.senders = senders
        self.order = order
        self._find = find
        self._keep = keep
        self._batches: dict[bytes, Batch] = {}

    def read(self, data: bytes) -> tuple[Batch, bool]:
        """The messages in some whole lines, and whether nobody had received the same before."""
        batch = self._batches.get(data)
        if batch is not None:
            return batch, False
        if len(self._batches) >= self._keep:
            self._batches.clear()
        batch = self._batches[data] = Batch(self._find(data), self.senders, self.order)
        return batch, True


class Seen:
    """What one connection has seen, and what it is owed.

    ``first_owed`` is None for a client that has been there since before the first message, and is owed all. For
    one that came in later it gives the number of a sender's first message that it is owed, or None where nobody
    can say; an earlier one, from the history that a server shows on entering, is as good a beginning.
    """

    __slots__ = ("_expected", "_first_owed", "_missing", "_position", "_senders", "_since", "_start")

    def __init__(
        self, senders: Sequence[int], since: int = 0, first_owed: Callable[[int], int | None] | None = None
    ) -> None:
        self._senders = senders
        self._since = since  # what is older was shown as history: its latency says nothing
        self._first_owed = first_owed
        self._start = 0 if first_owed is None else -1  # -1: not known yet
        self._expected: dict[int, int] = {}  # sender: the number that is to come next
        self._missing: dict[int, set[int]] = {}  # sender: numbers that were passed over
        self._position = -1  # the highest place that was seen

    def take(self, batch: Batch, now: int, tally: Tally, latencies: Histogram) -> None:
        """Check the messages, count them, and record how long they took."""
        expected = self._expected
        if batch.orderly and batch.earliest >= self._since and (batch.first > self._position or batch.first < 0):
            start = self._start
            for sender, first, _ in batch.spans:
                if expected.get(sender, start) != first:
                    break
            else:
                for sender, _, after in batch.spans:
                    expected[sender] = after
                if batch.last > self._position:
                    self._position = batch.last
                tally.delivered += len(batch.times)
                latencies.record_since(batch.times, now)
                return
        for message in batch.messages:
            self._take_one(*message, now, tally, latencies)

    def _take_one(
        self, sender: int, number: int, at: int, position: int | None, now: int, tally: Tally, latencies: Histogram
    ) -> None:
        if sender not in self._senders:
            tally.astray += 1
            return
        due = self._due(sender, number)
        missing = self._missing.get(sender)
        if number < due:
            if not missing or number not in missing:
                tally.duplicated += 1
                return
            missing.remove(number)
            tally.out_of_order += 1
        else:
            if number > due:
                self._pass_over(sender, due, number, tally)
            self._expected[sender] = number + 1
            if position is not None:
                if position < self._position:
                    tally.out_of_order += 1
                self._position = max(position, self._position)
        if at >= self._since:
            tally.delivered += 1
            latencies.record_since((at,), now)

    def _due(self, sender: int, number: int | None) -> int:
        """The number that is to come next from the sender; if that is not known, ``number`` may be the first."""
        due = self._expected.get(sender, self._start)
        if due < 0 and self._first_owed:
            owed = self._first_owed(sender)
            known = [each for each in (owed, number) if each is not None]
            return min(known) if known else -1
        return due

    def _pass_over(self, sender: int, first: int, after: int, tally: Tally) -> None:
        missing = self._missing.setdefault(sender, set())
        remembered = min(after, first + MAX_MISSING - len(missing))
        missing.update(range(first, remembered))
        tally.lost += after - max(first, remembered)

    def has_all(self, sent: dict[int, int]) -> bool:
        """Whether everything has come, given how many messages each sender has sent."""
        return not any(self._missing.values()) and not any(
            0 <= self._due(sender, None) < sent[sender] for sender in self._senders
        )

    def count_lost(self, sent: dict[int, int] | None, tally: Tally) -> None:
        """Count what did not come. ``sent`` is None for a client that left: what was under way is not owed to it."""
        tally.lost += sum(len(numbers) for numbers in self._missing.values())
        for sender in self._senders if sent else ():
            due = self._due(sender, None)
            if due >= 0:
                tally.lost += max(0, sent[sender] - due)  # type: ignore[index]
