"""No writer at all: put() sends.

Fails: No thread can continue: ann waits
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Outbox:
    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._end = threading.Event()

    def put(self, line: bytes) -> None:
        self._send(line)

    def close(self) -> None:
        self._end.set()

    def run(self) -> None:
        self._end.wait()
