"""A flag says whether a thread is writing, but checking and setting it are two steps.

Caught by: test_lines_arrive_whole: which nobody said
"""

import time


class Outbox:
    def __init__(self, send):
        self._send = send
        self._busy = False

    def start(self):
        pass

    def say(self, line):
        data = line.encode() + b"\n"
        while self._busy:
            time.sleep(0.001)
        self._busy = True
        while data:
            taken = self._send(data)
            data = data[taken:]
        self._busy = False

    def close(self):
        pass
