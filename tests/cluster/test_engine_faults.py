"""The engine, or the way to it, fails: nothing is lost, nothing comes twice, and nobody is told what may be untrue."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import psycopg
import pytest
from support.clients import said
from support.postgres import Postgres, Wire
from support.servers import Running
from support.waiting import wait_for

from chat_threads.batch import Batch
from chat_threads.chat import Chat, Options
from chat_threads.cluster import history, link, post
from chat_threads.cluster.engine import FORMAT
from chat_threads.errors import StartError
from chat_threads.storage import Storage
from chat_threads.storage_errors import StorageError

pytestmark = pytest.mark.slow


@pytest.fixture
def behind(join: Callable[..., Running], engine: Postgres, wire: Wire, url: str) -> Running:
    """A server that reaches the engine by the wire."""
    return join("behind", cluster=engine.url(url.rpartition("/")[2], wire.port))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that wait for the engine for two seconds only."""
    monkeypatch.setattr(history, "WAIT", 2.0)
    monkeypatch.setattr(link, "ANSWER", 1.0)
    monkeypatch.setattr(link, "CONNECT", 1)


def test_while_the_engine_is_away_people_read_and_wait_and_then_go_on_in_order_and_once(join, behind, wire):
    ann, bob, cy = behind.client("ann"), join("other").client("bob"), behind.client("cy")
    ann.send("before")
    ann.expect("ann: before")
    bob.expect("ann: before")
    wire.mode = "cut"
    wait_for(lambda: behind.chat.history._down_since is not None)
    ann.send("one", "two", "/history", "/search before", "/msg cy psst")
    ann.expect("before")
    ann.expect("1 message found")
    cy.expect("psst")
    wire.mode = "open"
    for client in (ann, bob, cy):
        client.expect("one")
        client.expect("two")
    bob.send("after")
    assert [text for _, text in said(ann.upto("after"))] == []


def test_a_server_that_cannot_read_the_log_does_not_call_a_token_unknown(impatient, join, behind, program, wire):
    """Programs forget the requests of an unknown token, although they may be stored."""
    wire.mode = "cut"
    wait_for(lambda: behind.chat.history._down_since is not None)
    ann = program(None, server=join("other"))
    ann.send(type="hello", name="ann")
    token = ann.expect("welcome")["token"]
    again = program(None, server=behind)
    again.send(type="hello", name="ann", token=token)
    assert again.expect("error")["code"] == "unreadable"


def test_after_the_wait_what_was_said_is_refused_and_the_next_is_said_when_the_engine_is_back(
    impatient, join, behind, wire
):
    bob = join("other").client("bob")
    ann = behind.client("ann")
    wire.mode = "cut"
    wait_for(lambda: behind.chat.history._down_since is not None)
    ann.send("lost")
    ann.expect("! Not stored")
    wire.mode = "open"
    wait_for(lambda: behind.chat.history._down_since is None)
    ann.send("found")
    ann.expect("ann: found")
    assert [text for _, text in said(bob.upto("found"))] == []


def test_a_batch_whose_fate_is_unknown_is_never_called_not_stored_and_comes_once(impatient, join, behind, wire):
    bob = join("other").client("bob")
    ann = behind.client("ann")
    wait_for(lambda: "bob" in str(ann.ask("/who")))
    wire.deafens = b"perhaps"
    ann.send("perhaps")
    bob.expect("ann: perhaps")  # it is in the log, which ann's server does not know
    ann.expect("! The server does not know yet whether that was stored")
    wire.mode = "open"
    ann.expect("ann: perhaps")
    ann.send("next")
    assert [text for _, text in said(bob.upto("next"))] == []
    assert [text for _, text in said(ann.upto("next"))] == []


def test_what_was_acknowledged_is_there_after_a_kill_of_the_engine(serve, own_engine, tmp_path, program):
    url = own_engine.url(own_engine.new_database())
    servers = [serve(db=str(tmp_path / f"{name}.db"), cluster=url) for name in "ab"]
    clients = [program(name, server=server) for name, server in zip(("ann", "bob"), servers, strict=True)]
    acked: set[str] = set()
    for number in range(3):
        for name, client in zip("ab", clients, strict=True):
            for at in range(10):
                client.send(type="say", room="#lobby", text=f"{name}{number}-{at}", ref=f"{number}-{at}")
        if number == 1:
            own_engine.kill()
            own_engine.start()
        for name, client in zip("ab", clients, strict=True):
            for at in range(10):
                client.expect("ack", ref=f"{number}-{at}")
                acked.add(f"{name}{number}-{at}")
    found = own_engine.execute(url.rpartition("/")[2], "SELECT payload FROM log ORDER BY id")
    texts = b"".join(bytes(payload) for (payload,) in found).decode()
    assert all(texts.count(f'"{text}"') == 1 for text in acked)
    for server in servers:
        wait_for(lambda storage=server.chat.storage: storage.count() == len(acked))


def test_a_server_that_was_stopped_beyond_its_lease_learns_of_its_death_and_goes_on(
    join, start_process, url, tmp_path, monkeypatch
):
    monkeypatch.setattr(history, "LEASE", 2.0)
    ann = join("a").client("ann")
    other = start_process("--cluster", url, "--rate", "0", db=tmp_path / "b.db")
    bob = other.client("bob")
    ann.expect("bob joined")
    os.kill(other.popen.pid, signal.SIGSTOP)
    ann.expect("bob left")
    bob.send("too late")
    ann.send("meanwhile")
    os.kill(other.popen.pid, signal.SIGCONT)
    lines = bob.rest()
    assert "! The other servers could not reach this one for a while. Goodbye." in str(lines)
    with other.client("bob") as again:
        again.expect("meanwhile")
        again.send("in time")
        assert [text for _, text in said(ann.upto("in time")) if text != "meanwhile"] == []


def test_somebody_is_told_if_a_private_line_to_another_server_is_not_confirmed(
    join, start_process, url, tmp_path, monkeypatch
):
    monkeypatch.setattr(post, "ANSWER", 1.0)
    first = join("a")
    ann = first.client("ann")
    other = start_process("--cluster", url, "--rate", "0", db=tmp_path / "b.db")
    with other.client("bob") as bob:
        ann.expect("bob joined")
        ann.send("/msg bob one")
        bob.expect("ann -> you: one")
        wait_for(lambda: not first.chat.cluster.post._unconfirmed)
        os.kill(other.popen.pid, signal.SIGSTOP)
        ann.send("/msg bob two")
        ann.expect("Nobody knows whether bob got your private line")
        os.kill(other.popen.pid, signal.SIGCONT)
        bob.expect("ann -> you: two")


def test_a_server_that_cannot_be_a_member_says_why_when_it_starts(url, engine, tmp_path, monkeypatch):
    def why(cluster: str) -> str:
        with pytest.raises(StartError) as caught:
            Chat(Options(host="127.0.0.1", port=0, db=str(tmp_path / "a.db"), cluster=cluster))
        return caught.value.text

    monkeypatch.setattr(link, "CONNECT", 2)
    assert "cannot be used: " in why(engine.url("chat0"))
    assert "cannot be used: " in why("postgresql://127.0.0.1:1/chat")
    assert "cannot be used: " in why("nonsense")
    chat = Chat(Options(host="127.0.0.1", port=0, db=str(tmp_path / "a.db"), cluster=url))
    chat.start()
    assert chat.stop() == []
    assert "another cluster" in why(engine.url(engine.new_database()))
    engine.execute(url.rpartition("/")[2], "UPDATE head SET format = 1")
    assert "has format 1" in why(url)
    engine.execute(url.rpartition("/")[2], f"UPDATE head SET format = {FORMAT}, id = 0")
    assert "has lost rows" in why(url)


def test_a_row_of_a_newer_version_ends_an_older_server_with_one_line(start_process, url, tmp_path):
    server = start_process("--cluster", url, db=tmp_path / "a.db")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE head SET id = id + 1")
        connection.execute("INSERT INTO log SELECT id, 1, 1, 0, '[99,[],[]]' FROM head")
        connection.execute("NOTIFY chat_threads")
    wait_for(lambda: server.popen.poll() is not None)
    server.kill()
    assert server.errors.count("a newer chat_threads") == 1
    again = start_process("--cluster", url, db=tmp_path / "a.db")
    wait_for(lambda: again.popen.poll() is not None)
    again.kill()
    assert again.errors.count("a newer chat_threads") == 1


def test_what_a_copy_cannot_store_waits_until_it_can(join, monkeypatch):
    first, second = join("a"), join("b")
    ann, bob = first.client("ann"), second.client("bob")
    full = threading.Event()
    full.set()
    tried = threading.Event()
    commit = Storage.commit

    def fails(self: Storage, batch: Batch) -> None:
        if self is first.chat.storage and full.is_set() and batch.messages:
            tried.set()
            raise StorageError("disk full")
        commit(self, batch)

    monkeypatch.setattr(Storage, "commit", fails)
    ann.send("one")
    bob.expect("ann: one")
    bob.send("two")
    assert tried.wait(20)
    full.clear()
    assert [text for _, text in said(ann.upto("two"))] == ["one"]
