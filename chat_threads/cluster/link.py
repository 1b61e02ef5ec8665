"""A connection to PostgreSQL that does not wait for ever.

PostgreSQL's own limit, statement_timeout, does not help if the answer does not arrive: because the network is cut, or
because the engine is stopped. So each wait for an answer has a limit here, too.
"""

from __future__ import annotations

import select
import time
from collections.abc import Generator
from typing import Any

import psycopg

CONNECT = 5  # seconds that connecting may take
ANSWER = 5.0  # seconds that an answer may take
ALIVE = 5  # seconds without anything, and then without an answer, until the system finds that the network is cut


class Link(psycopg.Connection[Any]):
    """Waits at most ANSWER seconds for each answer; then it raises OperationalError, and must be closed."""

    def wait(self, gen: Any, *args: Any, **more: Any) -> Any:
        """Carry out a step of psycopg's, which goes on whenever the socket is ready, and at least every tenth of a
        second."""
        return super().wait(_limited(gen, time.monotonic() + ANSWER), *args, **more)

    def has_ended(self) -> bool:
        """Whether PostgreSQL has ended the connection while nothing was asked. Then it is sure that what is asked next
        did not arrive. A system call."""
        return not self.closed and bool(select.select([self], [], [], 0)[0])


def _limited(steps: Any, deadline: float) -> Generator[Any, Any, Any]:
    ready = None
    while True:
        try:
            wanted = steps.send(ready)
        except StopIteration as end:
            return end.value
        ready = yield wanted
        if time.monotonic() >= deadline:
            steps.close()
            raise psycopg.OperationalError(f"no answer within {ANSWER:g} seconds")


def connect(url: str, name: str = "chat_threads") -> Link:
    """Connect, in autocommit mode; PostgreSQL shows the name. Raises psycopg.Error."""
    try:
        return _connect(url, name, options=f"-c statement_timeout={int(ANSWER * 1000)}")
    except psycopg.OperationalError as error:
        if "unsupported startup parameter" not in str(error):
            raise
    # PgBouncer. It may hand each transaction to another session of PostgreSQL, which lacks what another one prepared.
    return _connect(url, name, prepare_threshold=None)


def _connect(url: str, name: str, **more: Any) -> Link:
    return Link.connect(
        url,
        autocommit=True,
        connect_timeout=CONNECT,
        keepalives_idle=ALIVE,
        keepalives_interval=1,
        keepalives_count=ALIVE,
        application_name=name,
        **more,
    )
