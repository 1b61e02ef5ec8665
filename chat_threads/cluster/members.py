"""People on the other servers, as this server knows them.

A RemotePerson stands where a Session stands: in rooms, as the owner of a name, in /who. But nothing is queued for it,
because its own server shows it everything. Only the history thread changes it; any thread reads its attributes, each as
a whole.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from typing import Any

from ..errors import CutOff, NameTaken, NotStored
from ..events import Event, PersonRow
from ..latch import Latch
from ..names import Name
from ..ordered import Ordered
from ..parcel import Parcel, Views
from ..rules import fold
from ..session import Contact, Profile, Session, SessionStore
from ..tokens import Who, token_id
from .values import AwaySet


class _Nowhere:
    """The view of everybody who is connected to another server."""

    def encode(self, events: Sequence[Event]) -> bytes:
        return b""


class _Void:
    """The mailbox of everybody who is connected to another server: it takes nothing."""

    life = None

    def push(self, parcel: Parcel, more: bool = False) -> bool:
        return False

    add = push

    def held(self) -> int:
        return 0


NOWHERE = _Nowhere()
VIEWS = Views(NOWHERE, NOWHERE)
VOID = _Void()


Post = Callable[[tuple[int, int], Event], None]
"""Sends an event to a session on another server, by that server and the session's number."""


class RemoteContact(Contact):
    """How to find somebody on another server again."""

    __slots__ = ("person",)

    def __init__(self, person: RemotePerson) -> None:
        super().__init__(-1)
        self.person = person


class RemotePerson:
    """Somebody who is connected to another server."""

    views = VIEWS
    mailbox = VOID
    address = ""
    kept = None
    note_at = None
    sent_out: tuple[str, float] | None = None

    def __init__(self, server: int, number: int, post: Post) -> None:
        self.server = server
        self._post = post
        self.number = number
        self.profile = Profile()
        self.who = Who(0)
        self.token = 0  # the number of its token
        self.began = self.heard = time.monotonic()
        self.contact: Contact = RemoteContact(self)
        self.reply_to: Contact | None = None
        self.gone = Latch()  # set when it is connected no more

    @property
    def name(self) -> str:
        return self.profile.name

    @property
    def identity(self) -> int:
        return self.who.identity

    @property
    def account(self) -> bool:
        return self.who.account

    @property
    def operator(self) -> bool:
        return self.who.operator

    def __str__(self) -> str:
        return f"session {self.number} of another server ({self.name})"

    def person(self, rooms: tuple[str, ...]) -> PersonRow:
        return PersonRow(self.name, rooms, time.monotonic() - self.heard, self.profile.away, self.account)

    def send(self, *events: Event, more: bool = False) -> None:
        """Send events to its server, which shows them. Nothing is kept of them. Never waits; raises NotStored."""
        for event in events:
            self._post((self.server, self.number), event)

    def tell(self, error: Exception, ref: str = "") -> None:
        """Its own server tells it."""

    def cut_off(self, error: CutOff) -> None:
        """Its own server cuts it off, when it reads of the claim in the log."""

    def next_page(self) -> bool:
        return False

    def was_shown(self, size: int) -> None: ...


class ClusterSessions(SessionStore):
    """The sessions of this server, and the names and tokens of everybody.

    The log decides who gets a name. So ``claim`` only checks the name, has ``decide`` put the claim into the log, and
    waits for it. The history thread then calls ``gives`` or ``takes``, in the log's order.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # Set by main before anybody is let in:
        self.decide: Callable[[Session, str, str, Who], Any]
        self.summon: Callable[[RemotePerson], None]
        self.put: Callable[[Ordered], None]
        self.catch_up: Callable[[], object]
        # Guarded by the lock, as the attributes of the base class:
        self._remote_tokens: dict[int, RemotePerson] = {}
        self._remote_accounts: dict[int, RemotePerson] = {}

    def get(self, number: int) -> Session | None:
        with self._lock:
            return self._sessions.get(number)

    def owner(self, name: str) -> Any:
        """Who has the name, on any server; None: nobody."""
        with self._lock:
            return self._names.owner(fold(name))

    def claim(self, session: Session, name: str, token: str = "", who: Who | None = None) -> Any:
        """As in SessionStore. Waits for the log, and also raises NotStored."""
        wanted = Name.of(name)
        if who is None:
            who = Who(token_id(token)) if token else session.who
        with self._lock:
            self._check(session, wanted, token, who)
        try:
            return self.decide(session, name, token, who)
        except NameTaken:  # by somebody who was quicker
            with self._lock:
                near = self._names.free(name, who.identity)
            raise NameTaken(name, near) from None

    def tell_away(self, session: Session) -> None:
        with contextlib.suppress(NotStored):
            self.put(AwaySet(session, session.profile.away))

    def gives(self, session: Session, name: str, token: str, who: Who) -> Any:
        """A session of this server gets the name. Return the one whose place it takes."""
        wanted, own = Name.of(name), Name.of(session.name) if session.name else None
        with self._lock:
            if session.number not in self._sessions:
                return None
            return self._give(session, wanted, own, token, who)

    def takes(self, person: RemotePerson, name: str, who: Who, token: int) -> None:
        """A person on another server gets the name."""
        new, old = Name.of(name), Name.of(person.name) if person.name else None
        with self._lock:
            if old:
                self._names.give_back(old, person)  # type: ignore[arg-type]
            self._names.take(new, person)  # type: ignore[arg-type]
            self._drop_token(person)
            person.profile, person.who, person.token = replace(person.profile, name=name), who, token
            person.contact.name = name
            self._remote_tokens[token] = person
            if who.account:
                self._remote_accounts[who.identity] = person

    def loses(self, person: RemotePerson) -> None:
        """A person on another server has gone, or lost the name."""
        if person.name:
            name = Name.of(person.name)
            with self._lock:
                self._forget(person, name)

    def _drop_token(self, person: RemotePerson) -> None:
        if self._remote_tokens.get(person.token) is person:
            del self._remote_tokens[person.token]
        if self._remote_accounts.get(person.identity) is person:
            del self._remote_accounts[person.identity]

    def holder(self, token: str, account: int = 0) -> Session | None:
        """As in SessionStore. Looks into the log if the session is not on this server. If it is on another one, it is
        cut off first: what it leaves behind is then in this server's copy. Waits for both."""
        found: Any = super().holder(token, account)
        if found is None and (token or account):
            self.catch_up()
            found = super().holder(token, account)
        if isinstance(found, RemotePerson):
            self.summon(found)
            found = super().holder(token, account)
        return None if isinstance(found, RemotePerson) else found

    def _holder(self, token: str, account: int) -> Any:
        found: Any = super()._holder(token, account)
        if found is None and token:
            found = self._remote_tokens.get(token_id(token))
        return found or self._remote_accounts.get(account)

    def _forget(self, session: Any, name: Name) -> None:
        if isinstance(session, RemotePerson):
            self._names.give_back(name, session)  # type: ignore[arg-type]
            self._drop_token(session)
        else:
            super()._forget(session, name)

    def again(self, contact: Contact) -> Any:
        if not isinstance(contact, RemoteContact):
            return super().again(contact)
        person: Any = contact.person
        with self._lock:
            return person if self._names.owner(fold(person.name)) is person else None

    def identities(self) -> Set[int]:
        with self._lock:
            remote = list(self._remote_tokens.items())
        return super().identities() | {number for number, _ in remote} | {each.identity for _, each in remote}
