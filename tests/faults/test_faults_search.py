"""Endless searches in a large history: nobody else waits for them, and they do not delay the server's stop."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from support.clients import Client, Program
from support.servers import Process
from support.waiting import WAIT, wait_for
from support.wellness import check_history, needs_proc, staying_well
from support.words import error_line

from chat_threads.disconnects import ShuttingDown
from chat_threads.reading import READ_TIMEOUT, SEARCHERS

pytestmark = [pytest.mark.slow, needs_proc]

FEW, MANY = 20_000, 400_000  # messages
TEXT = "the abcdefghij and the bcdefghijk went on to number %d of the same old story that nobody wants to hear again"
COSTLY = "/search the abcdefghijk"  # all pieces of that word are in each text, the word in none: each text is read
NOBODYS = "/search the from:nobody"
COMERS = 7  # that come in, for a median


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, bool], pathlib.Path]:
    """A history with messages in its lobby, with an index of them or without; made once, to be copied."""
    folder = tmp_path_factory.mktemp("histories")

    def history(messages: int, indexed: bool) -> pathlib.Path:
        db = folder / f"{messages} {'' if indexed else 'not '}indexed.db"
        if db.exists():
            return db
        if indexed:
            shutil.copyfile(history(messages, False), db)
            process = Process(db)
            wait_for(lambda: "the search index is made" in process.errors, wait=30 * WAIT)
            assert process.stop() == 0
            return db
        assert Process(db).stop() == 0
        with contextlib.closing(sqlite3.connect(db)) as connection, connection:
            rows = ((number, f"ann{number % 50}", TEXT % number) for number in range(1, messages + 1))
            connection.executemany(
                "INSERT INTO messages (room, number, at, sender, kind, text) SELECT id, ?, 1, ?, 'say', ? FROM rooms",
                rows,
            )
        return db

    return history


@pytest.fixture
def filled(start_process, histories, tmp_path: pathlib.Path) -> Callable[..., Process]:
    """Start a server with such a history."""

    def start(messages: int, *options: str, indexed: bool = True) -> Process:
        shutil.copyfile(histories(messages, indexed), tmp_path / "chat.db")
        return start_process("--rate", "0", *options)

    return start


class Searchers:
    """Clients that search, each twice a second, or as fast as it is answered."""

    def __init__(self, process: Process, count: int, query: str) -> None:
        self._query = query
        self._over = threading.Event()
        self.answers: list[str] = []
        self.clients = [process.client(f"searcher{number}") for number in range(count)]
        self._threads = [threading.Thread(target=self._search, args=(client,), daemon=True) for client in self.clients]
        for thread in self._threads:
            thread.start()

    def _search(self, client: Client) -> None:
        while not self._over.is_set():
            next_one = time.monotonic() + 0.5
            with contextlib.suppress(OSError, AssertionError):
                client.send(self._query)
                while line := client.line():
                    if "ound" in line or line.startswith("! "):
                        self.answers.append(line)
                        break
                else:
                    return
            self._over.wait(max(0.0, next_one - time.monotonic()))

    def close(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(WAIT)
        for client in self.clients:
            client.close()


def time_of(come_in: Callable[[int], contextlib.AbstractContextManager[object]]) -> float:
    """The median of the seconds that some need to come in."""
    times = []
    for number in range(COMERS):
        began = time.monotonic()
        with come_in(number):
            times.append(time.monotonic() - began)
    return statistics.median(times)


@contextlib.contextmanager
def comes_back(process: Process, token: str, since: int = 1) -> Iterator[Program]:
    """A program that shows its token is let in, and has seen what it missed."""
    with contextlib.closing(Program(process.port)) as program:
        program.send({"type": "hello", "token": token, "since": {"#lobby": since}})
        assert program.expect("welcome")["token"] == token
        program.expect("joined")
        yield program


def token_of(process: Process) -> tuple[str, int]:
    """The token of somebody who was there, and the number of the last message."""
    with contextlib.closing(Program(process.port)) as program:
        program.send(type="hello", name="wanderer")
        token = program.expect("welcome")["token"]
        program.send(type="say", text="I was here", ref="1")
        return token, program.expect("ack", ref="1")["number"]


def newcomers_and_returners_are_not_held_up(process: Process, query: str, count: int) -> None:
    with staying_well(process):
        token, last = token_of(process)
        missed = max(1, last - 1000)  # the whole history would take long to send, even without searches

        def newcomer(number: int) -> Client:
            return process.client(f"guest{number}")

        def returner(number: int) -> contextlib.AbstractContextManager[object]:
            return comes_back(process, token, missed)

        alone = time_of(newcomer), time_of(returner)
        with contextlib.closing(Searchers(process, count, query)) as searchers:
            wait_for(lambda: len(searchers.answers) >= count, "all of them have searched", 5 * WAIT)
            before = len(searchers.answers)
            beside = time_of(newcomer), time_of(returner)
            wait_for(lambda: len(searchers.answers) >= before + count, "and go on searching", 5 * WAIT)
        for quiet, busy in zip(alone, beside, strict=True):
            assert busy < 10 * quiet + READ_TIMEOUT / 2, (
                f"it took {quiet:.3f} s without searchers, {busy:.3f} s with them"
            )


@pytest.mark.parametrize("indexed", [True, False], ids=["indexed", "not indexed yet"])
@pytest.mark.parametrize("query", [COSTLY, NOBODYS], ids=["costly", "nobody's"])
def test_searches_do_not_delay_people_who_enter_or_come_back(filled, query, indexed):
    newcomers_and_returners_are_not_held_up(filled(FEW, indexed=indexed), query, 4)


@pytest.mark.stress
@pytest.mark.timeout(600)
@pytest.mark.parametrize("indexed", [True, False], ids=["indexed", "not indexed yet"])
@pytest.mark.parametrize("query", [COSTLY, NOBODYS], ids=["costly", "nobody's"])
def test_in_a_large_history_searchers_hold_up_nobody_either(filled, query, indexed):
    newcomers_and_returners_are_not_held_up(filled(MANY, indexed=indexed), query, 4)


ENDLESS = """
from chat_threads import search
def find(self, rows, query, limit, below, looked):
    rows("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n", ())
search.Index.find = find
"""


def test_searches_without_end_hold_up_nobody_who_comes_in_or_comes_back(start_process):
    """The worst case: each search takes all the time that it may, and there are always more."""
    newcomers_and_returners_are_not_held_up(start_process("--rate", "0", plant=ENDLESS), COSTLY, 8)


def at_it(onlooker: Client, where: str = "") -> int:
    """How many are searching, or wait for it; or those of them that are in a file of ours."""
    return sum("obeys Search" in line and where in at for line, at in pairwise(onlooker.ask("/threads")))


def searching(process: Process, count: int) -> list[Client]:
    clients = [process.client(f"searcher{number}") for number in range(count)]
    for client in clients:
        client.send(COSTLY)
    return clients


def test_sigterm_with_forty_searches_under_way_or_waiting_stops_the_server_cleanly(start_process, tmp_path):
    process = start_process("--rate", "0", plant=ENDLESS)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client) for client in searching(process, 40)]
        with process.client("onlooker") as onlooker:
            wait_for(lambda: at_it(onlooker) == 40, "all are at it")
        assert process.stop() == 0
        for client in clients:
            assert client.rest()[-1] == error_line(ShuttingDown())
    ends_in_order(process)


@pytest.mark.stress
@pytest.mark.timeout(600)
def test_sigterm_with_forty_searches_in_a_large_history_stops_the_server_cleanly(filled):
    process = filled(MANY, indexed=False)
    with contextlib.ExitStack() as stack:
        for client in searching(process, 40):
            stack.enter_context(client)
        assert process.stop() == 0
    ends_in_order(process)


def ends_in_order(process: Process) -> None:
    """No thread was left, and the file was closed: SQLite's log is folded into it then."""
    assert "did not end" not in process.errors
    assert "Traceback" not in process.errors
    assert not pathlib.Path(f"{process.db}-wal").exists()
    check_history(process.db)


def test_two_searches_run_at_a_time_and_the_others_in_the_order_of_asking(start_process):
    process = start_process("--rate", "0", "--lab", plant=ENDLESS)
    with staying_well(process), contextlib.ExitStack() as stack:
        clients = [stack.enter_context(process.client(f"searcher{number}")) for number in range(2 * SEARCHERS)]
        onlooker = stack.enter_context(process.client("onlooker"))
        for number, client in enumerate(clients):
            client.send(COSTLY)
            wait_for(lambda number=number: at_it(onlooker) == number + 1)
        assert at_it(onlooker, "readers.py") == SEARCHERS
        with ThreadPoolExecutor(len(clients)) as pool:
            ended: list[int] = []

            def wait(number: int) -> None:
                clients[number].expect("took too long")
                ended.append(number)

            list(pool.map(wait, range(len(clients))))
        assert sorted(ended[:SEARCHERS]) == list(range(SEARCHERS)), ended


PATIENT = (
    ENDLESS
    + """
from chat_threads import reading
reading.READ_TIMEOUT = reading.BORROW_TIMEOUT = 600
"""
)


def test_a_search_ends_with_its_session_and_the_next_one_has_its_turn(start_process):
    """A program whose connection is taken over from another one."""
    process = start_process("--rate", "0", "--lab", plant=PATIENT)
    with staying_well(process), contextlib.ExitStack() as stack:
        programs, tokens = [], []
        for number in range(SEARCHERS + 1):
            programs.append(stack.enter_context(contextlib.closing(Program(process.port))))
            programs[-1].send(type="hello", name=f"searcher{number}")
            tokens.append(programs[-1].expect("welcome")["token"])
            programs[-1].expect("joined")
        onlooker = stack.enter_context(process.client("onlooker"))
        for number, program in enumerate(programs):
            program.send(type="search", words="the")
            wait_for(lambda number=number: at_it(onlooker) == number + 1)
        assert at_it(onlooker, "readers.py") == 1
        with comes_back(process, tokens[0]):
            assert programs[0].rest()[-1] == {"type": "bye", "reason": "replaced"}
            wait_for(lambda: at_it(onlooker, "readers.py") == 0, "the third one has its turn")
            assert at_it(onlooker) == SEARCHERS
        for token in tokens[1:]:
            with comes_back(process, token):
                pass
        wait_for(lambda: at_it(onlooker) == 0)
