"""Tables that fit into a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import chain

from tabulate import MIN_PADDING, tabulate

from .columns import shortened, widest
from .rows import wrapped

_LEFT_TO_RIGHT = "\u200e"  # drawn as nothing


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[int] = (),
    most: int | None = None,
    shrink: Sequence[tuple[int, int]] = (),
) -> list[str]:
    """The lines of a table; see ``blocks``."""
    head, lines = blocks(headers, rows, right, most, shrink)
    return [*head, *chain.from_iterable(lines)]


def blocks(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[int] = (),
    most: int | None = None,
    shrink: Sequence[tuple[int, int]] = (),
) -> tuple[list[str], list[list[str]]]:
    """The lines above a table, and those of each row, with the columns in ``right`` flush right.

    If the table is wider than ``most``, the columns in ``shrink`` become narrower, one after the other, each at least
    as wide as its pair says. If it is still wider, there are no columns, and a row has as many lines as it needs.
    """
    sizes = [list(map(widest, row)) for row in rows]
    widths = [max([len(header) + MIN_PADDING, *column]) for header, *column in zip(headers, *sizes, strict=True)]
    spare = 0 if most is None else sum(widths) + 2 * (len(widths) - 1) - most
    for column, least in shrink:
        if spare > 0 and widths[column] > least:
            narrower = max(least, widths[column] - spare)
            spare -= widths[column] - narrower
            widths[column] = narrower
    if most is not None and spare > 0:
        return [], [_listed(headers, row, most) for row in rows]
    cells = [
        [
            _isolated(cell if size <= width else shortened(cell, width))
            for cell, size, width in zip(*row, widths, strict=True)
        ]
        for row in zip(rows, sizes, strict=True)
    ]
    align = ["right" if column in right else "left" for column in range(len(headers))]
    drawn = tabulate(cells, headers, tablefmt="simple", disable_numparse=True, colalign=align if cells else None)
    head, rule, *lines = (line.rstrip(f" {_LEFT_TO_RIGHT}") for line in drawn.split("\n"))
    return [head, rule], [[line] for line in lines]


def _listed(headers: Sequence[str], row: Sequence[str], most: int) -> list[str]:
    """A row in words: its first cell, and the others with their headers. A line ends between two of these, if they are
    not wider than a line."""
    cells = [f"{header}: {_isolated(cell)}" for header, cell in zip(headers[1:], row[1:], strict=True) if cell]
    lines = wrapped(row[0], most, "  ")
    for cell in cells:
        if widest(lines[-1]) + 2 + widest(cell) <= most:
            lines[-1] += f"  {cell}"
        else:
            lines += wrapped(f"  {cell}", most, "    ")
    return lines


def _isolated(cell: str) -> str:
    """The cell, with a mark after text that runs from right to left. Otherwise a terminal that orders text (UAX #9)
    would show the number after a Hebrew or Arabic cell on the left of it."""
    if cell.isascii() or not any(unicodedata.bidirectional(char) in ("R", "AL", "AN") for char in cell):
        return cell
    return f"{cell}{_LEFT_TO_RIGHT}"
