"""A session is one client's: its queue, its name, and how it comes to its end.

``Session`` is made by the reader thread (the server's handler) and lives as long as that. Other threads put
parcels into its mailbox, and may cut it off; of its socket they do nothing but stop its reading. ``SessionStore``
knows all sessions, and makes sure that one session at most has a name and that no two names look alike.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from itertools import islice

from . import inside
from .dialects.base import Dialect
from .disconnects import TooSlow
from .errors import ChatError, CutOff, UnknownPerson
from .events import Bye, Event, PersonRow, answers, problem
from .letters import scripts, written_together
from .mailbox import Mailbox
from .memory import Output
from .names import Name, Names
from .pace import PAGE, Pace, cost_of_showing
from .parcel import Parcel, Views
from .rules import LIKELY, clean, fold, nearest
from .tokens import Handout, token_id
from .wire import Wire


@dataclass(frozen=True, slots=True)
class Profile:
    """What others may know of a session. Frozen, and replaced as a whole: a reader sees the old or the new."""

    name: str = ""
    away: str | None = None  # None: here; otherwise the reason, maybe empty
    # The numbers of the tokens of those who are ignored, with the names that they had then. Never of their sessions:
    # these must be freed.
    ignored: Mapping[int, str] = field(default_factory=dict)


class Contact:
    """Who a session is, for whoever has to find it again: that is kept, for a session that has ended must be freed.

    The SessionStore sets the name and the token, under its lock; any thread reads them, each as a whole.
    """

    __slots__ = ("number", "name", "token")

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = ""
        self.token = ""


class Session:
    """One client. Its reader thread alone calls what is not marked "any thread"."""

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
        self.wire = wire
        self.dialect = dialect  # the reader thread's
        self.ref = ""  # of the request that is being obeyed; the reader thread's, which sets it when it takes one up
        self.views: Views = dialect.views  # set under the Publisher's lock (set_views), read anywhere
        self.mailbox = Mailbox(queue_limit)
        self.written = threading.Event()  # set by a writer: all is sent, or it has given up
        self.ended = threading.Event()  # set by whoever wants the conversation to end
        self.profile = Profile()  # set by the reader thread and the SessionStore, read anywhere
        self.began = time.monotonic()
        self.heard = self.began  # when the last line came; set by the reader thread, read anywhere
        self.contact = Contact(number)
        self.reply_to: Contact | None = None  # who sent the last private line; set and read by any thread
        self.identity = 0  # the number of its token; set with it, read anywhere
        self.known = False  # whether the client was told its token, so that the history keeps that; the reader thread's
        self.known_by_name = False  # whether its name is remembered as a person's; the reader thread's
        self.address = ""  # of the client; set by the reader thread at the start
        self.pace = Pace(0.0, 0)  # the reader thread's, which sets it at the start
        self.broken = False  # nothing more can be sent; set by the thread that writes, before written
        self.local = False  # whether it comes from the server's own machine; set by the reader thread at the start
        self.output = output or Output()  # counts what waits for all sessions
        self._schedule = schedule

    @property
    def name(self) -> str:
        return self.profile.name

    @property
    def token(self) -> str:
        """What brings it back, or ""."""
        return self.contact.token

    @property
    def reason(self) -> CutOff | None:
        """Why it was cut off, or None. The mailbox decides it together with the last words: they say the same."""
        return self.mailbox.reason

    def __str__(self) -> str:
        return f"session {self.number}" + (f" ({self.name})" if self.name else "")

    # --- any thread -----------------------------------------------------------------------------------------

    def send(self, *events: Event) -> None:
        """Queue events to be shown; never waits. A session whose queue is full is cut off instead."""
        try:
            was_idle = self.mailbox.push(Parcel(self.views.here, events, self.output))
        except queue.Full:
            self.cut_off(TooSlow())
        else:
            if was_idle:
                self._schedule([self])
        self.output.check()

    def tell(self, error: ChatError, ref: str = "") -> None:
        """Queue an error to be shown, as the answer to the request ``ref`` if it has one."""
        self.send(*answers(ref, problem(error)))

    def cut_off(self, error: CutOff) -> None:
        """End the session now: what is queued is dropped, but for the parcel under way and the reason."""
        if self.mailbox.cut_off(Parcel(self.views.here, (problem(error), Bye(error.code))), error):
            self._schedule([self])
        self.end()

    def end(self) -> None:
        """Let the reader thread see the end of input; it then says goodbye in order."""
        self.ended.set()
        self.wire.stop_reading()

    def abandon(self, reason: CutOff | None = None) -> None:
        """Nothing more can be sent, because the wire is broken, or for a reason. Called by the thread that writes."""
        self.broken = True
        self.mailbox.cut_off(reason=reason)
        self.end()

    # --- the reader thread ----------------------------------------------------------------------------------

    def next_page(self) -> bool:
        """Wait until the client has read most of what waits for it, and has the tokens for another page of what was
        said; False if the session is over."""
        self.pace.pay(PAGE)
        return self.mailbox.wait_for_low_water() and not self.ended.wait(self.pace.delay())

    def answer(self, *events: Event) -> None:
        """Queue the answer to the request that is being obeyed."""
        self.send(*answers(self.ref, *events))
        self.was_shown(sum(event.size for event in events))

    def was_shown(self, size: int) -> None:
        """So many bytes were queued because it asked for them, and are to be paid for."""
        self.pace.pay(cost_of_showing(size))

    def close(self, *last: Event, reason: CutOff | None = None) -> None:
        """Queue the last events, which say the reason if there is one, and take no more."""
        if self.mailbox.close(Parcel(self.views.here, last) if last else None, reason):
            self._schedule([self])

    def person(self, rooms: tuple[str, ...]) -> PersonRow:
        """Any thread: the session as others see it."""
        profile = self.profile
        return PersonRow(profile.name, rooms, time.monotonic() - self.heard, profile.away)


class SessionStore:
    """All sessions, and the names that they have. Every method may be called by any thread."""

    def __init__(self, count: inside.Count = inside.uncounted) -> None:
        self._lock = count(threading.Lock())  # guards all four; nothing else is taken or called while it is held
        self._sessions: dict[int, Session] = {}
        self._names: Names[Session] = Names()
        self._tokens: dict[str, Session] = {}
        self._handout = Handout()

    def add(self, session: Session) -> None:
        with self._lock:
            self._sessions[session.number] = session

    def release(self, session: Session) -> None:
        """The session's name is free again, and its token nobody's."""
        name = Name.of(session.name)
        with self._lock:
            self._forget(session, name)

    def _forget(self, session: Session, name: Name) -> None:
        assert self._lock.locked()
        self._names.give_back(name, session)
        if self._tokens.get(session.token) is session:
            del self._tokens[session.token]

    def remove(self, session: Session) -> None:
        """Forget the session; its name is free again."""
        self.release(session)
        with self._lock:
            self._sessions.pop(session.number, None)

    def claim(self, session: Session, name: str, token: str = "") -> Session | None:
        """Give the session a name, checking and taking in one step; raise NameTaken with one that is free, if
        somebody has it, or if it looks like another person's.

        A session that has a name gives it back; it may claim its own in another case. With a token it takes the
        place of the session that had that until now, whose name is free for it. That one is returned, and is to
        be cut off.
        """
        wanted, own = Name.of(name), Name.of(session.name)
        identity = token_id(token) if token else session.identity
        with self._lock:
            other = self._tokens.get(token) if token else None
            self._names.check(wanted, identity, (session, other))
            if not token and self._tokens.get(session.token) is session:
                token = session.token  # it keeps what it has, unless somebody has taken its place meanwhile
            self._forget(session, own)
            if other:
                self._forget(other, Name.of(other.name))
            self._names.take(wanted, session)
            session.known_by_name = False
            session.profile = replace(session.profile, name=name)
            session.contact.name = name
            if token:
                session.contact.token, session.identity = token, identity
                self._tokens[token] = session
        return None if other is session else other

    def holder(self, token: str) -> Session | None:
        """The session that has this token now."""
        with self._lock:
            return self._tokens.get(token) if token else None

    def identities(self) -> Set[int]:
        """The numbers of all tokens that sessions have now."""
        with self._lock:
            return {session.identity for session in self._tokens.values()}

    def wait_for_token(self, address: str) -> float:
        """0: a client from this address may have a token, which is counted; otherwise in how many seconds."""
        with self._lock:
            return self._handout.wait(address)

    def again(self, contact: Contact) -> Session | None:
        """The session that was this one, if it is still here under its name, or has come back by its token."""
        with self._lock:
            session = self._tokens.get(contact.token) or self._sessions.get(contact.number)
            here = session is not None and self._names.owner(fold(session.name)) is session
        return session if here else None

    def free(self, name: str, identity: int = 0) -> str:
        """That name, or one near it, that anybody may have at this moment, or whoever has the token of that number."""
        with self._lock:
            return self._names.free(name, identity)

    def know(self, names: Iterable[tuple[str, int]]) -> None:
        """Nobody else may have a name that looks like one of these: people are known by them, each under the token
        of that number, or of 0. A name that mixes scripts is older than the rule against it, and holds nobody up."""
        for text, identity in names:
            if not written_together(scripts(text)):
                continue
            name = Name.of(text)
            with self._lock:
                self._names.know(name, identity)

    def introduce(self, session: Session) -> None:
        """The reader thread's: the session is known by its name from now on."""
        if not session.known_by_name:
            session.known_by_name = True
            self.know([(session.name, session.identity)])

    def named(self, name: str) -> Session:
        """The session of that name, whatever its case; raise UnknownPerson."""
        with self._lock:
            session = self._names.owner(fold(name))
            names = [] if session else [each.name for each in islice(self._names.owners(), LIKELY)]
        if session is None:
            raise UnknownPerson(clean(name[:100])[:40], nearest(name, names))
        return session

    def relieve(self, excess: int) -> None:
        """Too much waits for all sessions together, by so many bytes: cut off those for which most waits."""
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
        """All that have a name."""
        with self._lock:
            return list(self._names.owners())

    def knows(self, number: int) -> bool:
        """Whether the session of that number is still here."""
        with self._lock:
            return number in self._sessions

    def __len__(self) -> int:
        with self._lock:
            return len(self._sessions)
