"""A session that is cut off: the client, the log and everybody who asks get the same reason."""

from __future__ import annotations

import logging

from support.waiting import in_threads, wait_for

from chat_threads import session as session_module
from chat_threads.disconnects import Replaced, TooSlow
from chat_threads.errors import ChatError
from chat_threads.events import Problem, problem


def test_if_two_threads_cut_a_client_off_at_once_one_of_them_gives_the_reason_everywhere(server, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="chat_threads")
    ann = server.client("ann")
    session = server.chat.sessions.named("ann")

    def overtaken(error: ChatError) -> Problem:
        """Another thread cuts the session off just before this one does."""
        monkeypatch.setattr(session_module, "problem", problem)
        in_threads(session.cut_off, [Replaced()])
        return problem(error)

    monkeypatch.setattr(session_module, "problem", overtaken)
    session.cut_off(TooSlow())
    assert ann.rest() == [f"! {Replaced().text}"]
    ann.close()
    wait_for(lambda: "session 1 (ann) ends: replaced" in caplog.messages)
    assert isinstance(session.reason, Replaced)
