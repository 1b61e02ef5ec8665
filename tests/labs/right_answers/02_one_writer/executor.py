"""A pool of one thread is a queue and a writer."""

from concurrent.futures import ThreadPoolExecutor


class Outbox:
    def __init__(self, send):
        self._send = send
        self._pool = ThreadPoolExecutor(1)

    def start(self):
        pass

    def say(self, line):
        self._pool.submit(self._write, line.encode() + b"\n")

    def close(self):
        self._pool.shutdown()

    def _write(self, data):
        while data:
            taken = self._send(data)
            data = data[taken:]
