"""Deleted data cannot be read in any file of the history: no texts, words, pieces, senders or topics."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import re
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.servers import Process
from support.waiting import WAIT, wait_for

from chat_threads import retention as module
from chat_threads import schema
from chat_threads.events import Message
from chat_threads.history import History
from chat_threads.ordered import Draft, Marker, RoomEnded, RoomMade, TopicSet
from chat_threads.storage import Batch, Storage
from chat_threads.storage_errors import StorageBroken, StorageError

pytestmark = pytest.mark.slow

# Letters of Ol Chiki, which have no case and are in nothing that stays. The index may keep a term as what differs from
# the one before it, so a single letter is looked for.
LETTERS = [chr(code) for code in range(0x1C5A, 0x1C7D)]
SECRET = re.compile("|".join(LETTERS).encode())
ROOMS = range(1, 21)
SECRET_ROOMS = ROOMS[::2]


def rare(chance: random.Random, least: int = 3) -> str:
    return "".join(chance.choices(LETTERS, k=chance.randint(least, 9)))


def plain(chance: random.Random) -> str:
    return "".join(chance.choices("abcdefghij", k=chance.randint(2, 8)))


def readable(path: pathlib.Path) -> dict[str, int]:
    """In which files something secret can be read, and how many letters of it."""
    found = {}
    for each in path.parent.iterdir():
        # Another process reads it: this one would lose SQLite's locks on the file by closing it.
        copy = subprocess.run(["cat", str(each)], capture_output=True, check=False)
        found[each.name] = len(SECRET.findall(copy.stdout))
    return {name: count for name, count in found.items() if count}


def talk(storage: Storage, seed: int, count: int = 1500, rooms: range = ROOMS, old: int = 0) -> None:
    """Fill a history: in every second room secrets are said, among what is said in the others."""
    chance = random.Random(seed)
    numbers = dict.fromkeys(rooms, 0)
    made = [
        RoomMade(room, f"#r{room}", f"#r{room}", rare(chance) if room in SECRET_ROOMS else "", "ann", 0)
        for room in rooms
    ]
    storage.commit(Batch(made))
    said = 0
    while said < count:
        batch = Batch()
        for _ in range(chance.randint(1, 60)):
            room = chance.choice(rooms)
            secret = room in SECRET_ROOMS or said < old
            numbers[room] += 1
            said += 1
            word = rare if secret else plain
            text = " ".join(word(chance) for _ in range(chance.choice([1, 3, 10, 10, 60, 200])))[:2000]
            sender = rare(chance)[:5] if secret else "bob"
            batch.messages.append(Message(room, f"#r{room}", numbers[room], said, sender, "say", text))
        if chance.random() < 0.3:
            room = chance.choice(rooms)
            batch.topics[room] = rare(chance, 9) * chance.randint(1, 9) if room in SECRET_ROOMS else plain(chance)
        storage.commit(batch)
        if storage.unindexed and chance.random() < 0.3:
            storage.index()
        storage.checkpoint()
    while storage.unindexed:
        storage.index()


def sweep(storage: Storage, older_than: int | None = None) -> None:
    while storage.sweep(older_than)[1]:
        storage.checkpoint()


def purge(storage: Storage) -> int:
    """As the history thread does it; how many steps it took."""
    steps = 1
    while storage.purge() is not None:
        steps += 1
        storage.checkpoint()
    assert not storage.remains
    return steps


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "chat.db"


@pytest.fixture
def storage(path: pathlib.Path) -> Iterator[Storage]:
    storage = Storage(str(path))
    yield storage
    with contextlib.suppress(sqlite3.ProgrammingError):  # the test has closed it
        storage.close()


# --- the files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_nothing_of_deleted_rooms_can_be_read_in_any_file(storage: Storage, path: pathlib.Path, seed: int) -> None:
    talk(storage, seed)
    kept = [storage.page(room, limit=2000) for room in ROOMS if room not in SECRET_ROOMS]
    assert readable(path)
    for room in SECRET_ROOMS:  # one after the other, so that deleting one moves what is said in the others
        storage.commit(Batch(rooms_ended=[room]))
        sweep(storage)
    assert storage.remains
    purge(storage)
    assert readable(path) == {}
    assert [storage.page(room, limit=2000) for room in ROOMS if room not in SECRET_ROOMS] == kept
    storage._writer.execute("INSERT INTO pieces (pieces) VALUES ('integrity-check')")
    assert storage._writer.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(storage.search(kept[0][-1].text.split()[0], None, None, 2000)) >= 1


def test_nothing_of_a_deleted_room_in_which_nothing_was_said_can_be_read(storage: Storage, path: pathlib.Path) -> None:
    chance = random.Random(1)
    storage.commit(Batch([RoomMade(1, f"#{rare(chance)}", rare(chance), rare(chance), rare(chance), 0)]))
    storage.commit(Batch(topics={1: rare(chance) * 9}))
    storage.commit(Batch(topics={1: rare(chance)}))
    storage.commit(Batch(rooms_ended=[1]))
    sweep(storage)
    purge(storage)
    assert readable(path) == {}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("compact", [True, False])
def test_nothing_of_messages_that_were_removed_can_be_read_in_any_file(
    storage: Storage, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, compact: bool, seed: int
) -> None:
    """One by one, among what stays, also in a file that is too long to rewrite."""
    if not compact:
        monkeypatch.setattr(module, "MAX_COMPACT", 0)
    chance = random.Random(seed)
    talk(storage, seed, rooms=range(2, 21, 2))
    last = storage.page(2)[-1].number
    secret = set()
    for number in range(last + 1, last + 201):
        word = chance.choice((rare, plain))
        text = " ".join(word(chance) for _ in range(chance.choice([1, 3, 10, 60, 200])))[:2000]
        storage.commit(Batch(messages=[Message(2, "#r2", number, 9999, "bob", "say", text)]))
        secret |= {number} if word is rare else set()
        if chance.random() < 0.3:
            storage.index()
    kept = [message for message in storage.page(2, limit=2000) if message.number not in secret]
    for number in chance.sample(sorted(secret), len(secret)):
        storage.commit(Batch(redacted=[(2, number)]))
        if chance.random() < 0.3 and storage.unindexed:
            storage.index()
    purge(storage)
    assert readable(path) == {}
    assert [message for message in storage.page(2, limit=2000) if message.kind != "removed"] == kept
    storage._writer.execute("INSERT INTO pieces (pieces) VALUES ('integrity-check')")
    assert storage._writer.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("fts5", [True, False])
@pytest.mark.parametrize("compact", [True, False])
def test_nothing_of_what_was_too_old_can_be_read_in_any_file(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, compact: bool, fts5: bool
) -> None:
    """Also in a file that is too long to rewrite, and where SQLite has no FTS5."""
    if not compact:
        monkeypatch.setattr(module, "MAX_COMPACT", 0)
    with contextlib.closing(Storage(str(path))) as storage:
        storage._index.usable = fts5
        talk(storage, 7, rooms=range(2, 21, 2), old=1000)
        sweep(storage, 1001)
        purge(storage)
        assert readable(path) == {}
        assert storage.count() > 0


@pytest.mark.parametrize("seed", range(4))
def test_nothing_of_a_deleted_room_can_be_read_in_a_file_that_is_too_long_to_rewrite(
    storage: Storage, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(module, "MAX_COMPACT", 0)
    monkeypatch.setattr(module, "SWEEP_ROWS", 20)
    talk(storage, seed, rooms=range(1, 7, 5))
    storage.commit(Batch(rooms_ended=[1]))
    sweep(storage)
    purge(storage)
    assert readable(path) == {}


def test_an_sqlite_that_does_not_overwrite_what_it_deletes_is_told_to(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def careless(*args: Any, **more: Any) -> sqlite3.Connection:
        """Connect as an SQLite without SECURE_DELETE does."""
        connection = connect(*args, **more)
        connection.execute("PRAGMA secure_delete = OFF")
        return connection

    monkeypatch.setattr(schema.sqlite3, "connect", careless)
    monkeypatch.setattr(module, "MAX_COMPACT", 0)
    with contextlib.closing(Storage(str(path))) as storage:
        talk(storage, 1, rooms=range(1, 7, 5))
        storage.commit(Batch(rooms_ended=[1]))
        sweep(storage)
        purge(storage)
        assert readable(path) == {}


def test_an_older_history_is_purged_once(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older version, without purges, left deleted data in its files."""
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:3])
    schema.create(str(path))
    with contextlib.closing(sqlite3.connect(path)) as old, old:
        old.execute("PRAGMA secure_delete = OFF")
        old.execute("INSERT INTO rooms VALUES (1, '#lab', '#lab', '', 'ann', 0, 0, 0)")
        chance = random.Random(1)
        rows = [(1, number, number, "ann", "say", rare(chance) * 20) for number in range(1, 200)]
        old.executemany("INSERT INTO messages (room, number, at, sender, kind, text) VALUES (?, ?, ?, ?, ?, ?)", rows)
        old.commit()
        old.execute("DELETE FROM messages")
    assert readable(path)
    monkeypatch.undo()
    with contextlib.closing(Storage(str(path))) as storage:
        assert storage.remains
        purge(storage)
        assert readable(path) == {}
    with contextlib.closing(Storage(str(path))) as storage:
        assert not storage.remains


# --- in steps -------------------------------------------------------------------------------------------


def test_somebody_who_reads_holds_up_nobody_and_the_purge_ends_afterwards(storage: Storage, path: pathlib.Path) -> None:
    talk(storage, 1, 300)
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchone()
        storage.commit(Batch(rooms_ended=list(SECRET_ROOMS)))
        sweep(storage)
        pauses = [storage.purge() for _ in range(100)]
        assert pauses[-10:] == [module.READER_PAUSE] * 10
        assert storage.remains
        assert storage._writer.execute("PRAGMA busy_timeout").fetchone()[0] > 0
    purge(storage)
    assert readable(path) == {}


@contextlib.contextmanager
def reading(path: pathlib.Path) -> Iterator[None]:
    """Another program reads the history as it is now."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchone()
        yield


def killed(path: pathlib.Path, copy: pathlib.Path) -> Storage:
    """Open a copy of the history, as a start after a kill finds it."""
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", f"{copy}{end}")
    return Storage(str(copy))


@pytest.mark.parametrize("who", ["the purge", "another program"])
@pytest.mark.parametrize("seed", range(3))
def test_a_file_that_was_rewritten_while_others_read_is_still_the_one_that_was_opened(
    storage: Storage, path: pathlib.Path, tmp_path_factory: pytest.TempPathFactory, seed: int, who: str
) -> None:
    """SQLite copies a part of its log only, and not the page with the mark, which has moved."""
    talk(storage, seed, 300)
    storage._fold(storage._writer)
    with contextlib.ExitStack() as readers:
        readers.enter_context(reading(path))
        storage.commit(Batch(rooms_ended=list(SECRET_ROOMS)))
        sweep(storage)
        if who == "the purge":
            while storage.purge() != module.READER_PAUSE:
                pass
        else:
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("VACUUM")
        storage.commit(Batch(topics={10: "before"}))
        second = contextlib.ExitStack()
        second.enter_context(reading(path))
        readers.close()
        for number in range(3):
            storage._fold(storage._writer)
            storage.commit(Batch(topics={10: f"stored {number}"}))
            with contextlib.closing(killed(path, tmp_path_factory.mktemp("killed") / "chat.db")) as again:
                assert again.count() == storage.count()
        second.close()
    purge(storage)
    assert readable(path) == {}
    storage._fold(storage._writer)
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(StorageBroken):
        storage.commit(Batch(topics={10: "too late"}))


@pytest.mark.parametrize("fault", ["truncated", "renamed", "copied over"])
def test_while_the_mark_has_moved_other_faults_of_the_file_are_noticed(
    storage: Storage, path: pathlib.Path, fault: str
) -> None:
    talk(storage, 1, 300)
    shutil.copy(path, path.with_name("older.db"))
    storage._fold(storage._writer)
    with contextlib.ExitStack() as readers:
        readers.enter_context(reading(path))
        storage.commit(Batch(rooms_ended=list(SECRET_ROOMS)))
        sweep(storage)
        while storage.purge() != module.READER_PAUSE:
            pass
        with reading(path):
            readers.close()
            storage._fold(storage._writer)
    if fault == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    elif fault == "renamed":
        path.rename(path.with_name("other.db"))
    else:
        shutil.copyfile(path.with_name("older.db"), path)
    with pytest.raises(StorageBroken):
        storage.commit(Batch(topics={10: "too late"}))


def test_messages_deleted_during_a_purge_are_purged_too(storage: Storage, path: pathlib.Path) -> None:
    talk(storage, 2, 600)
    rooms = list(SECRET_ROOMS)
    while rooms:
        storage.commit(Batch(rooms_ended=[rooms.pop()]))
        sweep(storage)
        for _ in range(len(rooms)):  # a step further each time, the last one included
            storage.purge()
    purge(storage)
    assert readable(path) == {}


def test_a_history_that_was_closed_or_killed_before_its_purge_is_purged_later(
    storage: Storage, path: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    talk(storage, 3, 600)
    storage.commit(Batch(rooms_ended=list(SECRET_ROOMS)))
    storage.sweep(None)
    killed = tmp_path / "killed" / "chat.db"
    killed.parent.mkdir()
    for each in path.parent.glob("chat.db*"):
        if each.suffix != ".lock":
            subprocess.run(["cp", str(each), str(killed.parent)], check=True)
    storage.close()
    for db in (path, killed):
        with contextlib.closing(Storage(str(db))) as again:
            assert again.remains
            sweep(again)
            purge(again)
            assert readable(db) == {}


def test_a_file_that_could_not_be_rewritten_is_rewritten_in_the_next_step(storage: Storage, path: pathlib.Path) -> None:
    """Another program holds the lock."""
    talk(storage, 5, 300)
    storage._writer.execute("PRAGMA busy_timeout = 0")
    storage._index.usable = False  # so that this is the first step
    storage.commit(Batch(rooms_ended=list(SECRET_ROOMS)))
    sweep(storage)
    asked: list[str] = []
    storage._writer.set_trace_callback(asked.append)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            with pytest.raises(StorageError):
                storage.purge()
    assert storage.remains
    purge(storage)
    assert asked.count("VACUUM") == 3


def test_a_step_of_a_purge_that_copies_nothing_does_not_allow_the_log_to_start_again(
    storage: Storage, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a log that is overwritten after it would not be noticed."""
    monkeypatch.setattr(module, "MERGE_PAGES", 10)
    talk(storage, 4)
    storage.commit(Batch(rooms_ended=[1]))
    sweep(storage)
    assert storage._files
    copies: list[int] = []
    monkeypatch.setattr(storage._files, "copied", lambda: copies.append(1))
    assert storage.purge() == module.PURGE_PAUSE
    assert copies == []


def test_an_index_is_rewritten_in_small_steps(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MERGE_PAGES", 10)
    talk(storage, 4)
    storage.commit(Batch(rooms_ended=[1]))
    sweep(storage)
    assert purge(storage) > 10


# --- the history thread ---------------------------------------------------------------------------------


class Purged(Storage):
    """Notes its purges, which can be made to fail."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.failing: StorageError | None = None
        self.tried = threading.Event()
        self.done: list[float] = []

    def purge(self) -> float | None:
        self.tried.set()
        if self.failing:
            raise self.failing
        pause = super().purge()
        if pause is None:
            self.done.append(time.monotonic())
        return pause


@pytest.fixture
def house(path: pathlib.Path) -> Iterator[tuple[Purged, History]]:
    store = Purged(str(path))
    history = History(store)
    history.start(lambda batch: None, lambda item, error: None)
    yield store, history
    assert history.stop(WAIT)
    store.close()


def said_and_deleted(history: History, room: int) -> None:
    chance = random.Random(room)
    history.submit(RoomMade(room, f"#room{room}", f"#room{room}", "", "ann", 0))
    for _ in range(20):
        history.submit(Draft(room, f"#room{room}", "ann", "say", rare(chance) * 20, None))
    history.submit(TopicSet(room, "ann", rare(chance), None))
    history.submit(RoomEnded(room, "ann", None))
    assert history.settle(WAIT)


def do_what_is_due(history: History) -> None:
    """Wake the history thread, and wait until it has done a step of what is due. ``settle`` wakes no idle thread."""
    marker = Marker()
    history.submit(marker)
    assert marker.passed.wait(WAIT)


def test_a_deleted_room_is_purged_at_once_and_the_next_ones_when_that_has_had_its_rest(
    house: tuple[Purged, History], path: pathlib.Path
) -> None:
    store, history = house
    said_and_deleted(history, 1)
    wait_for(lambda: store.done, "the first purge")
    do_what_is_due(history)  # the history thread has noted when the next one may begin
    assert readable(path) == {}
    history._upkeep.purge_again += 3600
    for room in range(2, 6):
        said_and_deleted(history, room)
    wait_for(lambda: store.count() == 0 and not history._upkeep.passing, "the sweep")
    do_what_is_due(history)
    assert len(store.done) == 1
    assert history._upkeep.purging.at == history._upkeep.purge_again
    history._upkeep.purge_again = history._upkeep.purging.at = 0.0
    do_what_is_due(history)
    wait_for(lambda: len(store.done) == 2, "the second purge")
    assert readable(path) == {}


def test_a_sweep_that_fails_is_no_end_of_the_purge(house: tuple[Purged, History], path: pathlib.Path) -> None:
    store, history = house
    store.failing = StorageError("disk full")
    said_and_deleted(history, 1)
    wait_for(lambda: store.count() == 0 and not history._upkeep.passing, "the sweep")
    store._writer.execute("CREATE TEMP TRIGGER full BEFORE DELETE ON doomed BEGIN SELECT RAISE(ABORT, 'full'); END")
    said_and_deleted(history, 2)
    history._upkeep.sweeping.at = 0.0
    do_what_is_due(history)
    store._writer.execute("DROP TRIGGER full")
    store.failing = None
    history._upkeep.sweeping.at = 0.0
    do_what_is_due(history)
    wait_for(lambda: store.done, "the purge")
    assert readable(path) == {}


def test_a_purge_that_fails_is_logged_and_tried_again(
    house: tuple[Purged, History], path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, history = house
    store.failing = StorageError("disk full")
    said_and_deleted(history, 1)
    assert store.tried.wait(WAIT)
    do_what_is_due(history)  # the purge that was tried is over then
    assert "what was deleted may still be readable in the file: disk full" in caplog.text
    assert history._upkeep.purging.at is not None
    store.failing = None
    history._upkeep.purging.at = 0.0
    do_what_is_due(history)
    wait_for(lambda: store.done, "the purge")
    assert readable(path) == {}


# --- a real server --------------------------------------------------------------------------------------


def test_nothing_of_a_deleted_room_can_be_read_while_the_server_runs_and_afterwards(
    start_process: Callable[..., Process], path: pathlib.Path
) -> None:
    chance = random.Random(5)
    process = start_process("--rate", "0")
    with process.client("ann") as ann, process.client("bob") as bob:
        ann.ask(f"/create #lab {rare(chance)}!")
        for _ in range(50):
            ann.ask(" ".join(rare(chance) for _ in range(9)))
            bob.ask("stays")
        ann.ask(f"/topic {rare(chance, 9)}")
        ann.ask("/topic graphs")
        for line in (f"/report bob {rare(chance)}", f"/ban zed {rare(chance)}", f"/mute bob {rare(chance)}"):
            ann.ask(line)
        assert readable(path)
        ann.ask("/delete #lab yes")
        wait_for(lambda: not readable(path), "all of it is gone")
        assert len([line for line in bob.ask("/search stays") if "bob: stays" in line]) == 50
    assert process.stop() == 0
    assert readable(path) == {}
    assert "deleted 50 messages of deleted rooms" in process.errors
    assert "what was deleted can no longer be read in the history's files" in process.errors


def test_nothing_of_a_message_that_was_removed_can_be_read_while_the_server_runs_and_afterwards(
    start_process: Callable[..., Process], path: pathlib.Path
) -> None:
    chance = random.Random(6)
    process = start_process("--rate", "0")
    with process.client("ann") as ann:
        ann.ask("/join #lab")
        for number in range(1, 61):  # texts with pages of their own, too
            ann.ask(" ".join(rare(chance) for _ in range(chance.choice((1, 9, 190)))) if number % 2 else "stays")
        assert readable(path)
        for number in range(1, 61, 2):
            ann.ask(f"/redact {number}")
        wait_for(lambda: not readable(path), "all of it is gone")
        assert len([line for line in ann.ask("/history 200") if "ann: stays" in line]) == 30
        assert len([line for line in ann.ask("/search stays") if "ann: stays" in line]) == 30
    assert process.stop() == 0
    assert readable(path) == {}


@pytest.mark.timeout(600)
@pytest.mark.stress
def test_while_two_hundred_thousand_messages_are_deleted_and_purged_nobody_waits_for_a_second(
    path: pathlib.Path,
) -> None:
    chance = random.Random(1)
    words = [plain(chance) + plain(chance) for _ in range(5000)]
    store = Purged(str(path))
    store.commit(Batch([RoomMade(1, "#room1", "#room1", "", "ann", 0), RoomMade(2, "#room2", "#room2", "", "ann", 0)]))
    for first in range(1, 200_001, 1000):
        texts = [" ".join(chance.choices(words, k=10)) for _ in range(1000)]
        numbered = enumerate(texts, first)
        store.commit(
            Batch(
                messages=[Message(number % 2 + 1, "", number, number, "ann", "say", text) for number, text in numbered]
            )
        )
        store.checkpoint()
    while store.unindexed:
        store.index()
        store.checkpoint()
    history = History(store)
    history.start(lambda batch: None, lambda item, error: None)
    history.submit(RoomEnded(1, "ann", None))
    longest = 0.0
    while not store.done:
        began = time.monotonic()
        history.submit(Draft(2, "#room2", "ann", "say", "meanwhile", None))
        assert history.settle(WAIT)
        longest = max(longest, time.monotonic() - began)
    assert history.stop(WAIT)
    store.close()
    assert longest < 1.0
