"""Keeps all pieces in a list, without a limit.

Fails: A client sends 1,000,000 bytes and never an LF.
"""

from __future__ import annotations

LIMIT = 64


class Lines:
    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> list[str | None]:
        self._pieces.append(data)
        if b"\n" not in data:
            return []
        *lines, rest = b"".join(self._pieces).split(b"\n")
        self._pieces = [rest]
        return [
            None if len(line) > self.limit else line.removesuffix(b"\r").decode("utf-8", "replace") for line in lines
        ]
