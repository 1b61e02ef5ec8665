"""TLS in memory, for a connection that two threads use: one reads, one writes.

Two threads must not use an SSL object of Python at the same time. If it had the socket, a thread that waits in it for
the network would keep the other one out. So here it has no socket. ``Channel`` turns plain bytes into encrypted ones
and back, under a lock. ``securewire`` sends and receives them for the server, ``client.connection`` for a client.
``Certificate`` is what the server shows.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from .errors import StartError

log = logging.getLogger(__name__)

READ_SIZE = 4096  # plain bytes that are taken at a time, at most
RECORD = 16_384  # bytes of plain text in a record, at most (RFC 8446, section 5.1)
HELLO = b"\x16"  # what a TLS client sends first: the type of a handshake record
MOST_SILENT = 2 * RECORD  # encrypted bytes that may come without a byte of plain text
LEAST_COUNTED = 64  # bytes that each piece counts as, at least, because taking a small one costs as much
SHARERS = 8  # connections that share an Outgoing: as many as a writer serves at a time
LONGEST = 1 << 20  # bytes of a file with a certificate or a key that are looked at, to say what is wrong with it
LAST_PART = 0.1  # of a certificate's time, in which loading it logs a warning; certbot renews it earlier
NO_CHECK_TIME = ssl.VerifyFlags(0x200000)  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module does not name
MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")  # the last: RSA and EC, say
MOST_WAITING = 4 * RECORD  # bytes of TLS's own answers that may wait for the writer


class Violation(Exception):
    """The peer broke the rules of TLS. The text says how."""


class Outgoing:
    """The buffer into which up to SHARERS connections encrypt, one after the other, and its lock.

    A buffer of its own for each connection would be as long as its longest batch. With a thousand of them, none would
    be in the processor's cache when its turn comes. The connections began one after the other, so a handshake, which
    takes long, keeps only the newest ones waiting; and their writer mostly serves them together.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()  # guards the buffer, and the SSL objects that put something into it
        self.buffer = ssl.MemoryBIO()  # empty whenever nobody has the lock


class Channel:
    """The TLS state of one connection, with no socket. Any thread may call any method; only memory is touched."""

    __slots__ = ("lock", "_outgoing", "_tls", "_broken", "_answers", "_received", "_silent", "_more", "_violation")

    def __init__(self, context: ssl.SSLContext, host: str | None = None, outgoing: Outgoing | None = None) -> None:
        """``host``: for a client, the name that the server's certificate must have. None: this is the server.
        ``outgoing``: if others share it."""
        outgoing = outgoing or Outgoing()
        self.lock = outgoing.lock  # guards the attributes below; whoever releases it leaves ``_outgoing`` empty
        self._received = ssl.MemoryBIO()
        self._outgoing = outgoing.buffer
        self._tls = context.wrap_bio(self._received, self._outgoing, server_side=host is None, server_hostname=host)
        self._answers = b""  # TLS's own messages, which wait for the writer
        self._silent = 0  # encrypted bytes since the last plain text
        self._more = True  # the SSL object may have plain text without another byte
        self._violation = ""  # how the peer broke the rules; told when the text before it is taken
        self._broken = False  # something encrypted was lost, so nothing more can be sent

    def shake(self, received: bytes = b"") -> tuple[bool, bytes]:
        """Take bytes of the handshake. Return whether it is done, and what to send to the peer. Raises ssl.SSLError;
        then ``farewell`` has what to tell the peer."""
        with self.lock:
            self._received.write(received)
            done = False
            try:
                self._tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            finally:
                self._take_answers()
            answer, self._answers = self._answers, b""
            return done, answer

    def decrypt(self, received: bytes = b"") -> bytes | None:
        """Take encrypted bytes; return up to READ_SIZE plain ones, from all records that are whole. None: more must
        come first. b"": the peer has closed. Give it bytes only after a call without any has returned None. Raises
        Violation, also for a peer that sends only TLS's own messages, such as updates of the keys (RFC 8446, section
        4.6.3)."""
        with self.lock:
            if received:
                self._received.write(received)
                self._silent += max(len(received), LEAST_COUNTED)
            elif not self._more:
                return None
            plain, self._more = b"", True
            try:
                # All at once, because people's lines come in a record each: so they reach the history as one batch.
                while self._more and len(plain) < READ_SIZE and not self._violation:
                    piece = self._tls.read(READ_SIZE - len(plain))
                    if not piece:
                        return plain
                    plain += piece
                    self._more = bool(self._received.pending or self._tls.pending())
            except ssl.SSLWantReadError:
                self._more = False
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return plain  # if there is any, the next call comes here again
            except ssl.SSLError as error:
                self._violation = reason(error)
            finally:
                self._take_answers()
            if len(self._answers) > MOST_WAITING or (not plain and self._silent > MOST_SILENT):
                self._violation, self._more = "it sends TLS's own messages and no text", True
            if plain:
                self._silent = 0
                return plain
            if self._violation:
                raise Violation(self._violation)
            return None

    def encrypt(self, plain: bytes | memoryview) -> bytes:
        """What to send for up to RECORD plain bytes, with TLS's own messages that wait. Raises ssl.SSLError."""
        with self.lock:
            return self.encrypt_next(plain)

    def encrypt_next(self, plain: bytes | memoryview) -> bytes:
        """As ``encrypt``, for a caller that holds the lock, because it encrypts for several. The hot path."""
        if self._broken:
            raise ssl.SSLError("a record that was to be sent is lost")
        try:
            self._tls.write(plain)
            encrypted = self._outgoing.read()
        except BaseException:
            self._broken = True
            self._take_answers()
            raise
        if self._answers:
            encrypted, self._answers = self._answers + encrypted, b""
        return encrypted

    def farewell(self) -> bytes:
        """What to send last: that no more will come (RFC 8446, section 6.1), or what went wrong."""
        with self.lock:
            try:
                self._tls.unwrap()
            except ssl.SSLError:  # the peer has not said that it ends, too
                pass
            finally:
                self._take_answers()
            answer, self._answers = self._answers, b""
            return answer

    def _take_answers(self) -> None:
        """Empty the buffer, because another connection uses it next."""
        assert self.lock.locked()
        if self._outgoing.pending:
            self._answers += self._outgoing.read()


class Certificate:
    """The server's certificate and its key. Only main calls ``load`` and ``reload``."""

    def __init__(self, cert: str, key: str | None, clock: Callable[[], float] = time.time) -> None:
        """``cert``: a file with the certificate and its chain; ``key``: None, if the key is in the same file. Raises
        StartError."""
        self._cert, self._key, self._clock = cert, key, clock
        self.context = self.load()  # replaced as a whole, so any thread may read it
        self._begun = itertools.count()  # connections; a thread takes the next number in one step
        self._outgoing = Outgoing()  # of the next connections; replaced by a thread that begins one

    def channel(self) -> Channel:
        """The TLS state of a new connection. Any thread."""
        if next(self._begun) % SHARERS == 0:
            self._outgoing = Outgoing()
        return Channel(self.context, outgoing=self._outgoing)  # maybe the one before, if two threads come together

    def load(self) -> ssl.SSLContext:
        """A context made from what is in the files now, for new connections. Raises StartError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")  # for TLS 1.2; 1.3 has no others
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.num_tickets = 1  # for coming back, instead of two, each of which takes 10 microseconds and 255 bytes
        try:
            context.load_cert_chain(self._cert, self._key, password=_no_password)
        except (OSError, ValueError) as error:
            why = self._fault() or f"{self._cert} and {self._key or 'the key in it'}: {_why(error)}"
            raise StartError(f"TLS cannot begin with {why}.") from error
        self._warn(context)
        return context

    def _warn(self, context: ssl.SSLContext) -> None:
        """Log a warning if clients do not accept the certificate at this time, or soon will not."""
        if times := _validity(context, self._cert):
            now, (begins, ends) = self._clock(), times
            begin, end = (time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at)) for at in times)
            if now < begins:
                log.warning("clients refuse the certificate %s: it is valid from %s on", self._cert, begin)
            elif now >= ends:
                log.warning("clients refuse the certificate %s: it was valid until %s", self._cert, end)
            elif ends - now < (ends - begins) * LAST_PART:
                log.warning("the certificate %s is valid only until %s", self._cert, end)

    def reload(self) -> None:
        """Use what is in the files now. Raises StartError; then the old certificate stays."""
        self.context = self.load()

    def _fault(self) -> str:
        """The file that cannot be read, or does not hold what it should, and why; "" if it is not that."""
        key = "no key in the PEM format" + ("; name the file that has it with --tls-key" if self._key is None else "")
        for path, mark, lacks in (
            (self._cert, b"CERTIFICATE-----", "no certificate in the PEM format"),
            (self._key or self._cert, b"PRIVATE KEY-----", key),
        ):
            try:
                with open(path, "rb") as file:
                    found = file.read(LONGEST)
            except OSError as error:
                return f"{path}: {error.strerror}"
            if mark not in found:
                return f"{path}: it has {lacks}"
        return ""


def _validity(context: ssl.SSLContext, cert: str) -> tuple[float, float] | None:
    """From when and until when the certificate is valid. None: a client would not trust it for another reason.

    The ssl module tells these times only for a peer's certificate that it trusts. So there is a handshake in memory.
    """
    try:
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname = False
        trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | NO_CHECK_TIME
        trusting.load_verify_locations(cert)
        received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        client, server = trusting.wrap_bio(received, sent), Channel(context)
        for _ in range(3):
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
            received.write(server.shake(sent.read())[1])
    except (OSError, ValueError):
        return None
    found: Mapping[str, Any] = client.getpeercert() or {}
    if "notAfter" not in found:
        return None
    return ssl.cert_time_to_seconds(found["notBefore"]), ssl.cert_time_to_seconds(found["notAfter"])


def _no_password() -> str:
    raise ValueError("the key has a password, and a server cannot ask for it; give a key without one")


def _why(error: OSError | ValueError) -> str:
    if not isinstance(error, ssl.SSLError):
        return (error.strerror if isinstance(error, OSError) else None) or str(error)
    if error.reason in MISMATCHES:
        return "the key does not belong to the certificate"
    return "they are damaged" if error.reason in (None, "NO_START_LINE", "PEM_LIB") else reason(error)


def reason(error: ssl.SSLError) -> str:
    """What OpenSSL says, in small letters."""
    return (error.reason or "not TLS").replace("_", " ").lower()
