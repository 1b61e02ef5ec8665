"""The scripts for a class, as a lecturer runs them: the picture of a trace, the watch, and the export."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import json
import os
import pathlib
import re
import sqlite3
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from support.waiting import WAIT

from chat_threads.batch import Batch
from chat_threads.events import Message
from chat_threads.ordered import RoomMade
from chat_threads.storage import Storage

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


def script(name: str, *arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / f"{name}.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=3 * WAIT,
        check=False,
        env={**os.environ, **(env or {})},
    )


# --- timeline.py --------------------------------------------------------------------------------------------


@pytest.fixture
def trace(serve, program, tmp_path) -> pathlib.Path:
    """The trace of a run: ann says three things to a room of 20, the third to 21."""
    path = tmp_path / "trace.json"
    server = serve(trace=str(path))
    members = [program(f"m{number}", server=server, room="#lab") for number in range(20)]
    for number in (1, 2):
        members[0].send(type="say", text="hello")
        for member in members:
            member.expect("message", number=number)
    program("late", server=server, room="#lab", replay=0)
    members[0].send(type="say", text="hello")
    for member in members:
        member.expect("message", number=3)
    assert server.chat.stop() == []
    return path


def drawn(path: pathlib.Path) -> dict[str, list[ET.Element]]:
    """The parts of an SVG: what it says, and its boxes and lines."""
    root = ET.parse(path).getroot()
    assert root.tag == f"{SVG}svg"
    return {kind: list(root.iter(SVG + kind)) for kind in ("text", "rect", "path", "title")}


def test_a_message_to_20_members_is_drawn_with_its_threads_and_a_line_to_each(trace, tmp_path):
    done = script("timeline", trace, "-o", tmp_path / "out.svg", "--number", 2)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Message 2 of #lab: from one reader to 20 sockets" in done.stdout
    parts = drawn(tmp_path / "out.svg")
    words = [element.text for element in parts["text"]]
    assert "Message 2 of #lab: from one reader to 20 sockets" in words
    assert {"reader-1", "history", "writer-1"} <= set(words)
    legend = [word.partition(":")[0] for word in words[-6:]]
    assert legend == ["read", "commit", "wait for writers", "wait for lock", "fan-out", "send"]
    assert re.fullmatch(r"send: 20 times, [\d.]+ (µs|ms)", words[-1])
    lines = [element.get("d", "") for element in parts["path"] if "C" in element.get("d", "")]
    assert len(lines) == 1 + 20  # from the read to the commit, and from the fan-out to each send
    rows = [int(element.get("y", "")) - 38 for element in parts["text"] if element.get("x") == "12"][1:]
    ends = [(int(line.split()[1].partition("C")[0]) - 58, int(line.split()[-1]) - 10) for line in lines]
    assert ends == [(rows[0], rows[1]), *[(rows[1], rows[2])] * 20]
    tips = [element.text or "" for element in parts["title"]]
    for number in range(20):
        assert any(tip.startswith("send, ") and tip.endswith(f", to m{number}") for tip in tips)
    for box in parts["rect"]:
        assert 0 <= float(box.get("x", "0")) <= 1280
        assert float(box.get("width", "0")) > 0
    assert (tmp_path / "out.svg").stat().st_size < 60_000


def test_the_next_messages_are_drawn_with_their_threads(trace, tmp_path):
    done = script("timeline", trace, "-o", tmp_path / "out.svg", "--number", 1, "--messages", 2)
    assert "Message 1 of #lab and the next one: from one reader to 20 sockets" in done.stdout
    tips = [element.text or "" for element in drawn(tmp_path / "out.svg")["title"]]
    assert sorted(tip.partition(",")[0] for tip in tips if tip.startswith("read")) == ["read 1", "read 2"]
    assert sum(tip.startswith("send, ") for tip in tips) >= 40


def test_without_a_number_the_message_with_the_most_receivers_is_drawn(trace, tmp_path):
    assert "Message 3 of #lab: from one reader to 21 sockets" in script(
        "timeline", trace, "-o", tmp_path / "out.svg"
    ).stdout  # fmt: skip


def test_the_trace_of_a_killed_server_is_drawn_too(trace, tmp_path):
    text = trace.read_text(encoding="utf-8")
    for cut in (text.rstrip().removesuffix("]"), text.rstrip().removesuffix("]") + ',\n{"ph":"X","pi'):
        trace.write_text(cut, encoding="utf-8")
        assert script("timeline", trace, "-o", tmp_path / "out.svg").returncode == 0


@pytest.mark.parametrize(
    ("content", "arguments", "why"),
    [
        ("[]", (), "no such message"),
        ("hello", (), "not a trace"),
        ("caf\udce9", (), "not a trace"),  # not UTF-8
        (None, ("--number", 99), "no such message"),
        (None, ("--room", "#other"), "no such message"),
    ],
)
def test_a_trace_that_cannot_be_drawn_is_refused_in_one_line(trace, tmp_path, content, arguments, why):
    if content is not None:
        trace.write_bytes(content.encode("utf-8", "surrogateescape"))
    done = script("timeline", trace, "-o", tmp_path / "out.svg", *arguments)
    assert done.returncode == 1
    assert re.fullmatch(rf"timeline: .* was not drawn: .*{why}.*\n", done.stderr)
    assert not (tmp_path / "out.svg").exists()


def test_a_png_needs_matplotlib(trace, tmp_path):
    done = script("timeline", trace, "-o", tmp_path / "out.png")
    if importlib.util.find_spec("matplotlib"):
        assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG\r\n")
    else:
        assert done.returncode == 1
        assert "pip install '.[plot]'" in done.stderr


def test_the_picture_in_the_docs_is_of_messages_to_20_members():
    parts = drawn(ROOT / "docs" / "timeline.svg")
    assert any("and the next 2: from 3 readers to 20 sockets" in (element.text or "") for element in parts["text"])
    assert (ROOT / "docs" / "timeline.svg").stat().st_size < 60_000
    assert ".. image:: timeline.svg" in (ROOT / "docs" / "teachers.rst").read_text(encoding="utf-8")


# --- top.py -------------------------------------------------------------------------------------------------


def test_top_shows_sessions_rates_and_threads(server):
    ann = server.client("ann")
    ann.ask("hello")
    done = script("top", f"127.0.0.1:{server.port}", "--count", 2, "--every", 0.1)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert done.stdout.count("2 sessions in 1 rooms, 1 messages stored") == 2
    assert re.search(r"^history +waits for messages +\d", done.stdout, re.M)
    assert re.search(
        r"^reader-1 +ann +waits for input +\d+\.\d{3} +0 +\d+ +wire.py:\d+ (read|_ready)$", done.stdout, re.M
    )
    assert "top" not in str(ann.news())


@pytest.mark.usefixtures("waits_under_a_lock_on_purpose")
def test_top_goes_on_while_the_publisher_is_stuck(serve):
    server = serve(lab=True)
    command = [sys.executable, ROOT / "scripts" / "top.py", f"127.0.0.1:{server.port}", "--every", "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        try:
            assert any("sessions in" in line for line in watch.stdout)
            server.client("ann").send("/lab pause publisher 60")
            assert any("lab-publisher" in line for line in watch.stdout)
            for _ in range(2):
                assert any("sessions in" in line for line in watch.stdout)
        finally:
            watch.terminate()


def test_top_from_elsewhere_and_without_a_server_says_why(server, monkeypatch):
    assert script("top", "127.0.0.1:1", "--count", 1).stderr.startswith("top: ")
    monkeypatch.setattr("chat_threads.conversation.is_local", lambda peer, own: False)
    monkeypatch.setattr("chat_threads.conversation.is_loopback", lambda peer: False)
    done = script("top", f"127.0.0.1:{server.port}", "--count", 1)
    assert done.returncode == 1
    assert "the server's own machine" in done.stderr


# --- export.py ----------------------------------------------------------------------------------------------


@pytest.fixture
def history(server, tmp_path) -> pathlib.Path:
    """The history of a server that runs: three people in two rooms."""
    ann, bob = server.client("ann"), server.client("Bob")
    ann.ask("hello bob, this is ann's")
    bob.ask("/me waves at Ann; annie stays")
    bob.send("/join #lab")
    bob.expect("You are in #lab")
    bob.ask('=SUM(A1:A9), "quoted"')
    return tmp_path / "chat.db"


def test_messages_are_exported_as_text(history):
    done = script("export", history, env={"TZ": "UTC"})
    assert (done.returncode, done.stderr) == (0, "")
    assert [re.sub(r"\[.{16}\]", "[]", line) for line in done.stdout.splitlines()] == [
        "#lobby 1 [] ann: hello bob, this is ann's",
        "#lobby 2 [] ~ Bob waves at Ann; annie stays",
        '#lab 1 [] Bob: =SUM(A1:A9), "quoted"',
    ]


def test_messages_are_exported_as_csv_without_formulas(history):
    rows = list(csv.reader(io.StringIO(script("export", history, "--format", "csv").stdout)))
    assert rows[0] == ["room", "number", "time", "from", "kind", "text"]
    assert [row[:2] + row[3:] for row in rows[1:]] == [
        ["#lobby", "1", "ann", "say", "hello bob, this is ann's"],
        ["#lobby", "2", "Bob", "action", "waves at Ann; annie stays"],
        ["#lab", "1", "Bob", "say", '\'=SUM(A1:A9), "quoted"'],
    ]


def test_messages_are_exported_as_json_lines_as_the_server_shows_them(history, server, program):
    lines = [json.loads(line) for line in script("export", history, "--format", "jsonl").stdout.splitlines()]
    eve = program("eve", server=server, replay=0)
    eve.send(type="history", room="#lobby")
    page = eve.expect("history")["messages"]
    assert [{"type": "message", **line} for line in lines if line["room"] == "#lobby"] == page


def test_a_room_is_exported_whatever_the_case_of_its_name(history):
    done = script("export", history, "--room", "#LAB")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["#lab"]
    assert script("export", history, "--room", "lab").stdout == done.stdout
    assert len(script("export", history, "--room", "#lab", "--room", "#lobby").stdout.splitlines()) == 3


def test_a_further_line_of_a_text_looks_like_no_other_message_in_an_export(history, server, connect):
    connect(server, "cy").say("#lobby", "one\n#lobby 9 [2026-11-30 04:00] bob: no")
    lines = script("export", history).stdout.splitlines()
    assert lines[-2:] == [lines[-2], "  | #lobby 9 [2026-11-30 04:00] bob: no"]
    (*_, row) = csv.reader(io.StringIO(script("export", history, "--format", "csv").stdout))
    assert row[-1] == json.loads(script("export", history, "--format", "jsonl").stdout.splitlines()[-1])["text"]


def test_only_what_was_said_since_then_is_exported(history, server):
    server.chat.history._now = lambda: 946_684_800.0  # 2000-01-01
    server.client("cy").ask("long ago")
    assert "long ago" in script("export", history).stdout
    assert "long ago" not in script("export", history, "--since", "2h").stdout
    assert "long ago" not in script("export", history, "--since", "2000-01-03").stdout
    assert "long ago" in script("export", history, "--since", "1999-12-30 12:00").stdout
    assert len(script("export", history, "--since", "2h").stdout.splitlines()) == 3


def test_with_pseudonyms_nobodys_name_is_left(history):
    for kind in ("txt", "csv", "jsonl"):
        text = script("export", history, "--pseudonyms", "--format", kind).stdout
        assert not re.search(r"\b(ann|bob)\b", text, re.I)
        assert "hello person-2, this is person-1's" in text
        assert "waves at person-1; annie stays" in text


def test_with_pseudonyms_no_name_with_vowel_signs_is_left(server, tmp_path):
    names = ["अनिल", "กิตติ", "علی\u200cرضا", "ジョン・スミス"]
    for name in names:
        server.client(name).ask(f"say hi to {', '.join(names)}!")
    text = script("export", tmp_path / "chat.db", "--pseudonyms").stdout
    assert not any(name in text for name in names)
    assert text.count("say hi to person-1, person-2, person-3, person-4!") == 4


def test_an_export_that_is_read_slowly_does_not_make_sqlites_log_grow(start_process, tmp_path):
    """As with a pager: export.py chat_threads.db | less."""
    history = tmp_path / "chat.db"
    storage = Storage(str(history))
    storage.commit(Batch([RoomMade(1, "#lab", "#lab", "", "ann", 0)]))
    storage.commit(Batch(messages=[Message(1, "#lab", n, n, "ann", "say", "x" * 900) for n in range(1, 3001)]))
    storage.close()
    early = "from chat_threads import storage\nstorage.CHECKPOINT = 250"  # SQLite's log is copied at about 1 MB
    process = start_process("--rate", "0", db=history, plant=early)
    command = [sys.executable, ROOT / "scripts" / "export.py", history]
    with process.client("bob") as bob, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as export:
        assert export.stdout is not None
        lines = [export.stdout.readline()]
        for number in range(500):
            bob.send(f"meanwhile {number}")
            bob.expect(f"meanwhile {number}")
        assert pathlib.Path(f"{history}-wal").stat().st_size < 2_000_000  # all the 500 would be 4 MB
        lines += export.stdout.readlines()
    assert export.returncode == 0
    assert [int(line.split()[1]) for line in lines] == [*range(1, 3001)]


def test_an_export_has_what_was_said_before_it_whatever_is_said_and_deleted_meanwhile(start_process, tmp_path):
    process = start_process("--rate", "0")
    command = [sys.executable, ROOT / "scripts" / "export.py", process.db, "--format", "jsonl", "--pseudonyms"]
    with process.client("ann") as ann:
        for number in range(1500):
            ann.send(f"{number} {'x' * 900}")
        ann.expect(": 1499 ")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as export:
            assert export.stdout is not None
            lines = [export.stdout.readline()]
            with process.client("cy") as cy:
                cy.ask("too late")
                cy.send("/join #new")
                cy.expect("You are in #new")
                cy.ask("too late")
            lines += export.stdout.readlines()
    assert export.returncode == 0
    assert [int(json.loads(line)["text"].split()[0]) for line in lines] == [*range(1500)]


@pytest.mark.parametrize("blanks", [1, 2, 3])
def test_messages_under_deletion_are_not_exported(tmp_path, blanks):
    """A large room is blanked in slices before any of it is deleted."""
    path = tmp_path / "chat.db"
    storage = Storage(str(path))
    storage.commit(Batch([RoomMade(each, f"#r{each}", f"#r{each}", "", "ann", 0) for each in (1, 2)]))
    for room, who in ((1, "ann"), (2, "bob")):
        storage.commit(Batch(messages=[Message(room, f"#r{room}", n, n, who, "say", "hi") for n in range(1, 2501)]))
    spec = importlib.util.spec_from_file_location("export", ROOT / "scripts" / "export.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with contextlib.closing(sqlite3.connect(path)) as history:
        export = module.Export(history, [])
        people = export.people()
        storage.commit(Batch(rooms_ended=[2]))
        for _ in range(blanks):
            storage.sweep(None)
        assert history.execute("SELECT count(*) FROM messages WHERE trim(sender) = ''").fetchone()[0] > 0
        assert {row[3] for row in export.rows(0)} <= {"ann", "bob"}
        hidden = list(module.hidden(export.rows(0), people))
        assert {row[3] for row in hidden if row[0] == "#r1"} == {"person-1"}
        assert {row[3] for row in hidden} <= {"person-1", "person-2"}
        assert export.people().keys() <= {"ann", "bob"}
    storage.close()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [(("--room", "#nowhere"), "there is no room #nowhere"), (("--since", "yesterday"), "is neither like 2h nor like")],
)
def test_an_impossible_export_is_refused_with_the_reason(history, arguments, why):
    done = script("export", history, *arguments)
    assert done.returncode != 0
    assert why in done.stderr


def test_a_file_that_is_no_history_is_not_exported_and_not_changed(tmp_path, history):
    (tmp_path / "notes.txt").write_text("not a database" * 100)
    assert "was not exported" in script("export", tmp_path / "notes.txt").stderr
    before = history.read_bytes()
    script("export", history)
    assert history.read_bytes() == before
