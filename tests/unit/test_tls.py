"""TLS in memory, and an encrypted wire with a thread that reads and one that writes."""

from __future__ import annotations

import contextlib
import pathlib
import random
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from typing import cast

import pytest
from support import certificates
from support.samples import for_each
from support.waiting import WAIT, in_threads

from chat_threads.dialects.base import Dialect
from chat_threads.errors import StartError
from chat_threads.events import Event, Notice
from chat_threads.parcel import Parcel, Views
from chat_threads.securewire import LONG_PAUSE, PAUSE, PIECES, SecureWire
from chat_threads.session import SECURED, Session
from chat_threads.tls import LEAST_COUNTED, MOST_SILENT, MOST_WAITING, RECORD, SHARERS, Certificate, Channel, Violation
from chat_threads.wire import NOWAIT, READ_SIZE, Wire
from chat_threads.writers import Crew

SMALL = 4096  # bytes of a socket's buffer, so that it is soon full
MEGABYTES = 14 << 20


def context(files: certificates.Files) -> ssl.SSLContext:
    return Certificate(str(files.cert), str(files.key)).context


@pytest.fixture
def channels(certificate: certificates.Files) -> tuple[Channel, Channel]:
    """A server's channel and a client's, which have shaken hands."""
    server, client = Channel(context(certificate)), Channel(certificate.trusted, "localhost")
    together(server, client)
    return server, client


# --- in memory ------------------------------------------------------------------------------------------


def plain_of(channel: Channel, encrypted: bytes, rng: random.Random) -> bytes:
    """What the channel makes of these bytes if they come in pieces of any size."""
    found, at = b"", 0
    while at < len(encrypted):
        while more := channel.decrypt():
            found += more
        size = rng.choice((1, 5, 100, 4096))
        found += channel.decrypt(encrypted[at : at + size]) or b""
        at += size
    while more := channel.decrypt():
        found += more
    return found


@for_each("seed", range(5))
def test_any_split_of_what_comes_gives_the_same_text(channels: tuple[Channel, Channel], seed: int) -> None:
    server, client = channels
    rng = random.Random(seed)
    texts = [rng.randbytes(rng.choice((1, 2, 100, RECORD))) for _ in range(20)]
    assert plain_of(server, b"".join(map(client.encrypt, texts)), rng) == b"".join(texts)
    assert plain_of(client, b"".join(map(server.encrypt, texts)), rng) == b"".join(texts)


def test_the_end_of_a_peer_that_says_so_is_told_from_a_pause(channels: tuple[Channel, Channel]) -> None:
    server, client = channels
    last = client.encrypt(b"bye") + client.farewell()
    assert server.decrypt(last[:10]) is None
    assert server.decrypt(last[10:]) == b"bye"
    assert server.decrypt() == server.decrypt() == b""


def test_records_that_came_together_are_taken_together(channels: tuple[Channel, Channel]) -> None:
    server, client = channels
    records = [client.encrypt(b"line %d\n" % number) for number in range(3)]
    assert server.decrypt(b"".join(records)[:-5]) == b"line 0\nline 1\n"
    assert server.decrypt() is None
    assert server.decrypt(records[2][-5:]) == b"line 2\n"
    assert server.decrypt(client.encrypt(b"x" * READ_SIZE) + client.encrypt(b"more")) == b"x" * READ_SIZE
    assert server.decrypt() == b"more"


def test_what_came_whole_is_taken_before_the_peer_breaks_the_rules(channels: tuple[Channel, Channel]) -> None:
    server, client = channels
    bad = bytearray(client.encrypt(b"first") + client.encrypt(b"second"))
    bad[-1] ^= 1
    assert server.decrypt(bytes(bad)) == b"first"
    for data in (b"", client.encrypt(b"third"), b""):
        with pytest.raises(Violation, match="bad record mac"):
            server.decrypt(data)


def test_bytes_that_were_changed_on_the_way_end_it(channels: tuple[Channel, Channel]) -> None:
    server, client = channels
    encrypted = bytearray(client.encrypt(b"hello"))
    encrypted[-1] ^= 1
    with pytest.raises(Violation, match="bad record mac"):
        server.decrypt(bytes(encrypted))


def test_a_record_that_never_ends_takes_no_more_memory_than_a_record(channels: tuple[Channel, Channel]) -> None:
    server, _ = channels
    with pytest.raises(Violation):
        feed(server, b"\x17\x03\x03\x40\x00" + b"x" * 4091, MOST_SILENT // 4096 + 1)


def test_a_record_that_comes_byte_by_byte_is_soon_given_up(channels: tuple[Channel, Channel]) -> None:
    server, client = channels
    record = client.encrypt(b"x" * RECORD)
    pieces = [record[at : at + 1] for at in range(MOST_SILENT // LEAST_COUNTED + 1)]
    with pytest.raises(Violation):
        any(map(server.decrypt, pieces))


def test_answers_that_nobody_fetches_end_it_even_if_text_comes_between(channels: tuple[Channel, Channel]) -> None:
    server, client = channels
    server._answers = bytes(MOST_WAITING + 1)  # to updates of the keys, which Python cannot send
    assert server.decrypt(client.encrypt(b"\n")) == b"\n"
    with pytest.raises(Violation):
        server.decrypt()


def feed(channel: Channel, data: bytes, times: int) -> None:
    for _ in range(times):
        channel.decrypt(data)


def test_a_client_that_expects_another_host_does_not_trust_the_certificate(certificate: certificates.Files) -> None:
    server, client = Channel(context(certificate)), Channel(certificate.trusted, "example.org")
    _, hello = client.shake()
    _, answer = server.shake(hello)
    with pytest.raises(ssl.SSLCertVerificationError):
        client.shake(answer)
    with pytest.raises(ssl.SSLError):
        server.shake(client.farewell())


def together(server: Channel, client: Channel) -> None:
    """Let them shake hands."""
    done, to_server = client.shake()
    while not done:
        _, to_client = server.shake(to_server)
        done, to_server = client.shake(to_client)
    client.decrypt(server.shake(to_server)[1])


def test_neighbours_share_a_buffer_and_each_peer_gets_only_what_is_for_it(certificate: certificates.Files) -> None:
    servers = Certificate(str(certificate.cert), str(certificate.key))
    ours = [servers.channel() for _ in range(SHARERS + 1)]
    assert ours[0].lock is ours[SHARERS - 1].lock is not ours[SHARERS].lock
    (one, two, failing), clients = ours[:3], [Channel(certificate.trusted, "localhost") for _ in range(2)]
    together(one, clients[0])
    with pytest.raises(ssl.SSLError):  # what it would tell its peer is fetched later, or never
        failing.shake(b"\x16\x03\x01\x00\x05hello")
    assert clients[0].decrypt(one.encrypt(b"to the first")) == b"to the first"
    together(two, clients[1])
    with pytest.raises(Violation):
        one.decrypt(b"no record at all")
    assert clients[1].decrypt(two.encrypt(b"to the second")) == b"to the second"
    assert failing.farewell()
    assert one.farewell()


def test_a_connection_that_lost_a_record_sends_no_more_and_its_neighbours_do(certificate: certificates.Files) -> None:
    servers = Certificate(str(certificate.cert), str(certificate.key))
    (one, two), clients = (
        [servers.channel() for _ in range(2)],
        [Channel(certificate.trusted, "localhost") for _ in "12"],
    )
    together(one, clients[0])
    together(two, clients[1])

    class Fails:
        def write(self, plain: bytes) -> None:
            whole.write(plain)
            raise MemoryError

    whole, one._tls = one._tls, Fails()  # type: ignore[assignment]
    with pytest.raises(MemoryError):
        one.encrypt(b"lost")
    one._tls = whole
    with pytest.raises(ssl.SSLError):
        one.encrypt(b"more")
    assert clients[1].decrypt(two.encrypt(b"hello")) == b"hello"


# --- a wire ---------------------------------------------------------------------------------------------


class Ends:
    """A TCP connection on loopback: the server's end as a SecureWire, the client's as a socket and its channel."""

    def __init__(self, files: certificates.Files, receive_buffer: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.peer = socket.socket()
            if receive_buffer:
                self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.peer.settimeout(WAIT)
            self.peer.connect(listening.getsockname())
            self.sock, _ = listening.accept()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, receive_buffer)
        self.wire = SecureWire(Wire(self.sock), Channel(context(files)))
        self.channel = Channel(files.trusted, "localhost")
        in_threads(lambda work: work(), [lambda: self.wire.shake(b"", time.monotonic() + WAIT), self.shake])

    def shake(self) -> None:
        done, answer = self.channel.shake()
        while not done:
            self.peer.sendall(answer)
            done, answer = self.channel.shake(self.peer.recv(4096))
        self.peer.sendall(answer)

    def read(self) -> bytes:
        """The client's: wait for the next bytes; b"" at the end."""
        while (data := self.channel.decrypt()) is None:
            received = self.peer.recv(65536)
            if not received:
                return b""
            if (data := self.channel.decrypt(received)) is not None:
                break
        return data


@pytest.fixture
def ends(certificate: certificates.Files) -> Iterator[Ends]:
    ends = Ends(certificate, SMALL)
    yield ends
    ends.sock.close()
    ends.peer.close()


def send_all(wire: SecureWire, data: bytes) -> None:
    """As a writer does."""
    left = memoryview(data)
    while left or wire.unsent:
        if wire.wait_writable(WAIT):
            left = left[wire.send(left) :]


@pytest.mark.slow
def test_four_threads_move_megabytes_in_both_directions_intact(certificate: certificates.Files) -> None:
    ends = Ends(certificate, 0)
    to_client, to_server = random.Random(1).randbytes(MEGABYTES), random.Random(2).randbytes(MEGABYTES)
    at_client, at_server = bytearray(), bytearray()

    def client_writes() -> None:
        for at in range(0, MEGABYTES, RECORD):
            ends.peer.sendall(ends.channel.encrypt(to_server[at : at + RECORD]))

    def client_reads() -> None:
        while len(at_client) < MEGABYTES:
            at_client.extend(ends.read())

    def server_reads() -> None:
        while len(at_server) < MEGABYTES:
            at_server.extend(ends.wire.read(WAIT) or b"")

    with contextlib.closing(ends.sock), contextlib.closing(ends.peer):
        work = [client_writes, client_reads, server_reads, lambda: send_all(ends.wire, to_client)]
        in_threads(lambda each: each(), work)
    assert bytes(at_client) == to_client
    assert bytes(at_server) == to_server


def test_a_wire_waits_for_the_rest_of_a_record(ends: Ends) -> None:
    ends.peer.sendall(ends.channel.encrypt(b"x" * 2 * READ_SIZE))
    assert ends.wire.read(WAIT) == b"x" * READ_SIZE


def test_what_a_full_socket_does_not_take_is_kept_and_sent_first(ends: Ends) -> None:
    data = bytes(range(256)) * 400
    taken = ends.wire.put(data, NOWAIT)
    assert 0 < taken <= len(data)
    assert ends.wire.unsent
    with pytest.raises(BlockingIOError):
        ends.wire.put(b"more", NOWAIT)
    found = bytearray()

    def read() -> None:
        while len(found) < len(data):
            found.extend(ends.read())

    in_threads(lambda each: each(), [read, lambda: send_all(ends.wire, data[taken:])])
    assert bytes(found) == data


def test_what_was_encrypted_beforehand_is_sent_in_its_place(ends: Ends) -> None:
    def seal(text: bytes) -> bytes:
        with ends.wire.lock:
            return ends.wire.seal(text)

    texts = [bytes([65 + number]) * 3000 for number in range(20)]
    assert seal(b"x" * (RECORD + 1)) == b""
    for text in texts:
        assert seal(text) == text  # after a while the socket is full
        with contextlib.suppress(BlockingIOError):
            ends.wire.put(b"", NOWAIT)
        if ends.wire.unsent:
            break
    else:
        pytest.fail("the socket took everything")
    sent = b"".join(texts[: texts.index(text) + 1])
    assert seal(b"more") == b""
    found = bytearray()

    def read() -> None:
        while len(found) < len(sent) + 4:
            found.extend(ends.read())

    in_threads(lambda each: each(), [read, lambda: send_all(ends.wire, b"more")])
    assert bytes(found) == sent + b"more"


class Raw:
    """A view that shows the text of notices, and nothing else."""

    def encode(self, events: Sequence[Event]) -> bytes:
        return b"".join(event.text.encode() for event in events if isinstance(event, Notice))


class RawDialect:
    views = Views(Raw(), Raw())


@for_each("seed", range(4))
@for_each("receive_buffer", [0, SMALL])
def test_empty_small_and_large_deliveries_all_arrive_in_order(
    certificate: certificates.Files, seed: int, receive_buffer: int
) -> None:
    """Whatever a batch is, it is the same bytes as without TLS."""
    rng = random.Random(seed)
    texts = ["", "x" * (RECORD + 1), ""]
    texts += [rng.choice("abcdef") * rng.choice((0, 0, 1, 100, RECORD, RECORD + 1, 3 * RECORD)) for _ in range(60)]
    ends, writers = Ends(certificate, receive_buffer), Crew(1, WAIT, secures=True)
    session = Session(1, ends.wire, cast(Dialect, RawDialect()), writers.schedule, 10_000)
    session.cohort = SECURED
    found = bytearray()

    def read() -> None:
        while len(found) < sum(map(len, texts)):
            found.extend(ends.read())

    def write() -> None:
        for text in texts:
            session.put(Parcel(session.views.own, (Notice(text),)))
            if rng.random() < 0.7:
                writers.flush()

    try:
        in_threads(lambda each: each(), [read, write])
        assert bytes(found) == "".join(texts).encode()
    finally:
        session.abandon()
        assert writers.stop(WAIT) == []
        ends.sock.close()
        ends.peer.close()


def test_nothing_is_kept_for_a_peer_that_is_gone(ends: Ends) -> None:
    ends.wire.put(b"x" * 100_000, NOWAIT)
    assert ends.wire.unsent
    ends.peer.close()
    with pytest.raises(ConnectionError):
        send_all(ends.wire, b"x" * 1_000_000)
    assert not ends.wire.unsent


def test_a_client_that_sends_in_tiny_pieces_waits(
    certificate: certificates.Files, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("chat_threads.securewire.Latch.wait", lambda latch, seconds: pauses.append(seconds))

    def come_in_pieces(data: bytes) -> None:
        pieces = [data[at : at + 1] for at in range(len(data))]
        monkeypatch.setattr(Wire, "read", lambda wire, timeout=None: pieces.pop(0) if pieces else b"")

    record = ends.channel.encrypt(b"hello")
    come_in_pieces(record)
    assert ends.wire.read() == b"hello"
    assert pauses == [PAUSE] * (len(record) - 1 - PIECES)
    pauses.clear()
    record = ends.channel.encrypt(b"x" * 100)
    come_in_pieces(record)  # a little text does not make up for the pieces before it
    assert ends.wire.read() == b"x" * 100
    assert len(pauses) == len(record) - 1
    assert pauses[-1] == LONG_PAUSE
    pauses.clear()
    _, hello = Channel(certificate.trusted, "localhost").shake()
    come_in_pieces(hello)
    with pytest.raises(Violation, match="left"):
        SecureWire(Wire(ends.sock), Channel(context(certificate))).shake(b"", time.monotonic() + WAIT)
    assert len(pauses) >= len(hello) - PIECES


def test_a_record_that_comes_at_once_is_read_without_a_pause(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat_threads.securewire.Latch.wait", pytest.fail)
    sent = threading.Thread(target=ends.peer.sendall, args=(ends.channel.encrypt(b"x" * RECORD),))
    sent.start()
    sent.join()
    found = 0
    while found < RECORD:
        found += len(ends.wire.read(WAIT) or b"")


def test_a_wire_says_that_no_more_will_come(ends: Ends) -> None:
    ends.wire.send(b"bye")
    closing = threading.Thread(target=ends.wire.linger)
    closing.start()
    assert ends.read() == b"bye"
    assert ends.channel.decrypt(ends.peer.recv(4096)) == b""  # by TLS, and not only by TCP
    ends.peer.close()
    closing.join()


# --- the certificate ------------------------------------------------------------------------------------


def test_each_fault_in_the_files_is_named(certificate: certificates.Files, tmp_path: pathlib.Path) -> None:
    other = certificates.make(tmp_path, "other")
    locked = certificates.make(tmp_path, "locked", "-passout", "pass:secret")
    kind = tmp_path / "another-kind.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", kind], check=True)
    text = tmp_path / "text.pem"
    text.write_text("hello\n")
    damaged = tmp_path / "damaged.pem"
    damaged.write_text(certificate.cert.read_text().replace("M", "", 3))
    none, cert, key = tmp_path / "none.pem", certificate.cert, certificate.key
    no_certificate, no_key = "it has no certificate in the PEM format", "it has no key in the PEM format"
    faults = {
        (cert, other.key): f"{cert} and {other.key}: the key does not belong to the certificate",
        (cert, kind): f"{cert} and {kind}: the key does not belong to the certificate",
        (cert, None): f"{cert}: {no_key}; name the file that has it with --tls-key",
        (key, None): f"{key}: {no_certificate}",
        (key, cert): f"{key}: {no_certificate}",
        (text, key): f"{text}: {no_certificate}",
        (cert, text): f"{text}: {no_key}",
        (damaged, key): f"{damaged} and {key}: they are damaged",
        (none, key): f"{none}: No such file or directory",
        (cert, none): f"{none}: No such file or directory",
        (cert, tmp_path): f"{tmp_path}: Is a directory",
        (locked.cert, locked.key): f"{locked.cert} and {locked.key}: the key has a password",
    }
    for (cert, given), why in faults.items():
        with pytest.raises(StartError) as caught:
            Certificate(str(cert), given and str(given))
        assert caught.value.text.startswith(f"TLS cannot begin with {why}")


def test_a_certificate_and_its_key_may_be_in_one_file(certificate: certificates.Files, tmp_path: pathlib.Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text(certificate.cert.read_text() + certificate.key.read_text())
    Certificate(str(both), None)


def test_a_bad_pair_does_not_replace_a_good_one(certificate: certificates.Files, tmp_path: pathlib.Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text(certificate.cert.read_text() + certificate.key.read_text())
    ours = Certificate(str(both), None)
    good = ours.context
    both.write_text("")
    with pytest.raises(StartError):
        ours.reload()
    assert ours.context is good
    both.write_text(certificate.cert.read_text() + certificate.key.read_text())
    ours.reload()
    assert ours.context is not good


@pytest.mark.parametrize(
    ("days", "told"),
    [
        (-1, "clients refuse the certificate {}: it is valid from"),
        (1, None),
        (1.9, "the certificate {} is valid only until"),
        (3, "clients refuse the certificate {}: it was valid until"),
    ],
)
def test_a_warning_says_that_the_certificate_is_not_valid_or_soon_will_not_be(
    certificate: certificates.Files, caplog: pytest.LogCaptureFixture, days: float, told: str | None
) -> None:
    """The certificate is valid for two days from now on."""
    ours = Certificate(str(certificate.cert), str(certificate.key), lambda: time.time() + days * 86_400)
    ours.reload()
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == (2 if told else 0)  # at the start, and when it is loaded again
    assert all(each.startswith((told or "").format(certificate.cert)) for each in warnings)
