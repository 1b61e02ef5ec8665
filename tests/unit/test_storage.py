"""The SQLite file: which files are opened or refused, atomic commits, pages, search and sweeping."""

from __future__ import annotations

import contextlib
import os
import pathlib
import queue
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from support.samples import for_each
from support.waiting import WAIT

from chat_threads import once, reading, retention, schema
from chat_threads.chat import Chat, Options
from chat_threads.errors import StartError, Unreadable
from chat_threads.events import Message
from chat_threads.ordered import RoomMade, TokenUsed
from chat_threads.schema import MEMORY, MIGRATIONS, VERSION
from chat_threads.search import Query
from chat_threads.storage import CHECKPOINT, Batch, Storage
from chat_threads.storage_errors import StorageBroken, StorageError

LAB, HALL = 1, 2  # rooms


def made(room: int, name: str) -> RoomMade:
    return RoomMade(room, name, name, f"about {name}", "ann", 1_000)


def said(
    numbers: Iterable[int], room: int = LAB, text: str = "hello {}", sender: str = "ann", at: int | None = None
) -> list[Message]:
    name = {LAB: "#lab", HALL: "#hall"}[room]
    return [Message(room, name, n, 1_000 * n if at is None else at, sender, "say", text.format(n)) for n in numbers]


def numbers(messages: Iterable[Message]) -> list[int]:
    return [message.number for message in messages]


def indexed(storage: Storage, word: str) -> int:
    """How many messages the search index itself has for a word, whether or not they are still there."""
    rows = storage._read("SELECT count(*) FROM pieces WHERE pieces MATCH ?", (Query((word,)).terms(),))
    return int(rows[0][0])


def index_all(storage: Storage) -> None:
    """Index everything, as the history thread does when it is idle."""
    while storage.unindexed:
        storage.index()


def written(path: pathlib.Path, count: int = 500) -> None:
    """Make a history with a room and ``count`` messages, and close it."""
    storage = Storage(str(path))
    storage.commit(Batch([made(LAB, "#lab")], said(range(1, count + 1))))
    storage.close()


def sqlite(path: pathlib.Path, *statements: str) -> list[Any]:
    """Do something to a file behind the server's back; return the rows of the last statement."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return [connection.execute(statement).fetchall() for statement in statements][-1]


def contents(path: pathlib.Path) -> dict[str, bytes]:
    """All files in the directory of ``path`` but the lock file, byte by byte."""
    return {each.name: each.read_bytes() for each in path.parent.iterdir() if each.suffix != ".lock"}


@pytest.fixture
def storage(opened: Callable[..., Storage]) -> Storage:
    """A fresh history with the rooms #lab and #hall."""
    storage = opened()
    storage.commit(Batch([made(LAB, "#lab"), made(HALL, "#hall")]))
    return storage


@pytest.fixture(params=["index", "not indexed yet", "half", "no FTS5"])
def searched(request: pytest.FixtureRequest, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A history to search: with its index, with half of it, with none yet, and with an SQLite without FTS5."""
    if request.param == "no FTS5":
        storage._index.usable = False
    elif request.param != "not indexed yet":
        commit = storage.commit

        def commit_and_index(batch: Batch) -> None:
            half = len(batch.messages) // 2
            commit(Batch(batch.rooms_made, batch.messages[:half]))
            if request.param == "half":
                index_all(storage)
            commit(Batch(messages=batch.messages[half:]))
            if request.param == "index":
                index_all(storage)

        monkeypatch.setattr(storage, "commit", commit_and_index)
    return storage


# --- what is refused ------------------------------------------------------------------------------------


def a_letter(path: pathlib.Path) -> None:
    path.write_bytes(b"Dear diary,\n" * 100)


def the_first_bytes_of_one(path: pathlib.Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + bytes(40))


def nothing(path: pathlib.Path) -> None:
    path.write_bytes(b"")


def another_programs(path: pathlib.Path) -> None:
    sqlite(path, "CREATE TABLE rooms (id INTEGER PRIMARY KEY)", "INSERT INTO rooms VALUES (1)")


def another_programs_in_wal(path: pathlib.Path) -> None:
    sqlite(path, "PRAGMA journal_mode = WAL", "CREATE TABLE messages (id INTEGER PRIMARY KEY)")


def one_with_a_damaged_page(path: pathlib.Path) -> None:
    written(path)
    root = sqlite(path, "SELECT rootpage FROM sqlite_master WHERE name = 'messages'")[0][0]
    size = sqlite(path, "PRAGMA page_size")[0][0]
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)


def one_without_its_last_pages(path: pathlib.Path) -> None:
    written(path)
    os.truncate(path, path.stat().st_size // 2 + 17)


def only_the_header(path: pathlib.Path) -> None:
    written(path)
    os.truncate(path, 100)


def a_newer_one(path: pathlib.Path) -> None:
    written(path)
    sqlite(path, f"PRAGMA user_version = {VERSION + 1}")


REFUSED = {
    a_letter: "is not an SQLite file",
    the_first_bytes_of_one: "is not an SQLite file",
    nothing: "is empty",
    another_programs: "is an SQLite file, but not a chat_threads history",
    another_programs_in_wal: "is an SQLite file, but not a chat_threads history",
    one_with_a_damaged_page: "is damaged",
    one_without_its_last_pages: "is damaged",
    only_the_header: "is damaged",
    a_newer_one: f"is of version {VERSION + 1}, made by a newer chat_threads",
}


@pytest.mark.parametrize(("make", "why"), REFUSED.items(), ids=[make.__name__ for make in REFUSED])
def test_a_file_that_must_not_be_opened_is_refused_and_left_as_it_is(
    path: pathlib.Path, make: Callable[[pathlib.Path], None], why: str
) -> None:
    make(path)
    before = contents(path)
    with pytest.raises(StartError) as refused:
        Storage(str(path))
    assert why in refused.value.text
    assert str(path) in refused.value.text
    assert "\n" not in refused.value.text
    assert contents(path) == before


def test_a_newer_history_that_was_killed_is_refused_and_its_log_left_as_it_is(
    path: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    written(path)
    killed = tmp_path / "killed" / "chat.db"
    killed.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")  # is in the -wal only
        for end in ("", "-wal"):
            shutil.copy(f"{path}{end}", f"{killed}{end}")
    before = contents(killed)
    with pytest.raises(StartError, match="newer chat_threads"):
        Storage(str(killed))
    after = contents(killed)
    after.pop("chat.db-shm", None)  # SQLite's own scratch file, made again from the log each time
    assert after == before


def test_a_refused_file_is_not_locked_afterwards(path: pathlib.Path, opened: Callable[..., Storage]) -> None:
    nothing(path)
    with pytest.raises(StartError):
        Storage(str(path))
    path.unlink()
    assert opened().count() == 0


@pytest.mark.parametrize("end", ["-wal", "-journal"])
def test_the_end_of_a_history_without_its_beginning_is_refused_and_kept(path: pathlib.Path, end: str) -> None:
    """SQLite would make a new file and throw the log away, with the last messages in it."""
    rest = pathlib.Path(f"{path}{end}")
    rest.write_bytes(b"all that was said last")
    with pytest.raises(StartError, match=f"{end} exists, which is part of one"):
        Storage(str(path))
    assert contents(path) == {rest.name: b"all that was said last"}


def test_a_directory_is_refused(tmp_path: pathlib.Path) -> None:
    directory = tmp_path / "histories"
    directory.mkdir()
    with pytest.raises(StartError, match="cannot be opened"):
        Storage(str(directory))
    assert list(directory.iterdir()) == []


def test_a_missing_directory_is_reported(tmp_path: pathlib.Path) -> None:
    with pytest.raises(StartError, match="cannot be opened: there is no directory "):
        Storage(str(tmp_path / "missing" / "chat.db"))


def test_a_directory_that_may_not_be_written_to_is_reported(tmp_path: pathlib.Path) -> None:
    directory = tmp_path / "locked"
    directory.mkdir(mode=0o555)
    if os.access(directory, os.W_OK):  # root may write everywhere, but not there
        directory = pathlib.Path("/proc")
        if not directory.is_dir():
            pytest.skip("there is no directory that may not be written to")
    with pytest.raises(StartError, match="cannot be opened"):
        Storage(str(directory / "chat.db"))


def test_a_file_system_without_shared_memory_is_refused() -> None:
    class Rollback:
        """A connection on a network's file system: it stays with the journal that it had."""

        def execute(self, sql: str) -> Rollback:
            return self

        def fetchone(self) -> tuple[str]:
            return ("delete",)

    storage = Storage(MEMORY)
    storage.close()
    storage.path = "/network/chat.db"
    with pytest.raises(StartError, match="does not allow SQLite's write-ahead log"):
        storage._prepare(Rollback())  # type: ignore[arg-type]


# --- one server per file --------------------------------------------------------------------------------


def test_the_second_server_on_a_file_says_who_has_it(path: pathlib.Path, opened: Callable[..., Storage]) -> None:
    first = opened()
    with pytest.raises(StartError) as refused:
        Storage(str(path))
    assert f"is in use by process {os.getpid()}, since 2" in refused.value.text
    first.commit(Batch([made(LAB, "#lab")], said([1])))  # and the first one still works
    assert numbers(first.page(LAB)) == [1]


def test_the_file_is_free_again_after_closing(opened: Callable[..., Storage]) -> None:
    first = opened()
    first.commit(Batch([made(LAB, "#lab")], said([1])))
    first.close()
    assert numbers(opened().page(LAB)) == [1]


def test_the_lock_file_of_a_dead_server_is_no_obstacle(path: pathlib.Path, opened: Callable[..., Storage]) -> None:
    lock = pathlib.Path(f"{path}.lock")
    lock.write_text("process 1, since 2001-01-01 00:00:00, and a long story about it\n")
    opened()
    assert lock.read_text().startswith(f"process {os.getpid()}, since ")
    assert "story" not in lock.read_text()


def test_a_lock_file_that_nothing_can_be_written_to_is_no_obstacle(
    opened: Callable[..., Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk, the server can still serve the old messages."""
    opened().close()

    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    opened().close()


def test_a_link_to_a_file_that_is_in_use_is_no_way_around_the_lock(
    path: pathlib.Path, tmp_path: pathlib.Path, opened: Callable[..., Storage]
) -> None:
    opened()
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with pytest.raises(StartError, match="in use by process"):
        Storage(str(link))


def test_nothing_is_left_beside_a_closed_history_but_the_lock_file(path: pathlib.Path) -> None:
    written(path)
    assert list(contents(path)) == ["chat.db"]


# --- the first start ------------------------------------------------------------------------------------


def test_a_first_start_that_was_killed_is_no_obstacle(path: pathlib.Path, opened: Callable[..., Storage]) -> None:
    pathlib.Path(f"{path}.new").write_bytes(b"SQLite format 3\0 and then the light went out")
    pathlib.Path(f"{path}.new-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(600))
    storage = opened()
    storage.commit(Batch([made(LAB, "#lab")], said([1])))
    storage.close()
    assert numbers(opened().page(LAB)) == [1]
    assert "chat.db.new" not in contents(path)


def test_a_file_has_its_name_only_once_it_is_whole(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(old: str, new: str) -> None:
        assert sqlite(pathlib.Path(old), "PRAGMA user_version") == [(VERSION,)]
        assert sqlite(pathlib.Path(old), "SELECT count(*) FROM messages") == [(0,)]
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StartError, match="the disk is full"):
        Storage(str(path))
    assert list(contents(path)) == []


def test_a_history_in_memory_makes_no_file(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, opened: Callable[..., Storage]
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = opened(MEMORY), opened(MEMORY)
    first.commit(Batch([made(LAB, "#lab")], said([1, 2, 3])))
    assert numbers(first.page(LAB)) == [1, 2, 3]
    assert numbers(first.search("hello", None, None, 10)) == [1, 2, 3]
    assert second.count() == 0
    first.commit(Batch(rooms_ended=[LAB]))
    assert first.sweep(None) == (3, True)
    assert first.count() == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("sync", "level"), [("normal", 1), ("full", 2)])
def test_sync_sets_how_much_a_commit_waits_for(opened: Callable[..., Storage], sync: str, level: int) -> None:
    assert opened(sync=sync)._writer.execute("PRAGMA synchronous").fetchone() == (level,)


# --- migrations -----------------------------------------------------------------------------------------


def added(monkeypatch: pytest.MonkeyPatch, *statements: str) -> None:
    """Imitate a later version of chat_threads, which has one more migration."""
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, statements))
    monkeypatch.setattr(schema, "VERSION", VERSION + 1)


def test_an_older_history_is_brought_forward_once(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, opened: Callable[..., Storage]
) -> None:
    written(path, 3)
    added(monkeypatch, "ALTER TABLE rooms ADD COLUMN colour TEXT", "CREATE TABLE pins (message INTEGER)")
    for _ in range(2):  # CREATE TABLE would fail the second time
        storage = opened()
        assert numbers(storage.page(LAB)) == [1, 2, 3]
        assert [room.name for room in storage.rooms()] == ["#lab"]
        storage.close()
    assert sqlite(path, "PRAGMA user_version") == [(VERSION + 1,)]
    assert sqlite(path, "SELECT count(*) FROM pins") == [(0,)]


def test_a_new_history_goes_through_all_steps(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, opened: Callable[..., Storage]
) -> None:
    added(monkeypatch, "CREATE TABLE pins (message INTEGER)")
    opened().close()
    assert sqlite(path, "SELECT count(*) FROM pins, rooms") == [(0,)]


def test_a_step_that_fails_changes_nothing(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, opened: Callable[..., Storage]
) -> None:
    written(path, 3)
    with monkeypatch.context() as later:
        added(later, "CREATE TABLE pins (message INTEGER)", "CREATE TABLE rooms (message INTEGER)")
        with pytest.raises(StartError, match="rooms already exists"):
            Storage(str(path))
    assert sqlite(path, "PRAGMA user_version") == [(VERSION,)]
    assert sqlite(path, "SELECT name FROM sqlite_master WHERE name = 'pins'") == []
    assert numbers(opened().page(LAB)) == [1, 2, 3]


KILLED_BETWEEN_STEPS = """
import os, shutil, signal, sqlite3, sys
from chat_threads import schema

class Dying(sqlite3.Connection):
    left = 0

    def execute(self, *statement):
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
        return super().execute(*statement)

source, copies, number = sys.argv[1], sys.argv[2], 0
while True:
    copy = shutil.copy(source, f"{copies}/{number}.db")
    pid = os.fork()
    if not pid:
        connection = sqlite3.connect(copy, isolation_level=None, factory=Dying)
        connection.left = number
        schema.migrate(connection)
        os._exit(0)
    if os.waitpid(pid, 0)[1] == 0:
        break
    number += 1
print(number)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a kill at each step needs fork")
def test_a_history_of_version_7_survives_a_kill_before_any_statement_of_its_migration(
    path: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(schema, "MIGRATIONS", MIGRATIONS[:7])
        earlier.setattr(schema, "VERSION", 7)
        schema.create(str(path))
    rows = [(n, LAB, n, 1_000 * n, "ann", "say", f"hello {n}", 7) for n in range(1, 301)]
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO rooms VALUES (1, '#lab', '#lab', 'about', 'ann', 1000, 0, 7)")
        connection.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute("INSERT INTO tokens VALUES (7, 'ann', 1, 1)")
        connection.execute("INSERT INTO refs VALUES (7, 0, 1, 'ref', '#lab', 300)")
    copies = tmp_path / "copies"
    copies.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", KILLED_BETWEEN_STEPS, str(path), str(copies)], capture_output=True, text=True, check=True
    )
    statements = sum(3 + len(step) for step in MIGRATIONS[7:])  # BEGIN, COMMIT, and the number of the version
    assert int(done.stdout) == 1 + statements
    for copy in copies.glob("*.db"):
        storage = Storage(str(copy))
        with contextlib.closing(storage):
            assert numbers(storage.page(LAB, limit=500)) == list(range(1, 301))
            assert [room.owner for room in storage.rooms()] == [7]
            assert tokens_of(storage) == [(7, 1)]
        assert sqlite(copy, "PRAGMA user_version", "PRAGMA integrity_check")[-1] == ("ok",)
        assert sqlite(copy, "SELECT id, room, number, at, sender, kind, text, who FROM messages") == rows


def released(path: pathlib.Path, *statements: str) -> None:
    """Make a history as 1.0.0 did, and do something to it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        for statement in (*MIGRATIONS[0], *MIGRATIONS[1], "PRAGMA user_version = 2", *statements):
            connection.execute(statement)


def tokens_of(storage: Storage) -> list[tuple[int, int]]:
    """All tokens with whether they are kept longer, the one used first at the beginning."""
    return storage._read("SELECT id, kept FROM tokens ORDER BY used", ())


def test_the_tokens_of_an_older_history_are_older_than_any_new_one(
    path: pathlib.Path, opened: Callable[..., Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the clock said when they were used; and those under which something was said are kept longer."""
    future = 9_000_000_000_000
    released(
        path,
        f"INSERT INTO tokens VALUES (1, 'ann', {future}), (2, 'bob', {future + 1}), (3, 'cy', {future + 2})",
        "INSERT INTO refs VALUES (1, 0, 1, 'ref', '#lab', 1)",
    )
    storage = opened()
    storage.commit(Batch(tokens={4: TokenUsed(4, "dora")}))
    assert tokens_of(storage) == [(1, 1), (2, 0), (3, 0), (4, 0)]
    monkeypatch.setattr(once, "TOKENS", 2)
    assert not storage.sweep_tokens()
    assert tokens_of(storage) == [(1, 1), (4, 0)]


def test_tokens_are_forgotten_a_few_at_a_time_and_never_those_of_connected_clients(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once, "TOKENS", 4)
    monkeypatch.setattr(once, "SWEEP_TOKENS", 3)
    storage.commit(Batch(tokens={number: TokenUsed(number, "ann") for number in range(12)}))
    assert storage.sweep_tokens({0, 2})
    assert [token for token, _ in tokens_of(storage)] == [0, 2, 5, 6, 7, 8, 9, 10, 11]
    assert storage.sweep_tokens({0, 2})
    assert not storage.sweep_tokens({0, 2})
    assert [token for token, _ in tokens_of(storage)] == [0, 2, 10, 11]
    storage.commit(Batch(tokens={12: TokenUsed(12, "ann")}))
    assert not storage.sweep_tokens(set(range(13)))
    assert len(tokens_of(storage)) == 5
    with contextlib.closing(sqlite3.connect(storage.path)) as other, other:  # those of accounts do not count
        password = "1, 1, 1, x'00', x'00', 0"
        other.executemany(f"INSERT INTO accounts VALUES (?, ?, ?, 0, {password})", [(n, n, n) for n in (0, 2, 10)])
    assert not storage.sweep_tokens()
    assert len(tokens_of(storage)) == 5


def test_a_token_that_a_room_belongs_to_is_kept_longer_whichever_came_first(storage: Storage) -> None:
    storage.commit(Batch(tokens={number: TokenUsed(number, "ann") for number in (1, 2)}))
    rooms = [RoomMade(10 + owner, f"#{owner}", f"#{owner}", "", "ann", 0, owner=owner) for owner in (2, 3)]
    storage.commit(Batch(rooms))
    storage.commit(Batch(tokens={number: TokenUsed(number, "ann") for number in (3, 4)}))
    assert tokens_of(storage) == [(1, 0), (2, 1), (3, 1), (4, 0)]
    assert [room.owner for room in storage.rooms()] == [0, 0, 2, 3]


def test_the_rooms_of_an_older_history_belong_to_nobody(path: pathlib.Path, opened: Callable[..., Storage]) -> None:
    released(path, "INSERT INTO rooms VALUES (1, '#lab', '#lab', '', 'ann', 0, 0)")
    assert [(room.creator, room.owner) for room in opened().rooms()] == [("ann", 0)]


# --- committing -----------------------------------------------------------------------------------------


def test_a_committed_batch_is_in_the_files_though_nothing_was_closed(
    path: pathlib.Path, storage: Storage, tmp_path: pathlib.Path, opened: Callable[..., Storage]
) -> None:
    """A copy of the file and its log, made while the server runs, is what a kill leaves behind."""
    storage.commit(Batch(messages=said(range(1, 201)), topics={LAB: "graphs"}))
    killed = tmp_path / "killed.db"
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", f"{killed}{end}")
    after = opened(killed)
    assert numbers(after.page(LAB, limit=500)) == list(range(1, 201))
    assert {room.name: (room.topic, room.last) for room in after.rooms()} == {
        "#lab": ("graphs", 200),
        "#hall": ("about #hall", 0),
    }
    assert len(after.search("hello", None, None, 500)) == 200
    after.commit(Batch(messages=said([201])))
    assert numbers(after.page(LAB, limit=1)) == [201]


@pytest.mark.parametrize("count", [1, 2, 127, 128, 129, 512])
def test_a_batch_of_any_size_is_stored_whole_and_in_order(storage: Storage, count: int) -> None:
    messages = said(range(1, count + 1)) + said(range(1, 4), HALL)
    storage.commit(Batch(messages=messages))
    assert storage.page(LAB, limit=1000) == messages[:count]
    assert storage.page(HALL) == messages[count:]
    assert storage.count() == count + 3
    assert [room.last for room in storage.rooms()] == [count, 3]


def refusing(storage: Storage) -> Callable[[], None]:
    """Make the third message of a room impossible; returns what makes it possible again."""
    storage._writer.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON messages WHEN new.number = 3 BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    return lambda: storage._writer.execute("DROP TRIGGER refuse") and None


def test_a_batch_that_fails_in_the_middle_leaves_nothing_of_itself(storage: Storage) -> None:
    heal = refusing(storage)
    storage.commit(Batch(messages=said([1, 2], text="old {}")))
    batch = Batch([made(3, "#new")], said(range(1, 5), HALL), {LAB: "changed"}, [LAB])
    with pytest.raises(StorageError, match=r"^no$"):
        storage.commit(batch)
    assert [(room.name, room.topic, room.last) for room in storage.rooms()] == [
        ("#lab", "about #lab", 2),
        ("#hall", "about #hall", 0),
    ]
    assert storage.count() == 2
    assert indexed(storage, "hello") == 0
    assert storage.sweep(None) == (0, False)

    heal()
    storage.commit(batch)
    assert [(room.name, room.last) for room in storage.rooms()] == [("#hall", 4), ("#new", 0)]
    assert numbers(storage.page(HALL)) == [1, 2, 3, 4]
    index_all(storage)
    assert indexed(storage, "hello") == 4


def test_after_a_rollback_that_fails_nothing_is_written_any_more(storage: Storage) -> None:
    """Otherwise the next batch would continue the transaction."""

    class Stuck:
        in_transaction = True

        def execute(self, sql: str, values: object = ()) -> None:
            raise sqlite3.OperationalError("disk I/O error")

    writer = storage._writer
    storage._writer = Stuck()  # type: ignore[assignment]
    try:
        with pytest.raises(StorageBroken):
            storage.commit(Batch(messages=said([1])))
        storage._writer = writer
        with pytest.raises(StorageBroken):
            storage.commit(Batch(messages=said([1])))
    finally:
        storage._writer = writer


def test_a_full_disk_is_named_and_the_next_batch_may_fit(storage: Storage) -> None:
    pages = storage._writer.execute("PRAGMA page_count").fetchone()[0]
    storage._writer.execute(f"PRAGMA max_page_count = {pages}")
    batch = Batch(messages=said(range(1, 101), text="x" * 1000))
    for _ in range(2):
        with pytest.raises(StorageError, match=r"^disk full$"):
            storage.commit(batch)
    assert storage.count() == 0
    storage._writer.execute("PRAGMA max_page_count = 100000")
    storage.commit(batch)
    assert storage.count() == 100


def test_another_programs_lock_is_named_and_waited_for_only_so_long(
    path: pathlib.Path, opened: Callable[..., Storage]
) -> None:
    storage = opened(busy_timeout=0.02)
    storage.commit(Batch([made(LAB, "#lab")]))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="another program has locked the history"):
            storage.commit(Batch(messages=said([1])))
        with pytest.raises(StorageError, match="another program has locked the history"):
            storage.sweep(None)
        assert storage.page(LAB) == []  # reading goes on
        other.execute("ROLLBACK")
    storage.commit(Batch(messages=said([1])))
    assert numbers(storage.page(LAB)) == [1]


def test_sqlites_log_is_copied_into_the_file_before_it_is_long(path: pathlib.Path, storage: Storage) -> None:
    for number in range(1, 1201):
        storage.commit(Batch(messages=said([number])))
        storage.checkpoint()
    page = storage._writer.execute("PRAGMA page_size").fetchone()[0]
    assert pathlib.Path(f"{path}-wal").stat().st_size < 1.3 * CHECKPOINT * page
    shutil.copy(path, path.with_name("copy.db"))
    assert sqlite(path.with_name("copy.db"), "SELECT count(*) FROM messages")[0][0] > 600


def test_a_history_that_became_read_only_is_named(storage: Storage) -> None:
    storage._writer.execute("PRAGMA query_only = ON")
    with pytest.raises(StorageError, match="the history is read-only"):
        storage.commit(Batch(messages=said([1])))


def test_a_room_that_was_deleted_may_be_made_again_under_its_name(storage: Storage) -> None:
    storage.commit(Batch(messages=said([1, 2])))
    storage.commit(Batch(rooms_ended=[LAB]))
    storage.commit(Batch([made(3, "#lab")]))
    assert [room.name for room in storage.rooms()] == ["#hall", "#lab"]
    assert storage.page(LAB) == []
    assert storage.page(3) == []
    assert storage.search("hello", None, None, 10) == []


def test_a_deleted_rooms_id_is_not_given_again_while_its_messages_are_there(storage: Storage) -> None:
    storage.commit(Batch(messages=said([1], HALL)))
    storage.commit(Batch(rooms_ended=[HALL]))
    assert [room.id for room in storage.rooms()] == [LAB]
    assert storage.highest_room() == HALL


def test_a_reader_sees_whole_batches_only(storage: Storage) -> None:
    """Batches of 7, read by another thread all the while."""
    done = threading.Event()
    seen: list[int] = []

    def read() -> None:
        while not done.is_set():
            seen.append(len(storage.page(LAB, limit=1000)))

    reader = threading.Thread(target=read)
    reader.start()
    for first in range(1, 701, 7):
        storage.commit(Batch(messages=said(range(first, first + 7))))
    done.set()
    reader.join(WAIT)
    assert not reader.is_alive()
    assert seen == sorted(seen)
    assert {count % 7 for count in seen} == {0}


# --- paging ---------------------------------------------------------------------------------------------


@pytest.fixture
def paged(storage: Storage) -> Storage:
    """Numbers 1 to 30 in #lab, and some others between them."""
    for n in range(1, 31):
        storage.commit(Batch(messages=[*said([n]), *said([n], HALL, "there {}")]))
    return storage


@for_each(
    ("before", "after", "limit", "expected"),
    [
        (None, None, 5, range(26, 31)),
        (None, None, 100, range(1, 31)),
        (30, None, 5, range(25, 30)),
        (3, None, 5, range(1, 3)),
        (1, None, 5, range(0)),
        (0, None, 5, range(0)),
        (10**30, None, 2, range(29, 31)),
        (None, 0, 5, range(1, 6)),
        (None, 10, 5, range(11, 16)),
        (None, 28, 5, range(29, 31)),
        (None, 30, 5, range(0)),
        (None, 10**30, 5, range(0)),
    ],
)
def test_a_page_is_in_order_and_lies_where_it_was_asked_for(
    paged: Storage, before: int | None, after: int | None, limit: int, expected: range
) -> None:
    page = paged.page(LAB, before, after, limit)
    assert numbers(page) == list(expected)
    assert {message.room for message in page} <= {"#lab"}


def test_pages_one_after_the_other_have_everything_once(paged: Storage) -> None:
    forwards: list[int] = []
    while page := paged.page(LAB, after=forwards[-1] if forwards else 0, limit=7):
        forwards += numbers(page)
    backwards: list[int] = []
    while page := paged.page(LAB, before=backwards[0] if backwards else None, limit=7):
        backwards = numbers(page) + backwards
    assert forwards == backwards == list(range(1, 31))


def test_the_index_agrees_with_what_was_stored_in_many_batches(paged: Storage) -> None:
    index_all(paged)
    paged._writer.execute("INSERT INTO pieces (pieces) VALUES ('integrity-check')")
    assert (indexed(paged, "hello"), indexed(paged, "there")) == (30, 30)


@for_each(
    ("at", "number"), [(-(10**30), 0), (1_000, 0), (1_001, 1), (15_500, 15), (30_000, 29), (30_001, 30), (10**30, 30)]
)
def test_the_number_before_a_time_is_the_last_one_said_before_it(paged: Storage, at: int, number: int) -> None:
    assert paged.number_before(LAB, at) == number


def test_the_number_before_a_time_is_right_where_old_messages_are_gone(paged: Storage) -> None:
    paged.sweep(10_500)
    assert numbers(paged.page(LAB, after=0, limit=1)) == [11]
    assert [paged.number_before(LAB, at) for at in (0, 11_000, 11_001, 20_500)] == [10, 10, 11, 20]


def test_the_number_before_a_time_is_found_though_the_oldest_vanish_meanwhile(
    paged: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = paged._read

    def swept_after_the_first(sql: str, values: Any) -> list[tuple[Any, ...]]:
        rows = read(sql, values)
        paged.sweep(16_500)
        return rows

    monkeypatch.setattr(paged, "_read", swept_after_the_first)
    assert paged.number_before(LAB, 20_500) == 20
    assert paged.number_before(LAB, 5_500) == 16


def test_the_number_before_a_time_in_a_silent_room_is_none(storage: Storage) -> None:
    assert storage.number_before(LAB, 10**12) == 0


# --- searching ------------------------------------------------------------------------------------------


def test_a_search_finds_what_has_all_the_words_newest_kept_oldest_first(searched: Storage) -> None:
    searched.commit(Batch(messages=said(range(1, 10)) + said([10], text="Hello again") + said([11], text="again")))
    assert numbers(searched.search("again hello", None, None, 10)) == [10]
    assert numbers(searched.search("HELLO", None, None, 3)) == [8, 9, 10]
    assert searched.search("hello nowhere", None, None, 10) == []


def test_a_search_can_be_for_a_room_and_a_sender_in_any_case(searched: Storage) -> None:
    searched.commit(
        Batch(
            messages=[
                *said([1, 2]),
                *said([3], sender="Bob"),
                *said([1], HALL, sender="Bob"),
                *said([4], sender="Änne"),
            ]
        )
    )
    assert [(m.room, m.number) for m in searched.search("hello", None, "bOB", 10)] == [("#lab", 3), ("#hall", 1)]
    assert [(m.room, m.number) for m in searched.search("hello", HALL, None, 10)] == [("#hall", 1)]
    assert numbers(searched.search("hello", LAB, "ann", 10)) == [1, 2]
    assert numbers(searched.search("hello", None, "äNNE", 10)) == [4]


AWKWARD = [
    'she said "never" twice',
    "this AND that",
    "this OR that, NOT the other",
    "foo-bar",
    "50% of it",
    "500 of it",
    "snake_case",
    "snakeXcase",
    "don't; DROP TABLE messages",
    "NEAR(a b)",
    "text:colon",
    "c*d",
    "ends!",
]


WANTED = [
    ('"never"', [0]),
    ("AND", [1]),
    ("this AND that", [1]),
    ("OR NOT", [2]),
    ("foo-bar", [3]),
    ("-bar", [3]),
    ("50%", [4]),
    ("snake_case", [6]),
    ("don't;", [8]),
    ("DROP TABLE", [8]),
    ("NEAR(a", [9]),
    ("text:colon", [10]),
    ("c*d", [11]),
    ("ends!", [12]),
]


def test_search_words_are_never_a_query(searched: Storage) -> None:
    searched.commit(Batch(messages=[said([n], text=text)[0] for n, text in enumerate(AWKWARD)]))
    assert [(words, numbers(searched.search(words, None, None, 20))) for words, _ in WANTED] == WANTED


def test_no_search_words_are_an_error(searched: Storage) -> None:
    searched.commit(Batch(messages=said([1, 2])))
    for words in ['"', '""', "*", "-", "^", "{ }", "( )", "a AND (", "'", "%", "_", "!", "\\", ":", "+"]:
        assert searched.search(words, None, None, 20) == [], words


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_commit_that_fails_while_there_are_no_descriptors_left_is_not_the_last_one(
    opened: Callable[..., Storage],
) -> None:
    """The check whether it could come back after a kill reads SQLite's log, which is open already."""
    import resource

    storage = opened(busy_timeout=0.01)
    storage.commit(Batch([made(LAB, "#lab")]))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.closing(sqlite3.connect(storage.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="another program has locked the history"):
            storage.commit(Batch(messages=said([1])))
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        try:
            with pytest.raises(StorageError, match="another program has locked the history"):
                storage.commit(Batch(messages=said([1])))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    storage.commit(Batch(messages=said([1])))
    assert storage.count() == 1


# --- readers --------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="looks into /proc")
def test_readers_open_their_files_at_the_start(storage: Storage) -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = opened()
    with contextlib.ExitStack() as stack:
        for _ in range(reading.READERS):
            stack.enter_context(storage._borrow()).execute("SELECT count(*) FROM messages").fetchone()
        assert opened() == before


def test_readers_cannot_write(storage: Storage) -> None:
    with storage._borrow() as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM rooms")


def test_when_all_readers_are_lent_out_the_next_borrower_gets_an_error(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BORROW_TIMEOUT", 0.01)
    with contextlib.ExitStack() as lent:
        for _ in range(reading.READERS):
            lent.enter_context(storage._borrow())
        with pytest.raises(Unreadable, match="too many are reading it"):
            storage.page(LAB)
        storage.commit(Batch(messages=said([1])))  # the writer is not among them
    assert numbers(storage.page(LAB)) == [1]


def test_in_memory_a_batch_waits_for_the_reader_only_so_long(
    opened: Callable[..., Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BORROW_TIMEOUT", 0.01)
    storage = opened(MEMORY)
    with storage._borrow():
        with pytest.raises(StorageError, match="too many are reading it"):
            storage.commit(Batch([made(LAB, "#lab")]))
        with pytest.raises(StorageError, match="too many are reading it"):
            storage.sweep(None)
    storage.commit(Batch([made(LAB, "#lab")], said([1])))
    assert numbers(storage.page(LAB)) == [1]


def test_a_search_that_takes_too_long_is_stopped_with_an_error(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.commit(Batch(messages=said(range(1, 10_001))))
    with monkeypatch.context() as hasty:
        hasty.setattr(reading, "READ_TIMEOUT", -1.0)
        with pytest.raises(Unreadable, match="it took too long"):
            storage.search("nowhere", None, None, 10)
    for _ in range(reading.READERS):  # the connection is none the worse for it
        assert storage.search("nowhere", None, None, 10) == []


def test_reading_at_the_servers_start_has_no_time_limit(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.commit(Batch(messages=said(range(1, 10_001))))
    monkeypatch.setattr(reading, "READ_TIMEOUT", -1.0)
    assert storage.count() == 10_000
    assert [room.last for room in storage.rooms()] == [10_000, 0]
    assert storage.highest_room() == HALL
    assert storage.names() == [("ann", 0)]


@pytest.mark.parametrize("what", ["names", "rooms", "count", "highest_room"])
def test_a_history_that_cannot_be_read_at_the_start_is_refused_in_a_line(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def unreadable(_: Storage) -> None:
        raise Unreadable("disk I/O error")

    written(path)
    monkeypatch.setattr(Storage, what, unreadable)
    with pytest.raises(StartError, match="cannot be read now: disk I/O error"):
        Chat(Options(host="127.0.0.1", port=0, db=str(path)))
    monkeypatch.undo()
    with contextlib.closing(Storage(str(path))) as storage:
        assert storage.count() == 500


def test_in_memory_the_time_for_a_read_does_not_run_on_for_the_next_batch(
    opened: Callable[..., Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = opened(MEMORY)
    monkeypatch.setattr(reading, "READ_TIMEOUT", -1.0)
    with pytest.raises(Unreadable, match="it took too long"):
        storage.count_in(LAB)
    storage.commit(Batch([made(LAB, "#lab")], said(range(1, 5001))))
    monkeypatch.undo()
    assert storage.count() == 5000


def test_readers_get_an_error_when_a_history_breaks_while_open(storage: Storage) -> None:
    storage._writer.execute("DROP TABLE messages")
    with pytest.raises(Unreadable, match="no such table"):
        storage.page(LAB)


def test_many_threads_read_at_once(paged: Storage) -> None:
    """More than there are connections: they take turns, and nobody gets another's rows."""
    answers: queue.SimpleQueue[tuple[int, list[Message]]] = queue.SimpleQueue()

    def read(room: int) -> None:
        for _ in range(20):
            answers.put((room, paged.page(room, limit=30)))

    threads = [threading.Thread(target=read, args=(room,)) for room in (LAB, HALL) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert answers.qsize() == 160
    while not answers.empty():
        room, page = answers.get()
        assert {message.room_id for message in page} == {room}
        assert numbers(page) == list(range(1, 31))


# --- sweeping -------------------------------------------------------------------------------------------


def test_a_deleted_rooms_messages_go_in_slices_and_from_the_index_too(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SWEEP_ROWS", 10)
    storage.commit(Batch(messages=said(range(1, 26)) + said(range(1, 6), HALL)))
    index_all(storage)
    storage.commit(Batch(rooms_ended=[LAB]))
    assert (storage.count(), indexed(storage, "hello")) == (30, 30)
    assert [storage.sweep(None) for _ in range(3)] == [(0, True)] * 2 + [(10, True)]  # it is wiped first
    assert (storage.count(), indexed(storage, "hello")) == (20, 5)
    assert storage._read("SELECT trim(text), trim(sender) FROM messages WHERE room = ?", (LAB,)) == [("", "")] * 15
    assert storage.sweep(None) == (10, True)
    assert storage.sweep(None) == (5, True)
    assert storage.sweep(None) == (0, False)
    assert (storage.count(), indexed(storage, "hello")) == (5, 5)
    assert numbers(storage.page(HALL)) == [1, 2, 3, 4, 5]
    assert numbers(storage.search("hello", None, None, 50)) == [1, 2, 3, 4, 5]
    storage._writer.execute("INSERT INTO pieces (pieces) VALUES ('integrity-check')")


@pytest.mark.parametrize("before", range(3))
def test_a_sweep_goes_on_after_a_restart(
    opened: Callable[..., Storage], monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    monkeypatch.setattr(retention, "SWEEP_ROWS", 10)
    storage = opened()
    storage.commit(Batch([made(LAB, "#lab")], said(range(1, 16))))
    index_all(storage)
    storage.commit(Batch(rooms_ended=[LAB]))
    for _ in range(before):
        storage.sweep(None)
    storage.close()
    again = opened()
    assert again.highest_room() == LAB
    deleted, more = again.sweep(None)
    while again.count():
        gone, more = again.sweep(None)
        deleted += gone
    assert (deleted, more) == (15 if before < 2 else 5, True)
    assert again.sweep(None) == (0, False)
    assert indexed(again, "hello") == 0
    again._writer.execute("INSERT INTO pieces (pieces) VALUES ('integrity-check')")


def test_messages_that_are_too_old_go_in_slices_and_the_others_stay(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SWEEP_ROWS", 10)
    storage.commit(Batch(messages=said(range(1, 31))))
    index_all(storage)
    assert storage.sweep(25_000) == (10, True)
    assert storage.sweep(25_000) == (10, True)
    assert storage.sweep(25_000) == (4, False)
    assert storage.sweep(25_000) == (0, False)
    assert numbers(storage.page(LAB)) == list(range(25, 31))
    assert indexed(storage, "hello") == 6
    assert [room.last for room in storage.rooms()] == [30, 0]


def test_deleted_rooms_go_before_what_is_too_old(storage: Storage) -> None:
    storage.commit(Batch(messages=said([1, 2]) + said([1, 2, 3], HALL)))
    storage.commit(Batch(rooms_ended=[HALL]))
    assert storage.sweep(1_500) == (3, True)
    assert storage.sweep(1_500) == (1, False)
    assert numbers(storage.page(LAB)) == [2]


def test_nothing_is_swept_where_nothing_has_to_go(storage: Storage) -> None:
    storage.commit(Batch(messages=said([1, 2])))
    assert storage.sweep(None) == (0, False)
    assert storage.sweep(1_000) == (0, False)
    assert storage.count() == 2


def test_a_history_that_was_swept_empty_goes_on(opened: Callable[..., Storage]) -> None:
    storage = opened()
    storage.commit(Batch([made(LAB, "#lab")], said([1, 2, 3])))
    assert storage.sweep(10**12) == (3, False)
    storage.close()
    again = opened()
    again.commit(Batch(messages=said([4, 5])))
    assert numbers(again.page(LAB)) == [4, 5]
    assert numbers(again.search("hello", None, None, 10)) == [4, 5]
