"""Faults and attacks of clients: the tests cause each, and the server stays well."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.clients import Client
from support.servers import Process, needs
from support.waiting import WAIT, wait_for
from support.wellness import needs_proc, staying_well
from support.words import error_line

from chat_threads.disconnects import NoNameInTime, TooManyTries
from chat_threads.errors import UnknownCommand

pytestmark = [pytest.mark.slow, needs_proc]

LONG = "x" * 1900
TINY = 4096  # bytes in the receive buffer of a client that does not read
FULL = "! The server is full: {}. Try again later."
GREETING = "* Welcome to chat_threads"


def cpu(process: Process, seconds: float) -> float:
    """How much of a processor the server uses in the next seconds, in percent."""

    def used() -> float:
        fields = pathlib.Path(f"/proc/{process.popen.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before, began = used(), time.monotonic()
    select.select([], [], [], seconds)
    return 100 * (used() - before) / (time.monotonic() - began)


def greeted(process: Process) -> Client:
    client = process.client()
    client.expect(GREETING)
    return client


def log_lines(process: Process, *levels: str) -> list[str]:
    return [line for line in process.errors.splitlines() if line.split()[2:3] and line.split()[2] in levels]


# --- what the system does not give ----------------------------------------------------------------------


def test_without_descriptors_the_server_waits_serves_its_clients_and_recovers_in_a_second(start_process):
    process = start_process(shell="ulimit -n 64")
    with staying_well(process), contextlib.ExitStack() as stack:
        clients = [stack.enter_context(process.client()) for _ in range(100)]  # the system accepts for the server
        wait_for(lambda: "cannot accept: Too many open files" in process.errors)
        for client in clients[:30]:
            client.expect(GREETING)
        used = cpu(process, 1.5)
        assert used < 5.0, f"it uses {used:.1f} % of a processor"
        in_already = clients[:30] + [client for client in clients[30:] if not client.nothing_comes(0)]
        waiting = clients[len(in_already) :]
        assert len(in_already) < 64
        assert all(client.nothing_comes(0) for client in waiting)
        in_already[0].close()
        began = time.monotonic()
        waiting[0].expect(GREETING)
        assert time.monotonic() - began < 1.0


NO_THREADS = """
import os, threading
def refuse(thread, start=threading.Thread.start):
    if thread.name.startswith(PREFIX) and os.path.exists(SIGN):
        raise RuntimeError("can't start new thread")
    start(thread)
threading.Thread.start = refuse
"""


@pytest.fixture
def without_threads(start_process, tmp_path) -> Callable[..., tuple[Process, pathlib.Path]]:
    """A server that cannot start threads of a name while there is a file of the returned name."""

    def start(prefix: str, *options: str) -> tuple[Process, pathlib.Path]:
        sign = tmp_path / "no-threads"
        plant = f"PREFIX = {prefix!r}\nSIGN = {str(sign)!r}\n{NO_THREADS}"
        return start_process("--rate", "0", *options, plant=plant), sign

    return start


@pytest.mark.parametrize(
    ("prefix", "options"), [("reader-", ()), ("writer-of-", ("--writers", "per-session"))], ids=["reader", "writer"]
)
def test_a_newcomer_without_a_thread_gets_an_error_and_the_next_one_may_enter(without_threads, prefix, options):
    process, sign = without_threads(prefix, *options)
    with staying_well(process), contextlib.ExitStack() as stack:
        ann = stack.enter_context(process.client("ann"))
        sign.touch()
        for _ in range(20):
            with process.client() as refused:
                assert refused.rest() == [FULL.format("no thread could be started for you")]
        assert any("ann: hi" in line for line in ann.ask("hi"))
        sign.unlink()
        stack.enter_context(process.client("bob"))
        ann.expect("bob joined")


def test_a_client_that_is_behind_is_cut_off_if_it_cannot_get_a_writer_thread(without_threads):
    process, sign = without_threads("writer-of-")
    with staying_well(process), process.client("ann #flood") as ann, process.client("bob #flood") as bob:
        sign.touch()
        with Client(process.port, "slow #flood", receive_buffer=TINY):
            count = 0
            while "is behind, and no thread could be started for it: cut off" not in process.errors:
                assert count < 20_000
                ann.send(*(f"{number} {LONG}" for number in range(count, count + 100)))
                count += 100
                for each in (ann, bob):
                    each.expect(f"{count - 1} x")
            for each in (ann, bob):
                each.news()
                said = [line.split()[2] for line in each.seen if LONG in line]
                assert said == [str(number) for number in range(count)]
        wait_for(lambda: "(slow) ends" in process.errors, "its name is free")
        sign.unlink()
        with process.client("slow #flood"):
            bob.expect("slow joined")


# --- many -----------------------------------------------------------------------------------------------


@pytest.mark.stress
def test_clients_above_max_clients_get_the_reason_within_a_second(start_process):
    process = start_process("--max-clients", "4")
    with staying_well(process), contextlib.ExitStack() as stack:
        ann, bob = stack.enter_context(process.client("ann")), stack.enter_context(process.client("bob"))
        for early in ([], ["cy"]) * 10:
            began = time.monotonic()
            with process.client() as more:
                more.send(*early)
                assert more.line() == FULL.format("4 are connected")
                assert time.monotonic() - began < 1.0
                assert more.rest() == []
        bob.send("/quit")
        bob.rest()
        wait_for(lambda: "session 4 (bob) ends" in process.errors)
        with process.client("cy"):
            ann.expect("cy joined")


def test_five_hundred_that_come_at_once_are_all_let_in(start_process):
    process = start_process("--max-clients", "600")
    with staying_well(process), contextlib.ExitStack() as stack:
        began = time.monotonic()
        socks = [stack.enter_context(socket.socket()) for _ in range(500)]
        for sock in socks:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", process.port))
        for number, sock in enumerate(socks):
            sock.settimeout(WAIT)
            sock.sendall(b"guest%d #hall\r\n" % number)
        for sock in socks:
            data = b""
            while b"* You are in #hall" not in data:
                more = sock.recv(65536)
                assert more, data
                data += more
        assert time.monotonic() - began < 5.0


STORM = """
import socket, sys, time
port, seconds = int(sys.argv[1]), float(sys.argv[2])
count, began = 0, time.monotonic()
while (passed := time.monotonic() - began) < seconds:
    if count > passed * 2000:
        time.sleep(0.002)
        continue
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex(("127.0.0.1", port))
    sock.close()
    count += 1
print(count)
"""


@pytest.mark.stress
def test_two_thousand_connects_a_second_for_ten_seconds(start_process):
    process = start_process()
    with staying_well(process):
        storm = [sys.executable, "-c", STORM, str(process.port), "10"]
        done = subprocess.run(storm, capture_output=True, text=True, timeout=30, check=True)
        assert int(done.stdout) > 19_000
        with process.client("ann"):
            pass
    taken = max(map(int, re.findall(r"session (\d+)", process.errors)))
    assert taken > 2000, f"only {taken} were taken"
    assert len(process.errors.splitlines()) < 1000


@pytest.mark.stress
def test_silent_handshakes_are_ended_in_time_and_keep_nobody_out(start_process):
    process = start_process("--handshake-timeout", "1.5")
    with staying_well(process), contextlib.ExitStack() as stack:
        began = time.monotonic()
        silent = [stack.enter_context(process.client()) for _ in range(200)]
        with process.client("ann") as ann:
            assert any("ann: hi" in line for line in ann.ask("hi"))
        for client in silent:
            assert client.rest()[-1] == error_line(NoNameInTime(1.5))
        assert 1.4 < time.monotonic() - began < 4.0


SHORT_LINES = """
import functools
from chat_threads import cli
cli.Limits = functools.partial(cli.Limits, line_timeout=1.0)
"""


@pytest.mark.stress
@pytest.mark.parametrize("what", ["handshake", "line"])
def test_a_byte_every_third_of_a_second_puts_off_no_deadline(start_process, what):
    process = start_process("--handshake-timeout", "1", plant=SHORT_LINES)
    with staying_well(process), contextlib.ExitStack() as stack:
        began = time.monotonic()
        slow = stack.enter_context(greeted(process))
        if what == "line":
            slow.send("ann")
            slow.expect("You are in")
            began = time.monotonic()
        while slow.nothing_comes(0.3):
            slow.send_bytes(b"x")
            assert time.monotonic() - began < 3.0
        told = "No name was given" if what == "handshake" else "You started a line and did not finish it"
        assert slow.rest() == [f"! {told} within 1 seconds. Goodbye."]
        assert 0.9 < time.monotonic() - began < 2.0


# --- the end of a connection ----------------------------------------------------------------------------


def half_close(client: Client) -> None:
    client.sock.shutdown(socket.SHUT_WR)


def test_half_a_line_before_the_end_is_not_carried_out(start_process):
    process = start_process()
    with staying_well(process), process.client("ann") as ann, process.client("bob") as bob:
        bob.news()
        ann.send_bytes(b"said\r\nnever said")
        half_close(ann)
        ann.expect("ann: said")
        assert "never said" not in "\n".join([*ann.rest(), *bob.upto("ann left"), *bob.news()])
        assert not [line for line in bob.ask("/search never") if "ann: " in line]


def test_all_replies_are_delivered_though_the_client_has_ended_its_input(start_process):
    process = start_process("--rate", "0")
    with staying_well(process), process.client() as ann:
        ann.send("ann", *(f"line {number}" for number in range(500)), "/whois ann", "/jion")
        half_close(ann)
        lines = ann.rest()
        assert [line[8:] for line in lines if "ann: line" in line] == [f"ann: line {number}" for number in range(500)]
        assert "* ann is in #lobby." in lines
        assert error_line(UnknownCommand("/jion", "/join")) in lines


def test_the_last_error_arrives_though_there_is_input_that_nobody_read(start_process):
    """Closing a connection with unread input resets it, which may throw away what the peer has not read yet."""
    process = start_process()
    with staying_well(process), greeted(process) as client:
        client.send(*"1234567890", *["more that nobody reads"] * 5000)
        client.expect(error_line(TooManyTries()))
        for _ in range(20):  # for a while, for it does not close at once
            client.send("x" * 50_000)
            select.select([], [], [], 0.02)
        assert client.sock.recv(100) == b""  # and not ConnectionResetError


def test_a_storm_of_resets_leaves_a_quiet_log(start_process):
    process = start_process("--rate", "0")
    with staying_well(process), process.client("ann") as ann:
        for number in range(200):
            client = process.client()
            if number % 4 >= 1:
                client.send(f"guest{number} #storm", *["/help"] * 20)
            if number % 4 >= 2:
                client.expect("You are in")
            if number % 4 == 3:
                client.send_bytes(b"half a line")
            client.reset()
        wait_for(lambda: not any("guest" in line for line in ann.ask("/who")), "all of them are gone")
    assert log_lines(process, "WARNING", "ERROR", "CRITICAL") == []
    assert len(process.errors.splitlines()) < 3 * 220


# --- peers that vanish ----------------------------------------------------------------------------------


@pytest.fixture
def cable() -> Iterator[Callable[[], None]]:
    """A network of two: the server's end is 198.18.77.1, the other one's is in a namespace of its own, chat-test.
    Called, it is cut. (RFC 2544: addresses for tests.)"""
    if not sys.platform.startswith("linux"):
        pytest.skip("network namespaces are Linux's")
    ip = needs("ip")

    def run(*arguments: str) -> bool:
        return not subprocess.run([ip, *arguments], capture_output=True, check=False).returncode

    if not run("netns", "add", "chat-test"):
        pytest.skip("no network namespace may be made here")
    try:
        assert run("link", "add", "chat-test0", "type", "veth", "peer", "name", "far", "netns", "chat-test")
        assert run("addr", "add", "198.18.77.1/30", "dev", "chat-test0")
        assert run("link", "set", "chat-test0", "up")
        assert run("-n", "chat-test", "addr", "add", "198.18.77.2/30", "dev", "far")
        assert run("-n", "chat-test", "link", "set", "far", "up")

        def cut() -> None:
            assert run("-n", "chat-test", "link", "set", "far", "down")
            assert pathlib.Path("/sys/class/net/chat-test0/carrier").read_text() == "0\n"

        yield cut
    finally:
        run("netns", "delete", "chat-test")
        run("link", "delete", "chat-test0")


def from_afar(port: int, name: str) -> Client:
    """A client at the other end of the cable."""

    def connect() -> Client:
        with open("/run/netns/chat-test") as namespace:
            assert ctypes.CDLL(None).setns(namespace.fileno(), 0) == 0  # this thread, and no other
        return Client(port, name, "198.18.77.1")

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(connect).result(WAIT)


@pytest.mark.stress
def test_a_peer_that_vanishes_is_gone_in_time_whether_or_not_something_waits_for_it(start_process, cable):
    """Nothing tells the server: neither FIN nor RST."""
    process = start_process("--send-timeout", "1", "--host", "0.0.0.0")
    with staying_well(process), process.client("ann #lab") as ann, contextlib.ExitStack() as stack:
        for name in ("busy #lab", "idle #alone"):
            stack.enter_context(from_afar(process.port, name))
        ann.expect("busy joined")
        cable()
        began = time.monotonic()
        ann.ask("are you there?")  # it does not even fill the system's buffer
        wait_for(lambda: re.search(r"\(busy\) ends", process.errors), "the one for which something waits is gone", 10.0)
        wait_for(lambda: re.search(r"\(idle\) ends", process.errors), "the idle one is gone", 10.0)
        assert 3.0 < time.monotonic() - began < 10.0
        ann.expect("busy left")
        with process.client("busy"), process.client("idle"):  # their names are free
            pass
