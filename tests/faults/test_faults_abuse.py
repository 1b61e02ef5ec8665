"""One client goes as far as it may: the others notice nothing, and the server is as well afterwards as before.

Other tests examine each subject in detail. These tests check a server in a process of its own.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys

import pytest
from support.clients import Program
from support.servers import Process
from support.waiting import WAIT, wait_for
from support.wellness import needs_proc, staying_well

pytestmark = [pytest.mark.slow, needs_proc]


def come(process: Process, **hello: object) -> Program:
    program = Program(process.port)
    program.send(type="hello", **hello)
    program.expect("joined")
    return program


def test_a_client_that_missed_much_in_many_rooms_gets_it_all_and_nobody_notices(start_process):
    process = start_process("--rate", "0")
    rooms = [f"#room{number}" for number in range(6)]
    with staying_well(process), contextlib.closing(come(process, name="talker")) as talker:
        for room in rooms:
            talker.ask({"type": "join", "room": room}, *({"type": "say", "text": "x" * 500} for _ in range(200)))
        with contextlib.closing(come(process, name="ann", since=dict.fromkeys(rooms, 0), replay=0)) as ann:
            ann.ask()
            found = [(each["room"], each["number"]) for each in ann.seen if each["type"] == "message"]
            assert sorted(found) == [(room, number) for room in rooms for number in range(1, 201)]


def test_searchers_keep_nobody_out(start_process, tmp_path):
    start_process().stop()
    with contextlib.closing(sqlite3.connect(tmp_path / "chat.db")) as connection, connection:
        connection.execute(
            "INSERT INTO rooms (id, name, key, topic, creator, created, last)"
            " VALUES (90, '#hall', '#hall', '', 'ann', 0, 0)"
        )
        connection.executemany(
            "INSERT INTO messages (room, number, at, sender, kind, text) VALUES (90, ?, 0, 'ann', 'say', ?)",
            [(number, f"the {number}") for number in range(1, 15_001)],
        )
    process = start_process()
    wait_for(lambda: "the search index is made" in process.errors, wait=3 * WAIT)
    with staying_well(process), contextlib.ExitStack() as stack:
        searchers = [stack.enter_context(contextlib.closing(come(process, name=f"s{number}"))) for number in range(4)]
        for each in searchers:
            each.send(*[{"type": "search", "words": "the", "from": "nobody", "ref": "last"}] * 8)
        for number in range(5):
            with contextlib.closing(come(process, name=f"new{number}", room="#hall", replay=0)) as newcomer:
                shown = newcomer.ask(type="history")  # and maybe that the newcomer before has left
                assert "history" in [each["type"] for each in shown]
        for each in searchers:
            each.expect("search", ref="last")


def test_somebody_who_makes_rooms_and_leaves_them_keeps_nobody_from_making_one(start_process):
    process = start_process("--rate", "0")
    with staying_well(process):
        with contextlib.closing(come(process, name="ann")) as ann:
            for number in range(200):
                ann.send({"type": "create", "room": f"#r{number}"}, {"type": "leave", "room": f"#r{number}"})
            ann.ask()
        with contextlib.closing(come(process, name="bob")) as bob:
            assert any(each["type"] == "joined" for each in bob.ask(type="create", room="#new"))


def test_newcomers_without_end_do_not_undo_what_somebody_said(start_process):
    process = start_process("--rate", "0")
    say = {"type": "say", "text": "once", "ref": "1"}
    with staying_well(process):
        with contextlib.closing(come(process, name="ann", room="#lab", replay=0)) as ann:
            ann.ask(say)
            token = next(each["token"] for each in ann.seen if each["type"] == "welcome")
        for number in range(300):
            come(process, name=f"n{number}", replay=0).close()
        with contextlib.closing(come(process, token=token, room="#lab", replay=0)) as again:
            again.send(say)
            assert again.expect("ack", ref="1")["number"] == 1


def test_a_second_server_on_another_name_of_the_history_harms_nobody(start_process, tmp_path):
    process = start_process()
    with staying_well(process):
        os.link(tmp_path / "chat.db", tmp_path / "other.db")
        command = [sys.executable, "-m", "chat_threads", "--port", "0", "--db", str(tmp_path / "other.db")]
        second = subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False)
        os.unlink(tmp_path / "other.db")
        assert second.returncode == 2, second.stderr
        assert "other.db" in second.stderr
