"""Drops the oldest line when the queue is full, silently.

Fails: is missing. He cannot know that.
"""

from __future__ import annotations

import threading
from collections import deque

LAST_WORD = "! You were cut off: you do not read."


class Member:
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lines: deque[str] = deque(maxlen=limit)

    def collect(self) -> list[str]:
        lines = []
        while self.lines:
            lines.append(self.lines.popleft())
        return lines


class Room:
    def __init__(self, limit: int = 5) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._members: dict[str, Member] = {}
        self._last = 0

    def enter(self, name: str) -> Member:
        with self._lock:
            member = self._members[name] = Member(self.limit)
            return member

    def names(self) -> list[str]:
        with self._lock:
            return list(self._members)

    def say(self, text: str) -> None:
        with self._lock:
            self._last += 1
            line = f"{self._last} {text}"
            for member in self._members.values():
                member.lines.append(line)
