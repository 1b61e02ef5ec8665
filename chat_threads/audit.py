"""What is remembered of those who keep order: what operators did, what was reported, and what was announced.

It goes into the file in the transaction of what it tells. Of each room the last KEPT are kept, and as many reports, so
that nobody can push out what happened elsewhere. A deleted room takes its own with it. The history thread calls what
has a ``writer``, in a transaction of the Storage.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from . import events
from .events import AuditRow

KEPT = 100  # of each room, and as many reports
SERVER = 0  # instead of a room's id: of the server as a whole

_COLUMNS = "at, place, by, action, about, why"


def row_of(at: int, shown: events.Event | None) -> AuditRow | None:
    """What is remembered of a change of a room's rules, by what its members see of it."""
    if isinstance(shown, events.Moderated):
        seconds = "" if shown.seconds is None else f"{shown.seconds} s"
        why = ": ".join(filter(None, (seconds, shown.why)))
        return AuditRow(at, shown.room, shown.by, shown.action, shown.name, why)
    if isinstance(shown, events.RoomSet):
        return AuditRow(at, shown.room, shown.by, "room", shown.setting)
    return None


def keep(writer: sqlite3.Connection, rows: Sequence[tuple[int, AuditRow]]) -> None:
    """Store these rows, each with its room's id."""
    if not rows:
        return
    writer.executemany(
        f"INSERT INTO audit (room, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(room, row.at, row.room, row.by, row.action, row.about, row.why) for room, row in rows],
    )
    for room in dict(rows):
        for which in ("=", "!="):
            those = f"room = ? AND action {which} 'report'"
            writer.execute(
                f"DELETE FROM audit WHERE {those} AND id <= (SELECT id FROM audit WHERE {those}"
                " ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (room, room, KEPT),
            )


def forget(writer: sqlite3.Connection, room: int) -> None:
    """A room is deleted."""
    writer.execute("DELETE FROM audit WHERE room = ?", (room,))


def forget_old(writer: sqlite3.Connection, older_than: int) -> bool:
    """Forget what is older than the messages that are kept. Return whether there was anything."""
    return writer.execute("DELETE FROM audit WHERE at < ?", (older_than,)).rowcount > 0


def newest(
    rows: Callable[[str, Sequence[Any]], list[tuple[Any, ...]]], room: int | None, limit: int
) -> tuple[AuditRow, ...]:
    """The newest ``limit`` rows of a room, or of all, the newest last."""
    where, values = ("", ()) if room is None else ("WHERE room = ?", (room,))
    found = rows(f"SELECT {_COLUMNS} FROM audit {where} ORDER BY id DESC LIMIT ?", (*values, limit))
    return tuple(AuditRow(*each) for each in reversed(found))
