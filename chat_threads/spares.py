"""Which silent connections are a browser's spare ones, and are not greeted.

A browser opens connections in advance: Chromium two for one request, a few milliseconds apart. The spare one stays
silent until the next request. A greeting would lie there unread, and the browser would take it for the answer to that
request. Only what came at the same moment from the same address tells such a connection from a person's in telnet.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

KEPT = 256  # arrivals
TOGETHER = 0.1  # seconds between the arrivals of a browser's connections, or a request and such an arrival


@dataclass(eq=False, slots=True)
class Arrival:
    """A connection that came. Guarded by ``Spares._lock``."""

    address: str
    at: float
    asked: float = 0.0  # when it spoke HTTP for the first time; 0: not yet
    spares: int = 0  # how many silent connections may still come with it
    silent: bool = True


class Spares:
    """The newest KEPT arrivals, from all addresses. Any thread may call any method; none of them waits."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards what follows, and the arrivals
        self._known: deque[Arrival] = deque(maxlen=KEPT)

    def arrives(self, address: str) -> Arrival:
        """A connection comes from this address."""
        arrival = Arrival(address, self._clock())
        with self._lock:
            self._known.append(arrival)
        return arrival

    def speaks(self, arrival: Arrival, by_http: bool, greeted: bool) -> None:
        """The connection is no longer silent. If a browser asks on a connection that was greeted, the answer is
        spoilt, and the browser opens two new ones to try again."""
        with self._lock:
            arrival.silent = False
            if by_http:
                arrival.asked = self._clock()
                arrival.spares = 2 if greeted else 1
                self._known.append(arrival)  # once more, if it came long ago

    def has_twin(self, arrival: Arrival) -> bool:
        """Whether exactly one other silent connection came at the same moment from the same address. A browser's first
        request may be late; but when many connections come at once, they are no browser's."""
        with self._lock:
            return 1 == sum(
                each is not arrival
                and each.silent
                and each.address == arrival.address
                and abs(each.at - arrival.at) < TOGETHER
                for each in self._known
            )

    def take(self, arrival: Arrival) -> bool:
        """Whether the silent connection is a browser's spare one. Each request by HTTP excuses one of them only, so
        that people behind the same address are greeted."""
        with self._lock:
            for each in self._known:
                if (
                    each.spares
                    and each.address == arrival.address
                    and min(abs(each.at - arrival.at), abs(each.asked - arrival.at)) < TOGETHER
                ):
                    each.spares -= 1
                    return True
            return False
