"""A list that is read and emptied in one line, without a lock.

Caught by: test_lines_arrive_whole: Two lines were said. When close() returned, the client had got b'bob 1\n'
"""

import threading


class Outbox:
    def __init__(self, send):
        self._send = send
        self._thread = threading.Thread(target=self._work, name="writer")
        self._lines = []
        self._closed = False
        self._there = threading.Event()

    def start(self):
        self._thread.start()

    def say(self, line):
        self._lines.append(line.encode() + b"\n")
        self._there.set()

    def close(self):
        self._closed = True
        self._there.set()
        self._thread.join()

    def _work(self):
        while not self._closed or self._lines:
            self._there.wait()
            self._there.clear()
            data, self._lines = b"".join(self._lines), []
            while data:
                data = data[self._send(data) :]
