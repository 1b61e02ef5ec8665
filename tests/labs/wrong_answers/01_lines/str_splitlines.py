"""Keeps the rest, and lets str.splitlines say what a line is.

Fails: not all are lines
"""

from __future__ import annotations


class Lines:
    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[str | None]:
        whole, found, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest
        return list((whole + found).decode("utf-8", "replace").splitlines())
