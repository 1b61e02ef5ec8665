"""What the server holds for all its clients together is bounded, and given back: measured in processes."""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
from typing import Any

import pytest
from conftest import Process, Program
from wellness import memory, needs_proc, staying_well

from chat_threads.rules import REFS, TEXT_LENGTH
from chat_threads.tokens import token_id

pytestmark = needs_proc

WIDE = "🙂" * TEXT_LENGTH
WITHOUT = """
from chat_threads import memory
of = memory.Shares.of
memory.Shares.of = lambda megabytes: of(1_000_000)
"""  # the server without its bounds


def wrote(db: pathlib.Path, sql: str, rows: list[tuple[Any, ...]]) -> None:
    """Put rows into a history that no server has open."""
    with contextlib.closing(sqlite3.connect(db)) as connection, connection:
        connection.executemany(sql, rows)


def with_refs(db: pathlib.Path, tokens: int) -> list[str]:
    """A history in which so many tokens have said as much as is remembered of each; the tokens."""
    names = [f"token{number}" for number in range(tokens)]
    ids = [token_id(name) for name in names]
    wrote(
        db,
        "INSERT INTO tokens (id, name, used, kept) VALUES (?, ?, ?, 1)",
        [(each, f"name{number}", number) for number, each in enumerate(ids)],
    )
    wrote(
        db,
        "INSERT INTO refs (token, slot, count, ref, room, number) VALUES (?, ?, ?, ?, '#lobby', ?)",
        [
            (each, count % REFS, count, f"{'🙂' * 60}{count:04}", number * REFS + count)
            for number, each in enumerate(ids)
            for count in range(1, REFS + 1)
        ],
    )
    return names


def with_texts(db: pathlib.Path, rooms: int, count: int = 200) -> None:
    """A history with #room0 and so on, each with so many of the longest texts."""
    wrote(
        db,
        "INSERT INTO rooms (id, name, key, topic, creator, created, last) VALUES (?, ?, ?, '', 'ann', 0, 0)",
        [(100 + room, f"#room{room}", f"#room{room}") for room in range(rooms)],
    )
    wrote(
        db,
        "INSERT INTO messages (room, number, at, sender, kind, text) VALUES (?, ?, ?, 'ann', 'say', ?)",
        [(100 + room, number, number, WIDE) for room in range(rooms) for number in range(1, count + 1)],
    )


def speak(process: Process, tokens: list[str]) -> None:
    """Somebody comes with each of the tokens and says something under a ref, so that all its refs are looked at."""
    for token in tokens:
        with contextlib.closing(Program(process.port)) as program:
            program.send({"type": "hello", "token": token, "replay": 0})
            program.expect("joined")
            program.send(type="say", text="hi", ref="new")
            program.expect("ack")


def visit(process: Process, name: str, rooms: range) -> Program:
    """Enter these rooms of with_texts, and be shown a message of each."""
    visitor = Program(process.port)
    visitor.send(type="hello", name=name, room=f"#room{rooms[0]}", replay=1)
    visitor.ask(*({"type": "join", "room": f"#room{room}"} for room in rooms[1:]))
    return visitor


def watched(process: Process, plant: str) -> contextlib.AbstractContextManager[object]:
    """Its wellness, unless it is the server without its bounds."""
    return contextlib.nullcontext() if plant else staying_well(process)


@pytest.fixture
def start_with(start_process, tmp_path):
    """Start a server on a history that is filled by a function: start_with(fill, count, *options)."""

    def start(fill: Any, count: int, *options: str, plant: str = "") -> tuple[Process, Any]:
        start_process().stop()
        filled = fill(tmp_path / "chat.db", count)
        return start_process("--rate", "0", *options, plant=plant), filled

    return start


@pytest.mark.parametrize("plant", ["", pytest.param(WITHOUT, marks=pytest.mark.stress)], ids=["bounded", "without"])
def test_what_is_remembered_of_requests_has_a_bound_for_all_tokens_together(start_with, plant):
    process, tokens = start_with(with_refs, 250, "--memory", "16", plant=plant)
    with watched(process, plant):
        speak(process, tokens[:5])
        before = memory(process)
        speak(process, tokens[5:])
        grown = memory(process) - before
    assert grown <= 16 if not plant else grown > 30, f"{grown} MB"


@pytest.mark.parametrize("plant", ["", pytest.param(WITHOUT, marks=pytest.mark.stress)], ids=["bounded", "without"])
def test_the_newest_messages_of_rooms_have_a_bound_for_all_rooms_together(start_with, plant):
    process, _ = start_with(with_texts, 60, "--memory", "16", plant=plant)
    with watched(process, plant), contextlib.ExitStack() as stack:
        resident = []
        for number, name in enumerate(("ann", "bob", "cy")):
            stack.callback(visit(process, name, range(number * 20, number * 20 + 20)).close)
            resident.append(memory(process))
        grown = resident[-1] - resident[0]
    assert grown <= 16 if not plant else grown > 40, f"{grown} MB"
