"""A program's requests, and the answers that are to come."""

from __future__ import annotations

import json
from concurrent.futures import Future
from typing import Any

from ..events import Event, Problem
from .errors import Refused

# A request that was sent and not answered when the connection ended may have been done or not. These can be sent again
# without harm. ``ignore`` is not one of them: somebody else may have that name by now.
SENT_AGAIN = frozenset(
    "join rooms who topic whois away back unignore history search redact audit set stats ping token help".split()
)
# These can be sent again only if they were sent under a token, because the server remembers refs by token.
SAID = frozenset(("say", "action"))


class Asked(Future[Event]):
    """The answer to come. ``result`` raises Refused if the answer is an error, or the ClientError that ended the
    connection if there is none.

    Callbacks must not wait: they run in the client's reader thread, or at once in the thread that adds them if the
    answer is there.
    """

    def __init__(self, ref: str) -> None:
        super().__init__()
        self.set_running_or_notify_cancel()  # a request cannot be cancelled
        self.ref = ref
        self.sent = False  # True as soon as sending begins; see Request

    def answer(self, event: Event) -> None:
        """Set the answer. For the reader thread."""
        if isinstance(event, Problem):
            self.set_exception(Refused(event.code, event.text, event.room, event.near, event.seconds))
        else:
            self.set_result(event)


class Request:
    """A request that is not answered, and its answer to come. The thread that uses it holds ``Link._changed``."""

    def __init__(self, kind: str, fields: dict[str, Any], ref: str) -> None:
        self.kind = kind
        self.fields = fields
        self.line = encode({"type": kind, **fields, "ref": ref})
        self.asked = Asked(ref)
        self.by_token = False  # whether the client knew its token when it was sent

    @property
    def may_be_sent(self) -> bool:
        """Whether it can be sent on the next connection: it is carried out once in all, or twice without harm."""
        return not self.asked.sent or self.kind in SENT_AGAIN or (self.kind in SAID and self.by_token)


def encode(fields: dict[str, Any]) -> bytes:
    """The line for an object."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
