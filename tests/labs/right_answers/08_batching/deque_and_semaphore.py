"""A deque, and a semaphore that counts what is in it."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable


class Outbox:
    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._lines: collections.deque[bytes] = collections.deque()
        self._there = threading.Semaphore(0)

    def put(self, line: bytes) -> None:
        self._lines.append(line)
        self._there.release()

    def close(self) -> None:
        self._there.release()

    def run(self) -> None:
        while self._there.acquire() and self._lines:
            lines = [self._lines.popleft()]
            while len(self._lines) and self._there.acquire(blocking=False):
                lines.append(self._lines.popleft())
            self._send(b"".join(lines))
