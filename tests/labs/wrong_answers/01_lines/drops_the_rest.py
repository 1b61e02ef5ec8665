"""Returns the whole lines, and forgets what came after them.

Fails: what had come of the line before was forgotten
"""

from __future__ import annotations


class Lines:
    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[str | None]:
        return [line.rstrip(b"\r").decode("utf-8", "replace") for line in data.split(b"\n")[:-1]]
