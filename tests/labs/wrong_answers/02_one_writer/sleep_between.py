"""A pause, in the hope that the other thread finishes its line.

Caught by: test_lines_arrive_whole: which nobody said
"""

import time


class Outbox:
    def __init__(self, send):
        self._send = send

    def start(self):
        pass

    def say(self, line):
        data = line.encode() + b"\n"
        while data:
            taken = self._send(data)
            data = data[taken:]
        time.sleep(0.1)

    def close(self):
        time.sleep(1)
