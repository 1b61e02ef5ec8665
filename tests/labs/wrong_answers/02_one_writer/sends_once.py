"""It takes for granted that send() takes all.

Caught by: test_lines_arrive_whole: The client got the line 'ann bob ', which nobody said. The client got b'ann bob '
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
        self._queue.put(None)
        self._thread.join()

    def _work(self):
        while (data := self._queue.get()) is not None:
            self._send(data)
