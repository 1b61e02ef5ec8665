"""The spare connections of browsers: which silent ones are not greeted."""

from __future__ import annotations

import pytest

from chat_threads.spares import KEPT, TOGETHER, Arrival, Spares


class Door:
    """Connections that come at given times. Each is silent unless it is told to speak."""

    def __init__(self) -> None:
        self.now = 100.0
        self.spares = Spares(lambda: self.now)

    def comes(self, after: float = 0.0, address: str = "192.0.2.1") -> Arrival:
        self.now += after
        return self.spares.arrives(address)

    def asks(self, arrival: Arrival, after: float = 0.0, greeted: bool = False) -> None:
        self.now += after
        self.spares.speaks(arrival, by_http=True, greeted=greeted)


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.mark.parametrize("before", [True, False])
def test_one_silent_connection_beside_a_request_is_spare_and_the_next_ones_are_peoples(door, before):
    silent = door.comes()
    browser = door.comes(TOGETHER / 2)
    silent = silent if before else door.comes(TOGETHER / 2)
    door.asks(browser, 3.0)
    assert door.spares.take(silent)
    assert not door.spares.take(door.comes())


def test_a_connection_that_is_opened_at_the_moment_of_a_late_request_is_spare(door):
    browser = door.comes()
    door.asks(browser, 50.0)
    assert door.spares.take(door.comes(TOGETHER / 2))


@pytest.mark.parametrize(("after", "address"), [(2 * TOGETHER, "192.0.2.1"), (0.0, "192.0.2.2")])
def test_a_silent_connection_at_another_time_or_from_another_address_is_a_persons(door, after, address):
    door.asks(door.comes())
    assert not door.spares.take(door.comes(after, address))


def test_a_program_or_a_person_excuses_nobody(door):
    door.spares.speaks(door.comes(), by_http=False, greeted=False)
    assert not door.spares.take(door.comes())


def test_after_a_spoilt_answer_two_are_spare(door):
    door.asks(door.comes(), 5.0, greeted=True)
    two = [door.comes(TOGETHER / 3), door.comes(TOGETHER / 3)]
    assert [door.spares.take(each) for each in two] == [True, True]


@pytest.mark.parametrize(
    ("others", "twin"), [([], False), ([TOGETHER / 2], True), ([2 * TOGETHER], False), ([0, 0], False)]
)
def test_two_silent_connections_at_once_are_twins_and_more_are_a_crowd(door, others, twin):
    first = door.comes()
    for after in others:
        last = door.comes(after)
    door.comes(0.0, "192.0.2.2")
    assert door.spares.has_twin(first) is twin
    if others:
        door.spares.speaks(last, by_http=False, greeted=False)
        assert door.spares.has_twin(first) is (len(others) == 2)


def test_a_browser_that_came_long_ago_is_known_again_when_it_asks(door):
    browser = door.comes()
    for _ in range(KEPT):
        door.comes()
    door.asks(browser)
    assert door.spares.take(door.comes())
