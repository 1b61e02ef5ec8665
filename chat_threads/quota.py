"""Limits on the rooms that one person and one address may make, so that others can make rooms, too."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from heapq import nsmallest

from .addresses import site
from .chatroom import ChatRoom, Subscriber
from .errors import AddressMadeTooManyRooms, MadeTooManyRooms
from .tokens import Handout

ROOMS_MADE = 50  # existing rooms of one token
AT_ONCE = 500  # rooms that one address may make at once: a lecture hall may be one address
A_SECOND = 1 / 120  # rooms a second in the long run; rooms that are gone do not count
SITE_AT_ONCE, SITE_A_SECOND = 4 * AT_ONCE, 4 * A_SECOND  # the same for all IPv6 networks of a site
NEWEST = 100  # newest rooms, which always stay, because their makers are about to enter them
SURPLUS_PAUSE = 1.0  # seconds between two searches for surplus rooms: one among thousands takes milliseconds


class Quota:
    """Counts the existing rooms of each owner. The Publisher calls it, always under its lock.

    An owner is the number of a token; 0 is nobody. Addresses count only for rooms made since the start of the server.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._look_at = clock()  # time of the next search for surplus rooms
        self._made: Counter[int] = Counter()  # by owner
        self._handout = Handout(clock, AT_ONCE, A_SECOND)
        self._sites = Handout(clock, SITE_AT_ONCE, SITE_A_SECOND)

    def take(self, owner: int, address: str) -> None:
        """Count a room that is about to be made. Raise TooManyRooms if it must not be made."""
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
        """Count a room from the history."""
        if owner:
            self._made[owner] += 1

    def give_back(self, owner: int, address: str) -> None:
        """A room is gone. ``address`` is "" for a room from the history."""
        if self._made[owner] > 1:
            self._made[owner] -= 1
        else:
            del self._made[owner]
        if address:
            self._handout.give_back(address)
            self._sites.give_back(site(address))

    def surplus(self, rooms: Iterable[ChatRoom], most: int, people: Iterable[Subscriber]) -> list[ChatRoom]:
        """The rooms that have to go so that ``most`` are left. ``rooms`` are in the order of their making.

        Only empty rooms go in which nothing was ever said, with or without a topic. Rooms whose makers are away go
        first, then the rooms of the owners who have made the most; the oldest first.
        """
        now = self._clock()
        if now < self._look_at:
            return []
        self._look_at = now + SURPLUS_PAUSE
        here = {person.identity for person in people}
        all_rooms = list(rooms)
        silent = [room for room in all_rooms[: len(all_rooms) - NEWEST] if not (room.members or room.last)]
        return nsmallest(
            len(all_rooms) - most, silent, key=lambda room: (room.owner in here, -self._made[room.owner], room.id)
        )
