"""Waiting for events, running threads at the same time, and holding locks."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

WAIT = 20.0  # seconds; how long a test waits for something that should happen soon, even on a busy machine


@contextlib.contextmanager
def held(lock: Any) -> Iterator[None]:
    """Whether a thread holds the lock."""
    taken, release = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            release.wait(WAIT)

    thread = threading.Thread(target=hold, name="holder")
    thread.start()
    assert taken.wait(WAIT)
    try:
        yield
    finally:
        release.set()
        thread.join()


def wait_for(condition: Callable[[], object], what: str = "", wait: float = WAIT) -> None:
    """Poll until the condition holds. For conditions without an event of their own."""
    deadline = time.monotonic() + wait
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {wait} s: {what or condition}"
        tick.wait(0.01)


def in_threads(work: Callable[..., None], *arguments: Iterable[object]) -> None:
    """Call ``work`` once for each argument, all at the same time. If calls raise exceptions, raise one of these."""
    failed: list[BaseException] = []

    def run(*values: object) -> None:
        try:
            work(*values)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=values) for values in zip(*arguments, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
