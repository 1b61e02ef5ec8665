"""What a row of the log does depends on the log alone: not on when a server reads it, or what it remembers."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Sequence

import pytest
from support.copies import differences, expect_same, rows
from support.servers import Running

from chat_threads import once
from chat_threads.cluster import copy
from chat_threads.cluster.copy import Copy
from chat_threads.cluster.engine import Engine, Row
from chat_threads.cluster.history import ClusterHistory
from chat_threads.cluster.members import ClusterSessions
from chat_threads.cluster.values import Swept

pytestmark = pytest.mark.slow


class _Recorded:
    """An engine for copies that only read."""

    last = 0

    def prepare(self) -> tuple[int, int, int]:
        return 1, 1, 10_000


def _follow(path: pathlib.Path, log: Sequence[Row], alone: bool) -> None:
    """Do in a copy what rows of the log say, as a server does that is started for them: each alone, or all together."""
    storage = Copy(str(path))
    history = ClusterHistory(storage, engine=_Recorded(), sessions=ClusterSessions(), post=lambda to, event: None)
    history._publish, history._refuse, history._flush = lambda items: None, lambda item, error: None, lambda more: True
    history.state.restore(storage.rooms(), storage.accounts())
    history.populate()
    for part in [[row] for row in log] if alone else [log]:
        history._take(part)
        if alone:
            _sweep(storage)
    _sweep(storage)
    storage.close()


def _sweep(storage: Copy) -> None:
    """Delete all that has to go by now."""
    while storage.sweep(None)[1]:
        pass


def _talk(join: Callable[..., Running]) -> None:
    """Let people on two servers use what goes into the log."""
    first, second = join("a", plain_passwords=True), join("b", plain_passwords=True)
    ann, bob = first.client("ann"), second.client("bob")
    ann.expect("bob joined")
    ann.send("/away lunch", "/register", "secret word of ann", "secret word of ann")
    ann.expect("ann is yours now")
    bob.ask("/report ann rude")
    for line in ("/create #lab about", "/topic hello", "/topic", "/join #lobby", "/leave #lab"):
        ann.ask(line)
    for _ in range(2):  # a room that ends, and its name again
        ann.ask("/create #brief")
        ann.ask("/leave #brief")
    ann.ask("/create #mine")
    for line in ("invite-only", "slow 1", "slow off"):
        ann.ask(f"/room {line}")
    bob.send("/join #lobby", "old")
    ann.send("/join #lobby")
    ann.expect("bob: old")
    limit = int(time.time() * 1000) + 60_000
    first.chat.history.submit(Swept(limit, limit, 0))
    ann.ask("/redact 1")
    ann.send("/join #mine")
    for line in ("/invite bob", "/uninvite bob", "/invite bob", "/op bob", "/deop bob", "/mute bob", "/unmute bob"):
        ann.ask(line)
    bob.expect("ann lifted your mute in #mine")
    bob.ask("/join #mine")
    bob.send("one", "two", "/redact 1")
    ann.expect("removed")
    ann.ask("/redact 2")
    bob.ask("/report ann rude")
    ann.ask("/kick bob for now")
    bob.ask("/join #other")
    ann.send("/ban bob", "/room public", "/room open", "/delete #mine yes")
    ann.expect("#lobby")
    bob.ask("/nick rob")
    bob.ask("/create #free")
    bob.ask("/topic free")
    bob.ask("/topic none")
    bob.ask("/delete #free yes")
    ann.send("/password", "secret word of ann", "another word of ann", "another word of ann")
    ann.expect("Your password is changed")
    ann.send("/unregister", "another word of ann")
    ann.expect("belongs to nobody")
    ann.ask("/create #last")  # gets a number of its own, although the highest one before is free again


def test_copies_are_the_same_whenever_they_are_started(join, tmp_path, url, monkeypatch):
    monkeypatch.setattr(once, "TOKENS", 3)
    monkeypatch.setattr(copy, "FORGETS_EVERY", 20)
    _talk(join)
    expect_same(tmp_path, "a", "b")
    engine = Engine(url)
    log = engine.read(0, 10_000)
    engine.close()
    assert len(log) > 40
    _follow(tmp_path / "once.db", log, alone=False)
    for row in log:
        _follow(tmp_path / "often.db", [row], alone=True)
    _follow(tmp_path / "alone.db", log, alone=True)
    once_, *others = [rows(tmp_path / f"{name}.db") for name in ("once", "often", "alone")]
    assert [differences(once_, other) for other in others] == [[], []]
