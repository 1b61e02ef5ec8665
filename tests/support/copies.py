"""What is in the files of servers that are one chat."""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
from typing import Any

from .waiting import wait_for

TABLES = "messages rooms governance tokens refs places accounts keys audit present servers".split()


def rows(tmp_path: pathlib.Path, name: str) -> dict[str, list[Any]]:
    """All that a copy has, without what belongs to the file itself, such as its own count of the uses of tokens."""
    with contextlib.closing(sqlite3.connect(tmp_path / f"{name}.db")) as connection:
        found = {table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall()) for table in TABLES}
    found["tokens"] = [(number, name, kept) for number, name, used, kept in found["tokens"]]
    return found


def expect_same(tmp_path: pathlib.Path, *names: str) -> None:
    """Wait until all copies have the same rows."""
    found: list[dict[str, list[Any]]] = []

    def same() -> bool:
        found[:] = [rows(tmp_path, name) for name in names]
        return all(other == found[0] for other in found)

    with contextlib.suppress(AssertionError):
        wait_for(same)
    for table in TABLES:
        assert [each[table] for each in found[1:]] == [found[0][table]] * (len(names) - 1)
