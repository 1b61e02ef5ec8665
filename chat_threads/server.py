"""The accepting socket, a reader thread for each connection, and a conversation from greeting to goodbye.

``ChatServer`` is the standard library's ThreadingTCPServer; its ``acceptor`` thread only accepts and starts
threads. ``Conversation`` is its handler: it runs in the connection's own reader thread, does the handshake,
and turns what is read into commands, with bounds on how fast, how long and for how long.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import queue
import socket
import socketserver
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from . import __version__, commands, events, inside, proxy
from .addresses import Networks, bare, is_local, plain
from .dialects.base import Dialect, Input
from .dialects.recognise import recognise, without_blanks
from .dialects.text import TextDialect
from .door import Door, Entry
from .errors import (
    Broken,
    ChatError,
    CutOff,
    GaveWay,
    NoHandshake,
    NoProxyHeader,
    NotChat,
    ServerFull,
    ShuttingDown,
    TooManyConnections,
    UnfinishedLine,
)
from .memory import Output
from .pace import BLANKS, Pace, Seldom, cost
from .parcel import Parcel
from .service import Service
from .session import Session, SessionStore, problem
from .wire import Wire
from .writers import Writers

log = logging.getLogger(__name__)

BACKLOG = 1024  # connections that wait to be accepted
TRIES = 3  # at a name
TOKEN_PAUSE = 0.5  # seconds in which a program that comes back shows its token, when the server is full
GREETING_PAUSE = 0.1  # seconds in which a web browser or a TLS client would speak first; people do not
ACCEPT_PAUSE = 0.2  # seconds after an accept that failed for want of descriptors or memory
USUAL_INTERVAL = sys.getswitchinterval()
PATIENT = 5e-5  # seconds for each reader after which threads that wait for the interpreter look at it again
LAST_WORDS = 1.0  # seconds that a refused connection is kept, so that it can read why
READS_MOST = 16  # reads of what a refused connection has sent
REFUSED_MOST = 200  # refused connections kept at a time
PATIENCE = 15.0  # seconds to wait for what was said before leaving; SQLite may wait 5 for another's lock
STOP_PATIENCE = 1.0  # the same when the server is stopping
WARNING_PAUSE = 10.0  # seconds between two warnings of proxies that send no header
NO_PROXIES = Networks()
_WAITS = "waits for input"
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may do. Times in seconds."""

    rate: float = 20.0  # tokens a second, in the long run; 0: any number. What a line costs is in commands
    burst: int = 50  # tokens at once
    max_clients: int = 1000
    per_address: int = 0  # connections from one address; 0: any number
    handshake_timeout: float = 60.0
    line_timeout: float = 300.0  # from a line's first byte to its end
    queue_limit: int = 1000  # lines waiting to be sent
    send_timeout: float = 30.0
    replay: int = 20  # messages shown on entering a room


class ChatServer(socketserver.ThreadingTCPServer):
    """Accepts connections and starts a thread ``reader-N`` for each.

    ``serve_forever`` runs in the acceptor thread, which alone touches what is below "the acceptor's".
    """

    allow_reuse_address = os.name == "posix"  # on Windows that would let two servers share a port
    request_queue_size = BACKLOG
    daemon_threads = True
    block_on_close = False  # readers are joined here, with a deadline

    def __init__(
        self,
        address: tuple[str, int],
        service: Service,
        sessions: SessionStore,
        writers: Writers,
        limits: Limits,
        output: Output | None = None,
        proxies: Networks = NO_PROXIES,
    ) -> None:
        """``proxies``: connections from these addresses begin with the PROXY protocol (see proxy)."""
        self.service = service
        self.sessions = sessions
        self.writers = writers
        self.limits = limits
        self.output = output or Output()  # counts what waits for all sessions
        self.stopping = threading.Event()  # set by whoever stops the server; read by the readers
        self._ended: queue.SimpleQueue[int] = queue.SimpleQueue()  # numbers of readers that are done
        self.beats = 0  # how often the acceptor came round, so far; set by the acceptor, read by main
        # The acceptor's; the stopping thread's once the acceptor has ended.
        self._readers: dict[int, threading.Thread] = {}
        self._number = 0
        self._refused: deque[tuple[float, socket.socket]] = deque()
        self.door = Door(limits.max_clients, limits.per_address)
        self.proxies = proxies
        self.headerless = Seldom(WARNING_PAUSE)
        self.address_family, found = _resolved(address)
        super().__init__(found, Conversation)  # type: ignore[arg-type]

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:  # :: is for IPv4 too, whatever is usual on this system
            with contextlib.suppress(OSError):  # where that cannot be
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    # --- the acceptor ---------------------------------------------------------------------------------------

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        try:
            request, address = super().get_request()
            return request, (plain(address[0]), address[1])
        except OSError as error:
            if error.errno in _EXHAUSTED:  # without a pause, the waiting connection would keep us spinning
                log.warning("cannot accept: %s", error.strerror)
                time.sleep(ACCEPT_PAUSE)
            raise

    def process_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        self._join_ended()
        number = self._number = self._number + 1
        try:
            entry = self.door.enter(number, None if client_address[0] in self.proxies else client_address[0])
        except CutOff as error:
            self._refuse(request, client_address, error)
            return
        thread = None
        try:
            if entry.instead_of:
                entry.instead_of.cut_off(GaveWay())
            thread = threading.Thread(
                target=self._read, args=(request, client_address, number, entry), name=f"reader-{number}", daemon=True
            )
            self._readers[number] = thread
            thread.start()
        except (RuntimeError, MemoryError):  # the system gives no more threads
            self._refuse(request, client_address, ServerFull("no thread could be started for you"))
        finally:
            if thread is None or thread.ident is None:
                self._readers.pop(number, None)
                self.door.leave(number)

    def _refuse(self, request: socket.socket, address: tuple[str, int], error: CutOff) -> None:
        """Say why, without a thread and without waiting; the connection is closed a little later."""
        log.info("refused a connection from %s: %s", address[0], error.code)
        with contextlib.suppress(OSError):
            request.setblocking(False)
            request.send(_in_place_of_the_greeting(error))
            request.shutdown(socket.SHUT_WR)
        self._refused.append((time.monotonic() + LAST_WORDS, request))

    def service_actions(self) -> None:
        """Called by serve_forever between two connections, and at least four times a second."""
        self.beats += 1
        self._join_ended()
        self._be_patient()
        now = time.monotonic()
        while self._refused and (self._refused[0][0] <= now or len(self._refused) > REFUSED_MOST):
            request = self._refused.popleft()[1]
            with contextlib.suppress(OSError):
                for _ in range(READS_MOST):  # closing with unread input would reset the connection
                    if not request.recv(65536):
                        break
            request.close()

    def _join_ended(self) -> None:
        while not self._ended.empty():
            self._readers.pop(self._ended.get()).join()

    def _be_patient(self) -> None:
        """When thousands of readers wake at once, as when a network fails, each waits for the interpreter's lock and
        looks at it again after the switch interval. With the usual 5 ms for each that alone would take longer
        than all that they have to do; so 20,000 looks a second have to do for all."""
        sys.setswitchinterval(max(USUAL_INTERVAL, PATIENT * len(self._readers)))

    def handle_error(self, request: object, client_address: object) -> None:
        log.exception("a connection from %s was not taken", client_address)

    # --- the readers ----------------------------------------------------------------------------------------

    def _read(self, request: socket.socket, client_address: tuple[str, int], number: int, entry: Entry) -> None:
        try:
            Conversation(request, client_address, self, number, entry)
        except Exception:
            if self.sessions.knows(number):  # it could not say goodbye, and would stay in its rooms for ever
                raise
            log.exception("the conversation with %s broke", client_address[0])
        finally:
            self.shutdown_request(request)
            inside.leave()
            self.door.leave(number)
            self._ended.put(number)

    # --- whoever stops the server ---------------------------------------------------------------------------

    def stop(self, timeout: float) -> list[str]:
        """End every conversation and join the readers; ``serve_forever`` has returned before. Returns the
        names of those that did not end in time."""
        deadline = time.monotonic() + timeout
        self.stopping.set()
        for _, request in self._refused:
            request.close()
        for session in self.sessions.all():
            session.end()
        for thread in self._readers.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        sys.setswitchinterval(USUAL_INTERVAL)
        return [thread.name for thread in self._readers.values() if thread.is_alive()]


class Conversation(socketserver.BaseRequestHandler):
    """One connection, from its greeting to its goodbye, in its reader thread."""

    request: socket.socket
    server: ChatServer

    def __init__(
        self, request: socket.socket, client_address: tuple[str, int], server: ChatServer, number: int, entry: Entry
    ) -> None:
        self._number = number
        self._proxied = client_address[0] in server.proxies
        self._by_token = entry.by_token  # whether there is a place for it only if it shows a token at once
        super().__init__(request, client_address, server)

    def setup(self) -> None:
        limits = self.server.limits
        self._wire = Wire(self.request, patience=limits.send_timeout)
        self._dialect: Dialect = TextDialect(limits.replay)  # until its first bytes say otherwise
        self._session = Session(
            self._number,
            self._wire,
            self._dialect,
            self.server.writers.schedule,
            limits.queue_limit,
            self.server.output,
        )
        self._session.address = self.client_address[0]
        self._session.local = is_local(self.client_address[0], self.request.getsockname()[0])
        self._slot = inside.enter("reader", "begins", self._session, self._session.mailbox.depth)
        self._session.pace = Pace(limits.rate, limits.burst)
        self._blank = 0  # lines that were read, and are neither inputs nor paid for
        self._first = b""  # what came together with a proxy's header
        self._head: bytes | None = b""  # what has come while that was too little to tell how the client speaks
        self._idle_reads = 0  # reads since the last input
        self._half_since: float | None = None  # when the line that has begun did so
        self._last: tuple[events.Event, ...] = ()  # what to say before closing
        self._words = ""  # what the client said on leaving

    def handle(self) -> None:
        session = self._session
        self.server.sessions.add(session)
        try:
            self.server.writers.attend(session)
        except (RuntimeError, MemoryError):
            log.error("no writer thread could be started for %s", session)
            session.reason = ServerFull("no thread could be started for you")
            session.abandon()
            session.written.set()
            with contextlib.suppress(OSError):
                self._wire.send(Parcel(session.views[True], (problem(session.reason),)).data)
            return
        if self.server.stopping.is_set():
            session.end()
        try:
            deadline = time.monotonic() + self.server.limits.handshake_timeout
            if self._begin(deadline) and self._handshake(deadline):
                log.info("%s is admitted", session)
                self._converse()
        except NotChat as error:
            self._last = (events.WireBytes(error.answer),) if error.answer else ()
            session.reason = error
        except (ServerFull, TooManyConnections, NoProxyHeader) as error:
            self._last = (events.WireBytes(_in_place_of_the_greeting(error)),)
            session.reason = error
        except CutOff as error:
            self._last = (problem(error), events.Bye(error.code))
            session.reason = error
        except Exception:  # a bug: this client is told, once in the log, and nobody else notices
            log.exception("the conversation of %s broke", session)
            self._last = (problem(Broken()), events.Bye(Broken.code))

    # --- reading --------------------------------------------------------------------------------------------

    def _next(self, deadline: float | None = None) -> Input | None:
        """The next input, answering the telnet layer's own on the way; None at the end of it.

        Raises NoHandshake after ``deadline`` and UnfinishedLine when a line takes too long, both for the whole
        of it: a byte now and then does not put them off.
        """
        while True:
            self._check(deadline)
            found = self._dialect.next_input()
            if isinstance(found, events.WireBytes):
                self._session.send(found)
                self._slow_down(1, deadline)
            elif found is not None:
                self._half_since = None
                self._idle_reads = 0
                self._blank -= 1
                return found
            else:
                self._pay_for_nothing(deadline)
                if not self._read_more(deadline):
                    return None

    def _pay_for_nothing(self, deadline: float | None) -> None:
        """All that was read has been looked at: a flood of blank lines, or of bytes without a line, is paid for too."""
        tokens, self._blank = divmod(max(0, self._blank), BLANKS)
        if self._idle_reads > 1:
            tokens += 1
        self._session.pace.pay(tokens)
        self._wait(self._session.pace.delay(), deadline)

    def _check(self, deadline: float | None) -> None:
        """Raise NoHandshake after the deadline."""
        if deadline is not None and time.monotonic() >= deadline:
            seconds = self.server.limits.handshake_timeout
            raise NoHandshake(f"No name was given within {seconds:g} seconds. Goodbye.")

    def _read_more(self, deadline: float | None) -> bool:
        """Wait for bytes and feed them to the dialect; False at the end."""
        now = time.monotonic()
        if not self._head and not self._dialect.pending:
            self._half_since = None
        elif self._half_since is None:
            self._half_since = now
        line_end = None if self._half_since is None else self._half_since + self.server.limits.line_timeout
        until = min((each for each in (deadline, line_end) if each is not None), default=None)
        if self._session.ended.is_set():
            return False
        if line_end is not None and line_end <= now:  # looked at before reading: a flood does not put it off either
            raise UnfinishedLine(self.server.limits.line_timeout)
        self._slot.doing = _WAITS, now
        data = self._wire.read(None if until is None else until - now)
        if data:
            self._feed(data)
        return data != b""  # None: nothing yet

    def _feed(self, data: bytes) -> None:
        """Give bytes to the dialect, once it is known; raise NotChat if the client speaks another protocol."""
        self._idle_reads += 1
        if lines := data.count(b"\n"):
            self._half_since = None
            self._blank += lines
        if self._head is not None:
            self._head = without_blanks(self._head + data)
            make = recognise(self._head)
            if make is None:
                return
            data, self._head = self._head, None
            self._dialect = self._session.dialect = make(self.server.limits.replay)
            self._session.views = self._dialect.views  # it is in no room yet
        self._dialect.feed(data)

    def _slow_down(self, tokens: int, deadline: float | None = None) -> None:
        """Wait until what the client asked for is mostly read, and for the tokens that its next request costs."""
        self._session.mailbox.wait_until_easy()
        self._session.pace.pay(tokens)
        self._wait(self._session.pace.delay(), deadline)

    def _wait(self, seconds: float, deadline: float | None = None) -> None:
        """Wait, but not beyond the deadline, and not for longer than the session lasts."""
        if deadline is not None:
            seconds = min(seconds, deadline - time.monotonic())
        if seconds > 0:
            self._session.ended.wait(seconds)

    # --- the handshake --------------------------------------------------------------------------------------

    def _begin(self, deadline: float) -> bool:
        """See where the client comes from; False if it went away instead. Until it gives a name it may have to give
        way to another one."""
        if not self._by_token:
            self._wait_for_a_name()
        if not self._proxied:
            log.info("%s begins from %s", self._session, self._session.address)
        elif self._take_header(deadline):
            log.info("%s begins from %s by %s", self._session, self._session.address, self.client_address[0])
        else:
            return False
        return True

    def _take_header(self, deadline: float) -> bool:
        """Read what the proxy says of the client; False at the end of the connection. Raises NoHandshake, ServerFull,
        NoProxyHeader, and TooManyConnections."""
        try:
            header, self._first = self._read_header(deadline)
        except proxy.BadHeader as error:
            if count := self.server.headerless.happens():
                log.warning(
                    "%d connections without a PROXY header, now from %s: %s", count, self.client_address[0], error
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
        """The header and what came after it; no header at the end of the connection."""
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
        """Greet, and let the client in by a name; False if it went away instead, or lost its place to another one."""
        self._look_ahead()
        first = self._token_at_once() if self._by_token else None
        self._session.send(events.Greeting(__version__))
        for attempt in range(1, TRIES + 1):
            hello: Input | None = self._next(deadline) if first is None else first
            first = None
            while isinstance(hello, (commands.AreYouThere, commands.Help)):  # answered, and no try at a name
                self.server.service.handle(self._session, hello)
                self._slow_down(1, deadline)
                hello = self._next(deadline)
            self._session.heard = time.monotonic()
            if hello is None or not self.server.door.speaks(self._number):
                return False
            if isinstance(hello, commands.Quit):
                self._last = events.answers(self._dialect.ref, events.Bye())
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
                self._session.answer(problem(error))
                self._wait_for_a_name()
                if attempt == TRIES:
                    raise NoHandshake("That was the third try. Goodbye.") from None
        return False

    def _look_ahead(self) -> None:
        """Before the greeting, see whether the client is no chat client; raise NotChat."""
        data = self._first or (None if self._by_token else self._wire.read(GREETING_PAUSE))
        if data:
            self._feed(data)

    def _wait_for_a_name(self) -> None:
        """From now on it may lose its place to another client; raise GaveWay if it has already."""
        if not self.server.door.waits(self._number, self._session):
            raise GaveWay()

    def _token_at_once(self) -> commands.Hello | None:
        """The first that a client says for which there is a place only if it shows a token; None: it has gone away.
        Raise ServerFull if that is anything else, or too late."""
        try:
            hello = self._next(time.monotonic() + TOKEN_PAUSE)
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
        while (command := self._next()) is not None:
            session.heard = time.monotonic()
            self._slot.doing = f"obeys {type(command).__name__}", session.heard
            self._slow_down(cost(command))
            if session.ended.is_set():
                return
            if isinstance(command, commands.Quit):
                self._words = command.words
                self._last = events.answers(self._dialect.ref, events.Bye())
                return
            try:
                if isinstance(command, ChatError):
                    raise command
                if not isinstance(command, events.WireBytes):
                    self.server.service.handle(session, command)
            except CutOff:
                raise
            except ChatError as error:
                session.answer(problem(error))
            except Exception:  # a bug: this client is told, once in the log, and nobody else notices
                log.exception("%s of %s failed", type(command).__name__, session)
                session.answer(problem(Broken()))

    # --- the goodbye ----------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Leave in order, see that everything owed is sent, and only then let go of the socket."""
        session, stopping = self._session, self.server.stopping
        inside.does("says goodbye")
        self.server.service.dismiss(session, self._words, STOP_PATIENCE if stopping.is_set() else PATIENCE)
        if stopping.is_set() and session.reason is None:
            session.reason = ShuttingDown()
            self._last = (problem(session.reason), events.Bye(session.reason.code))
        owed = []
        while isinstance(answer := self._dialect.next_input(), events.WireBytes):
            owed.append(answer.data)
        if owed:  # after Ctrl-C telnet shows nothing more until its timing mark is answered
            session.send(events.WireBytes(b"".join(owed)))
        session.close(*self._last)
        # The writer has deadlines of its own, one for what it is sending and one for what is queued.
        if not session.written.wait(2 * self.server.limits.send_timeout + 10):
            log.error("%s was not written to the end", session)
        if not session.mailbox.cut or session.reason:
            self._wire.linger()
        self.server.sessions.remove(session)
        log.info("%s ends: %s", session, session.reason.code if session.reason else "it left")


def _resolved(address: tuple[str, int]) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """What to listen on, by its family: IPv4 for a name that has both. Raises socket.gaierror."""
    found = socket.getaddrinfo(bare(address[0]) or None, address[1], type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, listened_on = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, listened_on


def _in_place_of_the_greeting(error: CutOff) -> bytes:
    """Why there is none, as a line of text, whatever the client speaks."""
    return bytes(Parcel(TextDialect().views[True], (problem(error),)).data)
