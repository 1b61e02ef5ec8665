"""An incremental decoder for each line."""

from __future__ import annotations

import codecs


class Lines:
    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._new()

    def _new(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text, self._size = "", 0

    def feed(self, data: bytes) -> list[str | None]:
        lines: list[str | None] = []
        for piece in data.splitlines(keepends=False) and data.split(b"\n")[:-1]:
            self._add(piece)
            self._text += self._decoder.decode(b"", final=True)
            lines.append(None if self._size > self.limit else self._text.removesuffix("\r"))
            self._new()
        self._add(data.rpartition(b"\n")[2])
        return lines

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= self.limit:
            self._text += self._decoder.decode(piece)
