"""A connected socket: reading that can be woken, sending that never waits, and last words that arrive."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from support.samples import for_each
from support.waiting import WAIT

from chat_threads import wire as module
from chat_threads.wire import INHERITED, LEAST_READ, NOWAIT, READ_SIZE, Wire, prepare

SMALL = 4096  # bytes of a socket's buffer, so that it is soon full


class Pair:
    """The two ends of a TCP connection on loopback: the server's as a Wire, the client's as a socket."""

    def __init__(self, nowait: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            prepare(listening, 30.0)
            self.peer = socket.socket()
            self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            self.peer.settimeout(WAIT)
            self.peer.connect(listening.getsockname())
            self.sock, _ = listening.accept()
        if not INHERITED:
            prepare(self.sock, 30.0)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        self.wire = Wire(self.sock, nowait)

    def read(self) -> bytes:
        """Read until something has come, or the end."""
        while (data := self.wire.read(WAIT)) is None:
            pass
        return data

    def reset(self) -> None:
        """Break the connection from the client's side: RST instead of FIN."""
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()

    def fill(self) -> int:
        """Send until the system takes no more and says so; return how many bytes it took."""
        total = 0
        while True:
            sent = self.wire.send(b"x" * 65536)
            total += sent
            if not sent and not self.wire.wait_writable(0.02):
                return total

    def drain(self, count: int) -> None:
        while count > 0:
            count -= len(self.peer.recv(65536))

    def close(self) -> None:
        self.sock.close()
        self.peer.close()


@pytest.fixture(params=["dontwait", "nonblocking", "select"])
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """A connection as on Linux and macOS, as without MSG_DONTWAIT, and as without poll (Windows)."""
    if request.param == "dontwait" and not NOWAIT:
        pytest.skip("this system has no MSG_DONTWAIT")
    if request.param == "select":
        monkeypatch.delattr(select, "poll", raising=False)
    pair = Pair(NOWAIT if request.param == "dontwait" else 0)
    yield pair
    pair.close()


def reading(wire: Wire, timeout: float | None = None) -> Callable[[], bytes]:
    """Read in a thread until something has come; returns what waits for that."""
    answers: list[bytes] = []

    def read() -> None:
        while (data := wire.read(timeout)) is None:
            pass
        answers.append(data)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()

    def answer() -> bytes:
        thread.join(WAIT)
        assert not thread.is_alive()
        return answers[0]

    return answer


# --- reading --------------------------------------------------------------------------------------------


def test_received_bytes_are_read_at_once_up_to_a_buffer(pair: Pair) -> None:
    pair.peer.sendall(b"hello")
    assert pair.read() == b"hello"
    for size in (LEAST_READ, LEAST_READ + 1, READ_SIZE, READ_SIZE, 1):
        pair.peer.sendall(b"x" * size)
        assert pair.read() == b"x" * size
    pair.peer.sendall(b"x" * (READ_SIZE + 1))
    rest = READ_SIZE + 1
    while rest:
        data = pair.read()
        assert data
        assert len(data) <= READ_SIZE
        rest -= len(data)


def test_a_reader_waits_for_what_comes(pair: Pair) -> None:
    answer = reading(pair.wire)
    pair.peer.sendall(b"at last")
    assert answer() == b"at last"


@pytest.mark.parametrize("timeout", [0.0, 0.02])
def test_a_reader_waits_only_so_long(pair: Pair, timeout: float) -> None:
    began = time.monotonic()
    assert pair.wire.read(timeout) is None
    assert timeout <= time.monotonic() - began + 0.001 < WAIT


def test_a_reader_that_has_the_system_wake_it_waits_only_so_long(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.02)
    pair.wire.wake_after(0.02)
    for _ in range(2):
        began = time.monotonic()
        assert pair.wire.read() is None
        assert 0.02 <= time.monotonic() - began + 0.005 < WAIT
    pair.peer.sendall(b"hi")
    assert pair.wire.read() == b"hi"
    pair.peer.sendall(b"late")
    assert pair.read() == b"late"


def test_the_end_of_the_peers_sending_is_read_as_the_end(pair: Pair) -> None:
    pair.peer.sendall(b"last words")
    pair.peer.shutdown(socket.SHUT_WR)
    assert pair.read() == b"last words"
    assert pair.read() == b""
    assert pair.read() == b""


def test_a_broken_connection_is_read_as_the_end(pair: Pair) -> None:
    answer = reading(pair.wire)
    pair.reset()
    assert answer() == b""
    assert pair.read() == b""


@pytest.mark.parametrize("timeout", [None, WAIT])
def test_a_reader_can_be_woken_by_another_thread(pair: Pair, timeout: float | None) -> None:
    answer = reading(pair.wire, timeout)
    pair.wire.stop_reading()
    assert answer() == b""


def test_a_reader_that_comes_after_it_was_stopped_does_not_wait(pair: Pair) -> None:
    pair.wire.stop_reading()
    assert pair.read() == b""


def test_bytes_received_before_stop_reading_are_still_read(pair: Pair) -> None:
    pair.peer.sendall(b"typed ahead")
    assert select.select([pair.sock], [], [], WAIT)[0]
    pair.wire.stop_reading()
    assert pair.read() == b"typed ahead"
    assert pair.read() == b""


def test_a_reader_that_is_not_woken_checks_by_itself_whether_it_is_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """On some systems without MSG_DONTWAIT, a shutdown of the socket does not wake a waiting reader."""
    with contextlib.closing(Pair(0)) as pair:
        monkeypatch.setattr(module, "LOOK", 0.01)
        monkeypatch.setattr(socket.socket, "shutdown", lambda *args: None)
        answer = reading(pair.wire)
        pair.wire.stop_reading()
        assert answer() == b""


def test_after_reading_was_stopped_something_can_still_be_sent(pair: Pair) -> None:
    pair.wire.stop_reading()
    assert pair.wire.send(b"goodbye") == 7
    assert pair.peer.recv(100) == b"goodbye"


def test_urgent_bytes_stay_in_line(pair: Pair) -> None:
    """As telnet's data mark after an interrupt (RFC 854), which comes with TCP's urgent pointer."""
    pair.peer.sendall(b"before")
    pair.peer.send(b"\xf2", socket.MSG_OOB)
    pair.peer.sendall(b"after")
    data = b""
    while len(data) < 12:
        more = pair.read()
        assert more
        data += more
    assert data == b"before\xf2after"


# --- sending --------------------------------------------------------------------------------------------


def test_sending_gives_the_bytes_to_the_system_at_once(pair: Pair) -> None:
    assert pair.wire.send(b"hello") == 5
    assert pair.wire.send(memoryview(b"hello")[2:]) == 3
    data = b""
    while len(data) < 8:
        data += pair.peer.recv(100)
    assert data == b"hellollo"


def test_a_full_socket_takes_nothing_at_once_and_more_when_the_peer_has_read(pair: Pair) -> None:
    pair.drain(pair.fill())
    assert pair.wire.wait_writable(WAIT)
    assert pair.wire.send(b"more") == 4
    assert pair.peer.recv(100) == b"more"


def test_a_full_socket_does_not_hinder_reading(pair: Pair) -> None:
    pair.fill()
    pair.peer.sendall(b"I do not read, but I write")
    assert pair.read() == b"I do not read, but I write"


def test_a_writer_that_waits_is_woken_by_a_peer_that_goes(pair: Pair) -> None:
    pair.fill()
    pair.reset()
    assert pair.wire.wait_writable(WAIT)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        pair.wire.send(b"more")


# --- the end --------------------------------------------------------------------------------------------


def test_last_words_arrive_though_there_is_input_that_nobody_reads(pair: Pair) -> None:
    """Closing with that unread would reset the connection, and what was sent last be lost with it."""
    pair.peer.sendall(b"typed ahead\n" * 100)
    assert pair.read()
    pair.wire.send(b"goodbye")
    lingering = threading.Thread(target=pair.wire.linger, args=(WAIT,))
    lingering.start()
    pair.peer.sendall(b"and typed on\n" * 100)
    pair.peer.shutdown(socket.SHUT_WR)
    lingering.join(WAIT)
    assert not lingering.is_alive()
    pair.sock.close()
    data = b""
    while more := pair.peer.recv(100):
        data += more
    assert data == b"goodbye"


def test_a_peer_that_lingers_too_is_waited_for_only_so_long(pair: Pair) -> None:
    pair.wire.linger(0.02)
    assert pair.peer.recv(100) == b""  # but it was told that nothing more comes


def test_a_peer_that_never_stops_sending_is_waited_for_only_so_long(pair: Pair) -> None:
    ended = threading.Event()

    def babble() -> None:
        with contextlib.suppress(OSError):
            while not ended.is_set():
                pair.peer.sendall(b"x" * 1_000_000)

    babbling = threading.Thread(target=babble)
    babbling.start()
    began = time.monotonic()
    pair.wire.linger(0.05)
    took = time.monotonic() - began
    ended.set()
    pair.sock.close()
    babbling.join(WAIT)
    assert 0.05 <= took < WAIT


def test_lingering_on_a_broken_connection_ends_at_once(pair: Pair) -> None:
    pair.reset()
    assert pair.read() == b""
    pair.wire.linger(WAIT)


def test_a_wire_whose_socket_is_closed_can_be_stopped_and_asked_by_anybody(pair: Pair) -> None:
    pair.sock.close()
    pair.wire.stop_reading()
    assert pair.wire.rtt() is None


# --- what TCP knows -------------------------------------------------------------------------------------


@pytest.mark.skipif(not INHERITED, reason="on this system each connection is prepared")
def test_small_pieces_are_sent_at_once_and_dead_peers_found_on_each_connection() -> None:
    with socket.socket() as listening, socket.socket() as peer:
        prepare(listening, 30.0)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        peer.connect(listening.getsockname())
        with listening.accept()[0] as sock:
            for option in (socket.SO_OOBINLINE, socket.SO_KEEPALIVE):
                assert sock.getsockopt(socket.SOL_SOCKET, option)
            for option in (socket.TCP_NODELAY, socket.TCP_USER_TIMEOUT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
                ours = sock.getsockopt(socket.IPPROTO_TCP, option)
                assert ours == listening.getsockopt(socket.IPPROTO_TCP, option) > 0
            assert sock.gettimeout() is None  # a waiting reader costs one system call


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system has no such option")
@for_each(
    ("patience", "options"), [(30.0, (33_000, 10, 5, 4)), (0.5, (3500, 1, 1, 4)), (86_400.0, (86_403_000, 60, 15, 4))]
)
def test_a_dead_peer_is_found_in_about_the_time_that_a_slow_one_has(patience: float, options: tuple[int, ...]) -> None:
    names = ("TCP_USER_TIMEOUT", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
    with socket.socket() as sock:
        prepare(sock, patience)
        assert tuple(sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names) == options


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="this system does not tell the round trip")
def test_the_round_trip_is_tcps_own_estimate_in_seconds(pair: Pair) -> None:
    pair.wire.send(b"hello")
    pair.peer.recv(100)
    pair.peer.sendall(b"hello")
    assert pair.read()
    rtt = pair.wire.rtt()
    assert rtt is not None
    assert 0 < rtt < 5


def test_where_the_system_does_not_tell_there_is_no_round_trip(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "TCP_INFO", raising=False)
    assert pair.wire.rtt() is None


def test_a_socket_that_is_not_tcp_is_a_wire_too() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire = Wire(ours)
        assert wire.send(b"hello") == 5
        assert theirs.recv(100) == b"hello"
        if ours.family != socket.AF_INET:  # as on Windows
            assert wire.rtt() is None
