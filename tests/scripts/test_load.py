"""The load driver: its findings with a correct server, with a faulty one, and with none."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import dataclasses
import importlib.util
import json
import multiprocessing
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import click
import load
import pytest
from click.testing import CliRunner
from driver import machine, report, websocket
from driver.checks import MAX_MISSING, Batch, OneOrder, Room, Seen, Tally
from driver.conductor import Result, Row
from driver.dialects import Texts
from driver.histogram import LONGEST, Histogram, bucket, highest
from driver.plan import Plan, clock
from driver.worker import Report, Worker
from support.clients import Client
from support.pages import PERFORMANCE, table_after
from support.waiting import WAIT, wait_for

pytestmark = pytest.mark.slow

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"
LIMIT = 50  # seconds for a run in a test


@dataclasses.dataclass
class Run:
    """A run of load.py that is over."""

    code: int
    output: str
    errors: str
    found: dict

    def row(self, name: str) -> str:
        """The value in the table's row of that name."""
        match = re.search(rf"^{re.escape(name)}  +(.+)$", self.output, re.MULTILINE)
        assert match, self.output + self.errors
        return match[1]


def run_load(port: int, *options: str, folder: pathlib.Path) -> Run:
    command = [sys.executable, SCRIPTS / "load.py", "--port", str(port), "--json", folder / "found.json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
    file = folder / "found.json"
    found = json.loads(file.read_text()) if file.exists() else {}
    return Run(done.returncode, done.stdout, done.stderr, found)


@pytest.fixture
def drive(tmp_path: pathlib.Path) -> Callable[..., Run]:
    """Run load.py: drive(port, "--clients", "40", …)."""
    return lambda port, *options: run_load(port, *options, folder=tmp_path)


# --- a server that can be made to do wrong ------------------------------------------------------------------

Fault = Callable[[int, int, bytes], list[bytes]]


class Stub:
    """A chat server of one room and the text dialect. ``fault(message, member, line)`` gives the lines that a member
    is sent for the message with that number; members have the numbers that the driver gives them."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._members: dict[int, asyncio.StreamWriter] = {}
        self._messages = 0
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._converse, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="stub")
        self._thread.start()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await reader.readline()
        if not hello:  # it only looked whether somebody answers
            writer.close()
            return
        name, room = hello.decode().split()
        member = int(name.split("-")[2])
        self._members[member] = writer
        writer.write(f"* You are in {room} with others.\r\n".encode())
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                self._messages += 1
                for other, outgoing in self._members.items():
                    for shown in self._fault(self._messages, other, b"[12:00] %s: %s" % (name.encode(), line)):
                        outgoing.write(shown)
        del self._members[member]
        writer.close()

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._members.values():
            writer.close()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(WAIT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT)
        self._loop.close()


@pytest.fixture
def stub() -> Iterator[Callable[[Fault], Stub]]:
    started: list[Stub] = []

    def start(fault: Fault) -> Stub:
        started.append(Stub(fault))
        return started[-1]

    yield start
    for each in started:
        each.stop()


STUB_RUN = ("--clients", "20", "--rate", "300", "--duration", "1", "--patience", "1.5")


# --- a server that is right ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["text", "json", "web"])
def test_a_server_that_is_right_loses_nothing(server, drive, dialect):
    run = drive(server.port, "--clients", "40", "--duration", "1", "--dialect", dialect, "--processes", "2")
    assert run.code == 0, run.output + run.errors
    assert run.row("connected").startswith("40 in ")
    assert [run.row(name) for name in ("sent", "delivered")] == ["100", "4000"]
    assert [run.row(name) for name in ("lost", "duplicated", "out of order")] == ["0", "0", "0"]
    assert run.found["latency_ms"]["max"] > 0
    assert server.client("ann #load0").ask("/rooms")  # the server is still well


def test_two_hundred_clients_on_a_default_server_lose_nothing(start_process, drive):
    process = start_process()
    run = drive(process.port, "--duration", "2")
    assert run.code == 0, run.output + run.errors
    assert run.row("connected").startswith("200 in ")
    assert [run.row(name) for name in ("sent", "delivered", "lost")] == ["200", "40000", "0"]
    assert re.fullmatch(r"\d+% of a core", run.row("server's CPU"))
    assert re.fullmatch(r"\d+ MB, \d+ threads", run.row("server's memory"))
    assert run.found["server"]["threads"] > 200
    assert "Connecting" in run.errors
    assert "Running" in run.errors


@pytest.mark.stress
def test_the_closed_loop_keeps_its_window_full(server, drive):
    run = drive(server.port, "--clients", "10", "--senders", "2", "--window", "8", "--duration", "1")
    assert run.code == 0, run.output + run.errors
    assert run.found["sent"] > 100
    assert run.found["delivered"] == 10 * run.found["sent"]


@pytest.mark.stress
def test_a_sender_beyond_the_rate_is_late_and_loses_nothing(serve, drive):
    server = serve(rate=20.0, burst=5)
    run = drive(server.port, "--clients", "4", "--senders", "1", "--rate", "40", "--duration", "1")
    assert run.code == 0, run.output + run.errors
    assert run.found["sent"] == 40
    assert run.found["latency_ms"]["max"] > 500  # the last of them had to wait for about 0.75 s


def test_rooms_do_not_hear_one_another(server, drive):
    run = drive(server.port, "--clients", "30", "--rooms", "3", "--senders", "2", "--duration", "0.6")
    assert run.code == 0, run.output + run.errors
    assert run.found["delivered"] == 10 * run.found["sent"] == 600


@pytest.mark.stress
def test_messages_of_an_earlier_run_are_not_mistaken_for_this_ones(server, drive):
    for _ in range(2):
        run = drive(server.port, "--clients", "5", "--duration", "0.3")
        assert run.code == 0, run.output + run.errors
        assert run.found["delivered"] == 5 * run.found["sent"]


@pytest.mark.stress
@pytest.mark.parametrize("dialect", ["text", "json", "web"])
def test_a_client_that_reconnects_gets_the_messages_after_that(server, drive, dialect):
    options = ("--clients", "20", "--senders", "4", "--churn", "30", "--duration", "1.5", "--dialect", dialect)
    run = drive(server.port, *options, "--processes", "2")
    assert run.code == 0, run.output + run.errors
    assert 5 <= int(run.row("reconnected")) <= 45
    assert run.row("lost") == "0"


@pytest.mark.stress
def test_slow_clients_are_cut_off_and_are_no_loss(serve, drive):
    server = serve(queue_limit=300, send_timeout=1.0)
    options = ("--clients", "6", "--senders", "2", "--slow", "2", "--window", "64", "--size", "2000", "--duration", "4")
    run = drive(server.port, *options)
    assert run.code == 0, run.output + run.errors
    assert run.row("slow ones cut off") == "2 of 2"
    assert run.found["delivered"] == 4 * run.found["sent"]


@pytest.mark.stress
def test_a_ramp_spreads_the_connecting(server, drive):
    run = drive(server.port, "--clients", "10", "--ramp", "1", "--duration", "0.2")
    assert run.code == 0, run.output + run.errors
    assert run.found["connecting_s"] >= 0.9


# --- a server that is wrong -----------------------------------------------------------------------------------


def test_one_message_in_a_thousand_that_is_dropped_is_found(stub, drive):
    deliveries = dropped = 0

    def fault(message: int, member: int, line: bytes) -> list[bytes]:
        nonlocal deliveries, dropped
        deliveries += 1
        if deliveries % 1000:
            return [line]
        dropped += 1
        return []

    run = drive(stub(fault).port, *STUB_RUN, "--processes", "2")
    assert run.code == 1
    assert dropped == 6
    assert (run.found["sent"], run.row("lost")) == (300, "6")
    assert [run.row(name) for name in ("duplicated", "out of order")] == ["0", "0"]


@pytest.mark.stress
def test_a_message_that_nobody_gets_is_lost_for_all(stub, drive):
    run = drive(stub(lambda message, member, line: [line] if message != 300 else []).port, *STUB_RUN)
    assert (run.code, run.row("lost")) == (1, "20")


@pytest.mark.stress
def test_a_loss_is_found_in_the_closed_loop_and_does_not_end_it(stub, drive):
    port = stub(lambda message, member, line: [line] if message != 50 else []).port
    options = ("--clients", "5", "--senders", "1", "--window", "1", "--duration", "2", "--patience", "0.5")
    run = drive(port, *options)
    assert (run.code, run.row("lost")) == (1, "5")
    assert run.found["sent"] > 60


def test_a_message_sent_twice_is_found(stub, drive):
    port = stub(lambda message, member, line: [line, line] if (message, member) in ((7, 3), (299, 19)) else [line]).port
    run = drive(port, *STUB_RUN)
    assert run.code == 1
    assert [run.row(name) for name in ("lost", "duplicated", "out of order")] == ["0", "2", "0"]


@pytest.mark.stress
def test_messages_of_one_sender_that_change_places_are_found(stub, drive):
    held: list[bytes] = []

    def fault(message: int, member: int, line: bytes) -> list[bytes]:
        if (message, member) == (100, 3):
            held.append(line)
            return []
        return [line, held.pop()] if (message, member) == (101, 3) else [line]

    run = drive(stub(fault).port, *STUB_RUN, "--senders", "1")
    assert run.code == 1
    assert [run.row(name) for name in ("lost", "duplicated", "out of order")] == ["0", "0", "1"]


@pytest.mark.stress
@pytest.mark.parametrize("processes", [1, 2])
def test_members_that_see_two_senders_in_different_orders_are_found(stub, drive, processes):
    """With two processes, the even ones are in one and the odd ones in the other."""
    held: dict[int, bytes] = {}

    def fault(message: int, member: int, line: bytes) -> list[bytes]:
        if message == 100 and member % 2:
            held[member] = line
            return []
        return [line, held.pop(member)] if message == 101 and member % 2 else [line]

    run = drive(stub(fault).port, *STUB_RUN, "--processes", str(processes))
    assert run.code == 1
    assert [run.row(name) for name in ("lost", "duplicated")] == ["0", "0"]
    assert int(run.row("out of order")) > 0


@pytest.mark.stress
def test_the_servers_complaints_are_reported(stub, drive):
    def fault(message: int, member: int, line: bytes) -> list[bytes]:
        return [line, b"! You are too slow.\r\n"] if (message, member) == (150, 3) else [line]

    run = drive(stub(fault).port, *STUB_RUN)
    assert run.code == 0
    assert "The server said: ! You are too slow.\n" in run.output


def test_a_server_that_stops_in_the_middle_of_a_run_is_no_success(start_process, drive):
    process = start_process()
    stopper = threading.Thread(target=lambda: (wait_for_talk(process.port), process.stop()))
    stopper.start()
    run = drive(process.port, "--clients", "20", "--duration", "4", "--patience", "1")
    stopper.join(WAIT)
    assert run.code == 1, run.output + run.errors
    assert run.row("cut off") == "20"
    assert run.found["sent"] < 200
    assert "The server said: ! The server is shutting down. Goodbye.\n" in run.output


def wait_for_talk(port: int) -> None:
    """Wait until somebody has said something in the load's room."""
    with Client(port, "watcher #watch") as client:
        wait_for(lambda: any(re.search(r"#load0 +\d+ +[1-9]", line) for line in client.ask("/rooms")), "the run")


# --- no run -----------------------------------------------------------------------------------------------------


def refused(*options: str) -> str:
    """The one line with which load.py says no."""
    done = CliRunner().invoke(load.main, list(options))
    assert done.exit_code == 2, done.output
    assert done.output.count("\n") == 1
    return done.output


def test_nobody_there_is_one_line_and_exit_code_2():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert refused("--port", str(port)) == f"load: nobody answers at 127.0.0.1 port {port}: Connection refused\n"


@pytest.mark.parametrize(
    ("dialect", "why"), [("text", "! The server is full"), ("web", "(HTTP/1.1 503|.*The server is full)")]
)
def test_a_full_server_is_one_line_and_exit_code_2(serve, drive, dialect, why):
    run = drive(serve(max_clients=10).port, "--clients", "40", "--duration", "1", "--dialect", dialect)
    assert (run.code, run.output) == (2, "")
    assert re.search(rf"^load: about \d+ of 40 clients got in, then: {why}", run.errors, re.MULTILINE)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--clients", "0"), "0 is not in the range"),
        (("--rate", "5", "--window", "5"), "--rate is the open loop and --window the closed one"),
        (("--rate", "0"), "--rate"),
        (("--clients", "10", "--rooms", "11"), "10 clients are too few for 11 rooms"),
        (("--clients", "10", "--senders", "8", "--slow", "3"), "with 8 senders each and 3 slow ones"),
        (("--clients", "10", "--churn", "1"), "--churn reconnects clients that neither talk nor are slow"),
        (("--clients", "2", "--processes", "3"), "2 clients are too few for 3 processes"),
        (("--shout",), "No such option"),
        (("--csv", "/no/such/folder/out.csv"), "/no/such/folder/out.csv cannot be written"),
        (("--pid", "4194305"), "there is no process 4194305"),
    ],
)
def test_impossible_options_are_refused_in_one_line(options, why):
    assert why in refused(*options)


def test_without_matplotlib_a_plot_is_refused_before_the_run(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert refused("--plot", "out.svg") == (
        "load: --plot needs matplotlib: pip install '.[plot]' in the folder of README.rst.\n"
    )


def test_ctrl_c_ends_all_of_its_processes(server):
    command = [sys.executable, SCRIPTS / "load.py", "--port", str(server.port), "--clients", "10", "--processes", "2"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as popen:
        wait_for_talk(server.port)
        os.killpg(popen.pid, signal.SIGINT)
        output, errors = popen.communicate(timeout=WAIT)  # to the end of what all of them write to
    assert popen.returncode == 130
    assert errors.endswith("load: stopped before its end.\n")
    assert "Traceback" not in output + errors


# --- files ------------------------------------------------------------------------------------------------------


def test_csv_and_json_add_up_to_the_table(server, drive, tmp_path):
    run = drive(server.port, "--clients", "10", "--duration", "1", "--csv", str(tmp_path / "out.csv"))
    assert run.code == 0, run.output + run.errors
    with open(tmp_path / "out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == report.COLUMNS
    assert [row["seconds"] for row in rows[:4]] == ["0.25", "0.5", "0.75", "1.0"]
    for column, total in (("sent", 100), ("delivered", 1000)):
        assert sum(int(row[column]) for row in rows) == run.found[column] == int(run.row(column)) == total
    assert max(float(row["max_ms"] or 0) for row in rows) == run.found["latency_ms"]["max"]
    assert [
        {key: "" if value is None else str(value) for key, value in record.items()} for record in run.found["intervals"]
    ] == rows
    assert run.found["plan"]["clients"] == 10
    assert run.row("max") == f"{run.found['latency_ms']['max']:.2f} ms"


@pytest.mark.stress
def test_a_plot_is_drawn(server, drive, tmp_path):
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed, so nothing was drawn")
    run = drive(server.port, "--clients", "10", "--duration", "0.5", "--plot", str(tmp_path / "out.svg"))
    assert run.code == 0, run.output + run.errors
    drawn = (tmp_path / "out.svg").read_text()
    assert drawn.startswith("<?xml")
    assert "<svg" in drawn


# --- the histogram ----------------------------------------------------------------------------------------------


def test_every_value_has_one_bucket_near_it():
    """The buckets follow one another without a gap, and are narrower than a 64th of what is in them."""
    values = [*range(5000), *(random.Random(1).randrange(LONGEST) for _ in range(5000)), LONGEST]
    for value in values:
        at = bucket(value)
        lowest = highest(at - 1) + 1 if at else 0
        assert lowest <= value <= highest(at)
        assert highest(at) - lowest <= value / 64


def test_percentiles_are_those_of_the_values():
    values = [int(random.Random(2).expovariate(1 / 3000)) for _ in range(1)] + [
        int(value) for value in random.Random(2).choices(range(100_000), k=9999)
    ]
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    ordered = sorted(values)
    for percent in (1, 50, 90, 99, 99.9):
        exact = ordered[int(len(values) * percent / 100) - 1]
        assert exact <= histogram.percentile(percent) <= exact * (1 + 1 / 64) + 1
    assert histogram.percentile(100) == ordered[-1]
    assert histogram.total == 10_000


def test_histograms_add_up_and_an_empty_one_has_no_percentile():
    first, second = Histogram(), Histogram()
    assert first.percentile(50) is None
    first.record_since((0, 10, 2000), 1000)  # 2000 is later than 1000: counts as nothing
    second.record(LONGEST * 10)
    second.add(*first.take())
    assert first.total == 0
    assert second.total == 4
    assert second.percentile(25) == 0
    assert second.percentile(50) == highest(bucket(990))
    assert second.longest == LONGEST * 10
    first.merge(second)
    assert first.counts == second.counts


# --- the checks -------------------------------------------------------------------------------------------------


class Viewer:
    """A client's checks without the client: what it sees is written as "a1 b1 a2"."""

    senders = (0, 1)

    def __init__(self, order: OneOrder | None = None, **seen: object) -> None:
        self.order = order or OneOrder(1000)
        self.seen = Seen(self.senders, **seen)  # type: ignore[arg-type]
        self.tally = Tally()
        self.latencies = Histogram()

    def sees(self, *batches: str) -> Viewer:
        for batch in batches:
            found = [("ab?".index(word[0]), int(word[1:]), 100 * int(word[1:])) for word in batch.split()]
            self.seen.take(Batch(found, self.senders, self.order), 10_000, self.tally, self.latencies)
        return self

    def ends(self, a: int, b: int) -> Tally:
        self.seen.count_lost({0: a, 1: b}, self.tally)
        assert self.latencies.total == self.tally.delivered
        return self.tally


@pytest.mark.parametrize(
    ("batches", "found"),
    [
        (("a0 a1 b0", "b1 a2"), Tally(5)),
        (("a0 a2 b0", "b1"), Tally(4, lost=1)),
        (("a0 a1 b0", "a2"), Tally(4, lost=1)),
        ((), Tally(lost=5)),
        (("a0 a1 a1 b0 b1 a2",), Tally(5, duplicated=1)),
        (("a0 a1", "a1 a2 b0 b1", "a0"), Tally(5, duplicated=2)),
        (("a0 a2 a1 b0 b1",), Tally(5, out_of_order=1)),
        (("a2", "a1 b0 b1", "a0 b1"), Tally(5, out_of_order=2, duplicated=1)),
        (("a0 a1 ?0 b0", "b1 a2"), Tally(5, astray=1)),
    ],
)
def test_the_kinds_of_lines_that_a_client_sees_are_told_apart(batches, found):
    assert Viewer().sees(*batches).ends(3, 2) == found
    one_by_one = [word for batch in batches for word in batch.split()]
    assert Viewer().sees(*one_by_one).ends(3, 2) == found


def test_the_order_in_which_one_member_first_saw_messages_holds_for_all():
    first = Viewer().sees("a0 b0", "a1 b1 a2")
    same = Viewer(first.order).sees("a0", "b0 a1 b1", "a2")
    other = Viewer(first.order).sees("a0 a1", "b0 b1", "a2")
    assert first.ends(3, 2) == same.ends(3, 2) == Tally(5)
    assert other.ends(3, 2) == Tally(5, out_of_order=1)


def test_a_loss_does_not_disturb_the_order():
    first = Viewer().sees("a0 b0 a1 b1 a2")
    assert Viewer(first.order).sees("a0 a1", "b1 a2").ends(3, 2) == Tally(4, lost=1)


def test_a_client_that_enters_late_is_owed_later_messages():
    def owed(sender: int) -> int:
        return (40, 60)[sender]

    def late() -> Viewer:
        return Viewer(since=4000, first_owed=owed)

    assert late().sees("a40 a41", "b60").ends(42, 61) == Tally(3)
    assert late().sees("a38 a39", "a40 a41").ends(42, 60) == Tally(2)  # 38 and 39 were shown as history
    assert late().sees("a38 a39", "a41").ends(42, 60) == Tally(1, lost=1)  # a hole between history and live
    assert late().sees("a42").ends(43, 60) == Tally(1, lost=2)
    assert late().ends(43, 59) == Tally(lost=3)
    assert Viewer(since=4000, first_owed=lambda sender: None).sees("a42").ends(43, 90) == Tally(1)


def test_a_client_is_complete_when_all_has_come():
    viewer = Viewer().sees("a0 a1 b0")
    assert not viewer.seen.has_all({0: 3, 1: 1})
    assert viewer.seen.has_all({0: 2, 1: 1})
    assert not viewer.sees("b2").seen.has_all({0: 2, 1: 3})
    assert viewer.sees("b1").seen.has_all({0: 2, 1: 3})


def test_a_long_gap_takes_no_more_memory_than_is_bounded():
    viewer = Viewer().sees("a0", f"a{3 * MAX_MISSING}")
    assert viewer.tally.lost == 2 * MAX_MISSING - 1
    assert viewer.ends(3 * MAX_MISSING + 1, 0).lost == 3 * MAX_MISSING - 1


def test_messages_that_are_too_old_to_judge_are_not_judged():
    order = OneOrder(2)
    assert [order.position(0, number) for number in range(3)] == [0, 1, 2]
    assert order.position(0, 0) is None
    assert order.position(0, 2) == 2
    assert order.position(1, 0) == 3


def test_the_same_bytes_are_read_once():
    texts = Texts("run", 50, "text")
    read: list[bytes] = []

    def find(data: bytes) -> list[tuple[int, int, int]]:
        read.append(data)
        return texts.find(data)

    room = Room((0, 1), find, None, 5)
    data = b"* ann joined\r\n[12:00] u: " + texts.message(0, 0, 0, 5).encode()
    assert room.read(data)[0].messages == [(0, 0, 5, None)]
    assert not room.read(bytes(data))[1]
    assert len(read) == 1
    for number in range(5):
        room.read(texts.message(0, 0, number, 5).encode())
    assert room.read(data)[1]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_the_drivers_handshake_and_frames_are_those_of_a_websocket(size):
    protocol = pytest.importorskip("websockets.server").ServerProtocol(max_size=1 << 17)
    opening = websocket.Handshake("127.0.0.1:8080", bytes(range(16)))
    protocol.receive_data(opening.request)
    [request] = protocol.events_received()
    protocol.send_response(protocol.accept(request))
    head = b"".join(protocol.data_to_send())
    assert [opening.response(head[:at]) for at in (0, 1, len(head) - 1)] == [0, 0, 0]
    assert opening.response(head + b"\x81") == len(head)

    payload = (b"0123456\n" * (1 << 13))[:size]
    protocol.receive_data(websocket.frame(payload, b"\x00\xff\x81\x0a"))
    assert [found.data for found in protocol.events_received()] == [payload]
    for _ in range(2):
        protocol.send_text(payload)
    sent = b"".join(protocol.data_to_send())
    assert websocket.whole_frames(sent) == len(sent)
    assert [websocket.whole_frames(sent[:at]) for at in (1, len(sent) // 2, len(sent) - 1)] == [
        *(0, len(sent) // 2, len(sent) // 2)
    ]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP/1.1 503 Service Unavailable"),
        (b"HTTP/1.1 101 OK\r\nSec-WebSocket-Accept: x\r\n\r\n", "another Sec-WebSocket-Accept"),
        (b"x" * 20_000, "does not end"),
    ],
)
def test_a_handshake_that_is_refused_or_no_handshake_is_found(data, why):
    with pytest.raises(websocket.Broken, match=why):
        websocket.Handshake("127.0.0.1:8080", bytes(16)).response(data)


@pytest.mark.parametrize("data", [b"\x81\x81abcdx", b"\xc1\x01x", b"\x83\x01x", b"\x09\x00", b"\x81\x00{}\n"])
def test_a_frame_that_no_server_may_send_is_found(data):
    with pytest.raises(websocket.Broken, match="no server's frame begins with the bytes"):
        websocket.whole_frames(data)


@pytest.mark.parametrize("dialect", ["text", "json", "web", "redis"])
def test_a_message_has_its_size_and_is_found_again(dialect):
    texts = Texts("r1", 60, dialect)
    line = texts.message(12, 3, 45, 678)
    assert texts.find(line.encode()) == [(12, 45, 678)]
    assert Texts("r2", 60, dialect).find(line.encode()) == []
    json_text = json.loads(line)["text"] if dialect in ("json", "web") else ""
    said = {"text": line, "json": json_text, "web": json_text, "redis": line.split(" ")[-1]}
    assert len(said[dialect].rstrip("\r\n")) == 60


# --- the plan and the report ------------------------------------------------------------------------------------


def plan(**changes: object) -> Plan:
    chosen: dict = {
        "family": socket.AF_INET,
        "address": ("127.0.0.1", 8080),
        "dialect": "text",
        "clients": 20,
        "rooms": 2,
        "senders": 3,
        "rate": 100.0,
        "window": None,
        "size": 64,
        "duration": 10.0,
        "ramp": 0.0,
        "slow": 2,
        "churn": 0.0,
        "processes": 3,
        "patience": 5.0,
        "run": "r",
        "epoch": 0,
    }
    return Plan(**{**chosen, **changes})


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_every_client_is_in_one_process(processes):
    shared_out = [client for process in range(processes) for client in plan(processes=processes).clients_of(process)]
    assert sorted(shared_out) == list(range(20))


def test_senders_are_the_first_of_each_room_and_slow_ones_the_last():
    chosen = plan()
    assert [list(chosen.senders_in(room)) for room in (0, 1)] == [[0, 2, 4], [1, 3, 5]]
    assert [client for client in range(20) if chosen.is_sender(client)] == [0, 1, 2, 3, 4, 5]
    assert [client for client in range(20) if chosen.is_slow(client)] == [18, 19]
    assert [client for client in range(20) if chosen.may_churn(client)] == list(range(6, 18))


def test_senders_take_turns_at_the_rate():
    chosen = plan()
    due = sorted(chosen.due(sender, number, 5000) for sender in range(6) for number in range(4))
    assert due == [5000 + 10_000 * number for number in range(24)]
    for at in (0, 5000, 5001, 64_999, 65_000, 1_000_000):
        for sender in range(6):
            number = chosen.first_due(sender, at, 5000)
            assert chosen.due(sender, number, 5000) >= at
            assert number == 0 or chosen.due(sender, number - 1, 5000) < at
    assert plan(rate=None, window=1).first_due(0, 5000, 5000) is None


def test_a_message_that_is_sent_late_has_the_time_at_which_it_was_due():
    """Half a second's messages are late from the start, and the socket takes only a few of them at a time."""
    chosen = plan(clients=1, rooms=1, senders=1, slow=0, processes=1, duration=0.5, size=2000)
    pipe, other_end = multiprocessing.Pipe()
    server, sock = socket.socketpair()
    with pipe, other_end, server, sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        sock.setblocking(False)
        late = Worker(chosen, 0, pipe)
        late.clients[0].sock, late.clients[0].inside = sock, True
        began = clock() - 1_000_000
        late._begin(began)
        late._look_after(clock())
        received = b""
        while received.count(b"\n") < 50:
            late._round(0.01)
            late._look_after(clock())
            received += server.recv(1 << 20)
        late.selector.close()
    assert late.texts.find(received) == [(0, number, began + 10_000 * number) for number in range(50)]
    assert late.clients[0].next == 50


def result(**changes: object) -> Result:
    latencies = Histogram()
    latencies.record_since((0,), 3000)
    chosen: dict = {
        "plan": plan(duration=1.0),
        "connected": 20,
        "connecting": 0.1,
        "sent": 1,
        "tally": Tally(1),
        "latencies": latencies,
        "rows": [Row(delivered=each) for each in (10, 20, 30, 40, 5)],
        "reports": [Report(Tally(), cpu=0.3), Report(Tally(), cpu=0.2)],
        "server": None,
        "server_cpu": None,
        "cores_busy": 0.5,
    }
    return Result(**{**chosen, **changes})


def test_deliveries_a_second_are_those_of_the_time_of_sending():
    assert result().deliveries_per_second == 100


def test_the_driver_says_when_it_was_the_bottleneck():
    assert report.remarks(result()) == []
    busy = report.remarks(result(reports=[Report(Tally(), cpu=0.3), Report(Tally(), cpu=0.97)]))
    assert busy == ["The driver was the bottleneck: a process of the driver used 97% of a core: take more --processes."]
    assert len(report.remarks(result(reports=[Report(Tally(), round=2000)]))) == 1
    assert len(report.remarks(result(reports=[Report(Tally(), round=1400)]))) == 0
    assert report.remarks(result(cores_busy=1.0)) == [
        "All cores of this machine were busy, 0.50 of them with the driver."
    ]


@pytest.mark.parametrize("wrong", ["lost", "duplicated", "out_of_order", "astray"])
def test_anything_wrong_is_no_success(wrong):
    assert result().clean
    assert not result(tally=Tally(1, **{wrong: 1})).clean
    assert not result(reports=[Report(Tally(), cut_off=1)]).clean
    assert not result(tally=Tally()).clean  # nobody saw anything, so nothing was shown to be right


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no /proc")
def test_a_servers_process_is_found_by_its_port(start_process):
    process = start_process()
    assert machine.listener(process.port) == process.popen.pid
    used = machine.usage(process.popen.pid)
    assert used.memory > 5_000_000
    assert used.threads > 3
    process.stop()
    assert machine.listener(process.port) is None
    assert machine.usage(process.popen.pid) is None


# --- the peers and the table --------------------------------------------------------------------------------------


@pytest.fixture(params=["textbook.py", "asyncio_chat.py", "pipeline.py"])
def peer(request) -> Iterator[int]:
    """The port of one of scripts/peers/."""
    command = [sys.executable, "-u", SCRIPTS / "peers" / request.param, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as popen:
        assert popen.stdout
        try:
            yield int(popen.stdout.readline().split()[-1])
        finally:
            popen.kill()


def test_a_peer_is_a_chat_server(peer):
    with Client(peer, "ann #lab2") as ann, Client(peer, "bob #lab2") as bob, Client(peer, "cy") as cy:
        assert ann.seen[-1] == "* You are in #lab2 with 0 others."
        assert bob.seen[-1] == "* You are in #lab2 with 1 others."
        bob.send("hi all")
        for client in (ann, bob):
            assert re.fullmatch(r"\[\d\d:\d\d\] bob: hi all", client.expect("bob"))
        cy.send("anybody here?")
        assert cy.expect("cy: ").endswith("anybody here?")
        assert ann.nothing_comes()


@pytest.mark.stress
def test_a_peer_loses_nothing(peer, drive):
    run = drive(peer, "--clients", "40", "--duration", "1")
    assert run.code == 0, run.output + run.errors
    assert run.row("delivered") == "4000"


def test_the_readme_has_every_option_of_the_load_driver():
    told = {row[0]: row[1] for row in table_after("load", PERFORMANCE)}
    options = {param.opts[0]: param for param in load.main.params if isinstance(param, click.Option)}
    assert list(told) == list(options)
    for name, option in options.items():
        if isinstance(option.default, (int, float, str)):
            assert told[name] == (f"{option.default:g}" if isinstance(option.default, float) else str(option.default))
