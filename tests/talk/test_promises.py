"""The four promises, kept under load, against slow readers, kill -9 and SIGTERM."""

from __future__ import annotations

import contextlib
import logging
import pathlib
import random
import re
import shutil
import signal
import socket
import sqlite3
import threading
import time

import pytest
from support.clients import LONG, SAID, TINY, Client, said
from support.servers import our_threads, stored
from support.waiting import WAIT, in_threads, wait_for
from support.words import error_line

from chat_threads.disconnects import ShuttingDown
from chat_threads.errors import NameTaken


def stat(client: Client, what: str) -> int:
    """A row of /stats."""
    [row] = [line for line in client.ask("/stats") if line.startswith(f"* {what} ")]
    return int(row.split()[-1])


# --- coming in ------------------------------------------------------------------------------------------


def test_two_hundred_clients_that_connect_at_once_are_all_greeted_within_two_seconds(start_process):
    """A listening socket with a short backlog would leave most of them waiting for TCP's next try."""
    process = start_process()
    count = 200
    at_once = threading.Barrier(count)
    took: list[float] = []
    with contextlib.ExitStack() as sockets:

        def come_in(_: int) -> None:
            sock = sockets.enter_context(socket.socket())
            sock.settimeout(WAIT)
            at_once.wait(WAIT)
            began = time.monotonic()
            sock.connect(("127.0.0.1", process.port))
            greeting = sock.recv(1000)
            took.append(time.monotonic() - began)
            assert greeting.endswith(b"What is your name?\r\n")

        in_threads(come_in, range(count))
    assert len(took) == count
    assert max(took) < 2.0


@pytest.mark.stress
def test_a_name_raced_for_by_fifty_connections_goes_to_exactly_one_a_hundred_times_over(server):
    """Those who lose stay connected and race for the next names, as long as they have a try left."""
    rivals: list[socket.socket] = []
    tries: dict[socket.socket, int] = {}
    for race in range(100):
        while len(rivals) < 50:
            rival = socket.create_connection(("127.0.0.1", server.port), WAIT)
            rivals.append(rival)
            tries[rival] = 2  # the third would close the connection
        for rival in rivals:
            rival.sendall(b"racer%dx\r\n" % race)
        answers = {rival: _answer(rival) for rival in rivals}
        winners = [rival for rival, answer in answers.items() if answer.startswith(f"* Hello, racer{race}x.")]
        assert len(winners) == 1
        losers = [answer for answer in answers.values() if not answer.startswith("* Hello")]
        assert losers == [error_line(NameTaken(f"racer{race}x", f"racer{race}x2"))] * 49
        for rival in list(rivals):
            tries[rival] -= 1
            if rival in winners or not tries[rival]:
                rivals.remove(rival)
                rival.close()
    for rival in rivals:
        rival.close()


def _answer(rival: socket.socket) -> str:
    """The first line that is no greeting."""
    data = b""
    while True:
        lines = [line for line in data.split(b"\r\n")[:-1] if b"What is your name?" not in line]
        if lines:
            return lines[0].decode()
        more = rival.recv(4096)
        assert more, data
        data += more


# --- one order ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writers", [2, pytest.param(None, marks=pytest.mark.slow)], ids=["crew", "per-session"])
def test_all_members_and_the_history_show_the_messages_of_eight_senders_in_one_order(serve, writers):
    server = serve(writers=writers, queue_limit=5000)
    each, total = 500, 4000
    senders = [f"sender{number}" for number in range(8)]
    members = server.clients_named(*senders, "ear1", "ear2")
    for member in members:
        member.ask("/set numbers on")
    seen: dict[int, list[tuple[int, str, str]]] = {}

    def take_part(number: int) -> None:
        member = members[number]
        if number < len(senders):
            member.send(*(f"text {count} of {senders[number]}" for count in range(each)))
        lines: list[tuple[int, str, str]] = []
        while len(lines) < total:
            if match := SAID.fullmatch(member.line() or pytest.fail("cut off")):
                lines.append((int(match[1]), match[2], match[3]))
        seen[number] = lines

    in_threads(take_part, range(len(members)))
    [lobby] = server.chat.storage.rooms()
    history = [(row.number, row.sender, row.text) for row in server.chat.storage.page(lobby.id, limit=total + 1)]
    assert [number for number, _, _ in history] == list(range(1, total + 1))
    assert all(lines == history for lines in seen.values())
    for name in senders:
        assert [text for _, sender, text in history if sender == name] == [
            f"text {count} of {name}" for count in range(each)
        ]


def test_a_newcomer_while_others_talk_sees_the_replay_and_then_the_live_messages_without_hole_or_repeat(serve):
    server = serve(replay=50, queue_limit=5000)
    talkers = server.clients_named("talker1", "talker2", "talker3")
    talkers[0].send(*(f"before {count}" for count in range(60)))
    talkers[0].news()
    done = threading.Event()
    views: list[tuple[int, list[tuple[str, str]]]] = []

    def talk(talker: Client) -> None:
        """Keep a few lines under way: say the next one when one comes back."""
        name = f"talker{talkers.index(talker) + 1}"
        for count in range(8):
            talker.send(f"{name} {count}")
        count = 8
        while not done.is_set():
            if f"{name}: " in (talker.line() or pytest.fail("cut off")):
                talker.send(f"{name} {count}")
                count += 1

    def join(_: object) -> None:
        try:
            for number in range(40):
                with server.client(f"joiner{number}") as joiner:
                    last = int(joiner.expect("* The last 50 of ").split()[5])
                    lines: list[tuple[str, str]] = []
                    while len(lines) < 120:
                        lines += said([joiner.line() or pytest.fail("cut off")])
                    views.append((last, lines))
        finally:
            done.set()

    in_threads(lambda work, who: work(who), [talk, talk, talk, join], [*talkers, None])
    talkers[0].news()
    [lobby] = server.chat.storage.rooms()
    history = [(row.sender, row.text) for row in server.chat.storage.page(lobby.id, limit=1_000_000)]
    assert len(set(history)) == len(history)
    for last, lines in views:
        assert lines == history[last - 50 : last - 50 + len(lines)]


def test_clients_that_enter_an_empty_room_at_once_all_see_its_whole_history_and_one_another(serve):
    """The first one has to read the room's history, while the others come in and talk already."""
    server = serve(replay=200)
    everything: list[tuple[str, str]] = []
    for round_ in range(20):
        names = [f"{name}{round_}" for name in ("ann", "bob", "cy", "di")]
        clients = [server.client() for _ in names]
        for client, name in zip(clients, names, strict=True):
            client.send(f"{name} #lab", f"it is {name}")
        views = []
        for client in clients:
            lines: list[tuple[str, str]] = []
            while not {(name, f"it is {name}") for name in names} <= set(lines):
                lines += said([client.line() or pytest.fail("cut off")])
            views.append(lines)
        everything += views[0][len(everything) :]
        assert all(lines == everything for lines in views)
        for client in clients:
            client.close()
        wait_for(lambda: not server.chat.sessions.people(), "everybody has left")
    assert len(everything) == 80


# --- slow readers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("writers", [2, pytest.param(None, marks=pytest.mark.slow)], ids=["crew", "per-session"])
def test_a_member_that_never_reads_is_cut_off_and_logged_while_the_others_get_everything(serve, caplog, writers):
    caplog.set_level(logging.INFO, logger="chat_threads")
    limit, batch = 200, 512
    server = serve(queue_limit=limit, writers=writers)
    server.client("slow", receive_buffer=TINY)
    ann, bob = server.clients_named("ann", "bob")
    session = server.chat.sessions.named("slow")
    waiting: list[int] = []
    add = session.mailbox.add

    def watched_add(parcel: object, more: bool = False) -> bool:
        try:
            return add(parcel, more)
        finally:
            waiting.append(session.mailbox.depth()[0])

    session.mailbox.add = watched_add
    count = 0
    while not session.ended.is_set():
        ann.send(*(f"{number} {LONG}" for number in range(count, count + 50)))
        count += 50
        assert count < 20_000, "it was never cut off"
        for reader in (ann, bob):
            reader.expect(f"{count - 1} x")
    for reader in (ann, bob):
        texts = [text for name, text in said(reader.seen) if name == "ann"]
        assert texts == [f"{number} {LONG}" for number in range(count)]
    wait_for(lambda: "session 1 (slow) ends: too_slow" in caplog.messages, "the log says why")
    assert limit <= max(waiting) < limit + batch
    assert session.mailbox.lines == 0
    assert session not in server.chat.sessions.people()


@pytest.mark.stress
@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="the memory is read from /proc")
def test_members_that_never_read_do_not_make_the_server_grow(start_process):
    """48 MB are said, and none of five members reads. The server may hold 600 lines for each."""
    process = start_process("--rate", "0", "--queue-limit", "600", "--send-timeout", "60")

    def resident() -> int:
        status = pathlib.Path(f"/proc/{process.popen.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) // 1024

    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(Client(process.port, f"slow{n}", receive_buffer=TINY)) for n in range(5)]
        ann = stack.enter_context(process.client("ann"))
        before = 0
        for burst in range(500):
            ann.send(*[LONG] * 50)
            ann.news()
            ann.seen.clear()
            before = resident() if burst == 20 else before
        grown = resident() - before
        wait_for(lambda: stat(ann, "sessions") == 1, f"all {len(slow)} are cut off")
    assert grown < 20, f"the server grew by {grown} MB"
    assert process.stop() == 0
    assert process.errors.count("ends: too_slow") == 5


# --- kill -9 --------------------------------------------------------------------------------------------


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.stress)])
def test_everything_that_anybody_saw_is_in_the_history_once_whenever_the_server_is_killed(
    start_process, tmp_path, kills
):
    """The kills are on one file. Each check opens a copy, so that the next server has to recover the file itself."""
    chance = random.Random(20)
    db, copy = tmp_path / "chat.db", tmp_path / "copy.db"
    seen: dict[int, tuple[str, str]] = {}
    before = 0
    for round_ in range(kills):
        process = start_process("--rate", "0", "--replay", "0", "--queue-limit", "100000", db=db)
        clients = [process.client(name) for name in ("ann", "bob", "cy")]
        for client in clients:
            client.ask("/set numbers on")
        enough = threading.Semaphore(0)

        def take_part(client: Client, name: str, round_: int = round_, enough: threading.Semaphore = enough) -> None:
            with contextlib.suppress(OSError):
                client.send(*(f"{name} {count} in round {round_}" for count in range(1000)))
            while (line := client.line()) is not None:
                if match := SAID.fullmatch(line):
                    shown = seen.setdefault(int(match[1]), (match[2], match[3]))
                    assert shown == (match[2], match[3])
                    enough.release()

        def kill(count: int, _: str, enough: threading.Semaphore = enough, process: object = process) -> None:
            try:
                for _ in range(count):
                    assert enough.acquire(timeout=WAIT)
            finally:
                process.kill()

        in_threads(
            lambda who, name: kill(who, name) if isinstance(who, int) else take_part(who, name),
            [*clients, chance.randrange(1, 8000)],
            ["ann", "bob", "cy", ""],
        )
        for client in clients:
            client.close()
        for name in ("chat.db", "chat.db-wal"):
            shutil.copyfile(tmp_path / name, tmp_path / name.replace("chat", "copy"))
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = stored(copy)
        assert [number for number, _, _ in rows] == list(range(1, len(rows) + 1))
        assert len({text for _, _, text in rows}) == len(rows)
        there = {number: (sender, text) for number, sender, text in rows}
        assert {number: there.get(number) for number in seen} == seen
        assert before < max(seen) <= len(rows)
        before = len(rows)
    process = start_process(db=db)
    assert f"{before} messages" in process.output
    assert process.stop() == 0
    with contextlib.closing(sqlite3.connect(db)) as connection:
        connection.execute("INSERT INTO pieces (pieces) VALUES ('integrity-check')")


# --- stopping -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("writers", [2, pytest.param(None, marks=pytest.mark.slow)], ids=["crew", "per-session"])
def test_every_thread_ends_though_a_client_does_not_read_its_output(serve, writers):
    server = serve(writers=writers, queue_limit=100_000)
    stuck, ann = server.client("stuck", receive_buffer=TINY), server.client("ann")
    session = server.chat.sessions.named("stuck")
    while session.mailbox.lines < 1000:  # more than one batch, so nobody is about to take it
        ann.send(*[LONG] * 200)
        ann.news()
    assert server.chat.stop() == []
    assert our_threads() == []
    assert ann.rest()[-1] == error_line(ShuttingDown())
    assert "shutting down" not in "".join(stuck.rest())


def test_a_message_accepted_before_sigterm_is_stored_and_shown_to_its_sender(start_process, tmp_path):
    process = start_process("--rate", "0", "--replay", "0", "--queue-limit", "100000")
    names = ["ann", "bob", "cy", "di"]
    clients = [process.client(name) for name in names]
    some = threading.Semaphore(0)
    views: dict[str, list[str]] = {}

    def take_part(client: Client, name: str) -> None:
        with contextlib.suppress(OSError):
            client.send(*(f"{name} {count}" for count in range(5000)))
        client.expect(f"{name}: ")
        some.release()
        views[name] = client.seen[-1:] + client.rest()

    def stop(_: object, __: str) -> None:
        for _ in names:
            assert some.acquire(timeout=WAIT)
        assert process.stop() == 0

    in_threads(lambda who, name: take_part(who, name) if who else stop(who, name), [*clients, None], [*names, ""])
    rows = [(sender, text) for _, sender, text in stored(tmp_path / "chat.db")]
    assert rows
    for client, name in zip(clients, names, strict=True):
        shown = said(views[name])
        assert [each for each in shown if each[0] == name] == [each for each in rows if each[0] == name]
        first = rows.index(shown[0])
        assert shown == rows[first : first + len(shown)]
        assert views[name][-1] == error_line(ShuttingDown())
        client.close()


@pytest.mark.stress
def test_sigterm_while_another_program_has_locked_the_history_ends_it_within_five_seconds(start_process, tmp_path):
    process = start_process()
    with process.client("ann") as ann, contextlib.closing(_locked(tmp_path / "chat.db")):
        ann.send("never stored")
        began = time.monotonic()
        assert process.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < 5.0
        assert not said(ann.rest())
    assert stored(tmp_path / "chat.db") == []


def _locked(db: pathlib.Path) -> sqlite3.Connection:
    connection = sqlite3.connect(db, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection
