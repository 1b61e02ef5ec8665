"""The unfinished lines are in a dictionary of the class, by id().

Fails: Bob said 'hi': a new connection must not see what is left of one that
"""

from __future__ import annotations


class Lines:
    _begun: dict[int, bytes] = {}  # noqa: RUF012

    def __init__(self, limit: int = 64) -> None:
        self.limit = limit

    def feed(self, data: bytes) -> list[str | None]:
        lines: list[str | None] = []
        begun = self._begun.get(id(self), b"") + data
        *ended, rest = begun.split(b"\n")
        for line in ended:
            lines.append(None if len(line) > self.limit else line.removesuffix(b"\r").decode("utf-8", "replace"))
        self._begun[id(self)] = rest[: self.limit + 1]
        return lines
