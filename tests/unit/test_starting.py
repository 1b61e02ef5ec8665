"""A thread whose start does not wait."""

from __future__ import annotations

import sys
import threading

import pytest

from chat_threads.starting import StartedThread


@pytest.fixture
def alone():
    """No other thread runs until this one waits."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(10.0)
    yield
    sys.setswitchinterval(before)


def test_start_returns_before_the_thread_has_begun_and_join_waits_for_its_end(alone):
    did = []
    thread = StartedThread(did.append, "its work", "reader-1")
    thread.start()
    assert (thread.ident, did) == (None, [])
    assert thread.is_alive()
    assert thread in threading.enumerate()
    thread.join()
    assert did == ["its work"]
    assert not thread.is_alive()
    with pytest.raises(RuntimeError, match="once"):
        thread.start()


def test_whoever_wants_to_can_wait_until_the_thread_has_begun(alone):
    thread = StartedThread(threading.Event().wait, 0.0, "reader-1")
    thread.start()
    thread.wait_for_its_beginning()
    assert thread.ident
    thread.join()


def test_if_the_standard_library_does_not_use_the_latch_only_start_waits():
    did = []
    thread = StartedThread(did.append, "its work", "reader-1")
    thread._started = threading.Event()  # as if it were another attribute
    thread.start()
    assert thread.ident
    thread.join()
    assert did == ["its work"]
    assert not thread.is_alive()


def test_join_gives_up_after_its_timeout():
    end = threading.Event()
    thread = StartedThread(lambda _: end.wait(), None, "reader-1")
    thread.start()
    thread.join(0.01)
    assert thread.is_alive()
    end.set()
    thread.join()


def test_a_thread_that_the_system_cannot_start_raises_an_error_and_is_not_listed(monkeypatch):
    def refuse(*args: object, **more: object) -> None:
        raise RuntimeError("can't start new thread")

    for way in ("_start_new_thread", "_start_joinable_thread"):  # the second one from Python 3.13 on
        monkeypatch.setattr(threading, way, refuse, raising=False)
    thread = StartedThread(print, "never", "reader-1")
    with pytest.raises(RuntimeError):
        thread.start()
    assert thread not in threading.enumerate()
