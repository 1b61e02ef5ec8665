"""What a dialect is: bytes in, commands out; events in, bytes out. No socket, no thread, no SQL in here."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

from ..commands import Command
from ..errors import ChatError
from ..events import WireBytes
from ..parcel import View, Views


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for: a command, or the error to answer; and the client's name for the request, which the
    answers repeat."""

    command: Command | ChatError
    ref: str = ""  # "": none; people's requests have none


Input = Request | WireBytes
"""What a client's bytes mean: a request, or bytes to send back at once, for telnet's sake."""


S = TypeVar("S", bound=Hashable)
V = TypeVar("V", bound=View)


class SharedViews(Generic[S, V]):
    """The views, by style: sessions with the same style share a view, and so its bytes.

    A view is forgotten with the last session that has it. Any thread may call ``of``; two that ask for a new style at
    the same moment may get a view each.
    """

    def __init__(self, make: Callable[[S], V]) -> None:
        self._make = make
        self._views: WeakValueDictionary[S, V] = WeakValueDictionary()

    def of(self, style: S) -> V:
        view = self._views.get(style)
        if view is None:
            view = self._views[style] = self._make(style)
        return view


class Dialect(Protocol):
    """One client's way of speaking. It belongs to the client's reader thread; other threads may use only the views
    and the name, which are immutable."""

    name: str
    """"text", "json" or "web", for the numbers of sessions. It never changes, so any thread may read it."""

    views: Views
    """How this client is shown events."""

    replay: int
    """How many messages it wants to see on entering a room."""

    token_first: bool
    """Whether a token is handed out with the welcome, or only when it is asked for."""

    def feed(self, data: bytes) -> None:
        """Take bytes from the wire. The dialect keeps at most these and one unfinished line from before."""

    def next_input(self) -> Input | None:
        """What the bytes so far mean, one input a call; None: feed more. Raises nothing."""

    @property
    def pending(self) -> bool:
        """Whether a line has begun and not ended."""

    def admitted(self, name: str) -> None:
        """The handshake is over, and this is the client's name. From now on, lines are commands."""

    def renamed(self, name: str) -> None:
        """The client has another name now. The views may have changed."""

    def ignoring(self, people: frozenset[int]) -> None:
        """Hide what these people say, who are given by the numbers of their tokens. The views may have changed."""

    def set_option(self, name: str | None, value: str | None) -> str:
        """Change a setting; without a name, change nothing. Return the answer in words; raise Usage or BadRequest. The
        views may have changed."""
