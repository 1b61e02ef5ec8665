"""A text that is in the log twice is shown twice.

Fails: All servers should show 'one', 'two', 'three', each once
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
        """Return the entries after that many, in the order of the log, which is the same for all. Raises Away."""
        return self._entries[position:]


class Server:
    """One of several servers with the same log. Its methods are called by one thread."""

    def __init__(self, clock: Callable[[], float], log: Log) -> None:
        self._clock = clock  # no two servers have the same time
        self._log = log
        self._read = 0  # entries of the log that were read
        self._numbers: dict[str, int] = {}  # by ref, of what was read
        self.shown: list[tuple[int, str]] = []  # numbers and texts that people here have seen. Only ever appended to

    def say(self, text: str, ref: str) -> int:
        """Somebody here says a text. Show it, and return its number. A text that was said with the same ref before,
        here or elsewhere, is not said again. Raises Away if it is not said. Raises Unknown if nobody knows whether it
        is, or as which number; the sender then says it again with the same ref, here or on another server."""
        self.catch_up()
        if ref not in self._numbers:
            self._log.append((self._clock(), ref, text))
            while ref not in self._numbers:
                try:
                    self.catch_up()
                except Away:
                    raise Unknown(ref) from None  # it is in the log, but its number is not known
        return self._numbers[ref]

    def catch_up(self) -> None:
        """Called now and then: show what was said on all servers. Raises Away."""
        entries = self._log.after(self._read)
        self._read += len(entries)
        for _, ref, text in entries:
            self._numbers.setdefault(ref, len(self.shown) + 1)
            self.shown.append((len(self.shown) + 1, text))
