"""Checks without the lock, and then waits for a line that has already come.

Fails: 'hello' was put, all threads are idle, and it was not sent
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
            if not self._lines and not self._closed:
                with self._state:
                    self._state.wait()
            with self._state:
                lines, self._lines = self._lines, []
            if lines:
                self._send(b"".join(lines))
            elif self._closed:
                return
