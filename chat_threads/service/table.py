"""The table that says which function carries out a command, and what all these functions work with.

``@does`` puts a function into the table. Each function takes the context, the session that asked, and the command. It
answers the session, or raises a ChatError that the conversation shows to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .. import commands, inside
from ..accounts import Accounts
from ..addresses import Networks
from ..chatroom import ChatRoom
from ..errors import Busy
from ..history import History
from ..lab import Faults
from ..publisher import Publisher
from ..rules import check_room
from ..session import Session, SessionStore
from ..trace import Recorder

MAX_ROWS = 100  # rows in a table of rooms, people or threads
SETTLE = 15.0  # seconds to wait for what was said before; more than SQLite waits for another process's lock


@dataclass(frozen=True)
class Insight:
    """What --lab and --trace add, and who may look inside."""

    locks: inside.Locks = field(default_factory=inside.Locks)
    faults: Faults | None = None  # those that --lab allows
    recorder: Recorder | None = None  # of messages' trips
    metrics_from: Networks = field(default_factory=Networks)  # see the metrics, besides the server's own machine

    @property
    def for_all(self) -> bool:
        """Whether everybody may look inside, and not only connections from the server's own machine."""
        return self.faults is not None


@dataclass(frozen=True)
class Context:
    """The parts that the commands use. All reader threads share one; it is frozen, and each part has its own lock."""

    publisher: Publisher
    sessions: SessionStore
    history: History
    insight: Insight = field(default_factory=Insight)
    home: Callable[[], str] = lambda: ""  # the address of the chat for browsers, as others reach it
    accounts: Accounts = field(default_factory=Accounts)
    began: float = field(default_factory=time.monotonic)

    def room(self, session: Session, name: str | None, member: bool = False) -> ChatRoom:
        """The named room, or the current one if ``name`` is None; raise BadRoom, NotInRoom, or as
        ``Directory.find`` does.

        With ``member`` the session must be in the room.
        """
        if name is None:
            return self.publisher.current(session)
        current = self.publisher.peek_current(session)
        if current is not None and name == current.name:  # programs name it in each request
            return current
        check_room(name)
        return self.publisher.member_of(session, name) if member else self.publisher.find(name, session)

    def wait(self, session: Session) -> None:
        """Wait until the history has handled everything that was submitted before; raise Busy after SETTLE seconds.

        Returns soon when the session has ended (see ``History.settle``).
        """
        if not self.history.settle(SETTLE, session.ended) and not session.ended.is_set():
            raise Busy()


METHODS: dict[type[commands.Command], Callable[[Context, Session, Any], None]] = {}
"""The function that carries out each command. Importing the families fills the table; nothing changes it later."""

F = TypeVar("F", bound=Callable[..., None])


def does(kind: type[commands.Command]) -> Callable[[F], F]:
    """Register the decorated function as the one that carries out the command."""

    def register(function: F) -> F:
        METHODS[kind] = function
        return function

    return register
