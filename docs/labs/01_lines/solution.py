"""Lab 1, solved: keep the unfinished line as bytes, at most ``limit`` of them, and decode only whole lines."""

from __future__ import annotations

LIMIT = 64  # bytes of a line


class Lines:
    """Turns what ``recv()`` returns into lines. Each connection has its own Lines."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._begun = b""  # the bytes after the last LF, at most ``limit``
        self._too_long = False  # the unfinished line has more than ``limit`` bytes; they were dropped

    def feed(self, data: bytes) -> list[str | None]:
        """Take what one ``recv()`` returned. Return the lines that are complete now, without their line ends."""
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
