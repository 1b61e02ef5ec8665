"""Chat builds the whole server from its parts, starts it, and stops it cleanly. Nothing else does."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from . import inside
from .accounts import Accounts, Plain
from .addresses import Networks
from .chatroom import ChatRoom
from .conversation import Limits
from .dialects.base import Settings
from .ends import Vital
from .errors import StartError, Unreadable
from .governance import governed
from .history import History
from .lab import Faults
from .memory import Output, Shares
from .ordered import AccountEnded, AccountStored
from .publisher import Publisher
from .reach import home
from .register import LOBBY
from .rules import fold
from .server import NO_PROXIES, ChatServer, try_to_listen
from .service import Insight, Service
from .session import SessionStore
from .storage import Storage
from .storage_errors import StorageError
from .tls import Certificate
from .tokens import new_token
from .trace import Recorder, TraceFile
from .watched import WatchedCrew, WatchedHistory, WatchedOnePerSession, WatchedPublisher, WatchedStorage
from .writers import Crew, OnePerSession, Writers

log = logging.getLogger(__name__)

STOP_WITHIN = 4.0  # seconds for everything to end; after half of it, the writers stop waiting for sockets
POLL = 0.25  # seconds after which the acceptor checks whether it should stop
DAY = 86_400  # seconds


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that can be set. Defaults as on the command line."""

    host: str = "0.0.0.0"
    port: int = 8080
    web_port: int | None = None  # for browsers only; nobody is greeted there
    proxies: Networks = NO_PROXIES  # connections from these begin with the PROXY protocol
    origins: frozenset[str] = frozenset()  # of web pages that may connect, besides our own
    tls_cert: str | None = None  # a file; None: nobody can speak TLS
    tls_key: str | None = None  # a file; None: it is in that of the certificate
    tls_only: bool = False
    plain_passwords: Plain = "warn"  # passwords without TLS from other machines
    operators: tuple[str, ...] = ()  # accounts that are operators of the server, by name
    operator_token: bool = False  # whether a server without an operator makes a token for the first one
    db: str = "chat_threads.db"
    cluster: str | None = None  # the URL of a PostgreSQL database; None: the server is alone
    sync: str = "normal"
    retain_days: float | None = None
    replay: int = 20  # messages shown on entering a room
    writers: int | None = 2  # None: one per session
    motd: tuple[str, ...] = ()
    lab: bool = False
    trace: str | None = None  # a file
    trace_limit: int = 1_000_000  # events
    metrics_from: Networks = NO_PROXIES  # these see the metrics, besides the server's own machine
    memory: int = 256  # MB, for what is held for clients; see memory.Shares
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class _Makers:
    """The classes of the parts that exist in several kinds: plain, watched, and in a cluster."""

    storage: Callable[..., Storage] = Storage
    history: Callable[..., History] = History
    publisher: Callable[..., Publisher] = Publisher
    crew: Callable[..., Writers] = Crew
    one_per_session: Callable[..., Writers] = OnePerSession
    sessions: Callable[..., SessionStore] = SessionStore


def _watched(recorder: Recorder, faults: Faults) -> _Makers:
    return _Makers(
        partial(WatchedStorage, recorder=recorder),
        partial(WatchedHistory, recorder=recorder, faults=faults),
        partial(WatchedPublisher, recorder=recorder),
        partial(WatchedCrew, recorder=recorder, faults=faults),
        partial(WatchedOnePerSession, recorder=recorder, faults=faults),
    )


class Chat:
    """The whole server. Raises StartError; ``start`` and ``stop`` are for the thread that made it."""

    def __init__(self, options: Options) -> None:
        limits = options.limits
        if options.port and options.port == options.web_port:
            raise StartError(f"--port and --web-port are both {options.port}. Give --web-port another one.")
        self.certificate = _certificate(options)
        self.trace = TraceFile(options.trace, options.trace_limit) if options.trace else None
        recorder = Recorder(self.trace) if options.lab or self.trace else None
        locks = inside.Locks(counted=recorder is not None)
        self.faults = Faults(lambda: locks.named("Publisher"))
        shares = Shares.of(options.memory)
        make = _Makers() if recorder is None else _watched(recorder, self.faults)
        self.cluster = None
        if options.cluster:
            from .cluster.server import Cluster

            self.cluster = Cluster(options.cluster)
            make = self.cluster.makers(make, recorder, self.faults)
        self.writers: Writers | None = None
        try:
            if not os.path.exists(options.db):  # so that no new file is left by a server that cannot listen
                _try_to_listen(options)
            self.storage = make.storage(options.db, options.sync)
        except BaseException:
            self._end_trace(1.0)
            raise
        try:
            self._forget_unused_rooms()
            self.sessions = make.sessions(locks.count("SessionStore"))
            self.operator_token = new_token() if options.operator_token else ""  # "": there is an operator
            self.accounts = Accounts(options.plain_passwords, options.operators)
            output = Output(shares.output, self.sessions.relieve)
            self.history = make.history(
                self.storage,
                options.retain_days,
                time.time,
                self.sessions.identities,
                shares.refs,
                self._accounts_changed,
            )
            count_writers = locks.count("Writers")
            self.writers = writers = (
                make.one_per_session(limits.send_timeout, count_writers)
                if options.writers is None
                else make.crew(options.writers, limits.send_timeout, count_writers, self.certificate is not None)
            )
            self.publisher = make.publisher(
                schedule=writers.schedule,
                newest=lambda room, number, count: self.storage.page(room, number + 1, None, count, bounded=True),
                newer=lambda room, number, count: self.storage.page(room, None, number, count, bounded=True),
                enqueue=self.history.enqueue,
                retain=None if options.retain_days is None else options.retain_days * DAY,
                count=locks.count("Publisher"),
                recent_bytes=shares.recent,
                output=output,
            )
            if recorder:
                locks.named("Publisher").observe = recorder.publisher_used
            self._restore_rooms()
            if self.cluster:
                self.cluster.restore()
            self.sessions.know(self.storage.names())
            self._restore_accounts()
            insight = Insight(locks, self.faults if options.lab else None, recorder, options.metrics_from)
            self.service = Service(
                self.publisher,
                self.sessions,
                self.history,
                options.motd,
                insight,
                lambda: home(*self.web_address, self.certificate is not None),
                self.accounts,
            )
            self.server = _listen(options, self.service, self.sessions, writers, output, self.certificate)
        except BaseException as error:
            if self.cluster:
                self.cluster.engine.close()
            if self.writers:
                self.writers.stop(1.0)
            self.storage.close()
            self._end_trace(1.0)
            if isinstance(error, Unreadable):
                raise StartError(str(error)) from error
            raise
        self._flush = writers.flush if recorder is None else recorder.waiting(writers.flush)
        self._acceptor = threading.Thread(target=self._accept, args=(POLL,), name="acceptor", daemon=True)

    def _end_trace(self, timeout: float) -> bool:
        return self.trace is None or self.trace.stop(timeout)

    def _accept(self, poll: float) -> None:
        inside.run("acceptor", "accepts connections", lambda: self.server.serve_forever(poll))

    def _forget_unused_rooms(self) -> None:
        """Forget unused rooms that are left over because the server was killed or the disk was full."""
        try:
            self.storage.forget_unused_rooms(fold(LOBBY))
        except StorageError as error:
            log.warning("unused rooms are still in the file: %s", error)

    def _restore_rooms(self) -> None:
        stored = self.storage.rooms()
        rules = governed(stored, self.storage.governed())
        self.publisher.restore(
            [
                ChatRoom(
                    *(room.id, room.name, room.key, room.creator, room.topic, room.last, room.owner),
                    governance=rules.get(room.id),
                )
                for room in stored
            ],
            self.storage.highest_room() + 1,
        )
        if fold(LOBBY) not in {room.key for room in stored}:
            self.publisher.create_chat_room(LOBBY, "chat_threads")

    def _restore_accounts(self) -> None:
        for account in self.storage.accounts():
            self.sessions.reserve(account.name, account.id)
            self.accounts.change([AccountStored(account, 0, None)])
        if self.operator_token and not self.accounts.has_operator():
            self.accounts.expect_operator(self.operator_token)
        else:
            self.operator_token = ""

    def _accounts_changed(self, changes: Sequence[AccountStored]) -> None:
        """For the history thread: these changes are stored."""
        self.accounts.change(changes)
        for change in changes:
            if isinstance(change, AccountEnded):
                self.sessions.unreserve(change.account.name)
            else:  # it may have been made on another server
                self.sessions.reserve(change.account.name, change.account.id)

    @property
    def address(self) -> tuple[str, int]:
        return self.server.server_address[:2]  # type: ignore[return-value]

    @property
    def web_address(self) -> tuple[str, int]:
        """Where browsers are sent to."""
        return self.address[0], self.server.web_port or self.address[1]

    def vital(self) -> list[Vital]:
        """The threads that serve everybody, after they have started."""
        assert self.writers is not None
        return [(self._acceptor, self.server.beats), (self.history.thread, None), *self.writers.vital()]

    def start(self) -> None:
        dispatch = self.publisher.dispatch_messages
        self.history.start(dispatch, self.service.refuse, self.service.announce, self._flush)
        if self.cluster:
            self.cluster.start()
        self._acceptor.start()

    def stop(self) -> list[str]:
        """Promise 4: tell everybody, send all pending output within a deadline, join every thread, close the file.

        Returns the names of threads that did not end within STOP_WITHIN seconds. They are daemons, so the process can
        still end.
        """
        assert self.writers is not None
        deadline = time.monotonic() + STOP_WITHIN

        def left() -> float:
            return max(0.1, deadline - time.monotonic())

        if self.cluster:
            self.cluster.history.hurry()
        remain = self.faults.stop(left())
        if self._acceptor.is_alive():
            self.server.shutdown()
            self._acceptor.join(left())
        self.server.server_close()
        self.publisher.be_quiet()
        self.writers.give_up_within(left() / 2)
        remain += self.server.stop(left())
        if self.cluster:
            remain += self.cluster.stop(left() / 2)
        ended = self.history.stop(left())
        if not ended:
            remain.append("history")
        remain += self.writers.stop(left())
        if ended and not any(name.startswith("reader") for name in remain):
            self.storage.close()  # otherwise a thread may still use it; the file is safe as it is
        if not self._end_trace(left()):
            remain.append("trace")
        for name in remain:
            log.error("thread %s did not end", name)
        return remain


def _certificate(options: Options) -> Certificate | None:
    if options.tls_cert:
        return Certificate(options.tls_cert, options.tls_key)
    if options.tls_key or options.tls_only:
        option = "--tls-key" if options.tls_key else "--tls-only"
        raise StartError(f"The option {option} needs a certificate. Give one with --tls-cert.")
    return None


def _try_to_listen(options: Options) -> None:
    """Raise StartError if the server cannot listen."""
    for port, option in ((options.port, "--port"), (options.web_port, "--web-port")):
        if port is not None:
            with _explained(options.host, port, option):
                try_to_listen((options.host, port))


def _listen(
    options: Options,
    service: Service,
    sessions: SessionStore,
    writers: Writers,
    output: Output,
    certificate: Certificate | None,
) -> ChatServer:
    with _explained(options.host, options.port, "--port"):
        server = ChatServer(
            (options.host, options.port),
            service,
            sessions,
            writers,
            options.limits,
            output,
            options.proxies,
            Settings(options.replay, options.origins, options.lab),
            certificate,
            options.tls_only,
        )
    if options.web_port is not None:
        try:
            with _explained(options.host, options.web_port, "--web-port"):
                server.listen_for_browsers(options.web_port)
        except BaseException:
            server.server_close()
            raise
    return server


@contextlib.contextmanager
def _explained(host: str, port: int, option: str) -> Iterator[None]:
    """Raise StartError if the server cannot listen there. It says which option to change."""
    try:
        yield
    except socket.gaierror as error:
        raise StartError(f"The address {host} cannot be resolved: {error.strerror}.") from error
    except PermissionError as error:
        raise StartError(f"This user may not use port {port}. Take one above 1023, such as {option} 8080.") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartError(f"Port {port} is in use by another program. Choose another with {option}.") from error
        if error.errno == errno.EADDRNOTAVAIL:
            told = f"This machine does not have the address {host}."
            raise StartError(f"{told} Give --host one of its own, or 0.0.0.0 for all of them.") from error
        raise StartError(f"Cannot listen on {host} port {port}: {error.strerror}.") from error
