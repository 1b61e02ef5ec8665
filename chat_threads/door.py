"""Who gets a place. When the server is full, a connection that has given no name yet makes room for a newcomer."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from .addresses import network
from .errors import ServerFull, TooManyConnections
from .session import Session

GIVING_WAY = 64  # connections that have lost their place and are still being ended
PATIENCE = 0.5  # seconds to wait for one of them
_UNKNOWN = ""  # the network of those that come through a proxy that has not said yet from where
RETURNING = 8  # places beyond all others, for clients that come back by a token


@dataclass(frozen=True, slots=True)
class Entry:
    """How a connection has got its place."""

    instead_of: Session | None = None  # this one has to go, and is to be told; one that has no session yet finds out
    by_token: bool = False  # it may stay only if it shows a token at once


class Door:
    """Gives places to connections: ``most`` in all, ``per_address`` to an address (0: any number).

    A connection that has given no name gives way when no place is left: the one that has waited longest, of the
    address that has most of them. So one that sends nothing keeps nobody out, and many of them from one address do
    not take the time from those who type their name elsewhere.

    Any thread may call any method; a connection is known by its number. What is kept is bounded by the connections
    that there are, which are ``most + GIVING_WAY + RETURNING`` at the utmost.
    """

    def __init__(self, most: int, per_address: int = 0) -> None:
        self._most = most
        self._per_address = per_address
        self._state = threading.Condition(threading.Lock())  # guards what follows; nothing is called while it is held
        self._network_of: dict[int, str] = {}  # of all that are inside
        self._from: dict[str, int] = {}  # how many of them a network has; none has 0
        # Those without a name, by network, the longest waiting first. One that has just come has no session yet.
        self._waiting: dict[str, dict[int, Session | None]] = {}
        self._leaving: set[int] = set()  # those that gave way
        self._on_approval: set[int] = set()  # those that have yet to show a token: they take nobody's place

    def enter(self, number: int, address: str | None) -> Entry:
        """A connection comes from that address, None if that is not known yet; raise ServerFull or TooManyConnections,
        and then nothing is kept.

        While as many as may be are giving way, this waits for one of them to end, for PATIENCE seconds at most. Others
        that come wait in the system's backlog meanwhile, and are not refused for the haste of those before them.
        """
        of = _UNKNOWN if address is None else network(address)
        with self._state:
            self._check(of)
            self._state.wait_for(lambda: len(self._leaving) < GIVING_WAY, PATIENCE)
            there = len(self._network_of) - len(self._leaving)
            taken = there - len(self._on_approval)
            entry = Entry()
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
        """Now it is known from which address this connection comes; raise TooManyConnections."""
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
        """It waits no longer; False if it did not."""
        of = self._network_of.get(number, "")
        waiting = self._waiting.get(of, {})
        if number not in waiting:
            return False
        del waiting[number]
        if not waiting:
            del self._waiting[of]
        return True

    def waits(self, number: int, session: Session) -> bool:
        """The connection has no name yet, and may have to give way; False if it has already."""
        with self._state:
            if number in self._leaving:
                return False
            self._on_approval.discard(number)
            self._waiting.setdefault(self._network_of[number], {})[number] = session
            return True

    def speaks(self, number: int) -> bool:
        """The connection gives a name, and keeps its place from now on; False if it has lost that."""
        with self._state:
            self._on_approval.discard(number)
            return self._drop(number) or number not in self._leaving

    def leave(self, number: int) -> None:
        """The connection is over. It may be one that never entered, or has left before."""
        with self._state:
            self._drop(number)
            self._on_approval.discard(number)
            if number in self._leaving:
                self._leaving.remove(number)
                self._state.notify()
            self._uncount(number)
