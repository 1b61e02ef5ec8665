"""A program's requests, and the answers that are to come."""

from __future__ import annotations

import json
from concurrent.futures import Future
from typing import Any

from ..events import Event, Problem
from .errors import Refused

# A request that is not answered when the connection ends may have been done or not. These can be sent again without
# harm. ``ignore`` is none of them: somebody else may have that name by now.
SENT_AGAIN = frozenset(
    "say action join rooms who topic whois away back unignore history search set stats ping token".split()
)
SAID = frozenset(("say", "action"))  # these only under a token, by which the server knows them


class Asked(Future[Event]):
    """The answer to come. ``result`` raises Refused if the answer is an error, Disconnected if there is none.

    Callbacks run in the client's reader thread and must not wait.
    """

    def __init__(self, ref: str) -> None:
        super().__init__()
        self.set_running_or_notify_cancel()  # what is asked cannot be taken back
        self.ref = ref

    def answer(self, event: Event) -> None:
        """The reader thread's: this is the answer."""
        if isinstance(event, Problem):
            self.set_exception(Refused(event.code, event.text, event.room, event.near, event.seconds))
        else:
            self.set_result(event)


class Request:
    """A request that is not answered: its answer to come, and whether it was sent, or at least begun to be."""

    def __init__(self, kind: str, fields: dict[str, Any], ref: str) -> None:
        self.kind = kind
        self.fields = fields
        self.line = encode({"type": kind, **fields, "ref": ref})
        self.asked = Asked(ref)
        self.sent = False


def encode(fields: dict[str, Any]) -> bytes:
    """An object as the line that is sent."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
