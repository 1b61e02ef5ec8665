"""Rows of the log: they do the same on every server, however they are read."""

from __future__ import annotations

import itertools
import pathlib
from types import SimpleNamespace
from typing import Any

from chat_threads import ordered
from chat_threads.addresses import network
from chat_threads.cluster.carried import flags_of
from chat_threads.cluster.copy import Copy
from chat_threads.cluster.members import RemotePerson
from chat_threads.cluster.numbering import Decoded, RowNumbering, State
from chat_threads.cluster.values import NameClaimed, ServerBeat, ServerStarted
from chat_threads.governance import Governance, Sanction, Sanctions, governed
from chat_threads.numbering import Rooms
from chat_threads.once import Once


def _person(number: int) -> RemotePerson:
    return RemotePerson(7, number, lambda to, event: None)


ANN, BOB = _person(1), _person(2)


class _Server:
    """What a server makes of rows, in its own file."""

    def __init__(self, path: pathlib.Path) -> None:
        self.copy = Copy(str(path))
        ledger, position, last_room, _ = self.copy.begin(42, 99)
        self.state = State(ledger, 99, position, last_room)
        rooms = self.copy.rooms()
        self.state.restore(rooms, self.copy.accounts())
        last = {room.id: room.last for room in rooms}
        self.rooms = Rooms(last, self.copy.message, governed(rooms, self.copy.governed()))
        self.once = Once(self.copy.refs)

    def number(self, position: int, items: list[Any]) -> RowNumbering:
        row = Decoded(position, 7, 1000 + position, items, {}, position - 1)
        return RowNumbering(self.rooms, self.once, self.state, row, lambda at: _person(at[1]))

    def take(self, position: int, items: list[Any]) -> None:
        numbered = self.number(position, items)
        self.copy.add(numbered.batch)
        self.rooms.last.update(numbered.numbers)

    def found(self) -> Any:
        people = {at: person.text() for at, person in self.state.ledger.people.items()}
        return self.copy.rooms(), people, self.state.ledger.servers, self.state.rooms


def _room(name: str) -> ordered.RoomMade:
    return ordered.RoomMade(0, name, name, "", "ann", 1, None, "", 0)


ROWS: list[list[Any]] = [
    [
        *(ServerStarted(0), NameClaimed(ANN, "ann", 11, 11), NameClaimed(BOB, "bob", 22, 22)),
        *(_room("#lobby"), _room("#tmp"), ordered.Joined(2, ANN, "ann", 1), ordered.Joined(1, BOB, "bob", 2)),
    ],
    [ServerBeat()],
    [ordered.LeftAll(ANN), ordered.Draft(1, "#lobby", "bob", "say", "hi", BOB, "r1", 22, 22)],
]


def test_a_server_that_is_killed_within_a_row_finds_all_of_it_to_do_again(tmp_path):
    """The request in the last row has the row before it stored, after somebody has left in the last one."""
    killed = _Server(tmp_path / "killed.db")
    killed.take(1, ROWS[0])
    killed.copy.settle()
    killed.take(2, ROWS[1])
    killed.number(3, ROWS[2])
    killed.copy.close()  # what waits is lost
    killed = _Server(tmp_path / "killed.db")
    assert killed.state.position == 2
    other = _Server(tmp_path / "other.db")
    for server in (killed, other):
        for position in range(server.state.position + 1, 4):
            server.take(position, ROWS[position - 1])
        server.copy.settle()
    assert killed.found() == other.found()
    killed.copy.close()
    other.copy.close()


def test_a_row_has_the_address_of_whoever_speaks_in_a_room_with_rules_about_networks():
    eve: Any = SimpleNamespace(number=5, account=False, operator=False, address="192.0.2.7")
    muted = Sanctions([Sanction(77, "old", None, "op", network=network(eve.address))])
    rooms = {1: Governance(owner=1, mutes=muted), 2: Governance(owner=9, slow=5)}
    said: list[Any] = [ordered.Draft(room, "#a", "eve", "say", "hi", eve, "", 9, 9) for room in (1, 2, 3)]
    said.append(ordered.Redacted(3, "#a", 2, "eve", 9, 9, eve))
    for items in itertools.permutations(said):
        assert flags_of(items, rooms) == {5: (False, False, "192.0.2.7")}
    assert flags_of(said[1:], rooms) == {5: (False, False, "")}


def test_nobody_gets_a_name_that_looks_like_names_of_two_of_whom_one_is_a_stranger(tmp_path):
    """The Greek name looks like "na", which the claimant has elsewhere, and like "va"."""
    server = _Server(tmp_path / "a.db")
    claims = (1, "na", 10), (2, "va", 20), (3, "\u039da", 10)
    server.number(1, [ServerStarted(0)])
    for number, name, token in claims:
        numbered = server.number(number + 1, [NameClaimed(_person(number), name, token, token)])
    assert [each.error.code for each in numbered.outcomes] == ["name_taken"]
    numbered = server.number(5, [ordered.LeftAll(_person(2)), NameClaimed(_person(3), "\u039da", 10, 10)])
    assert [each.error for each in numbered.outcomes[1:]] == [None]
    server.copy.close()
