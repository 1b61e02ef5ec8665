"""The queue has ten places, so the thread that says the eleventh line waits for the client.

Caught by: test_say_does_not_wait_for_the_client: it is full
"""

import queue
import threading


class Outbox:
    """The way to one client. Any thread may say a line to it."""

    def __init__(self, send):
        """``send(data)`` gives bytes to the client's socket and returns how many it took: at least one, maybe not
        all. It waits as long as the socket is full."""
        self._send = send
        self._queue = queue.Queue(10)  # of bytes; None is the last
        self._writer = threading.Thread(target=self._work, name="writer")

    def start(self):
        """Called once, before a line is said."""
        self._writer.start()

    def say(self, line):
        """Any thread: the client shall get this line. Comes back at once, however slow the client is."""
        self._queue.put(line.encode() + b"\n")

    def close(self):
        """Called once, after the last line was said. Comes back when everything is sent."""
        self._queue.put(None)
        self._writer.join()

    def _work(self):
        while (data := self._queue.get()) is not None:
            while data:
                taken = self._send(data)
                data = data[taken:]
