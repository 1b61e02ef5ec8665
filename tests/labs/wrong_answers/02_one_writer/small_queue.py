"""A queue for one line: the thread that says the next line still waits for the client.

Caught by: test_say_does_not_wait_for_the_client: waits in put()
"""

import queue
import threading


class Outbox:
    def __init__(self, send):
        self._send = send
        self._queue = queue.Queue(1)
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
            while data:
                taken = self._send(data)
                data = data[taken:]
