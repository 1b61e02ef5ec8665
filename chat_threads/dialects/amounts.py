"""How many and how long, in few words. Pure functions."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """The number with the noun in its form: 1 line, 2 lines."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def time_span(seconds: float) -> str:
    """A time span, short: 42s, 5m, 3h, 2d."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"
