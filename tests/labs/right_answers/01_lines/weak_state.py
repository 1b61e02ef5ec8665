"""The unfinished lines are in a dictionary that forgets connections that have ended."""

from __future__ import annotations

import weakref

BEGUN: weakref.WeakKeyDictionary[Lines, bytes] = weakref.WeakKeyDictionary()


class Lines:
    def __init__(self, limit: int = 64) -> None:
        self.limit = limit

    def feed(self, data: bytes) -> list[str | None]:
        lines: list[str | None] = []
        *ended, rest = (BEGUN.get(self, b"") + data).split(b"\n")
        for line in ended:
            lines.append(None if len(line) > self.limit else line.removesuffix(b"\r").decode("utf-8", "replace"))
        BEGUN[self] = rest[: self.limit + 1]
        return lines
