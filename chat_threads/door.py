"""Who may come in: how many connections there are from each address."""

from __future__ import annotations

import threading

from .addresses import network


class Door:
    """Counts the connections of each address. Any thread may call any method; a connection is known by its number.

    What is kept is bounded by the connections that there are.
    """

    def __init__(self, per_address: int = 0) -> None:
        """``per_address``: connections that an address may have; 0: any number."""
        self._per_address = per_address
        self._lock = threading.Lock()  # guards the two below; nothing is called while it is held
        self._network_of: dict[int, str] = {}
        self._from: dict[str, int] = {}  # how many connections a network has; none has 0

    def enter(self, number: int, address: str) -> bool:
        """A connection comes from that address; False if that has as many as it may, and then nothing is kept."""
        if not self._per_address:
            return True
        of = network(address)
        with self._lock:
            count = self._from.get(of, 0)
            if count >= self._per_address:
                return False
            self._from[of] = count + 1
            self._network_of[number] = of
        return True

    def leave(self, number: int) -> None:
        """The connection is over. It may be one that never entered, or has left before."""
        with self._lock:
            of = self._network_of.pop(number, None)
            if of is not None:
                self._from[of] -= 1
                if not self._from[of]:
                    del self._from[of]
