"""Keeps the rest, but dies of invalid UTF-8.

Fails: feed() raised UnicodeDecodeError
"""

from __future__ import annotations


class Lines:
    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[str | None]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.removesuffix(b"\r").decode() for line in lines]
