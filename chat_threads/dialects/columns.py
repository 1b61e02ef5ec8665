"""How many columns of a terminal a text takes."""

from __future__ import annotations

from functools import lru_cache

from ..letters import each_cluster

try:
    from wcwidth import wcswidth  # comes with tabulate[widechars], and tabulate measures by it
except ImportError:
    wcswidth = None  # type: ignore[assignment]


def columns(text: str) -> int:
    """How many columns a text takes: two for a Chinese character or an emoji, none for a vowel sign over a letter."""
    if text.isascii() or wcswidth is None:
        return len(text)  # without wcwidth, tabulate measures like this, too
    found = wcswidth(text)
    return len(text) if found < 0 else found


def widest(text: str) -> int:
    """How many columns a text takes at most: some terminals draw the characters of a letter one by one, such as those
    of a family emoji."""
    return len(text) if text.isascii() else sum(map(widest_of, each_cluster(text)))


@lru_cache(maxsize=4096)
def widest_of(letter: str) -> int:
    """As ``widest``, of one letter."""
    return columns(letter) if len(letter) == 1 else max(columns(letter), sum(map(columns, letter)))


def shortened(text: str, most: int) -> str:
    """The text, or as many of its first letters as fit into ``most`` columns with an ellipsis, in every terminal."""
    if text.isascii():
        return text if len(text) <= most else text[: most - 1] + "…"
    begin, cut, width = "", "", 0
    for each in each_cluster(text[: 8 * most]):  # a bound on the work; no text needs more characters
        width += widest_of(each)
        if width > most:
            return cut + "…"
        begin += each
        if width < most:
            cut = begin
    return text if len(begin) == len(text) else cut + "…"
