"""Lab 10: several servers, one order. Fix Server; README.rst says what it has to do.

``python task.py`` lets two servers, one with a slow clock, show what is said on either.
"""

from __future__ import annotations

from collections.abc import Callable


class Away(Exception):
    """The log does not answer. Nothing was appended."""


class Unknown(Exception):
    """The connection broke while something was appended. It may be in the log, or come into it later, or never."""


Entry = tuple[float, str, str]
"""The time of a text, by the clock of the server on which it was said; its ref; and the text."""


class Log:
    """What all servers share. Needs no change: the check has a Log of its own, which breaks connections."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    def append(self, entry: Entry) -> None:
        """Put an entry at the end. When this returns, all servers can read it. Raises Away or Unknown."""
        self._entries.append(entry)

    def after(self, position: int) -> list[Entry]:
        """Return the entries after the first ``position`` ones. All servers see the same order. Raises Away."""
        return self._entries[position:]


class Server:
    """One of several servers with the same log. Its methods are called by one thread."""

    def __init__(self, clock: Callable[[], float], log: Log) -> None:
        self._clock = clock  # no two servers have the same time
        self._log = log
        self._read = 0  # entries of the log that were read
        self.shown: list[tuple[int, str]] = []  # numbers and texts that people here have seen. It only grows

    def say(self, text: str, ref: str) -> int:
        """Somebody here says a text. Show it, and return its number. A text that was said with the same ref before,
        here or elsewhere, is not said again. Raises Away if it is not said. Raises Unknown if nobody knows whether it
        is, or what its number is; the sender then says it again with the same ref, here or on another server."""
        number = len(self.shown) + 1
        self.shown.append((number, text))
        self._log.append((self._clock(), ref, text))
        return number

    def catch_up(self) -> None:
        """Called now and then: show what was said on all servers. Raises Away."""
        entries = self._log.after(self._read)
        self._read += len(entries)
        for _, _, text in sorted(entries):
            if text not in [seen for _, seen in self.shown]:
                self.shown.append((len(self.shown) + 1, text))


# --- the rest shows the fault, and needs no change ------------------------------------------------------


def demonstrate() -> None:
    """Two servers; bob's clock is ten seconds slow."""
    log = Log()
    time = iter(range(100, 200))
    ann, bob = Server(lambda: next(time), log), Server(lambda: next(time) - 10, log)
    for number in (1, 2):
        ann.say(f"ann asks {number}", f"ann {number}")
        bob.say(f"bob asks {number}", f"bob {number}")
    ann.catch_up()
    bob.catch_up()
    cy = Server(lambda: next(time), log)
    cy.catch_up()
    for name, server in (("ann", ann), ("bob", bob), ("cy, who comes later", cy)):
        print(f"{name} sees:")
        for number, text in server.shown:
            print(f"  {number} {text}")


if __name__ == "__main__":
    demonstrate()
