"""Clears the event after taking the lines, and forgets a line that came in between.

Fails: No thread can continue
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Outbox:
    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._something = threading.Event()
        self._lines: list[bytes] = []
        self._closed = False

    def put(self, line: bytes) -> None:
        self._lines.append(line)
        self._something.set()

    def close(self) -> None:
        self._closed = True
        self._something.set()

    def run(self) -> None:
        while True:
            self._something.wait()
            lines, self._lines = self._lines, []
            if lines:
                self._send(b"".join(lines))
            if self._closed and not self._lines:
                return
            self._something.clear()
