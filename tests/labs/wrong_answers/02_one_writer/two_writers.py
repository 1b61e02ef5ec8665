"""Two threads empty the queue, to be faster.

Caught by: test_lines_arrive_whole: which nobody said
"""

import queue
import threading


class Outbox:
    def __init__(self, send):
        self._send = send
        self._queue = queue.Queue()
        self._writers = [threading.Thread(target=self._work, name=f"writer-{number}") for number in (1, 2)]

    def start(self):
        for writer in self._writers:
            writer.start()

    def say(self, line):
        self._queue.put(line.encode() + b"\n")

    def close(self):
        for _ in self._writers:
            self._queue.put(None)
        for writer in self._writers:
            writer.join()

    def _work(self):
        while (data := self._queue.get()) is not None:
            while data:
                taken = self._send(data)
                data = data[taken:]
