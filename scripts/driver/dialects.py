"""How a server is spoken to: the least that it takes to get in, to say something, and to see what went wrong.

Messages are found by their mark alone, so nothing else of what a server writes is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .plan import ROOM


@dataclass(frozen=True, slots=True)
class Dialect:
    hello: Callable[[str, str], str]  # from a name and a room, the lines that get one in
    inside: bytes  # what stands in the line that says one is in
    say: tuple[str, str]  # what goes before and after a text; {room} is filled in
    trouble: re.Pattern[bytes]  # a line in which the server says that something is wrong


DIALECTS = {
    "text": Dialect(
        hello=lambda name, room: f"{name} {room}\n",
        inside=b"You are in #",
        say=("", "\n"),
        trouble=re.compile(rb"^! .*$", re.MULTILINE),
    ),
    "json": Dialect(
        hello=lambda name, room: f'{{"type":"hello","name":"{name}","room":"{room}"}}\n',
        inside=b'"type":"joined"',
        say=('{{"type":"say","room":"{room}","text":"', '"}}\n'),
        trouble=re.compile(rb'^(?:! .*|.*"type":"error".*)$', re.MULTILINE),
    ),
    # Redis 6 or newer; RESP 3, in which one connection may subscribe and publish.
    "redis": Dialect(
        hello=lambda name, room: f"HELLO 3\r\nSUBSCRIBE {room}\r\n",
        inside=b"subscribe\r",
        say=("PUBLISH {room} ", "\r\n"),
        trouble=re.compile(rb"^-.*$", re.MULTILINE),
    ),
}


class Texts:
    """The messages of one run, as they are sent and as they are found again."""

    def __init__(self, run: str, size: int, dialect: str) -> None:
        self._run = run
        self._size = size
        self._say = DIALECTS[dialect].say
        self._filling = "".join("abcdefghijklmnopqrstuvwxyz"[at % 26] for at in range(size))
        self._mark = re.compile(rb"~%s\.(\d+)\.(\d+)\.(\d+)~" % run.encode())

    def message(self, sender: int, room: int, number: int, at: int) -> str:
        """A line that says it; ``at`` is in microseconds since the plan's epoch."""
        mark = f"~{self._run}.{sender}.{number}.{at}~"
        before, after = self._say
        return f"{before.format(room=room_name(room))}{mark}{self._filling[len(mark) :]}{after.format()}"

    def find(self, data: bytes) -> list[tuple[int, int, int]]:
        """Sender, number and time of every message of this run in some lines, in their order."""
        return [(int(sender), int(number), int(at)) for sender, number, at in self._mark.findall(data)]


def room_name(room: int) -> str:
    return f"#{ROOM}{room}"
