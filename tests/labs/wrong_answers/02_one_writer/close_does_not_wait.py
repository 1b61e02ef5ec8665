"""close() returns while lines are still in the queue.

Caught by: test_lines_of_one_thread_arrive_in_order_and_before_close_returns: the client had got
"""

import queue
import threading
import time


class Outbox:
    def __init__(self, send):
        self._send = send
        self._queue = queue.Queue()

    def start(self):
        threading.Thread(target=self._work, name="writer", daemon=True).start()

    def say(self, line):
        self._queue.put(line.encode() + b"\n")

    def close(self):
        while not self._queue.empty():
            time.sleep(0.01)

    def _work(self):
        while True:
            data = self._queue.get()
            while data:
                taken = self._send(data)
                data = data[taken:]
