"""The audit: what operators did, what was reported, and what was announced.

Each row is stored in the same transaction as the change that it is about. KEPT actions and KEPT reports of each room
are kept, so nobody can push out rows of another room. Those who report in a room share its places, whatever they call
themselves: the newest reports of each of them come before their older ones. In the same way, rooms share the list of
what was done in all rooms. The rows of a room are deleted with it. The history thread calls the functions with a
``writer``, in a transaction of the Storage.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from . import events
from .changes import Asked, Change, Invite, Uninvite
from .events import AuditRow
from .refusals import span

KEPT = 100  # actions of each room, and as many reports
SERVER = 0  # in place of a room's id: the server as a whole

_COLUMNS = "at, place, by, action, about, why, who, reporter"

# Actions and reports, each with the columns by which its places are shared: the rooms, or the reporters in each room,
# keep their newest rows in turn. In rows of version 11, a reporter has only a name.
_REPORTERS = "room, reporter, CASE WHEN reporter = 0 THEN by END"
_KINDS = (("action != 'report'", "room"), ("action = 'report'", _REPORTERS))


def row_of(at: int, asked: Asked, change: Change, shown: events.Event | None) -> AuditRow | None:
    """The row about a change of a room's rules, made from the event that its members see, if they see one; None: there
    is none."""
    if isinstance(shown, events.Moderated):
        seconds = "" if shown.seconds is None else span(shown.seconds)
        how = ", ".join(filter(None, ("address" if shown.address else "", seconds)))
        why = ": ".join(filter(None, (how, shown.why)))
        return AuditRow(at, shown.room, shown.by, shown.action, shown.name, why)
    if isinstance(shown, events.RoomSet):
        return AuditRow(at, shown.room, shown.by, "room", shown.setting)
    if isinstance(change, Invite | Uninvite):
        return AuditRow(at, asked.room, asked.by.name, type(change).__name__.lower(), change.person.name)
    return None


def keep(writer: sqlite3.Connection, rows: Sequence[tuple[int, AuditRow]]) -> None:
    """Store these rows, each with its room's id."""
    if not rows:
        return
    writer.executemany(
        f"INSERT INTO audit (room, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(room, row.at, row.room, row.by, row.action, row.about, row.why, row.who, row.reporter) for room, row in rows],
    )
    for room in dict(rows):
        for kind, sharing in _KINDS:
            chosen = _chosen("id", f"{kind} AND room = ?", sharing)
            writer.execute(f"DELETE FROM audit WHERE id IN ({chosen} LIMIT -1 OFFSET ?)", (room, KEPT))


def _chosen(columns: str, which: str, sharing: str) -> str:
    """SQL for these columns of some rows. The newest row of each of those who share comes first, then the second
    newest of each, and so on."""
    nth = f"row_number() OVER (PARTITION BY {sharing} ORDER BY id DESC) AS nth"
    return f"SELECT {columns} FROM (SELECT *, {nth} FROM audit WHERE {which}) ORDER BY nth, id DESC"


def forget(writer: sqlite3.Connection, room: int) -> None:
    """Delete the rows of a room, which is deleted."""
    writer.execute("DELETE FROM audit WHERE room = ?", (room,))


def forget_old(writer: sqlite3.Connection, older_than: int) -> bool:
    """Delete the rows that are older than the messages that are kept. Return whether there were any."""
    return writer.execute("DELETE FROM audit WHERE at < ?", (older_than,)).rowcount > 0


def newest(
    rows: Callable[[str, Sequence[Any]], list[tuple[Any, ...]]], room: int | None, limit: int
) -> tuple[AuditRow, ...]:
    """The newest ``limit`` actions and the newest ``limit`` reports of a room, or of all, the newest last."""
    found: list[tuple[Any, ...]] = []
    for kind, sharing in _KINDS:
        which, values = (kind, (limit,)) if room is None else (f"{kind} AND room = ?", (room, limit))
        found += rows(f"{_chosen(f'id, {_COLUMNS}', which, sharing)} LIMIT ?", values)
    return tuple(AuditRow(*each) for _, *each in sorted(found))
