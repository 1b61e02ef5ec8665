"""Tells a person who stays connected that another day has begun, or that the clock was changed for summer time."""

from __future__ import annotations

import time
from collections.abc import Callable

QUARTER = 900.0  # seconds: in every time zone a day begins with a quarter of an hour, as UTC counts them
AFTER = 0.1  # seconds after it


class Days:
    """Owned by the session's reader, which looks when ``look_at`` has come, or later: a client may keep it busy.

    ``today`` says in words which day it is for the person, at a time of the clock; "" if they do not want to know.
    """

    def __init__(self, today: Callable[[float], str | None], now: float) -> None:
        """``now`` is monotonic time."""
        self._today = today
        self._told = today(time.time())
        self.look_at = now + _until_quarter()

    def look(self, now: float) -> str:
        """The day in words, if it is another one than at the last look; otherwise ""."""
        self.look_at = now + _until_quarter()
        before, self._told = self._told, self._today(time.time())
        return self._told or "" if self._told != before else ""


def _until_quarter() -> float:
    return QUARTER - time.time() % QUARTER + AFTER
