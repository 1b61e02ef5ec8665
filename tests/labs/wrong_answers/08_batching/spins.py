"""No condition: checks for lines again and again.

Fails: has to sleep until it is woken
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Outbox:
    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._state = threading.Condition()
        self._lines: list[bytes] = []
        self._closed = False

    def put(self, line: bytes) -> None:
        with self._state:
            self._lines.append(line)
            self._state.notify()

    def close(self) -> None:
        with self._state:
            self._closed = True
            self._state.notify()

    def run(self) -> None:
        while True:
            with self._state:
                lines, self._lines = self._lines, []
                if not lines and self._closed:
                    return
            if lines:
                self._send(b"".join(lines))
