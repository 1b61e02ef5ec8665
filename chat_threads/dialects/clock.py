"""What a clock shows in a person's time zone. Pure, except that the server's zone depends on the machine.

A zone is a name from the database at https://www.iana.org/time-zones, such as Europe/Berlin; "" is the server's.
Without the database there is only the server's zone and UTC: on Windows, the package ``tzdata`` has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

ZONES = 1024  # more than there are
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_MOST = 40  # characters in the name of a zone
_SPELLINGS: tuple[Callable[[str], str], ...] = (str, str.title, str.upper)


@lru_cache(maxsize=ZONES)
def _zone(name: str) -> tzinfo | None:
    """Raise KeyError, ValueError or OSError if there is none of that name."""
    if not name:
        return None
    return timezone.utc if name == "UTC" else ZoneInfo(name)


def known(typed: str) -> str | None:
    """The name of a zone, which may be typed in small letters; None: it is not known here. May read files."""
    if len(typed) <= _MOST and _NAME.fullmatch(typed):
        for spelt in _SPELLINGS:
            name = spelt(typed)
            try:
                _zone(name)
            except (KeyError, ValueError, OSError):
                continue
            return name
    return None


def _moment(zone: str, second: float) -> datetime:
    return datetime.fromtimestamp(second, _zone(zone))


@lru_cache(maxsize=1024)
def minute(zone: str, at: int) -> str:
    """The time of a line: [14:03]. ``at`` is in minutes since 1970."""
    return _moment(zone, at * 60).strftime("[%H:%M] ")


@lru_cache(maxsize=1024)
def second(zone: str, at: int) -> str:
    """The same with seconds, for ``at`` in seconds."""
    return _moment(zone, at).strftime("[%H:%M:%S] ")


def day(zone: str, at: float) -> str:
    """The day as in 2026-11-30, for ``at`` in seconds."""
    return _moment(zone, at).strftime("%Y-%m-%d")


@lru_cache(maxsize=1024)
def today(zone: str, at: int) -> str:
    """The day and the zone in words, for ``at`` in minutes."""
    moment = _moment(zone, at * 60).astimezone(_zone(zone))
    difference = moment.utcoffset()
    minutes = int(difference.total_seconds()) // 60 if difference else 0
    hours, rest = divmod(abs(minutes), 60)
    offset = f"UTC{'+' if minutes > 0 else '-'}{hours}{f':{rest:02}' if rest else ''}" if minutes else "UTC"
    name = moment.tzname() or ""
    called = f"{name} ({offset})" if name.isalpha() and name != "UTC" else offset
    return f"It is {moment:%A}, {moment.day} {moment:%B} {moment.year}. Times are in {called}."
