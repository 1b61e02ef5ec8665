"""Lab 8, solved: the writer takes all that is there. While it sends, the next batch gathers by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Outbox:
    """What waits for one client. Any thread puts lines in; the client's writer thread runs ``run``."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._state = threading.Condition()  # its lock guards what follows; never held while sending
        self._lines: list[bytes] = []
        self._closed = False

    def put(self, line: bytes) -> None:
        """Put a line, with its LF. Never waits for ``send``, which may take long."""
        with self._state:
            self._lines.append(line)
            self._state.notify()

    def close(self) -> None:
        """Say that nothing more will be put. Called once."""
        with self._state:
            self._closed = True
            self._state.notify()

    def run(self) -> None:
        """Send what is put, in order, as soon as it can be; return when it is closed and all was sent."""
        while True:
            with self._state:
                while not self._lines and not self._closed:
                    self._state.wait()
                lines, self._lines = self._lines, []
            if not lines:
                return
            self._send(b"".join(lines))
