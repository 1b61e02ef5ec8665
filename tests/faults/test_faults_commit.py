"""A commit fails at any of its system calls: after a kill, no refused message is found, and every acknowledged one is.

A library makes the calls that SQLite makes on its files fail, one after the other. Each time, a new process opens the
history, says something, and kills itself.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import pytest
from support.clients import Program
from support.programs import load
from support.servers import stored
from support.wellness import check_history
from test_faults_storage import LONG, talk

from chat_threads import once, retention, wal
from chat_threads import storage as storage_module
from chat_threads.batch import Batch, StoredRef
from chat_threads.errors import StartError
from chat_threads.events import Message
from chat_threads.ordered import RoomMade, TokenUsed
from chat_threads.storage import Storage
from chat_threads.storage_errors import StorageBroken, StorageError, StorageUnsure

HERE = pathlib.Path(__file__).parent
faults = load("torture_faults")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="calls are replaced by Linux's LD_PRELOAD"),
    pytest.mark.timeout(600),  # some try hundreds of processes
]

Way = tuple[int, bool, int]  # the error, whether the call does its work all the same, and how many more calls fail

LAB, NEW = 1, 2
BLOCK_END = 4062  # frames of the log for which the first block of its index has room
MANY = 12  # messages in the commit that fails
FRESH, CROSSING, AGAIN = "a short log", "a log that needs another block of its index", "a log that starts again"


# --- what runs with the library -------------------------------------------------------------------------


def said(text: str, first: int, count: int = 1) -> list[Message]:
    return [Message(LAB, "#lab", first + at, 0, "ann", "text", f"{text} {first + at} {LONG}") for at in range(count)]


def say(storage: Storage) -> None:
    """Commit a batch with everything that a batch can hold."""
    batch = Batch([RoomMade(NEW, "#new", "#new", "", "ann", 0, owner=7)], said("doubtful", 1001, MANY))
    batch.topics[LAB] = "doubtful"
    batch.tokens[7] = TokenUsed(7, "ann")
    batch.refs.append(StoredRef(7, 1, "doubtful", "#lab", 1001))
    storage.commit(batch)


def speak(storage: Storage) -> None:
    """Commit one message, which is a statement without a transaction around it."""
    storage.commit(Batch(messages=said("doubtful", 1001)))


def sweep(storage: Storage) -> None:
    """Delete all messages, as if they were too old."""
    retention.SWEEP_ROWS = 20
    storage.sweep(1)


def purge(storage: Storage) -> None:
    """Rewrite the index and the file, and empty the log."""
    storage.sweeper.remains = True
    while storage.purge() is not None:
        pass


def forget(storage: Storage) -> None:
    once.TOKENS = 0
    storage.sweep_tokens()


def index(storage: Storage) -> None:
    storage.index()


def checkpoint(storage: Storage) -> None:
    storage._unfolded = storage_module.CHECKPOINT
    storage.checkpoint()


WORK: dict[str, Callable[[Storage], None]] = {
    each.__name__: each for each in (say, speak, sweep, purge, forget, index, checkpoint)
}


OPEN: list[Storage] = []


def opened(path: str) -> Storage:
    """A history that is not closed before the process kills itself, not even by being thrown away."""
    OPEN.append(Storage(path))
    return OPEN[-1]


def frames(storage: Storage) -> int:
    assert storage._log
    return storage._log._known()[0]


def prepared(path: str, log: str) -> None:
    """A history with 1,000 messages, in the log only, and a token."""
    storage = opened(path)
    tokens = {8: TokenUsed(8, "bob")}
    refs = [StoredRef(8, 1, "first", "#lab", 1)]
    storage.commit(Batch([RoomMade(LAB, "#lab", "#lab", "", "ann", 0)], said("old", 1, 999), tokens=tokens, refs=refs))
    storage.index()
    while log == CROSSING and frames(storage) < BLOCK_END - 8:
        storage.commit(Batch(topics={LAB: f"topic {frames(storage)}"}))


def lived(path: str, log: str, work: str, goes_on: bool, calls: Any, arm: Callable[[], None]) -> dict[str, object]:
    """The fate of what one process said, and whether it reached the call that was to fail."""
    if log == CROSSING:
        wal.BLOCKS = 0  # they are made when they are needed
    if work == "open":
        arm()
    told: dict[str, object] = {"after": False}
    try:
        storage = opened(path)
        if work != "open":
            storage.commit(Batch(messages=said("before", 1000)))
            if log == AGAIN:
                storage._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            arm()
            WORK[work](storage)
        told["answer"] = "stored"
    except StorageError as error:
        told["answer"] = "unsure" if isinstance(error, StorageUnsure) else "refused"
        told["broken"] = isinstance(error, StorageBroken)
    except StartError as error:
        told["answer"] = f"not started: {error.text}"
    told["made"] = calls.begun
    calls.fail(0)
    if goes_on and told["answer"] == "refused" and not told["broken"]:
        storage.commit(Batch(messages=said("after", 1001)))
        told["after"] = True
    if told["answer"] == "stored" and log == CROSSING and work == "say":
        assert frames(storage) > BLOCK_END
    return told


def drive(directory: str, log: str, work: str, ways: list[Way], goes_on: bool) -> None:
    """For each way to fail and each call that the work makes, run one process in which that call fails so. Print a line
    with each answer."""
    calls = faults.Calls.__new__(faults.Calls)
    calls._numbers = pathlib.Path(os.environ["TORTURE_CALLS"])
    template = pathlib.Path(directory, "template")
    template.mkdir()
    if not os.fork():
        prepared(str(template / "chat.db"), log)
        os.kill(os.getpid(), signal.SIGKILL)
    os.wait()
    for way in ways:
        drive_one(template, calls, log, work, way, goes_on)


def drive_one(template: pathlib.Path, calls: Any, log: str, work: str, way: Way, goes_on: bool) -> None:
    error, late, more = way
    turn = 1
    while True:
        life = template.with_name(str(turn))
        life.mkdir()
        for end in ("", "-wal"):
            shutil.copy(template / f"chat.db{end}", life)
        receive, send = os.pipe()
        if not os.fork():
            arm = functools.partial(calls.fail, turn, more, error, late)
            try:
                told = lived(str(life / "chat.db"), log, work, goes_on, calls, arm)
            except BaseException as odd:
                told = {"answer": f"odd: {odd!r}", "made": False}
            calls.fail(0)
            os.write(send, json.dumps(told).encode() + b"\n")
            os.kill(os.getpid(), signal.SIGKILL)
        os.close(send)
        with open(receive, encoding="utf-8") as answer:
            line = answer.read() or '{"answer": "nothing", "made": false}\n'
        os.wait()
        told = json.loads(line)
        print(json.dumps({**told, "way": way, "call": turn, "there": found(life / "chat.db")}), flush=True)
        shutil.rmtree(life)
        if not told["made"]:
            return
        turn += 1 if work in ("say", "speak") else 1 + turn // 10  # a start, say, reads all that there is


# --- what is found afterwards ---------------------------------------------------------------------------


def found(db: pathlib.Path) -> dict[str, Any]:
    """The data that a start after the kill finds. Asserts that the file and its search index are sound."""
    with contextlib.closing(sqlite3.connect(db)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.execute("INSERT INTO pieces (pieces) VALUES ('integrity-check')")
        texts = [row[0].split()[0] for row in connection.execute("SELECT text FROM messages")]
        swept, topic = connection.execute("SELECT last, topic FROM rooms WHERE id = ?", (LAB,)).fetchone()
        return {
            **{word: texts.count(word) for word in ("old", "before", "doubtful", "after")},
            "swept": swept,
            "room": connection.execute("SELECT count(*) FROM rooms WHERE id = ?", (NEW,)).fetchone()[0],
            "topic": topic == "doubtful",
            "refs": [row[0] for row in connection.execute("SELECT ref FROM refs ORDER BY ref")],
            "tokens": [row[0] for row in connection.execute("SELECT id FROM tokens ORDER BY id")],
        }


BEFORE = {"old": 999, "before": 1, "doubtful": 0, "after": 0, "swept": 0, "room": 0, "topic": False}
BEFORE |= {"refs": ["first"], "tokens": [8]}
DONE: dict[str, dict[str, Any]] = {
    "say": {"doubtful": MANY, "room": 1, "topic": True, "refs": ["doubtful", "first"], "tokens": [7, 8]},
    "speak": {"doubtful": 1},
    "sweep": {"old": 979, "swept": 20},
    "purge": {},
    "forget": {"refs": [], "tokens": []},
    "index": {},
    "checkpoint": {},
    "open": {"before": 0},
}


def each_call_fails(log: str, work: str, *ways: Way, goes_on: bool = False) -> dict[Way, list[str]]:
    """Make each call fail in each of these ways, in a process of its own, and check the history afterwards. Return the
    answers."""
    with contextlib.ExitStack() as stack:
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # a disk takes long to sync
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory)))
        calls = faults.Calls(directory)
        stack.callback(calls.close)
        if calls.missing:
            pytest.skip(calls.missing)
        program = f"import test_faults_commit as t; t.drive{(str(directory), log, work, ways, goes_on)}"
        paths = os.pathsep.join([str(HERE), str(HERE.parent), str(faults.ROOT), *sys.path])
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **calls.environment, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    answers: dict[Way, list[str]] = {way: [] for way in ways}
    before = BEFORE | ({"before": 0} if work == "open" else {})
    for told in map(json.loads, done.stdout.splitlines()):
        undone = before | {"after": int(told.get("after", False))}
        maybe = {"stored": [before | DONE[work]], "refused": [undone], "unsure": [undone, before | DONE[work]]}
        assert told["there"] in maybe.get(told["answer"], [before]), told
        answers[tuple(told["way"])].append(told["answer"].split(":")[0])
    assert all(len(each) > 1 for each in answers.values())
    return answers


EARLY, LATE = False, True  # a call fails and does nothing, or does what it is asked for and then fails
ON = 1000  # more calls fail after the first
QUICK: list[tuple[str, str, list[Way]]] = [
    ("say", FRESH, [(errno.EIO, EARLY, 0), (errno.EIO, LATE, 0), (errno.ENOSPC, EARLY, ON)]),
    ("say", CROSSING, [(errno.EIO, EARLY, 0)]),
    ("say", AGAIN, [(errno.EIO, EARLY, ON)]),
    ("speak", FRESH, [(errno.EIO, LATE, 0)]),
    ("speak", AGAIN, [(errno.ENOSPC, EARLY, ON)]),
]
ALL: list[Way] = [*itertools.product([errno.EIO, errno.ENOSPC], [EARLY, LATE], [0, 2, ON])]
CASES = [*QUICK]
for case in itertools.product(["say", "speak"], [FRESH, CROSSING, AGAIN]):
    quick = [way for *known, ways in QUICK if (*known,) == case for way in ways]
    CASES.append((*case, [way for way in ALL if way not in quick]))


@pytest.mark.parametrize(("work", "log", "ways"), CASES)
def test_a_refused_message_does_not_come_back_after_a_kill_whichever_call_of_its_commit_failed(work, log, ways):
    """Only if later calls fail, too, the outcome may be unknown; then the answer says so."""
    for (_, _, more), answers in each_call_fails(log, work, *ways).items():
        assert set(answers) <= {"stored", "refused", "unsure"}
        assert "refused" in answers
        assert more or "unsure" not in answers


@pytest.mark.parametrize("log", [FRESH, CROSSING, AGAIN])
def test_after_any_failed_call_of_a_commit_the_next_message_is_stored(log):
    (answers,) = each_call_fails(log, "say", (errno.EIO, EARLY, 0), goes_on=True).values()
    assert set(answers) == {"stored", "refused"}


@pytest.mark.parametrize("work", ["sweep", "purge", "forget", "index", "checkpoint", "open"])
def test_the_history_is_whole_whichever_call_of_other_work_fails(work):
    """Deleting and indexing happen completely or not at all. A start may be refused; the next one is not."""
    for answers in each_call_fails(FRESH, work, (errno.EIO, EARLY, 0), (errno.EIO, LATE, 0)).values():
        assert answers[-1] == "stored"
        assert set(answers) == {"stored", "not started" if work == "open" else "refused"}


# --- a server -------------------------------------------------------------------------------------------


def grow_log(db: pathlib.Path) -> None:
    """Another program makes a log of more than 4,062 frames; the space stays with the log when it starts again."""
    with contextlib.closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("PRAGMA wal_autocheckpoint = 0")
        for statement in (
            "BEGIN",
            "CREATE TABLE much (bytes)",
            "INSERT INTO much VALUES (zeroblob(18000000))",
            "DROP TABLE much",
            "COMMIT",
            "PRAGMA wal_checkpoint(PASSIVE)",
        ):
            other.execute(statement).fetchall()


@pytest.mark.parametrize("blocks", [0, wal.BLOCKS])
def test_a_message_refused_on_a_full_disk_does_not_come_back_after_a_kill(start_process, tmp_path, blocks):
    """The log has room for a commit. Its index has none, unless blocks are in store."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing may be mounted here")
    db, ballast = disk / "chat.db", disk / "ballast"
    plant = f"from chat_threads import wal\nwal.BLOCKS = {blocks}"
    try:
        process = start_process("--rate", "0", db=db, plant=plant)
        grow_log(db)
        with process.client("ann") as ann:
            assert any("ann: first" in line for line in ann.ask("first"))  # the log starts again
        process.kill()
        process = start_process("--rate", "0", db=db, plant=plant)
        with contextlib.closing(sqlite3.connect(db, isolation_level=None)) as reader, process.client("bob") as bob:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM rooms").fetchone()  # so that the log continues
            with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
            kept = list(talk(bob))
            assert len(kept) > 100
            reader.close()
            process.kill()
        ballast.unlink()
        process = start_process("--rate", "0", db=db)
        with process.client("cy") as cy:
            assert any("cy: there is room" in line for line in cy.ask("there is room"))
        assert process.stop() == 0
        texts = [text for _, _, text in stored(db)]
        assert texts == ["first", *(f"{number} {LONG}" for number in kept), "there is room"]
        check_history(db)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


UNCLEAR = """
import contextlib, os, sqlite3
from chat_threads import storage, wal

def unclear(log):
    raise wal.Unclear("planted")

@contextlib.contextmanager
def failing(connection, really=storage.transaction):
    with really(connection):
        yield
        if os.path.exists({sign!r}):
            raise sqlite3.OperationalError("disk I/O error")

storage.transaction = failing
wal.Log.comes_back = wal.Log.is_void = unclear
"""


def test_a_text_of_which_it_is_unknown_whether_it_is_stored_is_answered_so_each_time(start_process, tmp_path):
    """Nothing is stored afterwards. A text sent again under its ref after a restart is stored once."""
    sign = tmp_path / "fails"
    process = start_process(plant=UNCLEAR.format(sign=str(sign)))
    perhaps = {"type": "say", "text": "perhaps", "ref": "a"}
    with contextlib.closing(Program(process.port)) as bob:
        bob.send(type="hello", name="bob")
        token = bob.expect("welcome")["token"]
        bob.ask()
        sign.touch()
        for _ in range(2):
            bob.send(perhaps)
            bob.expect("error", code="maybe_stored", ref="a")
        sign.unlink()
        bob.send(type="say", text="and on", ref="b")
        bob.expect("error", code="not_stored", ref="b")
        assert [each for each in bob.seen if each["type"] == "error" and each["code"] == "read_only"]
    process.kill()
    process = start_process()
    with contextlib.closing(Program(process.port)) as bob:
        bob.send(type="hello", name="bob", token=token)
        bob.send(perhaps)
        assert bob.expect("ack", ref="a")["number"] == 1
    assert process.stop() == 0
    assert [text for _, _, text in stored(process.db)] == ["perhaps"]
