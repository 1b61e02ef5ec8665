"""What requests cost: a client that sends expensive ones waits longer."""

from __future__ import annotations

import pytest
from support.samples import for_each

from chat_threads import commands, rules
from chat_threads.errors import UnknownType
from chat_threads.pace import BIG, CROWD, LONGEST_WAIT, PAGE, SHOWN, TABLE, Pace, Seldom, cost_of_saying
from chat_threads.paging import PAGE_BYTES
from chat_threads.rules import LIKELY, free_name, nearest


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_is_free_and_then_each_token_takes_its_time(clock):
    pace = Pace(20.0, 50, clock)
    assert pace.pay(50) == 0
    assert pace.pay(1) == pytest.approx(0.05)
    clock.now += 0.05
    assert pace.pay(0) == 0


def test_an_expensive_request_takes_as_many_times_as_long(clock):
    pace = Pace(20.0, 50, clock)
    pace.pay(50)
    assert pace.pay(commands.ListRooms().cost) == pytest.approx(commands.ListRooms.cost / 20)


def test_a_request_that_costs_more_than_a_burst_is_done_and_waited_for_afterwards(clock):
    pace = Pace(1.0, 2, clock)
    assert pace.pay(10) == 8
    clock.now += 1000
    assert pace.pay(2) == 0


def test_without_a_rate_nothing_is_waited_for(clock):
    pace = Pace(0.0, 50, clock)
    assert pace.pay(10**6) == 0


def test_however_small_the_rate_the_wait_ends(clock):
    pace = Pace(1e-9, 1, clock)
    assert pace.pay(2) == LONGEST_WAIT


def test_a_request_costs_what_the_table_says_and_anything_else_one_token():
    assert commands.Say("hi").cost == UnknownType("tell").cost == 1
    assert all(kind.cost >= 1 for kind in commands.ALL)


def test_a_message_costs_more_the_longer_it_is_and_the_more_members_see_it():
    assert cost_of_saying("x" * 2000, CROWD) == 0
    assert cost_of_saying("x" * 100, 1000) == 0
    assert cost_of_saying("x" * 2000, 1000) == 2_000_000 // BIG > 1


def test_a_text_of_several_lines_costs_as_much_as_its_lines(serve, program):
    server = serve(rate=0.001, burst=10_000)
    ann, _ = program("ann", server), program("bob", server)
    pace = server.chat.sessions.named("ann").pace
    for request in {"type": "say"}, {"type": "action"}, {"type": "private", "to": "bob"}:
        before = pace.tokens
        ann.ask({**request, "text": "x\r\n" * 40})
        assert before - pace.tokens == pytest.approx(40 + 1, abs=0.1)  # and the ping


def test_long_answers_and_pages_cost_more(serve, program):
    """Reading, encoding and sending them takes as long as the requests that they answer, or longer."""
    server = serve(rate=0.001, burst=10_000)
    ann = program("ann", server, room="#lab")
    ann.ask(*({"type": "say", "text": "\U0001f642" * 2000} for _ in range(100)))
    bob = program("bob", server)
    pace = server.chat.sessions.named("bob").pace
    for request, size in (
        ({"type": "history", "room": "#lab", "count": 100}, PAGE_BYTES),
        ({"type": "join", "room": "#lab", "since": 0}, 800_000),
    ):
        before = pace.tokens
        bob.ask(request)
        assert before - pace.tokens >= size // SHOWN * 0.9 + 1


def test_a_table_costs_more_the_more_there_is_in_it(serve, program):
    server = serve(rate=0.001, burst=10_000)
    away = ("e" + "\u0301\u0302" * 4) * 22
    for number in range(20):
        person = program(f"person{number}", server, room=f"#room{number}")
        person.ask({"type": "away", "reason": away}, {"type": "topic", "text": away})
    bob = program("bob", server)
    pace = server.chat.sessions.named("bob").pace
    for request in commands.Who(), commands.ListRooms():
        before = pace.tokens
        bob.ask(type=request.row.type)
        assert before - pace.tokens >= request.cost + 20 * len(away.encode()) // TABLE


def test_entering_a_room_costs_a_page_and_more_for_those_that_were_missed(serve, program):
    server = serve(rate=0.001, burst=10_000)
    ann = program("ann", server)
    bob = program("bob", server, room="#lab")
    bob.ask(*({"type": "say", "text": "x"} for _ in range(1000)))
    bob.seen.clear()
    pace = server.chat.sessions.named("ann").pace
    before = pace.tokens
    ann.ask(type="join", room="#lab")
    joined = before - pace.tokens - 1  # the ping
    assert joined == pytest.approx(commands.Join.cost + PAGE, abs=0.1)
    ann.ask(type="leave", room="#lab")
    before = pace.tokens
    ann.ask(type="join", room="#lab", since=0)
    assert before - pace.tokens - 0.9 >= commands.Join.cost + 5 * PAGE


@pytest.mark.parametrize("typed", ["similarnamex001", "similar" * 10_000, "#" + "x" * 31, "", "x"])
def test_a_mistyped_name_is_compared_with_few_and_closely_with_fewer(typed, monkeypatch):
    looked_at: list[str] = []

    def names():
        for number in range(10_000):
            looked_at.append(f"similarname{number:04}")
            yield looked_at[-1]

    closely: list[str] = []
    matches = rules.get_close_matches

    def counted(word: str, possibilities: dict[str, str], most: int) -> list[str]:
        closely.extend(possibilities)
        assert len(word) <= 40
        return matches(word, possibilities, most)

    monkeypatch.setattr(rules, "get_close_matches", counted)
    nearest(typed, names())
    assert len(looked_at) == LIKELY
    assert len(closely) <= 3


@for_each(
    ("typed", "near"),
    [
        ("hwo", "who"), ("wo", "who"), ("histroy", "history"), ("jion", "join"), ("seach", "search"), ("zzz", None),
        ("", None), ("statss", "stats"), ("hstory", "history"),
    ],
)  # fmt: skip
def test_the_nearest_name_is_the_one_that_was_meant(typed, near):
    assert nearest(typed, ["who", "history", "join", "search", "stats", "set", "msg", "leave", "nick"]) == near


def test_a_name_that_is_free_is_found_in_few_tries_however_many_are_taken():
    taken = {f"ann{number}" for number in range(2, 100_000)}
    tries: list[str] = []

    def look(name: str) -> bool:
        tries.append(name)
        return name in taken

    assert free_name("ann", look) not in taken
    assert tries[:9] == [f"ann{number}" for number in range(2, 11)]
    assert len(tries) < 40


def test_an_endless_event_is_logged_now_and_then_with_its_count(clock):
    seldom = Seldom(10.0, clock)
    assert [seldom.happens() for _ in range(5)] == [1, 0, 0, 0, 0]
    clock.now += 9
    assert seldom.happens() == 0
    clock.now += 1
    assert [seldom.happens() for _ in range(2)] == [6, 0]
    twice = Seldom(10.0, clock, times=2)
    assert [twice.happens() for _ in range(5)] == [1, 1, 0, 0, 0]
    clock.now += 10
    assert [twice.happens() for _ in range(3)] == [4, 1, 0]
