"""Numbering in a cluster: what rows of the log mean. The same rows, in the same order, mean the same on every server.

So nothing here may look at anything but the rows and what earlier rows have led to: no clock, no options, and nothing
that only this server knows of a session. What a row needs of those stands in the row itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .. import ordered
from ..batch import StoredRoom
from ..errors import ChatError, NameTaken, NotStored, RoomExists
from ..governance import Somebody
from ..lookalikes import looks
from ..numbering import Numbering, Rooms
from ..once import Once
from ..passwords import Account
from ..register import LOBBY
from ..retention import DAY_MS
from ..rules import fold
from ..tokens import Who
from .copy import CopyBatch
from .entries import Flags
from .errors import GivenUpMeanwhile
from .ledger import Key, Ledger
from .values import (
    AwaySet,
    NameClaimed,
    RoomUnused,
    ServerBeat,
    ServerEnded,
    ServerGone,
    ServerStarted,
    Summoned,
    Swept,
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A row of the log, with its values."""

    position: int
    server: int
    at: int  # milliseconds since 1970, by the server's clock
    items: Sequence[ordered.Ordered]
    flags: Flags
    read: int  # the position up to which the server had read


@dataclass(slots=True)
class State:
    """What the log has led to, besides messages and requests. Owned by the history thread."""

    ledger: Ledger
    server: int  # this one
    position: int = 0
    last_room: int = 0  # the highest id that a room ever had
    rooms: dict[str, int] = field(default_factory=dict)  # ids by key
    looks: dict[str, int] = field(default_factory=dict)  # ids by look
    names: dict[int, tuple[str, tuple[str, ...]]] = field(default_factory=dict)  # their keys and looks by id
    accounts: dict[str, int] = field(default_factory=dict)  # their numbers by the keys of their names
    alike: dict[str, str] = field(default_factory=dict)  # the keys of their names by look
    kept: set[int] = field(default_factory=set)  # #lobby, and rooms with a topic: they stay without members

    def restore(self, rooms: Sequence[StoredRoom], accounts: Sequence[Account]) -> None:
        for account in accounts:
            self.reserve(account.name, account.id)
        for room in rooms:
            self.add(room.id, room.key, room.name, room.topic)

    def add(self, room_id: int, key: str, name: str, topic: str) -> None:
        """Note a room."""
        appearance = looks(name)
        self.names[room_id] = key, appearance
        self.rooms[key] = room_id
        self.looks.update(dict.fromkeys(appearance, room_id))
        if topic or key == fold(LOBBY):
            self.kept.add(room_id)

    def reserve(self, name: str, account: int) -> None:
        key = fold(name)
        self.accounts[key] = account
        for look in looks(name):
            self.alike.setdefault(look, key)

    def unreserve(self, name: str) -> None:
        self.accounts.pop(fold(name), None)
        for look in looks(name):
            if self.alike.get(look) == fold(name):
                del self.alike[look]

    def is_anothers(self, name: str, person: int) -> bool:
        """Whether the name, or one that looks like it, is reserved for another person than the one with this number."""
        key = fold(name)
        if key in self.accounts:
            return self.accounts[key] != person
        return any(self.accounts[self.alike[look]] != person for look in looks(name) if look in self.alike)

    def forget(self, room_id: int) -> None:
        key, appearance = self.names.pop(room_id, ("", ()))
        self.rooms.pop(key, None)
        for look in appearance:
            if self.looks.get(look) == room_id:
                del self.looks[look]
        self.kept.discard(room_id)


@dataclass(frozen=True, slots=True)
class Claimed:
    """The outcome of a claim. ``replaced``: the sessions whose place it takes. ``error``: why it was refused."""

    at: Key
    claim: NameClaimed
    replaced: tuple[Key, ...] = ()
    error: ChatError | None = None


@dataclass(frozen=True, slots=True)
class CutOff:
    """Somebody is wanted on another server."""

    at: Key


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Somebody has an account now, or has none any more."""

    at: Key
    name: str
    who: Who
    token: int


@dataclass(frozen=True, slots=True)
class Departed:
    """Somebody is no longer connected."""

    at: Key


@dataclass(frozen=True, slots=True)
class Away:
    """Somebody is away, or back."""

    at: Key
    words: str | None


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A server that counts as gone; its rows are void until it starts again."""

    server: int


class RowNumbering(Numbering):
    """A row and its numbers. ``outcomes`` are for the history, in order, after the commit."""

    __slots__ = ("_state", "_row", "_session_of", "outcomes")
    batch: CopyBatch

    def __init__(self, rooms: Rooms, once: Once, state: State, row: Decoded, session_of: Callable[[Key], Any]) -> None:
        self._state, self._row = state, row
        self._session_of = session_of
        self.outcomes: list[Claimed | CutOff | LoggedIn | Departed | Away | GivenUp] = []
        state.position = row.position
        batch = CopyBatch(ledger=state.ledger, position=row.position)
        super().__init__(rooms, once, row.at, self._valid(), batch)
        batch.last_room = state.last_room

    def _valid(self) -> Iterator[ordered.Ordered]:
        """The values of the row; none, if its server counts as gone."""
        row, ledger = self._row, self._state.ledger
        servers = ledger.servers
        if row.server in servers or isinstance(row.items[0], ServerStarted):
            servers[row.server], ledger.reads[row.server] = row.position, row.read
            yield from row.items
        else:
            error = GivenUpMeanwhile()
            self.refused += [(item, error) for item in row.items if getattr(item, "origin", None) is not None]

    def _key(self, session: Any) -> Key:
        return getattr(session, "server", self._state.server), session.number

    def _somebody(self, origin: Any, identity: int, name: str) -> Somebody:
        return Somebody(identity, name, *self._row.flags.get(origin.number, ()))

    def _too_soon(self, slow: int, room_id: int, room: str, sender: Somebody, said: ordered.Said) -> None:
        """Note that somebody speaks in a slow room. The server that wrote the row has looked at the pace."""
        self.spoke[room_id, sender.identity] = None

    # --- rooms -------------------------------------------------------------------------------------------

    def _room_made(self, room: ordered.RoomMade) -> None:
        state = self._state
        if room.key in state.rooms or any(look in state.looks for look in looks(room.room)):
            self.refused.append((room, RoomExists(room.room)))
            return
        state.last_room += 1
        made = replace(room, room_id=state.last_room)
        state.add(made.room_id, made.key, made.room, made.topic)
        self._make(made)
        self.published.append(made)  # type: ignore[arg-type]

    def _draft(self, draft: ordered.Draft) -> None:
        if self._key(draft.origin) not in self._state.ledger.people:  # its server was given up meanwhile
            self.refused.append((draft, GivenUpMeanwhile()))
        else:
            super()._draft(draft)

    def _topic_set(self, item: ordered.TopicSet) -> None:
        super()._topic_set(item)
        topic = self.batch.topics.get(item.room_id)
        if topic:
            self._state.kept.add(item.room_id)
        elif topic is not None and item.room_id != self._state.rooms.get(fold(LOBBY)):
            self._state.kept.discard(item.room_id)

    def _room_ended(self, item: ordered.RoomEnded) -> None:
        super()._room_ended(item)
        if item.room_id in self.batch.rooms_ended:
            self._state.forget(item.room_id)
            self._state.ledger.room_ended(item.room_id)

    def _left_by_all(self, room_id: int) -> None:
        """Drop the room if everybody has left it, on all servers, and there is nothing to keep."""
        state = self._state
        last = self._last_of(room_id)
        if last == 0 and not (state.ledger.members(room_id) or room_id in state.kept or room_id in self.governed):
            state.forget(room_id)
            self.numbers[room_id] = None
            self.batch.rooms_made = [made for made in self.batch.rooms_made if made.room_id != room_id]
            self.batch.rooms_unused.append(room_id)
            self.published.append(RoomUnused(room_id))  # type: ignore[arg-type]

    # --- people ------------------------------------------------------------------------------------------

    def _claimed(self, item: NameClaimed) -> None:
        ledger, at = self._state.ledger, self._key(item.session)
        same = ledger.same(at, item.identity, item.token, item.account)
        if ledger.holders(at, item.name).difference(same) or self._state.is_anothers(item.name, item.identity):
            self.outcomes.append(Claimed(at, item, error=NameTaken(item.name, "")))
            return
        for other in same:
            ledger.lose_name(other)
        ledger.take(at, item.name, item.identity, item.token, item.account, item.operator)
        self.outcomes.append(Claimed(at, item, tuple(same)))

    def _account_changed(self, item: ordered.AccountChange) -> None:
        account, state = item.account, self._state
        if state.accounts.get(fold(account.name), account.id) != account.id:
            self.refused.append((item, NotStored("somebody else has registered that name meanwhile", "done")))
            return
        state.reserve(account.name, account.id)
        super()._account_changed(item)
        self._log_in(item.account.id, item.account.operator)

    def _account_ended(self, item: ordered.AccountEnded) -> None:
        self._state.unreserve(item.account.name)
        super()._account_ended(item)
        self._log_in(item.account.id, None)

    def _log_in(self, account: int, operator: bool | None) -> None:
        ledger = self._state.ledger
        for at in ledger.log_in(account, operator):
            each = ledger.people[at]
            self.outcomes.append(LoggedIn(at, each.name, each.who(), each.token))

    def _summoned(self, item: Summoned) -> None:
        self.outcomes.append(CutOff(self._key(item.session)))

    def _away(self, item: AwaySet) -> None:
        at = self._key(item.session)
        if self._state.ledger.go_away(at, item.words):
            self.outcomes.append(Away(at, item.words))

    def _joined(self, item: ordered.Joined) -> None:
        at, ledger = self._key(item.session), self._state.ledger
        if at in ledger.people and self._last_of(item.room_id) is not None:  # otherwise one of them has gone meanwhile
            ledger.enter(at, item.room_id)
            self.published.append(item)

    def _left(self, item: ordered.Left) -> None:
        self._state.ledger.leave(self._key(item.session), item.room_id)
        self.published.append(item)
        self._left_by_all(item.room_id)

    def _left_all(self, item: ordered.LeftAll) -> None:
        self._leaves(self._key(item.session), item)

    def _leaves(self, at: Key, item: ordered.LeftAll) -> None:
        rooms = self._state.ledger.leave_all(at)
        self.outcomes.append(Departed(at))
        self.published.append(item)
        for room_id in rooms:
            self._left_by_all(room_id)

    def _swept(self, item: Swept) -> None:
        """The rules at this place in the log decide which messages go."""
        batch = self.batch
        kept = {room: rules.keep * DAY_MS for room, rules in self.governed.items() if rules.keep}
        batch.swept.append((item, len(batch.messages), kept))

    # --- servers -----------------------------------------------------------------------------------------

    def _started(self, item: ServerStarted) -> None:
        if item.before:
            self._give_up(item.before)

    def _ended(self, item: ServerEnded) -> None:
        self._give_up(self._row.server)

    def _server_gone(self, item: ServerGone) -> None:
        if self._state.ledger.servers.get(item.server, item.after + 1) <= item.after:
            self._give_up(item.server)

    def _give_up(self, server: int) -> None:
        ledger = self._state.ledger
        ledger.servers.pop(server, None)
        ledger.reads.pop(server, None)
        for at in ledger.of(server):
            self._leaves(at, ordered.LeftAll(self._session_of(at)))
        self.outcomes.append(GivenUp(server))


RowNumbering.takes = {
    **Numbering.takes,
    ordered.Draft: RowNumbering._draft,
    ordered.TopicSet: RowNumbering._topic_set,
    ordered.RoomChanged: RowNumbering._room_changed,
    ordered.RoomMade: RowNumbering._room_made,
    ordered.RoomEnded: RowNumbering._room_ended,
    ordered.Joined: RowNumbering._joined,
    ordered.Left: RowNumbering._left,
    ordered.LeftAll: RowNumbering._left_all,
    ordered.AccountStored: RowNumbering._account_changed,
    ordered.AccountEnded: RowNumbering._account_ended,
    NameClaimed: RowNumbering._claimed,
    Summoned: RowNumbering._summoned,
    ServerStarted: RowNumbering._started,
    ServerEnded: RowNumbering._ended,
    ServerGone: RowNumbering._server_gone,
    ServerBeat: Numbering._pass,
    Swept: RowNumbering._swept,
    AwaySet: RowNumbering._away,
}
