"""Lab 5: a slow reader. Mend Room and Member; README.rst says what they have to do.

``python task.py`` lets somebody in who does not read, and shows what becomes of the room.
"""

from __future__ import annotations

import queue
import threading
import tracemalloc

LIMIT = 5  # lines that may wait for one member


class Member:
    """Somebody in the room, with a queue: the room puts lines in, the member's own writer thread takes them out."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lines: queue.Queue[str] = queue.Queue()

    def collect(self) -> list[str]:
        """Take all that waits, in order; an empty list if nothing does. Called by the member's writer thread."""
        lines = []
        while not self.lines.empty():
            lines.append(self.lines.get())
        return lines


class Room:
    """Who is in it, and what is said: each line gets a number, "1 hello", "2 hello, ann", for all the same."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._lock = threading.Lock()  # guards what follows
        self._members: dict[str, Member] = {}
        self._last = 0

    def enter(self, name: str) -> Member:
        """Let somebody in, who is given every line from now on. Called by any thread."""
        with self._lock:
            member = self._members[name] = Member(self.limit)
            return member

    def names(self) -> list[str]:
        """Who is in the room. Called by any thread."""
        with self._lock:
            return list(self._members)

    def say(self, text: str) -> None:
        """Number a line and put it into everybody's queue. Called by the publisher's thread, which must not wait."""
        with self._lock:
            self._last += 1
            for member in self._members.values():
                member.lines.put(f"{self._last} {text}")


# --- what follows shows the fault, and needs no change ------------------------------------------------------


class Given:
    """What somebody was given, in short: "1 to 5, a hole, 96 to 100"."""

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
    """Ann reads at once what is said; bob reads when 10,000 lines have been said, and once more a little later."""
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
        print(f"After {said} lines, say() does not come back: everybody waits for bob.")
        return
    for name, lines in given.items():
        print(f"{name} was given  {lines}")
    print(f"in the room    {', '.join(room.names())}")


if __name__ == "__main__":
    demonstrate()
