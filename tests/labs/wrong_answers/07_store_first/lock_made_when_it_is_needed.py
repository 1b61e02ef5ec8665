"""The lock is made at the first use.

Fails: bob was shown 2 before it was committed: a kill -9 now would lose it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable

Show = Callable[[int, str], None]
"""Shows a line, by its number and text, to one person. A line that was shown cannot be taken back."""


class Store:
    """The history's file. Needs no change: the check has a Store of its own, which records the calls."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute("CREATE TABLE IF NOT EXISTS lines (number INTEGER PRIMARY KEY, text TEXT NOT NULL)")

    def append(self, number: int, text: str) -> None:
        """Add a line. It is in the file only after ``commit``; after a kill -9 before that, it is lost."""
        self._db.execute("INSERT INTO lines VALUES (?, ?)", (number, text))

    def commit(self) -> None:
        """Put all added lines into the file, or none. After an exception they are still added, but not in the file."""
        self._db.commit()

    def rollback(self) -> None:
        """Forget the lines that were added and not committed."""
        self._db.rollback()

    def after(self, number: int) -> list[tuple[int, str]]:
        """Return the lines with higher numbers, in order, including those that are not committed yet."""
        return self._db.execute("SELECT number, text FROM lines WHERE number > ? ORDER BY number", (number,)).fetchall()

    def last(self) -> int:
        """Return the highest number, or 0."""
        return self._db.execute("SELECT coalesce(max(number), 0) FROM lines").fetchone()[0]


class Room:
    """A room with a history. Any thread may call any method."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lk: threading.RLock | None = None  # guards the attributes below, and keeps commits and shows in one order
        self._last = store.last()
        self._members: list[Show] = []

    def _lock(self):
        self._lk = self._lk or threading.RLock()
        return self._lk

    def enter(self, show: Show, after: int = 0) -> None:
        """Show a newcomer every line after that number, then each new line: in order, each exactly once."""
        with self._lock():
            for number, text in self._store.after(after):
                show(number, text)
            self._members.append(show)

    def say(self, text: str) -> int:
        """Give a line the next number, store it, and show it to every member. Return the number."""
        with self._lock():
            number = self._last + 1
            try:
                self._store.append(number, text)
                self._store.commit()
            except Exception:
                self._store.rollback()
                raise
            self._last = number
            for show in self._members:
                show(number, text)
            return number
