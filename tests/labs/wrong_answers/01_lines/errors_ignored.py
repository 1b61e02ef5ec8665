"""Invalid bytes are left out.

Fails: Step 1: 'caf' should be 'caf�'.
"""

from __future__ import annotations


class Lines:
    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._begun = b""
        self._too_long = False

    def feed(self, data: bytes) -> list[str | None]:
        lines: list[str | None] = []
        *ended, rest = data.split(b"\n")
        for piece in ended:
            self._keep(piece)
            lines.append(None if self._too_long else self._begun.removesuffix(b"\r").decode("utf-8", "ignore"))
            self._begun, self._too_long = b"", False
        self._keep(rest)
        return lines

    def _keep(self, piece: bytes) -> None:
        if self._too_long or len(self._begun) + len(piece) > self.limit:
            self._begun, self._too_long = b"", True
        else:
            self._begun += piece
