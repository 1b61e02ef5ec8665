"""The listener. PostgreSQL tells this thread of each new row in the log, and of each line for somebody here. The thread
also trims the log."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import psycopg

from .. import inside
from ..events import PrivateLine
from ..latch import Latch
from .engine import CHANNEL, end_listeners, name_of_listener, trim
from .entries import unpack_event
from .errors import NewerEntry
from .link import Link, connect
from .members import ClusterSessions
from .post import Pieces, Post, channel

log = logging.getLogger(__name__)

AGAIN = 1.0  # seconds until another try to connect
LOOK = 0.5  # seconds after which it looks whether it has to end
TRIM_EVERY = 60.0  # seconds between two looks for rows to delete
TRIM_PAUSE = 0.05  # seconds between two deletions, if there is more


Keeps = tuple[int, tuple[int, ...]]


class Listener:
    """``wake`` is called when there may be a new row; it must not wait. ``server`` gives this server's number. If it is
    the one that keeps order in the engine, ``keeps`` gives the position up to which it may delete rows, and the living
    servers; otherwise None."""

    def __init__(
        self,
        url: str,
        wake: Callable[[], None],
        server: Callable[[], int],
        keeps: Callable[[], Keeps | None],
        sessions: ClusterSessions,
        post: Post,
    ) -> None:
        self._url = url
        self._wake = wake
        self._server = server
        self._keeps = keeps
        self._trims_at = 0.0  # by time.monotonic(); owned by its thread
        self._sessions = sessions
        self._post = post
        self._pieces = Pieces()
        self._stopping = Latch()
        self.ready = Latch()  # set once it listens for the first time
        self.thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self, timeout: float) -> bool:
        self._stopping.set()
        if self.thread.is_alive():
            self.thread.join(timeout)
        return not self.thread.is_alive()

    def _run(self) -> None:
        inside.run("listener", "listens for what is new", self._work)

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                with connect(self._url, name_of_listener(self._server())) as connection:
                    self._listen(connection)
            except psycopg.Error:  # the history says so, and looks for itself
                self._stopping.wait(AGAIN)

    def _listen(self, connection: Link) -> None:
        server = self._server()
        connection.execute(f"LISTEN {CHANNEL}")
        connection.execute(f"LISTEN {channel(server)}")
        self._wake()
        self.ready.set()
        while not self._stopping.is_set() and server == self._server():
            pause = min(LOOK, max(0.0, self._trims_at - time.monotonic()))
            for notice in connection.notifies(timeout=pause, stop_after=1):
                if notice.channel == CHANNEL:
                    self._wake()
                else:
                    self._deliver(notice.payload)
            if time.monotonic() >= self._trims_at:
                self._trims_at = time.monotonic() + (TRIM_PAUSE if self._keep_order(connection) else TRIM_EVERY)

    def _keep_order(self, connection: Link) -> bool:
        """Delete old rows, and connections that nobody reads from. Return whether there is more to do at once."""
        keeps = self._keeps()
        if keeps is None:
            return False
        upto, living = keeps
        more = trim(connection, upto)
        if not more:
            end_listeners(connection, living)
        return more

    def _deliver(self, payload: str) -> None:
        """Show somebody here what somebody on another server has sent."""
        try:
            found = self._pieces.add(payload)
            if found is None:
                return
            if found[0] is None:
                self._post.arrived(int(found[1]))
                return
            number, event = int(found[0]), unpack_event(found[1])
            if isinstance(event, PrivateLine):
                server, line, identity = map(int, found[2])
        except (
            ValueError,
            TypeError,
            LookupError,
            NewerEntry,
        ) as error:  # a newer version may send what this one does not know
            log.warning("a line from another server cannot be read: %s", error)
            return
        session = self._sessions.get(number)
        if session is None:
            return
        if isinstance(event, PrivateLine):
            self._post.confirm(server, line)
            if identity in session.profile.ignored:
                return
            sender = self._sessions.owner(event.sender)  # None: what the log says of the sender is not read yet
            session.reply_to = sender.contact if sender else None
        session.send(event)
