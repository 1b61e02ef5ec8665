"""Lab 5, solved: a bound on what waits; who reaches it is cut off, told so, and sees no hole."""

from __future__ import annotations

import threading

LIMIT = 5  # lines that may wait for one member


class Member:
    """Somebody in the room, with a queue: the room puts lines in, the member's own writer thread takes them out."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()  # guards the lines
        self._lines: list[str] = []

    def put(self, line: str) -> bool:
        """Put a line without waiting; False if the queue is full, and then a last word stands in place of it all."""
        with self._lock:
            if len(self._lines) < self.limit:
                self._lines.append(line)
                return True
            self._lines = [f"! You were cut off: {self.limit} lines were waiting for you."]
            return False

    def collect(self) -> list[str]:
        """Take all that waits, in order; an empty list if nothing does. Called by the member's writer thread."""
        with self._lock:
            lines, self._lines = self._lines, []
            return lines


class Room:
    """Who is in it, and what is said: each line gets a number, "1 hello", "2 hello, ann", for all the same."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._lock = threading.Lock()  # guards what follows; members' locks may be taken under it
        self._members: dict[str, Member] = {}
        self._last = 0

    def enter(self, name: str) -> Member:
        """Let somebody in, who is given every line from now on. Called by any thread."""
        with self._lock:
            member = self._members[name] = Member(self.limit)
            return member

    def names(self) -> list[str]:
        """Who is in the room. Called by any thread."""
        with self._lock:
            return list(self._members)

    def say(self, text: str) -> None:
        """Number a line and put it into everybody's queue. Called by the publisher's thread, which must not wait."""
        with self._lock:
            self._last += 1
            line = f"{self._last} {text}"
            too_slow = [name for name, member in self._members.items() if not member.put(line)]
            for name in too_slow:
                del self._members[name]
