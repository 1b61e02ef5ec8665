"""No condition: checks every millisecond for lines.

Fails: has to sleep until it is woken
"""

from __future__ import annotations

import threading
import time
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
            time.sleep(0.001)
            with self._state:
                lines, self._lines = self._lines, []
                if not lines and self._closed:
                    return
            if lines:
                self._send(b"".join(lines))
