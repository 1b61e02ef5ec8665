"""Why the server disconnects a client: the errors that end a connection. A client that is cut off gets one, and
after it at most a Bye."""

from __future__ import annotations

from .errors import CutOff


class NoHandshake(CutOff):
    code = "no_handshake"


class NoNameInTime(NoHandshake):
    """No name within ``limit`` seconds."""

    def __init__(self, limit: float) -> None:
        super().__init__(f"No name was given within {limit:g} seconds. Goodbye.")
        self.limit = limit


class TooManyTries(NoHandshake):
    """Too many of the names that the client gave were refused, or too many of its passwords."""

    fact = "That was the last try."
    advice = "Connect again to try again."


class GaveWay(NoHandshake):
    """The client had given no name when the last place was needed."""

    fact = "The server is full, and you had given no name, so your place went to somebody else."
    advice = "Connect again, and give your name at once."


class UnfinishedLine(CutOff):
    """A line that did not end within ``limit`` seconds."""

    code = "unfinished_line"

    def __init__(self, limit: float) -> None:
        super().__init__(f"You started a line and did not finish it within {limit:g} seconds. Goodbye.")
        self.limit = limit


class TooSlow(CutOff):
    """The reader did not keep up (promise 3)."""

    code = "too_slow"

    def __init__(self, why: str = "too much was waiting for you") -> None:
        super().__init__(f"You read too slowly: {why}.", "Connect again; the history has what you missed.")


class Replaced(CutOff):
    """The client came back on another connection, which has its name and rooms now."""

    code = "replaced"
    fact = "You reconnected elsewhere; this connection is closed. Goodbye."


class ServerFull(CutOff):
    code = "server_full"

    def __init__(self, why: str) -> None:
        super().__init__(f"The server is full: {why}.", "Try again later.")


class TooManyConnections(CutOff):
    code = "too_many_connections"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"There are too many connections from your address: at most {limit} are allowed.",
            "Close one, then connect again.",
        )
        self.limit = limit


class NoProxyHeader(CutOff):
    """A connection from a proxy's address, without a PROXY header."""

    code = "no_proxy_header"
    fact = "Connections from your address must begin with the PROXY protocol, and yours does not."
    advice = "Connect through the proxy."


class TlsOnly(CutOff):
    """A connection without TLS to a server that was started with --tls-only."""

    code = "tls_only"
    fact = "This server takes only encrypted connections (TLS)."
    advice = "Use telnet-ssl -z ssl or chat-threads-client --tls, or open its address with https:// in a browser."


class ShuttingDown(CutOff):
    code = "shutting_down"
    fact = "The server is shutting down. Goodbye."


class NotChat(CutOff):
    """The peer speaks another protocol. The server sends it ``answer`` (possibly empty) instead of a text."""

    code = "not_chat"

    def __init__(self, text: str, answer: bytes = b"") -> None:
        super().__init__(text)
        self.answer = answer


CODES = frozenset(
    each.code for each in vars().copy().values() if isinstance(each, type) and issubclass(each, CutOff)
) - {CutOff.code}
"""The codes of all errors above."""
