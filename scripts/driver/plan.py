"""The plan of a run. Every process gets the same plan, and works out its own share."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ROOM = "load"  # rooms are #load0, #load1, ...; the same for every run, so that a server keeps few of them


def clock() -> int:
    """The time in microseconds, the same for all processes of this machine."""
    return time.perf_counter_ns() // 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """Times are in seconds, except ``epoch``. Clients are numbered; the number decides a client's room and task."""

    family: int  # of the address
    address: tuple[Any, ...]  # as socket.connect takes it
    dialect: str
    clients: int
    rooms: int
    senders: int  # in each room
    rate: float | None  # messages a second in all; None: the window decides
    window: int | None  # messages that each sender keeps under way
    size: int  # characters in a text
    duration: float
    ramp: float
    slow: int
    churn: float  # reconnects a second
    processes: int
    patience: float
    run: str  # letters and digits that mark the messages of this run
    epoch: int  # the clock's time from which times in texts count

    @property
    def host(self) -> str:
        """The server as an HTTP request's Host (RFC 9110, section 7.2)."""
        host, port = self.address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def room_of(self, client: int) -> int:
        return client % self.rooms

    def senders_in(self, room: int) -> Sequence[int]:
        """The senders of a room: its first clients."""
        return range(room, room + self.rooms * self.senders, self.rooms)

    def is_sender(self, client: int) -> bool:
        return client < self.rooms * self.senders

    def is_slow(self, client: int) -> bool:
        """Whether a client never reads: the last clients do."""
        return client >= self.clients - self.slow

    def may_churn(self, client: int) -> bool:
        return not self.is_sender(client) and not self.is_slow(client)

    def process_of(self, client: int) -> int:
        """Put each room into one process if there are enough rooms; otherwise spread it over all processes."""
        if self.rooms >= self.processes:
            return self.room_of(client) % self.processes
        return (client // self.rooms) % self.processes

    def clients_of(self, process: int) -> list[int]:
        return [client for client in range(self.clients) if self.process_of(client) == process]

    def across_processes(self, room: int) -> bool:
        """Whether members of the room are in more than one process."""
        return self.rooms < self.processes

    @property
    def interval(self) -> float:
        """Seconds that a row of the results covers."""
        return max(min(0.25, self.duration), self.duration / 200)

    @property
    def intervals(self) -> int:
        """The number of whole rows while messages are sent."""
        return int(self.duration / self.interval + 1e-6)

    # --- the open loop: message number n of a sender is due at a fixed time --------------------------------

    def due(self, sender: int, number: int, start: int) -> int:
        """The clock's time at which a message is due in a run that began at ``start``. The senders take turns."""
        assert self.rate
        return start + int((sender + number * self.rooms * self.senders) * 1e6 / self.rate)

    def first_due(self, sender: int, at: int, start: int) -> int | None:
        """The number of the sender's first message that is due at ``at`` or later; None: not known."""
        if not self.rate:
            return None
        number = max(0, math.floor(((at - start) * self.rate / 1e6 - sender) / (self.rooms * self.senders)))
        while self.due(sender, number, start) < at:
            number += 1
        return number
