"""The server keeps nothing in memory of a session that has ended."""

from __future__ import annotations

import contextlib
import gc
import socket
import weakref
from typing import Any

import pytest
from support.servers import Running
from support.waiting import wait_for
from support.words import error_line

from chat_threads.dialects import text
from chat_threads.errors import UnknownPerson


def remains(server: Running, *names: str) -> list[weakref.ref[Any]]:
    """Weak references to the parts of these sessions: they show whether a part is still in memory."""
    sessions = [server.chat.sessions.named(name) for name in names]
    parts = [part for each in sessions for part in (each, each.dialect, each.mailbox, each.wire, each.profile)]
    return [weakref.ref(part) for part in parts if type(part).__weakrefoffset__]


def freed(references: list[weakref.ref[Any]]) -> bool:
    """Whether all parts are gone, although nobody has done anything since the sessions ended."""
    gc.collect()
    return not any(reference() for reference in references)


def held_by(references: list[weakref.ref[Any]]) -> str:
    """The objects that keep them in memory, for the message of a failed test."""
    alive = [found for reference in references if (found := reference()) is not None]
    return "\n".join(f"{each}: {[str(holder)[:300] for holder in gc.get_referrers(each)]}" for each in alive)


@pytest.mark.parametrize(
    "options", [{}, {"writers": None}, {"lab": True}, {"lab": True, "writers": None}], ids=lambda o: " ".join(o)
)
def test_an_ended_session_is_freed_whatever_it_did(serve, program, options):
    server = serve(**options)
    stays, program_stays = server.client("stays"), program("listens", server)
    ann, bob = server.clients_named("ann", "bob")
    cy = program("cy", server, room="#lab")
    references = remains(server, "ann", "bob", "cy")
    for client in (ann, bob):
        for line in (
            "/msg stays hello", "/msg listens hello", "/msg ann hello", "/msg bob hello", "/reply hello", "/join #lab",
            "hello", "/topic hello", "/invite stays #lab", "/ignore stays", "/set bell on", "/set numbers on", "/who",
            "/away gone", "/token", "/history", "/search hello", "/threads", "/lab slow cy 1", "/whois cyy", "/leave",
        ):  # fmt: skip
            client.ask(line)
    ann.ask("/nick anna")
    cy.ask(
        {"type": "private", "to": "listens", "text": "hello"},
        {"type": "say", "text": "hello", "ref": "1"},
        {"type": "history", "ref": "2"},
        {"type": "ignore", "name": "stays"},
    )
    server.chat.faults.stop(1.0)
    cy.sock.sendall(b'{"type": "say", "text": "' + b"x" * 65_000)
    ann.send("/quit so long")
    ann.rest()
    bob.reset()
    cy.close()
    with contextlib.suppress(AssertionError):
        wait_for(lambda: freed(references), wait=5.0)
    assert freed(references), held_by(references)
    assert stays.ask("/reply are you there?")[-1] == error_line(UnknownPerson("bob"))
    assert program_stays.ask(type="reply", text="are you there?")[-1]["code"] == "unknown_person"


@pytest.fixture
def without_collector():
    """Objects are freed when nobody holds them any more; cycles stay."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    "said",
    [
        b"ann\r\nhello\r\n",
        b"ann\r\n/edit on\r\n\xff\xfc\x18\xff\xfd\x01\xff\xfd\x03half a line",
        b"ann\r\n/unknown\r\n/msg nobody hello\r\n",
        b"a b\r\nx y\r\n\xff\xfe\r\n",
        b"SSH-2.0-ssh\r\n",
        b'{"type": "unknown"}\n{"type": "hello"}\n{"type":}\n',
    ],
)
def test_a_connection_is_freed_when_it_ends_even_after_errors(server, without_collector, said):
    """It leaves no cycle, so no memory waits for the garbage collector."""
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        wait_for(lambda: len(server.chat.sessions) == 1)
        reference = weakref.ref(server.chat.sessions.all()[0])
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while sock.recv(4096):
                pass
    wait_for(lambda: reference() is None)


def test_a_chain_of_replies_keeps_no_ended_session_in_memory(serve, program):
    """Each gets a private line from the one before and leaves in the middle of a line."""
    server = serve()
    previous = program("p0", server)
    references = remains(server, "p0")
    for number in range(1, 20):
        this = program(f"p{number}", server)
        references += remains(server, f"p{number}")
        previous.ask(type="private", to=f"p{number}", text="hello")
        previous.sock.sendall(b"x" * 65_000)
        previous.close()
        previous = this
    last = remains(server, "p19")
    wait_for(lambda: freed([each for each in references if each not in last]))
    assert not freed(last)


def test_the_way_that_nobody_is_shown_things_any_more_is_forgotten():
    """However many people are ignored, or names or rung at in the course of time."""
    views = [text.TextDialect() for _ in range(3)]
    for number, dialect in enumerate(views):
        dialect.ignoring(frozenset({number % 2}))
    assert views[0].views.here is views[2].views.here
    assert views[0].views.here is not views[1].views.here
    references = [weakref.ref(view) for dialect in views for view in (dialect.views.here, dialect.views.elsewhere)]
    del views, dialect
    gc.collect()
    assert not any(reference() for reference in references)
