"""Faults of the files under a history: they may not be written to, or are no longer those that were opened."""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.clients import Client
from support.servers import Process, needs, stored
from support.waiting import WAIT, wait_for
from support.wellness import check_history

from chat_threads.batch import Batch
from chat_threads.errors import StartError
from chat_threads.events import Message
from chat_threads.ordered import RoomMade
from chat_threads.storage import CHECKPOINT, Storage
from chat_threads.storage_errors import StorageBroken, StorageUnsure

pytestmark = pytest.mark.slow


def made(path: pathlib.Path, count: int = 3) -> pathlib.Path:
    """A history with ``count`` messages, as ``kill -9`` leaves it: with SQLite's log and the log's index."""
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
    """But for the lock file, which says who had the history last."""
    files = (each for each in path.parent.iterdir() if each.is_file() and each.suffix != ".lock")
    return {each.name: each.read_bytes() for each in files}


# --- a history that cannot be written -------------------------------------------------------------------


def start(db: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Start a server that is to refuse; as a user who may not write where the mode does not allow it."""
    command = [sys.executable, "-m", "chat_threads", "--host", "127.0.0.1", "--port", "0", "--db", str(db)]
    if os.geteuid() == 0:
        command = [needs("setpriv"), "--bounding-set=-dac_override,-dac_read_search", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False)


@pytest.fixture
def mounted() -> Iterator[list[pathlib.Path]]:
    """The mount points of a test; unmounted at its end."""
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


@pytest.mark.parametrize("file", ["", "-wal", "-shm"])
def test_a_history_to_which_the_system_only_lets_one_append_is_refused_at_the_start(tmp_path, file):
    db = made(tmp_path / "chat.db")
    if subprocess.run([needs("chattr"), "+a", f"{db}{file}"], capture_output=True, check=False).returncode:
        pytest.skip("no file can be made append-only here")
    try:
        refused(db, f"{db}{file} may not be written to by this user", "attributes (chattr)")
    finally:
        subprocess.run([needs("chattr"), "-a", f"{db}{file}"], check=True)


@pytest.mark.skipif(sys.platform == "win32", reason="files of POSIX")
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda name: os.symlink("nowhere", name)])
@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
def test_a_start_neither_waits_for_nor_misreads_what_lies_in_the_place_of_sqlites_files(tmp_path, end, make):
    db = tmp_path / "chat.db"
    Storage(str(db)).close()
    make(f"{db}{end}")
    refused(db, f"{db}{end} is not a regular file", "Remove it")


# --- the files are no longer those that were opened ------------------------------------------------------


SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"
CHANGED = "the history's files are no longer those that the server opened"
TOLD = f"! T{CHANGED[1:]}. No new message can be stored or shown until the server is started again."
REFUSED = f"! Not stored, so not sent: {CHANGED}, so nothing is stored until the server is started again"


def backup(db: pathlib.Path) -> pathlib.Path:
    copy = db.with_name("backup.db")
    subprocess.run([sys.executable, SCRIPTS / "backup.py", db, copy], capture_output=True, check=True)
    return copy


def renamed_over(db: pathlib.Path) -> None:
    os.replace(db.with_name("backup.db"), db)


def copied_over(db: pathlib.Path) -> None:
    shutil.copyfile(db.with_name("backup.db"), db)


def deleted(db: pathlib.Path) -> None:
    db.unlink()


def all_deleted(db: pathlib.Path) -> None:
    for end in ("", "-wal", "-shm"):
        os.remove(f"{db}{end}")


def renamed(db: pathlib.Path) -> None:
    db.rename(db.with_name("old.db"))


def directory_renamed(db: pathlib.Path) -> None:
    db.parent.rename(db.parent.with_name("moved"))


def directory_replaced(db: pathlib.Path) -> None:
    """By one with another history and its log."""
    db.parent.rename(db.parent.with_name("moved"))
    db.parent.mkdir()
    made(db)


def directory_above_renamed(db: pathlib.Path) -> None:
    db.parent.parent.rename(db.parent.parent.with_name("elsewhere"))


def truncated(db: pathlib.Path) -> None:
    os.truncate(db, 0)


def truncated_to_half(db: pathlib.Path) -> None:
    os.truncate(db, db.stat().st_size // 2)


def log_deleted(db: pathlib.Path) -> None:
    os.remove(f"{db}-wal")


def index_deleted(db: pathlib.Path) -> None:
    os.remove(f"{db}-shm")


def log_truncated(db: pathlib.Path) -> None:
    os.truncate(f"{db}-wal", 0)


def log_truncated_to_half(db: pathlib.Path) -> None:
    os.truncate(f"{db}-wal", os.stat(f"{db}-wal").st_size // 2)


def log_replaced(db: pathlib.Path) -> None:
    shutil.copyfile(f"{db}-wal", f"{db}-other")
    os.replace(f"{db}-other", f"{db}-wal")


def log_copied_over(db: pathlib.Path) -> None:
    """By one of another history, which is longer."""
    folder = db.parent.with_name("another")
    folder.mkdir()
    shutil.copyfile(f"{made(folder / 'chat.db', 3000)}-wal", f"{db}-wal")


# What may be done to the files, and where all that was acknowledged is to be found when the server has stopped.
FAULTS: dict[Callable[[pathlib.Path], None], str | None] = {
    renamed_over: None,
    copied_over: None,
    deleted: None,
    all_deleted: None,
    renamed: "old.db",
    directory_renamed: "../moved/chat.db",
    directory_replaced: "../moved/chat.db",
    directory_above_renamed: "../../elsewhere/home/chat.db",
    truncated: None,
    truncated_to_half: None,
    log_deleted: "chat.db",
    index_deleted: "chat.db",
    log_truncated: None,
    log_truncated_to_half: None,
    log_copied_over: None,
    log_replaced: "chat.db",
}


TALK = 400  # messages


UNKNOWN = "! The server does not know whether that was stored"


def talk(client: Client, name: str) -> tuple[list[str], list[str]]:
    """Say things, one after the other, until one is refused; those that were acknowledged, and one that may be."""
    kept: list[str] = []
    for number in range(TALK):
        client.send(f"{number} {'x' * 500}")
        line = client.expect("")
        while f"{name}: {number} x" not in line and not line.startswith("! "):
            line = client.expect("")
        if line.startswith("! "):
            while not line.startswith((REFUSED, UNKNOWN)):
                line = client.expect("! ")
            return kept, [f"{number} {'x' * 500}"] * line.startswith(UNKNOWN)
        kept.append(f"{number} {'x' * 500}")
    return kept, []


@pytest.fixture
def home(tmp_path: pathlib.Path) -> pathlib.Path:
    """A directory for a history that can be moved."""
    folder = tmp_path / "above" / "home"
    folder.mkdir(parents=True)
    return folder


def start_talking(process: Process, count: int) -> Client:
    """With a backup of what was said until now, and more that was said after that."""
    ann = process.client("ann")
    for number in range(count):
        ann.send(f"before {number}")
    ann.expect(f"before {count - 1}")
    backup(process.db)
    for number in range(count):
        ann.ask(f"after {number}")
    return ann


EARLY = "from chat_threads import storage\nstorage.CHECKPOINT = 60"  # SQLite's log is copied every 30 messages
EACH = f"{EARLY}\nstorage.FOUND_WHOLE = 0"  # and the files are checked before each commit


@pytest.mark.parametrize("fault", FAULTS, ids=[each.__name__ for each in FAULTS])
def test_once_the_files_are_replaced_nothing_is_acknowledged_and_everybody_gets_an_error(start_process, home, fault):
    process = start_process("--rate", "0", db=home / "chat.db", plant=EACH)
    with start_talking(process, 100) as ann, process.client("bob") as bob:
        fault(process.db)
        assert REFUSED in ann.ask("too late")
        bob.expect(TOLD)
        assert REFUSED in bob.ask("too late")
        with process.client("cy") as cy:
            assert TOLD in cy.seen or cy.expect(TOLD)
        ann.send("/msg bob psst")
        bob.expect("psst")
    there = {each: each.read_bytes() for each in home.iterdir() if "-shm" not in each.name} if home.exists() else {}
    assert process.stop() == 0
    told = [line for line in process.errors.splitlines() if "ERROR" in line]
    assert len(told) == 1
    assert "Nothing is stored any more" in told[0]
    assert "Stop the server" in told[0]
    assert "Traceback" not in process.errors
    if fault in (copied_over, directory_replaced):  # what somebody has put there stays as it is
        assert {each: each.read_bytes() for each in there} == there
    if (kept := FAULTS[fault]) is not None:
        found = [text for _, _, text in stored(home / kept)]
        assert [text for text in found if text.startswith(("before", "after"))] == [
            *(f"before {number}" for number in range(100)),
            *(f"after {number}" for number in range(100)),
        ]
        assert "too late" not in found


@pytest.mark.parametrize("fault", [renamed_over, deleted, all_deleted, directory_renamed])
def test_messages_from_before_the_files_were_replaced_are_saved_by_the_command_in_the_log(
    start_process, home, tmp_path, fault
):
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("the files of a process are found in /proc")
    process = start_process("--rate", "0", db=home / "chat.db", plant=EACH)
    with start_talking(process, 50) as ann:
        fault(process.db)
        assert REFUSED in ann.ask("too late")
    wait_for(lambda: "Nothing is stored any more" in process.errors)
    if fault is directory_renamed:
        told = f"All that was said until now is in {home.with_name('moved')}/chat.db."
        assert told in process.errors, process.errors
        shutil.copy(home.with_name("moved") / "chat.db", tmp_path / "saved.db")
    else:
        command = re.search(r"To keep it, before that: (cp \S+ saved\.db.*?)\. ", process.errors)
        assert command
        subprocess.run(command[1], shell=True, cwd=tmp_path, check=True)
    process.kill()
    process = start_process(db=tmp_path / "saved.db")
    with process.client("bob") as bob:
        assert any(line.endswith("after 49") for line in bob.ask("/history 5"))
    assert process.stop() == 0
    texts = [text for _, _, text in stored(process.db)]
    assert texts == [f"{when} {number}" for when in ("before", "after") for number in range(50)]
    check_history(process.db)


@pytest.mark.parametrize("fault", FAULTS, ids=[each.__name__ for each in FAULTS])
def test_a_message_acknowledged_while_the_files_are_replaced_was_stored_before(start_process, home, fault):
    """In the middle of talk: what is acknowledged at last was committed when they were still those that were opened."""
    process = start_process("--rate", "0", db=home / "chat.db", plant=EARLY)
    with start_talking(process, 50) as ann, process.client("bob") as bob:
        said: list[tuple[list[str], list[str]]] = []
        talking = threading.Thread(target=lambda: said.append(talk(ann, "ann")))
        talking.start()
        bob.expect("ann: 20 x")
        fault(process.db)
        talking.join(WAIT)
        assert not talking.is_alive()
    ((kept, perhaps),) = said
    assert process.stop() == 0
    assert "Traceback" not in process.errors
    if fault is log_replaced:
        with pytest.raises(StartError, match="is not the file that SQLite's log"):
            Storage(str(process.db))
        os.remove(f"{process.db}-wal")
    where = FAULTS[fault]
    if len(kept) == TALK:  # all of SQLite's log had just been copied, and its next commit overwrote what was put there
        assert fault in (log_truncated, log_truncated_to_half, log_copied_over)
        where = "chat.db"
    if where is not None:
        assert [text for _, _, text in stored(home / where) if "x" in text] in (kept, kept + perhaps)


@pytest.mark.parametrize("fault", FAULTS, ids=[each.__name__ for each in FAULTS])
def test_the_first_commit_after_the_files_are_replaced_is_never_acknowledged_however_soon_it_comes(home, fault):
    """Also while a commit does not examine the files, because nothing seems to have changed."""
    db = made(home / "chat.db")
    storage = Storage(str(db))
    opened = storage._files
    assert opened is not None
    numbers = itertools.count(4)

    def commit() -> None:
        storage.commit(Batch(messages=[Message(1, "", next(numbers), 4, "ann", "say", "x" * 500)]))

    backup(db)
    storage._unfolded = CHECKPOINT
    storage.checkpoint()
    wait_for(lambda: commit() or opened.unchanged(time.monotonic()), "times that can be trusted")
    storage._whole_until = opened._known_until = float("inf")
    fault(db)
    with pytest.raises(StorageBroken):
        commit()
    storage.close()


@pytest.mark.parametrize("reading", [False, True], ids=["alone", "while another program reads"])
@pytest.mark.parametrize("step", range(5))
def test_a_message_acknowledged_after_another_log_is_copied_over_at_a_checkpoint_is_stored(
    home, monkeypatch, step, reading
):
    """At each step, because SQLite may have started its log again there, so a log that begins otherwise is no fault."""
    db = made(home / "chat.db")
    storage = Storage(str(db))
    done = itertools.count()

    def followed(of: object, name: str) -> None:
        call = getattr(of, name)

        def calling() -> None:
            call()
            if next(done) == step:
                log_copied_over(db)

        monkeypatch.setattr(of, name, calling)

    def commit(number: int) -> None:
        storage.commit(Batch(messages=[Message(1, "", number, 4, "ann", "say", f"text {number}")]))

    with contextlib.closing(sqlite3.connect(db, isolation_level=None)) as other:
        if reading:  # what comes next stays in the log
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM messages").fetchone()
        commit(4)
        for name in ("renew", "sync_log", "copied"):  # and, if all was copied, a second mark
            followed(storage._files, name)
        followed(storage, "checkpoint")
        storage._unfolded = CHECKPOINT
        kept: list[str] = []
        with contextlib.suppress(StorageBroken):
            storage.checkpoint()
            for number in range(5, 9):
                commit(number)
                kept.append(f"text {number}")
        killed = home.with_name("killed")
        killed.mkdir()
        for end in ("", "-wal"):
            shutil.copy(f"{db}{end}", killed / f"chat.db{end}")
    storage.close()
    for each in (killed / "chat.db", db) if kept else ():
        assert {text for _, _, text in stored(each)} >= {f"text {number}" for number in range(1, 5)} | set(kept)
        check_history(each)


@pytest.mark.parametrize("at", ["a checkpoint", "the end"])
def test_a_part_of_another_log_that_is_copied_over_is_never_copied_into_the_file(home, at):
    """As a slow program leaves it: SQLite started its log again after the program had written the beginning."""
    db = made(home / "chat.db")
    storage = Storage(str(db))
    storage._unfolded = CHECKPOINT
    storage.checkpoint()
    for number in range(4, 18):
        storage.commit(Batch(messages=[Message(1, "", number, 4, "ann", "say", "x" * 500)]))
    ours = pathlib.Path(f"{db}-wal")
    beginning = ours.read_bytes()[:65_536]
    log_copied_over(db)
    with ours.open("r+b") as log:
        log.write(beginning)
    before = db.read_bytes()
    if at == "a checkpoint":
        storage._unfolded = CHECKPOINT
        with pytest.raises(StorageBroken):
            storage.checkpoint()
    storage.close()
    assert db.read_bytes() == before


@pytest.mark.parametrize("during", ["a text", "a deletion"])
def test_a_commit_while_the_file_is_renamed_is_answered_as_maybe_stored(tmp_path, monkeypatch, during):
    db = made(tmp_path / "chat.db")
    storage = Storage(str(db))
    insert = storage._insert

    def renaming(*args):
        db.rename(tmp_path / "old.db")
        return insert(*args)

    monkeypatch.setattr(storage, "_insert", renaming)
    batch = (
        Batch(rooms_ended=[1]) if during == "a deletion" else Batch(messages=[Message(1, "", 4, 4, "ann", "say", "4")])
    )
    with pytest.raises(StorageUnsure, match="no longer those that the server opened, and it is not known") as unsure:
        storage.commit(batch)
    assert f"All that was said until now is in {tmp_path / 'old.db'}." in unsure.value.advice
    with pytest.raises(StorageBroken):
        storage.commit(Batch(topics={1: "too late"}))
    storage.close()
    assert not list(tmp_path.glob("chat.db-*"))
    with contextlib.closing(sqlite3.connect(tmp_path / "old.db")) as moved:
        found = (
            moved.execute("SELECT count(*) FROM messages").fetchone(),
            moved.execute("SELECT count(*) FROM rooms").fetchone(),
        )
    assert found == (((3,), (0,)) if during == "a deletion" else ((4,), (1,)))


def test_another_program_may_do_to_the_history_what_sqlite_allows(start_process):
    process = start_process("--rate", "0", plant=EARLY)
    with process.client("ann") as ann:
        for number in range(100):
            ann.ask(f"{number} {'x' * 900}")
        for statement in (
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "DELETE FROM messages WHERE number < 90",
            "VACUUM",
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "CREATE TABLE notes (text)",
            "PRAGMA wal_checkpoint(RESTART)",
            "PRAGMA wal_checkpoint(PASSIVE)",
        ):
            with contextlib.closing(sqlite3.connect(process.db, isolation_level=None)) as other:
                other.execute(statement).fetchall()
            for number in range(20):
                assert any(line.endswith(f"{statement} {number}") for line in ann.ask(f"{statement} {number}"))
    assert process.stop() == 0
    assert "ERROR" not in process.errors
    with contextlib.closing(sqlite3.connect(process.db)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
