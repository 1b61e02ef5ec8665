"""What a client sends, from its bytes to its commands.

The first bytes tell whether the client speaks TLS, and which dialect. A ``Receiver`` waits for them before it greets
the client, because a browser or a TLS client speaks first and must not be greeted. Then it reads commands, and makes
the client pay for what it sends.
"""

from __future__ import annotations

import time
from functools import lru_cache

from . import __version__, commands, events, inside
from .days import Days
from .dialects.base import SILENT, Dialect, Request
from .dialects.recognise import recognise, without_blanks
from .dialects.telnet import breaks_off
from .dialects.text import LETTER, TextDialect
from .disconnects import NoNameInTime, NotChat, TlsOnly, UnfinishedLine
from .errors import ChatError
from .host import Host
from .pace import BLANKS, cost_of_showing
from .parcel import Parcel, View, Views
from .securewire import HANDSHAKE, SecureWire
from .session import SECURED, Session
from .spares import Arrival
from .tls import HELLO

GREETING_PAUSE = 0.1  # seconds before the greeting: a web browser or a TLS client speaks first, a person does not
TLS_PAUSE = 0.5  # the same if clients may speak TLS: some first load what they need for it
LATE = 0.05  # seconds; a reader that is woken so much later than it wanted is on a machine that is overloaded
TLS_ONLY_PAUSE = 2.0  # the same if clients must speak TLS, and the others are refused; or if the machine is overloaded
PIECES = 8  # reads before the greeting; the rate limits a client that is still not known after them
TWIN_PAUSE = 0.9  # seconds more for two connections that may be a browser's
SPOILT = b"* Your browser opened this connection before it asked for the page. Load the page again.\r\n"

STRANGER = TextDialect()  # of the clients who have yet to speak. It is fed nothing, so that all of them can share it


@lru_cache(maxsize=8)
def _greeting(view: View) -> Parcel:
    """The greeting, which is the same for all clients with this view."""
    return Parcel(view, (events.Greeting(__version__),))


class Receiver:
    """What one client sends. Its reader thread alone calls it and reads its attributes.

    It sets the session's ``dialect``, ``views`` and ``wire`` when it knows what the client speaks.
    """

    def __init__(self, session: Session, server: Host, slot: inside.Slot, browsers: bool) -> None:
        """``slot``: the thread's. ``browsers``: the client came on the port for browsers, where nobody is greeted."""
        self._session = session
        self._server = server
        self._wire = session.wire
        self._dialect: Dialect = session.dialect  # STRANGER, until the client's first bytes tell its own
        self._slot = slot
        self._blank = 0  # lines that held no request and are not yet paid for
        self.head: bytes | None = b""  # the first bytes, until they tell which dialect the client speaks
        self._greeted = False
        self._secured = False  # whether the connection is encrypted
        self._greeting_waits = False  # for an answer, which is sent with it
        self._arrival: Arrival | None = None  # None on the port for browsers
        self.spare = browsers  # whether it is a browser's spare connection, which is told nothing until it speaks
        self.days: Days | None = None  # of a person who has a name
        self._idle_reads = 0  # reads since the last request
        self._half_since: float | None = None  # when the unfinished line began
        session.views = self.views

    @property
    def views(self) -> Views:
        return SILENT if self.spare else self._dialect.views

    # --- commands -------------------------------------------------------------------------------------------

    def next(self, deadline: float | None = None) -> commands.Command | ChatError | None:
        """Return the client's next command, or the error in it; None at the end.

        Waits for the client and for tokens of its ``Pace``, and answers telnet's negotiation meanwhile. Raises
        NoHandshake after ``deadline``, and UnfinishedLine when a line takes too long. A byte now and then extends
        neither. Before the dialect is known, it may also raise NotChat, TlsOnly, and Violation.
        """
        while not self._wire.stopped:
            if deadline is not None:
                self.check(deadline)
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
                if deadline is not None:  # it has no name, and may have told the width of its window
                    self._session.views = self.views
                return found.command
            else:
                self._session.send(found)
                if not self._session.name:  # the session is in no room, so no lock is needed
                    self._session.views = self.views
                    self._session.local = self._session.local and self._dialect.may_be_local
                self.slow_down(1 + cost_of_showing(len(found.data)), deadline)
        return None

    def check(self, deadline: float) -> None:
        """Raise NoHandshake after the deadline."""
        if time.monotonic() >= deadline:
            raise NoNameInTime(self._server.limits.handshake_timeout)

    def slow_down(self, tokens: float, deadline: float | None = None) -> None:
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

    def _pay_for_nothing(self, deadline: float | None) -> None:
        """A flood of blank lines, or of bytes without a line, is paid for too. Waits for tokens of its ``Pace``, and
        for those that the last answer cost."""
        tokens, self._blank = divmod(self._blank, BLANKS)
        self._wait(self._session.pace.pay(tokens + (self._idle_reads > 1)), deadline)

    # --- bytes ----------------------------------------------------------------------------------------------

    def _read_more(self, deadline: float | None) -> bool:
        """Wait for bytes, until ``deadline`` or until the line must have ended, and feed them to the dialect; False at
        the end of the connection."""
        if self._greeting_waits:
            self._greeting_waits = False
            self._session.send()  # the lines so far were blank: nothing, but with it the greeting
        now = time.monotonic()
        until = deadline
        if self.days is not None and self.days.due <= now and (today := self.days.look(now)):
            self._session.send(events.Notice(today))
        if not self.head and not self._dialect.pending:
            self._half_since = None
        else:
            if self._half_since is None:
                self._half_since = now
            line_end = self._half_since + self._server.limits.line_timeout
            if line_end <= now:  # checked before reading: a flood does not extend the deadline
                raise UnfinishedLine(self._server.limits.line_timeout)
            until = line_end if deadline is None else min(deadline, line_end)
            if self._in_a_letter:
                until = min(until, now + LETTER)
        self._slot.doing = inside.INPUT, now
        data = self._wire.read(None if until is None else until - now)
        if data:
            self._feed(data, deadline)
        elif data is None:  # nothing yet
            if self.head and self._in_a_letter:  # a telnet's first line, which is not going to end
                self._speaks(TextDialect(self._server.settings))
            self._slot.doing = "draws the screen", time.monotonic()
            self._server.service.wait(self._session)
        return data != b""

    @property
    def _in_a_letter(self) -> bool:
        """Whether a line breaks off in the middle of a character, and the client may be a telnet."""
        if self.head is not None:
            return self._greeted and breaks_off(self.head)
        return isinstance(self._dialect, TextDialect) and self._dialect.in_a_letter

    def _feed(self, data: bytes, deadline: float | None) -> None:
        """Recognise TLS and the dialect by the first bytes, and give the dialect all bytes. Raise NotChat if the client
        speaks another protocol."""
        self._idle_reads += 1
        if self.head is None:
            lines = self._dialect.feed(data)
        elif data[:1] == HELLO and self._may_be_secured:
            self._secure(data, deadline)
            return
        else:
            lines = data.count(b"\n")
            self.head = without_blanks(self.head + data)
            if lines or self.head:
                self._check_secure()
            make = recognise(self.head)
            if make is not None:
                self._speaks(make(self._server.settings))
            elif lines and self.spare:  # a person waits for words
                self.greet()
            elif lines and self._greeted and not self.head:  # a blank line
                self._session.answer(events.HelpShown(None, named=False))
        if lines:
            if not self._dialect.framed:
                self._half_since = None
            self._blank += lines

    # --- TLS ------------------------------------------------------------------------------------------------

    @property
    def _may_be_secured(self) -> bool:
        return not self.head and not self._greeted and not self._secured and self._server.certificate is not None

    def _secure(self, data: bytes, deadline: float | None) -> None:
        """The client has begun to speak TLS, with ``data``, and was sent nothing yet. Do the TLS handshake with it,
        until the deadline at most; raise Violation."""
        assert self._server.certificate
        if self._server.limits.rate:
            self._server.handshakes.begins(self._session.address)
        before = self._wire
        self._wire = self._session.wire = wire = SecureWire(before, self._server.certificate.channel())
        self._session.cohort = SECURED
        if before.stopped:  # after the exchange, because any thread may stop it; this one may be stopped already
            wire.stopped = True
        self._slot.does("waits for the TLS handshake")
        until = time.monotonic() + HANDSHAKE
        wire.shake(data, until if deadline is None else min(until, deadline))
        self._secured = True

    def _check_secure(self) -> None:
        """Raise TlsOnly if the client must speak TLS and does not."""
        if self._server.tls_only and not self._secured:
            self.spare = False  # it has spoken, so it is told why
            self._session.views = self.views
            raise TlsOnly()

    # --- the greeting ---------------------------------------------------------------------------------------

    def look_ahead(self, first: bytes, deadline: float, patient: bool) -> None:
        """Wait for a client that speaks first, until its words say which dialect it speaks: a browser must not be
        greeted. Raise NotChat. A browser's spare connection is shown nothing afterwards, see ``spares``.

        ``first``: what it has said already. Unless ``patient``, do not wait for more.
        """
        spares = self._server.spares
        if not self.spare:
            self._arrival = spares.arrives(self._session.address)
        if first:
            self._feed(first, deadline)
        began, pause = time.monotonic(), GREETING_PAUSE
        if self._server.certificate:
            pause = TLS_ONLY_PAUSE if self._server.tls_only else TLS_PAUSE
        if not patient or self._arrival is None or not self._listen(pause, deadline) or first:
            return
        if (
            self._server.certificate
            and not self._secured
            and not self._listen_once_more(began + pause, began + TLS_ONLY_PAUSE, deadline)
        ):
            return
        if not spares.has_twin(self._arrival) or self._listen(TWIN_PAUSE, deadline):
            self.spare = spares.take(self._arrival)
            self._session.views = self.views

    def _listen(self, seconds: float, deadline: float) -> bool:
        """Read for so long, or until the dialect is known. Return whether the client is there and silent."""
        silent, secured, until = True, self._secured, time.monotonic() + seconds
        while self.head is not None and self._idle_reads < PIECES:
            data = self._wire.read(max(0.0, until - time.monotonic()))
            if not data:
                return silent and data is None
            silent = False
            self._feed(data, deadline)
            if self._secured is not secured:  # it may speak first once more
                silent, secured, until = True, True, time.monotonic() + GREETING_PAUSE
        return False

    def _listen_once_more(self, woken: float, until: float, deadline: float) -> bool:
        """Before the client is greeted, look at what has come since ``woken``, when the reader should have been woken.
        If the reader was woken late, the client may be late, too, because it often runs on this machine: then wait for
        it until ``until``."""
        now = time.monotonic()
        return self._listen(max(0.0, until - now) if now - woken > LATE else 0.0, deadline)

    def _speaks(self, dialect: Dialect) -> None:
        """The client speaks this dialect. Raise NotChat if it is a browser whose answer our greeting has spoilt."""
        if self._arrival:
            self._server.spares.speaks(self._arrival, not dialect.greeted, self._greeted)
        if self._greeted and not dialect.greeted:
            raise NotChat("a browser asked on a connection that was greeted", SPOILT)
        self._dialect = self._session.dialect = dialect
        if self.spare:
            self.greet()
        self._session.views = self.views  # the session is in no room yet, so no lock is needed
        self._dialect.feed(self.head or b"")
        self.head = None

    def greet(self) -> None:
        """Greet the client, once. Raise TlsOnly if it must speak TLS and does not."""
        self._check_secure()
        self.spare = False
        self._session.views = self.views
        if not self._greeted:
            self._greeting_waits = self._blank > 0
            self._session.put(_greeting(self._session.views.own), more=self._greeting_waits)
        self._greeted = True
