"""Handshakes without an end: many connections without a name take all places, but people still get in."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import sys
import threading
from collections.abc import Iterator

import pytest
from support.clients import Client, Program
from support.servers import Process
from support.waiting import WAIT, wait_for
from support.wellness import descriptors, needs_proc, staying_well, threads

from chat_threads.disconnects import Replaced
from chat_threads.door import GIVING_WAY, RETURNING

pytestmark = [
    pytest.mark.slow,
    needs_proc,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere 127.0.0.66 is no address"),
]

PLACES = 8
FULL = f"! The server is full: {PLACES} are connected. Try again later."
GAVE_WAY = "! The server is full, and you had given no name, so your place went to somebody else."
DRIPS = {  # what each says at once, and then again and again
    "silent": (b"", b""),
    "a byte at a time": (b"", b"x"),
    "half a JSON line": (b'{"type":"hello","name":"', b"x"),
    "telnet without end": (b"\xff\xfb\x18", b"\xff\xf1"),
    "questions": (b"", b"/help\r\n"),
    "bad names": (b"", b"1\r\n"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"\x00" * 16),
    "half a web request": (b"GET /", b"x"),
    "blank lines": (b"\r\n", b"\r\n"),
}


class Siege:
    """``count`` connections from one address. Each sends the lines of its kind, and comes again when it is closed."""

    def __init__(self, port: int, kinds: list[str], count: int, address: str = "127.0.0.66") -> None:
        self._port, self._kinds, self._count, self._address = port, kinds, count, address
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self.came = 0
        self.ended = 0
        self.failure: BaseException | None = None
        self._thread.start()

    def _go_on(self) -> None:
        try:
            with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
                open_ = [self._come(selector, stack) for _ in range(self._count)]
                while not self._over.wait(0.005):
                    for key, _ in selector.select(0):
                        sock: socket.socket = key.fileobj  # type: ignore[assignment]
                        with contextlib.suppress(OSError):
                            if sock.recv(65536):
                                continue
                        selector.unregister(sock)
                        sock.close()
                        open_.remove(sock)
                        self.ended += 1
                        open_.append(self._come(selector, stack))
                    if self.came % 3 == 0 and open_:
                        self._drip(open_)
        except BaseException as error:
            self.failure = error

    def _come(self, selector: selectors.BaseSelector, stack: contextlib.ExitStack) -> socket.socket:
        sock = stack.enter_context(socket.create_connection(("127.0.0.1", self._port), WAIT, (self._address, 0)))
        with contextlib.suppress(OSError):
            sock.sendall(DRIPS[self._kinds[self.came % len(self._kinds)]][0])
        selector.register(sock, selectors.EVENT_READ, self._kinds[self.came % len(self._kinds)])
        self.came += 1
        return sock

    def _drip(self, socks: list[socket.socket]) -> None:
        for number, sock in enumerate(socks):
            with contextlib.suppress(OSError):
                sock.send(DRIPS[self._kinds[number % len(self._kinds)]][1], socket.MSG_DONTWAIT)

    def end(self) -> None:
        self._over.set()
        self._thread.join(WAIT)
        assert self.failure is None, self.failure


@contextlib.contextmanager
def besieged(process: Process, kinds: list[str], count: int = 3 * PLACES) -> Iterator[Siege]:
    """The server's places are all taken by connections without a name, which come again and again."""
    siege = Siege(process.port, kinds, count)
    try:
        wait_for(lambda: siege.ended > PLACES, "some have had to give way")
        yield siege
    finally:
        siege.end()


def comes_in(process: Process, name: str) -> Client:
    """A person who gives a name at once. On a busy machine that may be too late; the server asks them to come again."""
    for _ in range(9):
        with contextlib.suppress(AssertionError):
            return process.client(name)
    return process.client(name)


ALL_KINDS = pytest.param(list(DRIPS), marks=pytest.mark.stress, id="all kinds")  # others must not load the machine, too


@pytest.mark.parametrize("kinds", [*(pytest.param([kind], id=kind) for kind in DRIPS), ALL_KINDS])
def test_connections_without_a_name_keep_out_nobody_who_gives_one(start_process, kinds):
    process = start_process("--max-clients", str(PLACES), "--rate", "0")
    with staying_well(process):
        most = threads(process) + PLACES + GIVING_WAY + RETURNING, descriptors(process) + 2 * PLACES + GIVING_WAY + 200
        with besieged(process, kinds), comes_in(process, "ann") as ann:
            for number in range(20):
                with comes_in(process, f"guest{number}"):
                    ann.expect(f"guest{number} joined")
                ann.expect(f"guest{number} left")
                assert threads(process) <= most[0]
                assert descriptors(process) <= most[1]
            assert any("ann: hi" in line for line in ann.ask("hi"))


def test_a_person_has_time_to_type_a_name_while_others_come_from_another_address(start_process):
    process = start_process("--max-clients", str(PLACES))
    with staying_well(process), process.client() as slow:
        slow.expect("What is your name?")
        with besieged(process, ["silent"]) as siege:
            for letter in "ann\r\n":
                ended = siege.ended
                wait_for(lambda ended=ended: siege.ended > ended + 2 * PLACES, "others have had to go meanwhile")
                slow.send_bytes(letter.encode())
            slow.expect("You are in #lobby")


def test_while_there_are_places_a_person_who_types_by_hand_has_the_whole_time(start_process):
    process = start_process("--max-clients", str(PLACES))
    with staying_well(process), contextlib.ExitStack() as stack:
        silent = [stack.enter_context(process.client()) for _ in range(PLACES - 2 - 1)]
        for client in silent:
            client.expect("What is your name?")
        for number in range(20):
            with process.client(f"guest{number}") as guest:
                guest.send("/quit")
                guest.rest()
            wait_for(lambda number=number: f"(guest{number}) ends" in process.errors)
        for number, client in enumerate(silent):
            client.send(f"late{number}")
            client.expect("You are in #lobby")


def test_a_connection_that_gives_way_gets_the_reason_and_advice(start_process):
    process = start_process("--max-clients", str(PLACES))
    with staying_well(process), contextlib.ExitStack() as stack:
        silent = []
        for _ in range(PLACES - 2):
            silent.append(stack.enter_context(process.client()))
            silent[-1].expect("What is your name?")
        with contextlib.closing(Program(process.port)) as program:  # a client without a name gets the error, too
            program.send(type="help")
            assert program.read(), "it is waiting now"
            assert silent[0].rest(stays=True)[-1].startswith(GAVE_WAY)
            for client in silent[1:]:
                stack.enter_context(process.client()).expect("What is your name?")
                assert client.rest(stays=True)[-1].startswith(GAVE_WAY)
            stack.enter_context(process.client())
            assert program.expect("error", code="no_handshake")["text"].startswith(GAVE_WAY[2:])
            assert program.expect("bye")["reason"] == "no_handshake"


@contextlib.contextmanager
def full_of_people(process: Process) -> Iterator[list[Client]]:
    """All places but the canary's are taken by people that have come in."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(process.client(f"guest{number}")) for number in range(PLACES - 2)]


def token_of(process: Process, client: Client) -> str:
    [line] = [line for line in client.ask("/token") if "/resume " in line]  # others may still be coming in
    return line.split("/resume ")[-1].split()[0]


@pytest.mark.parametrize("speaks", ["JSON", "text"])
def test_a_client_that_comes_back_by_token_has_a_place_though_all_are_taken(start_process, speaks):
    """Its old connection may still be there, or its place may be somebody else's by now."""
    process = start_process("--max-clients", str(PLACES))
    with staying_well(process), full_of_people(process) as people, contextlib.ExitStack() as stack:
        tokens = [token_of(process, people[number]) for number in range(2)]
        people[0].send("/quit")
        people[0].rest()
        wait_for(lambda: "(guest0) ends" in process.errors)
        stack.enter_context(process.client("somebody"))
        for number, token in enumerate(tokens):
            back = stack.enter_context(process.client())
            if speaks == "JSON":
                back.send_bytes(json.dumps({"type": "hello", "token": token}).encode() + b"\n")
            else:
                back.send(f"/resume {token}")
            seen = b""
            while f"guest{number}".encode() not in seen:
                more = back.sock.recv(65536)
                assert more, seen
                seen += more
            assert b"full" not in seen
        assert people[1].rest()[-1] == f"! {Replaced().text}"


@pytest.mark.parametrize(
    "says", [b"", b"ann\r\n", b'{"type":"hello","name":"ann"}\n', b"/resume nonsense\r\n", b"/help\r\n", b"x", b"\xff"]
)
def test_a_client_without_a_token_gets_an_error_at_once_when_all_places_are_taken(start_process, says):
    process = start_process("--max-clients", str(PLACES))
    with staying_well(process), full_of_people(process):
        for _ in range(2):
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(process.client()) for _ in range(2 * RETURNING)]
                for client in clients:
                    client.send_bytes(says)
                for client in clients:
                    assert client.rest(stays=True)[-1] == FULL


@pytest.mark.stress
def test_three_hundred_that_come_again_and_again_keep_nobody_out(start_process):
    process = start_process("--max-clients", "150")
    with staying_well(process):
        siege = Siege(process.port, list(DRIPS), 300)
        try:
            wait_for(lambda: siege.ended > 300, "some have had to give way")
            with process.client("ann") as ann:
                for number in range(20):
                    with process.client(f"guest{number}") as guest:
                        guest.send("hello")  # those who join or leave together are shown in one line
                        ann.expect(f"guest{number}: hello")
        finally:
            siege.end()
