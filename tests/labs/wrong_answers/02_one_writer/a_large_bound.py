"""The queue has 1000 places: more than anybody says in a minute, but a client may be away for an hour.

Caught by: test_say_does_not_wait_for_the_client: say() returned 1001 times, and then no more: ann waits
"""

import queue
import threading


class Outbox:
    """Sends lines to one client. Any thread may say a line."""

    def __init__(self, send):
        """``send(data)`` gives bytes to the client's socket and returns how many the socket took: at least one, but
        maybe not all. It waits while the socket is full."""
        self._send = send
        self._queue = queue.Queue(1000)  # of bytes; None is the last
        self._writer = threading.Thread(target=self._work, name="writer")

    def start(self):
        """Called once, before the first line is said."""
        self._writer.start()

    def say(self, line):
        """Send this line to the client. Called by any thread; returns at once, however slow the client is."""
        self._queue.put(line.encode() + b"\n")

    def close(self):
        """Called once, after the last line was said. Returns when everything has been sent."""
        self._queue.put(None)
        self._writer.join()

    def _work(self):
        while (data := self._queue.get()) is not None:
            while data:
                taken = self._send(data)
                data = data[taken:]
