"""Lab 1: a stream is not lines. Fix Lines.feed; README.rst says what it has to do.

``python task.py`` sends a few lines through a real socket and shows what feed() makes of them.
"""

from __future__ import annotations

import socket

LIMIT = 64  # bytes of a line


class Lines:
    """Turns what ``recv()`` returns into lines. Each connection has its own Lines."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit

    def feed(self, data: bytes) -> list[str | None]:
        """Take what one ``recv()`` returned. Return the lines that are complete now, without their line ends.

        LF ends a line; a CR before the LF is removed. A line is UTF-8, and invalid bytes become U+FFFD. A line with
        more than ``limit`` bytes before its LF becomes None, exactly once, when its LF arrives.
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
