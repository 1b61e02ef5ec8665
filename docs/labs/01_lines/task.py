"""Lab 1: a stream is not lines. Mend Lines.feed; README.rst says what it has to do.

``python task.py`` sends a few lines through a real socket and shows what becomes of them.
"""

from __future__ import annotations

import socket

LIMIT = 64  # bytes of a line


class Lines:
    """Makes lines of what ``recv()`` returns. Each connection has one of its own."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit

    def feed(self, data: bytes) -> list[str | None]:
        """Take what one ``recv()`` returned; return the lines that it ends, without their ends.

        A line ends with LF; a CR before that is taken off. It is UTF-8, and what is not comes out as U+FFFD. One
        with more than ``limit`` bytes before its LF is None, once, when it ends.
        """
        return list(data.decode("utf-8", "replace").splitlines())


def demonstrate() -> None:
    """Send some lines, cut up as a network may cut them, and show what feed() makes of them."""
    sent = "hi bob\nis the café open?\nyes\n".encode()
    for cuts in ([], [10], [18], [3, 18, 28]):
        ours, theirs = socket.socketpair()
        lines = Lines()
        print(f"sent {sent!r}")
        for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
            theirs.sendall(sent[start:end])
            received = ours.recv(4096)
            print(f"   recv() returned {received!r}\n   feed() returned  {lines.feed(received)}")
        ours.close()
        theirs.close()


if __name__ == "__main__":
    demonstrate()
