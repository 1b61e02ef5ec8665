"""Faults of the process and its surroundings: the tests cause each, and the server stays well."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import re
import select
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.clients import SAID, Client
from support.servers import Process
from support.waiting import WAIT, wait_for
from support.wellness import check_history, needs_proc, staying_well, threads
from support.words import error_line

from chat_threads import commands
from chat_threads.disconnects import NoNameInTime, ShuttingDown
from chat_threads.errors import Broken
from chat_threads.service import METHODS
from chat_threads.storage import Storage

pytestmark = [pytest.mark.slow, needs_proc]

LONG = "x" * 1900
TINY = 4096  # bytes in the receive buffer of a client that does not read
GOODBYE = error_line(ShuttingDown())


# --- SIGTERM --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def crowd(process: Process, readers: int, stuck: int) -> Iterator[list[Client]]:
    """Clients that read, and clients that do not, for each of which a writer thread waits. Yields the former."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(process.client(f"reader{number}")) for number in range(readers - 1)]
        before = threads(process)
        for number in range(stuck):
            stack.enter_context(Client(process.port, f"stuck{number} #flood", receive_buffer=TINY))
        talker = stack.enter_context(process.client("talker #flood"))
        rounds = 0
        while threads(process) < before + 1 + 2 * stuck:
            rounds += 1
            assert rounds < 50, "not each of them has a writer thread"
            talker.send(*[LONG] * 200)
            talker.news()
        talker.send(*[LONG] * 1000)
        talker.news()
        yield [*clients, talker]


def test_sigterm_with_five_hundred_clients_half_of_them_stuck_ends_it_within_five_seconds(start_process):
    process = start_process("--rate", "0", "--queue-limit", "100000", "--send-timeout", "60")
    with crowd(process, 250, 250) as readers:
        began = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - began < 5.0
        for reader in readers:
            assert reader.rest()[-1] == GOODBYE
    assert "Traceback" not in process.errors
    assert "did not end" not in process.errors
    assert process.errors.count("ends: shutting_down") == 500
    check_history(process.db)


def test_a_second_sigterm_ends_it_at_once_and_harms_no_history(start_process):
    process = start_process("--rate", "0", "--queue-limit", "100000")
    with crowd(process, 1, 5):
        process.popen.send_signal(signal.SIGTERM)
        wait_for(lambda: "stopping: SIGTERM" in process.errors)
        began = time.monotonic()
        assert process.stop() == -signal.SIGTERM
        assert time.monotonic() - began < 1.0
    assert "Traceback" not in process.errors
    check_history(process.db)


@pytest.mark.timeout(180)
def test_sigterm_at_any_moment_of_the_start_ends_it_quietly_and_harms_no_history(start_process, tmp_path):
    """Python's own end of it before there is a handler, exit code 0 from then on."""
    began = time.monotonic()
    process = start_process()
    moments = 1.5 * (time.monotonic() - began)
    assert process.stop() == 0
    step = max(0.01, moments / 60)  # on a slow machine not for ever

    def end_after(number: int) -> int:
        db = tmp_path / f"{number}.db"
        command = [sys.executable, "-m", "chat_threads", "--host", "127.0.0.1", "--port", "0", "--db", str(db)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            threading.Event().wait(number * step)
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=WAIT)
        assert "Traceback" not in err, err
        assert process.returncode in (0, -signal.SIGTERM), (number, process.returncode, err)
        assert db.exists() or not [*tmp_path.glob(f"{number}.db-*")]
        if db.exists():
            Storage(str(db)).close()
            check_history(db)
        return process.returncode

    with ThreadPoolExecutor(2) as at_once:
        codes = [*at_once.map(end_after, range(int(moments / step)))]
    number = len(codes)
    while 0 not in codes and number * step < WAIT:  # the machine is slower now than when it was timed
        codes.append(end_after(number))
        number *= 2
    assert set(codes) == {-signal.SIGTERM, 0}


# --- the system -----------------------------------------------------------------------------------------


@pytest.mark.stress
def test_a_server_that_stands_still_for_five_seconds_goes_on_where_it_was(start_process):
    process = start_process("--send-timeout", "3", "--handshake-timeout", "60")
    with staying_well(process) as canary, contextlib.ExitStack() as stack:
        ann, bob, nameless = (stack.enter_context(process.client(name)) for name in ("ann", "bob", None))
        ann.news()
        with canary.excused():
            process.popen.send_signal(signal.SIGSTOP)
            wait_for(lambda: "State:\tT" in pathlib.Path(f"/proc/{process.popen.pid}/status").read_text())
            ann.send(*(f"text {number}" for number in range(30)))
            assert bob.nothing_comes(5.0)
            with process.client() as late:  # the system accepts for the server
                process.popen.send_signal(signal.SIGCONT)
                late.send("late")
                late.expect("You are in #lobby")
        bob.expect("text 29")
        nameless.send("cy")
        nameless.expect("You are in #lobby")
        said = [match[3] for line in bob.seen if (match := SAID.fullmatch(line)) and match[2] == "ann"]
        assert said == [f"text {number}" for number in range(30)]


@pytest.mark.parametrize("move", ["-1h", pytest.param("+1h", marks=pytest.mark.stress)], ids=["back", "forward"])
def test_a_clock_that_is_set_by_an_hour_changes_no_order_and_no_timeout(start_process, clock, move):
    offset, env = clock
    process = start_process("--handshake-timeout", "1.5", env=env)
    with staying_well(process), process.client("ann") as ann, process.client("bob") as bob:
        for each in (ann, bob):
            each.ask("/set numbers on")
        ann.ask("before 1")
        began = time.monotonic()
        with process.client() as silent:
            offset.write_text(f"{move}\n")
            ann.ask("after 2")
            bob.ask("after 3")
            offset.write_text("+0\n")
            ann.ask("before 4")
            assert silent.rest()[-1] == error_line(NoNameInTime(1.5))
            assert 1.4 < time.monotonic() - began < 4.0
        bob.news()
        numbers = [match[1] + match[3][-1] for line in bob.seen if (match := SAID.fullmatch(line))]
        assert numbers == ["11", "22", "33", "44"]
        pages = ["/history after 0", "/history 3h", "/history 30m"]
        for page in pages[: 2 if move == "-1h" else 3]:
            assert [SAID.fullmatch(line)[3] for line in ann.ask(page) if SAID.fullmatch(line)] == [
                "before 1",
                "after 2",
                "after 3",
                "before 4",
            ]
    with contextlib.closing(sqlite3.connect(process.db)) as connection:
        rows = connection.execute("SELECT at, text FROM messages WHERE sender IN ('ann', 'bob') ORDER BY number")
        times = {text: at for at, text in rows}
    moved = (times["after 2"] - times["before 1"]) / 3_600_000
    assert abs(moved - (1 if move == "+1h" else -1)) < 0.01


def read_all(pipe: io.FileIO) -> bytes:
    """All bytes that are in a non-blocking pipe."""
    return b"".join(iter(lambda: pipe.read(65536), None))


def test_a_log_that_goes_to_a_full_pipe_keeps_nobody_waiting(start_process, tmp_path):
    fifo = tmp_path / "log"
    os.mkfifo(fifo)
    pipe = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    with open(pipe, "rb", buffering=0) as log:
        for size in (4096, 1):  # to the last byte
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(pipe, b"." * size)
        process = start_process("--log-level", "debug", shell=f"exec 2>'{fifo}'")
        with staying_well(process):
            for number in range(1200):  # more lines than wait for the log
                with process.client() as client:
                    client.send(f"guest{number}", "/quit")
            with process.client("ann") as ann:
                assert any("ann: hi" in line for line in ann.ask("hi"))
                wait_for(lambda: not any("guest" in line for line in ann.ask("/who")))
            assert not (log.read(1 << 16).strip(b".")), "there was room in the pipe"
            written = bytearray()
            while select.select([log], [], [], 0.3)[0]:  # what had waited
                written += read_all(log)
            with process.client("bob"):
                wait_for(
                    lambda: written.extend(read_all(log)) or re.search(rb"\(bob\).* is admitted", written),
                    "the log goes on",
                )
        written += read_all(log)
        assert b" log lines were dropped" in written
        assert b"Traceback" not in written


# --- bugs -----------------------------------------------------------------------------------------------

GIVEN = {"#room": "#lab", "NAME": "bob", "TOKEN": "something", "N": "1", "MS": "1"}  # for what a command needs


def typed(usage: str) -> bytes:
    """A line with what the command needs, without what it may have."""
    needed = re.sub(r" \[[^]]*\]", "", usage).partition(" | ")[0]
    return " ".join(GIVEN.get(word, word.partition("|")[0]) for word in needed.split()).encode()


EACH = {kind: typed(kind.row.usage) for kind in commands.TYPED if kind in METHODS} | {
    commands.Say: b"hi",
    commands.Search: b"/search hi",
    commands.AreYouThere: b"\xff\xf6",  # telnet's own (RFC 854)
}

BUGS = """
from chat_threads import service
for kind, method in service.METHODS.items():
    def planted(self, session, command, kind=kind, method=method):
        if session.name == "ann":
            raise ZeroDivisionError(f"planted in {kind.__name__}")
        method(self, session, command)
    service.METHODS[kind] = planted
"""


def test_the_client_that_gave_a_broken_command_gets_an_error_and_the_bug_is_logged_once(start_process):
    kinds = set(EACH)
    by_http, by_keys = {commands.ShowMetrics, commands.ShowHealth}, {commands.ShowScreen, commands.Complete}
    assert kinds == set(METHODS) - by_http - by_keys
    process = start_process(plant=BUGS)
    told = error_line(Broken())
    with staying_well(process, tracebacks=len(kinds)), process.client("bob") as bob, process.client("ann") as ann:
        bob.expect("ann joined")
        for kind, line in EACH.items():
            ann.send_bytes(line + (b"\r\n" if line[:1] != b"\xff" else b""))
            assert ann.line() == told
            wait_for(lambda kind=kind: f"ZeroDivisionError: planted in {kind.__name__}\n" in process.errors)
        assert any("bob: still here" in line for line in bob.ask("still here"))
        assert not [line for line in bob.seen[bob.seen.index("* ann joined") + 1 :] if "ann" in line]
        ann.expect("bob: still here")
    for kind in kinds:
        assert process.errors.count(f"planted in {kind.__name__}\n") == 1
        logged = rf"ERROR reader-\d+: {kind.__name__} of session \d+ \(ann\) failed\n"
        assert len(re.findall(logged, process.errors)) == 1
