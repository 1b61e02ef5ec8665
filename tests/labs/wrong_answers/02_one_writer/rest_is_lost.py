"""The writer calls send once for each line, and loses what the socket did not take.

Caught by: test_lines_arrive_whole: which nobody said
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
        self._queue.put(None)
        self._writer.join()

    def _work(self):
        while (data := self._queue.get()) is not None:
            self._send(data)
