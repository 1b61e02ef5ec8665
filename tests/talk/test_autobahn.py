"""Our end of a WebSocket against the cases of the Autobahn test suite, which kosoku runs. An echo takes the place of
the chat: each message comes back. Everything else is the server's own: the dialect, the conversation, and the writers.

Left out are the cases of groups 9 (messages beyond our limit), 12 and 13 (compression, which we do not offer).
"""

from __future__ import annotations

import asyncio

import pytest
from support.servers import lacks

from chat_threads.dialects.web import WebDialect, frame
from chat_threads.events import WireBytes

pytestmark = pytest.mark.slow

GROUPS = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*")
OURS_DIFFERS = {"7.1.5"}  # a Close inside a message: ``websockets`` answers 1002, and the case wants the same code back
LATE = {"6.4.1", "6.4.2", "6.4.3", "6.4.4"}  # bad UTF-8 is found at the end of a message, which the RFC allows


class Echo(WebDialect):
    def _whole(self, kind: int, message: bytes) -> int:
        """Each message comes back, and one of bytes, too."""
        self._found.append(WireBytes(frame(0x80 | kind, message)))
        return 0


def test_the_cases_of_autobahn_pass(serve, monkeypatch):
    try:
        import kosoku
    except ImportError:
        lacks("kosoku")
    monkeypatch.setattr("chat_threads.receiver.recognise", lambda head: Echo if b"\n" in head else None)
    url = f"ws://127.0.0.1:{serve().port}/ws"
    results = asyncio.run(kosoku.run_fuzzingclient(url, GROUPS, sorted(OURS_DIFFERS), concurrency=4))
    assert len(results) == 246
    assert {each.case_id for each in results if each.behavior.value == "NON-STRICT"} == LATE
    assert all(each.passed for each in results)
