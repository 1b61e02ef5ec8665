"""Drops the first part of a line that is too long, and returns its end as a line.

Fails: has to become None
"""

from __future__ import annotations


class Lines:
    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[str | None]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > self.limit:
            self._rest = b""
        return [
            None if len(line) > self.limit else line.removesuffix(b"\r").decode("utf-8", "replace") for line in lines
        ]
