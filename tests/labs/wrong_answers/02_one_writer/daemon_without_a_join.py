"""A daemon thread, for which nobody waits.

Caught by: test_lines_arrive_whole: Two lines were said. When close() returned, the client had got b''
"""

import queue
import threading


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
        self._queue.put(None)

    def _work(self):
        while (data := self._queue.get()) is not None:
            while data:
                data = data[self._send(data) :]
