"""Checks whether every promise was kept: eight checks compare the clients' logs with the history at the end.

``check`` is a pure function: it knows no sockets, threads or files, so that it can be tested on runs that were
made up. Times are monotonic seconds, all of one clock. Every text is asked to be said once only, so a text says
which ask it belongs to.
"""

from __future__ import annotations

import bisect
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

RESTARTS = frozenset({"kills of servers", "SIGTERM, and started again"})  # a server that starts reads all rows first
LIVE_WITHIN = 2.0  # seconds from sending to the answer, and from the acknowledgement to the last live reader


class Row(NamedTuple):
    """A message in the history."""

    room: str
    number: int
    sender: str
    kind: str
    text: str


class Seen(NamedTuple):
    """A message as a subscriber saw it."""

    number: int
    sender: str
    kind: str
    text: str
    at: float


class Ack(NamedTuple):
    at: float
    room: str
    number: int


class Refusal(NamedTuple):
    at: float
    code: str


@dataclass
class Ask:
    """One text that a writer sent, and all answers to it."""

    sender: str
    room: str
    kind: str
    text: str
    sent: list[float]  # the times at which it was sent; more than one if there was no answer
    acks: list[Ack] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    denied: bool = False  # the server said that it never knew the token of this text

    @property
    def outcome(self) -> str:
        """ok, fail or unknown.

        What was sent twice may be refused the second time while the first is still waiting to be stored, so it
        has failed only if it is the history that refused it: what it refuses, it refuses in order.
        """
        if self.denied:
            return "fail"
        if self.acks:
            return "ok"
        if any(each.code == "maybe_stored" for each in self.refusals):
            return "unknown"
        if self.refusals and (len(self.sent) == 1 or self.refusals[-1].code == "not_stored"):
            return "fail"
        return "unknown"

    @property
    def done(self) -> float:
        """The time of the first acknowledgement; infinite if there was none."""
        return self.acks[0].at if self.acks else math.inf

    @property
    def answered(self) -> float:
        """The time of the first acknowledgement or refusal; infinite if there was neither."""
        return min(self.done, self.refusals[0].at if self.refusals else math.inf)

    @property
    def last_sent(self) -> float:
        """The last time of sending that can have stored it; later ones come after the acknowledgement."""
        return max(at for at in self.sent if at < self.done)


@dataclass
class Stay:
    """One subscriber in one room, from entering it to leaving it, or to losing the connection."""

    subscriber: str
    room: str
    asked: float  # when it asked to enter
    since: int | None = None  # the number that it came back with; None: it joined, and sees what follows ``last``
    last: int | None = None  # the room's last number on entering; None: it got no answer
    joined: float = math.inf
    messages: list[Seen] = field(default_factory=list)
    left: float | None = None  # when it asked to leave, if that was answered; None: the connection broke
    ended: float = math.inf
    server: int = 0  # to which it was connected

    @property
    def start(self) -> int:
        """The number after which it has to see everything."""
        return self.since if self.since is not None else self.last or 0

    @property
    def reached(self) -> int:
        """The last number that it knows."""
        return self.messages[-1].number if self.messages else self.start


class Fault(NamedTuple):
    """The time of a fault, for all clients, for some, or for those who are connected to some servers."""

    kind: str
    began: float
    ended: float
    who: frozenset[str] | None = None  # names; None: everybody
    server: int | None = None  # None: all


class Look(NamedTuple):
    """A search for a text, by a word that no other text has."""

    who: str
    text: str
    asked: float
    found: tuple[str, ...]  # the texts that it found
    server: int = 0  # to which it was connected


@dataclass
class Result:
    """The result of one check. ``judged`` counts the items that it checked; with 0 it has shown nothing."""

    check: str
    says: str
    judged: int
    violations: list[str]


class _Run:
    """A run, and the lookups that the checks need."""

    def __init__(
        self,
        asks: Sequence[Ask],
        stays: Sequence[Stay],
        rows: Sequence[Row],
        faults: Sequence[Fault],
        looks: Sequence[Look],
        apart: bool,
    ) -> None:
        self.looks = looks
        self._apart = apart
        servers = {stay.server for stay in stays} | {look.server for look in looks}
        self.times = {server: Times(fault for fault in faults if hits(fault, server)) for server in servers}
        self._hearing = {
            server: Times(fault for fault in faults if hits(fault, server) and fault.kind not in RESTARTS)
            for server in servers
        }
        self.asks = asks
        self.stays = stays
        self.rows = sorted(rows)
        self.faults = faults
        self.by_text = {ask.text: ask for ask in asks}
        if len(self.by_text) != len(asks):
            raise ValueError("a text was asked to be said by two asks")
        self.of_text: dict[str, list[Row]] = defaultdict(list)
        self.numbered: dict[tuple[str, int], Row] = {}
        for row in self.rows:
            self.of_text[row.text].append(row)
            self.numbered.setdefault((row.room, row.number), row)
        acks = sorted((ack.at, ack.number, ask.room) for ask in asks for ack in ask.acks[:1])
        self._acked: dict[str, tuple[list[float], list[int]]] = defaultdict(lambda: ([], []))
        for at, number, room in acks:
            times, highest = self._acked[room]
            times.append(at)
            highest.append(max(number, highest[-1] if highest else 0))

    def known(self, server: int, before: float) -> float:
        """All that was acknowledged before this time was known to a server at the time ``before``. In a cluster,
        a server knows it a moment later, if neither it nor what all servers share has a fault."""
        if not self._apart:
            return before
        at = before - LIVE_WITHIN
        while (began := self._hearing[server].touch(at, at + LIVE_WITHIN)) is not None:
            at = began - LIVE_WITHIN - 0.001
        return at

    def acknowledged(self, stay: Stay, before: float) -> int:
        """The highest number in the room that the server knew before that time, or 0."""
        times, highest = self._acked[stay.room]
        at = bisect.bisect_left(times, self.known(stay.server, before))
        return highest[at - 1] if at else 0

    def stored(self) -> Iterator[tuple[Row, Ask]]:
        """The messages in the history that a writer sent, in order."""
        for row in self.rows:
            ask = self.by_text.get(row.text)
            if ask and (ask.room, ask.sender) == (row.room, row.sender):
                yield row, ask


Found = tuple[int, list[str]]


def _c1(run: _Run) -> Found:
    judged, wrong = 0, []
    for ask in run.asks:
        for ack in ask.acks:
            judged += 1
            told = f"{_name(ask)} was acknowledged as {ack.room} {ack.number}"
            expected = Row(ack.room, ack.number, ask.sender, ask.kind, ask.text)
            found = run.of_text.get(ask.text, [])
            if len(found) != 1:
                wrong.append(f"{told}, and is in the history {len(found)} times")
            elif found[0] != expected or ack.room != ask.room:
                wrong.append(f"{told}, and the history has it as {_shown(found[0])}")
    return judged, wrong


def _c2(run: _Run) -> Found:
    judged, wrong = 0, []
    for ask in run.asks:
        outcome = ask.outcome
        if outcome == "ok":
            continue
        judged += 1
        times = len(run.of_text.get(ask.text, []))
        if times > (outcome == "unknown"):
            why = (
                "its token was unknown" if ask.denied else ", ".join(each.code for each in ask.refusals) or "no answer"
            )
            wrong.append(f"{_name(ask)} is {outcome} ({why}), and is in the history {times} times")
    return judged, wrong


def _c3(run: _Run) -> Found:
    wrong = []
    expected: dict[str, int] = defaultdict(int)
    for row in run.rows:
        ask = run.by_text.get(row.text)
        if ask is None or Row(ask.room, row.number, ask.sender, ask.kind, ask.text) != row:
            wrong.append(f"{_shown(row)} was not asked for")
        expected[row.room] += 1
        if row.number != expected[row.room]:
            wrong.append(f"{row.room} {row.number} stands where {expected[row.room]} should be")
            expected[row.room] = row.number
    return len(run.rows), wrong


def _c4(run: _Run) -> Found:
    judged, wrong = 0, []
    for stay in run.stays:
        judged += len(stay.messages)
        expected = stay.start
        for at, seen in enumerate(stay.messages):
            expected += 1
            if seen.number != expected:
                if at > 0 or stay.since is None:  # otherwise it is a case for C6
                    wrong.append(f"{_name(stay)} was shown {seen.number} where {expected} should be")
                expected = seen.number
            row = Row(stay.room, seen.number, seen.sender, seen.kind, seen.text)
            there = run.numbered.get((stay.room, seen.number))
            if row != there:
                wrong.append(f"{_name(stay)} was shown {_shown(row)}, and the history has {_shown(there)}")
        if stay.last is not None:
            known = run.acknowledged(stay, stay.asked)
            if stay.last < known:
                wrong.append(f"{_name(stay)} was told that {stay.last} is the last, when {known} was acknowledged")
        if stay.left is not None:
            known = run.acknowledged(stay, stay.left)
            if stay.reached < known:
                wrong.append(
                    f"{_name(stay)} had seen all up to {stay.reached} on leaving, when {known} was acknowledged"
                )
    return judged, wrong


def _c5(run: _Run) -> Found:
    judged = 0
    wrong: list[str] = []
    of_rooms: dict[object, list[tuple[Row, Ask]]] = defaultdict(list)
    of_senders: dict[object, list[tuple[Row, Ask]]] = defaultdict(list)
    for row, ask in run.stored():
        judged += 1
        of_rooms[row.room].append((row, ask))
        of_senders[row.room, row.sender].append((row, ask))

    def look(pairs: Iterable[tuple[Row, Ask]], before: Callable[[Ask], float], why: str) -> None:
        """Find messages with a smaller number than one that was acknowledged before they were sent."""
        latest: tuple[Row, Ask] | None = None
        for row, ask in pairs:
            if latest and before(ask) < latest[1].sent[0]:
                wrong.append(f"{_shown(row)} {why} {_shown(latest[0])} was sent")
            if latest is None or ask.sent[0] > latest[1].sent[0]:
                latest = row, ask

    for pairs in of_rooms.values():
        look(pairs, lambda ask: ask.done, "was acknowledged before")
    for pairs in of_senders.values():
        look(pairs, lambda ask: ask.last_sent, "was sent by the same before")
    return judged, wrong


def _c6(run: _Run) -> Found:
    judged, wrong = 0, []
    before: dict[tuple[str, str], Stay] = {}
    for stay in sorted(run.stays, key=lambda each: each.asked):
        previous = before.get((stay.subscriber, stay.room))
        before[stay.subscriber, stay.room] = stay
        if stay.since is None:
            continue
        judged += 1
        if previous and stay.since > previous.reached:
            wrong.append(f"{_name(stay)} came back since {stay.since}, having seen no more than {previous.reached}")
        if stay.last is not None and stay.last < stay.since:
            wrong.append(f"{_name(stay)} came back since {stay.since}, and was told that {stay.last} is the last")
        if stay.messages and stay.messages[0].number != stay.since + 1:
            kind = "repeat" if stay.messages[0].number <= stay.since else "gap"
            wrong.append(f"{_name(stay)} came back since {stay.since}: a {kind}, {stay.messages[0].number} came first")
    return judged, wrong


def _c7(run: _Run) -> Found:
    judged, wrong = 0, []
    own: Mapping[str, Times] = {
        name: Times(fault for fault in run.faults if fault.who and name in fault.who)
        for name in {stay.subscriber for stay in run.stays}
    }

    def timed(stay: Stay, there: float, began: float, until: float) -> bool:
        """Whether the subscriber was present and reading from ``there`` to ``until``, and nothing happened to it or to
        its server since ``began``. What happens to other servers does not matter."""
        if there < stay.joined or until > min(stay.ended, math.inf if stay.left is None else stay.left):
            return False
        return all(times.touch(began, until) is None for times in (run.times[stay.server], own[stay.subscriber]))

    acked: dict[str, list[Ask]] = defaultdict(list)
    of_sender: dict[tuple[str, str], list[Ask]] = defaultdict(list)
    for ask in sorted(run.asks, key=lambda each: each.done):
        of_sender[ask.sender, ask.room].append(ask)
        if ask.outcome == "ok":
            acked[ask.room].append(ask)
    for stay in run.stays:
        for ask in of_sender[stay.subscriber, stay.room]:
            if timed(stay, ask.sent[0], ask.sent[0], ask.sent[0] + LIVE_WITHIN):
                judged += 1
                if ask.answered > ask.sent[0] + LIVE_WITHIN:
                    wrong.append(f"{_name(ask)} had no answer for {ask.answered - ask.sent[0]:.1f} s")
        seen = {each.number: each.at for each in stay.messages}
        asks = acked[stay.room]
        for ask in asks[bisect.bisect_left(asks, stay.joined, key=lambda each: each.done) :]:
            if ask.done > stay.ended:
                break
            if timed(stay, ask.sent[0], ask.done, ask.done + LIVE_WITHIN):
                judged += 1
                at = seen.get(ask.acks[0].number, math.inf)
                if at > ask.done + LIVE_WITHIN:
                    late = f"{at - ask.done:.1f} s later" if at < math.inf else "never"
                    wrong.append(f"{_name(ask)} was acknowledged, and {_name(stay)} was shown it {late}")
    return judged, wrong


def _c8(run: _Run) -> Found:
    wrong = []
    for look in run.looks:
        for text in look.found:
            if text not in run.of_text:
                wrong.append(f"{look.who} found what the history has not: {text[:40]}")
        ask = run.by_text[look.text]
        if look.text not in look.found and ask.done < run.known(look.server, look.asked):
            wrong.append(f"{look.who} did not find {_name(ask)}, acknowledged {look.asked - ask.done:.3f} s before")
    return len(run.looks), wrong


def hits(fault: Fault, server: int) -> bool:
    """Whether it is a fault for everybody on a server."""
    return fault.who is None and fault.server in (None, server)


class Times:
    """The times of some faults. Says which of them overlaps a span of time."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self._began: list[float] = []
        self._ended: list[float] = []
        for fault in sorted(faults, key=lambda each: each.began):
            if self._ended and fault.began <= self._ended[-1]:
                self._ended[-1] = max(self._ended[-1], fault.ended)
            else:
                self._began.append(fault.began)
                self._ended.append(fault.ended)

    def touch(self, began: float, until: float) -> float | None:
        """When the first fault that does began; None: none does."""
        at = bisect.bisect_left(self._ended, began)
        return self._began[at] if at < len(self._began) and self._began[at] <= until else None


def _name(what: Ask | Stay) -> str:
    return what.text[:40] if isinstance(what, Ask) else f"{what.subscriber} in {what.room}"


def _shown(row: Row | None) -> str:
    return f"{row.room} {row.number} {row.sender}: {row.text[:40]}" if row else "nothing there"


CHECKS: tuple[tuple[str, Callable[[_Run], Found]], ...] = (
    ("what was acknowledged is in the history once, with its number and text", _c1),
    ("what failed is not in the history, and what is unknown at most once", _c2),
    ("the history has nothing that nobody sent, and numbers 1 to n", _c3),
    ("what each saw is the history, from its join to its leave", _c4),
    ("acknowledged before another was sent is before it; each sender's in order", _c5),
    ("coming back left no gap and no repeat", _c6),
    (f"what was sent was answered, what was acknowledged was seen, within {LIVE_WITHIN:g} s", _c7),
    ("a search finds what was acknowledged before it, and nothing that is not there", _c8),
)


def check(
    asks: Sequence[Ask],
    stays: Sequence[Stay],
    rows: Sequence[Row],
    faults: Sequence[Fault] = (),
    looks: Sequence[Look] = (),
    apart: bool = False,
) -> list[Result]:
    """C1 to C8, in order. C7 leaves out texts that had to be answered or shown during a fault of that server.
    ``apart``: there were several servers."""
    run = _Run(asks, stays, rows, faults, looks, apart)
    return [Result(f"C{number}", says, *look(run)) for number, (says, look) in enumerate(CHECKS, 1)]
