"""How to speak to each server: the minimum to enter, to say something, and to see errors.

Messages are found by their mark, so the rest of a server's output is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .plan import ROOM


@dataclass(frozen=True, slots=True)
class Dialect:
    hello: Callable[[str, str], str]  # the lines to enter a room under a name
    inside: bytes  # part of the line that says that the client has entered
    say: tuple[str, str]  # the bytes before and after a text; {room} is filled in
    trouble: re.Pattern[bytes]  # a line in which the server reports an error


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
    """Makes the messages of one run, and finds them in received lines."""

    def __init__(self, run: str, size: int, dialect: str) -> None:
        self._run = run
        self._size = size
        self._say = DIALECTS[dialect].say
        self._filling = "".join("abcdefghijklmnopqrstuvwxyz"[at % 26] for at in range(size))
        self._mark = re.compile(rb"~%s\.(\d+)\.(\d+)\.(\d+)~" % run.encode())

    def message(self, sender: int, room: int, number: int, at: int) -> str:
        """The line of a message; ``at`` is in microseconds since the plan's epoch."""
        mark = f"~{self._run}.{sender}.{number}.{at}~"
        before, after = self._say
        return f"{before.format(room=room_name(room))}{mark}{self._filling[len(mark) :]}{after.format()}"

    def find(self, data: bytes) -> list[tuple[int, int, int]]:
        """The sender, number and time of every message of this run in some lines, in order."""
        return [(int(sender), int(number), int(at)) for sender, number, at in self._mark.findall(data)]


def room_name(room: int) -> str:
    return f"#{ROOM}{room}"
