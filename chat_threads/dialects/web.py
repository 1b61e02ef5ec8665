"""The dialect of browsers: the page, and its WebSocket, on the port of all others. See base.Dialect.

A browser's first line is HTTP's. Each GET is answered, and ``/ws`` turns the connection into a WebSocket (RFC 6455).
From then on it is the protocol for programs (``jsonlines``): each line to us is a text frame, and each parcel to the
client is one text frame with the lines of the parcel. ``websockets`` reads the frames. Without it there is no page and
no WebSocket, and a browser is told what to install; the rest of HTTP needs nothing more than the standard library.

Frames from a server are not masked, so all clients with the same view share the bytes of a frame.
"""

from __future__ import annotations

import json
import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

from .. import commands, disconnects, events
from ..errors import Broken, NotAllowed, NoTrip
from ..page import Page, chat_page
from ..page.lab import qr_page, threads_page, trace_page
from ..parcel import View, Views
from ..qr import NoQrCode
from ..usage import NUMBER
from . import codec
from .base import DEFAULTS, SILENT, Input, Request, Settings, SharedViews
from .http import HTML, JSON, MAX_HEAD, TEXT, Get, Refused, answer, is_own, read
from .jsonlines import LINE, JsonDialect

try:
    from websockets.server import ServerProtocol
except ImportError:
    ServerProtocol = None  # type: ignore[assignment,misc]


CHUNK = 4096  # bytes of a message whose lines are taken apart at a time, as many as of a line's client
FRAME = 16  # blank lines that cost as much as a frame, see pace.BLANKS
UNINSTALLED = (
    "This server was installed without what the chat in a browser needs. In its folder, type\n"
    "    .venv/bin/pip install '.[web]'\n"
    "and start it again. Until then, connect with: telnet HOST PORT\n"
)

METRICS = "text/plain; version=0.0.4; charset=utf-8"

# The codes of a Close. 4000 to 4999 are for applications (RFC 6455, section 7.4.2).
CLOSE_CODES = {
    "quit": 1000,
    disconnects.ShuttingDown.code: 1001,
    disconnects.NoHandshake.code: 4001,
    disconnects.TooSlow.code: 4002,
    disconnects.UnfinishedLine.code: 4003,
    disconnects.Replaced.code: 4004,
    disconnects.ServerFull.code: 4005,
    disconnects.TooManyConnections.code: 4006,
    disconnects.NoProxyHeader.code: 4007,
}
_BROKEN = 1011  # of any other code: a fault in the server
_UNSUPPORTED, _INVALID = 1003, 1007
_OPENING = (b"get ", b"upgrade:", b"connection:", b"sec-websocket-")  # what a request for a WebSocket consists of
_TEXT, _CLOSE = 0x81, 0x88  # a whole message in one frame, and a Close (section 5.2)


def frame(first: int, payload: bytes) -> bytes:
    """A frame of a server (RFC 6455, section 5.2). ``first`` is its first byte."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    return struct.pack("!BBH" if size < 1 << 16 else "!BBQ", first, 126 if size < 1 << 16 else 127, size) + payload


class WebDialect:
    """A browser's end of the conversation. See base.Dialect."""

    name = "web"
    token_first = True
    greeted = False
    framed = True

    def __init__(self, settings: Settings = DEFAULTS) -> None:
        self._settings = settings
        self._json = JsonDialect(settings)
        self._buffer = bytearray()  # requests by HTTP that are not answered yet
        self._home = ""  # the address of the chat, as this browser reached it; "": the server knows a better one
        self._protocol: Any = None  # the ServerProtocol, once it is a WebSocket
        self._message = bytearray()  # the fragments of an unfinished message
        self._kind: Any = None  # the first fragment's opcode; None: no message has begun
        self._found: deque[Input | bytes] = deque()  # bytes: a part of a message
        self._failed = False  # whether a message was not text, and no more are taken
        self._over = False  # whether nothing more is read

    # --- the same as for programs -----------------------------------------------------------------------

    @property
    def views(self) -> Views:
        if self._protocol is None:
            view = ASKING if self._buffer else _IDLE
            return Views(view, view)
        if self._over:
            return SILENT  # after a client's Close
        shown = self._json.views
        return Views(_VIEWS.of(shown.here), _VIEWS.of(shown.elsewhere))

    @property
    def replay(self) -> int:
        return self._json.replay

    @property
    def may_be_local(self) -> bool:
        """A page of any site may open a WebSocket from the server's own machine, so that is never a local client."""
        return self._protocol is None

    def admitted(self, name: str) -> None:
        self._json.admitted(name)

    def ask(self, command: commands.Command) -> bool:
        return False

    def hint(self) -> str:
        return ""

    def renamed(self, name: str) -> None:
        self._json.renamed(name)

    def ignoring(self, people: frozenset[int]) -> None:
        self._json.ignoring(people)

    def today(self, at: float) -> None:
        """The page knows the time."""

    def settings(self) -> None:
        """The page keeps its own."""

    def set_option(self, name: str | None, value: str | None) -> str:
        return self._json.set_option(name, value)

    # --- HTTP -------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> int:
        if self._over:
            return 0
        if self._protocol is None:
            self._buffer += data
            return data.count(b"\n")
        return self._receive(data)

    @property
    def pending(self) -> bool:
        if self._protocol is None:
            return bool(self._buffer)
        return self._kind is not None or bool(self._protocol.reader.buffer)  # at least a part of the frame is there

    def next_input(self) -> Input | None:
        while True:
            found = self._json.next_input()
            if found is not None:
                if type(found.command) is commands.ShowQr:
                    return Request(commands.ShowQr(self._home), found.ref)
                return found
            if self._found:
                item = self._found.popleft()
                if not isinstance(item, bytes):
                    return item
                self._json.feed(item)
            elif self._protocol is not None or self._over or not self._next_request():
                return None

    def _next_request(self) -> bool:
        """Take one request out of the buffer, and put what it means into ``_found``; False if none is complete."""
        while self._buffer.startswith(b"\r\n"):  # old browsers sent it after a request (RFC 9112, section 2.2)
            del self._buffer[:2]
        end = self._buffer.find(b"\n\r\n", 0, MAX_HEAD) + 3
        complete, full = end >= 3, len(self._buffer) >= MAX_HEAD
        if not complete:
            end = self._buffer.find(b"\n") + 1
            if not full and (not end or self._buffer.startswith(b"GET ")):
                return False  # it may still be good
        head = bytes(self._buffer[:end])
        del self._buffer[:end]
        try:
            if full and not complete:
                raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"A request has at most {MAX_HEAD} bytes.")
            get = read(head)
            if get.path == "/ws":
                self._upgrade(get, head)
                return True
            route = ROUTES.get(get.path)
            if route is None:
                self._found.append(_page(HTTPStatus.NOT_FOUND, TEXT, b"There is no such page. The chat is at /.\n"))
            else:
                self._found.append(route(get, self._settings))
        except Refused as refused:
            self._found.append(events.WireBytes(refused.answer))
            self._end()
        else:
            if not get.keep:
                self._end()
        return True

    def _end(self) -> None:
        self._found.append(Request(commands.Quit()))
        self._buffer.clear()
        self._over = True

    def _upgrade(self, get: Get, head: bytes) -> None:
        """Answer a request for a WebSocket (RFC 6455, section 4.2). Raises Refused."""
        if ServerProtocol is None:
            raise Refused(HTTPStatus.NOT_IMPLEMENTED, UNINSTALLED)
        if get.origin is not None and not is_own(get.origin, get.host) and get.origin not in self._settings.origins:
            raise Refused(
                HTTPStatus.FORBIDDEN,
                f"Pages of {get.host} may connect, and pages of other hosts may not. The server's option --web-origin"
                " allows another one.",
            )
        protocol = ServerProtocol(max_size=LINE + 2)  # with the end of the line
        # websockets keeps them as long as the connection, and takes no cookies over 8,192 bytes.
        fields = [line for line in head.split(b"\r\n") if line.lower().startswith(_OPENING)]
        protocol.receive_data(b"\r\n".join([*fields, b"", b""]))
        asked = protocol.events_received()
        if not asked:
            raise Refused(HTTPStatus.BAD_REQUEST, "The request for a WebSocket cannot be read.")
        protocol.send_response(protocol.accept(cast(Any, asked[0])))
        self._found.append(events.WireBytes(b"".join(protocol.data_to_send())))
        if protocol.handshake_exc:
            self._end()
            return
        self._protocol = protocol
        self._home = _home(get)
        rest = bytes(self._buffer)
        self._buffer.clear()
        if rest:
            self._receive(rest)

    # --- the WebSocket ----------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> int:
        """Take bytes of frames; return their cost in blank lines. ``websockets`` answers a ping and a Close by itself,
        and closes if something is wrong. No answer is longer than what it answers."""
        protocol = self._protocol
        before = len(self._found)
        protocol.receive_data(data)
        received = protocol.events_received()
        lines = sum(map(self._take, received))
        answers = b"".join(protocol.data_to_send())
        if protocol.eof_sent:
            self._over = True
            self._message.clear()
            self._found += [Request(commands.Quit()), events.WireBytes(answers)]
        elif answers:  # a pong does not wait for the requests that came with the ping
            self._found.insert(before, events.WireBytes(answers))
        return FRAME * len(received) + lines

    def _take(self, each: Any) -> int:
        """Join the fragments of a message (section 5.4), and check that it is text; return the lines in it."""
        opcode = int(each.opcode)
        if opcode > 2 or self._failed:
            return 0  # a ping, a pong or a Close; or after what we do not take
        if opcode:
            self._kind = opcode
        self._message += each.data
        if not each.fin:
            return 0
        message, kind = bytes(self._message), self._kind
        self._message.clear()
        self._kind = None
        if kind == 1:
            try:
                message.decode()
            except UnicodeDecodeError:
                return self._fail(_INVALID, "the message is not UTF-8")
        return self._whole(kind, message)

    def _fail(self, code: int, why: str) -> int:
        self._failed = True
        self._protocol.fail(code, why)
        return 0

    def _whole(self, kind: int, message: bytes) -> int:
        """A whole message means lines; return how many."""
        if kind != 1:
            return self._fail(_UNSUPPORTED, "a message must be text")
        if not message.endswith(b"\n"):
            message += b"\n"
        for at in range(0, len(message), CHUNK):
            self._found.append(message[at : at + CHUNK])
        return message.count(b"\n")


# --- what we answer ---------------------------------------------------------------------------------------


def _page(status: HTTPStatus, kind: str, body: bytes, *fields: tuple[str, str]) -> events.WireBytes:
    return events.WireBytes(answer(status, kind, body, *fields))


def show(page: Page, connects: str) -> events.WireBytes:
    """A page of ours. It may load nothing, and connect only where ``connects`` says (CSP, level 3)."""
    scripts, styles = (" ".join(hashes) or "'none'" for hashes in (page.scripts, page.styles))
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src data:; connect-src {connects};"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return _page(HTTPStatus.OK, HTML, page.body, ("Content-Security-Policy", policy))


Route = Callable[[Get, Settings], Input]


def _chat(get: Get, settings: Settings) -> Input:
    if ServerProtocol is None:
        return _page(HTTPStatus.NOT_IMPLEMENTED, TEXT, UNINSTALLED.encode())
    return show(chat_page(), f"'self' ws://{get.host} wss://{get.host}")


def _metrics(get: Get, settings: Settings) -> Input:
    # Another host's page can have its name changed to mean this machine: a name is not local.
    return Request(commands.ShowMetrics(forwarded=get.forwarded or get.named))


def _health(get: Get, settings: Settings) -> Input:
    return Request(commands.ShowHealth())


def _home(get: Get) -> str:
    """The address of the chat by which the browser came; "" if that means the browser's own machine."""
    if get.host.startswith(("localhost", "127.", "[::1]")):
        return ""
    own = get.origin is not None and is_own(get.origin, get.host)  # then it knows whether a proxy speaks HTTPS
    return f"{get.origin if own else f'http://{get.host}'}/"


def _qr(get: Get, settings: Settings) -> Input:
    return Request(commands.ShowQr(_home(get)))


def _in_lab(route: Route) -> Route:
    """A route for what everybody may see with --lab. A page of any site may ask from the server's own machine, so that
    is not enough."""

    def in_lab(get: Get, settings: Settings) -> Input:
        if settings.lab:
            return route(get, settings)
        return _page(HTTPStatus.NOT_FOUND, TEXT, b"Start the server with --lab to see that in a browser.\n")

    return in_lab


def _trip(get: Get, settings: Settings) -> Input:
    """?room=lab2&number=12, both optional."""
    room, number = get.query.get("room"), get.query.get("number")
    if number is not None and not NUMBER.fullmatch(number):
        return _page(HTTPStatus.BAD_REQUEST, TEXT, b"The number of a message has only digits.\n")
    return Request(
        commands.ShowTrip(
            None if number is None else int(number), None if room is None else f"#{room.removeprefix('#')}"
        )
    )


ROUTES: dict[str, Route] = {
    "/": _chat,
    "/metrics": _metrics,
    "/healthz": _health,
    "/qr": _qr,
    "/threads": _in_lab(lambda get, settings: show(threads_page(), "'self'")),
    "/threads.json": _in_lab(lambda get, settings: Request(commands.ShowThreads())),
    "/locks.json": _in_lab(lambda get, settings: Request(commands.ShowLocks())),
    "/trace": _in_lab(lambda get, settings: show(trace_page(), "'self'")),
    "/trace.json": _in_lab(_trip),
}
"""What a GET means, by its path: bytes to send, or a command whose answer is shown by ``HttpView``."""


class HttpView:
    """How events look to a client that has no WebSocket: answers by HTTP. Immutable; see parcel.View."""

    __slots__ = ("_last_words",)

    def __init__(self, last_words: Mapping[str, HTTPStatus]) -> None:
        """``last_words``: the errors that end the connection and are said. A browser drops an idle connection that is
        closed without a word, and would take words for the answer to its next request."""
        self._last_words = last_words

    def encode(self, shown: Sequence[events.Event]) -> bytes:
        if any(isinstance(event, events.Bye) for event in shown):
            return b"".join(
                answer(self._last_words[event.code], TEXT, f"{event.text}\n".encode(), ("Connection", "close"))
                for event in shown
                if isinstance(event, events.Problem) and event.code in self._last_words
            )
        return b"".join(map(_answer_by_http, shown))


# The status of an answer that is an error, if there is a better one than 400.
_STATUS = {
    NotAllowed.code: HTTPStatus.FORBIDDEN,
    NoTrip.code: HTTPStatus.NOT_FOUND,
    NoQrCode.code: HTTPStatus.NOT_IMPLEMENTED,
}


def _answer_by_http(event: events.Event) -> bytes:
    if isinstance(event, events.WireBytes):
        return event.data
    if isinstance(event, events.MetricsShown):
        return answer(HTTPStatus.OK, METRICS, event.text.encode())
    if isinstance(event, events.HealthShown):
        status = HTTPStatus.OK if event.healthy else HTTPStatus.SERVICE_UNAVAILABLE
        return answer(status, TEXT, f"{event.text}\n".encode())
    if isinstance(event, events.Problem):
        return answer(_STATUS.get(event.code, HTTPStatus.BAD_REQUEST), TEXT, f"{event.text}\n".encode())
    if isinstance(event, events.QrShown):
        return show(qr_page(event.url, event.rows), "'none'").data
    if isinstance(event, (events.ThreadList, events.LockList, events.TripShown)):
        return answer(HTTPStatus.OK, JSON, json.dumps(codec.encode(event), ensure_ascii=False).encode())
    return b""


class WebView:
    """How events look on a WebSocket: lines of JSON in one text frame. After a ``bye`` comes a Close. Immutable;
    see parcel.View."""

    __slots__ = ("_lines", "__weakref__")

    def __init__(self, lines: View) -> None:
        self._lines = lines

    def encode(self, shown: Sequence[events.Event]) -> bytes:
        if len(shown) == 1 and isinstance(shown[0], events.WireBytes):
            return shown[0].data
        lines = self._lines.encode([event for event in shown if not isinstance(event, events.Greeting)])
        data = frame(_TEXT, lines) if lines else b""
        for event in shown:
            told = event.event if isinstance(event, events.Answer) else event
            if isinstance(told, events.Bye):
                code = CLOSE_CODES.get(told.reason, _BROKEN)
                data += frame(_CLOSE, struct.pack("!H", code) + told.reason.encode())
        return data


# Between two requests, and while one is on its way.
_IDLE = HttpView({Broken.code: HTTPStatus.INTERNAL_SERVER_ERROR})
ASKING = HttpView(
    {
        disconnects.ServerFull.code: HTTPStatus.SERVICE_UNAVAILABLE,
        disconnects.TooManyConnections.code: HTTPStatus.SERVICE_UNAVAILABLE,
        disconnects.TlsOnly.code: HTTPStatus.BAD_REQUEST,
        Broken.code: HTTPStatus.INTERNAL_SERVER_ERROR,
    }
)
_VIEWS = SharedViews(WebView)
