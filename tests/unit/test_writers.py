"""The writer threads: order, partial sends, one writer at a time, cutting off, and the end."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from support.waiting import WAIT, wait_for

from chat_threads import writers as module
from chat_threads.disconnects import ShuttingDown, TooSlow
from chat_threads.events import Event, Notice, Problem
from chat_threads.parcel import Parcel, Views
from chat_threads.session import NEIGHBOURS, Session
from chat_threads.wire import Wire
from chat_threads.writers import TOGETHER, Crew, OnePerSession, Unsent, Writers

SMALL = 4096  # bytes of a socket's buffer, so that it is soon full
MANY = 400  # lines of LONG bytes, too many for both buffers
LONG = 500


class Lines:
    """A view: a line for each notice and problem. A notice of "bug" is one that it cannot show."""

    def encode(self, events: Sequence[Event]) -> bytes:
        data = b""
        for event in events:
            if isinstance(event, (Notice, Problem)):
                if event.text == "bug":
                    raise ZeroDivisionError
                data += event.text.encode() + b"\r\n"
        return data


LINES = Lines()


class Dialect:
    views = Views(LINES, LINES)


class WatchedWire(Wire):
    """A wire that notes which threads send, and whether two ever do at the same time; ``gate`` holds them up."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.put = lambda data, nowait: self.send(data)
        self.gate = threading.Event()
        self.gate.set()
        self.waiting = threading.Event()  # a thread has come to the gate
        self.behind = threading.Event()  # a thread waits until it can send
        self.threads: list[str] = []
        self.clashes = 0
        self._sending = threading.Lock()

    def send(self, data: bytes | memoryview) -> int:
        if not self._sending.acquire(blocking=False):
            self.clashes += 1
            return 0
        try:
            self.threads.append(threading.current_thread().name)
            self.waiting.set()
            assert self.gate.wait(WAIT)
            return super().send(data)
        finally:
            self._sending.release()

    def wait_writable(self, timeout: float) -> bool:
        self.behind.set()
        return super().wait_writable(timeout)


class Connection:
    """A session on a TCP connection on loopback with small buffers, and its client."""

    def __init__(self, number: int, writers: Writers, limit: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.peer = socket.socket()
            self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            self.peer.settimeout(WAIT)
            self.peer.connect(listening.getsockname())
            self.sock, _ = listening.accept()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        self.wire = WatchedWire(self.sock)
        self.session = Session(number, self.wire, Dialect(), writers.schedule, limit)  # type: ignore[arg-type]
        self._buffer = b""

    def send(self, *lines: str) -> None:
        for line in lines:
            self.session.send(Notice(line))

    def read(self, count: int) -> list[str]:
        """The next lines that the client receives."""
        while self._buffer.count(b"\r\n") < count:
            data = self.peer.recv(65536)
            assert data, f"the connection ended after {self._buffer!r}"
            self._buffer += data
        *lines, self._buffer = self._buffer.split(b"\r\n", count)
        return [line.decode() for line in lines]

    def read_to(self, text: str) -> list[str]:
        """All lines up to the one that has the text, and that."""
        lines = self.read(1)
        while text not in lines[-1]:
            lines += self.read(1)
        return lines

    def reset(self) -> None:
        """Break the connection from the client's side: RST instead of FIN."""
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()


class ScriptedWire:
    """A wire without a socket: each send takes the next of ``takes`` bytes. ``writable``: what a wait returns."""

    nowait = 0
    sent = 0
    unsent = b""

    def __init__(self, *takes: int, writable: bool = True) -> None:
        self.takes = list(takes)  # the last of them for ever
        self.writable = writable
        self.taken = b""
        self.sends = 0
        self.waits = 0
        self.stopped = threading.Event()
        self._tick = threading.Event()

    def send(self, data: bytes | memoryview) -> int:
        self.sends += 1
        take = self.takes.pop(0) if len(self.takes) > 1 else self.takes[0]
        self.taken += bytes(data[:take])
        return min(take, len(data))

    def put(self, data: bytes, nowait: int) -> int:
        return self.send(data)

    def wait_writable(self, timeout: float) -> bool:
        self.waits += 1
        self._tick.wait(min(timeout, 0.005))
        return self.writable

    def stop_reading(self) -> None:
        self.stopped.set()


class Office:
    """Writer threads and the sessions that they write to, which are all brought to an end."""

    def __init__(self, make: Callable[[float], Writers], send_timeout: float) -> None:
        self.writers = make(send_timeout)
        self.connections: list[Connection] = []
        self.sessions: list[Session] = []

    def connect(self, limit: int = 10**6, number: int = 0) -> Connection:
        connection = Connection(number or len(self.sessions) + 1, self.writers, limit)
        self.connections.append(connection)
        self.sessions.append(connection.session)
        self.writers.attend(connection.session)
        return connection

    def scripted(self, wire: ScriptedWire) -> Session:
        session = Session(len(self.sessions) + 1, wire, Dialect(), self.writers.schedule, 10**6)  # type: ignore[arg-type]
        self.sessions.append(session)
        self.writers.attend(session)
        return session

    def close(self) -> None:
        self.writers.give_up_within(0.0)
        for session in self.sessions:
            session.close()
        for session in self.sessions:
            assert session.written.wait(WAIT)
        assert self.writers.stop(WAIT) == []
        assert writer_threads() == []
        for connection in self.connections:
            connection.sock.close()
            connection.peer.close()
            assert connection.wire.clashes == 0


def writer_threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("writer-"))


def crew_of_one(send_timeout: float) -> Writers:
    """One thread for all: if it waited for one client, the others would notice."""
    return Crew(1, send_timeout)


@pytest.fixture
def open_office() -> Iterator[Callable[..., Office]]:
    offices: list[Office] = []

    def open_one(make: Callable[[float], Writers], send_timeout: float = 60.0) -> Office:
        offices.append(Office(make, send_timeout))
        return offices[-1]

    yield open_one
    for office in offices:
        office.close()


@pytest.fixture(params=[crew_of_one, OnePerSession], ids=["crew", "per-session"])
def make(request: pytest.FixtureRequest) -> Callable[[float], Writers]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def office(open_office: Callable[..., Office], make: Callable[[float], Writers]) -> Office:
    """Either layout, with so much time to send that no test waits for it."""
    return open_office(make)


def long_lines(first: int, count: int) -> list[str]:
    return [f"{n} ".ljust(LONG, ".") for n in range(first, first + count)]


# --- what both layouts do -------------------------------------------------------------------------------


def test_parcels_arrive_in_order(office: Office) -> None:
    connection = office.connect()
    connection.send(*(f"line {n}" for n in range(100)))
    assert connection.read(100) == [f"line {n}" for n in range(100)]


def test_parcels_from_many_threads_all_arrive_and_each_threads_in_order(office: Office) -> None:
    connection = office.connect()
    senders = [
        threading.Thread(target=connection.send, args=[f"{name} {n}" for n in range(300)], daemon=True)
        for name in "abcd"
    ]
    for sender in senders:
        sender.start()
    lines = connection.read(1200)
    for sender in senders:
        sender.join(WAIT)
    for name in "abcd":
        assert [line for line in lines if line.startswith(name)] == [f"{name} {n}" for n in range(300)]


def test_a_client_that_reads_in_fits_and_starts_gets_everything_once_and_in_order(office: Office) -> None:
    """It often falls behind and catches up, so its session often moves from one thread of the crew to another."""
    connection = office.connect()
    for turn in range(5):
        lines = long_lines(turn * MANY, MANY)
        connection.wire.behind.clear()
        connection.send(*lines[:-1])
        assert connection.wire.behind.wait(WAIT)
        connection.send(lines[-1])
        assert connection.read(MANY) == lines


def test_nobody_waits_for_a_client_that_does_not_read(office: Office) -> None:
    slow, quick = office.connect(), office.connect()
    slow.send(*long_lines(0, MANY))
    for n in range(20):
        quick.send(f"line {n}")
        assert quick.read(1) == [f"line {n}"]
    assert slow.read(MANY) == long_lines(0, MANY)


def test_a_session_that_is_cut_off_gets_the_parcel_under_way_then_the_reason_and_nothing_else(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE", WAIT)
    connection = office.connect()
    connection.send(*long_lines(0, MANY))
    assert connection.wire.behind.wait(WAIT)
    connection.send("lost")
    connection.session.cut_off(TooSlow("this is a test"))
    lines = connection.read_to("You read too slowly: this is a test")
    assert connection.session.written.wait(WAIT)
    connection.wire.linger(0.0)
    assert connection.peer.recv(100) == b""
    assert lines[:-1] == long_lines(0, len(lines) - 1)
    assert len(lines) < MANY


@pytest.mark.parametrize(("took", "kept"), [(0, b""), (4, b"one\r\ntwo\r\n"), (10, b"one\r\ntwo\r\n")])
def test_a_parcel_is_sent_whole_or_not_at_all(
    office: Office, monkeypatch: pytest.MonkeyPatch, took: int, kept: bytes
) -> None:
    """A client cannot read half of one: not every dialect ends what it sends with the end of a line."""
    monkeypatch.setattr(module, "GRACE", WAIT)
    wire = ScriptedWire(took, 10**6, writable=False)
    session = office.scripted(wire)
    session.mailbox.push(Parcel(LINES, [Notice("one"), Notice("two")]))
    session.mailbox.push(Parcel(LINES, [Notice("lost")]))
    office.writers.schedule([session])
    wait_for(lambda: wire.sends)
    session.cut_off(ShuttingDown())
    before = wire.waits
    wait_for(lambda: wire.waits > before + 1 or wire.sends > 1)  # the writer has seen it
    wire.writable = True
    assert session.written.wait(WAIT)
    assert wire.taken == kept + b"The server is shutting down. Goodbye.\r\n"


def test_a_session_that_is_cut_off_while_its_queue_is_full_gets_the_reason(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE", WAIT)
    connection = office.connect(limit=50)
    connection.send(*long_lines(0, 5 * MANY))
    assert isinstance(connection.session.reason, TooSlow)
    lines = connection.read_to("You read too slowly")
    assert lines[:-1] == long_lines(0, len(lines) - 1)


def test_all_of_the_last_words_are_sent_though_the_socket_is_full_when_they_come(office: Office) -> None:
    session = office.scripted(ScriptedWire(0, 5, 10**6))
    assert session.mailbox.cut_off(Parcel(LINES, [Notice("this is why"), Notice("bye")]))
    office.writers.schedule([session])
    assert session.written.wait(WAIT)
    assert session.wire.taken == b"this is why\r\nbye\r\n"  # type: ignore[attr-defined]


def test_last_words_are_sent_before_the_session_counts_as_written(office: Office) -> None:
    connection = office.connect()
    connection.send(*long_lines(0, MANY))
    connection.session.close(Notice("goodbye"))
    assert not connection.session.written.is_set()
    assert connection.read(MANY + 1) == [*long_lines(0, MANY), "goodbye"]
    assert connection.session.written.wait(WAIT)


def test_a_session_that_ends_with_nothing_to_say_counts_as_written(office: Office) -> None:
    connection = office.connect()
    connection.session.close()
    assert connection.session.written.wait(WAIT)


def test_a_client_that_does_not_read_in_time_is_cut_off_with_a_reason(
    open_office: Callable[..., Office], make: Callable[[float], Writers]
) -> None:
    office = open_office(make, send_timeout=0.05)
    connection, other = office.connect(), office.connect()
    connection.send(*long_lines(0, MANY))
    assert connection.session.written.wait(WAIT)
    assert connection.session.ended.is_set()
    assert isinstance(connection.session.reason, TooSlow)
    assert "within 0.05 seconds" in connection.session.reason.text
    other.send("hello")
    assert other.read(1) == ["hello"]


def test_the_time_to_send_is_for_a_whole_batch_however_many_bytes_trickle(
    open_office: Callable[..., Office], make: Callable[[float], Writers]
) -> None:
    office = open_office(make, send_timeout=0.1)
    wire = ScriptedWire(1)
    session = office.scripted(wire)
    session.send(Notice("x" * 100_000))
    assert session.written.wait(WAIT)
    assert isinstance(session.reason, TooSlow)
    assert 1 < len(wire.taken) < 50_000


def test_a_client_that_takes_a_little_at_a_time_gets_it_all(office: Office) -> None:
    wire = ScriptedWire(0, 3, 0, 1, 7)
    session = office.scripted(wire)
    session.send(Notice("hello"), Notice("world"))
    session.close(Notice("goodbye"))
    assert session.written.wait(WAIT)
    assert wire.taken == b"hello\r\nworld\r\ngoodbye\r\n"
    assert session.reason is None


def test_the_reason_is_never_sent_in_the_middle_of_a_line(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client took half a line, nothing for a while, and then would take more."""
    monkeypatch.setattr(module, "GRACE", 0.02)
    wire = ScriptedWire(4, 10**6, writable=False)
    session = office.scripted(wire)
    session.send(Notice("a line that is longer"))
    wait_for(lambda: wire.sends)
    session.cut_off(TooSlow())
    assert session.written.wait(WAIT)
    assert wire.taken == b"a li"


def test_a_client_that_was_cut_off_delays_the_end_for_a_moment_only(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE", 0.02)
    connection = office.connect()
    connection.send(*long_lines(0, MANY))
    connection.session.cut_off(ShuttingDown())
    assert connection.session.written.wait(WAIT)
    assert isinstance(connection.session.reason, ShuttingDown)


def test_in_a_hurry_no_writer_waits_longer_than_that(office: Office) -> None:
    stuck = [office.connect() for _ in range(3)]
    for connection in stuck:
        connection.send(*long_lines(0, MANY))
        assert connection.wire.behind.wait(WAIT)
        connection.session.close(Notice("goodbye"))
    office.writers.give_up_within(0.02)
    for connection in stuck:
        assert connection.session.written.wait(WAIT)
        assert connection.session.reason is None  # that is the server's doing, not the client's


def test_in_a_hurry_those_who_read_still_get_everything(office: Office) -> None:
    connection = office.connect()
    connection.send(*long_lines(0, MANY))
    office.writers.give_up_within(WAIT)
    connection.session.close(Notice("goodbye"))
    assert connection.read(MANY + 1)[-1] == "goodbye"


@pytest.mark.parametrize("behind", [False, True], ids=["idle", "behind"])
def test_a_connection_that_breaks_ends_its_session_and_no_other(office: Office, behind: bool) -> None:
    broken, other = office.connect(), office.connect()
    if behind:
        broken.send(*long_lines(0, MANY))
    broken.reset()
    for n in range(3):  # the first may still be taken by the system
        broken.send(f"line {n}")
        wait_for(lambda: broken.session.mailbox.lines == 0)
    assert broken.session.ended.wait(WAIT)
    assert broken.session.written.wait(WAIT)
    other.send("hello")
    assert other.read(1) == ["hello"]
    assert not other.session.ended.is_set()


def test_an_event_that_cannot_be_shown_ends_that_session_only_and_is_logged(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = office.connect(), office.connect()
    one.send("bug")
    assert one.session.written.wait(WAIT)
    assert one.session.ended.is_set()
    other.send("hello")
    assert other.read(1) == ["hello"]
    assert caplog.text.count("Traceback") == 1
    assert "nothing could be sent to session 1" in caplog.text


def test_when_stopped_the_writers_whose_session_goes_on_are_named(office: Office) -> None:
    connection = office.connect()
    connection.send(*long_lines(0, MANY))
    wait_for(lambda: "writer-of-1" in writer_threads())
    assert "writer-of-1" in office.writers.stop(0.02)


def test_all_writers_have_ended_when_stop_returns(office: Office) -> None:
    for _ in range(20):
        connection = office.connect()
        connection.send(*long_lines(0, MANY))
        connection.session.cut_off(ShuttingDown())
        connection.reset()
    for session in office.sessions:
        assert session.written.wait(WAIT)
    assert office.writers.stop(WAIT) == []
    assert writer_threads() == []


# --- catching up ----------------------------------------------------------------------------------------


def test_catching_up_waits_until_what_was_scheduled_is_sent(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_TIMEOUT", WAIT)
    connection = office.connect()
    connection.wire.gate.clear()
    connection.send("hello")
    assert connection.wire.waiting.wait(WAIT)
    order: list[str] = []

    def flush() -> None:
        office.writers.flush()
        order.append("caught up")

    waiter = threading.Thread(target=flush)
    waiter.start()
    order.append("the writer may go on")
    connection.wire.gate.set()
    waiter.join(WAIT)
    assert not waiter.is_alive()
    assert order == ["the writer may go on", "caught up"]


def test_a_batch_may_go_on_while_many_sessions_are_left_and_waits_while_few_are(
    open_office: Callable[..., Office], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLUSH_TIMEOUT", 0.02)
    office = open_office(crew_of_one)
    held, *others, last = [office.connect() for _ in range(module.MANY + 1)]
    held.wire.gate.clear()

    def show(text: str, *connections: Connection) -> None:
        ready = [each.session for each in connections if each.session.mailbox.push(Parcel(LINES, [Notice(text)]))]
        office.writers.schedule(ready)

    show("one", held, *others)
    assert held.wire.waiting.wait(WAIT)
    assert office.writers.flush(may_go_on=True) is True  # it has waited, in vain
    show("one", last)
    assert office.writers.flush(may_go_on=True) is False
    show("two", *others, last)
    held.wire.gate.set()
    assert [each.read(2) for each in (*others, last)] == [["one", "two"]] * (len(others) + 1)
    monkeypatch.setattr(module, "FLUSH_TIMEOUT", WAIT)
    assert office.writers.flush() is True


def test_catching_up_waits_for_no_client_that_does_not_read(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_TIMEOUT", WAIT)
    connection = office.connect()
    connection.send(*long_lines(0, MANY))
    began = time.monotonic()
    office.writers.flush()
    assert time.monotonic() - began < WAIT / 2


def test_catching_up_waits_for_no_client_that_gets_more_while_it_does_not_read(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some parcels are scheduled while the writer sends earlier ones, and then has to wait."""
    monkeypatch.setattr(module, "FLUSH_TIMEOUT", WAIT)
    connection = office.connect()
    connection.wire.gate.clear()
    connection.send(*long_lines(0, MANY))
    assert connection.wire.waiting.wait(WAIT)
    connection.send("more")
    connection.wire.gate.set()
    began = time.monotonic()
    office.writers.flush()
    connection.send("and more")
    office.writers.flush()
    assert time.monotonic() - began < WAIT / 2


def test_catching_up_waits_for_no_writer_that_ended_as_more_came_for_it(
    open_office: Callable[..., Office], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session is scheduled once more when its writer has sent the last word and is about to end."""
    monkeypatch.setattr(module, "FLUSH_TIMEOUT", WAIT)
    office = open_office(OnePerSession)
    session = office.scripted(ScriptedWire(10**6))
    done = office.writers._done

    def told_late(count: int) -> None:
        done(count)
        if session.written.is_set() and not late:
            late.append(True)
            office.writers.schedule([session])

    late: list[bool] = []
    monkeypatch.setattr(office.writers, "_done", told_late)
    session.close(Notice("bye"))
    assert session.written.wait(WAIT)
    wait_for(lambda: writer_threads() == [])
    assert late
    began = time.monotonic()
    office.writers.flush()
    assert time.monotonic() - began < WAIT / 2


def test_a_bug_in_writing_ends_one_session_and_not_the_thread_that_others_share(
    open_office: Callable[..., Office], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    office = open_office(crew_of_one)
    one, other = office.scripted(ScriptedWire(10**6)), office.scripted(ScriptedWire(10**6))
    send = office.writers._send

    def buggy(session: Session, parcels: list[Parcel], sealed: bytes = b"") -> Unsent | None:
        if session is one:
            raise ZeroDivisionError
        return send(session, parcels, sealed)

    monkeypatch.setattr(office.writers, "_send", buggy)
    for session in (one, other):
        session.send(Notice("hello"))
    assert one.written.wait(WAIT)
    office.writers.flush()
    assert other.wire.taken == b"hello\r\n"  # type: ignore[attr-defined]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


def test_a_bug_in_taking_out_ends_the_sessions_that_were_taken_together_and_no_others(
    open_office: Callable[..., Office], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was taken out of the others' mailboxes before would be lost, and they would see a hole."""
    office = open_office(crew_of_one)
    sessions = [office.scripted(ScriptedWire(10**6)) for _ in range(TOGETHER + 1)]
    for session in sessions:
        assert session.mailbox.push(Parcel(LINES, [Notice("hello")]))
    monkeypatch.setattr(sessions[1].mailbox, "take", lambda: 1 / 0)
    office.writers.schedule(sessions)
    assert all(session.written.wait(WAIT) for session in sessions[:TOGETHER] if session is not sessions[1])
    office.writers.flush()
    assert [session.wire.taken for session in sessions] == [b""] * TOGETHER + [b"hello\r\n"]  # type: ignore[attr-defined]


def test_catching_up_with_nothing_takes_no_time(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_TIMEOUT", WAIT)
    began = time.monotonic()
    office.writers.flush()
    assert time.monotonic() - began < WAIT / 2


def test_catching_up_waits_for_a_held_up_writer_only_so_long(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_TIMEOUT", 0.02)
    connection = office.connect()
    connection.wire.gate.clear()
    connection.send("hello")
    office.writers.flush()
    connection.wire.gate.set()
    assert connection.read(1) == ["hello"]


# --- the crew -------------------------------------------------------------------------------------------


def test_a_session_that_is_behind_gets_a_thread_of_its_own_and_goes_back_to_the_crew(
    open_office: Callable[..., Office],
) -> None:
    office = open_office(crew_of_one)
    connection = office.connect()
    assert writer_threads() == ["writer-1"]
    connection.send(*long_lines(0, MANY))
    wait_for(lambda: "writer-of-1" in writer_threads())
    assert connection.read(MANY) == long_lines(0, MANY)
    wait_for(lambda: writer_threads() == ["writer-1"])
    connection.wire.threads.clear()
    connection.send("quick again")
    assert connection.read(1) == ["quick again"]
    assert connection.wire.threads == ["writer-1"]


def test_a_crew_shares_the_work(open_office: Callable[..., Office]) -> None:
    """Two sessions of different neighbourhoods, each of whose writers waits until the other's has begun."""
    office = open_office(lambda send_timeout: Crew(2, send_timeout))
    one, other = office.connect(number=1), office.connect(number=NEIGHBOURS)
    for connection in (one, other):
        connection.wire.gate.clear()
        connection.send("hello")
    assert one.wire.waiting.wait(WAIT)
    assert other.wire.waiting.wait(WAIT)
    for connection in (one, other):
        connection.wire.gate.set()
        assert connection.read(1) == ["hello"]
    assert {*one.wire.threads, *other.wire.threads} == {"writer-1", "writer-2"}


def test_a_large_room_is_written_to_by_the_whole_crew_and_everybody_gets_it(open_office: Callable[..., Office]) -> None:
    office = open_office(lambda send_timeout: Crew(2, send_timeout))
    sessions = [office.scripted(ScriptedWire(10**6)) for _ in range(3 * NEIGHBOURS + 5)]
    parcel = Parcel(LINES, [Notice("to all")])
    assert all(session.mailbox.push(parcel) for session in sessions)
    office.writers.schedule(sessions)
    office.writers.flush()
    assert {session.wire.taken for session in sessions} == {b"to all\r\n"}  # type: ignore[attr-defined]


@pytest.fixture
def no_more_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on the system starts no more writers for one session."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("writer-of-"):
            raise RuntimeError("can't start new thread")
        start(thread)

    return lambda: monkeypatch.setattr(threading.Thread, "start", refuse)


def test_a_session_that_is_behind_is_cut_off_if_no_thread_can_be_started_and_the_crew_continues(
    open_office: Callable[..., Office], no_more_threads: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    office = open_office(crew_of_one)
    slow, quick = office.connect(), office.connect()
    no_more_threads()
    slow.send(*long_lines(0, MANY))
    assert slow.session.written.wait(WAIT)
    assert slow.session.ended.is_set()
    assert "session 1 is behind, and no thread could be started for it" in caplog.text
    quick.send("hello")
    assert quick.read(1) == ["hello"]


# --- one for each ---------------------------------------------------------------------------------------


def test_each_session_has_its_own_writer_which_ends_with_it(open_office: Callable[..., Office]) -> None:
    office = open_office(OnePerSession)
    one, other = office.connect(), office.connect()
    assert writer_threads() == ["writer-of-1", "writer-of-2"]
    for connection in (one, other):
        connection.send("hello")
        assert connection.read(1) == ["hello"]
    assert (one.wire.threads, other.wire.threads) == (["writer-of-1"], ["writer-of-2"])
    one.session.close()
    wait_for(lambda: writer_threads() == ["writer-of-2"])


def test_a_session_for_which_no_writer_can_be_started_is_not_begun(
    open_office: Callable[..., Office], no_more_threads: Callable[[], None]
) -> None:
    office = open_office(OnePerSession)
    no_more_threads()
    session = Session(1, ScriptedWire(1), Dialect(), office.writers.schedule, 10)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="can't start new thread"):
        office.writers.attend(session)
    assert office.writers._own_writers == {}  # type: ignore[attr-defined]
    assert office.writers.stop(WAIT) == []
