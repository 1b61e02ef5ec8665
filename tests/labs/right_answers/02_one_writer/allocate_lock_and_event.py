"""The lock of _thread, and an event."""

import _thread
import threading


class Outbox:
    def __init__(self, send):
        self._send = send
        self._thread = threading.Thread(target=self._work, name="writer")
        self._lock = _thread.allocate_lock()
        self._lines = []
        self._closed = False
        self._there = threading.Event()

    def start(self):
        self._thread.start()

    def say(self, line):
        with self._lock:
            self._lines.append(line.encode() + b"\n")
            self._there.set()

    def close(self):
        with self._lock:
            self._closed = True
            self._there.set()
        self._thread.join()

    def _work(self):
        while self._there.wait():
            with self._lock:
                self._there.clear()
                data, self._lines, closed = b"".join(self._lines), [], self._closed
            while data:
                data = data[self._send(data) :]
            if closed:
                return
