"""A daemon thread, and the queue's own count of unfinished items."""

import queue
import threading


class Outbox:
    def __init__(self, send):
        self._send = send
        self._queue = queue.Queue()

    def start(self):
        threading.Thread(target=self._work, daemon=True).start()

    def say(self, line):
        self._queue.put(line)

    def close(self):
        self._queue.join()

    def _work(self):
        while True:
            data = self._queue.get().encode() + b"\n"
            while data:
                data = data[self._send(data) :]
            self._queue.task_done()
