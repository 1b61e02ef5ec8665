"""One unfinished line for all connections.

Fails: Ann said 'hi there', bob said 'good morning': one connection must not
"""

from __future__ import annotations


class Lines:
    begun = bytearray()

    def __init__(self, limit: int = 64) -> None:
        self.limit = limit

    def feed(self, data: bytes) -> list[str | None]:
        self.begun += data
        lines: list[str | None] = []
        while (end := self.begun.find(b"\n")) >= 0:
            line = bytes(self.begun[:end])
            del self.begun[: end + 1]
            lines.append(None if len(line) > self.limit else line.removesuffix(b"\r").decode("utf-8", "replace"))
        del self.begun[self.limit + 1 :]
        return lines
