"""Lab 8: batching. Fix Outbox so that all gathered lines go out in one call; README.rst says how.

``python task.py`` sends 20,000 lines through a real socket and counts the system calls. measure.py draws what the
Outbox is worth in a chat server.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable


class Outbox:
    """The lines that wait for one client. Any thread puts lines in; the client's writer thread runs ``run``."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send  # one system call; waits until the system has taken all the bytes. Only run() may call it
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def put(self, line: bytes) -> None:
        """Add a line, with its LF. Never waits for ``send``, which may take long."""
        self._lines.put(line)

    def close(self) -> None:
        """Called once, after the last ``put``."""
        self._lines.put(None)

    def run(self) -> None:
        """Send each line as soon as possible, in order. Return when the Outbox is closed and everything is sent."""
        while (line := self._lines.get()) is not None:
            self._send(line)


# --- the rest shows the fault, and needs no change ------------------------------------------------------


def demonstrate(count: int = 20_000) -> None:
    """Put many lines, and count the system calls that send them."""
    ours, theirs = socket.socketpair()
    calls = 0

    def send(data: bytes) -> None:
        nonlocal calls
        calls += 1
        ours.sendall(data)

    def read() -> None:
        while theirs.recv(65536):
            pass

    outbox = Outbox(send)
    threads = [threading.Thread(target=outbox.run, name="writer"), threading.Thread(target=read, name="client")]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for number in range(count):
        outbox.put(b"%d hello, is anybody here?\n" % number)
    outbox.close()
    threads[0].join()
    seconds = time.perf_counter() - began
    ours.close()
    threads[1].join()
    theirs.close()
    print(f"lines: {count:,}, system calls for them: {calls:,}, lines a second: {count / seconds:,.0f}")


if __name__ == "__main__":
    demonstrate()
