"""One client's conversation, from the greeting to the goodbye, in its reader thread.

``Conversation`` is the handler of ``server.ChatServer``, a ThreadingTCPServer of the standard library. It does the
handshake, takes one command after the other from its ``Receiver``, and has the ``Service`` carry out each.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import socketserver
import time

from . import commands, events, inside, proxy
from .addresses import is_local, is_loopback
from .days import Days
from .dialects.base import SILENT
from .dialects.recognise import in_place_of_the_greeting
from .disconnects import (
    GaveWay,
    NoHandshake,
    NoProxyHeader,
    NotChat,
    ServerFull,
    ShuttingDown,
    TlsOnly,
    TooManyConnections,
    TooManyTries,
)
from .door import Entry
from .errors import Broken, ChatError, CutOff, NoLineEnd, NotUtf8
from .host import Host
from .limits import Limits as Limits
from .pace import Pace
from .parcel import Parcel
from .receiver import STRANGER, Receiver
from .session import Session
from .tls import Violation
from .wire import READ_SIZE, Wire

log = logging.getLogger(__name__)

NAMES = 10  # tries at giving a name; in a large class, many are taken
PASSWORDS = 3  # tries at the password of a name
TOKEN_PAUSE = 0.5  # seconds in which a program that reconnects to a full server must show its token
PATIENCE = 15.0  # seconds to wait on leaving until messages are stored; SQLite may wait 5 for another process's lock
STOP_PATIENCE = 1.0  # the same when the server is stopping
OWED = 2 * READ_SIZE  # bytes of answers at the end; those to telnet and to frames are no longer than what they answer
NAMELESS = "connections without a name, not logged one by one: %d, the last from %s: %s"

# What may come without a person: a page pings, and asks who is there; a terminal says where its cursor is.
_UNASKED = frozenset((commands.Ping, commands.Who, commands.ShowScreen))
_AT_THE_DOOR = (ServerFull, TooManyConnections, NoProxyHeader, TlsOnly)  # said before the greeting, or instead of it


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
        self._session = Session(
            self._number,
            Wire(self.request),
            STRANGER,
            self.server.writers.schedule,
            limits.queue_limit,
            self.server.output,
        )
        self._session.wire.relayed = self._proxied
        self._session.address = self.client_address[0]
        self._session.local = is_loopback(self.client_address[0]) or is_local(
            self.client_address[0], self.request.getsockname()[0]
        )
        self._slot = inside.enter("reader", "begins", self._session, self._session.mailbox.depth)
        self._session.pace = Pace(limits.rate, limits.burst)
        self._receiver = Receiver(self._session, self.server, self._slot, self._browsers)
        self._first = b""  # what came together with a proxy's header
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
                session.wire.send(Parcel(session.views.own, (events.problem(full),)).data)
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
            elif isinstance(error, _AT_THE_DOOR) and session.dialect.greeted and not self._receiver.spare:
                self._last = (events.WireBytes(in_place_of_the_greeting(error, self._receiver.head or b"")),)
            self._reason = error
            error.without_stack()
        except Violation as error:
            if self._logged:
                log.info("%s: TLS: %s", session, error)
            self._reason = NotChat(f"TLS: {error}")
        except Exception:  # a bug: logged once, and only this client gets an error
            log.exception("the conversation of %s broke", session)
            self._last = (events.problem(Broken()), events.Bye(Broken.code))

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
            self._receiver.check(deadline)
            more = self._session.wire.read(max(0.0, deadline - time.monotonic()))
            if more == b"" or self._session.ended.is_set():
                return None, b""
            data += more or b""
        return header, data[header.length :]

    def _handshake(self, deadline: float) -> bool:
        """Greet the client, and wait until it is admitted; False if it went away, or lost its place to another one."""
        until = time.monotonic() + TOKEN_PAUSE if self._by_token else deadline
        self._receiver.look_ahead(self._first, until, patient=not self._by_token)
        first = self._token_at_once() if self._by_token else None
        if not self._receiver.spare:
            self._receiver.greet()
        left = {"name": NAMES, "password": PASSWORDS}
        while all(left.values()):
            hello = self._hello(deadline) if first is None else first
            first, spoilt = None, False
            tried = "password" if isinstance(hello, commands.Hello) and hello.password else "name"
            self._session.heard = self._session.typed = came = time.monotonic()
            if hello is None or not self.server.door.speaks(self._number):
                return False
            if isinstance(hello, commands.Quit):
                self._last = events.answers(self._session.ref, events.Bye())
                return False
            try:
                if isinstance(hello, ChatError):
                    raise hello
                if isinstance(hello, commands.Hello):
                    if self.server.service.admit(self._session, hello):
                        return True
                    self._may_give_way()
                    continue  # the client is asked for a password
            except CutOff:
                raise
            except ChatError as error:
                if self._by_token:
                    raise self._full() from None
                self._session.answer(events.problem(error.without_stack()))
                if left[tried] > 1:
                    self.server.service.refused(self._session, hello, error)
                self._may_give_way()
                spoilt = isinstance(error, NotUtf8)  # by its telnet, so no name was refused
            finally:
                deadline += time.monotonic() - came  # so the time in which the client waited for its turn is not lost
            if spoilt:
                self._receiver.slow_down(1, deadline)
                continue
            left[tried] -= 1
            if left[tried] == 1 and self._session.dialect.name == "text":
                self._session.send(events.Notice("One more try is left."))
        raise TooManyTries()

    def _hello(self, deadline: float) -> commands.Command | ChatError | None:
        """The client's next command of those that count as a try at the handshake. Carries out the others."""
        while isinstance(hello := self._receiver.next(deadline), commands.BEFORE_A_NAME):
            try:
                self.server.service.handle(self._session, hello)
            except CutOff:
                raise
            except ChatError as error:
                self._session.answer(events.problem(error))
            self._receiver.slow_down(hello.cost, deadline)
        return hello

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
        session, receiver = self._session, self._receiver
        if session.dialect.today(time.time()) is not None:
            receiver.days = Days(session.dialect.today)
        while (command := receiver.next()) is not None:
            kind, now = type(command), time.monotonic()
            session.heard = now
            if kind not in _UNASKED or self._is_typed(command):
                session.typed = now
            self._slot.doing = f"obeys {kind.__name__}", now
            receiver.slow_down(command.cost)
            if session.wire.stopped:
                return
            if type(command) is commands.Quit:
                self._words = command.words
                self._last = events.answers(self._session.ref, events.Bye())
                return
            try:
                if isinstance(command, ChatError):
                    raise command
                self.server.service.handle(session, command)
                if type(command) is commands.SetOption and receiver.days:
                    receiver.days.due = 0.0  # the day, or what it is called, may be another one in another zone
            except CutOff:
                raise
            except ChatError as error:
                session.answer(events.problem(error))
                self.server.service.refused(session, command, error)
            except Exception:  # a bug: logged once, and only this client gets an error
                log.exception("%s of %s failed", type(command).__name__, session)
                session.answer(events.problem(Broken()))

    def _is_typed(self, command: commands.Command | ChatError) -> bool:
        """Whether a command of _UNASKED comes from a person."""
        if isinstance(command, commands.ShowScreen):
            return command.pressed
        return self._session.dialect.name == "text"

    def _line_has_no_end(self) -> bool:
        """Whether the client has ended its input in the middle of a line, as ``printf hello | nc`` does."""
        session = self._session
        begun = session.dialect.name == "text" and session.dialect.pending
        return begun and not (self._last or self._reason or session.reason) and session.wire.hung_up

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
        views = self._receiver.views
        if not session.name or views is SILENT:  # the latter after a browser's Close: nothing may come after ours
            session.views = views  # a change only if it is in no room any more, so no lock is needed
        owed = b""  # after Ctrl-C, telnet shows nothing until its timing mark is answered
        while len(owed) < OWED and isinstance(answer := session.dialect.next_input(), events.WireBytes):
            owed += answer.data
        if 0 < len(owed) <= OWED:  # more are pages
            session.send(events.WireBytes(owed))
        if self._line_has_no_end():
            self._last = (events.problem(NoLineEnd()), events.Bye("left"))
        left = (events.Bye("left"),) if session.dialect.greeted else ()  # without words, but it ends an editor's screen
        session.close(*(self._last or left), reason=self._reason)
        # The writer has two deadlines: one for what it is sending, and one for what is queued.
        if not session.written.wait(2 * self.server.limits.send_timeout + 10):
            log.error("not everything could be sent to %s", session)
        if not session.broken or session.reason:
            session.wire.linger()
        self.server.sessions.remove(session)
        why = session.reason.code if session.reason else session.wire.lost or "it left"
        if self._logged:
            log.info("%s ends: %s", session, why)
        elif count := self.server.nameless.happens():
            log.info(NAMELESS, count, session.address, why)
