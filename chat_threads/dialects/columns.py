"""How many columns of a terminal a text takes, and tables that fit into a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from tabulate import MIN_PADDING, tabulate

from ..letters import clusters

try:
    from wcwidth import wcswidth  # comes with tabulate[widechars], and tabulate measures by it
except ImportError:
    wcswidth = None  # type: ignore[assignment]

_LEFT_TO_RIGHT = "\u200e"  # drawn as nothing


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
    short, width = "", 0
    for each in clusters(text[: 8 * most]):  # a bound on the work; no text needs more characters
        width += columns(each)
        if width > most - 1:
            break
        short += each
    return short + "…"


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[int] = (),
    most: int | None = None,
    shrink: Sequence[tuple[int, int]] = (),
) -> list[str]:
    """The lines of a table, with the columns in ``right`` flush right.

    If the table is wider than ``most``, the columns in ``shrink`` become narrower, one after the other, each at least
    as wide as its pair says.
    """
    sizes = [list(map(columns, row)) for row in rows]
    widths = [max([columns(header) + MIN_PADDING, *column]) for header, *column in zip(headers, *sizes, strict=True)]
    spare = 0 if most is None else sum(widths) + 2 * (len(widths) - 1) - most
    for column, least in shrink:
        if spare > 0 and widths[column] > least:
            narrower = max(least, widths[column] - spare)
            spare -= widths[column] - narrower
            widths[column] = narrower
    cells = [
        [
            _isolated(cell if size <= width else shortened(cell, width))
            for cell, size, width in zip(*row, widths, strict=True)
        ]
        for row in zip(rows, sizes, strict=True)
    ]
    align = ["right" if column in right else "left" for column in range(len(headers))]
    drawn = tabulate(cells, headers, tablefmt="simple", disable_numparse=True, colalign=align if cells else None)
    return [line.rstrip(f" {_LEFT_TO_RIGHT}") for line in drawn.split("\n")]


def _isolated(cell: str) -> str:
    """The cell, with a mark after text that runs from right to left. Otherwise a terminal that orders text (UAX #9)
    would show the number after a Hebrew or Arabic cell on the left of it."""
    if cell.isascii() or not any(unicodedata.bidirectional(char) in ("R", "AL", "AN") for char in cell):
        return cell
    return f"{cell}{_LEFT_TO_RIGHT}"
