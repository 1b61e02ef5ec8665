"""Returns the whole lines, but forgets the bytes after them.

Fails: the first part of the line was lost
"""

from __future__ import annotations


class Lines:
    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[str | None]:
        return [line.rstrip(b"\r").decode("utf-8", "replace") for line in data.split(b"\n")[:-1]]
