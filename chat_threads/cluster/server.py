"""What makes a server a member of a cluster: the kinds of its parts, and the order in which they begin and end."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from functools import partial
from typing import Any

from ..errors import NotStored, StartError
from ..events import Notice
from ..lab import Faults
from ..session import Session
from ..trace import Recorder

try:
    import psycopg  # noqa: F401
except ImportError as error:
    raise StartError("The option --cluster needs psycopg. Install it: pip install 'chat_threads[cluster]'.") from error

from .copy import Copy
from .engine import Engine
from .history import WAIT, ClusterHistory
from .listener import Listener
from .members import ClusterSessions
from .post import Post
from .publisher import ClusterPublisher
from .watched import WatchedClusterHistory, WatchedClusterPublisher, WatchedCopy

READY = 5.0  # seconds until it hears of private lines; without the engine it cannot
CATCH_UP = 600.0  # seconds in which a server reads what it has missed, before it lets people in all the same
LOOK = 1.0  # seconds after which it looks whether the history still reads
SETTLE = WAIT + 5.0  # seconds for which the maker of a room waits for the log


class Cluster:
    """The parts of a server that only a cluster needs. For main."""

    history: ClusterHistory
    sessions: ClusterSessions
    publisher: ClusterPublisher
    listener: Listener

    def __init__(self, url: str) -> None:
        self._url = url
        self.engine = Engine(url)
        self.post = Post(url)

    def makers(self, make: Any, recorder: Recorder | None, faults: Faults) -> Any:
        """Makers of parts that work together in a cluster, in place of ``make``. With a recorder, they are watched."""
        kinds: tuple[Any, Any, Any] = (Copy, ClusterHistory, ClusterPublisher)
        if recorder is not None:
            kinds = (
                partial(WatchedCopy, recorder=recorder),
                partial(WatchedClusterHistory, recorder=recorder, faults=faults),
                partial(WatchedClusterPublisher, recorder=recorder),
            )
        copy, histories, publishers = kinds

        def sessions(*args: Any) -> ClusterSessions:
            self.sessions = ClusterSessions(*args)
            return self.sessions

        def history(*args: Any, **more: Any) -> ClusterHistory:
            post = self.post.send
            self.history = histories(*args, engine=self.engine, sessions=self.sessions, post=post, **more)
            self.sessions.decide, self.sessions.summon = self.history.claim, self.history.summon
            self.sessions.put = self.history.enqueue
            self.sessions.catch_up = lambda: self.history.settle(SETTLE)
            self.listener = Listener(
                self._url,
                self._wake,
                lambda: self.history.server,
                lambda: self.history.keeps,
                self.sessions,
                self.post,
            )
            self.post.server, self.post.unsure = (lambda: self.history.server), self._unsure
            self.post.identity = self._identity
            return self.history

        def publisher(*args: Any, **more: Any) -> ClusterPublisher:
            self.publisher = publishers(
                *args, settle=lambda: self.history.settle(SETTLE), carry=self.history.carry, **more
            )
            return self.publisher

        return replace(make, storage=copy, sessions=sessions, history=history, publisher=publisher)

    def restore(self) -> None:
        """After the rooms are restored: put the people of the other servers into them."""
        history = self.history
        history.state.restore(history.storage.rooms(), history.storage.accounts())
        history.populate()
        self.publisher.populate(history.state.ledger, history.person)

    def _wake(self) -> None:
        with contextlib.suppress(NotStored):  # then the thread is awake
            self.history.wake()

    def _identity(self, name: str) -> int:
        session = self.sessions.owner(name)
        return session.identity if session else 0

    def _unsure(self, sender: str, to: str) -> None:
        """For the post: it is not known whether a private line was shown."""
        session = self.sessions.owner(sender)
        if isinstance(session, Session):
            session.send(
                Notice(f"Nobody knows whether {to} got your private line: that person's server has not confirmed it.")
            )

    def start(self) -> None:
        """After the history has begun, and before anybody is let in. Waits until it has read the log."""
        deadline = time.monotonic() + CATCH_UP
        while not self.history.settle(LOOK) and time.monotonic() < deadline:
            if not self.history.thread.is_alive():
                return
        self.listener.start()
        self.listener.ready.wait(READY)
        self.post.thread.start()

    def stop(self, timeout: float) -> list[str]:
        """End the two threads, before the history. Return those that did not end in time."""
        return [name for name, part in (("listener", self.listener), ("post", self.post)) if not part.stop(timeout)]
