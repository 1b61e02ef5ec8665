"""A machine's clock that is ahead: --retain deletes nothing because of it."""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
import time
from collections.abc import Callable

import pytest
from support.servers import Process
from support.waiting import wait_for


def stored(db: pathlib.Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as reader:
        return [text for (text,) in reader.execute("SELECT text FROM messages ORDER BY id")]


def spoken(process: Process, *texts: str) -> None:
    with process.client("ann") as ann:
        for text in texts:
            ann.ask(text)


@pytest.mark.slow
def test_a_clock_that_is_ahead_for_a_start_or_two_deletes_nothing(
    start_process: Callable[..., Process], clock: tuple[pathlib.Path, dict[str, str]], tmp_path: pathlib.Path
) -> None:
    offset, env = clock
    db = tmp_path / "chat.db"
    process = start_process(env=env)
    spoken(process, "old", "new")
    assert process.stop() == 0
    with contextlib.closing(sqlite3.connect(db)) as connection, connection:
        days_ago = int((time.time() - 89 * 86_400) * 1000)
        connection.execute("UPDATE messages SET at = ? WHERE text = 'old'", (days_ago,))
    offset.write_text("+100d\n")
    for number in range(2):
        process = start_process("--retain", "90", env=env)
        spoken(process, f"future {number}")
        assert process.stop() == 0
        assert "days after the history was last used" in process.errors
        assert "that were too old" not in process.errors
    assert stored(db) == ["old", "new", "future 0", "future 1"]
    offset.write_text("+2d\n")
    process = right = start_process("--retain", "90", env=env)
    wait_for(lambda: "deleted 1 messages that were too old" in right.errors, "the old one goes")
    spoken(process, "newest")
    assert process.stop() == 0
    assert "days after" not in process.errors
    assert stored(db) == ["new", "future 0", "future 1", "newest"]
