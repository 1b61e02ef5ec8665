"""Nobody waits, but the lines overtake each other.

Caught by: test_lines_of_one_thread_arrive_in_order_and_before_close_returns: the client had got
"""

import threading


class Outbox:
    def __init__(self, send):
        self._send = send
        self._lock = threading.Lock()
        self._threads = []

    def start(self):
        pass

    def say(self, line):
        thread = threading.Thread(target=self._write, args=(line.encode() + b"\n",))
        self._threads.append(thread)
        thread.start()

    def close(self):
        for thread in self._threads:
            thread.join()

    def _write(self, data):
        with self._lock:
            while data:
                taken = self._send(data)
                data = data[taken:]
