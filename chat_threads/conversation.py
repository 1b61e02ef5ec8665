"""One client's conversation, from the greeting to the goodbye, in its reader thread.

``Conversation`` is the handler of ``server.ChatServer``, a ThreadingTCPServer of the standard library. It reads, does
the handshake, and has the ``Service`` carry out each command. It also limits the client's speed, and how long the
thread waits for the client.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import socketserver
import time
from functools import lru_cache

from . import __version__, commands, events, inside, proxy
from .addresses import is_local, is_loopback
from .days import Days
from .dialects.base import SILENT, Dialect, Request
from .dialects.recognise import in_place_of_the_greeting, recognise, without_blanks
from .dialects.text import TextDialect
from .disconnects import (
    GaveWay,
    NoHandshake,
    NoNameInTime,
    NoProxyHeader,
    NotChat,
    ServerFull,
    ShuttingDown,
    TlsOnly,
    TooManyConnections,
    TooManyTries,
    UnfinishedLine,
)
from .door import Entry
from .errors import Broken, ChatError, CutOff
from .host import Host
from .limits import Limits as Limits
from .pace import BLANKS, Pace, cost_of_showing
from .parcel import Parcel, View, Views
from .securewire import HANDSHAKE, SecureWire
from .session import Session
from .spares import Arrival
from .tls import HELLO, Violation
from .wire import READ_SIZE, Wire

log = logging.getLogger(__name__)

TRIES = 3  # at giving a name
TOKEN_PAUSE = 0.5  # seconds in which a program that reconnects to a full server must show its token
GREETING_PAUSE = 0.1  # seconds before the greeting: a web browser or a TLS client speaks first, a person does not
TLS_PAUSE = 0.5  # the same if clients may speak TLS: some first load what they need for it
TLS_ONLY_PAUSE = 2.0  # the same if they must, and the others are refused
PIECES = 8  # reads before the greeting; the rate limits a client that is still not known after them
TWIN_PAUSE = 0.9  # seconds more for two connections that may be a browser's
PATIENCE = 15.0  # seconds to wait on leaving until messages are stored; SQLite may wait 5 for another process's lock
STOP_PATIENCE = 1.0  # the same when the server is stopping
OWED = 2 * READ_SIZE  # bytes of answers at the end; those to telnet and to frames are no longer than what they answer
NAMELESS = "connections without a name, not logged one by one: %d, the last from %s: %s"
SPOILT = b"* Your browser opened this connection before it asked for the page. Load the page again.\r\n"

_AT_THE_DOOR = (ServerFull, TooManyConnections, NoProxyHeader, TlsOnly)  # said before the greeting, or instead of it

_STRANGER = TextDialect()  # of the clients who have yet to speak. It is fed nothing, so that all of them can share it


@lru_cache(maxsize=8)
def _greeting(view: View) -> Parcel:
    """The greeting, which is the same for all clients with this view."""
    return Parcel(view, (events.Greeting(__version__),))


class Conversation(socketserver.BaseRequestHandler):
    """One connection, from its greeting to its goodbye. Its reader thread alone calls it and reads its attributes.

    socketserver calls ``setup``, ``handle`` and ``finish``, in this order. In ``handle`` the thread waits for the
    client, and for whatever a command has to wait for.
    """

    request: socket.socket
    server: Host  # type: ignore[assignment]

    def __init__(
        self,
        request: socket.socket,
        client_address: tuple[str, int],
        server: Host,
        number: int,
        entry: Entry,
        browsers: bool = False,
    ) -> None:
        """``browsers``: it came on the port for browsers, where nobody is greeted."""
        self._number = number
        self._browsers = browsers
        self._proxied = client_address[0] in server.proxies
        self._by_token = entry.by_token  # whether it may stay only if it shows a token at once
        super().__init__(request, client_address, server)  # type: ignore[arg-type]

    def setup(self) -> None:
        limits = self.server.limits
        self._wire = Wire(self.request)
        self._dialect: Dialect = _STRANGER  # until the client's first bytes tell its own
        self._session = Session(
            self._number,
            self._wire,
            self._dialect,
            self.server.writers.schedule,
            limits.queue_limit,
            self.server.output,
        )
        self._session.address = self.client_address[0]
        self._session.local = is_loopback(self.client_address[0]) or is_local(
            self.client_address[0], self.request.getsockname()[0]
        )
        self._slot = inside.enter("reader", "begins", self._session, self._session.mailbox.depth)
        self._session.pace = Pace(limits.rate, limits.burst)
        self._blank = 0  # lines that held no request and are not yet paid for
        self._first = b""  # what came together with a proxy's header
        self._days: Days | None = None  # of a person who has a name
        self._head: bytes | None = b""  # the first bytes, until they tell which dialect the client speaks
        self._greeted = False
        self._secured = False  # whether the connection is encrypted
        self._greeting_waits = False  # for an answer, which is sent with it
        self._arrival: Arrival | None = None  # None on the port for browsers
        # Whether it is a browser's spare connection, which is told nothing until it speaks.
        self._spare = self._browsers
        self._session.views = self._views
        self._idle_reads = 0  # reads since the last request
        self._half_since: float | None = None  # when the unfinished line began
        self._last: tuple[events.Event, ...] = ()  # what to say before closing
        self._reason: CutOff | None = None  # why to close, if not because the client leaves
        self._words = ""  # what the client said on leaving
        # False: log it only after it has given a name, so that a flood does not fill the log
        self._logged = bool(self.server.arrivals.happens())

    def handle(self) -> None:
        session = self._session
        self.server.sessions.add(session)
        try:
            self.server.writers.attend(session)
        except (RuntimeError, MemoryError):
            if self._logged:
                log.error("no writer thread could be started for %s", session)
            full = ServerFull("no thread could be started for you")
            session.abandon(full)
            session.written.set()
            with contextlib.suppress(OSError):
                self._wire.send(Parcel(session.views.own, (events.problem(full),)).data)
            return
        if self.server.stopping.is_set():
            session.end()
        try:
            deadline = time.monotonic() + self.server.limits.handshake_timeout
            if self._begin(deadline) and self._handshake(deadline):
                if self._logged:
                    log.info("%s is admitted", session)
                else:
                    self._log_beginning(" and is admitted")
                self._converse()
        except CutOff as error:
            self._last = (events.problem(error), events.Bye(error.code))
            if isinstance(error, NotChat):
                self._last = (events.WireBytes(error.answer),) if error.answer else ()
            elif isinstance(error, _AT_THE_DOOR) and self._dialect.greeted and not self._spare:
                self._last = (events.WireBytes(in_place_of_the_greeting(error, self._head or b"")),)
            self._reason = error
            error.without_stack()
        except Exception:  # a bug: logged once, and only this client gets an error
            log.exception("the conversation of %s broke", session)
            self._last = (events.problem(Broken()), events.Bye(Broken.code))

    # --- reading --------------------------------------------------------------------------------------------

    def _next(self, deadline: float | None = None) -> commands.Command | ChatError | None:
        """Return the client's next command, or the error in it; None at the end.

        Waits for the client and for tokens of its ``Pace``, and answers telnet's negotiation meanwhile. Raises
        NoHandshake after ``deadline``, and UnfinishedLine when a line takes too long. A byte now and then extends
        neither.
        """
        while not self._wire.stopped:
            if deadline is not None:
                self._check(deadline)
            found = self._dialect.next_input()
            if found is None:
                if self._idle_reads > 1 or self._blank >= BLANKS or self._session.pace.tokens < 0:
                    self._pay_for_nothing(deadline)
                if not self._read_more(deadline):
                    break
            elif type(found) is Request:
                self._half_since = None
                self._idle_reads = 0
                if self._blank:
                    self._blank -= 1
                self._session.ref = found.ref
                return found.command
            else:
                self._session.send(found)
                if not self._session.name:  # the session is in no room, so no lock is needed
                    self._session.views = self._views
                    self._session.local = self._session.local and self._dialect.may_be_local
                self._slow_down(1 + cost_of_showing(len(found.data)), deadline)
        return None

    def _pay_for_nothing(self, deadline: float | None) -> None:
        """A flood of blank lines, or of bytes without a line, is paid for too. Waits for tokens of its ``Pace``, and
        for those that the last answer cost."""
        tokens, self._blank = divmod(self._blank, BLANKS)
        self._wait(self._session.pace.pay(tokens + (self._idle_reads > 1)), deadline)

    def _check(self, deadline: float) -> None:
        """Raise NoHandshake after the deadline."""
        if time.monotonic() >= deadline:
            raise NoNameInTime(self.server.limits.handshake_timeout)

    def _read_more(self, deadline: float | None) -> bool:
        """Wait for bytes, until ``deadline`` or until the line must have ended, and feed them to the dialect; False at
        the end of the connection."""
        if self._greeting_waits:
            self._greeting_waits = False
            self._session.send()  # the lines so far were blank: nothing, but with it the greeting
        now = time.monotonic()
        until = deadline
        if self._days is not None and self._days.due <= now and (today := self._days.look(now)):
            self._session.send(events.Notice(today))
        if not self._head and not self._dialect.pending:
            self._half_since = None
        else:
            if self._half_since is None:
                self._half_since = now
            line_end = self._half_since + self.server.limits.line_timeout
            if line_end <= now:  # checked before reading: a flood does not extend the deadline
                raise UnfinishedLine(self.server.limits.line_timeout)
            until = line_end if deadline is None else min(deadline, line_end)
        self._slot.doing = inside.INPUT, now
        data = self._wire.read(None if until is None else until - now)
        if data:
            self._feed(data)
        elif data is None:  # nothing yet
            self.server.service.wait(self._session)
        return data != b""

    def _feed(self, data: bytes) -> None:
        """Recognise the dialect by the first bytes, and give it all bytes; raise NotChat if the client speaks another
        protocol."""
        self._idle_reads += 1
        if self._head is None:
            lines = self._dialect.feed(data)
        elif data[:1] == HELLO and self._may_be_secured:
            self._secure(data)
            return
        else:
            lines = data.count(b"\n")
            self._head = without_blanks(self._head + data)
            if lines or self._head:
                self._check_secure()
            make = recognise(self._head)
            if make is not None:
                self._recognised(make(self.server.settings))
                self._dialect.feed(self._head)
                self._head = None
            elif lines and self._spare:  # a person waits for words
                self._greet()
            elif lines and self._greeted and not self._head:  # a blank line
                self._session.answer(events.HelpShown(None, named=False))
        if lines:
            if not self._dialect.framed:
                self._half_since = None
            self._blank += lines

    @property
    def _may_be_secured(self) -> bool:
        return not self._head and not self._greeted and not self._secured and self.server.certificate is not None

    def _secure(self, data: bytes) -> None:
        """The client has begun to speak TLS, with ``data``, and was sent nothing yet. Do the TLS handshake with it;
        raise NotChat."""
        assert self.server.certificate
        wire = SecureWire(self.request, self._wire.nowait, self.server.certificate.context)
        before, self._wire = self._wire, wire
        self._session.wire = wire
        if before.stopped:  # after the exchange, because any thread may stop it; this one may be stopped already
            wire.stopped = True
        inside.does("waits for the TLS handshake")
        try:
            wire.shake(data, TOKEN_PAUSE if self._by_token else HANDSHAKE)
        except Violation as error:
            if self._logged:
                log.info("%s: TLS: %s", self._session, error)
            raise NotChat(f"TLS: {error}") from None
        self._secured = True

    def _check_secure(self) -> None:
        """Raise TlsOnly if the client must speak TLS and does not."""
        if self.server.tls_only and not self._secured:
            raise TlsOnly()

    def _recognised(self, dialect: Dialect) -> None:
        """The client speaks this dialect. Raise NotChat if it is a browser whose answer our greeting has spoilt."""
        if self._arrival:
            self.server.spares.speaks(self._arrival, not dialect.greeted, self._greeted)
        if self._greeted and not dialect.greeted:
            raise NotChat("a browser asked on a connection that was greeted", SPOILT)
        self._dialect = self._session.dialect = dialect
        if self._spare:
            self._greet()
        self._session.views = self._views  # the session is in no room yet, so no lock is needed

    @property
    def _views(self) -> Views:
        return SILENT if self._spare else self._dialect.views

    def _greet(self) -> None:
        self._check_secure()
        self._spare = False
        self._session.views = self._views
        if not self._greeted:
            self._greeting_waits = self._blank > 0
            self._session.put(_greeting(self._session.views.own), more=self._greeting_waits)
        self._greeted = True

    def _slow_down(self, tokens: float, deadline: float | None = None) -> None:
        """Wait until the client has read most of what waits for it, and until it has tokens in its ``Pace``."""
        self._session.mailbox.wait_for_low_water()
        if delay := self._session.pace.pay(tokens):
            self._wait(delay, deadline)

    def _wait(self, seconds: float, deadline: float | None = None) -> None:
        """Wait for ``seconds`` seconds, but not beyond the deadline or the session's end."""
        if deadline is not None:
            seconds = min(seconds, deadline - time.monotonic())
        if seconds > 0:
            self._session.ended.wait(seconds)

    # --- the handshake --------------------------------------------------------------------------------------

    def _begin(self, deadline: float) -> bool:
        """Find out where the client comes from; False if it went away instead. Waits for a proxy's header.

        From here until it gives a name, the client may lose its place to another one.
        """
        if not self._by_token:
            self._may_give_way()
        if self._proxied and not self._take_header(deadline):
            return False
        if self._logged:
            self._log_beginning()
        return True

    def _log_beginning(self, and_then: str = "") -> None:
        by = f" by {self.client_address[0]}" if self._proxied else ""
        log.info("%s begins from %s%s%s", self._session, self._session.address, by, and_then)
        self._logged = True

    def _take_header(self, deadline: float) -> bool:
        """Wait for what the proxy says about the client; False at the end of the connection. Raises NoHandshake,
        ServerFull, NoProxyHeader and TooManyConnections."""
        try:
            header, self._first = self._read_header(deadline)
        except proxy.BadHeader as error:
            if count := self.server.headerless.happens():
                log.warning(
                    "%d connections without a PROXY header, the last from %s: %s", count, self.client_address[0], error
                )
            raise NoProxyHeader() from None
        if header is None:
            return False
        if header.source:
            self._session.address = header.source
            self._session.local = self._session.local and is_local(header.source, header.destination)
            self.server.door.comes_from(self._number, header.source)
        elif not header.own:
            self._session.local = False
        return True

    def _read_header(self, deadline: float) -> tuple[proxy.Header | None, bytes]:
        """Wait for the header; return it with what came after it, or None at the end of the connection."""
        if self._by_token:
            deadline = time.monotonic() + TOKEN_PAUSE
        data = b""
        while not (header := proxy.parse(data)):
            if self._by_token and time.monotonic() >= deadline:
                raise self._full()
            self._check(deadline)
            more = self._wire.read(max(0.0, deadline - time.monotonic()))
            if more == b"" or self._session.ended.is_set():
                return None, b""
            data += more or b""
        return header, data[header.length :]

    def _handshake(self, deadline: float) -> bool:
        """Greet the client, and wait until it is admitted; False if it went away, or lost its place to another one."""
        self._look_ahead()
        first = self._token_at_once() if self._by_token else None
        if not self._spare:
            self._greet()
        for _ in range(TRIES):
            hello = self._hello(deadline) if first is None else first
            first = None
            self._session.heard = time.monotonic()
            if hello is None or not self.server.door.speaks(self._number):
                return False
            if isinstance(hello, commands.Quit):
                self._last = events.answers(self._session.ref, events.Bye())
                return False
            try:
                if isinstance(hello, ChatError):
                    raise hello
                if isinstance(hello, commands.Hello):
                    self.server.service.admit(self._session, hello)
                    return True
            except CutOff:
                raise
            except ChatError as error:
                if self._by_token:
                    raise self._full() from None
                self._session.answer(events.problem(error.without_stack()))
                self._may_give_way()
        raise TooManyTries()

    def _hello(self, deadline: float) -> commands.Command | ChatError | None:
        """The client's next command of those that count as a try at the handshake. Carries out the others."""
        while isinstance(hello := self._next(deadline), commands.BEFORE_A_NAME):
            try:
                self.server.service.handle(self._session, hello)
            except CutOff:
                raise
            except ChatError as error:
                self._session.answer(events.problem(error))
            self._slow_down(hello.cost, deadline)
        return hello

    def _look_ahead(self) -> None:
        """Wait for a client that speaks first, until its words say which dialect it speaks: a browser must not be
        greeted. Raise NotChat. A browser's spare connection is shown nothing afterwards, see ``spares``."""
        spares = self.server.spares
        if not self._spare:
            self._arrival = spares.arrives(self._session.address)
        if self._first:
            self._feed(self._first)
        pause = GREETING_PAUSE if not self.server.certificate else TLS_ONLY_PAUSE if self.server.tls_only else TLS_PAUSE
        if self._by_token or self._arrival is None or not self._listen(pause) or self._first:
            return
        if not spares.has_twin(self._arrival) or self._listen(TWIN_PAUSE):
            self._spare = spares.take(self._arrival)
            self._session.views = self._views

    def _listen(self, seconds: float) -> bool:
        """Read for so long, or until the dialect is known. Return whether the client is there and silent."""
        silent, secured, deadline = True, self._secured, time.monotonic() + seconds
        while self._head is not None and self._idle_reads < PIECES:
            data = self._wire.read(max(0.0, deadline - time.monotonic()))
            if not data:
                return silent and data is None
            silent = False
            self._feed(data)
            if self._secured is not secured:  # it may speak first once more
                silent, secured, deadline = True, True, time.monotonic() + GREETING_PAUSE
        return False

    def _may_give_way(self) -> None:
        """From now on the client may lose its place to another one; raise GaveWay if it has already. Does not wait."""
        if not self.server.door.waits(self._number, self._session):
            raise GaveWay()

    def _token_at_once(self) -> commands.Hello | None:
        """The server is full: wait TOKEN_PAUSE seconds for a hello with a token. None if the client goes away; raise
        ServerFull if it says anything else, or nothing."""
        try:
            hello = self._hello(time.monotonic() + TOKEN_PAUSE)
        except NoHandshake:
            raise self._full() from None
        if hello is None or (isinstance(hello, commands.Hello) and hello.token):
            return hello
        raise self._full()

    def _full(self) -> ServerFull:
        return ServerFull(f"{self.server.limits.max_clients} are connected")

    # --- the conversation -----------------------------------------------------------------------------------

    def _converse(self) -> None:
        session = self._session
        if self._dialect.today(time.time()) is not None:
            self._days = Days(self._dialect.today)
        while (command := self._next()) is not None:
            session.heard = now = time.monotonic()
            self._slot.doing = f"obeys {type(command).__name__}", now
            self._slow_down(command.cost)
            if self._wire.stopped:
                return
            if type(command) is commands.Quit:
                self._words = command.words
                self._last = events.answers(self._session.ref, events.Bye())
                return
            try:
                if isinstance(command, ChatError):
                    raise command
                self.server.service.handle(session, command)
            except CutOff:
                raise
            except ChatError as error:
                session.answer(events.problem(error))
            except Exception:  # a bug: logged once, and only this client gets an error
                log.exception("%s of %s failed", type(command).__name__, session)
                session.answer(events.problem(Broken()))

    # --- the goodbye ----------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Leave the rooms, unless the server stops; then send what is queued, and only then release the socket.

        Waits for the history, then for the writer, which has deadlines of its own, and last for the client to close.
        """
        session, stopping = self._session, self.server.stopping
        inside.does("says goodbye")
        all_leave = stopping.is_set()
        self.server.service.dismiss(session, self._words, STOP_PATIENCE if all_leave else PATIENCE, all_leave)
        if stopping.is_set() and self._reason is None:
            self._reason = ShuttingDown()
            self._last = (events.problem(self._reason), events.Bye(self._reason.code))
        if not session.name or self._views is SILENT:  # the latter after a browser's Close: nothing may come after ours
            session.views = self._views  # a change only if it is in no room any more, so no lock is needed
        owed = b""  # after Ctrl-C, telnet shows nothing until its timing mark is answered
        while len(owed) < OWED and isinstance(answer := self._dialect.next_input(), events.WireBytes):
            owed += answer.data
        if 0 < len(owed) <= OWED:  # more are pages
            session.send(events.WireBytes(owed))
        left = (events.Bye("left"),) if self._dialect.greeted else ()  # without words, but it ends an editor's screen
        session.close(*(self._last or left), reason=self._reason)
        # The writer has two deadlines: one for what it is sending, and one for what is queued.
        if not session.written.wait(2 * self.server.limits.send_timeout + 10):
            log.error("not everything could be sent to %s", session)
        if not session.broken or session.reason:
            self._wire.linger()
        self.server.sessions.remove(session)
        why = session.reason.code if session.reason else "it left"
        if self._logged:
            log.info("%s ends: %s", session, why)
        elif count := self.server.nameless.happens():
            log.info(NAMELESS, count, session.address, why)
