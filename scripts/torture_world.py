"""What the clients and the faults of torture.py share."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from torture_checker import Fault, Look

RECOVERY = 1.0  # seconds after a fault during which C7 does not apply

now = time.monotonic


class World:
    """Data that all clients and faults share. Lists only grow by append, which is a single step."""

    def __init__(self, seed: int, rooms: int) -> None:
        self.seed = seed
        self.rooms = [f"#room{number}" for number in range(1, rooms + 1)]
        self.ports: list[int] = []  # of the servers
        self.plain = False  # whether the server has no more than docs/capstone/protocol.rst
        self.over = threading.Event()  # no more faults
        self.finishing = threading.Event()  # no more texts: read the answers, and leave
        self.faults: list[Fault] = []
        self.odd: list[str] = []
        self.acked: list[str] = []  # texts in the order of their acknowledgements
        self.looks: list[Look] = []
        self.people: Sequence[threading.Thread] = ()  # others, who come and go by themselves
        # Names that two people got between these times, on servers with these numbers.
        self.doubles: list[tuple[str, float, float, tuple[int, ...]]] = []
        # How often a room was about to be closed to those who were not invited, and was opened again. The governor's.
        self.closings = self.openings = 0
        self._lock = threading.Lock()  # guards the counts
        self._counts: Counter[str] = Counter()

    def count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1

    def counted(self, what: str) -> int:
        with self._lock:
            return self._counts[what]

    def counts(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)

    def chance(self, who: str) -> random.Random:
        return random.Random(f"{self.seed} {who}")

    @contextlib.contextmanager
    def fault(self, kind: str, who: str | None = None, server: int | None = None) -> Iterator[None]:
        """A fault of everybody, of one client, or of the clients of one server."""
        began = now()
        try:
            yield
        finally:
            names = None if who is None else frozenset({who})
            self.faults.append(Fault(kind, began, now() + RECOVERY, names, server))
            self.count(kind)
