"""Readers are lent in the order of the requests, and nobody waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from support.waiting import WAIT, wait_for

from chat_threads import readers as module
from chat_threads.readers import Readers


class Line:
    """Threads that wait for the one thing that a Readers lends, one after the other."""

    def __init__(self) -> None:
        self.readers: Readers[str] = Readers(["the book"])
        self.got: list[tuple[str, str | None]] = []
        self.over = threading.Event()
        self._threads: list[threading.Thread] = []

    def asks(self, name: str, timeout: float = WAIT, unless: threading.Event | None = None) -> None:
        """Somebody asks for it, waits, and gives it back at once; returns when they stand in the line."""

        def ask() -> None:
            thing = self.readers.take(timeout, unless)
            self.got.append((name, thing))
            if thing is not None:
                self.readers.give(thing)

        before = len(self.readers._line)
        self._threads.append(threading.Thread(target=ask, name=name))
        self._threads[-1].start()
        wait_for(lambda: len(self.readers._line) > before)

    def end(self) -> None:
        for thread in self._threads:
            thread.join(WAIT)


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.end()


def test_a_thing_is_lent_to_the_thread_that_asked_first(line: Line) -> None:
    mine = line.readers.take(WAIT)
    assert mine == "the book"
    for name in ("ann", "bob", "cy"):
        line.asks(name)
    line.readers.give(mine)
    line.end()
    assert line.got == [("ann", "the book"), ("bob", "the book"), ("cy", "the book")]


def test_a_later_thread_does_not_take_it_from_the_one_whose_turn_it_is(line: Line) -> None:
    mine = line.readers.take(WAIT)
    assert mine
    line.asks("ann")
    line.readers.give(mine)
    again = line.readers.take(WAIT)  # ann may still be waking up: it is hers all the same
    assert line.got[0][0] == "ann"
    assert again == "the book"
    line.readers.give(again)


def test_a_thread_that_waits_too_long_leaves_the_line(line: Line) -> None:
    mine = line.readers.take(WAIT)
    assert mine
    assert line.readers.take(0.0) is None
    line.asks("ann")
    assert line.readers.take(0.01) is None
    line.readers.give(mine)
    line.end()
    assert line.got == [("ann", "the book")]


def test_a_thread_that_has_no_reason_to_wait_any_more_leaves_the_line(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK", 0.01)
    mine = line.readers.take(WAIT)
    assert mine
    ended = threading.Event()
    line.asks("ann", unless=ended)
    line.asks("bob")
    ended.set()
    wait_for(lambda: line.got == [("ann", None)])
    line.readers.give(mine)
    line.end()
    assert line.got == [("ann", None), ("bob", "the book")]


def test_a_turn_that_comes_at_the_last_moment_is_not_lost() -> None:
    """Whatever the moment at which it is given back, it is spare afterwards, and nobody is left in the line."""
    readers = Readers(["the book"])

    def ask() -> None:
        thing = readers.take(0.001)
        if thing:
            readers.give(thing)

    for _ in range(200):
        mine = readers.take(WAIT)
        assert mine
        thread = threading.Thread(target=ask)
        thread.start()
        readers.give(mine)
        thread.join(WAIT)
        assert (readers._spare, len(readers._line)) == (["the book"], 0)


def test_several_things_are_lent_to_several() -> None:
    readers = Readers(["a", "b"])
    assert {readers.take(WAIT), readers.take(WAIT)} == {"a", "b"}
    began = time.monotonic()
    assert readers.take(0.05) is None
    assert time.monotonic() - began >= 0.05
    readers.give("c")
    assert readers.take(WAIT) == "c"
