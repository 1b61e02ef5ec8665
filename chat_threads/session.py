"""A session is one connected client: its queue, its name, and how it ends.

The reader thread (the server's handler) makes a ``Session``, which lives as long as this thread. Other threads put
parcels into the session's mailbox, and may cut the session off. Only the session's reader reads from its socket, and
only the thread that is its writer now sends on it (see ``mailbox``). Any other thread may only stop the reading.
``SessionStore`` knows all sessions. It gives each name to one session only, and no two names look alike.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from itertools import islice

from . import inside
from .addresses import site
from .dialects.base import Dialect
from .disconnects import TooSlow
from .errors import ChatError, CutOff, UnknownPerson
from .events import Bye, Event, PersonRow, WireBytes, answers, problem
from .kept import Kept
from .latch import Latch
from .letters import scripts, written_together
from .mailbox import OVERFLOWED, Mailbox, Writer
from .memory import Output
from .metrics import LEFT, Traffic
from .names import Name, Names
from .pace import PAGE, Pace, cost_of_showing
from .parcel import Parcel, Views
from .rules import LIKELY, clean, fold, nearest
from .tokens import Handout, Who, token_id
from .wire import Wire

NEIGHBOURS = 64  # sessions with neighbouring numbers that share a writer
# The cohort of all sessions that speak TLS. Python lets go of the interpreter's lock for each encryption, and two
# writers would compete for it all the time.
SECURED = -1
MAX_IGNORED = 100  # people whom one session may ignore
ADDED_AT_ONCE = 1000  # people whom one address may add to long lists of rooms at once: a lecture hall is often one
ADDED_A_SECOND = 1 / 60  # in the long run


@dataclass(frozen=True, slots=True)
class Profile:
    """The public facts about a session. Frozen, and replaced as a whole: a thread sees the old one or the new."""

    name: str = ""
    away: str | None = None  # None: here; otherwise the reason, which may be empty
    # The numbers of the ignored people's tokens, with the names that they had then. It holds no Session, so that ended
    # sessions can be freed.
    ignored: Mapping[int, str] = field(default_factory=dict)


class Contact:
    """How to find a session again. It is kept instead of the session, which must be freed when it ends.

    The SessionStore sets the name and the token under its lock. Any thread reads them, each as a whole.
    """

    __slots__ = ("number", "name", "token")

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = ""
        self.token = ""


class Reached:
    """What a delivery needs of a session. Python puts the slots of a base class first, so these three are side by side
    and come from memory in one step. With a thousand members, one more step for each of them can be measured."""

    __slots__ = ("cohort", "mailbox", "wire")


class Session(Reached):
    """One client. Only its reader thread calls the methods that are not marked "any thread"."""

    __slots__ = (  # as in Mailbox
        *("number", "dialect", "ref", "views", "written", "ended", "profile", "began", "heard", "contact", "reply_to"),
        *("typed", "sent_out", "line"),
        *("identity", "known", "known_by_name", "address", "pace", "broken", "local", "output", "kept", "note_at"),
        *("account", "operator", "proof", "warned", "taught", "token_lost", "_schedule", "__weakref__"),
    )

    def __init__(
        self,
        number: int,
        wire: Wire,
        dialect: Dialect,
        schedule: Callable[[list[Session]], None],
        queue_limit: int,
        output: Output | None = None,
    ) -> None:
        self.number = number
        self.cohort = number // NEIGHBOURS  # sessions of one cohort share a writer
        self.wire = wire
        self.dialect = dialect  # the reader thread's; other threads read only its name
        self.ref = ""  # of the current request; the reader thread's
        self.views: Views = dialect.views  # read anywhere; set under the Publisher's lock once it is in a room
        self.mailbox = Mailbox(queue_limit)
        self.written = Latch()  # set by the thread that writes, when all is sent or given up
        self.ended = Latch()  # set by any thread that wants the conversation to end
        self.profile = Profile()  # set by the reader thread, read anywhere
        self.began = time.monotonic()
        self.heard = self.began  # when the last line or key came; set by the reader thread, read anywhere
        self.typed = self.began  # the same, but only of what the person has typed or clicked
        self.contact = Contact(number)
        # The current room that it had to leave last, and when, by time.monotonic(); None once its client has been told
        # so, or has entered another one. Set by the history thread, and by its reader.
        self.sent_out: tuple[str, float] | None = None
        self.line = ""  # the line that is being edited, as last drawn; set by the reader thread, read anywhere
        self.reply_to: Contact | None = None  # who sent the last private line; set by the senders' readers
        # Its account's number, or its token's; set by the SessionStore with the token and the next two, read anywhere
        self.identity = 0
        self.account = False  # whether it is logged in
        self.operator = False  # whether its account is an operator of the server
        self.proof = b""  # as in tokens.Who; set with the identity
        self.known = False  # whether the client was told its token (then its requests are remembered); the reader's
        self.warned = False  # whether it was told that others can read its passwords; the reader thread's
        self.taught = False  # whether it was told how to keep its rooms; the reader thread's
        self.token_lost = False  # the token could not be stored; set by the history thread, unset by the reader thread
        self.known_by_name = False  # whether the SessionStore knows its name as a person's; the reader thread's
        self.address = ""  # the client's; set by the reader thread at the start
        self.pace = Pace(0.0, 0)  # the reader thread's, which sets it at the start
        self.broken = False  # nothing more can be sent; set by the thread that writes, before written
        self.local = False  # whether the client is on the server's machine; set by the reader thread at the start
        self.output = output or Output()  # counts the bytes that wait for all sessions
        self.kept: Kept | None = None  # what its token keeps, as noted last; set by the reader thread, read anywhere
        self.note_at: float | None = None  # when to note that again; None: not now
        self._schedule = schedule

    @property
    def name(self) -> str:
        return self.profile.name

    @property
    def token(self) -> str:
        """The token that brings the client back, or ""."""
        return self.contact.token

    @property
    def who(self) -> Who:
        """Whose session it is."""
        return Who(self.identity, self.account, self.operator, self.proof)

    @property
    def reason(self) -> CutOff | None:
        """Why the session was cut off, or None. The mailbox takes it together with the last words, which say it."""
        return self.mailbox.reason

    def __str__(self) -> str:
        return f"session {self.number}" + (f" ({self.name})" if self.name else "")

    # --- any thread -----------------------------------------------------------------------------------------

    def send(self, *events: Event, more: bool = False) -> None:
        """Queue events. Never waits: a session whose queue is full is cut off instead. ``more``: this thread is about
        to queue more for the session, so its writer need not be told yet."""
        self.put(Parcel(self.views.own, events, self.output), more)

    def put(self, parcel: Parcel, more: bool = False) -> None:
        """As ``send``, with a parcel that other sessions may share."""
        if self.mailbox.push(parcel, more):
            self._schedule([self])
            if self.mailbox.life is OVERFLOWED:
                self.cut_off(TooSlow())
        self.output.check()

    def tell(self, error: ChatError, ref: str = "") -> None:
        """Queue an error, as the answer to the request ``ref`` if there is one."""
        self.send(*answers(ref, problem(error)))

    def cut_off(self, error: CutOff) -> None:
        """End the session now. Only the parcel under way and the reason are still sent."""
        if self.mailbox.cut_off(Parcel(self.views.own, self.last_words(error)), error):
            self._schedule([self])
        self.end()

    def last_words(self, error: CutOff) -> tuple[Event, ...]:
        """What to show last if the session is cut off: also the line that is being edited, as its screen ends."""
        line = self.line.replace("\n", "\r\n  ")
        shown = (WireBytes(f"> {line}\r\n".encode("utf-8", "replace")),) if line else ()
        return *shown, problem(error), Bye(error.code)

    def end(self) -> None:
        """Make the reader thread see the end of input. It then says goodbye in order."""
        self.wire.stop_reading()
        self.ended.set()

    def abandon(self, reason: CutOff | None = None) -> None:
        """Give up sending, for ``reason`` or because the wire is broken. Called by the thread
        that writes, or by the reader if no writer could be started."""
        self.broken = True
        self.mailbox.cut_off(reason=reason)
        self.end()

    # --- the reader thread ----------------------------------------------------------------------------------

    def restore(self, away: str | None, ignored: Mapping[int, str]) -> None:
        """Be as away as before, and ignore the same people as well, but not oneself, up to MAX_IGNORED."""
        both = [*ignored.items(), *self.profile.ignored.items()]
        people = {person: name for person, name in both if person != self.identity}
        self.profile = replace(self.profile, away=away, ignored=dict(islice(people.items(), MAX_IGNORED)))

    def next_page(self) -> bool:
        """Wait until the client has read most of what waits for it, and can pay for another page of messages. Return
        False if the session is over."""
        delay = self.pace.pay(PAGE)
        return self.mailbox.wait_for_low_water() and not self.ended.wait(delay)

    def answer(self, *events: Event, more: bool = False) -> None:
        """Queue the answer to the current request. ``more``: as in ``send``."""
        self.send(*answers(self.ref, *events), more=more)
        self.was_shown(sum(event.size for event in events))

    def was_shown(self, size: int) -> None:
        """Charge the client for ``size`` bytes, which were queued as an answer."""
        self.pace.pay(cost_of_showing(size))

    def close(self, *last: Event, reason: CutOff | None = None) -> None:
        """Queue the last events, which say the reason if there is one, and accept no more."""
        if self.mailbox.close(Parcel(self.views.own, last) if last else None, reason):
            self._schedule([self])

    def person(self, rooms: tuple[str, ...]) -> PersonRow:
        """Any thread: the session as others see it."""
        profile = self.profile
        return PersonRow(profile.name, rooms, time.monotonic() - self.typed, profile.away, self.account)


class SessionStore:
    """All sessions and their names. Any thread may call any method."""

    def __init__(self, count: inside.Count = inside.uncounted) -> None:
        self._lock = count(threading.Lock())  # guards the seven below; no other lock is taken while it is held
        self._sessions: dict[int, Session] = {}
        self._names: Names[Session] = Names()
        self._tokens: dict[str, Session] = {}
        self._logged_in: dict[int, Session] = {}  # by the number of the account
        self._handout = Handout()
        self._added = Handout(at_once=ADDED_AT_ONCE, a_second=ADDED_A_SECOND)
        self._past = Traffic()  # of the connections that have ended; and how many have begun

    def add(self, session: Session) -> None:
        with self._lock:
            self._sessions[session.number] = session
            self._past.begun += 1

    def refused(self, error: CutOff) -> None:
        """Count a connection that was refused, and so never had a session."""
        with self._lock:
            self._past.begun += 1
            self._past.ended[error.code] += 1

    def release(self, session: Session) -> None:
        """Free the session's name and its token."""
        name = Name.of(session.name)
        with self._lock:
            self._forget(session, name)

    def _forget(self, session: Session, name: Name) -> None:
        assert self._lock.locked()
        self._names.give_back(name, session)
        if self._tokens.get(session.token) is session:
            del self._tokens[session.token]
        if self._logged_in.get(session.identity) is session:
            del self._logged_in[session.identity]

    def remove(self, session: Session) -> None:
        """Forget the session, and free its name and its token."""
        self.release(session)
        with self._lock:  # in one step, so that traffic() counts each session once
            if self._sessions.pop(session.number, None):
                self._past.ended[session.reason.code if session.reason else LEFT] += 1
                self._past.lines += session.mailbox.taken
                self._past.sent += session.wire.sent

    def traffic(self) -> Traffic:
        """What all connections have done so far. With 10,000 sessions, the lock is held for about 6 ms."""
        with self._lock:
            found = replace(self._past, ended=self._past.ended.copy(), here=Counter())
            for session in self._sessions.values():
                found.lines += session.mailbox.taken
                found.sent += session.wire.sent
                found.here[session.dialect.name] += 1
                found.behind += session.mailbox.writer is Writer.HELD
        return found

    def claim(self, session: Session, name: str, token: str = "", who: Who | None = None) -> Session | None:
        """Give the session a name: check it and take it in one step. Raise NameTaken, with a free name, if another
        session has it, if it belongs to another person's account, or if it looks like another person's.

        The session gives back the name that it has; it may claim the same name with other capitals. With a token, it
        takes the place of the session that has this token, whose name is free for it; if the token is for an account,
        it takes the place of the session that is logged in to that. That session is returned, and the caller must cut
        it off. ``who`` is whose the token is; None: nobody's but its own.
        """
        wanted, own = Name.of(name), Name.of(session.name) if session.name else None
        if who is None:
            who = Who(token_id(token)) if token else session.who
        with self._lock:
            self._check(session, wanted, token, who)
            return self._give(session, wanted, own, token, who)

    def _check(self, session: Session, wanted: Name, token: str, who: Who) -> None:
        assert self._lock.locked()
        other = self._holder(token, who.identity) if token else None
        self._names.check(wanted, who.identity, (session, other))

    def _give(self, session: Session, wanted: Name, own: Name | None, token: str, who: Who) -> Session | None:
        """Give the session a name instead of its own. Return the session whose place it takes."""
        assert self._lock.locked()
        identity = who.identity
        other = self._holder(token, identity) if token else None
        if not token and self._tokens.get(session.token) is session:
            token = session.token  # it keeps its own, unless another session has taken its place
        replaced = None if other is session else other
        if own:
            self._forget(session, own)
        if other:
            self._forget(other, Name.of(other.name))
        self._names.take(wanted, session)
        session.known_by_name = False
        session.profile = Profile(wanted.text, session.profile.away, session.profile.ignored)
        session.contact.name = wanted.text
        if token:
            session.contact.token, session.identity = token, identity
            session.account, session.operator, session.proof = who.account, who.operator, who.proof
            self._tokens[token] = session
            if who.account:
                self._logged_in[identity] = session
        return replaced

    def _holder(self, token: str, account: int) -> Session | None:
        assert self._lock.locked()
        return self._tokens.get(token) or self._logged_in.get(account)

    def holder(self, token: str, account: int = 0) -> Session | None:
        """The session that has this token now, or is logged in to this account; None: there is none."""
        with self._lock:
            return self._holder(token, account) if token or account else None

    def logs_in(self, session: Session, operator: bool, proof: bytes) -> None:
        """The session is logged in to its own account. ``operator`` and ``proof``: as in tokens.Who."""
        with self._lock:
            session.account, session.operator, session.proof = True, operator, proof
            if self._tokens.get(session.token) is session:  # otherwise another one has taken its place meanwhile
                self._logged_in[session.identity] = session

    def logs_out(self, session: Session) -> None:
        """The session's account has ended."""
        with self._lock:
            session.account = session.operator = False
            if self._logged_in.get(session.identity) is session:
                del self._logged_in[session.identity]

    def tell_away(self, session: Session) -> None:
        """The session's person is away now, or back: servers in a cluster tell each other. Called by its reader."""

    def reserve(self, name: str, identity: int) -> None:
        """From now on, only the person with this number may have the name, or one that looks like it."""
        reserved = Name.of(name)
        with self._lock:
            self._names.reserve(reserved, identity)

    def unreserve(self, name: str) -> None:
        """Anybody may have the name."""
        reserved = Name.of(name)
        with self._lock:
            self._names.unreserve(reserved)

    def identities(self) -> Set[int]:
        """The numbers of all tokens in use, and of their accounts."""
        with self._lock:
            sessions = list(self._tokens.values())
        tokens = {token_id(session.token) for session in sessions if session.account}
        return tokens | {session.identity for session in sessions}

    def wait_for_token(self, address: str) -> float:
        """Count a token and return 0 if a client from this address may have one; otherwise the seconds to wait."""
        with self._lock:
            return self._handout.wait(address)

    def wait_to_add(self, address: str) -> float:
        """As ``wait_for_token``, for one more entry in a room's list that is long already (see ``changes.LONG``)."""
        with self._lock:
            return self._added.wait(site(address))

    def again(self, contact: Contact) -> Session | None:
        """The session of this contact, if it still has its name, or has come back with its token; otherwise None."""
        with self._lock:
            session = self._tokens.get(contact.token) or self._sessions.get(contact.number)
            here = session is not None and self._names.owner(fold(session.name)) is session
        return session if here else None

    def free(self, name: str, identity: int = 0) -> str:
        """This name, or a similar one, that the holder of token ``identity`` may have now; identity 0: anybody."""
        with self._lock:
            return self._names.free(name, identity)

    def know(self, names: Iterable[tuple[str, int]]) -> None:
        """Remember the names by which people are known, each with the number of their token, or 0. Nobody else may
        have a name that looks like one of them. A name that mixes scripts is older than the rule against it, and is
        left out."""
        for text, identity in names:
            if not written_together(scripts(text)):
                continue
            name = Name.of(text)
            with self._lock:
                self._names.know(name, identity)

    def introduce(self, session: Session) -> None:
        """Called by the reader thread, at least once for each name: the session is known by it from now on."""
        session.known_by_name = True
        self.know([(session.name, session.identity)])

    def named(self, name: str) -> Session:
        """The session with this name, in upper or lower case. Raise UnknownPerson."""
        with self._lock:
            session = self._names.owner(fold(name))
            names = [] if session else [each.name for each in islice(self._names.owners(), LIKELY)]
        if session is None:
            raise UnknownPerson(clean(name[:100])[:40], nearest(name, names))
        return session

    def relieve(self, excess: int) -> None:
        """Cut off the sessions with the most waiting bytes, until at least ``excess`` bytes are gone."""
        for session in sorted(self.all(), key=lambda session: session.mailbox.held(), reverse=True):
            held = session.mailbox.held()
            if excess <= 0 or not held:
                break
            session.cut_off(TooSlow("too much was waiting for all clients, and most of it for you"))
            excess -= held

    def all(self) -> list[Session]:
        with self._lock:
            return list(self._sessions.values())

    def people(self) -> list[Session]:
        """All sessions that have a name."""
        with self._lock:
            return list(self._names.owners())

    def knows(self, number: int) -> bool:
        """Whether the session with this number is still here."""
        with self._lock:
            return number in self._sessions

    def __len__(self) -> int:
        with self._lock:
            return len(self._sessions)
