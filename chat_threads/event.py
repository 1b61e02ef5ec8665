"""What every event has: how much of a queue it takes."""

from __future__ import annotations

from typing import ClassVar

LINE_SIZE = 128  # about how many bytes a line has without its text; each further line of a text adds 5


class Event:
    """Something that a client is shown. ``lines`` and ``size`` count against its queue's limits."""

    __slots__ = ()

    @property
    def lines(self) -> int:
        return 1

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return LINE_SIZE * self.lines


class OneLine:
    """An event of one short line. ``lines`` and ``size`` are no properties, because each parcel asks for them."""

    __slots__ = ()
    lines: ClassVar[int] = 1
    size: ClassVar[int] = LINE_SIZE


def utf8_length(text: str) -> int:
    """The number of bytes that the text has in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
