"""How people see what people say, and their settings for it. Pure.

A message begins with its time or its name; an action has ``~`` before the name, which no name begins with. The second
and later lines of a text have ``MARK`` in front, with which nothing else begins. So have the further rows of a line
that is wider than the window, if the client has told its width.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from .. import events
from ..rules import clean_lines, fold
from .columns import columns
from .rows import rows, wrapped
from .telnet import SIZE

# For names: those of xterm's 256 colours that are as readable on white as on black. Each has a contrast of at least
# 4 to both (WCAG 2.2), of which no colour has more than 4.6.
COLOURS = (131, 130, 64, 28, 29, 31, 27, 63, 98, 129, 163, 161)

MARK = "  | "  # begins each further line of a text, so that it cannot look like somebody else's, or the server's
FURTHER = "\r\n" + MARK


@dataclass(frozen=True, slots=True)
class Style:
    """A person's settings, and whether a view is of the current room."""

    timestamps: str = "on"
    zone: str = ""  # as in the module clock
    numbers: bool = False
    colour: bool = False
    bell: str = ""  # the name at which to ring
    joins: bool = True
    ignored: frozenset[int] = frozenset()  # the numbers of the ignored people's tokens
    here: bool = True
    blocks: bool = True  # whether the terminal has the characters that QR codes are drawn with
    columns: int = SIZE[0]  # of the window
    fits: bool = False  # whether what people say is shown in rows that fit into the window, because its width is known
    screen: bool = False  # whether the person edits lines, and what is said is drawn above them


def typed(style: Style, text: str) -> str:
    """A line that the person has typed, or pasted, in rows that fit into the window. Nothing else begins with ``>``."""
    found: list[str] = []
    for line in clean_lines(text).rstrip("\n").split("\n"):
        found += wrapped(("  " if found else "> ") + line, style.columns, "  ")
    dim, plain = ("\x1b[2m", "\x1b[0m") if style.colour else ("", "")
    return "".join(f"{dim}{row}{plain}\r\n" for row in found)


def said(style: Style, before: str, event: events.Message) -> str:
    """A message, with its time and the like ``before`` it."""
    if event.kind == "action":
        return spoken(style, f"{before}~ ", event.sender, " ", event.text)
    if event.kind == "removed":
        return spoken(style, f"{before}* a message from ", event.sender, " was removed", "")
    return spoken(style, before, event.sender, ": ", event.text)


def spoken(style: Style, before: str, name: str, between: str, text: str) -> str:
    """What a person says, in rows that fit into the window if its width is known."""
    fits = not style.fits or (len(before) + len(name) + len(between) + len(text) <= style.columns and text.isascii())
    if fits and "\n" not in text:
        name = _coloured(style, name) if style.colour else name
        return f"{before}{name}{between}{text}"
    if not style.fits:
        return f"{before}{_coloured(style, name)}{between}{text}".replace("\n", FURTHER)
    head = before + name
    found = _rows(style, head + between, text.split("\n"))
    if found[0].startswith(head):  # otherwise the window is too narrow for the name
        found[0] = f"{before}{_coloured(style, name)}{found[0][len(head) :]}"
    return FURTHER.join(found)


def _rows(style: Style, head: str, lines: Sequence[str]) -> list[str]:
    """The rows of a text of several lines; all but the first are to begin with MARK."""
    later = style.columns - len(MARK)
    room = style.columns - columns(head)
    if room > 0:
        found = rows(lines[0], later, room)
        found[0] = (head + found[0]).rstrip(" ")
    else:
        found = rows(head + lines[0], later, style.columns)
    for line in lines[1:]:
        found += rows(line, later)
    return found


def _coloured(style: Style, name: str) -> str:
    if not style.colour:
        return name
    colour = COLOURS[zlib.crc32(fold(name).encode("utf-8")) % len(COLOURS)]
    return f"\x1b[38;5;{colour}m{name}\x1b[0m"
