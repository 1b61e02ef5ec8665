"""The lock of _thread."""

from __future__ import annotations

import _thread

LIMIT = 5  # lines that may wait for one member


class Member:
    """A member of the room, with a queue. The room puts lines in; the member's own writer thread takes them out."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = _thread.allocate_lock()  # guards _lines
        self._lines: list[str] = []

    def put(self, line: str) -> bool:
        """Put a line without waiting. If the queue is full, return False; a last word then replaces its content."""
        with self._lock:
            if len(self._lines) < self.limit:
                self._lines.append(line)
                return True
            self._lines = [f"! You were cut off: {self.limit} lines were waiting for you."]
            return False

    def collect(self) -> list[str]:
        """Take all waiting lines, in order; the list may be empty. Called by the member's writer thread."""
        with self._lock:
            lines, self._lines = self._lines, []
            return lines


class Room:
    """A room and its members. Each line gets a number, the same for everybody: "1 hello", "2 hello, ann"."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._lock = _thread.allocate_lock()  # guards the attributes below; members' locks may be taken under it
        self._members: dict[str, Member] = {}
        self._last = 0

    def enter(self, name: str) -> Member:
        """Add a member, who gets every line from now on. Called by any thread."""
        with self._lock:
            member = self._members[name] = Member(self.limit)
            return member

    def names(self) -> list[str]:
        """Return the names of the members. Called by any thread."""
        with self._lock:
            return list(self._members)

    def say(self, text: str) -> None:
        """Number a line and put it into every member's queue. Called by the publisher's thread, which must not wait."""
        with self._lock:
            self._last += 1
            line = f"{self._last} {text}"
            too_slow = [name for name, member in self._members.items() if not member.put(line)]
            for name in too_slow:
                del self._members[name]
