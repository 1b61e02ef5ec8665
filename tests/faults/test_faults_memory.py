"""The memory for all clients together is bounded and given back. The tests measure servers in their own processes."""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
from support.clients import TINY, Program
from support.servers import Process
from support.waiting import wait_for
from support.wellness import Canary, memory, needs_proc, staying_well, threads

from chat_threads.dialects.text import TextDialect
from chat_threads.disconnects import TooSlow
from chat_threads.events import LINE_SIZE, Notice
from chat_threads.mailbox import Mailbox
from chat_threads.memory import PAUSE, Output
from chat_threads.paging import PAGE_BYTES
from chat_threads.parcel import Parcel
from chat_threads.rules import REFS, TEXT_LENGTH
from chat_threads.session import SessionStore
from chat_threads.tokens import token_id

pytestmark = [pytest.mark.slow, needs_proc]

WIDE = "🙂" * TEXT_LENGTH
WITHOUT = """
from chat_threads import memory
of = memory.Shares.of
memory.Shares.of = lambda megabytes: of(1_000_000)
"""  # the server without its bounds


def wrote(db: pathlib.Path, sql: str, rows: list[tuple[Any, ...]]) -> None:
    """Put rows into a history that no server has open."""
    with contextlib.closing(sqlite3.connect(db)) as connection, connection:
        connection.executemany(sql, rows)


def with_refs(db: pathlib.Path, tokens: int) -> list[str]:
    """Make a history in which each token has said as much as is remembered of it. Returns the tokens."""
    names = [f"token{number}" for number in range(tokens)]
    ids = [token_id(name) for name in names]
    wrote(
        db,
        "INSERT INTO tokens (id, name, used, kept) VALUES (?, ?, ?, 1)",
        [(each, f"name{number}", number) for number, each in enumerate(ids)],
    )
    wrote(
        db,
        "INSERT INTO refs (token, slot, count, ref, room, number) VALUES (?, ?, ?, ?, '#lobby', ?)",
        [
            (each, count % REFS, count, f"{'🙂' * 60}{count:04}", number * REFS + count)
            for number, each in enumerate(ids)
            for count in range(1, REFS + 1)
        ],
    )
    return names


def with_texts(db: pathlib.Path, rooms: int, count: int = 200) -> None:
    """A history with #room0 and so on, each with ``count`` of the longest texts."""
    wrote(
        db,
        "INSERT INTO rooms (id, name, key, topic, creator, created, last) VALUES (?, ?, ?, '', 'ann', 0, 0)",
        [(100 + room, f"#room{room}", f"#room{room}") for room in range(rooms)],
    )
    wrote(
        db,
        "INSERT INTO messages (room, number, at, sender, kind, text) VALUES (?, ?, ?, 'ann', 'say', ?)",
        [(100 + room, number, number, WIDE) for room in range(rooms) for number in range(1, count + 1)],
    )


def speak(process: Process, tokens: list[str]) -> None:
    """Enter with each token and say something under a ref, so that the server reads all refs of the token."""
    for token in tokens:
        with contextlib.closing(Program(process.port)) as program:
            program.send({"type": "hello", "token": token, "replay": 0})
            program.expect("joined")
            program.send(type="say", text="hi", ref="new")
            program.expect("ack")


def visit(process: Process, name: str, rooms: range) -> Program:
    """Enter these rooms of with_texts, and be shown a message of each."""
    visitor = Program(process.port)
    visitor.send(type="hello", name=name, room=f"#room{rooms[0]}", replay=1)
    visitor.ask(*({"type": "join", "room": f"#room{room}"} for room in rooms[1:]))
    return visitor


def watched(process: Process, plant: str) -> contextlib.AbstractContextManager[object]:
    """Its wellness, unless it is the server without its bounds."""
    return contextlib.nullcontext() if plant else staying_well(process)


@pytest.fixture
def start_with(start_process, tmp_path):
    """Start a server on a history that is filled by a function: start_with(fill, count, *options)."""

    def start(fill: Any, count: int, *options: str, plant: str = "") -> tuple[Process, Any]:
        start_process().stop()
        filled = fill(tmp_path / "chat.db", count)
        return start_process("--rate", "0", *options, plant=plant), filled

    return start


@pytest.mark.parametrize("plant", ["", pytest.param(WITHOUT, marks=pytest.mark.stress)], ids=["bounded", "without"])
def test_the_memory_for_requests_has_a_bound_for_all_tokens_together(start_with, plant):
    process, tokens = start_with(with_refs, 250, "--memory", "16", plant=plant)
    with watched(process, plant):
        speak(process, tokens[:5])
        before = memory(process)
        speak(process, tokens[5:])
        grown = memory(process) - before
    assert grown <= 16 if not plant else grown > 30, f"{grown} MB"


@pytest.mark.parametrize("plant", ["", pytest.param(WITHOUT, marks=pytest.mark.stress)], ids=["bounded", "without"])
def test_the_newest_messages_of_rooms_have_a_bound_for_all_rooms_together(start_with, plant):
    process, _ = start_with(with_texts, 60, "--memory", "16", plant=plant)
    with watched(process, plant), contextlib.ExitStack() as stack:
        resident = []
        for number, name in enumerate(("ann", "bob", "cy")):
            stack.callback(visit(process, name, range(number * 20, number * 20 + 20)).close)
            resident.append(memory(process))
        grown = resident[-1] - resident[0]
    assert grown <= 10 if not plant else grown > 14, f"{grown} MB"


# --- what waits to be sent ---------------------------------------------------------------------------------

PAGES = 6
KEPT = 60  # MB that malloc may keep in holes of its heap after a flood of long texts


@contextlib.contextmanager
def those_who_do_not_read(process: Process, count: int, canary: Canary) -> Iterator[None]:
    """``count`` programs, each of which asks for pages of the longest texts and reads none. They ask in groups.
    The canary is excused meanwhile, because so much work may delay it on a busy machine."""
    with contextlib.ExitStack() as stack:
        programs = []
        for number in range(count):
            program = Program(process.port, receive_buffer=TINY)
            stack.callback(program.close)
            program.send(type="hello", name=f"n{number}", room=f"#room{number % 20}", replay=0)
            program.expect("joined")
            programs.append(program)
        with canary.excused():
            for number, program in enumerate(programs):
                program.send(*({"type": "history", "count": 200, "ref": str(page)} for page in range(PAGES)))
                if number % (count // 15) == 0:
                    canary.sing(1)
            yield


def cut_off(process: Process) -> int:
    return process.errors.count("ends: too_slow")


def highest(process: Process, canary: Canary) -> int:
    """The most memory that is resident in the next second or so."""
    most = 0
    for _ in range(5):
        canary.sing(2)
        most = max(most, memory(process))
    return most


@pytest.mark.parametrize("count", [30, pytest.param(400, marks=pytest.mark.stress)])
def test_a_client_that_asks_for_pages_and_does_not_read_is_given_one(start_with, count):
    process, _ = start_with(with_texts, 20, "--send-timeout", "60")
    with staying_well(process, growth=KEPT + count // 4) as canary:
        before = memory(process)
        with those_who_do_not_read(process, count, canary):
            wait_for(lambda: threads(process) >= count or cut_off(process), "their sockets are full")
            grown = highest(process, canary) - before
        wait_for(lambda: process.errors.count(" ends: ") >= count)
    assert grown <= 100 + count / 2, f"{grown} MB"  # without this 290 MB for 30 clients


@pytest.mark.parametrize("plant", ["", pytest.param(WITHOUT, marks=pytest.mark.stress)], ids=["bounded", "without"])
def test_when_too_much_waits_for_all_clients_those_with_the_most_are_cut_off_with_a_reason(start_with, plant):
    process, _ = start_with(with_texts, 20, "--memory", "16", "--send-timeout", "60", plant=plant)
    with staying_well(process, growth=KEPT) as canary:
        before = memory(process)
        with those_who_do_not_read(process, 40, canary):
            wait_for(lambda: threads(process) + cut_off(process) >= 40, "their sockets are full")
            grown = highest(process, canary) - before
            ended = cut_off(process)
        wait_for(lambda: process.errors.count(" ends: ") >= 40)
    assert (10 <= ended < 40) if not plant else not ended, (ended, grown)


def test_a_page_of_long_texts_is_shorter_and_says_how_to_see_more(serve, program, tmp_path):
    serve().chat.stop()
    with_texts(tmp_path / "chat.db", 1)
    server = serve()
    ann = program("ann", server, room="#room0", replay=200)
    replayed = [each["number"] for each in ann.ask() if each["type"] == "message"]
    assert 1 < len(replayed) < 200
    assert replayed == list(range(201 - len(replayed), 201))
    seen: list[int] = []
    before: int | None = 201
    while before is not None:
        page = ann.ask(type="history", count=200, before=before)[0]
        assert len(page["messages"]) > 1
        assert sum(len(each["text"]) * 4 for each in page["messages"]) <= PAGE_BYTES
        seen[:0] = [each["number"] for each in page["messages"]]
        before = page["before"]
    assert seen == list(range(1, 201))
    again = program("bob", server)
    shown = again.ask(type="join", room="#room0", since=0)
    assert [each["number"] for each in shown if each["type"] == "message"] == list(range(1, 201))
    cy = server.client("cy #room0")
    lines = [line for line in cy.ask("/history 200") if WIDE in line]
    assert 1 < len(lines) < 200
    assert any("/history #room0 before" in line or "/history before" in line for line in cy.seen[-5:])


# --- the account -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lines", "exact"), [(10, False), (100, True)], ids=["few", "many"])
def test_output_for_many_counts_once_until_the_last_writer_has_sent_it(lines, exact):
    """That of a small parcel is counted as estimated."""
    output = Output()
    view = TextDialect().views.here
    parcel = Parcel(view, [Notice("hello")] * lines, output)
    boxes = [Mailbox(1000) for _ in range(5)]
    for box in boxes:
        box.push(parcel)
    assert output.total() == parcel.size
    length = len(parcel.data) if exact else parcel.size
    assert parcel.data
    assert output.total() == length
    assert (length < parcel.size) is exact
    del parcel
    for box in boxes:
        assert output.total() == length
        box.collect()
    assert output.total() == 0


def test_output_for_a_full_socket_counts_until_it_is_sent_or_the_session_is_cut_off():
    output = Output()
    for end in (Mailbox.sent, Mailbox.cut_off):
        box = Mailbox(1000)
        box.keep(output.hold(5000))
        assert output.total() == box.held() == 5000
        end(box)
        box.collect_held()
        assert output.total() == box.held() == 0


def test_relief_comes_when_there_is_too_much_and_not_too_often():
    asked: list[int] = []
    now = [1.0]
    output = Output(1000, asked.append, clock=lambda: now[0])
    kept = [output.hold(1000)]
    output.check()
    assert asked == []
    kept.append(output.hold(10))
    output.check()
    output.check()
    assert asked == [10]
    now[0] += PAUSE
    output.check()
    assert asked == [10, 10]
    kept.clear()
    now[0] += PAUSE
    output.check()
    assert asked == [10, 10]


class Waiting:
    """A session for which lines wait."""

    def __init__(self, number: int, lines: int) -> None:
        self.number = number
        self.mailbox = Mailbox(1000)
        self.mailbox.push(Parcel(TextDialect().views.here, [Notice("hello")] * lines))
        self.reason: Exception | None = None

    def cut_off(self, error: Exception) -> None:
        self.reason = error
        self.mailbox.cut_off()


def test_the_sessions_with_the_most_output_are_cut_off_and_no_more_than_needed():
    store = SessionStore()
    sessions = [Waiting(number, lines) for number, lines in enumerate((100, 400, 300, 0, 200))]
    for session in sessions:
        store.add(session)  # type: ignore[arg-type]
    store.relieve(600 * LINE_SIZE)
    assert [session.reason is not None for session in sessions] == [False, True, True, False, False]
    assert isinstance(sessions[1].reason, TooSlow)
    assert "too much was waiting for all" in sessions[1].reason.text
    store.relieve(10**9)
    assert [session.reason is not None for session in sessions] == [True, True, True, False, True]
