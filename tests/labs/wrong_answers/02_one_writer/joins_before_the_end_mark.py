"""close() waits first.

Caught by: test_lines_arrive_whole: No thread can continue: writer waits in get()
"""

import queue
import threading


class Outbox:
    def __init__(self, send):
        self._send = send
        self._thread = threading.Thread(target=self._work, name="writer")
        self._queue = queue.SimpleQueue()

    def start(self):
        self._thread.start()

    def say(self, line):
        self._queue.put(line.encode() + b"\n")

    def close(self):
        self._thread.join()
        self._queue.put(None)

    def _work(self):
        while (data := self._queue.get()) is not None:
            while data:
                data = data[self._send(data) :]
