"""Everything is sent when close() returns, but the writer waits for more.

Caught by: test_lines_of_one_thread_arrive_in_order_and_before_close_returns: but the program did not
"""

import queue
import threading


class Outbox:
    """The way to one client. Any thread may say a line to it."""

    def __init__(self, send):
        """``send(data)`` gives bytes to the client's socket and returns how many it took: at least one, maybe not
        all. It waits as long as the socket is full."""
        self._send = send
        self._queue = queue.Queue()  # of bytes
        self._writer = threading.Thread(target=self._work, name="writer")

    def start(self):
        """Called once, before a line is said."""
        self._writer.start()

    def say(self, line):
        """Any thread: the client shall get this line. Comes back at once, however slow the client is."""
        self._queue.put(line.encode() + b"\n")

    def close(self):
        """Called once, after the last line was said. Comes back when everything is sent."""
        self._queue.join()

    def _work(self):
        while True:
            data = self._queue.get()
            while data:
                taken = self._send(data)
                data = data[taken:]
            self._queue.task_done()
