"""A queue.Queue: waits for one line, and then takes all others that are there."""

from __future__ import annotations

import queue
from collections.abc import Callable


class Outbox:
    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self.put = self._lines.put

    def close(self) -> None:
        self._lines.put(None)

    def run(self) -> None:
        closed = False
        while not closed:
            lines = [self._lines.get()]
            try:
                while lines[-1] is not None:
                    lines.append(self._lines.get_nowait())
            except queue.Empty:
                pass
            if lines[-1] is None:
                closed = True
                lines.pop()
            if lines:
                self._send(b"".join(lines))
