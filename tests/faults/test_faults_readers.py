"""Clients that do not read what they are sent, or read too slowly: they are cut off, and nobody else notices."""

from __future__ import annotations

import contextlib
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from support.clients import LONG, TINY, Client
from support.servers import Process
from support.waiting import WAIT, wait_for
from support.wellness import needs_proc, staying_well, threads

from chat_threads.mailbox import Life

pytestmark = [pytest.mark.slow, needs_proc]

WIDE = "🙂" * 2000  # 8000 bytes


class Talker(Client):
    """Somebody who talks in #flood, and reads its own echo: all of it is stored and published."""

    def __init__(self, process: Process) -> None:
        super().__init__(process.port, "talker #flood")

    def talk(self, lines: int) -> None:
        for _ in range(0, lines, 50):
            self.send(*[LONG] * min(50, lines))
            self.news()
            self.seen.clear()

    def talk_until_gone(self, name: str) -> int:
        """Talk until nobody in the room has that in its name; return how many lines it took.

        Somebody who is cut off leaves the room at once. The log says why when its connection ends, a second or more
        later, and by then any number of lines may have been said.
        """
        spoken = 0
        while any(name in line for line in self.ask("/who")):
            assert spoken < 20_000, f"{name} was never cut off"
            self.talk(200)
            spoken += 200
        return spoken


def cut_off(process: Process, name: str) -> bool:
    return f"({name}) ends: too_slow" in process.errors


def test_a_tiny_receive_buffer_that_is_never_read_is_cut_off_by_the_lines_that_wait(start_process):
    process = start_process("--rate", "0", "--queue-limit", "600", "--send-timeout", "60")
    with staying_well(process), Talker(process) as talker:
        before = threads(process)
        with contextlib.ExitStack() as stack:
            for number in range(5):
                stack.enter_context(Client(process.port, f"slow{number} #flood", receive_buffer=TINY))
            assert talker.talk_until_gone("slow") > 600
            wait_for(lambda: all(cut_off(process, f"slow{number}") for number in range(5)), "the log says why")
            wait_for(lambda: threads(process) <= before, "their threads are gone though they are still connected")


def test_a_tiny_receive_buffer_that_is_never_read_is_cut_off_by_the_time_it_takes(start_process):
    """Little waits for it, so that it is the time that ends it."""
    process = start_process("--rate", "0", "--queue-limit", "100000", "--send-timeout", "1")
    with staying_well(process), Talker(process) as talker:
        before = threads(process)
        with Client(process.port, "slow #flood", receive_buffer=TINY):
            # Until it has its reader, and the writer that waits for its socket; a slow machine may miss that moment.
            while threads(process) < before + 2 and not cut_off(process, "slow"):
                talker.talk(50)
            wait_for(lambda: cut_off(process, "slow"), "it is cut off")
            wait_for(lambda: threads(process) <= before, "its threads are gone though it is still connected")


SMALL = """
import socket
from chat_threads import wire
init = wire.Wire.__init__
def small(self, sock, *more, **options):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    init(self, sock, *more, **options)
wire.Wire.__init__ = small
"""


@pytest.mark.stress
def test_two_kilobytes_every_fifth_of_a_second_never_finish_a_batch_and_do_not_put_off_the_end(start_process):
    """The system's own buffer is made small, so that the writer gets a little further all the time."""
    process = start_process("--rate", "0", "--queue-limit", "100000", "--send-timeout", "2", plant=SMALL)
    with (
        staying_well(process),
        Talker(process) as talker,
        Client(process.port, "trickle #flood", receive_buffer=TINY) as slow,
    ):
        before = threads(process)
        read: list[tuple[float, int]] = []
        over = threading.Event()

        def trickle() -> None:
            while not over.wait(0.2):
                with contextlib.suppress(OSError):
                    if data := slow.sock.recv(2048):
                        read.append((time.monotonic(), len(data)))

        reading = threading.Thread(target=trickle)
        reading.start()
        try:
            while threads(process) == before:  # until a writer thread waits for its socket
                talker.talk(50)
            talker.talk(500)  # a million bytes: it would take a minute and a half
            began = time.monotonic()
            wait_for(lambda: cut_off(process, "trickle"), "it is cut off")
            ended = time.monotonic()
        finally:
            over.set()
            reading.join(WAIT)
        meanwhile = [size for at, size in read if began <= at <= ended]
        assert len(meanwhile) >= 3, "it did read, until the end"
        assert max(meanwhile) <= 2048


READER = """
import socket, sys
with socket.socket() as sock:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)  # the system's own choice takes long to fill
    sock.connect(("127.0.0.1", int(sys.argv[1])))
    sock.sendall(sys.argv[2].encode() + b"\\n")
    with open(sys.argv[3], "wb", buffering=0) as file:
        try:
            while data := sock.recv(65536):
                file.write(data)
        except ConnectionResetError:
            pass
"""


@contextlib.contextmanager
def reader(process: Process, hello: str, seen: pathlib.Path) -> Iterator[subprocess.Popen[bytes]]:
    """A client in a process of its own that writes what it reads to a file; it has come in."""
    with subprocess.Popen([sys.executable, "-c", READER, str(process.port), hello, str(seen)]) as popen:
        try:
            wait_for(lambda: seen.exists() and b"* You are in #" in seen.read_bytes())
            yield popen
        finally:
            popen.kill()


def stopped(popen: subprocess.Popen[bytes]) -> bool:
    return pathlib.Path(f"/proc/{popen.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.stress
def test_a_client_that_is_stopped_by_sigstop_is_cut_off_and_finds_the_end_when_it_goes_on(start_process, tmp_path):
    process = start_process("--rate", "0", "--queue-limit", "600", "--send-timeout", "60")
    seen = tmp_path / "seen"
    with (
        staying_well(process),
        Talker(process) as talker,
        reader(process, "sleeper #flood", seen) as sleeper,
        reader(process, "awake #flood", tmp_path / "awake"),
    ):
        sleeper.send_signal(signal.SIGSTOP)
        wait_for(lambda: stopped(sleeper))
        size = seen.stat().st_size
        spoken = talker.talk_until_gone("sleeper")
        wait_for(lambda: cut_off(process, "sleeper"), "the log says why")
        assert stopped(sleeper)
        assert seen.stat().st_size == size
        sleeper.send_signal(signal.SIGCONT)
        assert sleeper.wait(WAIT) == 0
        assert 0 < seen.read_bytes().count(b"talker: x") < spoken
        wait_for(lambda: (tmp_path / "awake").read_bytes().count(b"talker: x") == spoken, "nobody else missed any")


def test_a_client_that_is_stopped_for_a_moment_misses_nothing(start_process, tmp_path):
    process = start_process("--rate", "0")
    with (
        staying_well(process),
        Talker(process) as talker,
        reader(process, "sleeper #flood", tmp_path / "seen") as sleeper,
    ):
        sleeper.send_signal(signal.SIGSTOP)
        wait_for(lambda: stopped(sleeper))
        before, spoken = threads(process), 0
        while threads(process) <= before:  # until its socket is full, and a thread waits for it
            talker.talk(100)
            spoken += 100
            assert spoken < 60_000, "the system takes all of it"
        talker.talk(100)
        sleeper.send_signal(signal.SIGCONT)
        wait_for(lambda: (tmp_path / "seen").read_bytes().count(b"talker: x") == spoken + 100)


@pytest.mark.parametrize("text", [WIDE, LONG], ids=["wide", "ASCII"])
def test_the_output_for_a_client_that_does_not_read_is_bounded_in_bytes_and_in_lines(serve, text):
    """With long lines of wide characters the bytes are the bound, otherwise the lines are."""
    server = serve(queue_limit=1000, send_timeout=600.0)  # so that it is not the time that ends it
    (ann,) = server.clients_named("ann")
    server.client("slow", receive_buffer=TINY)
    session = server.chat.sessions.named("slow")
    box, add, waited = session.mailbox, session.mailbox.add, []

    def watched_add(parcel: object, more: bool = False) -> bool:
        try:
            return add(parcel, more)
        finally:
            if not box.closed:
                waited.append((box.depth()[0], box._bytes, box.life))

    box.add = watched_add
    while not session.ended.is_set():
        ann.send(*[text] * 20)
        ann.news()
        ann.seen.clear()
    assert waited[-1][2] is Life.OVERFLOWED
    lines, size, _ = waited[-1]
    assert lines <= 1000 + 20
    assert size <= 4 * 1024 * 1024 + 20 * 8200
    assert (lines < 600) is (text is WIDE)
