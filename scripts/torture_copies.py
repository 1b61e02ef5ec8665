"""What has to be the same in the histories of all servers of a cluster: everything, unless it stands in MAY_DIFFER.

For torture.py, and for the tests of servers in a cluster. A table that is new in the file is compared, too.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from typing import Any

MAY_DIFFER = {
    "doomed": "each server deletes the messages of a deleted room in its own time; the messages are compared",
    "identity": "it ties each file to SQLite's own log of it",
    "retention": "it is about the server's own clock, and about what may still be readable in the file",
    "searchable": "each server extends its search index when it has nothing else to do",
    "pieces": "it is that index; torture.py has SQLite check it, and searches in it",
}
COLUMNS = {  # of tables in which some columns may differ: the columns that are compared
    "copy": "one, engine, position, last_room, last_message",  # the others say which server uses which file
    # Each server counts the uses of tokens by itself. Their order decides which are forgotten.
    "tokens": "id, name, kept, rank() OVER (ORDER BY used)",
}
Rows = dict[str, list[tuple[Any, ...]]]  # by table


def _tables(connection: sqlite3.Connection) -> Iterator[str]:
    """All tables but those of ``MAY_DIFFER``; the search index has several."""
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"):
        if name.partition("_")[0] not in MAY_DIFFER:
            yield name


def rows(db: str | os.PathLike[str]) -> Rows:
    """What is compared of a history, as it stood at one moment."""
    with contextlib.closing(sqlite3.connect(db, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        return {
            table: sorted(connection.execute(f"SELECT {COLUMNS.get(table, '*')} FROM {table}").fetchall(), key=repr)
            for table in _tables(connection)
        }


def differences(first: Rows, other: Rows) -> list[str]:
    """One for each table, in words; empty: they are the same."""
    found = []
    for table in sorted(first.keys() | other.keys()):
        ours, theirs = set(first.get(table, ())), set(other.get(table, ()))
        if different := sorted(ours ^ theirs, key=repr):
            found.append(f"{len(different)} rows of {table}: {different[:2]}")
    return found
