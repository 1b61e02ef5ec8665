"""The table of what each command does, and what the functions in it work with.

``@does`` puts a function into the table. The functions stand in the files of this package, one file for a family of
commands: ``talk``, ``rooms``, ``people``, ``pages``, and ``insight``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .. import commands, inside
from ..chatroom import ChatRoom
from ..errors import Busy
from ..history import History
from ..lab import Faults
from ..publisher import Publisher
from ..rules import check_room
from ..session import Session, SessionStore
from ..trace import Recorder

MAX_ROWS = 100  # rows in a table of rooms, people or threads
SETTLE = 15.0  # seconds to wait for what was said before; more than SQLite waits for another's lock


@dataclass(frozen=True)
class Insight:
    """What may be looked at, and by whom: what --lab and --trace add to the service."""

    locks: inside.Locks = field(default_factory=inside.Locks)
    faults: Faults | None = None  # those that --lab allows
    recorder: Recorder | None = None  # of messages' trips

    @property
    def for_all(self) -> bool:
        """Whether everybody may look inside, and not only those at the server's own machine."""
        return self.faults is not None


@dataclass(frozen=True)
class Context:
    """What the commands work with. All reader threads share one."""

    publisher: Publisher
    sessions: SessionStore
    history: History
    insight: Insight = field(default_factory=Insight)
    began: float = field(default_factory=time.monotonic)

    def room(self, session: Session, name: str | None, member: bool = False) -> ChatRoom:
        """The room meant: the current one, or the one named; with ``member``, only if the session is in there."""
        if name is None:
            return self.publisher.current(session)
        check_room(name)
        return self.publisher.member_of(session, name) if member else self.publisher.find(name)

    def wait(self, session: Session) -> None:
        """Wait until what the session asked for has been done; raise Busy if that takes too long."""
        if not self.history.settle(SETTLE, session.ended) and not session.ended.is_set():
            raise Busy()


METHODS: dict[type[commands.Command], Callable[[Context, Session, Any], None]] = {}
"""What does each command. The families fill it when they are imported; nobody changes it later."""

M = TypeVar("M", bound=Callable[..., None])


def does(kind: type[commands.Command]) -> Callable[[M], M]:
    """The function below is what that command does."""

    def register(method: M) -> M:
        METHODS[kind] = method
        return method

    return register
