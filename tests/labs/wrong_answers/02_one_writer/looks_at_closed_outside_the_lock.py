"""The writer looks whether the outbox is closed after it has released the lock.

Caught by: test_lines_of_one_thread_arrive_in_order_and_before_close_returns: ann said 1, 2, 3. When close() returned,
"""

import threading


class Outbox:
    def __init__(self, send):
        self._send = send
        self._thread = threading.Thread(target=self._work, name="writer")
        self._lock = threading.Lock()
        self._lines = []
        self._closed = False
        self._there = threading.Semaphore(0)

    def start(self):
        self._thread.start()

    def say(self, line):
        while not self._lock.acquire(blocking=False):
            pass
        self._lines.append(line.encode() + b"\n")
        self._lock.release()
        self._there.release()

    def close(self):
        self._closed = True
        self._there.release()
        self._thread.join()

    def _work(self):
        while self._there.acquire():
            with self._lock:
                data, self._lines = b"".join(self._lines), []
            if not data and self._closed:
                return
            while data:
                data = data[self._send(data) :]
