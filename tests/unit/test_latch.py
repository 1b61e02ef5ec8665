"""An event that happens once."""

from __future__ import annotations

import threading
import time

from chat_threads.latch import Latch

WAIT = 20.0


def test_all_that_wait_are_woken_and_nobody_waits_afterwards() -> None:
    latch, woken = Latch(), []
    threads = [threading.Thread(target=lambda: woken.append(latch.wait(WAIT)), daemon=True) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert not latch.is_set()
    setters = [threading.Thread(target=latch.set, daemon=True) for _ in range(4)]
    for thread in setters:
        thread.start()
    for thread in (*threads, *setters):
        thread.join(WAIT)
    assert woken == [True] * 20
    assert latch.is_set()
    began = time.monotonic()
    assert latch.wait(WAIT)
    assert time.monotonic() - began < WAIT / 2


def test_what_does_not_happen_in_time_has_not_happened() -> None:
    latch = Latch()
    assert latch.wait(0.01) is latch.wait(0.0) is latch.wait(-1.0) is latch.is_set() is False
