"""The programs in scripts/, as a user runs them."""

from __future__ import annotations

import pathlib
import sqlite3
import subprocess
import sys

SCRIPTS = pathlib.Path(__file__).parent.parent / "scripts"


def backup(*paths: pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPTS / "backup.py", *paths], capture_output=True, text=True, check=False)


def test_a_backup_of_a_running_server_has_everything_that_was_seen(server, tmp_path):
    ann = server.client("ann")
    for number in range(50):
        ann.send(f"message {number}")
    ann.expect("message 49")
    done = backup(tmp_path / "chat.db", tmp_path / "copy.db")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'copy.db'}: 50 messages\n")
    copy = sqlite3.connect(tmp_path / "copy.db")
    assert [row[0] for row in copy.execute("SELECT text FROM messages ORDER BY id")] == [
        f"message {number}" for number in range(50)
    ]
    copy.close()
    assert ann.ask("still there?")[-1].endswith("ann: still there?")


def test_a_server_starts_on_a_backup(serve, tmp_path):
    first = serve()
    ann = first.client("ann")
    ann.ask("hello")
    assert backup(tmp_path / "chat.db", tmp_path / "copy.db").returncode == 0
    second = serve(db=str(tmp_path / "copy.db"))
    bob = second.client("bob")
    assert any(line.endswith("ann: hello") for line in bob.ask("/ping"))


def test_a_backup_overwrites_nothing(server, tmp_path):
    (tmp_path / "copy.db").write_text("precious")
    done = backup(tmp_path / "chat.db", tmp_path / "copy.db")
    assert done.returncode == 1
    assert done.stderr == f"backup: {tmp_path / 'copy.db'} exists; it was left as it is.\n"
    assert (tmp_path / "copy.db").read_text() == "precious"


def test_what_is_no_history_is_not_copied(tmp_path):
    (tmp_path / "notes.txt").write_text("not a database" * 100)
    done = backup(tmp_path / "notes.txt", tmp_path / "copy.db")
    assert done.returncode == 1
    assert "was not copied" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
