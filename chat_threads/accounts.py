"""All accounts, in memory, and who may try which passwords how often.

The history thread stores a change of an account before it makes the change here. So whatever is here is also on disk.
Nobody can lock out somebody else, because wrong passwords count for a name and an address together. An address is here
what ``addresses.site`` makes of it.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from .account_errors import AccountBusy, TooManyAccounts, TooManyPasswords
from .addresses import site
from .ordered import AccountChange, AccountEnded
from .pace import Seldom
from .passwords import Account, Gate
from .rules import fold
from .tokens import Handout

log = logging.getLogger(__name__)

Plain = Literal["warn", "refuse"]

MOST = 100_000  # accounts; each takes about 800 bytes
FAILURES = 5  # wrong passwords for a name and an address, after which further ones are delayed
WITHIN = 600.0  # seconds in which they count
DELAY = 60.0  # seconds after the last of them
REMEMBERED = 4096  # names and addresses with wrong passwords
MADE_AT_ONCE = 300  # accounts that one address may make at once: a lecture hall may be one address
MADE_A_SECOND = 1 / 60  # in the long run
TRIED_AT_ONCE = 600  # passwords that are checked for one address at once: two for each account that it may make
TRIED_A_SECOND = 0.5
LOGGED = 20  # wrong passwords that are logged in each LOG_PAUSE; the others are counted
LOG_PAUSE = 10.0  # seconds


class Accounts:
    """All accounts, by their names and ids. Any thread may call any method, except ``change``: the history thread, and
    main before it begins."""

    def __init__(
        self,
        plain: Plain = "warn",
        operators: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``plain``: what happens to passwords without TLS from other machines. ``operators``: accounts with these
        names are operators of the server."""
        self.plain = plain
        self.gate = Gate()
        self._operators = frozenset(map(fold, operators))
        self._clock = clock
        self._lock = threading.Lock()  # guards the eight below
        self._by_key: dict[str, Account] = {}
        self._by_id: dict[int, Account] = {}
        self._token = ""  # for the first operator; "": there is none
        self._changing: set[int] = set()  # the ids of accounts that somebody is about to change
        self._failed: OrderedDict[tuple[str, str], list[float]] = OrderedDict()  # when, by folded name and site
        self.wrong = 0  # passwords so far
        self._made = Handout(clock, MADE_AT_ONCE, MADE_A_SECOND)
        self._tried = Handout(clock, TRIED_AT_ONCE, TRIED_A_SECOND)
        self._wrong = Seldom(LOG_PAUSE, clock, LOGGED)

    def named(self, name: str) -> Account | None:
        """The account with this name, in upper or lower case; None: there is none."""
        with self._lock:
            return self._by_key.get(fold(name))

    def of(self, identity: int) -> Account | None:
        """The account with this id; None: this is nobody's account."""
        with self._lock:
            return self._by_id.get(identity)

    def expect_operator(self, token: str) -> None:
        """Whoever shows this token first becomes an operator of the server."""
        with self._lock:
            self._token = token

    @property
    def expects_operator(self) -> bool:
        """Whether a token can still make somebody an operator of the server. Takes no lock."""
        return self._token != ""

    def take_token(self, token: str) -> bool:
        """Whether that is the token for the first operator; if so, it is void from now on."""
        with self._lock:
            right = bool(self._token) and hmac.compare_digest(self._token.encode(), token.encode("utf-8", "replace"))
            if right:
                self._token = ""
        return right

    def has_operator(self) -> bool:
        """Whether some account is an operator of the server."""
        with self._lock:
            every = list(self._by_id.values())
        return any(map(self.is_operator, every))

    def is_operators_name(self, name: str) -> bool:
        """Whether an account of this name is an operator of the server."""
        return fold(name) in self._operators

    def is_operator(self, account: Account) -> bool:
        """Whether the person is an operator of the server."""
        return account.operator or fold(account.name) in self._operators

    def change(self, changes: Iterable[AccountChange]) -> None:
        """Take over changes that are stored."""
        with self._lock:
            for change in changes:
                account = change.account
                if isinstance(change, AccountEnded):
                    self._by_id.pop(account.id, None)
                    self._by_key.pop(fold(account.name), None)
                else:
                    self._by_id[account.id] = self._by_key[fold(account.name)] = account

    @contextlib.contextmanager
    def changing(self, identity: int) -> Iterator[None]:
        """A context in which nobody else changes this account; raise AccountBusy if somebody does so now."""
        with self._lock:
            if identity in self._changing:
                raise AccountBusy()
            self._changing.add(identity)
        try:
            yield
        finally:
            with self._lock:
                self._changing.discard(identity)

    def may_make(self, address: str) -> None:
        """Count an account that is made from this address; raise TooManyAccounts."""
        with self._lock:
            full, seconds = len(self._by_id) >= MOST, self._made.wait(site(address))
        if full or seconds:
            raise TooManyAccounts(None if full else seconds)

    def may_work(self, address: str) -> None:
        """Count a password on which a thread is about to work for this address; raise TooManyPasswords."""
        with self._lock:
            seconds = self._tried.wait(site(address))
        if seconds:
            raise TooManyPasswords(seconds)

    def did_not_work(self, address: str) -> None:
        """Nobody has worked on that password after all."""
        with self._lock:
            self._tried.give_back(site(address))

    def may_try(self, name: str, address: str) -> None:
        """Count a password that is about to be checked, as if it were wrong: many may be checked at the same time.
        Raise TooManyPasswords. ``tried`` must follow."""
        key, now = (fold(name), site(address)), self._clock()
        with self._lock:
            failed = [at for at in self._failed.pop(key, ()) if at > now - WITHIN]
            delay = failed[-1] + DELAY - now if len(failed) >= FAILURES else 0.0
            self._failed[key] = failed if delay > 0 else [*failed, now][-FAILURES:]
            if len(self._failed) > REMEMBERED:
                self._failed.popitem(last=False)
        if delay > 0:
            raise TooManyPasswords(delay, name)

    def tried(self, name: str, address: str, right: bool | None) -> None:
        """The password was right or wrong; None: it was not checked after all."""
        key = fold(name), site(address)
        with self._lock:
            if right:
                self._failed.pop(key, None)
            elif right is None and self._failed.get(key):
                self._failed[key].pop()
            elif right is False:
                self.wrong += 1
        if right is False and (count := self._wrong.happens()):
            more = f" (wrong ones since the last line: {count})" if count > 1 else ""
            log.warning("a wrong password for the account %s from %s%s", name, address, more)
