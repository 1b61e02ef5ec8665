"""Passwords: how they are kept, which are allowed, and how few are checked at a time.

The history keeps a scrypt hash of each password (RFC 7914), with a salt of its own. Checking one takes 185 ms of a
processor and 16 MiB, so that nobody can try many, not even with a copy of the history. It also means that checking is
the most expensive thing that a client can ask for. So ``Gate`` lets only AT_ONCE threads do it at a time.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
import time
import unicodedata
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from .account_errors import BadPassword, PasswordsBusy
from .latch import Latch

SHORTEST = 8  # characters of a password
LONGEST = 200
COST = (1 << 14, 8, 5)  # scrypt's N, r and p
AT_ONCE = 2  # passwords that are checked at a time
WAITING = 300  # threads that may wait: a lecture hall
PATIENCE = 120.0  # seconds that a thread waits at most
TELL = 20.0  # seconds after which a thread is told again how many are ahead of it
LOOK = 0.5  # seconds after which a thread that waits checks whether its client is still there
_MEMORY = 1 << 26  # bytes that scrypt may take


@dataclass(frozen=True, slots=True)
class Password:
    """The hash of a password, with the parameters and the salt that it was made with."""

    n: int
    r: int
    p: int
    salt: bytes = field(repr=False)
    hash: bytes = field(repr=False)

    @classmethod
    def of(cls, text: str) -> Password:
        """Take a new password. Raise BadPassword. Needs 185 ms."""
        salt = os.urandom(16)
        return cls(*COST, salt, _scrypt(check_password(text), salt, *COST))

    def matches(self, text: str) -> bool:
        """Whether this is the password. Needs 185 ms, however near the text is."""
        if len(text) > LONGEST:
            return False
        return hmac.compare_digest(self.hash, _scrypt(_same(text), self.salt, self.n, self.r, self.p))


@dataclass(frozen=True, slots=True)
class Account:
    """A name that is reserved for the person who knows its password.

    ``id`` is the number of the token under which it was registered (tokens.token_id). It says who the person is: what
    they own, and what they said, has this number.
    """

    id: int
    name: str
    made: int  # milliseconds since 1970
    password: Password
    operator: bool = False  # of the server


def check_password(text: str) -> str:
    """A new password in the form in which it is hashed; raise BadPassword."""
    if not text.isprintable():
        raise BadPassword("A password has no control characters in it, such as those of the arrow keys.")
    if not SHORTEST <= len(text) <= LONGEST:
        raise BadPassword(f"A password has {SHORTEST} to {LONGEST} characters.")
    return _same(text)


def _same(text: str) -> str:
    """The same for an é of one character and one of two (RFC 8265, section 4.2)."""
    return unicodedata.normalize("NFC", text)


def _scrypt(text: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(text.encode("utf-8", "replace"), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=32)


class _Turn(Latch):
    """One thread that waits. It is set when the thread may pass, or has lost its place."""

    __slots__ = ("lost",)

    def __init__(self) -> None:
        super().__init__()
        self.lost = False  # set under Gate._lock, before the latch


class Gate:
    """Lets few threads through at a time. Sites take turns, and the threads of one site pass in the order in which
    they came. When ``most`` threads wait, a newcomer takes the place of the last one of the site that has the most of
    them. So one site may have all places, such as a lecture hall, but it cannot hold up the others.

    A site is whatever text ``enter`` is given (see ``addresses.site``). Any thread may call any method."""

    def __init__(self, at_once: int = AT_ONCE, most: int = WAITING, patience: float = PATIENCE) -> None:
        self._most = most
        self._patience = patience
        self._lock = threading.Lock()  # guards the two below
        self._free = at_once
        self._waiting: OrderedDict[str, deque[_Turn]] = OrderedDict()  # by site; the first site's turn is next

    def __len__(self) -> int:
        """How many threads wait."""
        with self._lock:
            return sum(map(len, self._waiting.values()))

    def enter(self, site: str, gone: Callable[[], bool], told: Callable[[int], None]) -> None:
        """Wait for a turn; ``leave`` must follow. While the thread has to wait, ``told`` is called with the number of
        threads ahead of it, at once and every TELL seconds. Raise PasswordsBusy if too many wait, after ``patience``
        seconds, or when ``gone`` says that the client has gone."""
        turn = _Turn()
        with self._lock:
            if self._free:
                self._free -= 1
                return
            out = self._make_room(len(self._waiting.get(site, ())))
            self._waiting.setdefault(site, deque()).append(turn)
        if out:
            out.set()
        began = last = time.monotonic()
        try:
            told(self._before(site, turn))
            while not turn.wait(LOOK):
                now = time.monotonic()
                if gone() or now >= began + self._patience:
                    raise PasswordsBusy()
                if now >= last + TELL:
                    last = now
                    told(self._before(site, turn))
        except BaseException:
            if not self._withdraw(site, turn) and not turn.lost:  # its turn has just come
                self.leave()
            raise
        if turn.lost:
            raise PasswordsBusy()

    def _before(self, site: str, turn: _Turn) -> int:
        """How many threads are ahead of one that waits."""
        with self._lock:
            mine = self._waiting.get(site)
            at = mine.index(turn) if mine and turn in mine else 0
            return at + sum(min(len(each), at + 1) for of, each in self._waiting.items() if of != site)

    def _make_room(self, mine: int) -> _Turn | None:
        """For a newcomer whose site has ``mine`` threads here: return the one that loses its place, if one has to.
        Raise PasswordsBusy if it would be one of a site that has no more than the newcomer's."""
        assert self._lock.locked()
        if sum(map(len, self._waiting.values())) < self._most:
            return None
        longest = max(self._waiting.values(), key=len)
        if len(longest) <= mine + 1:
            raise PasswordsBusy()
        out = longest.pop()
        out.lost = True
        return out

    def _withdraw(self, site: str, turn: _Turn) -> bool:
        """Give up a place; return False if the thread has none any more."""
        with self._lock:
            turns = self._waiting.get(site)
            if turns is None or turn not in turns:
                return False
            turns.remove(turn)
            if not turns:
                del self._waiting[site]
            return True

    def leave(self) -> None:
        """Let the next thread pass."""
        with self._lock:
            if not self._waiting:
                self._free += 1
                return
            site, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[site] = turns  # behind the other sites
        turn.set()
