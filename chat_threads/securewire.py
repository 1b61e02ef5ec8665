"""A Wire whose bytes are encrypted by TLS."""

from __future__ import annotations

import contextlib
import ssl
import time
from itertools import count

from .latch import Latch
from .tls import RECORD, Channel, Violation, reason
from .wire import LINGER, Wire

HANDSHAKE = 10.0  # seconds for the TLS handshake
PIECES = 8  # reads that may bring no text; a record that comes at once takes four
PAUSE = 0.05  # seconds before each further one, because --rate counts only what brings text; meanwhile more comes
MANY_PIECES = 4 * PIECES  # after so many, the pause is longer: a thousand updates of the keys take 8 milliseconds
LONG_PAUSE = 0.2
FORGIVEN = 2  # of these reads, by each one that brings text; a record brings it in up to four


class SecureWire(Wire):
    """A Wire whose bytes are encrypted. Made by the reader, which calls ``shake`` before anything else is read.

    ``put`` takes all bytes that it encrypts. What the system does not take of them stays in ``unsent``, and the next
    call sends that first; so the caller comes back until ``unsent`` is empty.

    A thread that writes to many clients may first call ``seal`` for some of them.
    """

    __slots__ = ("lock", "_channel", "_shaken", "_stop", "_pieces")  # as in Mailbox

    def __init__(self, plain: Wire, channel: Channel) -> None:
        """``plain``: the wire whose place it takes, to which nothing was sent."""
        super().__init__(plain._sock, plain.nowait)
        self.relayed = plain.relayed
        self._channel = channel
        self.lock = channel.lock  # for ``seal``; a few other wires may share it
        self._shaken = False  # set by the reader: whether the handshake is done
        self._pieces = 0  # reads that brought no text and are not forgiven; the reader's
        self._stop = Latch()  # set by stop_reading

    def _set_put(self) -> None:
        """Here ``put`` is a method."""

    @property
    def private(self) -> bool:
        return True

    # --- the reader -----------------------------------------------------------------------------------------

    def shake(self, data: bytes, deadline: float) -> None:
        """Do the handshake with a client that has sent ``data``. Raises Violation, also at the deadline, a time by
        time.monotonic()."""
        for pieces in count(1):
            try:
                done, answer = self._channel.shake(data)
            except ssl.SSLError as error:
                self._tell(self._channel.farewell())
                raise Violation(reason(error)) from None
            self._tell(answer)
            if done:
                self._shaken = True
                return
            self._pause_after(pieces)
            left = deadline - time.monotonic()
            received = super().read(left) if left > 0 else None
            if received == b"":
                raise Violation("it left during the TLS handshake")
            if received is None and deadline <= time.monotonic():
                raise Violation("it did not finish the TLS handshake in time")
            data = received or b""

    def _tell(self, data: bytes) -> None:
        """Send a few bytes of the handshake, for which an unused connection has room."""
        with contextlib.suppress(OSError):  # the reader sees the end
            if self._sock.send(data, self.nowait) < len(data):
                self.stop_reading()

    def read(self, timeout: float | None = None) -> bytes | None:
        """As in Wire. If only a part of a record has come, this waits for the rest of it."""
        until = None if timeout is None else time.monotonic() + timeout
        try:
            plain = self._channel.decrypt()
            while plain is None:
                received = super().read(timeout)
                if not received:
                    return received
                plain = self._channel.decrypt(received)
                if plain is None:
                    self._pieces += 1
                    self._pause_after(self._pieces)
                if until is not None:
                    timeout = max(0.0, until - time.monotonic())
        except Violation as error:
            self.lost = f"TLS: {error}"
            return b""
        if self._pieces:
            self._pieces = max(0, self._pieces - FORGIVEN)
        return plain

    def _pause_after(self, pieces: int) -> None:
        """Wait if so many reads without any text are too many."""
        if pieces > PIECES:
            self._stop.wait(PAUSE if pieces <= MANY_PIECES else LONG_PAUSE)

    def linger(self, seconds: float = LINGER) -> None:
        if self._shaken and not self.unsent:
            self._tell(self._channel.farewell())
        super().linger(seconds)

    # --- any thread ----------------------------------------------------------------------------------------------

    def stop_reading(self) -> None:
        super().stop_reading()
        self._stop.set()

    # --- the thread that writes -------------------------------------------------------------------------------

    def seal(self, data: bytes) -> bytes:
        """Take these bytes as ``put`` does, but leave them encrypted in ``unsent``. Return what is taken: all of it, or
        nothing if that cannot be done now. For a caller that holds ``lock``, because it seals for several wires.

        One encryption after another finds OpenSSL's code in the processor's cache. After a ``send`` it is not there.
        Besides, neighbours share a lock. Raises ssl.SSLError; ``put`` meets it again.
        """
        if self.unsent or len(data) > RECORD or not self._shaken:
            return b""
        self.unsent = self._channel.encrypt_next(data)
        return data

    def put(self, data: bytes | memoryview, nowait: int) -> int:
        if not self._shaken:  # only the reason for the end is sent so early, and the client could not read that
            return len(data)
        if self.unsent:
            self.put_rest(nowait)
        taken = 0
        while taken < len(data) and not self.unsent:
            piece = data if len(data) <= RECORD else memoryview(data)[taken : taken + RECORD]
            encrypted = self._channel.encrypt(piece)
            taken += len(piece)
            try:
                sent = self._sock.send(encrypted, nowait)
            except BlockingIOError:
                sent = 0
            if sent < len(encrypted):
                self.unsent = memoryview(encrypted)[sent:]
        return taken

    def put_rest(self, nowait: int) -> None:
        try:
            self.unsent = self.unsent[self._sock.send(self.unsent, nowait) :]
        except BlockingIOError:
            raise
        except OSError:  # the peer is gone
            self.unsent = memoryview(b"")
            raise

    def send(self, data: bytes | memoryview) -> int:
        try:
            sent = self.put(data, self.nowait)
        except BlockingIOError:
            return 0
        self.sent += sent
        return sent
