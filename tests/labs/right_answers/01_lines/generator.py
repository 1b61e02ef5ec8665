"""A generator that takes pieces and gives lists."""

from __future__ import annotations


class Lines:
    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._work = self._lines()
        next(self._work)

    def feed(self, data: bytes) -> list[str | None]:
        return self._work.send(data)

    def _lines(self):
        rest, lines = b"", []
        while True:
            rest += yield lines
            *ended, rest = rest.split(b"\n")
            lines = [
                None if len(line) > self.limit else line.removesuffix(b"\r").decode("utf-8", "replace")
                for line in ended
            ]
            rest = rest[: self.limit + 1]
