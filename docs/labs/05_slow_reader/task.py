"""Lab 5: a slow reader. Fix Room and Member; README.rst says what they have to do.

``python task.py`` shows what happens to a room when one of its members does not read.
"""

from __future__ import annotations

import queue
import threading
import tracemalloc

LIMIT = 5  # lines that may wait for one member


class Member:
    """A member of the room, with a queue. The room puts lines in; the member's own writer thread takes them out."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lines: queue.Queue[str] = queue.Queue()

    def collect(self) -> list[str]:
        """Take all waiting lines, in order; the list may be empty. Called by the member's writer thread."""
        lines = []
        while not self.lines.empty():
            lines.append(self.lines.get())
        return lines


class Room:
    """A room and its members. Each line gets a number, the same for everybody: "1 hello", "2 hello, ann"."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._lock = threading.Lock()  # guards the attributes below
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
            for member in self._members.values():
                member.lines.put(f"{self._last} {text}")


# --- the rest shows the fault, and needs no change ------------------------------------------------------


class Given:
    """The lines that somebody got, in short: "1 to 5, a hole, 96 to 100"."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.last = 0

    def add(self, lines: list[str]) -> None:
        for line in lines:
            number = int(line[:9].split()[0]) if line[0].isdigit() else 0
            if not number:
                self.parts.append(repr(line))
            elif number != self.last + 1:
                self.parts += ["a hole", f"{number}"]
            elif self.last:
                self.parts[-1] = f"{self.parts[-1].split()[0]} to {number}"
            else:
                self.parts.append(f"{number}")
            self.last = number

    def __str__(self) -> str:
        return ", ".join(self.parts) or "nothing"


def demonstrate() -> None:
    """Ann reads each line at once. Bob reads after 10,000 lines, and again after one more."""
    room = Room()
    members = {name: room.enter(name) for name in ("ann", "bob")}
    given = {name: Given() for name in members}
    said = 0

    def say() -> None:
        nonlocal said
        room.say("x" * 500)
        said += 1
        given["ann"].add(members["ann"].collect())

    def publish() -> None:
        while said < 10_000:
            say()
            if str(said).strip("0") == "1":
                print(f"{said:10}  {tracemalloc.get_traced_memory()[0] / 1000:12,.0f} kB")
        given["bob"].add(members["bob"].collect())
        say()
        given["bob"].add(members["bob"].collect())

    tracemalloc.start()
    print("lines said  memory in use")
    publisher = threading.Thread(target=publish, name="publisher", daemon=True)
    publisher.start()
    publisher.join(5)
    if publisher.is_alive():
        print(f"After {said} lines, say() does not return: everybody waits for bob.")
        return
    for name, lines in given.items():
        print(f"{name} got  {lines}")
    print(f"members  {', '.join(room.names())}")


if __name__ == "__main__":
    demonstrate()
