"""Keeps everything until a piece ends with LF.

Fails: something was lost or held back
"""

from __future__ import annotations


class Lines:
    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> list[str | None]:
        self._rest += data
        if not self._rest.endswith(b"\n"):
            return []
        lines = self._rest.split(b"\n")[:-1]
        self._rest = b""
        return [line.removesuffix(b"\r").decode("utf-8", "replace") for line in lines]
