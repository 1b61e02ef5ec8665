"""Faults of the disk and of the history's file: the tests cause each, and the server stays well."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from support.clients import Client
from support.servers import needs, stored
from support.waiting import WAIT, wait_for
from support.wellness import check_history, needs_proc, staying_well
from support.words import error_line

from chat_threads.errors import NotStored

pytestmark = [pytest.mark.slow, needs_proc]
resource = pytest.importorskip("resource")

LONG = "x" * 900
SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"


def talk(client: Client) -> Iterator[int]:
    """Say numbers, one after the other; yields those that come back, and ends with the first that is refused."""
    for number in range(5000):
        client.send(f"{number} {LONG}")
        line = client.line()
        while line is not None and not line.startswith("! ") and f": {number} x" not in line:
            line = client.line()
        assert line is not None
        if line.startswith("! "):
            return
        yield number
    raise AssertionError("none was refused")


# --- a full disk ----------------------------------------------------------------------------------------


def test_senders_get_an_error_while_the_disk_is_full_and_the_rest_goes_on(start_process, small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(700_000))
    process = start_process("--rate", "0", db=small_disk / "chat.db")
    with staying_well(process) as canary, process.client("ann") as ann, process.client("bob") as bob:
        with canary.excused():
            kept = list(talk(ann))
            assert os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize < 20_000
            for each in (ann, bob):
                assert error_line(NotStored("disk full")) in each.ask(LONG)
            assert any(line.endswith(f": {kept[-1]} {LONG}") for line in bob.ask("/history 3"))
            assert any("1 message found" in line for line in bob.ask(f"/search {kept[-1]}"))
            ann.send("/msg bob psst")
            bob.expect("psst")
            with process.client("cy") as cy:
                assert any("ann" in line for line in cy.ask("/who"))
            ballast.unlink()
            assert any(line.endswith("ann: there is room") for line in ann.ask("there is room"))
        bob.expect("ann: there is room")
    texts = [text for _, sender, text in stored(process.db) if sender in ("ann", "bob")]
    assert texts == [f"{number} {LONG}" for number in kept] + ["there is room"]


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="another process cannot be limited here")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="there every failed write is taken for a failed disk")
def test_senders_get_an_error_while_the_file_may_not_grow(start_process):
    """As where a quota is used up."""
    process = start_process("--rate", "0")
    with staying_well(process) as canary, process.client("ann") as ann, process.client("bob") as bob:
        with canary.excused():
            limits = resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
            kept = list(talk(ann))
            assert error_line(NotStored("disk I/O error")) in ann.ask(LONG)
            assert any(line.endswith(f": {kept[-1]} {LONG}") for line in bob.ask("/history 3"))
            resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE, limits)
            ann.send("it may grow")
            ann.expect("ann: it may grow")
        bob.expect("ann: it may grow")
    texts = [text for _, sender, text in stored(process.db) if sender == "ann"]
    assert texts == [f"{number} {LONG}" for number in kept] + ["it may grow"]


# --- a disk that fails ----------------------------------------------------------------------------------

SHIM = """
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int failing(void) { const char *sign = getenv("FSYNC_FAILS"); return sign && !access(sign, F_OK); }
int fsync(int fd) { return failing() ? (errno = EIO, -1) : (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return failing() ? (errno = EIO, -1) : (int)syscall(SYS_fdatasync, fd); }
"""


@pytest.fixture
def failing_disk(tmp_path: pathlib.Path) -> tuple[pathlib.Path, dict[str, str]]:
    """While there is a file of that name, fsync fails in a process with that environment."""
    if not sys.platform.startswith("linux"):
        pytest.skip("fsync is replaced by Linux's LD_PRELOAD")
    shim, sign = tmp_path / "shim.so", tmp_path / "fsync-fails"
    (tmp_path / "shim.c").write_text(SHIM)
    subprocess.run([needs("gcc"), "-shared", "-fPIC", "-o", shim, tmp_path / "shim.c"], check=True)
    return sign, {"LD_PRELOAD": str(shim), "FSYNC_FAILS": str(sign)}


SOON = "from chat_threads import storage\nstorage.CHECKPOINT = 8"  # an fsync every few messages, not every hundreds
FAILED = "! The server's disk failed. No new message can be stored or shown until the server is started again."
REFUSED = error_line(NotStored("the disk failed, so nothing is stored until the server is started again"))


@pytest.mark.parametrize("sync", ["normal", "full"])
def test_after_a_failed_fsync_everybody_gets_an_error_and_nothing_is_acknowledged_any_more(
    start_process, failing_disk, sync
):
    """With --sync normal it fails when the log is copied into the file, with full at a commit."""
    sign, env = failing_disk
    process = start_process("--sync", sync, "--rate", "0", env=env, plant=SOON)
    with contextlib.ExitStack() as stack:
        canary = stack.enter_context(staying_well(process, comes_back=False))
        ann, bob, nameless = (stack.enter_context(process.client(name)) for name in ("ann", "bob", None))
        stack.enter_context(canary.excused())
        sign.touch()
        kept = list(talk(ann))
        for each in (ann, bob):
            if FAILED not in each.seen:
                each.expect(FAILED)
        sign.unlink()  # fsync succeeds again, but does not retry the failed writes
        for line in ("hello?", "/me waves"):
            assert REFUSED in ann.ask(line)
        assert REFUSED.replace("sent", "done") in bob.ask("/topic never")
        assert any(": 0 x" in line for line in bob.ask("/history")) == bool(kept)
        ann.send("/msg bob psst")
        bob.expect("psst")
        nameless.send("cy")
        nameless.expect(FAILED)
        nameless.expect("You are in #lobby")
        nameless.send("/join #new")
        nameless.expect("! #new was made, but it is not stored yet: the disk failed")
    assert [text for _, sender, text in stored(process.db) if sender == "ann"] == [f"{n} {LONG}" for n in kept]


@pytest.mark.parametrize("sync", ["normal", "full"])
def test_a_message_refused_after_a_failed_fsync_does_not_come_back_after_a_kill(start_process, failing_disk, sync):
    """SQLite has written it to its log, whole, before the fsync that failed."""
    sign, env = failing_disk
    process = start_process("--sync", sync, "--rate", "0", env=env, plant=SOON)
    with process.client("ann") as ann:
        assert any("ann: before" in line for line in ann.ask("before"))
        sign.touch()
        kept = list(talk(ann))
        process.kill()
    sign.unlink()
    process = start_process("--rate", "0", env=env)
    with process.client("bob") as bob:
        assert any("bob: after" in line for line in bob.ask("after"))
    assert process.stop() == 0
    assert [text for _, _, text in stored(process.db)] == ["before", *(f"{n} {LONG}" for n in kept), "after"]
    check_history(process.db)


# --- other programs -------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(db: pathlib.Path) -> Iterator[None]:
    """Another program is writing to the history."""
    with contextlib.closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.stress
def test_senders_wait_while_a_history_is_locked_for_three_seconds(start_process):
    process = start_process()
    with staying_well(process) as canary, process.client("ann") as ann, canary.excused():
        with locked(process.db):
            ann.send("patience")
            assert any(line.startswith("* room") for line in _ask_while_locked(ann, "/rooms"))
            assert ann.nothing_comes(3.0)
        assert ann.expect("patience").endswith("ann: patience")


def _ask_while_locked(client: Client, line: str) -> list[str]:
    """As ``ask``, without a ping, which would wait for the history."""
    client.send(line, "/nosuchcommand")
    return client.upto("! There is no command")


@pytest.mark.stress
def test_senders_get_an_error_when_a_history_is_locked_for_long(start_process):
    process = start_process()
    with staying_well(process) as canary, process.client("ann") as ann, canary.excused():
        with locked(process.db):
            began = time.monotonic()
            ann.send("in vain")
            told = ann.expect("! Not stored", 10.0)
            assert told == error_line(NotStored("another program has locked the history"))
            assert time.monotonic() - began > 4.5
            assert any(line.startswith("* room") for line in _ask_while_locked(ann, "/rooms"))
        wait_for(lambda: any(line.endswith("ann: at last") for line in ann.ask("at last")))
    assert "in vain" not in [text for _, _, text in stored(process.db)]


def test_the_operator_hears_of_a_program_that_reads_for_long_as_the_log_grows(start_process):
    process = start_process("--rate", "0", plant="from chat_threads import storage\nstorage.LOG_LIMIT = 1_000_000")
    with staying_well(process), process.client("ann") as ann:
        with contextlib.closing(sqlite3.connect(process.db, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM messages").fetchone()
            for number in range(300):  # about 10 KB each
                ann.send(f"text {number}")
                ann.expect(f"text {number}")
            wait_for(lambda: "has been reading the history for a long time" in process.errors)
        ann.ask("the program has ended")
    told = [line for line in process.errors.splitlines() if "has been reading the history for a long time" in line]
    assert 1 <= len(told) <= 2  # at 1 MB, and at 2
    assert all("WARNING" in line and f"{process.db}-wal has " in line and "End that program" in line for line in told)


def test_a_second_server_on_the_history_or_the_port_says_why_and_the_first_notices_nothing(start_process, tmp_path):
    process = start_process()
    with staying_well(process):
        for arguments, why in (
            (["--db", process.db, "--port", "0"], f"is in use by process {process.popen.pid}"),
            (["--db", tmp_path / "other.db", "--port", str(process.port)], f"Port {process.port} is in use"),
        ):
            second = subprocess.run(
                [sys.executable, "-m", "chat_threads", "--host", "127.0.0.1", *arguments],
                capture_output=True,
                text=True,
                timeout=WAIT,
                check=False,
            )
            assert (second.returncode, second.stdout) == (2, "")
            assert why in second.stderr
            assert second.stderr.count("\n") == 1


def test_a_backup_of_a_live_history_has_the_end_that_a_copy_of_the_file_lacks(start_process, tmp_path):
    process = start_process("--rate", "0")
    with staying_well(process), process.client("ann") as ann:
        for number in range(100):
            ann.send(f"text {number}")
        ann.expect("text 99")
        shutil.copy(process.db, tmp_path / "copied.db")
        backup = [sys.executable, SCRIPTS / "backup.py", process.db, tmp_path / "saved.db"]
        assert subprocess.run(backup, capture_output=True, check=False).returncode == 0
    counts = []
    for name in ("copied.db", "saved.db"):
        with contextlib.closing(sqlite3.connect(tmp_path / name)) as connection:
            query = "SELECT count(*) FROM messages WHERE sender = 'ann'"
            counts.append(connection.execute(query).fetchone()[0])
    assert counts[0] < counts[1] == 100
    check_history(tmp_path / "saved.db")
