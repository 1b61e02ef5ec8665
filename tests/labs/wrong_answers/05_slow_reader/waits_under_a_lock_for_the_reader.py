"""The writer holds a lock while it waits for its client, and say() needs that lock.

Fails: When 1 is said, say() does not return
"""

from __future__ import annotations

import threading

LAST_WORD = "! You were cut off: you do not read."


class Member:
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lines: list[str] = []
        self.lock = threading.Lock()
        self.lock.acquire()

    def collect(self) -> list[str]:
        self.lock.release()
        lines, self.lines = self.lines, []
        self.lock.acquire()
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
                with member.lock:
                    member.lines.append(line)
                if len(member.lines) > self.limit:
                    del self._members[name]
