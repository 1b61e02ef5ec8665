"""Keeps the rest as text, so a character in two pieces becomes two wrong characters.

Fails: half a character was decoded before the other half arrived
"""

from __future__ import annotations


class Lines:
    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._text = ""

    def feed(self, data: bytes) -> list[str | None]:
        self._text += data.decode("utf-8", "replace")
        *lines, self._text = self._text.split("\n")
        return [line.removesuffix("\r") for line in lines]
