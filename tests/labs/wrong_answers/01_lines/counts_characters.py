"""The limit is in bytes, but this counts characters.

Fails: has to become None
"""

from __future__ import annotations

LIMIT = 64


class Lines:
    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[str | None]:
        self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        self._rest = self._rest[: self.limit + 1]
        return [
            None
            if len(line.decode("utf-8", "replace")) > self.limit
            else line.removesuffix(b"\r").decode("utf-8", "replace")
            for line in lines
        ]
