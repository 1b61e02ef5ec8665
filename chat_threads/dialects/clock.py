"""What a clock shows in a person's time zone. Pure, except that the server's zone depends on the machine.

A zone is a name from the database at https://www.iana.org/time-zones, such as Europe/Berlin; "" is the server's.
Without the database there is only the server's zone and UTC: on Windows, the package ``tzdata`` has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

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


@lru_cache(maxsize=1)
def _places() -> list[tuple[str, str]]:
    """The places after which zones are called, in small letters, with the zones. Reads the whole database: 20 ms."""
    zones = sorted(available_timezones(), key=lambda zone: (zone.count("/"), zone))
    return [(zone.rpartition("/")[2].lower(), zone) for zone in zones if "/" in zone and not zone.startswith("Etc/")]


def meant(typed: str) -> str | None:
    """The zone of a place, which is typed without its region, or that has another one; None: there is none."""
    place = typed.rpartition("/")[2].strip().replace(" ", "_").lower()
    if not 2 < len(place) <= _MOST:
        return None
    begun = [(name, zone) for name, zone in _places() if name.startswith(place)]
    exact = [zone for name, zone in begun if name == place]
    return exact[0] if exact else begun[0][1] if len(begun) == 1 else None


def here() -> str:
    """The zone in which this machine is now, in a word: CET, or UTC-3 where zones have no names."""
    name, offset = _called(datetime.now().astimezone())
    return name or offset


def _called(moment: datetime) -> tuple[str, str]:
    """The abbreviation for a moment's zone, "" if it has none, and its difference from UTC."""
    difference = moment.utcoffset()
    minutes = int(difference.total_seconds()) // 60 if difference else 0
    hours, rest = divmod(abs(minutes), 60)
    offset = f"UTC{'+' if minutes > 0 else '-'}{hours}{f':{rest:02}' if rest else ''}" if minutes else "UTC"
    name = moment.tzname() or ""
    return (name if name.isalpha() and name != "UTC" else ""), offset


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
    name, offset = _called(moment)
    called = f"{name} ({offset})" if name else offset
    return f"It is {moment:%A}, {moment.day} {moment:%B} {moment.year}. Times are in {called}."
