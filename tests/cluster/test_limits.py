"""What one client, or one server that is stopped, can do to the log and to the engine is bounded."""

from __future__ import annotations

import pytest
from support.clients import said
from support.copies import expect_same
from support.waiting import wait_for

from chat_threads import ordered
from chat_threads.cluster import carried
from chat_threads.cluster import engine as log
from chat_threads.cluster.link import connect

pytestmark = pytest.mark.slow


def test_a_row_is_not_longer_than_all_servers_can_hold():
    long = ordered.Draft(1, "#a", "ann", "say", "x" * (carried.LETTERS // 2 + 1), None)
    assert carried.for_one_row([long] * 3) == [long]
    longer = ordered.PlaceKept(1, "x" * (carried.LETTERS + 1))
    assert carried.for_one_row([longer, longer]) == [longer]
    assert len(carried.for_one_row([ordered.Left(1, None)] * (carried.VALUES + 1))) == carried.VALUES


def test_what_needs_several_rows_keeps_its_order(join, tmp_path, monkeypatch):
    monkeypatch.setattr(carried, "VALUES", 2)
    ann, bob = join("a").client("ann"), join("b").client("bob")
    ann.expect("bob joined")
    lines = [str(number) for number in range(50)]
    ann.send(*lines)
    assert [text for _, text in said(bob.upto("49"))] == lines[:-1]
    expect_same(tmp_path, "a", "b")


def test_a_server_that_is_gone_does_not_keep_notifications_from_going(engine, url, monkeypatch):
    monkeypatch.setattr(log, "STUCK", 0.0)
    with connect(url) as keeper, connect(url, log.name_of_listener(7)) as gone:
        with connect(url, log.name_of_listener(8)) as living:
            log.end_listeners(keeper, [8])
            wait_for(gone.has_ended)
            assert living.execute("SELECT 1").fetchone() == (1,)


def test_when_the_queue_of_notifications_is_full_rows_are_appended_all_the_same(join, monkeypatch):
    first, second = join("a"), join("b")
    ann, bob = first.client("ann"), second.client("bob")
    ann.expect("bob joined")
    full = "SELECT repeat('x', 2000000000), %s, %s, %s, %s"  # fails with the code that a full queue has
    monkeypatch.setattr(log, "_APPEND", full)
    ann.send("one")
    bob.expect("ann: one")
