"""The checks of a server's health find the faults that they are for."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import threading

import pytest
from support import wellness
from support.clients import Client
from support.waiting import wait_for
from support.wellness import check_history, needs_proc, staying_well

pytestmark = [pytest.mark.slow, needs_proc]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wellness, "wait_for", lambda condition, what="", wait=0.0: wait_for(condition, what, 0.3))


def test_a_server_that_is_well_passes(start_process):
    with staying_well(start_process()) as canary:
        canary.sing()


@pytest.mark.stress
@pytest.mark.parametrize("excused", [True, False])
def test_a_stop_is_found_unless_it_is_excused(start_process, excused):
    process = start_process()
    with contextlib.ExitStack() as stack:
        if not excused:
            stack.enter_context(pytest.raises(AssertionError, match="99th percentile is 1"))
        canary = stack.enter_context(staying_well(process))
        if excused:
            stack.enter_context(canary.excused())
        process.popen.send_signal(signal.SIGSTOP)
        threading.Event().wait(1.3)
        process.popen.send_signal(signal.SIGCONT)


REFUSE = """
import os
from chat_threads import storage
commit = storage.Storage.commit
def refuse(self, batch):
    if os.path.exists(SWITCH):
        raise storage.StorageError("no")
    return commit(self, batch)
storage.Storage.commit = refuse
"""


@pytest.mark.parametrize("excused", [True, False])
def test_a_message_that_is_refused_is_found_unless_it_is_excused(start_process, tmp_path, excused):
    switch = tmp_path / "switch"
    process = start_process(plant=f"SWITCH = {str(switch)!r}{REFUSE}")
    with contextlib.ExitStack() as stack:
        if not excused:
            stack.enter_context(pytest.raises(AssertionError, match="was refused: Not stored"))
        canary = stack.enter_context(staying_well(process))
        with canary.excused() if excused else contextlib.nullcontext():
            switch.touch()
            wait_for(lambda: "not stored" in process.errors)
            switch.unlink()


def test_a_canary_that_is_cut_off_is_found(start_process):
    process = start_process()
    with pytest.raises(AssertionError, match="the canary is silent"), staying_well(process):
        process.kill()


def test_a_client_that_stays_is_found(start_process, impatient):
    process = start_process()
    with contextlib.ExitStack() as ends_later:
        with (
            pytest.raises(AssertionError, match=r"there were \d+ threads and \d+ descriptors, and there are \d+"),
            staying_well(process),
        ):
            ends_later.enter_context(Client(process.port, "ann"))


HOARD = """
from chat_threads import service
kept = []
def admit(self, session, hello):
    if hello.name == "ann":
        kept.append(b"x" * (30 << 20))
        if MODE == "traceback":
            kept.clear()
            raise ValueError("planted")
    return original(self, session, hello)
original = service.Service.admit
service.Service.admit = admit
"""


@pytest.mark.parametrize(("mode", "found"), [("memory", r"memory is about \d+ MB again"), ("traceback", "planted")])
def test_memory_that_is_kept_and_a_traceback_are_found(start_process, impatient, mode, found):
    process = start_process(plant=f"MODE = {mode!r}{HOARD}")
    with contextlib.ExitStack() as stack:
        stack.enter_context(pytest.raises(AssertionError, match=found))
        stack.enter_context(staying_well(process))
        with process.client() as ann:
            ann.send("ann")
            ann.expect("/help" if mode == "memory" else "! Internal server error")


@pytest.mark.parametrize(
    "harm",
    [
        "DELETE FROM messages WHERE number = 2",
        "DELETE FROM messages WHERE number = 1",
        "DELETE FROM messages WHERE number = 3",
        "UPDATE messages SET number = 4 WHERE number = 3",
        "UPDATE rooms SET last = 4",
        "UPDATE messages SET room = 77",
    ],
)
def test_a_history_with_a_hole_is_found(serve, tmp_path, harm):
    server = serve()
    for text in ("one", "two", "three"):
        server.client(text).ask(text)
    server.chat.stop()
    check_history(tmp_path / "chat.db", {"#lobby": 3})
    with contextlib.closing(sqlite3.connect(tmp_path / "chat.db")) as connection, connection:
        connection.execute(harm)
    with pytest.raises(AssertionError):
        check_history(tmp_path / "chat.db", {"#lobby": 3})


FORGET = """
import sqlite3
from chat_threads import storage
close = storage.Storage.close
def forget(self):
    close(self)
    with sqlite3.connect(self.path) as file:
        file.execute("DELETE FROM messages WHERE id = (SELECT max(id) FROM messages)")
    file.close()
storage.Storage.close = forget
"""


def test_a_server_that_loses_its_last_message_is_found(start_process):
    """The file itself does not show that: the canary knows."""
    process = start_process(plant=FORGET)
    with pytest.raises(AssertionError, match="has lost what was acknowledged after"), staying_well(process):
        pass
