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
    """What a client asks for: a command, or the mistake to tell it of; and what it calls this request. Its answers
    bring that back."""

    command: Command | ChatError
    ref: str = ""  # "": nothing, and what people type has none


Input = Request | WireBytes
"""What a client's bytes mean: a request, or bytes of the wire's own to be answered."""


S = TypeVar("S", bound=Hashable)
V = TypeVar("V", bound=View)


class SharedViews(Generic[S, V]):
    """The views there are, by their style: sessions that are shown the same share one, and so its bytes.

    A view is forgotten with the last session that is shown things by it. For any thread; two that ask at the same
    moment for a style that is new may get a view each.
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
    """One client's way of speaking. Belongs to its reader thread, but for the views, which are immutable."""

    views: Views
    """How this client is shown events."""

    replay: int
    """How many messages it wants to see on entering a room."""

    token_first: bool
    """Whether a token is handed out with the welcome, or only when it is asked for."""

    def feed(self, data: bytes) -> None:
        """Take bytes from the wire. What is kept is bounded by this data and one line before it."""

    def next_input(self) -> Input | None:
        """The next thing that the bytes so far mean; None: feed more. Raises nothing."""

    @property
    def pending(self) -> bool:
        """Whether a line has begun and not ended."""

    def admitted(self, name: str) -> None:
        """The handshake is over, and this is the client's name; what comes now are commands."""

    def renamed(self, name: str) -> None:
        """The client has another name now. The views may have changed."""

    def ignoring(self, people: frozenset[int]) -> None:
        """The client wants to see nothing that these people say, whose tokens have these numbers. The views may have
        changed."""

    def set_option(self, name: str | None, value: str | None) -> str:
        """Change what is shown, or with no name only say what is; the answer in words; raise Usage.
        The views may have changed."""
