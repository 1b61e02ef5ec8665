"""The lines are whole, but every speaker waits for the client, one after the other.

Caught by: test_say_does_not_wait_for_the_client: waits for self._lock
"""

import threading


class Outbox:
    def __init__(self, send):
        self._send = send
        self._lock = threading.Lock()

    def start(self):
        pass

    def say(self, line):
        data = line.encode() + b"\n"
        with self._lock:
            while data:
                data = data[self._send(data) :]

    def close(self):
        pass
