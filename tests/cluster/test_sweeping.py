"""What is too old goes on all servers alike, although each has its own clock and options."""

from __future__ import annotations

import time

import pytest
from support.copies import expect_same, rows
from support.waiting import wait_for

from chat_threads import upkeep
from chat_threads.cluster import history
from chat_threads.cluster.copy import Copy
from chat_threads.cluster.values import Swept

pytestmark = pytest.mark.slow

SECOND = 1 / 86_400  # days


def test_a_servers_retain_counts_on_all_servers(join, tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "SWEEP_EVERY", 0.2)
    first, second = join("a", retain_days=SECOND), join("b")
    ann, bob = first.client("ann"), second.client("bob")
    ann.expect("bob joined")
    ann.send("/report bob rude", "one")
    bob.send("two")
    ann.expect("bob: two")
    wait_for(lambda: not any(rows(tmp_path / f"{name}.db")[table] for name in "ab" for table in ("messages", "audit")))
    ann.send("three")
    bob.expect("ann: three")
    expect_same(tmp_path, "a", "b")


def test_what_counts_as_deleted_is_not_there_on_any_server_whoever_has_deleted_it_already(join, tmp_path, monkeypatch):
    sweep = Copy.sweep
    monkeypatch.setattr(history, "WAIT", 5.0)
    first, second = join("a"), join("b")
    ann, bob = first.client("ann"), second.client("bob")
    ann.send("one")
    bob.expect("ann: one")
    held = [True]
    monkeypatch.setattr(
        Copy,
        "sweep",
        lambda self, *args: (0, True) if held and self is second.chat.storage else sweep(self, *args),
    )
    limit = int(time.time() * 1000) + 60_000
    first.chat.history.submit(Swept(limit, limit, 0))
    ann.send("two")
    bob.expect("ann: two")
    wait_for(lambda: [row[2] for row in rows(tmp_path / "a.db")["messages"]] == [2])
    assert [row[2] for row in rows(tmp_path / "b.db")["messages"]] == [1, 2]
    ann.send("/redact 1")
    ann.expect("! ")
    bob.send("three")
    ann.expect("bob: three")
    held.clear()
    expect_same(tmp_path, "a", "b")
