"""One thread commits, shows and admits, in the order of its queue. say() waits for it."""

from __future__ import annotations

import queue
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
        self._last = store.last()
        self._members: list[Show] = []
        self._queue: queue.Queue = queue.Queue()
        threading.Thread(target=self._work, name="history", daemon=True).start()

    def enter(self, show: Show, after: int = 0) -> None:
        done: queue.Queue[int | Exception] = queue.Queue()
        self._queue.put(((show, after), done))
        done.get()

    def say(self, text: str) -> int:
        said: queue.Queue[int | Exception] = queue.Queue()
        self._queue.put((text, said))
        answer = said.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _work(self) -> None:
        while True:
            what, answer = self._queue.get()
            if not isinstance(what, str):
                show, after = what
                for number, text in self._store.after(after):
                    show(number, text)
                self._members.append(show)
                answer.put(0)
                continue
            number = self._last + 1
            try:
                self._store.append(number, what)
                self._store.commit()
            except Exception as error:
                self._store.rollback()
                answer.put(error)
                continue
            self._last = number
            for show in self._members:
                show(number, what)
            answer.put(number)
