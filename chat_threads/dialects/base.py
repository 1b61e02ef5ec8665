"""What a dialect is: bytes in, commands out; events in, bytes out. No socket, no thread, no SQL in here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, final
from weakref import WeakValueDictionary

from ..commands import Command
from ..errors import ChatError
from ..events import Event, WireBytes
from ..parcel import View, Views


@final
@dataclass(slots=True)
class Request:
    """What a client asks for: a command, or the error to answer; and the client's name for the request, which the
    answers repeat. Not frozen, because it stays in one thread, and freezing takes time at each line."""

    command: Command | ChatError
    ref: str = ""  # "": none; people's requests have none


Input = Request | WireBytes
"""What a client's bytes mean: a request, or bytes to send back at once, for telnet's sake."""


REPLAY = 20
MAX_REPLAY = 200


@dataclass(frozen=True, slots=True)
class Settings:
    """What a dialect needs to know of the server's options."""

    replay: int = REPLAY  # messages shown on entering a room, unless the client says otherwise
    origins: frozenset[str] = frozenset()  # of web pages that may connect, besides our own (RFC 6454)
    lab: bool = False


DEFAULTS = Settings()


S = TypeVar("S")  # hashable
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


class SilentView:
    """Nothing is shown, but an answer in bytes is still sent. Immutable; see parcel.View."""

    __slots__ = ()

    def encode(self, shown: Sequence[Event]) -> bytes:
        return b"".join(event.data for event in shown if isinstance(event, WireBytes))


SILENT = Views(SilentView(), SilentView())


class Dialect(Protocol):
    """One client's way of speaking. It belongs to the client's reader thread; other threads may use only the views
    and the name, which are immutable."""

    name: str
    """"text", "json" or "web", for the numbers of sessions. It never changes, so any thread may read it."""

    token_first: bool
    """Whether a token is handed out with the welcome, or only when it is asked for."""

    greeted: bool
    """Whether its clients read a line of text before anything else: the greeting, or why there is none."""

    framed: bool
    """Whether ``feed`` also counts frames, which need not end a line."""

    @property
    def views(self) -> Views:
        """How this client is shown events."""

    @property
    def replay(self) -> int:
        """How many messages it wants to see on entering a room."""

    @property
    def may_be_local(self) -> bool:
        """Whether a client on the server's own machine may do what only such clients may."""

    def feed(self, data: bytes) -> int:
        """Take bytes from the wire. The dialect keeps at most these and one unfinished line from before. Return the
        number of lines that ended, or of blank lines that cost as much (see ``pace.BLANKS``)."""

    def next_input(self) -> Input | None:
        """What the bytes so far mean, one input a call; None: feed more. Raises nothing."""

    @property
    def pending(self) -> bool:
        """Whether a line has begun and not ended."""

    def admitted(self, name: str) -> None:
        """The handshake is over, and this is the client's name. From now on, lines are commands."""

    def ask(self, command: Command) -> bool:
        """Ask the client for what the command lacks, such as a password, and then give the whole command as a request.
        False: this client has to send it by itself."""

    def hint(self) -> str:
        """What to tell the client with its welcome; "": nothing."""

    def renamed(self, name: str) -> None:
        """The client has another name now. The views may have changed."""

    def ignoring(self, people: frozenset[int]) -> None:
        """Hide what these people say, who are given by the numbers of their tokens. The views may have changed."""

    def today(self, at: float) -> str | None:
        """Which day it is for the client, in words, at a time in seconds since 1970; "" if it does not want to know.
        None: it is never told."""

    def settings(self) -> Mapping[str, str] | None:
        """The settings, as ``set_option`` takes them, to be kept for a client that comes back by its token; None: this
        client keeps everything itself."""

    def set_option(self, name: str | None, value: str | None) -> str:
        """Change a setting; without a name, change nothing. Return the answer in words; raise a Told. The views may
        have changed."""
