"""How much of the history is shown at once."""

from __future__ import annotations

from .events import Message

PAGE_BYTES = 1 << 19  # of messages (Message.size), whatever their number
PAGE_LINES = 250  # of their texts: with what may still wait before them, fewer than the smallest --queue-limit


class Page:
    """Tells which messages fit into one page: one in any case, and then those that there is room for."""

    __slots__ = ("_bytes", "_lines")

    def __init__(self) -> None:
        self._bytes, self._lines = PAGE_BYTES, PAGE_LINES

    def takes(self, message: Message) -> bool:
        """Whether the next message fits. It then takes its part of the page."""
        empty = self._bytes == PAGE_BYTES
        self._bytes -= message.size
        self._lines -= message.lines
        return empty or (self._bytes >= 0 and self._lines >= 0)
