"""The writer mistakes an empty queue for the end.

Caught by: test_lines_of_one_thread_arrive_in_order_and_before_close_returns: the client had got
"""

import queue
import threading


class Outbox:
    def __init__(self, send):
        self._send = send
        self._queue = queue.Queue()
        self._writer = threading.Thread(target=self._work, name="writer")

    def start(self):
        self._writer.start()

    def say(self, line):
        self._queue.put(line.encode() + b"\n")

    def close(self):
        self._writer.join()

    def _work(self):
        while not self._queue.empty():
            data = self._queue.get()
            while data:
                taken = self._send(data)
                data = data[taken:]
