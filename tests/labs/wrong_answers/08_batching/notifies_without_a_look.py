"""The writer waits once, whether there is something or not.

Fails: 'hello' was put, all threads are idle, and it was not sent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class Outbox:
    """The lines that wait for one client. Any thread puts lines in; the client's writer thread runs ``run``."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._state = threading.Condition()  # its lock guards the attributes below; never held while sending
        self._lines: list[bytes] = []
        self._closed = False

    def put(self, line: bytes) -> None:
        """Add a line, with its LF. Never waits for ``send``, which may take long."""
        with self._state:
            self._lines.append(line)
            self._state.notify()

    def close(self) -> None:
        """Called once, after the last ``put``."""
        with self._state:
            self._closed = True
            self._state.notify()

    def run(self) -> None:
        """Send each line as soon as possible, in order. Return when the Outbox is closed and everything is sent."""
        while True:
            with self._state:
                self._state.wait()
                lines, self._lines = self._lines, []
            if not lines:
                return
            self._send(b"".join(lines))
