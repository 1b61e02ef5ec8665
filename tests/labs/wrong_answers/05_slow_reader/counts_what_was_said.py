"""Counts the lines that were said instead of those that wait.

Fails: that harms ann: 11 of 15 lines came
"""

from __future__ import annotations

import queue
import threading

LAST_WORD = "! You were cut off: you do not read."


class Member:
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lines: queue.Queue[str] = queue.Queue()
        self.count = 0

    def collect(self) -> list[str]:
        lines = []
        while not self.lines.empty():
            lines.append(self.lines.get())
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
            for name, member in list(self._members.items()):
                member.count += 1
                if member.count > self.limit * 2:
                    member.lines.put(LAST_WORD)
                    del self._members[name]
                else:
                    member.lines.put(line)
