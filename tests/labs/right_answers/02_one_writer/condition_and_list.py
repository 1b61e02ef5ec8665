"""Without a queue: a list and a condition. The writer takes all lines that are there."""

import threading


class Outbox:
    def __init__(self, send):
        self._send = send
        self._changed = threading.Condition()
        self._lines = []
        self._closed = False

    def start(self):
        self._writer = threading.Thread(target=self._work)
        self._writer.start()

    def say(self, line):
        with self._changed:
            self._lines.append(line.encode() + b"\n")
            self._changed.notify()

    def close(self):
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._writer.join()

    def _work(self):
        while True:
            with self._changed:
                while not self._lines and not self._closed:
                    self._changed.wait()
                data = b"".join(self._lines)
                self._lines.clear()
            if not data:
                return
            while data:
                data = data[self._send(data) :]
