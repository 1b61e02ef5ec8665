"""The log is trimmed: a server that has read what was deleted goes on, and another one says what to do."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from support.copies import expect_same
from support.postgres import Postgres
from support.servers import Running
from support.waiting import wait_for

from chat_threads.chat import Chat, Options
from chat_threads.cluster import engine as log
from chat_threads.cluster import history, listener
from chat_threads.cluster.link import connect
from chat_threads.errors import StartError

pytestmark = pytest.mark.slow

BACKUP = pathlib.Path(__file__).parents[2] / "scripts" / "backup.py"


@pytest.fixture
def trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows need not stay for days."""
    monkeypatch.setattr(log, "KEPT", 0.0)
    monkeypatch.setattr(log, "TRIMMED", 3)
    monkeypatch.setattr(listener, "TRIM_EVERY", 0.1)
    monkeypatch.setattr(history, "BEAT", 0.2)


@pytest.fixture
def first_row(engine: Postgres, url: str) -> Callable[[], int]:
    """The position of the first row that the log still has."""
    return lambda: engine.execute(url.rpartition("/")[2], "SELECT min(id) FROM log")[0][0]


def _why(url: str, db: pathlib.Path) -> str:
    with pytest.raises(StartError) as caught:
        Chat(Options(host="127.0.0.1", port=0, db=str(db), cluster=url))
    return caught.value.text


def test_a_server_that_lacks_rows_that_were_deleted_says_what_to_do_and_a_copy_goes_on(
    trimmed, join: Callable[..., Running], first_row, tmp_path, url
):
    first, second = join("a"), join("b")
    ann, bob = first.client("ann"), second.client("bob")
    bob.send("one")
    ann.expect("bob: one")
    bob.close()
    assert second.chat.stop() == []
    gone = first_row() + 10
    ann.send("two")
    ann.expect("ann: two")
    wait_for(lambda: first_row() > gone)
    why = _why(url, tmp_path / "b.db")
    assert "begins with row" in why
    assert "this server's history ends with row" in why
    assert "scripts/backup.py" in why
    assert "this server's history is new" in _why(url, tmp_path / "new.db")
    copied = [sys.executable, BACKUP, tmp_path / "a.db", tmp_path / "c.db"]
    subprocess.run(copied, check=True, capture_output=True)
    cy = join("c").client("cy")
    cy.expect("two")
    cy.send("three")
    ann.expect("cy: three")
    expect_same(tmp_path, "a", "c")


def test_a_row_stays_until_all_living_servers_have_read_it(
    trimmed, join, start_process, first_row, url, tmp_path, monkeypatch
):
    monkeypatch.setattr(log, "KEPT", 7.0)
    monkeypatch.setattr(history, "LEASE", 120.0)
    first = join("a")
    state = first.chat.history.state
    ann = first.client("ann")
    other = start_process("--cluster", url, db=tmp_path / "b.db")
    with other.client("bob"):
        ann.expect("bob joined")
        os.kill(other.popen.pid, signal.SIGSTOP)
        ann.send("one")
        ann.expect("ann: one")
        monkeypatch.setattr(log, "KEPT", 0.0)
        started = state.position
        wait_for(lambda: state.position > started + 4)
        assert first_row() < started
        monkeypatch.setattr(history, "LEASE", 0.5)
        ann.expect("bob left")
        wait_for(lambda: first_row() > started)
    other.kill()


def test_only_old_rows_go_and_no_gap_comes_into_being(engine, url):
    made = log.Engine(url)
    made.prepare()
    for number in range(1, 7):
        made.append(1, number, 0, b"")
    name = url.rpartition("/")[2]
    for position in (1, 2, 4, 5):
        engine.execute(name, f"UPDATE log SET stored = stored - interval '8 days' WHERE id = {position}")
    with connect(url) as connection:
        assert not log.trim(connection, 1)
        assert [row.position for row in made.read(0, 10)] == [2, 3, 4, 5, 6]
        log.trim(connection, 6)
        assert [row.position for row in made.read(0, 10)] == [3, 4, 5, 6]  # row 3 is young, so what follows it stays
    made.close()
