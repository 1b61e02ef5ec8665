"""Lines from other servers, as the listener gets them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("psycopg")

from chat_threads.cluster import post
from chat_threads.cluster.entries import pack_event
from chat_threads.cluster.listener import Listener
from chat_threads.events import PrivateLine


class _Here:
    """A server with one session, and what came for it."""

    number = 1
    profile = SimpleNamespace(ignored=())
    reply_to = None

    def __init__(self) -> None:
        self.shown: list[Any] = []
        self.confirmed: list[tuple[int, int]] = []
        sessions: Any = SimpleNamespace(get={1: self}.get, owner=lambda name: None)
        post: Any = SimpleNamespace(confirm=lambda *line: self.confirmed.append(line), arrived=self.shown.append)
        self.listener = Listener("", lambda: None, lambda: 1, lambda: None, sessions, post)

    def send(self, event: Any) -> None:
        self.shown.append(event)

    def gets(self, number: int, content: Any) -> None:
        text = json.dumps(content)
        half = len(text) // 2
        for at, piece in enumerate((text[:half], text[half:])):
            self.listener._deliver(f"sender {number} {at} 2 {piece}")


LINE = PrivateLine(1, "ann", "bob", "hi")


def test_a_line_that_this_version_does_not_know_is_dropped():
    here = _Here()
    line = pack_event(LINE)
    strange = ([1, line, [7, 3, 5, "more"]], [1, line, None], [1, line, [7, [3], 5]], [[1], line, [7, 3, 5]])
    for number, content in enumerate((*strange, [1, ["Newer", []], None], [None, [3]], [None], {}, 5)):
        here.gets(number, content)
    assert here.shown == here.confirmed == []
    here.gets(100, [1, line, [7, 3, 5]])
    assert (here.shown, here.confirmed) == ([LINE], [(7, 3)])


def test_a_line_that_was_sent_again_because_nobody_knew_whether_it_came_is_shown_once(monkeypatch):
    monkeypatch.setattr(post, "HAD", 10)
    here = _Here()
    for number in (*range(10), *range(10)):
        here.gets(number, [1, pack_event(LINE), [7, number, 5]])
    assert here.shown == [LINE] * 10
    assert here.confirmed == [(7, number) for number in range(10)]
    here.gets(10, [1, pack_event(LINE), [7, 10, 5]])
    here.gets(0, [1, pack_event(LINE), [7, 0, 5]])  # the oldest is forgotten, so that they do not become more and more
    assert len(here.shown) == 12
