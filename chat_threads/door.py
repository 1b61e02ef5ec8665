"""Places for connections. When the server is full, a newcomer takes the place of a connection without a name."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from .addresses import network
from .disconnects import ServerFull, TooManyConnections
from .session import Session

GIVING_WAY = 64  # connections that have lost their place but have not ended yet, at most
PATIENCE = 0.5  # seconds to wait for one of them to end
_UNKNOWN = ""  # the network of clients of a proxy, until the proxy has named their addresses
RETURNING = 8  # extra places for clients that come back with a token


@dataclass(frozen=True, slots=True)
class Entry:
    """How a connection got its place."""

    instead_of: Session | None = None  # lost its place to this one: tell it. None: nobody, or it has no session yet
    by_token: bool = False  # it may stay only if it shows a token at once


USUAL = Entry()  # there were places left


class Door:
    """Gives places to connections: ``most`` in all, and ``per_address`` to each address (0: any number).

    When no place is left, a connection without a name gives way: the oldest one of the address that has the most of
    them. So silent connections keep nobody out, and if many come from one address, people at other addresses still
    have time to type their names.

    Any thread may call any method; a connection is identified by its number. There are never more than
    ``most + GIVING_WAY + RETURNING`` connections, which bounds the memory.
    """

    def __init__(self, most: int, per_address: int = 0) -> None:
        self._most = most
        self._per_address = per_address
        self._state = threading.Lock()  # guards the attributes below; nothing is called under it
        self._left = threading.Condition(self._state)  # one that gave way has ended
        self._network_of: dict[int, str] = {}  # of all connections that have entered
        self._from: dict[str, int] = {}  # connections of each network; never 0
        # Connections without a name, by network, the oldest first. A new one has no session yet.
        self._waiting: dict[str, dict[int, Session | None]] = {}
        self._leaving: set[int] = set()  # connections that gave way
        self._on_approval: set[int] = set()  # connections that have yet to show a token: they take nobody's place

    def enter(self, number: int, address: str | None) -> Entry:
        """Admit a connection from that address (None: not known yet). Raise ServerFull or TooManyConnections; then
        nothing is kept.

        If GIVING_WAY connections are giving way, this waits up to PATIENCE seconds for one of them to end. Newcomers
        wait in the system's backlog during that time, and a rush of connections does not get them refused.
        """
        of = _UNKNOWN if address is None else network(address)
        with self._state:
            self._check(of)
            if len(self._leaving) >= GIVING_WAY:
                self._left.wait_for(lambda: len(self._leaving) < GIVING_WAY, PATIENCE)
            there = len(self._network_of) - len(self._leaving)
            taken = there - len(self._on_approval)
            entry = USUAL
            if taken >= self._most:
                if self._waiting and len(self._leaving) < GIVING_WAY:
                    entry = Entry(instead_of=self._give_way())
                elif not self._waiting and there < self._most + RETURNING:
                    entry = Entry(by_token=True)
                else:
                    raise ServerFull(f"{self._most} are connected")
            self._network_of[number] = of
            self._from[of] = self._from.get(of, 0) + 1
            if entry.by_token:
                self._on_approval.add(number)
            else:
                self._waiting.setdefault(of, {})[number] = None
        return entry

    def comes_from(self, number: int, address: str) -> None:
        """A proxy has named the address of this connection. Raise TooManyConnections."""
        of = network(address)
        with self._state:
            self._check(of)
            session = self._waiting.get(_UNKNOWN, {}).get(number)
            waits = self._drop(number)
            self._uncount(number)
            self._network_of[number] = of
            self._from[of] = self._from.get(of, 0) + 1
            if waits:
                self._waiting.setdefault(of, {})[number] = session

    # The next four are called under _state.

    def _check(self, of: str) -> None:
        if self._per_address and of != _UNKNOWN and self._from.get(of, 0) >= self._per_address:
            raise TooManyConnections(self._per_address)

    def _uncount(self, number: int) -> None:
        of = self._network_of.pop(number, None)
        if of is not None:
            self._from[of] -= 1
            if not self._from[of]:
                del self._from[of]

    def _give_way(self) -> Session | None:
        most = max(self._waiting.values(), key=len)
        number = next(iter(most))
        session = most[number]
        self._drop(number)
        self._leaving.add(number)
        return session

    def _drop(self, number: int) -> bool:
        """Remove a connection from those without a name; False if it is not among them."""
        of = self._network_of.get(number, "")
        waiting = self._waiting.get(of, {})
        if number not in waiting:
            return False
        del waiting[number]
        if not waiting:
            del self._waiting[of]
        return True

    def waits(self, number: int, session: Session) -> bool:
        """The connection has no name yet and may have to give way; return False if it already has."""
        with self._state:
            if number in self._leaving:
                return False
            self._on_approval.discard(number)
            self._waiting.setdefault(self._network_of[number], {})[number] = session
            return True

    def speaks(self, number: int) -> bool:
        """The connection gives a name and keeps its place from now on; return False if it has lost its place."""
        with self._state:
            self._on_approval.discard(number)
            return self._drop(number) or number not in self._leaving

    def leave(self, number: int) -> None:
        """The connection is over. It may never have entered, or may have left before."""
        with self._state:
            self._drop(number)
            self._on_approval.discard(number)
            if number in self._leaving:
                self._leaving.remove(number)
                self._left.notify()
            self._uncount(number)
