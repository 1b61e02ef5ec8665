"""The accepting socket, and a reader thread for each connection.

``ChatServer`` is a ThreadingTCPServer of the standard library. Its ``acceptor`` thread only accepts connections and
starts threads. Each of these runs a ``conversation.Conversation``.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import queue
import selectors
import socket
import socketserver
import sys
import threading
import time
from collections import deque
from typing import Any, NamedTuple

from . import inside
from .addresses import Networks, bare, plain
from .conversation import NAMELESS, Conversation, Limits
from .dialects.base import DEFAULTS, Settings
from .dialects.recognise import in_place_of_the_greeting
from .disconnects import GaveWay, ServerFull
from .door import USUAL, Door, Entry
from .errors import CutOff
from .handshakes import Handshakes
from .memory import Output
from .pace import Seldom
from .service import Service
from .session import SessionStore
from .spares import Spares
from .starting import StartedThread
from .tls import Certificate
from .wire import INHERITED, prepare
from .writers import Writers

log = logging.getLogger(__name__)

BACKLOG = 1024  # connections that wait to be accepted
AT_ONCE = 64  # connections accepted one after the other on one socket
HTTP_HEAD = b"GET / HTTP/1.1\r\n"  # what a client on --web-port is taken to have sent
ACCEPT_PAUSE = 0.2  # seconds after an accept failed because of missing descriptors or memory
USUAL_INTERVAL = sys.getswitchinterval()
PATIENT = 5e-5  # seconds of the switch interval for each reader
LAST_WORDS = 1.0  # seconds that a refused connection is kept, so that it can read why
HEAD = 1024  # bytes of a refused connection's input that are looked at
MAX_READS = 16  # reads of a refused connection's input
MAX_REFUSED = 200  # refused connections kept at a time
WARNING_PAUSE = 10.0  # seconds between two warnings of proxies that send no header
LOGGED = 50  # connections logged on arrival in each LOG_PAUSE; the others are logged when they give a name
LOG_PAUSE = 10.0  # seconds between two log lines that count connections without a name
NO_PROXIES = Networks()
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class _Came(NamedTuple):
    """A connection, as its reader gets it."""

    request: socket.socket
    address: tuple[str, int]
    number: int
    entry: Entry
    browsers: bool  # it came on the port for browsers


class ChatServer(socketserver.ThreadingTCPServer):
    """Accepts connections and starts a thread ``reader-N`` for each.

    ``serve_forever`` runs in the acceptor thread. Only that thread uses the attributes under the comment "The
    acceptor's"; after it has ended, ``stop`` uses them. Any thread may use the others. ``listen_for_browsers`` is for
    the thread that made the server, before the acceptor starts.
    """

    allow_reuse_address = os.name == "posix"  # on Windows this would let two servers share a port
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
        settings: Settings = DEFAULTS,
        certificate: Certificate | None = None,
        tls_only: bool = False,
    ) -> None:
        """``proxies``: connections from these addresses begin with the PROXY protocol (see proxy). ``certificate``: for
        clients that speak TLS. ``tls_only``: refuse the others."""
        self.service = service
        self.sessions = sessions
        self.writers = writers
        self.limits = limits
        self.settings = settings
        self.output = output or Output()  # counts what waits for all sessions
        self.stopping = threading.Event()  # set by stop(), read by the readers
        self._ended: queue.SimpleQueue[int] = queue.SimpleQueue()  # numbers of readers that have ended
        self.beats = 0  # steps of the acceptor so far; set by the acceptor, read by main
        # Shared with the readers. ``proxies``, ``web_port``, ``certificate`` and ``tls_only`` never change; each of the
        # others has its own lock.
        self.door = Door(limits.max_clients, limits.per_address)
        self.spares = Spares()
        self.handshakes = Handshakes()
        self.proxies = proxies
        self.certificate = certificate
        self.tls_only = tls_only
        self.web_port: int | None = None  # of the socket for browsers, where nobody is greeted; set before the start
        self.headerless = Seldom(WARNING_PAUSE)
        self.arrivals = Seldom(LOG_PAUSE, times=LOGGED)
        self.nameless = Seldom(LOG_PAUSE)
        # The acceptor's; the stopping thread's once the acceptor has ended.
        self._readers: dict[int, StartedThread[_Came]] = {}
        self._number = 0
        self._ready: Any = None  # the listening socket on which a connection waits
        self._refused: deque[tuple[float, socket.socket]] = deque()
        self._end = threading.Event()  # set by shutdown()
        self._over = threading.Event()  # set by the acceptor at its end
        self._listening: list[socket.socket] = []  # before the base class binds: on errors it calls server_close()
        self.address_family, found = _resolved(address)
        super().__init__(found, Conversation)  # type: ignore[arg-type]
        self._listening.append(self.socket)

    def server_bind(self) -> None:
        self._prepare(self.socket)
        super().server_bind()

    def listen_for_browsers(self, port: int) -> None:
        """Also listen on this port of the same address; 0: a free one. Raises OSError."""
        sock = socket.socket(self.address_family, self.socket_type)
        self._listening.append(sock)  # so that server_close() closes it
        self._prepare(sock)
        sock.bind((self.server_address[0], port, *self.server_address[2:]))
        sock.listen(BACKLOG)
        self.web_port = sock.getsockname()[1]

    def _prepare(self, sock: socket.socket) -> None:
        sock.setblocking(False)  # so that the acceptor sees when no more connections wait
        prepare(sock, self.limits.send_timeout)  # for all connections, if INHERITED
        _share(sock)

    def server_close(self) -> None:
        super().server_close()
        for sock in self._listening:
            sock.close()

    # --- the acceptor ---------------------------------------------------------------------------------------

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """As in socketserver, but for all sockets that listen."""
        try:
            with selectors.DefaultSelector() as selector:
                for sock in self._listening:
                    selector.register(sock, selectors.EVENT_READ)
                while not self._end.is_set():
                    for key, _ in selector.select(poll_interval):
                        self._ready = key.fileobj
                        for _ in range(AT_ONCE):
                            if not self._accept():
                                break
                    self.service_actions()
        finally:
            self._over.set()  # whatever broke, shutdown() must not wait for ever

    def _accept(self) -> bool:
        """Accept a connection from the socket that is ready; False if none waits any more."""
        self.beats += 1
        try:
            request, address = self.get_request()
        except OSError:
            return False
        try:
            self.process_request(request, address)
        except Exception:
            self.handle_error(request, address)
            self.shutdown_request(request)
        return not self._end.is_set()

    def shutdown(self) -> None:
        """Make ``serve_forever`` return, and wait for that."""
        self._end.set()
        self._over.wait()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        try:
            request, address = super().get_request() if self._ready is self.socket else self._ready.accept()
            if not INHERITED:
                prepare(request, self.limits.send_timeout)
            return request, (plain(address[0]), address[1])
        except OSError as error:
            if error.errno in _EXHAUSTED:  # without a pause, the loop would spin on the waiting connection
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
        except Exception:  # without memory it may have been counted already
            self.door.leave(number)
            raise
        try:
            if entry.instead_of:
                entry.instead_of.cut_off(GaveWay())
            came = _Came(request, client_address, number, entry, self._ready is not self.socket)
            thread = self._readers[number] = StartedThread(self._read, came, f"reader-{number}")
            thread.start()
            if entry is not USUAL:  # a flood must not take places faster than readers can read names
                thread.wait_for_its_beginning()
        except Exception as error:
            self._readers.pop(number, None)
            self.door.leave(number)
            if not isinstance(error, (RuntimeError, MemoryError)):
                raise
            # The system cannot start more threads.
            self._refuse(request, client_address, ServerFull("no thread could be started for you"))

    def _refuse(self, request: socket.socket, address: tuple[str, int], error: CutOff) -> None:
        """Send the reason, without a thread and without waiting. The connection is closed a little later."""
        self.sessions.refused(error)
        if self.arrivals.happens():
            log.info("refused a connection from %s: %s", address[0], error.code)
        elif count := self.nameless.happens():
            log.info(NAMELESS, count, address[0], error.code)
        with contextlib.suppress(OSError):
            request.setblocking(False)
            head = HTTP_HEAD if request.getsockname()[1] == self.web_port else b""
            with contextlib.suppress(BlockingIOError):
                head = request.recv(HEAD, socket.MSG_PEEK)  # of a browser, which reads only answers by HTTP
            request.send(in_place_of_the_greeting(error, head))
            request.shutdown(socket.SHUT_WR)
        self._refused.append((time.monotonic() + LAST_WORDS, request))

    def service_actions(self) -> None:
        """Called by serve_forever between two connections, and at least four times a second."""
        self.beats += 1
        self._join_ended()
        self._widen_switch_interval()
        now = time.monotonic()
        while self._refused and (self._refused[0][0] <= now or len(self._refused) > MAX_REFUSED):
            request = self._refused.popleft()[1]
            with contextlib.suppress(OSError):
                for _ in range(MAX_READS):  # closing with unread input would reset the connection
                    if not request.recv(65536):
                        break
            request.close()
            self.beats += 1

    def _join_ended(self) -> None:
        while not self._ended.empty():
            self._readers.pop(self._ended.get()).join()
            self.beats += 1  # if thousands end at once, each may wait for the interpreter's lock

    def _widen_switch_interval(self) -> None:
        """Let all readers together check the interpreter's lock at most 20,000 times a second. When thousands of
        readers wake at once, as after a network failure, each waits for that lock and checks it again after the
        switch interval. With the default of 5 ms, these checks alone would take longer than the readers' work."""
        sys.setswitchinterval(max(USUAL_INTERVAL, PATIENT * len(self._readers)))

    def handle_error(self, request: object, client_address: object) -> None:
        log.exception("a connection from %s was not accepted", client_address)

    # --- the readers ----------------------------------------------------------------------------------------

    def _read(self, came: _Came) -> None:
        try:
            Conversation(came.request, came.address, self, came.number, came.entry, came.browsers)
        except Exception:
            if self.sessions.knows(came.number):  # it did not say goodbye, and would stay in its rooms for ever
                raise
            log.exception("the conversation with %s broke", came.address[0])
        finally:
            self.close_request(came.request)
            inside.leave()
            self.door.leave(came.number)
            self._ended.put(came.number)

    # --- the stopping thread --------------------------------------------------------------------------------

    def stop(self, timeout: float) -> list[str]:
        """End every conversation and join the readers, after ``serve_forever`` has returned. Return the names of
        readers that did not end in time."""
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


def try_to_listen(address: tuple[str, int]) -> None:
    """Raise the OSError that a server would get if it listened there. Nothing listens there afterwards."""
    family, found = _resolved(address)
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        _share(sock)
        sock.bind(found)


def _share(sock: socket.socket) -> None:
    """Before it is bound: let it have a port whose last connections are not quite over, and serve IPv4 as well."""
    if ChatServer.allow_reuse_address:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family == socket.AF_INET6:  # :: also serves IPv4, whatever the system's default is
        with contextlib.suppress(OSError):  # if the system cannot do that
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)


def _resolved(address: tuple[str, int]) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """The family and address to listen on: IPv4 for a name that has both. Raises socket.gaierror."""
    host, port = bare(address[0]) or None, address[1]
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError as error:  # an empty or too long part between dots, among others
        raise socket.gaierror(socket.EAI_NONAME, "it is no name of a host") from error
    family, _, _, _, listened_on = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, listened_on
