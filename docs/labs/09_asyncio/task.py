"""Lab 9: a chat room on an event loop. Fix Room; README.rst says what it has to do.

``python task.py`` shows two of its faults: two people with one name, and a disk for which everybody waits.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable

Send = Callable[[str], Awaitable[None]]
"""Sends a line to one client. It may take for ever: a client that sleeps takes nothing."""


class NameTaken(Exception):
    """Somebody else has the name."""


class Room:
    """A room of a chat. All methods are called on the thread of the event loop."""

    def __init__(self, allows: Callable[[str], Awaitable[bool]], store: Callable[[str], None], limit: int = 5) -> None:
        self._allows = allows  # asks another server about a name, which takes a while
        self._store = store  # writes a line to the disk and waits for it. Not to be called twice at the same time
        self._limit = limit  # lines that may wait for a member
        self._members: dict[str, Send] = {}

    async def join(self, name: str, send: Send) -> None:
        """Take the name and enter. Raise NameTaken if somebody has it, PermissionError if it is not allowed. If the
        task is cancelled meanwhile, because the client is gone, the name is free again."""
        if name in self._members:
            raise NameTaken(name)
        if not await self._allows(name):
            raise PermissionError(name)
        self._members[name] = send

    def leave(self, name: str) -> None:
        """Free the name. Nothing more is sent."""
        del self._members[name]

    def names(self) -> set[str]:
        return set(self._members)

    async def say(self, name: str, text: str) -> None:
        """Store a line, then show it to everybody, or to those who keep up. Return when it is stored."""
        line = f"{name}: {text}"
        self._store(line)
        for send in self._members.values():
            await send(line)

    async def close(self) -> None:
        """Called once, after the last ``say``. Return when all waiting lines are sent to those who read."""


# --- the rest shows the faults, and needs no change -----------------------------------------------------


async def one_name() -> None:
    async def allows(name: str) -> bool:
        await asyncio.sleep(0.1)
        return True

    async def send(line: str) -> None:
        pass

    async def want(who: str) -> None:
        try:
            await room.join("sam", send)
            print(f"{who} is sam")
        except NameTaken:
            print(f"{who} is told that the name is taken")

    room = Room(allows, print)
    await asyncio.gather(want("ann"), want("bob"))


async def one_disk() -> None:
    async def allows(name: str) -> bool:
        return True

    async def send(line: str) -> None:
        pass

    async def ticks() -> None:
        while True:
            began.append(time.perf_counter())
            await asyncio.sleep(0.01)

    began: list[float] = []
    room = Room(allows, lambda line: time.sleep(0.5))
    await room.join("ann", send)
    clock = asyncio.create_task(ticks())
    await asyncio.sleep(0.1)
    await room.say("ann", "hello")
    await asyncio.sleep(0.1)
    clock.cancel()
    longest = max(after - before for before, after in itertools.pairwise(began))
    print(f"ann says a line, and the disk takes 0.5 s. A clock that ticks all the time stood still for {longest:.1f} s")


if __name__ == "__main__":
    asyncio.run(one_name())
    asyncio.run(one_disk())
