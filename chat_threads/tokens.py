"""Tokens: what a client shows to come back as itself, after its connection was lost.

A token is a secret of the client's, 128 random bits. The server keeps a number that is made from it, which does
not give the token away: who can read the history cannot take anybody's place.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable

from .addresses import network

TOKEN_LENGTH = 64  # characters that are looked at; those that are handed out have 22
AT_ONCE = 1000  # tokens that one address may get at once: a lecture hall may be one address
A_SECOND = 1.0  # tokens that it may get in the long run
ADDRESSES = 4096  # addresses that are remembered
_PERSON = re.compile("[0-7][0-9a-f]{15}")


def new_token() -> str:
    """A token that nobody has."""
    return secrets.token_urlsafe(16)


def token_id(token: str) -> int:
    """The number under which a token is kept: 63 bits of its SHA-256, as many as SQLite's integers hold."""
    digest = hashlib.sha256(token[:TOKEN_LENGTH].encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def person_of(identity: int) -> str:
    """A token's number, as programs are told whom they ignore: it says of two names whether one person had both."""
    return f"{identity:016x}"


def identity_of(person: str) -> int | None:
    """The number that ``person_of`` wrote so; None: it did not."""
    return int(person, 16) or None if _PERSON.fullmatch(person) else None


class Handout:
    """Sees to it that no address gets so much of something that others have none: so many at once, and in the long run
    so many a second. For tokens these are AT_ONCE and A_SECOND.

    It has no lock: whoever has one sees to it that one thread at a time asks.
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
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # how many, and when; asked last at the end

    def wait(self, address: str) -> float:
        """0: it may have one, which is counted; otherwise the seconds until there will be one for it."""
        of, now = network(address), self._clock()
        left, at = self._left.pop(of, (self._at_once, now))
        left = min(self._at_once, left + (now - at) * self._a_second)
        self._left[of] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > ADDRESSES:
            self._left.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self._a_second

    def give_back(self, address: str) -> None:
        """One that was handed out to this address is free again."""
        of = network(address)
        if of in self._left:
            left, at = self._left[of]
            self._left[of] = (left + 1, at)
