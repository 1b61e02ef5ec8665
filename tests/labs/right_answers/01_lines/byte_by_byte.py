"""Looks at each byte."""

from __future__ import annotations


class Lines:
    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._line = bytearray()

    def feed(self, data: bytes) -> list[str | None]:
        lines: list[str | None] = []
        for byte in data:
            if byte == 10:
                overlong = len(self._line) > self.limit
                lines.append(None if overlong else self._line.removesuffix(b"\r").decode("utf-8", "replace"))
                self._line.clear()
            elif len(self._line) <= self.limit:
                self._line.append(byte)
        return lines
