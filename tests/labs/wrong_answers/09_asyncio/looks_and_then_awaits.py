"""The name is taken when the other server has answered.

Fails: Between the look and the taking there is an await.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

Send = Callable[[str], Awaitable[None]]
"""Sends a line to one client. It may take for ever: a client that sleeps takes nothing."""


class NameTaken(Exception):
    """Somebody else has the name."""


class Member:
    """Lines that wait for one client, and the task that sends them."""

    def __init__(self, send: Send, limit: int) -> None:
        self._send = send
        self._lines: asyncio.Queue[str] = asyncio.Queue(limit)
        self.task = asyncio.create_task(self._write())

    def put(self, line: str) -> bool:
        """Queue a line. False if too much waits already."""
        try:
            self._lines.put_nowait(line)
            return True
        except asyncio.QueueFull:
            return False

    async def _write(self) -> None:
        while True:
            line = await self._lines.get()
            await self._send(line)
            self._lines.task_done()

    async def sent(self, seconds: float) -> None:
        """Return when all lines are sent, or the time is up."""
        try:
            await asyncio.wait_for(self._lines.join(), seconds)
        except (TimeoutError, asyncio.TimeoutError):
            pass


class Room:
    """A room of a chat. All methods are called on the thread of the event loop."""

    def __init__(self, allows: Callable[[str], Awaitable[bool]], store: Callable[[str], None], limit: int = 5) -> None:
        self._allows = allows  # asks another server about a name, which takes a while
        self._store = store  # writes a line to the disk and waits for it. Not to be called twice at the same time
        self._limit = limit  # lines that may wait for a member
        self._taken: set[str] = set()  # names of members, and of those who are on their way in
        self._members: dict[str, Member] = {}
        self._disk = asyncio.Lock()  # one line at a time is stored and shown

    async def join(self, name: str, send: Send) -> None:
        """Take the name and enter. Raise NameTaken if somebody has it, PermissionError if it is not allowed. If the
        task is cancelled meanwhile, because the client is gone, the name is free."""
        if name in self._taken:
            raise NameTaken(name)
        if not await self._allows(name):
            raise PermissionError(name)
        self._taken.add(name)
        self._members[name] = Member(send, self._limit)

    def leave(self, name: str) -> None:
        """Free the name. Nothing more is sent."""
        self._members.pop(name).task.cancel()
        self._taken.remove(name)

    def names(self) -> set[str]:
        return set(self._members)

    async def say(self, name: str, text: str) -> None:
        """Store a line, then show it to everybody, or to those who keep up. Return when it is stored."""
        line = f"{name}: {text}"
        async with self._disk:
            await asyncio.to_thread(self._store, line)
            for who, member in list(self._members.items()):
                if not member.put(line):
                    self.leave(who)

    async def close(self) -> None:
        """Called once, after the last ``say``. Return when all that waits is sent to those who read."""
        async with self._disk:
            pass  # the last line is stored
        await asyncio.gather(*(member.sent(1) for member in self._members.values()))
        for name in self.names():
            self.leave(name)
