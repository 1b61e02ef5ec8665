"""close() waits until the queue is empty, not until the last line is sent.

Caught by: test_lines_arrive_whole: Two lines were said. When close() returned, the client had got b'ann 1\n'
"""

import queue
import threading
import time


class Outbox:
    def __init__(self, send):
        self._send = send
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._queue = queue.SimpleQueue()

    def start(self):
        self._thread.start()

    def say(self, line):
        self._queue.put(line.encode() + b"\n")

    def close(self):
        while not self._queue.empty():
            time.sleep(0.01)

    def _work(self):
        while True:
            data = self._queue.get()
            while data:
                data = data[self._send(data) :]
