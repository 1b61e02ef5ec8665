"""The cost of one client to the others: each command with its worst arguments, as fast as the rate allows."""

from __future__ import annotations

import contextlib
import json
import math
import pathlib
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from driver.websocket import CONTINUATION, FIN, PING, TEXT, Handshake, frame
from support.clients import Program
from support.servers import Process
from support.waiting import WAIT, wait_for
from support.wellness import needs_proc, staying_well

from chat_threads.commands import REQUESTED, TYPED
from chat_threads.rules import TEXT_LENGTH, WORDS_LENGTH

pytestmark = [needs_proc, pytest.mark.quiet]

ALLOWED = {1: 0.02, 20: 0.2}  # by the number of clients: the seconds by which they may raise another's 99th percentile
TRIES = 3, 9  # at least and at most, each a while without them and a while with them
TALKERS = 5  # each says something every EVERY seconds, below the usual rate of 20 a second
EVERY = 0.06
WHILE = 1.5  # seconds
CROWD = 100  # people with similar names, who all see what the attackers say
WIDE = "🙂" * TEXT_LENGTH
TOPIC = "🙂" * WORDS_LENGTH
WIDEST = "#" + "\u0e17\u0e35\u0e48" * 31  # a room whose QR code is large
MISTYPED = "similarnamex1"

# What programs send. {me} is a number of the client's own, {n} one that goes up.
RULES = ("op", "deop", "kick", "ban", "unban", "mute", "unmute", "uninvite")
REQUESTS: dict[str, list[Any]] = {
    "say": [{"type": "say", "text": WIDE}],
    "action": [{"type": "action", "text": WIDE}],
    "join": [{"type": "join", "room": "#long", "since": 0}, {"type": "leave", "room": "#long"}],
    "leave": [{"type": "leave", "room": "#hall"}, {"type": "join", "room": "#hall", "since": 19_600}],
    "create": [{"type": "create", "room": "#new{me}-{n}", "topic": TOPIC}],
    "delete": [{"type": "delete", "room": "#long", "ask": True}, {"type": "delete", "room": "#new{me}-{n}"}],
    "rooms": [{"type": "rooms"}],
    "who": [{"type": "who"}, {"type": "who", "room": "#hall"}],
    "topic": [{"type": "topic", "text": TOPIC}],
    "invite": [{"type": "invite", "name": MISTYPED, "room": "#hall"}],
    "private": [
        {"type": "private", "to": "similarname1", "text": WIDE},
        {"type": "private", "to": MISTYPED, "text": "x"},
    ],
    "reply": [{"type": "reply", "text": WIDE}],
    "nick": [{"type": "nick", "name": "similarname1"}, {"type": "nick", "name": "other{me}n{n}"}],
    "token": [{"type": "token"}],
    # Passwords that are worked on do not block others; what is limited otherwise is in tests/talk/test_accounts.py.
    "register": [{"type": "register", "password": "short"}],
    "login": [{"type": "login", "name": MISTYPED, "password": WIDE}],
    "password": [{"type": "password", "password": WIDE, "new": WIDE}],
    "unregister": [{"type": "unregister", "password": WIDE}],
    "operator": [{"type": "operator", "token": WIDE}],
    # the rules of rooms
    "room": [{"type": "room", "room": "#hall"}, {"type": "room", "room": "#hall", "setting": "quiet"}],
    **{each: [{"type": each, "room": "#hall", "name": MISTYPED}] for each in RULES},
    "bans": [{"type": "bans", "room": "#hall"}],
    "redact": [{"type": "redact", "number": 1, "room": "#long"}],
    "report": [{"type": "report", "about": MISTYPED, "why": TOPIC}],
    "announce": [{"type": "announce", "text": TOPIC}],
    "audit": [{"type": "audit"}],
    "typed": [{"type": "typed", "line": f"/kick {MISTYPED} {TOPIC}"}],
    "resume": [{"type": "resume", "token": "x" * 22}],
    "whois": [{"type": "whois", "name": MISTYPED}],
    "away": [{"type": "away", "reason": TOPIC}],
    "back": [{"type": "back"}],
    "ignore": [{"type": "ignore", "name": "similarname{n}"}, {"type": "ignore", "name": MISTYPED}],
    "unignore": [{"type": "unignore", "name": "similarname{n}"}],
    "history": [{"type": "history", "room": "#long", "count": 200}, {"type": "history", "room": "#long", "seconds": 9}],
    "search": [{"type": "search", "words": "e", "from": "nobody"}, {"type": "search", "words": "the word"}],
    "set": [{"type": "set", "option": "x" * 60_000, "value": "y"}],
    "qr": [{"type": "join", "room": WIDEST}, {"type": "qr"}],
    "stats": [{"type": "stats"}],
    "threads": [{"type": "threads"}],
    "locks": [{"type": "locks"}],
    "trace": [{"type": "trace", "number": 1}],
    "lab": [{"type": "lab", "fault": "slow", "target": MISTYPED, "amount": 9}],
    "ping": [{"type": "ping"}],
    "help": [{"type": "help"}],
    # what is no request
    "a type that there is not": [{"type": "x" * 60_000}],
    "many fields": [{"type": "ping", **{f"field{number}": [] for number in range(3000)}}],
    "no JSON": ["{" * 60_000],
    "a long line": ["x" * 66_000],
    "blank lines": ["\n" * 500],
}
ELSEWHERE = {"hello", "quit"}  # those come once in a connection

LINES: dict[str, list[str]] = {
    "/join": ["/join #long", "/leave #long"],
    "/leave": ["/leave #hall", "/join #hall"],
    "/create": [f"/create #new{{me}}-{{n}} {TOPIC}"],
    "/delete": ["/delete #long", "/delete #new{me}-{n} yes"],
    "/rooms": ["/rooms"],
    "/who": ["/who", "/who #hall"],
    "/topic": [f"/topic {TOPIC}"],
    "/invite": [f"/invite {MISTYPED} #hall"],
    "/msg": [f"/msg similarname1 {WIDE}", f"/msg {MISTYPED} x"],
    "/reply": [f"/reply {WIDE}"],
    "/me": [f"/me {WIDE}"],
    "/nick": ["/nick similarname1", "/nick other{me}n{n}"],
    "/token": ["/token"],
    "/resume": ["/resume " + "x" * 22],
    **{each: [f"{each} {WIDE}"] for each in ("/register", "/login", "/password", "/unregister", "/operator")},
    "/room": ["/room", "/room quiet"],
    **{f"/{each}": [f"/{each} {MISTYPED}"] for each in RULES},
    "/bans": ["/bans"],
    "/redact": ["/redact 1"],
    "/report": [f"/report {MISTYPED} {TOPIC}"],
    "/announce": [f"/announce {TOPIC}"],
    "/audit": ["/audit"],
    "/whois": [f"/whois {MISTYPED}"],
    "/away": [f"/away {TOPIC}"],
    "/back": ["/back"],
    "/ignore": ["/ignore similarname{n}", f"/ignore {MISTYPED}"],
    "/unignore": ["/unignore similarname{n}"],
    "/history": ["/history #long 200", "/history #long 9s"],
    "/search": ["/search e from:nobody", "/search the word"],
    "/set": ["/set nothing on"],
    "/edit": ["/edit on", "/edit off"],
    "/qr": [f"/join {WIDEST}", "/qr"],
    "/stats": ["/stats"],
    "/threads": ["/threads"],
    "/locks": ["/locks"],
    "/trace": ["/trace 1"],
    "/lab": [f"/lab slow {MISTYPED} 9"],
    "/ping": ["/ping"],
    "/help": ["/help"],
    # what is no command
    "a text": [WIDE],
    "a command that there is not": ["/historx"],
    "escape sequences": ["\x1b[31m" * 400],
    "stacked marks": ["a" + "\u0301" * 1900],
    "a long line": ["x" * 66_000],
    "blank lines": ["\n" * 500],
}

# What comes on a WebSocket, and on a browser's other connections.
KEY = b"\x0f\xf0\x55\xaa"
FRAMES: dict[str, bytes] = {
    "empty messages": frame(b"", KEY) * 1000,
    "pings": frame(b"p" * 125, KEY, FIN | PING) * 1000,
    "fragments": frame(b" ", KEY, TEXT) + frame(b" ", KEY, CONTINUATION) * 1000 + frame(b"", KEY, FIN),
    "ends of lines": frame(b"\n" * 60_000, KEY),
    "no JSON": frame(b"{" * 60_000, KEY),
    "wide texts": frame(json.dumps({"type": "say", "text": WIDE}, ensure_ascii=False).encode(), KEY),
}
_HOST = b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"
PAGES: dict[str, bytes] = {
    "the page": b"GET /" + _HOST + b"\r\n",
    "numbers": b"GET /metrics" + _HOST + b"\r\n",
    "health": b"GET /healthz" + _HOST + b"\r\n",
    "many fields": b"GET /nope" + _HOST + b"".join(b"X%d: %s\r\n" % (n, b"y" * 140) for n in range(95)) + b"\r\n",
}
ATTACK = """
import itertools, json, selectors, socket, sys, threading
port, count, dialect, crowd = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
json_lines = dialect in ("json", "frames")
given = json.load(open(sys.argv[5]))
requests = [line.rstrip("\\n") for line in given]
go, idle = threading.Event(), threading.Semaphore(0)
PONG = b'"ref":"over"' if json_lines else b"no such page" if dialect == "pages" else b"* Pong"
def come(name):
    sock = socket.create_connection(("127.0.0.1", port))
    hello = json.dumps({"type": "hello", "name": name, "room": "#hall", "replay": 0}) if json_lines else name + " #hall"
    sock.sendall(hello.encode() + b"\\n")
    return sock
def until_pong(sock):
    tail = b""
    while PONG not in tail:
        data = sock.recv(1 << 16)
        assert data, "cut off"
        tail = tail[-20:] + data
def attack_with_bytes(me, opening, again):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(opening.replace(b"{me}", me))
    until_pong(sock)
    while True:
        idle.release()
        go.wait()
        while go.is_set():
            sock.sendall(again)
            until_pong(sock)
def attack(me):
    if dialect in ("frames", "pages"):
        attack_with_bytes(b"%03d" % me, *(each.encode("latin-1") for each in given))
    sock = come(f"attacker{me}")
    ping = json.dumps({"type": "ping", "ref": "over"}, separators=(",", ":")) if json_lines else "/ping"
    numbers = itertools.count()
    sock.sendall(ping.encode() + b"\\n")
    until_pong(sock)
    while True:
        idle.release()
        go.wait()
        while go.is_set():
            lines = [each.replace("{me}", str(me)).replace("{n}", str(next(numbers))) for each in requests]
            sock.sendall("".join(line + "\\n" for line in [*lines, *lines, ping]).encode())
            until_pong(sock)
def listen():
    selector = selectors.DefaultSelector()
    for number in range(crowd):
        selector.register(come(f"similarname{number}"), selectors.EVENT_READ)
    idle.release()
    while True:
        for key, _ in selector.select():
            assert key.fileobj.recv(1 << 20), "cut off"
for me in range(count):
    threading.Thread(target=attack, args=(me,), daemon=True).start()
threading.Thread(target=listen, daemon=True).start()
for _ in range(count + 1):
    idle.acquire()
print("ready", flush=True)
for line in sys.stdin:
    if line == "go\\n":
        go.set()
    else:
        go.clear()
        for _ in range(count):
            idle.acquire()
    print("done", flush=True)
"""


class Probe:
    """Clients that talk in a room of their own, and one that listens there and measures the delays."""

    def __init__(self, process: Process) -> None:
        self._programs = [Program(process.port) for _ in range(TALKERS + 1)]
        for number, program in enumerate(self._programs):
            program.send(type="hello", name=f"probe{number}", room="#probe", replay=0)
            program.expect("joined")
        self._heard: dict[str, float] = {}
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads += [
            threading.Thread(target=self._drain, args=(each,), daemon=True) for each in self._programs[1:]
        ]
        for thread in self._threads:
            thread.start()
        self._number = 0

    def _listen(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in self._programs[0].file:
                now, event = time.monotonic(), json.loads(line)
                if event["type"] == "message":
                    with self._changed:
                        self._heard[event["text"]] = now
                        self._changed.notify_all()

    @staticmethod
    def _drain(program: Program) -> None:
        with contextlib.suppress(OSError, ValueError):
            for _ in program.file:
                pass

    def percentile(self) -> float:
        """The 99th of what is said in a while, in seconds, counted from when it was due."""
        due: dict[str, float] = {}
        at = time.monotonic()
        end = at + WHILE
        tick = threading.Event()
        while at < end:
            tick.wait(max(0.0, at - time.monotonic()))
            self._number += 1
            due[str(self._number)] = at
            self._programs[1 + self._number % TALKERS].send(type="say", text=str(self._number))
            at += EVERY / TALKERS
        with self._changed:
            assert self._changed.wait_for(lambda: due.keys() <= self._heard.keys(), WAIT), "the probe is silent"
            times = sorted(self._heard[text] - at for text, at in due.items())
        return times[math.ceil(len(times) * 0.99) - 1]

    def close(self) -> None:
        for program in self._programs:
            with contextlib.suppress(OSError):
                program.sock.shutdown(2)
        for thread in self._threads:
            thread.join(WAIT)
        for program in self._programs:
            program.close()


def fill(db: pathlib.Path) -> None:
    """A history in which everything takes long: many rooms, many messages, long texts."""
    with contextlib.closing(sqlite3.connect(db)) as connection, connection:
        connection.executemany(
            "INSERT INTO rooms (id, name, key, topic, creator, created, last) VALUES (?, ?, ?, ?, 'ann', 0, 0)",
            [(100 + room, f"#room{room}", f"#room{room}", TOPIC) for room in range(5000)]
            + [(90, "#long", "#long", ""), (91, "#hall", "#hall", "")],
        )
        connection.executemany(
            "INSERT INTO messages (room, number, at, sender, kind, text) VALUES (?, ?, ?, 'ann', 'say', ?)",
            [(90, number, number, WIDE) for number in range(1, 401)]
            + [(91, number, number, f"the word {number}") for number in range(1, 20_001)],
        )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, Probe]]:
    """A server with the usual limits on a history that is filled, and the probe."""
    db = tmp_path_factory.mktemp("cost") / "chat.db"
    Process(db).stop()
    fill(db)
    process = Process(db, "--max-clients", "1000")
    try:
        wait_for(lambda: "the search index is made" in process.errors, wait=120.0)
        with staying_well(process, growth=100), contextlib.closing(Probe(process)) as probe:
            yield process, probe
    finally:
        if process.popen.poll() is None:
            process.kill()


@contextlib.contextmanager
def attackers(process: Process, dialect: str, count: int, lines: pathlib.Path) -> Iterator[subprocess.Popen[str]]:
    """``count`` clients in a process of their own, which begin on a signal through its stdin."""
    command = [sys.executable, "-c", ATTACK, str(process.port), str(count), dialect, str(CROWD), str(lines)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as popen:
        try:
            assert popen.stdout is not None
            assert popen.stdout.readline() == "ready\n"
            yield popen
        finally:
            popen.kill()
    wait_for(lambda: process.errors.count(" begins from ") - process.errors.count(" ends: ") <= 2 + TALKERS + 1)


def tell(popen: subprocess.Popen[str], what: str) -> None:
    assert popen.stdin is not None
    assert popen.stdout is not None
    popen.stdin.write(what + "\n")
    popen.stdin.flush()
    assert popen.stdout.readline() == "done\n", "the attackers were cut off"


def bytes_of(dialect: str, name: str) -> list[bytes]:
    """What an attacker sends first, with {me} in it, and then again and again. The last of each has an answer that no
    other has. Only the length of a frame counts {me}, so a name has as many letters."""
    if dialect == "pages":
        last = b"GET /nope" + _HOST + b"\r\n"
        return [last, PAGES[name] * 2 + last]
    ping = frame(b'{"type":"ping","ref":"over"}', bytes(4))
    hello = frame(b'{"type":"hello","name":"attacker123","room":"#hall","replay":0}', bytes(4))
    opening = Handshake("127.0.0.1", bytes(16)).request + hello.replace(b"123", b"{me}") + ping
    return [opening, FRAMES[name] * 2 + ping]


CASES = [("json", name) for name in REQUESTS] + [("text", name) for name in LINES]
CASES += [("frames", name) for name in FRAMES] + [("pages", name) for name in PAGES]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("count", sorted(ALLOWED))
@pytest.mark.parametrize(("dialect", "name"), CASES, ids=[f"{dialect} {name}" for dialect, name in CASES])
def test_no_command_is_so_expensive_that_others_notice(scene, tmp_path, dialect, name, count):
    process, probe = scene
    lines = tmp_path / "lines"
    if dialect in ("frames", "pages"):
        lines.write_text(json.dumps([each.decode("latin-1") for each in bytes_of(dialect, name)]))
    else:
        worst = REQUESTS[name] if dialect == "json" else LINES[name]
        lines.write_text(json.dumps([each if isinstance(each, str) else json.dumps(each) for each in worst]))
    raised: list[float] = []
    with attackers(process, dialect, count, lines) as popen:
        while len(raised) < TRIES[0] or (statistics.median(raised) > ALLOWED[count] and len(raised) < TRIES[1]):
            before = probe.percentile()
            tell(popen, "go")
            raised.append(probe.percentile() - before)
            tell(popen, "stop")
    print(f"{dialect} {name}: {count} raise it by {1000 * statistics.median(raised):.0f} ms")
    assert statistics.median(raised) <= ALLOWED[count], [f"{each:.3f}" for each in raised]


def test_every_command_and_request_is_among_them():
    assert {name for name in REQUESTED if name not in ELSEWHERE} <= set(REQUESTS)
    assert {kind.row.name for kind in TYPED} - {"/quit"} <= set(LINES)
