"""Another thread may add a line between releasing the lock and rolling back.

Fails: given twice
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable

Show = Callable[[int, str], None]
"""Shows somebody a line: its number and its text. What was shown cannot be taken back."""


class Store:
    """The history's file. Needs no change: the check has its own, to look at who calls what and when."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute("CREATE TABLE IF NOT EXISTS lines (number INTEGER PRIMARY KEY, text TEXT NOT NULL)")

    def append(self, number: int, text: str) -> None:
        """Add a line. It is in the file only after ``commit``; kill -9 before that, and it never was."""
        self._db.execute("INSERT INTO lines VALUES (?, ?)", (number, text))

    def commit(self) -> None:
        """Put what was added into the file, all or nothing. An exception: it is not there, but still added."""
        self._db.commit()

    def rollback(self) -> None:
        """Forget what was added and not committed."""
        self._db.rollback()

    def after(self, number: int) -> list[tuple[int, str]]:
        """The lines with higher numbers, in order; what was added and not committed is among them."""
        return self._db.execute("SELECT number, text FROM lines WHERE number > ? ORDER BY number", (number,)).fetchall()

    def last(self) -> int:
        """The highest number, or 0."""
        return self._db.execute("SELECT coalesce(max(number), 0) FROM lines").fetchone()[0]


class Room:
    """A room with a history. Every method is called by any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()  # guards what follows, and keeps the order in which is committed and shown
        self._last = store.last()
        self._members: list[Show] = []

    def enter(self, show: Show, after: int = 0) -> None:
        """Show somebody all that was said after that number, then what is said from now on: in order, each once."""
        with self._lock:
            for number, text in self._store.after(after):
                show(number, text)
            self._members.append(show)

    def say(self, text: str) -> int:
        """Give a line the next number, keep it, and show it to everybody in the room; return the number."""
        try:
            with self._lock:
                number = self._last + 1
                self._store.append(number, text)
                self._store.commit()
                self._last = number
                for show in self._members:
                    show(number, text)
                return number
        except Exception:
            self._store.rollback()
            raise
