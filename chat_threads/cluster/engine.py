"""The engine: an ordered log in PostgreSQL, to which every server appends, and which every server reads.

A row is a batch of one server. The rows have the positions 1, 2, 3 … without a gap, in the order in which they were
committed: the position comes from the single row of ``head``, and whoever appends holds that row's lock until its
commit. (A sequence would give out numbers before the commit. So a reader could see row 8 before row 7, and would never
look for row 7 again.) ``UNIQUE (server, seq)`` makes it safe to append a row again if nobody knows what became of the
first try.

Rows that all servers have read are deleted after KEPT days, by the engine's own clock: no two clocks are compared.

psycopg, the extra ``cluster``, is needed in this package only.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from .errors import OtherFormat
from .link import Link, connect

FORMAT = 2  # of the tables and the rows; it goes up with a change that older servers cannot follow
KEPT = 7.0  # days for which a row stays at least
TRIMMED = 500  # rows that one statement deletes, at most
CHANNEL = "chat_threads"  # of NOTIFY, which wakes the other servers; a hint, because a proxy may swallow it
_SCHEMA = """
CREATE TABLE IF NOT EXISTS head (one boolean PRIMARY KEY CHECK (one), id bigint NOT NULL, engine bigint NOT NULL,
    format int NOT NULL);
CREATE TABLE IF NOT EXISTS log (
    id      bigint PRIMARY KEY,
    server  bigint NOT NULL,
    seq     bigint NOT NULL,
    at      bigint NOT NULL,
    payload bytea NOT NULL,
    stored  timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (server, seq)
)
"""
_APPEND_QUIETLY = (
    "WITH h AS (UPDATE head SET id = id + 1 RETURNING id) INSERT INTO log (id, server, seq, at, payload)"
    " SELECT h.id, %s, %s, %s, %s FROM h RETURNING id"
)
_APPEND = f"{_APPEND_QUIETLY}, pg_notify('{CHANNEL}', id::text)"
_LISTENER = "chat_threads listener "  # the application_name of a listener's connection, before its server's number
STUCK = 60.0  # seconds after which the connection of a listener is ended, if its server is gone
_END_LISTENERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    " AND usename = current_user AND starts_with(application_name, %s) AND application_name != ALL(%s)"
    " AND backend_start < clock_timestamp() - make_interval(secs => %s)"
)
_FOUND = "SELECT id FROM log WHERE server = %s AND seq = %s"
_READ = "SELECT id, server, seq, at, payload, (SELECT id FROM head) AS last FROM log WHERE id > %s ORDER BY id LIMIT %s"
_HEAD = "SELECT engine, id, format, coalesce((SELECT min(id) FROM log), id + 1) FROM head"
_TRIM = (  # the first rows, up to one that is younger, so that no gap comes into being
    "DELETE FROM log WHERE id < (SELECT coalesce("
    "min(id) FILTER (WHERE stored > clock_timestamp() - make_interval(secs => %s)), max(id) + 1)"
    " FROM (SELECT id, stored FROM log WHERE id <= %s ORDER BY id LIMIT %s) AS first)"
)


class EngineError(Exception):
    """The engine did not do what was asked. The text is a reason for people."""


class Unreachable(EngineError):
    """The engine cannot be reached, and surely nothing was appended."""


class Unsure(EngineError):
    """The connection broke, and nobody knows whether the row was appended. Append it again, with the same ``seq``."""


@dataclass(frozen=True, slots=True)
class Row:
    """A batch of one server. ``at`` is UTC in milliseconds since 1970."""

    position: int
    server: int
    seq: int
    at: int
    payload: bytes


class Engine:
    """One connection to the log. Only one thread may use it: the history thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Link | None = None
        self.last = 0  # the position of the last row, when the log was last read

    def _connected(self) -> Link:
        """The connection; make it if there is none. Raise Unreachable."""
        if self._connection is None or self._connection.closed:
            try:
                self._connection = connect(self._url)
            except psycopg.Error as error:
                raise Unreachable(_reason(error)) from error
        return self._connection

    def prepare(self) -> tuple[int, int, int]:
        """Make the tables if there are none. Return the engine's own number, which a copy of the log has, too, the
        position of the first row, and that of the last one. Raise EngineError or OtherFormat."""
        connection = self._connected()
        try:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(7167)")  # two servers may begin at once
                connection.execute(_SCHEMA)
                connection.execute(
                    "INSERT INTO head VALUES (true, 0, %s, %s) ON CONFLICT DO NOTHING", (secrets.randbits(62), FORMAT)
                )
                row = connection.execute(_HEAD).fetchone()
        except (psycopg.errors.UndefinedColumn, psycopg.errors.SyntaxError) as error:  # from before there was a format
            connection.close()
            raise OtherFormat(1) from error
        except psycopg.Error as error:
            connection.close()
            raise Unreachable(_reason(error)) from error
        assert row
        number, last, its_format, first = row
        if its_format != FORMAT:
            raise OtherFormat(its_format)
        return int(number), int(first), int(last)

    def begin_with(self, engine: int) -> bool:
        """Let the log begin with a history that is there already, in place of row 1, and give the engine this number.
        Return False if the log is not empty any more. Raise Unreachable."""
        try:
            changed = self._connected().execute("UPDATE head SET id = 1, engine = %s WHERE id = 0", (engine,)).rowcount
        except psycopg.Error as error:
            raise Unreachable(_reason(error)) from error
        return bool(changed)

    def append(self, server: int, seq: int, at: int, payload: bytes) -> int:
        """Append a row, and return its position; also if it is there already. Raise Unreachable or Unsure."""
        if self._connection is not None and self._connection.has_ended():
            self._connection.close()
        connection = self._connected()
        try:
            row = connection.execute(_APPEND, (server, seq, at, payload)).fetchone()
        except psycopg.errors.UniqueViolation:
            return self._position(server, seq)
        except psycopg.errors.ProgramLimitExceeded:  # the queue of notifications is full; servers look by themselves
            row = self._append_quietly(server, seq, at, payload)
        except psycopg.Error as error:
            if connection.closed or isinstance(error, psycopg.OperationalError):
                connection.close()
                raise Unsure(_reason(error)) from error
            raise EngineError(_reason(error)) from error
        assert row
        return int(row[0])

    def _append_quietly(self, server: int, seq: int, at: int, payload: bytes) -> Any:
        try:
            return self._connected().execute(_APPEND_QUIETLY, (server, seq, at, payload)).fetchone()
        except psycopg.Error as error:
            raise Unsure(_reason(error)) from error

    def _position(self, server: int, seq: int) -> int:
        try:
            row = self._connected().execute(_FOUND, (server, seq)).fetchone()
        except psycopg.Error as error:
            raise Unsure(_reason(error)) from error
        assert row
        return int(row[0])

    def read(self, after: int, most: int) -> Sequence[Row]:
        """At most ``most`` rows after a position, in order. Raise Unreachable."""
        connection = self._connected()
        try:
            rows = connection.execute(_READ, (after, most), binary=True).fetchall()
        except psycopg.Error as error:
            connection.close()
            raise Unreachable(_reason(error)) from error
        self.last = max(self.last, rows[-1][5]) if rows else after
        return [Row(*row[:5]) for row in rows]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def trim(connection: Link, read: int) -> bool:
    """Delete the first rows that are old enough and not beyond position ``read``. Return whether there may be more.
    For any thread, with a connection of its own. Raises psycopg.Error."""
    return connection.execute(_TRIM, (KEPT * 86_400, read, TRIMMED)).rowcount == TRIMMED


def name_of_listener(server: int) -> str:
    """The name under which PostgreSQL shows the connection of a server's listener."""
    return f"{_LISTENER}{server}"


def end_listeners(connection: Link, living: Iterable[int]) -> None:
    """End the connections of listeners whose servers are gone. A server that is stopped does not take what is sent to
    it, and PostgreSQL keeps all notifications until everybody has taken them: when that queue is full, after 8 GB,
    nobody can notify any more. For any thread, with a connection of its own. Raises psycopg.Error."""
    connection.execute(_END_LISTENERS, (_LISTENER, [name_of_listener(each) for each in living], STUCK))


def _reason(error: Exception) -> str:
    """The first line of what psycopg says, which may have many."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
