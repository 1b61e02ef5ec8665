"""Lab 1, solved: keep what has not ended, decode what has, and never keep more than a line may have."""

from __future__ import annotations

LIMIT = 64  # bytes of a line


class Lines:
    """Makes lines of what ``recv()`` returns. Each connection has one of its own."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._begun = b""  # what came after the last LF, at most ``limit`` bytes
        self._too_long = False  # the line under way has had more, and they were thrown away

    def feed(self, data: bytes) -> list[str | None]:
        """Take what one ``recv()`` returned; return the lines that it ends, without their ends."""
        lines: list[str | None] = []
        *ended, rest = data.split(b"\n")
        for piece in ended:
            self._keep(piece)
            lines.append(None if self._too_long else self._begun.removesuffix(b"\r").decode("utf-8", "replace"))
            self._begun, self._too_long = b"", False
        self._keep(rest)
        return lines

    def _keep(self, piece: bytes) -> None:
        if self._too_long or len(self._begun) + len(piece) > self.limit:
            self._begun, self._too_long = b"", True
        else:
            self._begun += piece
