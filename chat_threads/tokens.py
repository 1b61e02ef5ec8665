"""Tokens: the secret that a client shows to come back as itself, after its connection was lost.

A token has 128 random bits. The server stores only a number that is computed from the token. The number does not
reveal the token, so somebody who can read the history cannot take anybody's place.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from .addresses import network

TOKEN_LENGTH = 64  # characters of a token that count; the server's tokens have 22
AT_ONCE = 1000  # tokens that one address may get at once: a lecture hall may be one address
A_SECOND = 1.0  # tokens a second that one address may get in the long run
ADDRESSES = 4096  # addresses that are remembered
_PERSON = re.compile("[0-7][0-9a-f]{15}")


def new_token() -> str:
    """Make a new token."""
    try:
        return _made.pop()
    except IndexError:  # whoever asks the system for randomness lets another thread go first, so ask for many at once
        random = secrets.token_bytes(_SIZE * _AT_A_TIME)
        pieces = [random[at : at + _SIZE] for at in range(0, len(random), _SIZE)]
        first, *others = [base64.urlsafe_b64encode(piece).decode().rstrip("=") for piece in pieces]
        _made.extend(others)
        return first


_SIZE = 16  # random bytes in a token
_AT_A_TIME = 64  # tokens
_made: list[str] = []  # tokens that nobody has yet; any thread adds and takes them, by single operations


def token_id(token: str) -> int:
    """The number that is stored for a token: 63 bits of its SHA-256, because SQLite's integers hold no more."""
    digest = hashlib.sha256(token[:TOKEN_LENGTH].encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def person_of(identity: int) -> str:
    """A token's number as programs see it. Two names with the same number belong to one person."""
    return f"{identity:016x}"


def identity_of(person: str) -> int | None:
    """The number from which ``person_of`` made this text; None: it made no such text."""
    return int(person, 16) or None if _PERSON.fullmatch(person) else None


@dataclass(frozen=True, slots=True)
class Who:
    """Whose a token is. ``identity`` is the number of an account, or of the token itself."""

    identity: int
    account: bool = False
    operator: bool = False  # of the server
    # The salt of the account's password when this was found out: with another password, it is true no longer.
    proof: bytes = field(default=b"", repr=False)


class Handout:
    """Limits what one address gets of something scarce: ``at_once`` in a burst, and ``a_second`` in the long run. The
    defaults, AT_ONCE and A_SECOND, are for tokens.

    It has no lock of its own: the owner makes sure that only one thread calls it at a time.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        at_once: float | None = None,
        a_second: float | None = None,
    ) -> None:
        self._clock = clock
        self._at_once = AT_ONCE if at_once is None else at_once
        self._a_second = A_SECOND if a_second is None else a_second
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # how many are left, and when

    def wait(self, address: str) -> float:
        """Take one for the address and return 0; or return the seconds until the address can have one."""
        of, now = network(address), self._clock()
        left, at = self._left.pop(of, (self._at_once, now))
        left = min(self._at_once, left + (now - at) * self._a_second)
        self._left[of] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > ADDRESSES:
            self._left.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self._a_second

    def give_back(self, address: str) -> None:
        """This address gives one back."""
        of = network(address)
        if of in self._left:
            left, at = self._left[of]
            self._left[of] = (left + 1, at)
