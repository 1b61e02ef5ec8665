"""Lab 7: store first. Mend Room.enter and Room.say; README.rst says what they have to do.

``python task.py`` kills a server (kill -9) while it shows a line, and looks what is in its file then.
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
        self._last = store.last()
        self._members: list[Show] = []

    def enter(self, show: Show, after: int = 0) -> None:
        """Show somebody all that was said after that number, then what is said from now on: in order, each once."""
        for number, text in self._store.after(after):
            show(number, text)
        self._members.append(show)

    def say(self, text: str) -> int:
        """Give a line the next number, keep it, and show it to everybody in the room; return the number.

        What was shown, or has a number that was returned, is in the file, whatever happens then. What the file does
        not take (``commit`` raises) is shown to nobody, has no number, and the exception goes to the caller.
        """
        self._last += 1
        number = self._last
        self._store.append(number, text)
        for show in self._members:
            show(number, text)
        self._store.commit()
        return number


# --- what follows shows the fault, and needs no change ------------------------------------------------------


def serve(path: str) -> None:
    """A server in a process of its own, which is killed while it shows bob the third line."""

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
