"""Keeps the rest of all connections in one place.

Fails: one connection must not see the bytes of another
"""

from __future__ import annotations


class Lines:
    _rest = bytearray()

    def __init__(self, limit: int = 64) -> None:
        self.limit = limit

    def feed(self, data: bytes) -> list[str | None]:
        self._rest += data
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest[:] = rest
        return [
            None if len(line) > self.limit else line.removesuffix(b"\r").decode("utf-8", "replace") for line in lines
        ]
