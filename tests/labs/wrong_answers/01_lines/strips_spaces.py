"""Removes spaces at the end of a line, too.

Fails: '  is the café open? '
"""

from __future__ import annotations


class Lines:
    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[str | None]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode("utf-8", "replace").strip() for line in lines]
