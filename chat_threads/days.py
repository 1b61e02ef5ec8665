"""Tells a person who stays connected that another day has begun, or that the clock was changed for summer time."""

from __future__ import annotations

import time
from collections.abc import Callable

from .wire import IDLE

QUARTER = 900.0  # seconds: in every time zone a day begins with a quarter of an hour, as UTC counts them
AFTER = 0.1  # seconds after it
LATE = IDLE  # seconds by which an idle person may be told late


class Days:
    """Owned by the session's reader, which looks when ``due`` (monotonic time) has come, or later: it wakes every LATE
    seconds, and a client may keep it busy.

    ``today`` says in words which day it is for the person, at a time of the clock; "" if they do not want to know.
    """

    def __init__(self, today: Callable[[float], str | None]) -> None:
        self.due = 0.0
        self._today = today
        self._told = today(time.time())

    def look(self, now: float) -> str:
        """The day in words, if it is another one than at the last look; otherwise ""."""
        clock = time.time()
        self.due = now + min(QUARTER - clock % QUARTER + AFTER, LATE)
        before, self._told = self._told, self._today(clock)
        return self._told or "" if self._told != before else ""
