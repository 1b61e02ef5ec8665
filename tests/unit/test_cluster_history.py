"""The history thread of a server in a cluster, without a PostgreSQL: rows are made here."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from support.views import WORDS
from support.waiting import WAIT, wait_for

pytest.importorskip("psycopg")

from chat_threads import ordered
from chat_threads.cluster.copy import Copy
from chat_threads.cluster.engine import Row
from chat_threads.cluster.entries import dump
from chat_threads.cluster.history import AT_ONCE, ClusterHistory
from chat_threads.cluster.members import ClusterSessions
from chat_threads.cluster.values import NameClaimed, ServerBeat, ServerStarted
from chat_threads.parcel import Views
from chat_threads.session import Session
from chat_threads.tokens import token_id

OTHER = 7  # another server


def _row(position: int, server: int, *items: Any) -> Row:
    payload = dump(items, {}, lambda session: (server, session.number), position - 1)
    return Row(position, server, position, position, payload)


class _Engine:
    """A log to which another server appends as many rows as this one reads at once, while it reads."""

    last = 0
    grows = 0  # how often it does so

    def __init__(self) -> None:
        self.rows = [_row(1, OTHER, ServerStarted(0))]

    def prepare(self) -> tuple[int, int, int]:
        return 1, 1, 0

    def read(self, after: int, count: int) -> Sequence[Row]:
        found = self.rows[after : after + count]
        self.last = len(self.rows)
        if self.grows:
            self.grows -= 1
            self.rows += [_row(len(self.rows) + 1 + at, OTHER, ServerBeat()) for at in range(AT_ONCE)]
        return found

    def append(self, server: int, seq: int, at: int, payload: bytes) -> int:
        self.rows.append(Row(len(self.rows) + 1, server, seq, at, payload))
        return len(self.rows)

    def close(self) -> None: ...


@pytest.fixture
def history(tmp_path: pathlib.Path) -> Iterator[ClusterHistory]:
    storage, sessions = Copy(str(tmp_path / "a.db")), ClusterSessions()
    found = ClusterHistory(storage, engine=_Engine(), sessions=sessions, post=lambda to, event: None)
    found._publish, found._refuse, found._flush = lambda items: None, lambda item, error: None, lambda more: True
    found._slot = SimpleNamespace(doing=None)
    yield found
    storage.close()


def test_a_log_that_grows_faster_than_it_is_read_does_not_hold_up_those_who_wait(history):
    """Whoever waits for the log sees all that it had by then, and no more: that may not end."""
    engine: Any = history._engine
    history._turn()
    assert history._began
    engine.rows += [_row(len(engine.rows) + 1 + at, OTHER, ServerBeat()) for at in range(3 * AT_ONCE)]
    upto, engine.grows = len(engine.rows), 20
    marker = ordered.Marker()
    history.enqueue(marker)
    history._turn()
    assert marker.passed.is_set()
    assert upto <= history.state.position < len(engine.rows)
    began = history.state.position
    history._turn()  # it does not wait for something in its queue
    assert history.state.position > began


class _Claiming:
    """Somebody here who claims a name, again after the log could not be reached."""

    def __init__(self, history: Any, name: str) -> None:
        self.history = history
        wire, dialect = (
            SimpleNamespace(stop_reading=lambda: None, sent=0),
            SimpleNamespace(name="text", views=Views(WORDS, WORDS)),
        )
        self.session = Session(3, wire, dialect, lambda sessions: None, 10)  # type: ignore[arg-type]
        history._sessions.add(self.session)
        history._take([_row(1, history.server, ServerStarted(0))])
        self.claims = threading.Thread(target=history.claim, args=(self.session, name, "", self.session.who))
        self.claims.start()
        wait_for(history.waiting)

    def reads(self, position: int, name: str) -> None:
        """The log has a claim of this name."""
        claim = NameClaimed(self.session, name, self.session.identity, token_id(self.session.token))
        self.history._take([_row(position, self.history.server, claim)])


def test_a_claim_that_the_log_has_twice_does_not_end_who_made_it(history):
    """The first one was under way when the log could not be reached; the name was typed again then."""
    ann = _Claiming(history, "ann")
    ann.reads(2, "ann")
    ann.claims.join(WAIT)
    ann.reads(3, "ann")
    assert (ann.session.name, ann.session.reason) == ("ann", None)
    ann.reads(4, "late")  # nobody waits for it, and the log knows this session by another name now
    assert ann.session.reason is not None


def test_a_claim_that_comes_late_is_not_taken_for_the_one_that_waits(history):
    bob = _Claiming(history, "bob")
    bob.reads(2, "late")
    assert bob.claims.is_alive()
    assert bob.session.name == ""
    assert bob.session.reason is not None
    bob.reads(3, "bob")
    bob.claims.join(WAIT)
    assert bob.session.name == "bob"
