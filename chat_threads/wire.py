"""A connected socket as its threads see it: one reads and may wait, one writes and may not.

The reader's and the writer's calls may run at the same time, on one socket object. It stays in blocking mode,
so that a reader that waits costs one system call, and writers send with MSG_DONTWAIT. That is Linux's: Windows
has no such flag, and macOS ignores it when sending. There the socket does not block, and the reader first waits
until there is something to read.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import sys
import time

NOWAIT: int = socket.MSG_DONTWAIT if sys.platform.startswith("linux") else 0
LOOK = 1.0  # seconds after which a reader on a socket that does not block looks whether it is to stop
READ_SIZE = 4096  # bytes; a waiting reader holds a buffer of this size
LINGER = 2.0  # seconds to go on reading after the last word, so that it arrives
SLACK = 3.0  # seconds more for the system than for the writers: who just reads slowly is to be told so by them
_TCP_INFO_RTT = 68  # offset of tcpi_rtt, microseconds, in Linux's struct tcp_info


class Wire:
    """Owns one connected socket. ``read``, ``linger`` and ``close`` are the reader's; ``send`` and
    ``wait_writable`` belong to whichever thread writes at the time; ``stop_reading`` and ``rtt`` are anybody's
    until ``close``, which the reader calls last, once no writer has the wire."""

    def __init__(self, sock: socket.socket, nowait: int = NOWAIT, patience: float = 30.0) -> None:
        """A peer that confirms nothing for ``patience`` seconds, and SLACK, has vanished. That holds for what was
        sent to it (TCP_USER_TIMEOUT, Linux's; RFC 5482) and for the probes of a connection that is idle."""
        self._sock = sock
        self._nowait = nowait
        self._stopped = False  # set by stop_reading, read by the reader
        self.sent = 0  # bytes, so far; set by whoever writes, read anywhere
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
        sock.setblocking(bool(nowait))

    def read(self, timeout: float | None = None) -> bytes | None:
        """What has come, at least a byte. None: nothing within ``timeout`` seconds, or sooner; read again.

        b"" is the end: the peer's, a broken connection's, or ``stop_reading``'s.
        """
        if not self._nowait:
            timeout = LOOK if timeout is None else min(timeout, LOOK)
        if timeout is not None and not _ready(self._sock, "read", timeout):
            return b"" if self._stopped else None
        try:
            return self._sock.recv(READ_SIZE)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def send(self, data: bytes | memoryview) -> int:
        """Send without waiting; return how many bytes the system took, maybe 0. OSError: the peer is gone."""
        try:
            sent = self._sock.send(data, self._nowait)
        except BlockingIOError:
            return 0
        self.sent += sent
        return sent

    def wait_writable(self, timeout: float) -> bool:
        """Wait until ``send`` can do something; False when the time is up."""
        return _ready(self._sock, "write", timeout)

    def stop_reading(self) -> None:
        """Make the reader, waiting or not, see the end, once it has read what had come."""
        self._stopped = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)

    def linger(self, seconds: float = LINGER) -> None:
        """Say that nothing more will be sent, and read away what still comes, for a while at most.

        Closing with unread input would reset the connection, and the peer could lose our last words. After
        ``stop_reading`` this reads what has come already, and does not wait.
        """
        deadline = time.monotonic() + seconds
        try:
            self._sock.shutdown(socket.SHUT_WR)
            while _ready(self._sock, "read", max(0.0, deadline - time.monotonic())):
                if not self._sock.recv(READ_SIZE) or time.monotonic() > deadline:
                    return
        except OSError:
            return

    def close(self) -> None:
        self._sock.close()

    def rtt(self) -> float | None:
        """TCP's own estimate of the round trip, in seconds; None where the system does not tell."""
        if not hasattr(socket, "TCP_INFO"):
            return None
        try:
            info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_RTT + 4)
        except OSError:
            return None
        return struct.unpack_from("=I", info, _TCP_INFO_RTT)[0] / 1e6 if len(info) >= _TCP_INFO_RTT + 4 else None


def _ready(sock: socket.socket, what: str, timeout: float | None) -> bool:
    """Wait until the socket can be read or written, or is broken. poll, for select ends at descriptor 1023."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN if what == "read" else select.POLLOUT)
        return bool(poll.poll(None if timeout is None else max(0.0, timeout) * 1000))
    lists: tuple[list[socket.socket], list[socket.socket]] = ([sock], []) if what == "read" else ([], [sock])
    return any(select.select(*lists, [], timeout))
