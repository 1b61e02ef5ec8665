"""A connected socket with two threads. The reader may wait in ``read``. ``send`` never waits; a thread that serves one
client alone may wait in ``wait_writable``.

The reader's and the writer's calls may run at the same time, on one socket object. On Linux the socket is blocking, so
that a waiting reader costs one system call, and writers send with MSG_DONTWAIT. Windows lacks that flag, and macOS
ignores it when sending. There the socket is non-blocking, and the reader first waits until there is something to read.
"""

from __future__ import annotations

import array
import contextlib
import select
import socket
import struct
import sys
import time
from collections.abc import Callable

LINUX = sys.platform.startswith("linux")
if LINUX:
    import fcntl
    import termios
NOWAIT: int = socket.MSG_DONTWAIT if LINUX else 0
INHERITED = LINUX  # whether an accepted socket has the options of the one that listened
IDLE = 60.0  # seconds after which a reader wakes that waits without a timeout; the system keeps the time
LOOK = 1.0  # seconds after which the reader of a non-blocking socket checks whether it should stop
READ_SIZE = 4096  # bytes, at most
LEAST_READ = 448  # bytes; a waiting reader holds a buffer of this size, unless it has just read more
LINGER = 2.0  # seconds to keep reading after the last word, so that it arrives
SLACK = 3.0  # extra seconds for the system's timeout, so that the writers' timeout comes first and is logged
_TCP_INFO_RTT = 68  # offset of tcpi_rtt, microseconds, in Linux's struct tcp_info


def prepare(sock: socket.socket, patience: float) -> None:
    """Set the options of a socket that is connected, or will be. One that listens hands them on if INHERITED.

    The system drops a peer that, for ``patience`` + SLACK seconds, acknowledges neither data (TCP_USER_TIMEOUT, Linux
    only; RFC 5482) nor keepalive probes.
    """
    options = (
        (socket.SOL_SOCKET, "SO_OOBINLINE", 1),  # telnet marks an interrupt with urgent data (RFC 854)
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", int(1000 * (patience + SLACK))),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", max(1, min(60, int(patience / 3)))),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", max(1, min(15, int(patience / 6)))),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 4),
    )
    with contextlib.suppress(OSError):  # the peer may be gone already
        for level, option, value in options:
            if hasattr(socket, option):
                sock.setsockopt(level, getattr(socket, option), value)
        if LINUX:  # once for all connections, because Python tries each such call with an integer first, which fails
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(IDLE))


class Wire:
    """Owns one connected socket. ``read``, ``wake_after`` and ``linger`` are for the reader; ``send``, ``put`` and
    ``wait_writable`` for the thread that writes at the time; ``stop_reading``, ``unacknowledged`` and ``rtt`` for any
    thread, even when the socket is closed. The server closes the socket at the end of the reader's thread, when no
    writer has the wire any more.

    ``put(data, nowait)`` is the socket's own ``send``, for a thread that writes to many clients. It raises
    BlockingIOError if the system takes nothing, and its caller adds to ``sent``. If it leaves something in ``unsent``,
    its caller calls it again, with or without more, or ``put_rest``, which does no more than send that.
    """

    __slots__ = ("_sock", "nowait", "put", "sent", "unsent", "_size", "stopped", "lost", "relayed")  # as in Mailbox

    def __init__(self, sock: socket.socket, nowait: int = NOWAIT) -> None:
        """``sock``: prepared by ``prepare``."""
        self._sock = sock
        self.nowait = nowait
        self._set_put()
        # What ``put`` has taken and the system has not: nothing here, see SecureWire. The writing thread's.
        self.unsent: bytes | memoryview = b""
        self._size = LEAST_READ  # bytes to ask for; the reader's
        self.stopped = False  # set by stop_reading, read by the reader
        self.relayed = False  # whether a proxy is the peer, and not the client; the reader's
        self.lost = ""  # how the connection broke, so that nobody knows what the peer has read; "": not; the reader's
        self.sent = 0  # bytes so far; set by the writing thread, read by any
        if (sock.gettimeout() is None) is not bool(nowait):
            sock.setblocking(bool(nowait))

    def _set_put(self) -> None:
        self.put: Callable[[bytes | memoryview, int], int] = self._sock.send

    @property
    def hung_up(self) -> bool:
        """Whether the client has ended its input, even if not everything from it has been read. It may still read.
        Only Linux tells."""
        return hasattr(select, "POLLRDHUP") and self._polls(select.POLLRDHUP)

    @property
    def dead(self) -> bool:
        """Whether the client reads nothing any more: the connection was reset, which is the answer of the client's
        system to what is sent to a client that has gone."""
        return hasattr(select, "POLLHUP") and self._polls(select.POLLHUP | select.POLLERR)

    def _polls(self, events: int) -> bool:
        poll = select.poll()
        try:
            poll.register(self._sock, events)
        except ValueError:  # it is closed
            return True
        return any(found & events for _, found in poll.poll(0))

    @property
    def private(self) -> bool:
        """Whether nobody on the way can read what is sent. A proxy is the operator's, and may have ended TLS."""
        return self.relayed

    def read(self, timeout: float | None = None) -> bytes | None:
        """Return the next bytes. None: nothing came within ``timeout`` seconds, or a shorter time; call again.

        b"" is the end: the peer has closed, the connection is broken, or ``stop_reading`` was called.
        """
        if not self.nowait:
            timeout = LOOK if timeout is None else min(timeout, LOOK)
        try:
            try:
                data = self._sock.recv(self._size, 0 if timeout is None else self.nowait)
            except BlockingIOError:  # nothing has come yet
                if timeout is None or not _ready(self._sock, "read", timeout):
                    return b"" if self.stopped else None
                data = self._sock.recv(self._size)
        except BlockingIOError:
            return None
        except OSError:
            self.lost = "it left"
            return b""
        if data[LEAST_READ - 1 :]:
            if self._size == LEAST_READ:
                data += self._rest()
            self._size = READ_SIZE
        else:
            self._size = LEAST_READ
        return data

    def _rest(self) -> bytes:
        """What has come besides the bytes that filled a small buffer. So lines that came together are handled
        together, and reach the history as one batch."""
        try:
            return self._sock.recv(READ_SIZE - LEAST_READ, self.nowait)
        except BlockingIOError:
            return b""
        except OSError:
            self.lost = "it left"
            return b""

    def wake_after(self, seconds: float) -> None:
        """From now on, a ``read`` without a timeout returns None if nothing comes for so long; before, it is IDLE. The
        reader of a non-blocking socket wakes every LOOK seconds anyway."""
        if self.nowait:
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(seconds))

    def send(self, data: bytes | memoryview) -> int:
        """Send without waiting; return the number of bytes that the system took, maybe 0. OSError: the peer is gone."""
        try:
            sent = self._sock.send(data, self.nowait)
        except BlockingIOError:
            return 0
        self.sent += sent
        return sent

    def put_rest(self, nowait: int) -> None:
        """Send what is in ``unsent``: here nothing. Raises as ``put``."""

    def wait_writable(self, timeout: float) -> bool:
        """Wait until ``send`` can send something; False after the timeout."""
        return _ready(self._sock, "write", timeout)

    def stop_reading(self) -> None:
        """Make the reader see the end of input, after the bytes that have already arrived. The reader may be waiting in
        ``read``."""
        self.stopped = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)

    def linger(self, seconds: float = LINGER) -> None:
        """Close the sending side, and discard input for up to ``seconds``.

        Closing a socket with unread input resets the connection, and the peer could lose our last words. After
        ``stop_reading`` this reads only what has already arrived, and does not wait.
        """
        deadline = time.monotonic() + seconds
        try:
            self._sock.shutdown(socket.SHUT_WR)
            while time.monotonic() <= deadline:
                try:
                    if not self._sock.recv(READ_SIZE, self.nowait):
                        return
                except BlockingIOError:
                    _ready(self._sock, "read", deadline - time.monotonic())
        except OSError:
            return

    def unacknowledged(self) -> int | None:
        """How many bytes the system has taken of which it does not know yet that they have arrived at the client's
        system (tcp(7), SIOCOUTQ). None: nobody can tell. It says nothing of ``unsent``."""
        if not LINUX or self.relayed:
            return None
        count = array.array("i", [0])
        try:
            fcntl.ioctl(self._sock, termios.TIOCOUTQ, count)
        except (OSError, ValueError):  # it is closed
            return None
        return count[0]

    def rtt(self) -> float | None:
        """TCP's own estimate of the round trip, in seconds; None if the system has none."""
        if not hasattr(socket, "TCP_INFO"):
            return None
        try:
            info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_RTT + 4)
        except OSError:
            return None
        return struct.unpack_from("=I", info, _TCP_INFO_RTT)[0] / 1e6 if len(info) >= _TCP_INFO_RTT + 4 else None


def _timeval(seconds: float) -> bytes:
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))


def _ready(sock: socket.socket, what: str, timeout: float | None) -> bool:
    """Wait until the socket can be read or written, or is broken. Uses poll, because select ends at descriptor 1023."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN if what == "read" else select.POLLOUT)
        return bool(poll.poll(None if timeout is None else max(0.0, timeout) * 1000))
    lists: tuple[list[socket.socket], list[socket.socket]] = ([sock], []) if what == "read" else ([], [sock])
    return any(select.select(*lists, [], timeout))
