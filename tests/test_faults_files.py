"""Faults of the files under a history: they may not be written to, or are no longer those that were opened."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from conftest import WAIT, needs

from chat_threads.batch import Batch
from chat_threads.events import Message
from chat_threads.ordered import RoomMade
from chat_threads.storage import Storage


def made(path: pathlib.Path, count: int = 3) -> pathlib.Path:
    """A history with so many messages, as ``kill -9`` leaves it: with SQLite's log and the index of that."""
    live = path.with_name("live")
    live.mkdir()
    storage = Storage(str(live / path.name))
    storage.commit(Batch([RoomMade(1, "#lab", "#lab", "", "ann", 0)]))
    storage.commit(Batch(messages=[Message(1, "#lab", n, n, "ann", "say", f"text {n}") for n in range(1, count + 1)]))
    for end in ("", "-wal", "-shm", ".lock"):
        shutil.copy(f"{live / path.name}{end}", f"{path}{end}")
    storage.close()
    shutil.rmtree(live)
    return path


def contents(path: pathlib.Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.parent.iterdir() if each.is_file()}


# --- a history that cannot be written -------------------------------------------------------------------


def start(db: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Start a server that is to refuse; as a user who may not write where the mode does not allow it."""
    command = [sys.executable, "-m", "chat_threads", "--host", "127.0.0.1", "--port", "0", "--db", str(db)]
    if os.geteuid() == 0:
        command = [needs("setpriv"), "--bounding-set=-dac_override,-dac_read_search", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False)


@pytest.fixture
def mounted() -> Iterator[list[pathlib.Path]]:
    """What a test has mounted."""
    mounts: list[pathlib.Path] = []
    yield mounts
    for each in mounts:
        subprocess.run(["umount", "--lazy", str(each)], check=True)


def mount(mounts: list[pathlib.Path], where: pathlib.Path, *options: str) -> None:
    done = subprocess.run(["mount", *options, str(where)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("nothing may be mounted here")
    mounts.append(where)


def refused(db: pathlib.Path, what: str, remedy: str) -> None:
    before = contents(db)
    done = start(db)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    for part in (f"The history {db} cannot be opened: ", what, remedy, "or name another history with --db."):
        assert part in done.stderr
    assert contents(db) == before


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
@pytest.mark.parametrize("end", ["", "-wal", "-shm", ".lock"])
def test_a_history_with_a_file_that_may_not_be_written_to_is_refused_at_the_start(tmp_path, end):
    db = made(tmp_path / "chat.db")
    os.chmod(f"{db}{end}", 0o444)
    refused(db, f"{db}{end} may not be written to by this user", "Change its owner or mode")


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
@pytest.mark.parametrize("there", ["killed", "closed", "none"])
def test_a_history_in_a_directory_that_may_not_be_written_to_is_refused_at_the_start(tmp_path, there):
    folder = tmp_path / "histories"
    folder.mkdir()
    db = folder / "chat.db"
    if there != "none":
        made(db)
    if there == "closed":
        Storage(str(db)).close()
    folder.chmod(0o555)
    refused(db, "the directory, where SQLite's log has to be, may not be written to by this user", "Change its owner")


@pytest.mark.parametrize("there", ["killed", "closed", "none"])
def test_a_history_on_a_read_only_file_system_is_refused_at_the_start(tmp_path, mounted, there):
    folder = tmp_path / "histories"
    folder.mkdir()
    mount(mounted, folder, "-t", "tmpfs", "-o", "size=2m", "tmpfs")
    db = folder / "chat.db"
    if there != "none":
        made(db)
    if there == "closed":
        Storage(str(db)).close()
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    refused(db, "lies on a read-only file system", "Mount that for writing")


def test_a_history_that_alone_is_mounted_read_only_is_refused_at_the_start(tmp_path, mounted):
    """As containers are given single files."""
    db = made(tmp_path / "chat.db")
    mount(mounted, db, "--bind", str(db))
    subprocess.run(["mount", "-o", "remount,bind,ro", str(db)], check=True)
    refused(db, f"{db} lies on a read-only file system", "Mount that for writing")
