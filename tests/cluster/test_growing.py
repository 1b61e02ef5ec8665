"""A server that was alone becomes the first of several, with its history; and a history leaves the others again."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest
from support import copies
from support.copies import expect_same

from chat_threads.chat import Chat, Options
from chat_threads.cluster.engine import Engine
from chat_threads.errors import StartError

pytestmark = pytest.mark.slow

BACKUP = pathlib.Path(__file__).parents[2] / "scripts" / "backup.py"


def _copied(*names: object) -> None:
    subprocess.run([sys.executable, BACKUP, *names], check=True, capture_output=True)


def _why(db: pathlib.Path, cluster: str | None) -> str:
    with pytest.raises(StartError) as caught:
        Chat(Options(host="127.0.0.1", port=0, db=str(db), cluster=cluster))
    return caught.value.text


@pytest.fixture
def alone(serve, tmp_path, program):
    """The history of a server without --cluster, and the token of somebody there."""
    server = serve(db=str(tmp_path / "a.db"), plain_passwords=True)
    ann = server.client("ann")
    ann.send("/register", "secret word of ann", "secret word of ann")
    ann.expect("ann is yours now")
    ann.send("/create #lab about", "/room slow 1", "one")
    ann.expect("ann: one")
    bob = program(None, server=server)
    bob.send(type="hello", name="bob")
    token = bob.expect("welcome")["token"]
    bob.send(type="say", room="#lobby", text="once", ref="r1")
    bob.expect("ack")
    assert server.chat.stop() == []
    return tmp_path / "a.db", token


def test_a_server_that_was_alone_begins_a_log_with_its_history_and_the_others_start_from_copies(
    alone, join, program, tmp_path, url, monkeypatch
):
    db, token = alone
    with monkeypatch.context() as patch:  # it is killed when its file is marked, and the engine does not know yet
        patch.setattr(Engine, "begin_with", lambda self, engine: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            join("a")
    first = join("a", plain_passwords=True)
    _copied(db, tmp_path / "b.db")
    second = join("b", plain_passwords=True)
    bob = program(None, server=second)
    bob.send(type="hello", name="bob", token=token)
    bob.expect("welcome")
    bob.send(type="say", room="#lobby", text="once", ref="r1")
    assert bob.expect("ack")["number"] == 1
    cy = first.client("cy")
    cy.send("/nick ann")
    cy.expect("The name ann has a password")
    cy.send("", "/join #lab")
    cy.expect("ann: one")
    cy.send("/create #new", "two")
    cy.expect("cy: two")
    expect_same(tmp_path, "a", "b")
    assert [row[0] for row in copies.rows(tmp_path / "b.db")["rooms"]] == [1, 2, 3]
    assert "this server's history is new" in _why(tmp_path / "new.db", url)


def test_a_history_of_its_own_is_not_added_to_a_log_that_has_begun(alone, join, tmp_path, url, monkeypatch):
    db, _ = alone
    join("b")
    assert "has begun without it" in _why(db, url)
    with monkeypatch.context() as patch:  # another server is quicker
        patch.setattr(Engine, "prepare", lambda self: (1, 1, 0))
        assert "has begun without it" in _why(db, url)
    chat = Chat(Options(host="127.0.0.1", port=0, db=str(db)))  # it is as it was
    assert chat.stop() == []


def test_a_history_of_a_cluster_is_used_alone_only_on_purpose(join, serve, tmp_path):
    server = join("b")
    ann = server.client("ann")
    ann.send("one")
    ann.expect("ann: one")
    ann.close()
    assert server.chat.stop() == []
    why = _why(tmp_path / "b.db", None)
    assert "--alone" in why
    _copied(tmp_path / "b.db", tmp_path / "alone.db", "--alone")
    again = serve(db=str(tmp_path / "alone.db")).client("ann")
    again.expect("ann: one")
