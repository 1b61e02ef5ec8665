"""However editing ends, the client's terminal is as it was before: it scrolls, shows what is typed, marks no pastes."""

from __future__ import annotations

import re
import socket

import pytest
import support.clients
from support.clients import TINY, Program
from support.servers import Running

WITHDRAWS_ECHO, WITHDRAWS_SGA = b"\xff\xfe\x01", b"\xff\xfe\x03"
STATES = re.compile(rb"\xff[\xfb\xfc](?P<option>[\x01\x03])|\x1b\[(?P<region>[0-9;]*)r|\x1b\[\?(?P<mode>[0-9]+)[hl]")


def left_over(data: bytes) -> list[bytes]:
    """What a terminal that got these bytes has not had put back."""
    states: dict[bytes, bytes] = {}
    for found in STATES.finditer(data):
        what = found[0][-1:] if found["option"] else found["mode"] or b"region"
        states[what] = found[0]
    wraps = (b"\x1b[?7h", b"\xff\xfc\x01", b"\xff\xfc\x03", b"\x1b[r")
    return [each for each in states.values() if each not in wraps and not each.endswith(b"l")]


class Editor(support.clients.Editor):
    """ann, who edits lines."""

    def __init__(self, server: Running, receive_buffer: int = 0) -> None:
        super().__init__(server.port, "ann", receive_buffer=receive_buffer)
        server.clients.append(self)

    def begins_a_line(self) -> None:
        self.send_bytes(b"unfinished")
        self.until(b"unfinished")


def quits(ann, server):
    ann.send_bytes(b"/quit\r")


def quits_and_withdraws(ann, server):
    ann.send_bytes(b"/quit\r" + WITHDRAWS_ECHO)


def presses_ctrl_c_and_withdraws(ann, server):
    ann.send_bytes(b"\xff\xf4" + WITHDRAWS_SGA + WITHDRAWS_ECHO)


def closes_its_end(ann, server):
    ann.send_bytes("half a líne".encode()[:8])
    ann.sock.shutdown(socket.SHUT_WR)


def closes_its_end_in_a_paste_and_withdraws(ann, server):
    ann.send_bytes(b"\x1b[200~one\rtwo" + WITHDRAWS_ECHO)
    ann.sock.shutdown(socket.SHUT_WR)


def ends_editing_and_quits(ann, server):
    ann.send_bytes(b"/edit off\r/quit\r")


def begins_again_and_quits_at_once(ann, server):
    ann.send_bytes(b"/edit off\r")
    ann.until(b"whole lines again")
    assert left_over(ann.came) == []
    ann.send_bytes(WITHDRAWS_ECHO + WITHDRAWS_SGA)
    ann.send("/edit on")
    ann.until(b"\xff\xfb\x03")
    ann.send_bytes(ann.AGREES + b"/quit\r")


def sends_half_a_telnet_command(ann, server):
    ann.send_bytes(b"\xff")


def loses_its_place(ann, server):
    ann.send_bytes(b"/token\r")
    token = re.search(rb"/resume (\S+)", ann.until(b"/resume "))
    while token is None or not ann.came.endswith(b"\x1b8"):
        ann.came += ann.sock.recv(1 << 16)
        token = re.search(rb"/resume (\S{20,})", ann.came)
    ann.begins_a_line()
    server.client(None).send(f"/resume {token[1].decode()}")


def sees_the_server_stop(ann, server):
    ann.begins_a_line()
    server.chat.stop()


def reads_nothing(ann, server):
    ann.begins_a_line()
    bob = server.client("bob")
    session = server.chat.sessions.named("ann")
    while not session.ended.is_set():
        bob.send(*["x" * 1900] * 50)
        bob.news()


BY_OTHERS = (loses_its_place, sees_the_server_stop, reads_nothing)
WAYS = [
    quits,
    quits_and_withdraws,
    presses_ctrl_c_and_withdraws,
    closes_its_end,
    closes_its_end_in_a_paste_and_withdraws,
    ends_editing_and_quits,
    begins_again_and_quits_at_once,
    sends_half_a_telnet_command,
    loses_its_place,
    sees_the_server_stop,
    reads_nothing,
]


@pytest.mark.parametrize("ends", WAYS, ids=lambda way: str(way.__name__))
def test_the_terminal_is_as_before_when_a_client_that_edits(serve, ends):
    server = serve(line_timeout=0.2, queue_limit=100)
    ann = Editor(server, receive_buffer=TINY if ends is reads_nothing else 0)
    assert len(left_over(ann.came)) == 4
    ends(ann, server)
    last = ann.until(None)
    ann.close()
    assert left_over(ann.came) == []
    if ends in BY_OTHERS:  # then it stands where it can be read
        assert b"> unfinished\r\n" in last or b"> unfinished\x1b[?6l" in last


def test_only_what_a_person_types_ends_their_idle_time(serve, monkeypatch):
    monkeypatch.setattr("chat_threads.service.screen.REFRESH", 0.05)
    monkeypatch.setattr("chat_threads.dialects.screen.FRESH", 0.05)
    server = serve()
    ann, bob, page = Editor(server), server.client("bob"), Program(server.port)
    page.ask(type="hello", name="pia")
    pia = server.chat.sessions.named("pia")
    before = pia.typed
    page.ask(type="who")
    assert pia.typed == before
    page.ask(type="say", text="hi")
    assert pia.typed > before
    session = server.chat.sessions.named("ann")
    before = session.typed
    bob.ask("/kick ann")
    ann.send_bytes(b"\xff\xfb\x1f\xff\xfa\x1f\x00\x50\x00\x20\xff\xf0")  # WILL NAWS, 80 x 32
    ann.until(b"\x1b[6n")
    ann.send_bytes(b"\x1b[12;1R")
    ann.until(b"\x1b[31;1H> ")
    ann.send_bytes(b"\x1b[0n")
    ann.until(b"\x1b[31;1H> ")  # everything is drawn once more
    assert session.typed == before
    ann.send_bytes(b"x")
    ann.until(b"x")
    assert session.typed > before
    page.close()
