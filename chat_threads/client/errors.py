"""The errors of a client: a branch of the package's tree of errors."""

from __future__ import annotations

from ..errors import ChatThreadsError


class ClientError(ChatThreadsError):
    """The base of all errors that a Client raises; making one also raises OSError."""


class Refused(ClientError):
    """The server answered with an error. ``code``, ``room``, ``near`` and ``seconds`` are as docs/protocol.rst says."""

    def __init__(
        self, code: str, text: str, room: str | None = None, near: str | None = None, seconds: int | None = None
    ) -> None:
        super().__init__(text)
        self.code = code
        self.room = room
        self.near = near
        self.seconds = seconds


class Disconnected(ClientError):
    """The connection has ended. A request that was sent and not answered may have been done or not.

    ``code`` is the reason in the server's ``bye`` ("shutting_down", "replaced", "quit", …), or "lost", "quit" or
    "internal" if there was no ``bye``.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class TimedOut(ClientError):
    """No answer came in time. The request may have been done or not, and is not sent again."""


class Unread(ClientError):
    """Far too many events wait to be read. Read Client.events, or make the Client with listen=False."""
