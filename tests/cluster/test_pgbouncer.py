"""PgBouncer hands out PostgreSQL's sessions for a transaction at a time, so nobody can listen. Polling carries."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator

import pytest
from support.clients import said
from support.copies import expect_same
from support.postgres import Postgres
from support.waiting import wait_for

from chat_threads.cluster import post

pytestmark = pytest.mark.slow

PROGRAM = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return False


@pytest.fixture
def pooled(engine: Postgres) -> Iterator[str]:
    """An empty database, by way of PgBouncer in transaction mode."""
    if PROGRAM is None:
        pytest.skip("PgBouncer is not installed (Debian's package pgbouncer)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pgbouncer", dir="/tmp"))
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": port,
        "unix_socket_dir": "",
        "auth_type": "trust",
        "auth_file": folder / "users",
        "pool_mode": "transaction",
    }
    lines = ["[databases]", f"* = host=127.0.0.1 port={engine.port}", "[pgbouncer]"]
    (folder / "settings").write_text("\n".join(lines + [f"{name} = {value}" for name, value in settings.items()]))
    (folder / "users").write_text('"postgres" ""\n')
    user = {"user": "postgres"} if os.getuid() == 0 else {}
    if user:
        os.chmod(folder, 0o755)
    process = subprocess.Popen([PROGRAM, "-q", folder / "settings"], stderr=subprocess.DEVNULL, **user)
    try:
        wait_for(lambda: _answers(port))
        yield engine.url(engine.new_database(), port)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def test_servers_behind_pgbouncer_see_within_a_second_what_is_said(pooled, join, tmp_path, monkeypatch):
    monkeypatch.setattr(post, "ANSWER", 0.5)
    ann, bob = join("a", cluster=pooled).client("ann"), join("b", cluster=pooled).client("bob")
    ann.expect("bob joined")
    ann.send(*[f"line {number}" for number in range(20)])  # more than psycopg sends without preparing
    ann.expect("line 19")
    bob.expect("line 19")
    bob.send("back")
    assert [text for _, text in said(ann.upto("back"))] == []
    ann.send("/msg bob psst")
    ann.expect("Nobody knows whether bob got")
    expect_same(tmp_path, "a", "b")
