"""The door: which connection gets a place, and which one has to give up its place."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from support.samples import for_each
from support.waiting import wait_for

from chat_threads import door
from chat_threads.disconnects import ServerFull, TooManyConnections
from chat_threads.door import GIVING_WAY, RETURNING, Door, Entry

pytestmark = pytest.mark.slow


class Connections:
    """Connections that come to a door, each with a session that is just a word."""

    def __init__(self, most: int, per_address: int = 0) -> None:
        self.door = Door(most, per_address)
        self.entries: list[Entry | None] = []

    def come(self, number: int, address: str | None = "192.0.2.1", waits: bool = True) -> Any:
        """A connection comes; returns its entry, or None if it gets no place."""
        try:
            entry = self.door.enter(number, address)
        except (ServerFull, TooManyConnections):
            return None
        if waits and not entry.by_token:
            self.door.waits(number, f"session {number}")  # type: ignore[arg-type]
        return entry


# --- the places of an address -------------------------------------------------------------------------------


def test_an_address_has_a_number_of_places_and_gets_each_back():
    comers = Connections(100, per_address=2)
    assert [bool(comers.come(number, "192.0.2.1")) for number in (1, 2, 3)] == [True, True, False]
    assert comers.come(4, "192.0.2.2")
    comers.door.leave(3)  # which never had one
    assert not comers.come(5, "::ffff:192.0.2.1")
    comers.door.leave(1)
    comers.door.leave(1)
    assert comers.come(6, "192.0.2.1")
    assert not comers.come(7, "192.0.2.1")


def test_no_two_threads_get_the_last_place():
    comers = Connections(10_000, per_address=50)
    ready, got = threading.Barrier(8), []

    def come(first: int) -> None:
        ready.wait()
        for number in range(first, first + 500):
            if comers.come(number):
                got.append(number)
                if number % 2:
                    comers.door.leave(number)

    threads = [threading.Thread(target=come, args=(1000 * each,)) for each in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([number for number in got if number % 2 == 0]) == 50
    assert comers.door._from == {"192.0.2.1": 50}


# --- who gives way ------------------------------------------------------------------------------------------


def test_while_there_are_places_nobody_gives_way():
    comers = Connections(3)
    assert [comers.come(number) for number in (1, 2, 3)] == [Entry()] * 3


def test_the_one_that_has_waited_longest_gives_way_and_no_other():
    comers = Connections(3)
    for number in (1, 2, 3):
        comers.come(number)
    assert comers.come(4) == Entry(instead_of="session 1")
    assert comers.come(5) == Entry(instead_of="session 2")


def test_an_address_with_many_that_wait_loses_one_before_an_address_with_few():
    comers = Connections(6)
    comers.come(1, "192.0.2.1")
    for number in range(2, 7):
        comers.come(number, "192.0.2.66")
    for number in range(7, 50):
        assert comers.come(number, "192.0.2.66").instead_of == f"session {number - 5}"
        comers.door.leave(number - 5)
    assert comers.door.speaks(1)


def test_a_connection_that_has_spoken_keeps_its_place_and_one_that_gave_way_can_speak_no_more():
    comers = Connections(2)
    comers.come(1)
    comers.come(2)
    assert comers.door.speaks(1)
    assert comers.come(3) == Entry(instead_of="session 2")
    assert not comers.door.speaks(2)
    comers.door.waits(2, "session 2")
    assert not comers.door.speaks(2)
    assert comers.door.speaks(3)


def test_a_connection_that_has_no_session_yet_may_have_to_give_way_and_finds_out():
    comers = Connections(1)
    comers.come(1, waits=False)
    assert comers.come(2) == Entry(instead_of=None)
    assert not comers.door.waits(1, "session 1")
    assert not comers.door.speaks(1)


def test_a_connection_that_gave_a_wrong_name_waits_again_behind_the_others():
    comers = Connections(2)
    comers.come(1)
    comers.come(2)
    assert comers.door.speaks(1)
    comers.door.waits(1, "session 1")
    assert comers.come(3) == Entry(instead_of="session 2")


def test_places_are_free_again_when_their_connections_have_left():
    comers = Connections(2)
    for number in range(1000):
        assert comers.come(number) == Entry()
        comers.door.leave(number)
        comers.door.leave(number)


@pytest.fixture
def impatient(monkeypatch) -> None:
    """Make nobody wait until a connection that gives up its place has left."""
    monkeypatch.setattr(door, "PATIENCE", 0.0)


@pytest.mark.usefixtures("impatient")
def test_no_more_give_way_at_a_time_than_may():
    comers = Connections(100)
    for number in range(100):
        comers.come(number)
    given = [comers.come(number) for number in range(100, 300)]
    assert [bool(entry) for entry in given] == [True] * GIVING_WAY + [False] * (200 - GIVING_WAY)
    comers.door.leave(0)
    assert comers.come(300)


def test_when_too_many_give_way_the_next_one_waits_until_one_has_left():
    comers = Connections(100)
    for number in range(100 + GIVING_WAY):
        comers.come(number)
    came = threading.Event()
    thread = threading.Thread(target=lambda: comers.come(1000) and came.set())
    thread.start()
    wait_for(lambda: comers.door._left._waiters or came.is_set())
    assert not came.is_set()
    comers.door.leave(0)
    thread.join()
    assert came.is_set()


def test_when_all_have_names_a_few_may_show_a_token():
    comers = Connections(2)
    for number in (1, 2):
        comers.come(number)
        assert comers.door.speaks(number)
    assert [comers.come(number) for number in range(3, 3 + RETURNING)] == [Entry(by_token=True)] * RETURNING
    assert comers.come(50) is None
    comers.door.leave(3)
    assert comers.come(51) == Entry(by_token=True)
    comers.door.leave(1)
    assert comers.come(52) == Entry()  # the place that is free


def test_a_connection_that_may_show_a_token_does_not_give_way_to_the_next():
    comers = Connections(1)
    comers.come(1)
    comers.door.speaks(1)
    for number in range(2, 2 + RETURNING):
        assert comers.come(number) == Entry(by_token=True)
    assert all(comers.door.speaks(number) for number in range(2, 2 + RETURNING))


@for_each("count", [1, RETURNING])
def test_connections_that_have_yet_to_show_a_token_keep_nobody_from_a_free_place(count):
    comers = Connections(3)
    for number in (1, 2, 3):
        comers.come(number)
        assert comers.door.speaks(number)
    for number in range(10, 10 + count):
        assert comers.come(number) == Entry(by_token=True)
    comers.door.leave(1)
    assert comers.come(4) == Entry()
    assert comers.door.speaks(4)
    assert bool(comers.come(5)) == (count < RETURNING)


def test_connections_that_have_shown_a_token_have_a_place_like_others():
    comers = Connections(2)
    for number in (1, 2):
        comers.come(number)
        assert comers.door.speaks(number)
    for number in range(10, 10 + RETURNING):
        comers.come(number)
        assert comers.door.speaks(number)
    comers.door.leave(1)
    assert comers.come(3) == Entry(by_token=True)
    assert comers.come(4) is None
    for number in range(10, 10 + RETURNING):
        comers.door.leave(number)
    comers.door.leave(3)
    assert comers.come(5) == Entry()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("seed", range(20))
def test_the_places_always_add_up_and_nothing_is_kept_of_connections_that_left(seed):
    chance = random.Random(seed)
    most, per_address = chance.randrange(1, 12), chance.choice([0, 0, 3])
    comers = Connections(most, per_address)
    inside: dict[int, str] = {}
    for number in range(2000):
        address = f"2001:db8:{chance.randrange(4)}::{number:x}"
        if comers.come(number, address, waits=chance.random() < 0.9):
            inside[number] = address
        for other in chance.sample(list(inside), min(len(inside), chance.randrange(3))):
            match chance.randrange(3):
                case 0:
                    comers.door.speaks(other)
                case 1:
                    comers.door.leave(other)
                    del inside[other]
                case 2:
                    comers.door.waits(other, f"session {other}")  # type: ignore[arg-type]
        assert len(inside) <= most + GIVING_WAY + RETURNING
        assert comers.door._network_of.keys() == inside.keys()
        assert comers.door._leaving <= inside.keys()
        assert comers.door._on_approval <= inside.keys() - comers.door._leaving
        assert len(comers.door._on_approval) <= RETURNING
        assert not per_address or max(comers.door._from.values(), default=0) <= per_address
        waiting = [each for some in comers.door._waiting.values() for each in some]
        assert set(waiting) <= inside.keys() - comers.door._leaving
    for other in inside:
        comers.door.leave(other)
    left = comers.door
    assert [*left._network_of, *left._from, *left._waiting, *left._leaving, *left._on_approval] == []


# --- behind a proxy -----------------------------------------------------------------------------------------


def test_a_connection_whose_address_comes_later_is_counted_from_then_on():
    comers = Connections(100, per_address=1)
    for number in range(5):
        assert comers.come(number, None)
    comers.door.comes_from(0, "192.0.2.1")
    with pytest.raises(TooManyConnections):
        comers.door.comes_from(1, "192.0.2.1")
    comers.door.leave(0)
    comers.door.comes_from(1, "192.0.2.1")
    for number in range(5):
        comers.door.leave(number)
    assert not comers.door._from


def test_a_connection_whose_address_comes_later_gives_way_with_those_of_its_address():
    comers = Connections(4)
    for number in range(4):
        comers.come(number, None)
    for number in (1, 2):
        comers.door.comes_from(number, "192.0.2.66")
    comers.door.comes_from(0, "192.0.2.1")
    assert comers.come(10, None).instead_of == "session 1"
    comers.door.comes_from(1, "192.0.2.77")  # though it has lost its place
    assert not comers.door.speaks(1)
