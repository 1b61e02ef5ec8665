"""How many rooms one person may make, and one address, so that there are some left for the others."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from heapq import nsmallest

from .addresses import site
from .chatroom import ChatRoom, Subscriber
from .errors import AddressMadeTooManyRooms, MadeTooManyRooms
from .tokens import Handout

ROOMS_MADE = 50  # rooms that exist and were made under one token
AT_ONCE = 500  # rooms that one address may make at once: a lecture hall may be one address
A_SECOND = 1 / 120  # rooms that it may make in the long run; one that is gone does not count
SITE_AT_ONCE, SITE_A_SECOND = 4 * AT_ONCE, 4 * A_SECOND  # the same for all IPv6 networks of a site
NEWEST = 100  # rooms made last, which stay in any case: their makers are about to enter them
SURPLUS_PAUSE = 1.0  # seconds between two looks for rooms that have to go: one among thousands takes milliseconds


class Quota:
    """Who made how many of the rooms that exist. The Publisher's, which has its lock whenever it calls this.

    An owner is the number of a token; 0 is nobody. Of the addresses from which rooms were made only those since the
    start of the server count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._look_at = clock()  # when to look next for rooms that have to go
        self._made: Counter[int] = Counter()  # by owner
        self._handout = Handout(clock, AT_ONCE, A_SECOND)
        self._sites = Handout(clock, SITE_AT_ONCE, SITE_A_SECOND)

    def take(self, owner: int, address: str) -> None:
        """Count a room that is about to be made; raise TooManyRooms if it must not be."""
        if not owner:
            return
        if self._made[owner] >= ROOMS_MADE:
            raise MadeTooManyRooms(ROOMS_MADE)
        seconds = self._sites.wait(site(address))
        if not seconds:
            seconds = self._handout.wait(address)
            if seconds:
                self._sites.give_back(site(address))
        if seconds:
            raise AddressMadeTooManyRooms(seconds)
        self._made[owner] += 1

    def restore(self, owner: int) -> None:
        """Count a room that the history has."""
        if owner:
            self._made[owner] += 1

    def give_back(self, owner: int, address: str) -> None:
        """A room is gone; ``address`` is "" for one that was restored."""
        if self._made[owner] > 1:
            self._made[owner] -= 1
        else:
            del self._made[owner]
        if address:
            self._handout.give_back(address)
            self._sites.give_back(site(address))

    def surplus(self, rooms: Sequence[ChatRoom], most: int, people: Iterable[Subscriber]) -> list[ChatRoom]:
        """Those of the rooms, in the order in which they were made, that have to go so that ``most`` are left.

        Only rooms go that nobody is in and in which nothing was ever said, with or without a topic. Those whose makers
        are away go first, then those of whoever has made most, the oldest first.
        """
        now = self._clock()
        if now < self._look_at:
            return []
        self._look_at = now + SURPLUS_PAUSE
        here = {person.identity for person in people}
        silent = [room for room in rooms[: len(rooms) - NEWEST] if not (room.members or room.last)]
        return nsmallest(
            len(rooms) - most, silent, key=lambda room: (room.owner in here, -self._made[room.owner], room.id)
        )
