"""A lock around say(), but none around enter().

Fails: 2 is missing
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable

Show = Callable[[int, str], None]


class Store:
    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute("CREATE TABLE IF NOT EXISTS lines (number INTEGER PRIMARY KEY, text TEXT NOT NULL)")

    def append(self, number: int, text: str) -> None:
        self._db.execute("INSERT INTO lines VALUES (?, ?)", (number, text))

    def commit(self) -> None:
        self._db.commit()

    def rollback(self) -> None:
        self._db.rollback()

    def after(self, number: int) -> list[tuple[int, str]]:
        return self._db.execute("SELECT number, text FROM lines WHERE number > ? ORDER BY number", (number,)).fetchall()

    def last(self) -> int:
        return self._db.execute("SELECT coalesce(max(number), 0) FROM lines").fetchone()[0]


class Room:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._last = store.last()
        self._members: list[Show] = []

    def enter(self, show: Show, after: int = 0) -> None:
        for number, text in self._store.after(after):
            show(number, text)
        self._members.append(show)

    def say(self, text: str) -> int:
        with self._lock:
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
