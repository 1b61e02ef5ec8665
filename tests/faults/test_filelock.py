"""One server per history, by whatever name it is reached, and files that are the user's alone."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator

import pytest
from support.servers import needs, stored
from support.waiting import WAIT, wait_for

from chat_threads import filelock
from chat_threads.errors import StartError
from chat_threads.filelock import FileLock
from chat_threads.storage import Storage

NOBODY = 65534
SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux locks the history itself")
root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may do this")
posix = pytest.mark.skipif(os.name != "posix", reason="modes and links of POSIX")
pytestmark = [pytest.mark.slow, posix]


def refused(db: pathlib.Path, *before: str) -> str:
    """Try to start a server on a history, after a command in a mount namespace of its own; what it says."""
    command = [sys.executable, "-m", "chat_threads", "--host", "127.0.0.1", "--port", "0", "--db", str(db)]
    if before:
        command = [needs("unshare"), "-m", "sh", "-c", f'{before[0]} && exec "$@"', "sh", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "chat.db"


@pytest.fixture
def closed(path: pathlib.Path) -> pathlib.Path:
    """A history that no server has."""
    Storage(str(path)).close()
    return path


@pytest.fixture
def for_all() -> Iterator[pathlib.Path]:
    """A directory that another user may look into."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        yield pathlib.Path(place)


# --- one server per history -----------------------------------------------------------------------------


@pytest.mark.parametrize("runs", [True, False])
def test_a_history_with_two_names_is_refused_under_either(start_process, closed, tmp_path, runs):
    """SQLite's log lies beside one of them, and a server that uses the other name does not see it."""
    other = tmp_path / "elsewhere" / "other.db"
    other.parent.mkdir()
    process = start_process(db=closed) if runs else None
    other.hardlink_to(closed)
    assert "has 2 names (hard links)" in refused(other)
    assert ("in use by process" if runs else "has 2 names") in refused(closed)
    assert {each.name for each in other.parent.iterdir()} == {"other.db", "other.db.lock"}
    if process:
        with process.client("ann") as ann:
            assert any("ann: hello" in line for line in ann.ask("hello"))
        assert process.stop() == 0
    other.unlink()
    Storage(str(closed)).close()


@linux
@root
@pytest.mark.parametrize("what", ["the directory", "the file"])
def test_two_containers_with_the_same_history_are_refused(start_process, closed, tmp_path, what):
    """Each has mounts of its own. Of the file alone, the lock files are two."""
    inside = tmp_path / "container" / "data"
    inside.mkdir(parents=True)
    if what == "the file":
        (inside / "chat.db").touch()
        mount = f"mount --bind {closed} {inside}/chat.db"
    else:
        mount = f"mount --bind {tmp_path} {inside}"
    if subprocess.run([needs("unshare"), "-m", "true"], check=False).returncode:
        pytest.skip("there are no mount namespaces here")
    first = start_process(db=closed)
    with first.client("ann") as ann:
        assert any("ann: one" in line for line in ann.ask("one"))
        assert "is in use by" in refused(inside / "chat.db", mount)
        assert any("ann: two" in line for line in ann.ask("two"))
    first.kill()
    again = start_process(db=closed)
    assert again.stop() == 0
    assert [text for _, _, text in stored(closed)] == ["one", "two"]


@linux
@root
def test_a_file_that_is_mounted_without_its_directory_is_warned_of(closed, tmp_path):
    """SQLite's log lies beside it, where the next container does not find it."""
    inside = tmp_path / "a container" / "chat.db"
    inside.parent.mkdir()
    inside.touch()
    program = (
        f"import logging; logging.basicConfig(); from chat_threads.storage import Storage; Storage({str(inside)!r})"
    )
    script = f"mount --bind '{closed}' '{inside}' && exec '{sys.executable}' -c \"{program}\""
    done = subprocess.run([needs("unshare"), "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    if "denied" in done.stderr or "permitted" in done.stderr:
        pytest.skip("nothing may be mounted here")
    assert "mounted without its directory" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_next_server_starts_however_the_last_one_ended(start_process, path, number):
    for said in ("one", "two"):
        process = start_process(db=path)
        with process.client("ann") as ann:
            assert any(f"ann: {said}" in line for line in ann.ask(said))
        process.stop(number)
    assert [text for _, _, text in stored(path)] == ["one", "two"]


def test_a_program_that_the_server_started_does_not_keep_the_locks(closed):
    """They are not inherited across exec."""
    lock = FileLock(str(closed))
    lock.hold()
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        lock.release()
        again = FileLock(str(closed))
        again.hold()
        again.release()
    finally:
        child.kill()
        child.wait()


@linux
def test_sqlites_own_locks_hold_while_the_history_itself_is_locked(closed):
    """Other programs read and write meanwhile, one at a time, as without it."""
    import sqlite3

    storage = Storage(str(closed))
    try:
        storage._writer.execute("BEGIN IMMEDIATE")
        program = f"import sqlite3; sqlite3.connect({str(closed)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
        busy = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert "database is locked" in busy.stderr
        storage._writer.execute("ROLLBACK")
        subprocess.run([sys.executable, "-c", program], check=True)
        with contextlib.closing(sqlite3.connect(closed)) as reader:
            assert reader.execute("SELECT count(*) FROM messages").fetchone() == (0,)
    finally:
        storage.close()


@linux
@pytest.mark.parametrize("number", [errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_where_the_system_cannot_lock_the_history_itself_it_is_opened_with_a_warning(
    closed, monkeypatch, caplog, number
):
    """As NFS, which locks no file for its readers. The lock file keeps a second server out all the same."""
    real = filelock._lock

    def lock(descriptor: int) -> None:
        if not os.path.samestat(os.fstat(descriptor), os.stat(closed)):
            return real(descriptor)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(filelock, "_lock", lock)
    storage = Storage(str(closed))
    try:
        assert f"{closed} itself cannot be locked ({os.strerror(number)})" in caplog.text
        assert "is in use by process" in refused(closed)
    finally:
        storage.close()


# --- the lock file --------------------------------------------------------------------------------------


def a_symbolic_link(lock: pathlib.Path, victim: pathlib.Path) -> None:
    lock.symlink_to(victim)


def a_symbolic_link_to_nothing(lock: pathlib.Path, victim: pathlib.Path) -> None:
    lock.symlink_to(victim.with_name("not there"))


def a_hard_link(lock: pathlib.Path, victim: pathlib.Path) -> None:
    os.link(victim, lock)


def a_pipe(lock: pathlib.Path, victim: pathlib.Path) -> None:
    os.mkfifo(lock)


def a_directory(lock: pathlib.Path, victim: pathlib.Path) -> None:
    lock.mkdir()


def a_socket(lock: pathlib.Path, victim: pathlib.Path) -> None:
    os.mknod(lock, stat.S_IFSOCK | 0o600)


@pytest.mark.parametrize(
    "make", [a_symbolic_link, a_symbolic_link_to_nothing, a_hard_link, a_pipe, a_directory, a_socket]
)
@pytest.mark.parametrize("new", [True, False])
def test_a_lock_file_that_is_something_else_is_refused_and_left_as_it_is(
    path: pathlib.Path, tmp_path: pathlib.Path, make: Callable[[pathlib.Path, pathlib.Path], None], new: bool
) -> None:
    victim = tmp_path / "precious"
    victim.write_text("precious")
    lock = tmp_path / "chat.db.lock"
    if not new:
        Storage(str(path)).close()
        lock.unlink()
    make(lock, victim)
    before = os.lstat(lock), set(os.listdir(tmp_path))
    with pytest.raises(StartError, match=r"cannot be opened: .* is (a|not a) .* It was left as it is\. Remove it\."):
        Storage(str(path))
    assert victim.read_text() == "precious"
    after = os.lstat(lock), set(os.listdir(tmp_path))
    assert (after[0].st_mode, after[0].st_size, after[1]) == (before[0].st_mode, before[0].st_size, before[1])


def test_text_that_others_wrote_into_the_lock_file_is_not_repeated(closed: pathlib.Path) -> None:
    holder = FileLock(str(closed))
    pathlib.Path(f"{closed}.lock").write_bytes(b"process 1\x1b[2J, since you ask: pay me\n")
    try:
        with pytest.raises(StartError, match="is in use by another process") as told:
            FileLock(str(closed))
        assert "\x1b" not in told.value.text
    finally:
        holder.release()


@root
def test_another_user_can_neither_hold_the_lock_nor_read_the_history(start_process, for_all):
    process = start_process(db=for_all / "chat.db")
    for rest in ("", "-wal", "-shm", ".lock"):
        wants = f"import os; os.setuid({NOBODY}); open({str(process.db) + rest!r}, 'rb')"
        done = subprocess.run([sys.executable, "-c", wants], capture_output=True, text=True, check=False)
        assert "PermissionError" in done.stderr, rest


# --- modes ----------------------------------------------------------------------------------------------


def modes(directory: pathlib.Path) -> dict[str, int]:
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in directory.iterdir()}


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_all_files_that_the_server_makes_are_the_users_alone(open_umask, start_process, tmp_path):
    directory = tmp_path / "own"
    directory.mkdir()
    options = ("--log-file", str(directory / "chat.log"), "--trace", str(directory / "trace.json"))
    process = start_process(*options, db=directory / "chat.db")
    with process.client("ann") as ann:
        ann.ask("hello")
        names = ["chat.db", "chat.db-shm", "chat.db-wal", "chat.db.lock", "chat.log", "trace.json"]
        assert modes(directory) == dict.fromkeys(names, 0o600)
        (directory / "chat.log").rename(directory / "chat.log.1")
        process.popen.send_signal(signal.SIGHUP)
        wait_for((directory / "chat.log").exists)
        assert modes(directory)["chat.log"] == 0o600
        backup = [sys.executable, SCRIPTS / "backup.py", process.db, directory / "copy.db"]
        subprocess.run(backup, check=True, capture_output=True)
        assert modes(directory)["copy.db"] == 0o600
    assert process.stop() == 0


def test_a_log_and_a_trace_that_exist_keep_their_modes(start_process, tmp_path):
    paths = (tmp_path / "chat.log", tmp_path / "trace.json")
    for path in paths:
        path.touch()
        path.chmod(0o640)
    assert start_process("--log-file", str(paths[0]), "--trace", str(paths[1])).stop() == 0
    assert [modes(tmp_path)[path.name] for path in paths] == [0o640] * 2


def test_the_lock_file_of_an_older_version_becomes_the_users_alone(closed, tmp_path):
    (tmp_path / "chat.db.lock").chmod(0o644)
    Storage(str(closed)).close()
    assert modes(tmp_path) == {"chat.db": 0o600, "chat.db.lock": 0o600}


def test_an_unfinished_backup_that_leads_elsewhere_is_not_written_to(closed, tmp_path):
    victim = tmp_path / "precious"
    victim.write_text("precious")
    (tmp_path / "copy.db.part").symlink_to(victim)
    backup = [sys.executable, SCRIPTS / "backup.py", closed, tmp_path / "copy.db"]
    subprocess.run(backup, check=True, capture_output=True)
    assert victim.read_text() == "precious"
    assert not (tmp_path / "copy.db").is_symlink()


@root
@pytest.mark.parametrize("script", ["backup", "export"])
def test_another_user_whom_the_modes_allow_it_reads_a_live_history(start_process, for_all, script):
    """The operator's modes are kept, and SQLite's log gets them, too."""
    db = for_all / "chat.db"
    Storage(str(db)).close()
    db.chmod(0o644)
    process = start_process(db=db)
    place = for_all / "theirs"
    place.mkdir()
    shutil.chown(place, NOBODY)
    with process.client("ann") as ann:
        assert any("ann: for all to read" in line for line in ann.ask("for all to read"))
        assert modes(for_all)["chat.db-wal"] == modes(for_all)["chat.db-shm"] == 0o644
        arguments = [f"{script}.py", str(db), *([str(place / "copy.db")] if script == "backup" else [])]
        program = (  # another user may not even be able to read Python itself
            f"import os, sys, click._termui_impl; sys.path.insert(0, {str(SCRIPTS)!r}); sys.argv = {arguments};"
            f" import {script}; os.setuid({NOBODY}); {script}.main()"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = stored(place / "copy.db") if script == "backup" else done.stdout
        assert "for all to read" in str(found)
        assert any("ann: and on" in line for line in ann.ask("and on"))
    assert process.stop() == 0


def test_nothing_waits_for_the_lock(closed):
    """A server that cannot have it says so at once, though it is held for long."""
    holder = FileLock(str(closed))
    holder.hold()
    try:
        assert "is in use by process" in refused(closed)
    finally:
        holder.release()
    wait_for(lambda: Storage(str(closed)).close() is None)
