"""Checks that every client has seen every message, once, and in one order.

Usually the members of a room receive the same bytes. So the driver parses received bytes once, into a ``Batch``. For
each further client with the same bytes, it needs one lookup and a few comparisons. In unusual cases it checks message
by message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .histogram import Histogram

MAX_MISSING = 10_000  # remembered for each client and sender; beyond that a gap counts as lost at once


@dataclass(slots=True)
class Tally:
    """The results of the checks, in deliveries: a message to a hundred members counts as a hundred."""

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
    """The order in which any client here first saw a room's messages. The order of the others is compared with it."""

    def __init__(self, horizon: int) -> None:
        self._horizon = horizon  # messages; a client that is further behind is not checked
        self._positions: dict[tuple[int, int], int] = {}
        self._forgotten: dict[int, int] = {}  # sender: the highest forgotten number
        self._next = 0
        self.news: list[tuple[int, int]] | None = None  # messages that were first seen lately, if wanted

    def position(self, sender: int, number: int) -> int | None:
        """The place of a message in the order; a new one gets the next place. None: too old."""
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
    """The messages in one chunk of received bytes. Shared by all clients of a room that received the same bytes."""

    __slots__ = ("earliest", "first", "last", "messages", "orderly", "spans", "times")

    def __init__(self, found: Sequence[tuple[int, int, int]], senders: Sequence[int], order: OneOrder | None) -> None:
        """``order`` is None if there is only one sender, because then its numbers are the order."""
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
    """A room as the clients of one process see it. ``keep``: how many batches to remember. Those that the members get
    at about the same time are enough."""

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
        """The messages in some whole lines, and whether these bytes are new here."""
        batch = self._batches.get(data)
        if batch is not None:
            return batch, False
        if len(self._batches) >= self._keep:
            self._batches.clear()
        batch = self._batches[data] = Batch(self._find(data), self.senders, self.order)
        return batch, True


class Seen:
    """The messages that one connection has seen, and those that it must still see.

    ``first_owed`` is None for a client that entered before the first message and must see all of them. For a later
    client, it returns the number of the first message of a sender that the client must see, or None if that is not
    known. The client may also begin with an earlier message, from the history that a server shows on entering.
    """

    __slots__ = ("_expected", "_first_owed", "_missing", "_position", "_senders", "_since", "_start")

    def __init__(
        self, senders: Sequence[int], since: int = 0, first_owed: Callable[[int], int | None] | None = None
    ) -> None:
        self._senders = senders
        self._since = since  # older messages were shown as history, so their latency means nothing
        self._first_owed = first_owed
        self._start = 0 if first_owed is None else -1  # -1: not known yet
        self._expected: dict[int, int] = {}  # sender: the next number
        self._missing: dict[int, set[int]] = {}  # sender: numbers that were skipped
        self._position = -1  # the highest place seen

    def take(self, batch: Batch, now: int, tally: Tally, latencies: Histogram) -> None:
        """Check the messages, count them, and record their latencies."""
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
        """The sender's next number. If it is not known, ``number`` may be the first."""
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
        """Whether every message has arrived, given how many each sender has sent."""
        return not any(self._missing.values()) and not any(
            0 <= self._due(sender, None) < sent[sender] for sender in self._senders
        )

    def count_lost(self, sent: dict[int, int] | None, tally: Tally) -> None:
        """Count the missing messages. ``sent`` is None for a client that left: it need not see messages under way."""
        tally.lost += sum(len(numbers) for numbers in self._missing.values())
        for sender in self._senders if sent else ():
            due = self._due(sender, None)
            if due >= 0:
                tally.lost += max(0, sent[sender] - due)  # type: ignore[index]
