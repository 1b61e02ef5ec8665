"""The programs in scripts/, as a user runs them."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator

import bot
import pytest
from support.servers import STREAMS, free_port, started_with
from support.waiting import WAIT

from chat_threads.batch import Batch
from chat_threads.client import Client, TimedOut
from chat_threads.events import Message
from chat_threads.ordered import RoomMade
from chat_threads.storage import Storage
from chat_threads.storage_errors import StorageError

pytestmark = pytest.mark.slow

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"


def backup(*paths: pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPTS / "backup.py", *paths], capture_output=True, text=True, check=False, timeout=WAIT
    )


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


def test_a_backup_is_made_though_something_is_said_all_the_time(serve, tmp_path):
    """SQLite starts a copy again whenever the history has changed, unless a transaction holds its state."""
    storage = Storage(str(tmp_path / "chat.db"))
    storage.commit(Batch([RoomMade(1, "#lab", "#lab", "", "ann", 0)]))
    storage.commit(Batch(messages=[Message(1, "#lab", n, n, "ann", "say", "x" * 3000) for n in range(1, 20_001)]))
    storage.close()
    server = serve()
    over = threading.Event()

    def talk(name: str) -> None:
        client = server.client(name)
        while not over.is_set():
            client.ask("meanwhile")

    talking = [threading.Thread(target=talk, args=(name,)) for name in ("ann", "bob", "cy")]
    for thread in talking:
        thread.start()
    try:
        done = backup(tmp_path / "chat.db", tmp_path / "copy.db")
    finally:
        over.set()
        for thread in talking:
            thread.join()
    assert done.returncode == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT count(*) FROM messages").fetchone()[0] >= 20_000


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
    assert done.stderr == f"backup: {tmp_path / 'copy.db'} exists; it was left as it is. Give the copy another name.\n"
    assert (tmp_path / "copy.db").read_text() == "precious"


def test_a_copy_that_cannot_be_made_is_reported_with_its_file(server, tmp_path):
    copy = tmp_path / "none" / "copy.db"
    done = backup(tmp_path / "chat.db", copy)
    assert done.stderr == f"backup: {tmp_path / 'chat.db'} was not copied: {copy}.part: No such file or directory.\n"


def test_a_file_that_is_no_history_is_not_copied(tmp_path):
    (tmp_path / "notes.txt").write_text("not a database" * 100)
    done = backup(tmp_path / "notes.txt", tmp_path / "copy.db")
    assert done.returncode == 1
    assert "was not copied" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_bot_answers_greets_and_stays_when_the_server_is_killed_and_started_again(start_process):
    port = free_port()
    process = start_process(port=port)
    with subprocess.Popen([sys.executable, SCRIPTS / "bot.py", f"127.0.0.1:{port}"], stderr=subprocess.PIPE) as program:
        try:
            with process.client("ann") as ann:
                if "bot" not in ann.seen[-1]:
                    ann.expect("* bot joined")
                with process.client("bob"):
                    ann.expect("bot: Welcome, bob! I roll dice: !roll 2d6")
                ann.send("!roll 2d6")
                rolled = re.search(r"bot: (\d) \+ (\d) = (\d+)$", ann.expect(" = "))
                assert rolled
                assert int(rolled[1]) + int(rolled[2]) == int(rolled[3]) <= 12
                ann.send("!roll 0d6", "!uptime")
                ann.expect("bot: !roll takes dice like 2d6.")
                ann.expect("bot: The server has been up for 0.0 hours.")
            process.kill()
            with start_process(port=port).client("ann") as ann:
                if "bot" not in ann.seen[-1]:
                    ann.expect("* bot joined")
                ann.send("!uptime")
                ann.expect("bot: The server has been up for 0.0 hours.")
            program.send_signal(signal.SIGINT)
            assert program.wait(WAIT) == 0
            assert program.stderr is not None
            assert program.stderr.read() == b""
        finally:
            program.kill()


def test_the_bot_goes_on_when_what_it_says_is_refused(server, monkeypatch):
    commit, refused = server.chat.storage.commit, threading.Event()

    def full(batch: Batch) -> None:
        if not refused.is_set() and any(message.sender == "bot" for message in batch.messages):
            refused.set()
            raise StorageError("disk full")
        commit(batch)

    monkeypatch.setattr(server.chat.storage, "commit", full)
    ann = server.client("ann")
    with subprocess.Popen([sys.executable, SCRIPTS / "bot.py", f"127.0.0.1:{server.port}"]) as program:
        try:
            ann.expect("* bot joined")
            ann.send("!roll 0d6")
            assert refused.wait(WAIT)
            ann.send("!roll 0d6")
            ann.expect("bot: !roll takes dice like 2d6.")
        finally:
            program.kill()


def test_the_bot_goes_on_when_an_answer_takes_too_long(monkeypatch):
    said = []

    class Slow(Client):
        def __init__(self, *where: object, name: str, **more: object) -> None:
            self.asked = iter(("!roll 0d6", "!roll 1d1"))

        name = "bot"

        def events(self, timeout: float | None = None) -> Iterator[Message]:
            return (Message(0, "#lab", 1, 0, "ann", "say", text) for text in self.asked)

        def say(self, room: str, text: str) -> int:
            said.append(text)
            raise TimedOut("No answer to say within 30 seconds.")

        def close(self, words: str = "") -> None:
            pass

    monkeypatch.setattr(bot, "Client", Slow)
    assert bot.main.main([], standalone_mode=False) is None
    assert said == ["!roll takes dice like 2d6.", "1 = 1"]


def test_the_bot_says_in_a_line_why_it_cannot_enter(server):
    server.client("bot")
    command = [sys.executable, SCRIPTS / "bot.py", f"127.0.0.1:{server.port}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "bot: The name bot is taken. Try bot2.\n")


def test_the_bot_is_short_enough_to_be_read_in_the_readme():
    assert len((SCRIPTS / "bot.py").read_text(encoding="utf-8").splitlines()) < 60


# --- whatever their streams are ---------------------------------------------------------------------------


@pytest.mark.parametrize("streams", STREAMS)
def test_a_backup_is_made_whatever_its_streams_are(server, tmp_path, streams):
    server.client("ann").ask("hello")
    with started_with(
        streams, str(SCRIPTS / "backup.py"), str(tmp_path / "chat.db"), str(tmp_path / "copy.db")
    ) as done:
        assert done.wait(WAIT) == 0, done.communicate()
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT text FROM messages").fetchall() == [("hello",)]


@pytest.mark.parametrize("streams", STREAMS)
def test_a_lab_is_handed_out_whatever_the_streams_are(tmp_path, streams):
    with started_with(streams, str(SCRIPTS / "lab.py"), "start", "1", str(tmp_path)) as done:
        assert done.wait(WAIT) == 0, done.communicate()
    assert [*tmp_path.glob("01_*/task.py")]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("script", ["backup.py", "lab.py", "export.py", "top.py"])
def test_characters_that_cannot_be_printed_become_escapes(server, tmp_path, script, encoding):
    server.client("Аня").ask("hello")
    folder = tmp_path / "чат"
    folder.mkdir()
    program = {
        "backup.py": [str(tmp_path / "chat.db"), str(folder / "copy.db")],
        "lab.py": ["start", "1", str(folder)],
        "export.py": [str(tmp_path / "chat.db")],
        "top.py": [f"127.0.0.1:{server.port}", "--count", "1", "--name", "Вася"],
    }[script]
    with started_with("", str(SCRIPTS / script), *program, env={"PYTHONIOENCODING": encoding}) as done:
        out, err = done.communicate(timeout=WAIT)
    assert (done.returncode, err) == (0, "")
    assert out


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the name of a file is text")
def test_histories_whose_names_are_no_text_are_copied_exported_and_put_back(tmp_path):
    """In the encoding of the locale: a disk may come from another system, and cron has LC_ALL=C."""
    history, copy, again = (tmp_path / os.fsdecode(name) for name in (b"caf\xe9.db", b"copy\xff.db", b"\xe9.db"))
    storage = Storage(str(history))
    storage.commit(Batch([RoomMade(1, "#lab", "#lab", "", "ann", 0)]))
    storage.commit(Batch(messages=[Message(1, "#lab", 1, 1, "ann", "say", "hello")]))
    storage.close()
    for script, *paths in (
        ("backup.py", history, copy),
        ("backup.py", again, "--restore", copy),
        ("export.py", again),
    ):
        command = [sys.executable, SCRIPTS / script, *paths]
        done = subprocess.run(command, capture_output=True, check=False, timeout=WAIT)
        assert done.returncode == 0, done.stderr
    assert b"ann: hello" in done.stdout


@pytest.mark.parametrize("streams", [">/dev/full", ">&-"])
@pytest.mark.parametrize("script", ["export.py", "top.py"])
def test_lost_output_is_reported(server, tmp_path, script, streams):
    server.client("ann").ask("hello")
    asked = str(tmp_path / "chat.db") if script == "export.py" else f"127.0.0.1:{server.port}"
    with started_with(streams, str(SCRIPTS / script), asked) as done:
        _, err = done.communicate(timeout=WAIT)
    assert done.returncode == 1
    assert re.fullmatch(r"\w+: .*(No space left on device|Bad file descriptor)\.?\n", err)


def test_top_ends_with_the_pipe_that_it_writes_to(server):
    with started_with("| head -n 1", str(SCRIPTS / "top.py"), f"127.0.0.1:{server.port}", "--every", "0.1") as done:
        _, err = done.communicate(timeout=WAIT)
    assert (done.returncode, err) == (0, "")


# --- putting a backup back --------------------------------------------------------------------------------


def restore(history: pathlib.Path, copy: pathlib.Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPTS / "backup.py", history, "--restore", copy]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT)


def all_files(folder: pathlib.Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir() if not each.name.endswith((".lock", "-shm"))}


@pytest.fixture
def killed(start_process, tmp_path) -> pathlib.Path:
    """A history of 20 messages after kill -9. Its backup, copy.db, has the first ten."""
    process = start_process("--rate", "0")
    with process.client("ann") as ann:
        for number in range(20):
            ann.ask(f"text {number}")
            if number == 9:
                assert backup(process.db, tmp_path / "copy.db").returncode == 0
        process.kill()
    return process.db


def texts(path: pathlib.Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [row[0] for row in file.execute("SELECT text FROM messages ORDER BY id")]


def test_a_backup_is_put_back_and_what_was_there_is_kept_whole(killed, start_process, tmp_path):
    done = restore(killed, tmp_path / "copy.db")
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(rf"{killed}: 10 messages, from \S+copy\.db\. What was there is (\S+) now\.\n", done.stdout)
    assert found
    process = start_process(db=killed)
    with process.client("bob") as bob:
        bob.ask("text 10 again")
    assert process.stop() == 0
    assert texts(killed) == [*(f"text {number}" for number in range(10)), "text 10 again"]
    assert texts(pathlib.Path(found[1])) == [f"text {number}" for number in range(20)]
    assert texts(tmp_path / "copy.db") == [f"text {number}" for number in range(10)]


@pytest.mark.parametrize("gone", [("",), ("", "-wal", "-shm"), ("-wal",)])
def test_a_backup_is_put_back_where_files_are_missing(killed, tmp_path, gone):
    for end in gone:
        pathlib.Path(f"{killed}{end}").unlink()
    assert restore(killed, tmp_path / "copy.db").returncode == 0
    assert texts(killed) == [f"text {number}" for number in range(10)]
    assert not pathlib.Path(f"{killed}-wal").exists()


def test_no_backup_is_put_under_a_server_that_runs(server, tmp_path):
    server.client("ann").ask("hello")
    assert backup(tmp_path / "chat.db", tmp_path / "copy.db").returncode == 0
    done = restore(tmp_path / "chat.db", tmp_path / "copy.db")
    assert done.returncode == 1
    assert "is in use by process" in done.stderr
    assert done.stderr.endswith(" Stop that server.\n")
    assert done.stderr.count("\n") == 1
    assert server.client("bob").ask("and still") != []


@pytest.mark.parametrize("kind", ["letter", "empty", "damaged", "newer", "another program's", "the history itself"])
def test_a_backup_that_is_not_sound_is_not_put_back_and_nothing_is_changed(killed, tmp_path, kind):
    copy = tmp_path / "copy.db"
    if kind == "letter":
        copy.write_text("Dear diary" * 1000)
    elif kind == "empty":
        copy.write_bytes(b"")
    elif kind == "damaged":
        copy.write_bytes(copy.read_bytes()[:-5000])
    elif kind == "the history itself":
        copy = killed
    else:
        with contextlib.closing(sqlite3.connect(copy)) as file:
            file.execute("PRAGMA user_version = 999" if kind == "newer" else "PRAGMA application_id = 7")
    before = all_files(tmp_path)
    done = restore(killed, copy)
    assert done.returncode == 1
    assert re.fullmatch(rf"backup: {copy} was not put in the place of {killed}: .*\n", done.stderr)
    assert "--db" not in done.stderr
    assert all_files(tmp_path) == before


def test_a_backup_is_put_back_through_a_link_to_the_history(killed, tmp_path):
    (tmp_path / "link.db").symlink_to(killed)
    assert restore(tmp_path / "link.db", tmp_path / "copy.db").returncode == 0
    assert (tmp_path / "link.db").is_symlink()
    assert texts(killed) == [f"text {number}" for number in range(10)]


@pytest.mark.parametrize("arguments", [(), ("copy.db", "--restore", "copy.db")])
def test_a_backup_is_either_made_or_put_back(killed, tmp_path, arguments):
    command = [sys.executable, SCRIPTS / "backup.py", killed, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "Name the copy to make, or the one to --restore." in done.stderr


# --- what cannot work ------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["top.py", "bot.py"])
@pytest.mark.parametrize(
    ("address", "code", "why"),
    [
        ("127.0.0.1:PORT", 1, r"\w+: no server answers at 127\.0\.0\.1, port PORT: Connection refused\.\n"),
        (
            "localhost:abc",
            2,
            r"(?s)Usage.*Error: Invalid value for '\[HOST\[:PORT\]\]': .* is neither HOST nor HOST:PORT\.\n",
        ),
    ],
)
def test_an_address_without_a_server_gets_one_line(script, address, code, why):
    port = str(free_port())
    command = [sys.executable, SCRIPTS / script, address.replace("PORT", port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT)
    assert done.returncode == code
    assert re.fullmatch(why.replace("port PORT", f"port {port}"), done.stderr), done.stderr
