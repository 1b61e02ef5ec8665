"""The default value of a parameter is shared.

Fails: Ann said 'hi there', bob said 'good morning': one connection must not
"""

from __future__ import annotations


class Lines:
    def __init__(self, limit: int = 64, begun: list[bytes] = []) -> None:  # noqa: B006
        self.limit = limit
        self._begun = begun

    def feed(self, data: bytes) -> list[str | None]:
        lines: list[str | None] = []
        whole = b"".join(self._begun) + data
        *ended, rest = whole.split(b"\n")
        for line in ended:
            lines.append(None if len(line) > self.limit else line.removesuffix(b"\r").decode("utf-8", "replace"))
        self._begun[:] = [rest[: self.limit + 1]]
        return lines
