"""Checks the limit only when a line ends, and keeps everything until then.

Fails: A client sends 1,000,000 bytes and never an LF.
"""

from __future__ import annotations


class Lines:
    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[str | None]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [
            None if len(line) > self.limit else line.removesuffix(b"\r").decode("utf-8", "replace") for line in lines
        ]
