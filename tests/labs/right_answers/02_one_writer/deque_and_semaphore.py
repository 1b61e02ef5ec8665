"""A deque needs no lock: append and popleft are one step each."""

import collections
import threading


class Outbox:
    def __init__(self, send):
        self._send = send
        self._thread = threading.Thread(target=self._work, name="writer")
        self._lines = collections.deque()
        self._there = threading.Semaphore(0)

    def start(self):
        self._thread.start()

    def say(self, line):
        self._lines.append(line.encode() + b"\n")
        self._there.release()

    def close(self):
        self._there.release()
        self._thread.join()

    def _work(self):
        while self._there.acquire() and self._lines:
            data = self._lines.popleft()
            while data:
                data = data[self._send(data) :]
