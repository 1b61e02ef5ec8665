"""iter() with an end mark, and a thread made of a class."""

import queue
import threading


class Writer(threading.Thread):
    def __init__(self, send):
        super().__init__(name="writer")
        self.send = send
        self.lines = queue.Queue()

    def run(self):
        for line in iter(self.lines.get, None):
            view = memoryview(line.encode() + b"\n")
            while view:
                view = view[self.send(bytes(view)) :]


class Outbox:
    def __init__(self, send):
        self._send = send
        self._writer = Writer(send)

    def start(self):
        self._writer.start()

    def say(self, line):
        self._writer.lines.put(line)

    def close(self):
        self._writer.lines.put(None)
        self._writer.join()
