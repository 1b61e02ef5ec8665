"""Takes all lines, but still sends one in each call.

Fails: all gathered lines should go out in one
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
                while not self._lines and not self._closed:
                    self._state.wait()
                lines, self._lines = self._lines, []
            if not lines:
                return
            for line in lines:
                self._send(line)
