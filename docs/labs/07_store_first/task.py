"""Lab 7: store first. Fix Room.enter and Room.say; README.rst says what they have to do.

``python task.py`` kills a server (kill -9) while it shows a line, and then looks into the server's file.
"""

from __future__ import annotations

import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
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
        self._last = store.last()
        self._members: list[Show] = []

    def enter(self, show: Show, after: int = 0) -> None:
        """Show a newcomer every line after that number, then each new line: in order, each exactly once."""
        for number, text in self._store.after(after):
            show(number, text)
        self._members.append(show)

    def say(self, text: str) -> int:
        """Give a line the next number, store it, and show it to every member. Return the number.

        A line that was shown, or whose number was returned, is in the file, whatever happens next. If ``commit``
        raises, nobody sees the line, its number is used for the next line, and the caller gets the exception.
        """
        self._last += 1
        number = self._last
        self._store.append(number, text)
        for show in self._members:
            show(number, text)
        self._store.commit()
        return number


# --- the rest shows the fault, and needs no change ------------------------------------------------------


def serve(path: str) -> None:
    """Run a server, in a process of its own, that is killed while it shows bob the third line."""

    def show(number: int, text: str) -> None:
        print(f"bob sees   {number} {text}", flush=True)
        if number == 3:
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    room = Room(Store(path))
    room.enter(show)
    for text in ("hello", "is anybody here?", "I have an idea"):
        room.say(text)


def demonstrate() -> None:
    """Start the server, see it die, and start another one on its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "history.db")
        subprocess.run([sys.executable, pathlib.Path(__file__), path], check=False)
        print("           kill -9, and a new server on the same file")
        store = Store(path)
        Room(store).enter(lambda number, text: print(f"ann sees   {number} {text}"))
        store._db.close()


if __name__ == "__main__":
    if sys.argv[1:]:
        serve(sys.argv[1])
    else:
        demonstrate()
