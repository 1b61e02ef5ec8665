"""How many columns of a terminal a text takes."""

from __future__ import annotations

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


def shortened(text: str, most: int) -> str:
    """The text, or as many of its first letters as fit into ``most`` columns with an ellipsis."""
    if (len(text) <= most and text.isascii()) or columns(text) <= most:
        return text
    return _fitting(text, most - 1) + "…"


def _fitting(word: str, most: int) -> str:
    """The first letters of a word that fit into ``most`` columns."""
    if word.isascii():
        return word[:most]
    begin, width = "", 0
    for each in each_cluster(word[: 8 * most]):  # a bound on the work; no text needs more characters
        width += columns(each)
        if width > most:
            break
        begin += each
    return begin
