"""Everything is sent when close() returns, but the writer waits for more.

Caught by: test_lines_of_one_thread_arrive_in_order_and_before_close_returns: but the program did not
"""

import queue
import threading


class Outbox:
    """Sends lines to one client. Any thread may say a line."""

    def __init__(self, send):
        """``send(data)`` gives bytes to the client's socket and returns how many the socket took: at least one, but
        maybe not all. It waits while the socket is full."""
        self._send = send
        self._queue = queue.Queue()  # of bytes
        self._writer = threading.Thread(target=self._work, name="writer")

    def start(self):
        """Called once, before the first line is said."""
        self._writer.start()

    def say(self, line):
        """Send this line to the client. Called by any thread; returns at once, however slow the client is."""
        self._queue.put(line.encode() + b"\n")

    def close(self):
        """Called once, after the last line was said. Returns when everything has been sent."""
        self._queue.join()

    def _work(self):
        while True:
            data = self._queue.get()
            while data:
                taken = self._send(data)
                data = data[taken:]
            self._queue.task_done()
