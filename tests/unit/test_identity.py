"""SQLite's log belongs to one file. Beside another file, such as a backup, nothing is opened or changed."""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from support.wellness import check_history

from chat_threads import identity, schema
from chat_threads import storage as module
from chat_threads.batch import Batch
from chat_threads.errors import StartError
from chat_threads.events import Message
from chat_threads.ordered import RoomMade
from chat_threads.storage import Storage

pytestmark = pytest.mark.slow

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"
ENDS = ("", "-wal", "-shm")


class House:
    """A history that is written to, copied, killed and opened again."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.path = folder / "chat.db"
        self.open()
        self.storage.commit(Batch([RoomMade(1, "#lab", "#lab", "", "ann", 0)]))
        self.said = 0

    def open(self) -> None:
        self.storage = Storage(str(self.path))

    def say(self, count: int = 1) -> None:
        """Each in a commit of its own, of different lengths, so that pages are used differently."""
        for number in range(self.said + 1, self.said + count + 1):
            text = f"text {number} " + "x" * (number * 37 % 900)
            self.storage.commit(Batch(messages=[Message(1, "#lab", number, number, "ann", "say", text)]))
            self.storage.checkpoint()
        self.said += count

    def copy(self, name: str) -> pathlib.Path:
        """Make a backup of the present files."""
        copy = self.path.with_name(name)
        command = [sys.executable, SCRIPTS / "backup.py", self.path, copy]
        subprocess.run(command, capture_output=True, check=True)
        return copy

    def kill(self) -> None:
        """As ``kill -9`` does: the files stay as they are."""
        with contextlib.ExitStack() as stack:
            for end in ENDS:
                shutil.copy(f"{self.path}{end}", f"{self.path}{end}.left")
            stack.callback(lambda: [os.replace(f"{self.path}{end}.left", f"{self.path}{end}") for end in ENDS])
            self.storage.close()

    def messages(self) -> int:
        return self.storage.count()


@pytest.fixture
def house(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """SQLite's log is copied into the file every ten messages."""
    monkeypatch.setattr(module, "CHECKPOINT", 20)
    folder = tmp_path / "house"
    folder.mkdir()
    house = House(folder)
    yield house
    with contextlib.suppress(sqlite3.ProgrammingError):
        house.storage.close()


def contents(path: pathlib.Path) -> dict[str, bytes]:
    return {end: pathlib.Path(f"{path}{end}").read_bytes() for end in ("", "-wal")}


# --- what must be refused -------------------------------------------------------------------------------


def an_early_backup(house: House) -> pathlib.Path:
    house.say(25)
    copy = house.copy("copy.db")
    house.say(40)
    return copy


def a_backup_of_an_earlier_run(house: House) -> pathlib.Path:
    house.say(5)
    copy = house.copy("copy.db")
    house.say(3)
    house.storage.close()
    house.open()
    house.say(7)
    return copy


def a_copy_of_a_file_that_was_closed(house: House) -> pathlib.Path:
    """By cp, while no server ran."""
    house.say(25)
    house.storage.close()
    copy = house.path.with_name("copy.db")
    shutil.copy(house.path, copy)
    house.open()
    house.say(40)
    return copy


def a_copy_of_the_file_alone(house: House) -> pathlib.Path:
    """By cp, while the server ran."""
    house.say(25)
    copy = house.path.with_name("copy.db")
    shutil.copy(house.path, copy)
    house.say(40)
    return copy


def another_history(house: House) -> pathlib.Path:
    folder = house.path.parent.with_name("other")
    folder.mkdir()
    other = House(folder)
    other.say(25)
    other.storage.close()
    house.say(25)
    return other.path


def a_new_history(house: House) -> pathlib.Path:
    folder = house.path.parent.with_name("other")
    folder.mkdir()
    path = folder / "chat.db"
    Storage(str(path)).close()
    house.say(3)
    return path


def one_from_before_there_were_marks(house: House) -> pathlib.Path:
    house.say(25)
    copy = house.copy("copy.db")
    with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as file:
        for statement in itertools.chain(*schema.MIGRATIONS[5:]):
            if made := re.match(r"CREATE TABLE (\w+)", statement):
                file.execute(f"DROP TABLE {made[1]}")
        file.execute("PRAGMA user_version = 5")
        file.execute("PRAGMA journal_mode = DELETE")
    return copy


STRANGE = [
    an_early_backup,
    a_backup_of_an_earlier_run,
    a_copy_of_a_file_that_was_closed,
    a_copy_of_the_file_alone,
    another_history,
    a_new_history,
    one_from_before_there_were_marks,
]


@pytest.mark.parametrize("make", STRANGE, ids=[make.__name__ for make in STRANGE])
@pytest.mark.parametrize("placed", ["cp", "mv"])
def test_a_log_that_belongs_to_another_file_is_refused_and_both_are_left_as_they_are(
    house: House, make: Callable[[House], pathlib.Path], placed: str
) -> None:
    strange = make(house)
    house.kill()
    (shutil.copyfile if placed == "cp" else os.replace)(strange, house.path)
    before = contents(house.path)
    with pytest.raises(StartError) as refused:
        house.open()
    assert f"is not the file that SQLite's log {house.path}-wal belongs to" in refused.value.text
    assert f"move {house.path}-wal away" in refused.value.text
    assert "\n" not in refused.value.text
    assert contents(house.path) == before
    os.rename(f"{house.path}-wal", f"{house.path}-wal.away")
    house.open()  # the strange one, as it is
    house.storage.close()
    check_history(house.path)


@pytest.mark.parametrize("between", [0, 1, 5, 9, 10, 11, 25, 60])
def test_a_copy_of_the_file_and_then_of_its_log_is_whole_or_refused_whatever_was_said_in_between(
    house: House, tmp_path: pathlib.Path, between: int
) -> None:
    """By cp, while the server ran."""
    house.say(25)
    for number in range(12):
        copy = tmp_path / f"copy{number}.db"
        shutil.copy(house.path, copy)
        house.say(between)
        shutil.copy(f"{house.path}-wal", f"{copy}-wal")
        with contextlib.suppress(StartError):
            storage = Storage(str(copy))
            assert storage.count() == house.said
            storage.close()
            check_history(copy)
        house.say(3)


# --- what must not be refused ---------------------------------------------------------------------------


def test_a_history_that_was_killed_at_any_moment_is_never_refused(house: House) -> None:
    chance = random.Random(7)
    for _ in range(30):
        house.say(chance.randrange(25))
        if chance.random() < 0.2:
            house.storage.close()
        else:
            house.kill()
        house.open()
        assert house.messages() == house.said
    house.storage.close()
    check_history(house.path)


def test_a_history_that_was_killed_while_another_program_read_is_not_refused(house: House) -> None:
    """SQLite's log is copied only in part, or not started again."""
    for _ in range(5):
        house.say(5)
        with contextlib.closing(sqlite3.connect(house.path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM messages").fetchone()
            house.say(25)
        house.say(3)
        house.kill()
        house.open()
        assert house.messages() == house.said


def test_a_history_that_was_killed_and_copied_with_its_log_is_opened_there(
    house: House, tmp_path: pathlib.Path
) -> None:
    house.say(33)
    house.kill()
    for end in ("", "-wal"):
        shutil.copy(f"{house.path}{end}", f"{tmp_path / 'moved.db'}{end}")
    storage = Storage(str(tmp_path / "moved.db"))
    assert storage.count() == 33
    storage.close()


def test_a_backup_made_while_the_log_was_in_use_gets_all_that_is_in_the_log(house: House) -> None:
    house.say(21)
    copy = house.copy("copy.db")  # the log is copied only after more of them
    house.say(4)
    house.kill()
    os.replace(copy, house.path)
    house.open()
    assert house.messages() == 25
    house.storage.close()
    check_history(house.path)


def test_a_full_disk_or_a_locked_history_does_without_a_new_mark(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(connection: sqlite3.Connection, mark: bytes) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(identity, "renew", full)
        house.say(33)
        house.kill()
        house.open()
        house.say(33)
        house.kill()
    house.open()
    assert house.messages() == 66


@pytest.mark.parametrize("held", [None, -5, "text", b"a piece of the index", b""])
def test_a_file_with_something_else_in_the_place_of_its_mark_is_not_called_another_one(
    house: House, held: object
) -> None:
    """Until SQLite has copied all of its log, any page may be there."""
    house.say(25)
    house.kill()
    log = pathlib.Path(f"{house.path}-wal")
    log.rename(log.with_name("kept"))
    with contextlib.closing(sqlite3.connect(house.path, isolation_level=None)) as file:
        if held is None:
            file.execute("DELETE FROM identity")
        else:
            file.execute("UPDATE identity SET mark = ?", (held,))
    log.with_name("kept").rename(log)
    identity.refuse_strange_log(str(house.path))


@pytest.mark.parametrize("statement", ["DELETE FROM identity", "DROP TABLE identity"])
def test_a_history_without_a_mark_is_refused_in_a_line(house: House, statement: str) -> None:
    house.storage.close()
    with contextlib.closing(sqlite3.connect(house.path, isolation_level=None)) as file:
        file.execute(statement)
    with pytest.raises(StartError, match="cannot be opened: "):
        house.open()


@pytest.mark.parametrize("damage", ["empty", "half a header", "another salt", "a wrong sum", "zeros"])
def test_a_log_that_sqlite_does_not_apply_is_no_reason_to_refuse(house: House, damage: str) -> None:
    copy = an_early_backup(house)
    house.kill()
    os.replace(copy, house.path)
    log = pathlib.Path(f"{house.path}-wal")
    data = bytearray(log.read_bytes())
    if damage == "empty":
        data = bytearray()
    elif damage == "half a header":
        del data[20:]
    elif damage == "another salt":
        data[16:24] = bytes(8)
    elif damage == "a wrong sum":
        data[24:32] = bytes(8)
    else:
        data[:] = bytes(len(data))
    log.write_bytes(data)
    house.open()
    assert house.messages() == 25


def test_the_mark_of_the_schema_is_one_that_is_found(tmp_path: pathlib.Path) -> None:
    schema.create(str(tmp_path / "new.db"))
    with contextlib.closing(sqlite3.connect(tmp_path / "new.db")) as file:
        page = (tmp_path / "new.db").read_bytes()[(identity.root(file) - 1) * 4096 :][:4096]
        mark = file.execute("SELECT mark FROM identity").fetchone()[0]
    assert identity.found_in(page) == (mark[len(identity.MAGIC) :], identity.NONE)
