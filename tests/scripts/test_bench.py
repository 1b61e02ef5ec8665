"""The bench: each server that it compares, what its clients count, and its tables."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest
from driver import secure, stages
from driver.comparison import Comparison, short
from driver.conductor import new_run
from driver.contenders import PEERS, Contender, ours, peers, running
from driver.crowd import Crowd, Outcome, Task, crowd
from driver.worker import Failed
from support.pages import PERFORMANCE, table_after
from support.programs import load

pytestmark = pytest.mark.timeout(120)

BENCH = PEERS.parent / "bench.py"
OURS = ours(["text", "json", "web", "edit", "tls"])
FOUND, REMARKS = peers(shutil.which("ergo"))
NAMES = (
    "tls",
    "sync-full",
    "per-session",
    "redis-stored",
    "redis",
    "ergo",
    "inspircd",
    "ngircd",
    "floor",
    "pipeline",
    "asyncio",
    "textbook",
)


@pytest.fixture(scope="module")
def many() -> Iterator[Crowd]:
    """A crowd in two processes."""
    with crowd(2) as clients:
        yield clients


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> str:
    for each in (tmp_path, *list(tmp_path.parents)[:2]):  # some servers give up being root
        os.chmod(each, 0o755)
    return str(tmp_path)


def measured(many: Crowd, contender: Contender, folder: str, **changes: object) -> Outcome:
    with running(contender, folder) as server:
        options: dict = {"clients": 5, "window": 4, "seconds": 0.1, **changes}
        return many.do(Task(server.port, contender.dialect, run=new_run(), **options), server.pid)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["text", "json", "web", "edit", *NAMES])
def test_a_server_delivers_every_message_once_to_each_client(many, folder, name):
    contender = next((each for each in [*OURS, *FOUND] if each.name == name), None)
    if contender is None:
        pytest.skip(next(each for each in REMARKS if each.lower().startswith(name.partition("-")[0])))
    if name == "tls" and secure.WHY_NOT:
        pytest.skip(secure.WHY_NOT)
    if name == "web":
        pytest.importorskip("websockets")
    found = measured(many, contender, folder)
    assert found.sent > 4
    assert (found.in_all, found.wrong) == (5 * found.sent, 0)
    assert 0 < found.delivered <= found.in_all
    assert 0 < found.latency(50) <= found.latency(99)


BAD = """
import socket, sys
sys.path.insert(0, {folder!r})
import floor
class Bad(floor.Floor):
    messages = 0
    def say(self, data):
        self.messages += 1
        if self.messages == {number}:
            {fault}
        super().say(data)
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    Bad(listener).serve()
"""


def bad(number: int, fault: str) -> Contender:
    """A server that does something wrong with one of the messages, which come one by one."""
    code = textwrap.dedent(BAD).format(folder=str(PEERS), number=number, fault=fault)
    return Contender("bad", "bad", (sys.executable, "-c", code.replace("$", "$$"), "$port"), "text")


@pytest.mark.slow
def test_a_message_that_comes_twice_is_counted_and_a_lost_one_ends_the_run(many, folder, monkeypatch):
    twice = bad(5, "[*self.members][-1].sendall(data)")
    assert measured(many, twice, folder, window=1).wrong == 1
    with pytest.raises(Failed, match="the server closed"):
        measured(many, bad(5, "[*self.members][-1].shutdown(socket.SHUT_WR)"), folder, window=1)
    assert measured(many, twice, folder, window=1).wrong == 1  # the crowd goes on after that


@pytest.mark.slow
def test_clients_that_only_join_are_counted_and_so_is_the_memory_for_them(many, folder):
    found = measured(many, OURS[0], folder, clients=30, seconds=0.0, rooms=3)
    assert (found.clients, found.sent) == (30, 0)
    assert 0 < found.joining < 10
    if sys.platform.startswith("linux"):
        assert 5_000 < (found.memory or 0) < 500_000


def bench(*options: str) -> str:
    done = subprocess.run([sys.executable, BENCH, *options], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows(output: str) -> list[list[str]]:
    """The rows of the first table, with its head."""
    head, body = re.split(r"^=[= ]+$", output, flags=re.MULTILINE)[1:3]
    return [re.split(r"\s\s+", line.strip()) for line in (head + body).splitlines() if line.strip()]


@pytest.mark.slow
def test_the_bench_prints_tables_puts_them_into_a_page_and_writes_json(tmp_path):
    file, page = tmp_path / "found.json", tmp_path / "page.rst"
    page.write_text("before\n\n.. begin comparison\n\nold\n\n.. end comparison\n\nafter\n")
    small = ("--members", "5", "--windows", "4", "--seconds", "0.1", "--joins", "10", "--processes", "1")
    output = bench(*small, "--repeat", "2", "--only", "floor", "--json", str(file), "--page", str(page))
    assert f"Python {sys.version.split()[0]}" in output
    head, *table = rows(output)
    assert head == ["server", "5x4"]
    assert [row[0] for row in table] == ["chat_threads", "chat_threads, JSON", "..", "floor", ".."]
    assert all(re.fullmatch(r"[\d,.]+[kM]?( \[d\])?", table[at][1]) for at in (0, 1, 3))
    assert all(re.fullmatch(r"[\d.]+ \([\d.]+-[\d.]+\)", table[at][1]) for at in (2, 4))
    begin, told, end = re.split(r"(?<=begin comparison\n)\n|\n(?=\.\. end)", page.read_text())
    assert (begin, end) == ("before\n\n.. begin comparison\n", ".. end comparison\n\nafter\n")
    assert told in output
    assert "Python" in told
    found = json.loads(file.read_text())["comparison"]
    assert list(found["servers"]) == ["chat_threads", "chat_threads, JSON", "floor"]
    theirs = found["servers"]["floor"]
    assert [len(theirs["cells"]["5x4"][name]) for name in ("deliveries_per_s", "p50_ms", "ratio")] == [2, 2, 2]
    assert len(theirs["joins_per_s"]) == 2


@pytest.mark.slow
def test_the_bench_compares_the_costs_of_two_dialects():
    options = ("--members", "5", "--windows", "4", "--repeat", "1", "--seconds", "0.2")
    head, ours, theirs, *_ = rows(bench(*options, "--no-peers", "--cpu", "--dialect", "web,json"))
    assert head == ["server", "5x4"]
    assert [ours[0], theirs[0]] == ["chat_threads, web", "chat_threads, JSON"]
    if sys.platform.startswith("linux"):
        assert re.fullmatch(r"\d+\.\d\d", theirs[1])


@pytest.mark.slow
def test_the_bench_compares_one_server_with_several_that_share_an_engine(tmp_path):
    pytest.importorskip("psycopg")
    if load("engine").programs() is None:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    file = tmp_path / "found.json"
    small = ("--members", "6", "--windows", "4", "--repeat", "1", "--seconds", "0.2", "--json", str(file))
    head, *table = rows(bench("--servers", "1,3", *small))
    assert [row[0] for row in table] == ["1, alone", "1", "3"]
    assert head[-4:] == ["us/delivery", "us/stored", "PG/delivery", "PG/message"]
    assert [row.count("-") for row in table] == [4, 2, 0]
    found = json.loads(file.read_text())["servers"]
    assert [run["in_all"] for [run] in found.values()] == [2 * run["sent"] for [run] in found.values()]  # in 3 rooms


@pytest.mark.slow
@pytest.mark.timeout(180)  # eight servers, one after the other
def test_the_stages_of_a_message_add_up_in_each_server(tmp_path):
    file = tmp_path / "found.json"
    before = ("--before", str(PEERS.parents[1]))
    output = bench("--stages", "--members", "3", "--repeat", "1", *before, "--json", str(file))
    assert re.search(r": a send [\d.]+, a commit of one row [\d.]+, a hand-over [\d.]+ microseconds\.$", output.strip())
    table = rows(output)
    assert table[0] == ["3x1", "before", "server", "pipeline", "server - pipeline", "floor"]
    assert [row[0] for row in table[1 : 1 + len(stages.STAGES)]] == list(stages.STAGES)
    for found in json.loads(file.read_text())["stages"]:
        assert all(length >= 0 for length in found["stages"].values())
        assert found["column"] == "floor" or list(found["stages"]) == list(stages.STAGES)
        assert sum(found["stages"].values()) == pytest.approx(found["whole"])
        assert 0 < found["middle"] <= found["whole"]
        assert found["alone"] > 0
        if sys.platform.startswith("linux"):
            assert found["cpu"]["writer"] > 5


def outcome(delivered: int, **changes: object) -> Outcome:
    return Outcome(5, 2.0, 0.1, 12_300, delivered=delivered, in_all=delivered, **changes)  # type: ignore[arg-type]


def test_ratios_are_of_runs_in_the_same_round():
    us, them = OURS[0], Contender("other", "other", (), "text")
    found = Comparison([us, them], [(5, 1)], 2.0)
    found.talks[us, (5, 1)] = [outcome(100), outcome(200), outcome(300), None]
    found.talks[them, (5, 1)] = [outcome(400, cpu=0.95), outcome(100, cpu=0.9), outcome(100, cpu=0.9), outcome(100)]
    assert found.ratios(them, (5, 1)) == [0.25, 2.0, 3.0]
    found.joins[us] = [outcome(0)]
    found.joins[them] = [None]
    assert [rows(table) for table in found.tables()] == [
        [["server", "5x1"], ["chat_threads", "100"], ["other", "50 [d]"], ["..", "2.00 (0.25-3.00)"]],
        [["server", "joins/s", "kB each"], ["chat_threads", "2", "12"], ["other", "-", "-"]],
    ]
    assert found.limited
    assert not found.wrong
    found.talks[them, (5, 1)][0] = outcome(400, wrong=1)
    assert found.wrong == ["other (5 members, 1 under way)"]
    record = found.record()["servers"]["other"]
    assert record["cells"]["5x1"]["deliveries_per_s"] == [200, 50, 50, 50]
    assert record["joins_per_s"] == [None]


def test_the_page_on_performance_says_what_each_server_is():
    told = [row[0] for row in table_after("servers", PERFORMANCE)]
    assert {each.title for each in FOUND} | {"chat_threads", "chat_threads, JSON"} <= set(told)


def test_numbers_have_three_digits_that_count():
    assert [short(each) for each in (0, 87.4, 1350, 9999, 10_000, 24_130, 357_400, 999_600, 3_821_000, 12_340_000)] == [
        *("0", "87", "1,350", "9,999", "10.0k", "24.1k", "357k", "1.00M", "3.82M", "12.3M")
    ]
