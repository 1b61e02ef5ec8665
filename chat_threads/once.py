"""Exactly once: a request that is sent again after a broken connection takes effect once.

A client whose connection broke does not know whether its last requests were carried out. It comes back with its token
and sends them again, with the same refs. So the history remembers the last REFS requests under each token, with the
numbers of their messages. A request that is found there is only acknowledged again, with that number.

The table ``refs`` holds them in the file. Its rows are written in the transaction that stores the messages, so a crash
leaves both or neither. ``Once`` keeps the requests of the most recently used tokens in memory.

The history thread calls all of this. Functions with a ``writer`` run in a transaction of the Storage.
"""

from __future__ import annotations

import sqlite3
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from itertools import islice

from . import inside, ordered
from .batch import StoredRef
from .errors import ChatError, MaybeStored
from .rules import REFS

TOKENS = 20_000  # tokens that are remembered
SWEEP_TOKENS = 4  # tokens that one transaction forgets, each with up to REFS requests
REFS_BYTES = 1 << 26  # bytes that the requests may take in memory, by default
TOKEN_BYTES = 700  # bytes of a token in memory, roughly
REF_BYTES = 350  # bytes of each of its requests, without its ref

Refused = list[tuple[ordered.Ordered, ChatError]]


class Requests:
    """The results of the last REFS requests under one token, and roughly the ``bytes`` that they take."""

    def __init__(self, stored: Sequence[StoredRef]) -> None:
        self.count = stored[-1].count if stored else 0
        self.by_ref = {each.ref: each for each in stored}
        self.bytes = TOKEN_BYTES + sum(map(_bytes_of, self.by_ref))

    def add(self, ref: StoredRef) -> int:
        """Add a request; return the growth in bytes."""
        before = self.bytes
        self.count = ref.count
        if ref.ref not in self.by_ref:
            self.bytes += _bytes_of(ref.ref)
        self.by_ref[ref.ref] = ref
        if len(self.by_ref) > REFS:
            oldest = next(iter(self.by_ref))
            self.bytes -= _bytes_of(oldest)
            del self.by_ref[oldest]
        return self.bytes - before


def _bytes_of(ref: str) -> int:
    return sys.getsizeof(ref) + REF_BYTES


class Once:
    """Recognises requests that are sent again. ``read`` reads a token's requests from the file; may raise Unreadable.

    Between two batches it takes at most ``max_bytes`` of memory; it reads other requests when needed.
    """

    def __init__(self, read: Callable[[int], Sequence[StoredRef]], max_bytes: int = REFS_BYTES) -> None:
        self._read = read
        self._max_bytes = max_bytes
        # Owned by the history thread:
        self._requests: OrderedDict[int, Requests] = OrderedDict()  # by token; the last used token is last
        self._bytes = 0  # roughly the bytes that _requests takes
        self._unsure: set[tuple[int, str]] = set()  # requests of a failed commit that may come back, by token and ref

    def recall(self, token: int, ref: str) -> StoredRef | None:
        """The result of a request that is already committed; None: it is new.

        Raise MaybeStored if nobody knows whether it is committed, because saying "not stored" might be wrong. Raise
        Unreadable if the file cannot tell.
        """
        if (token, ref) in self._unsure:
            raise MaybeStored()
        return self._requests_of(token).by_ref.get(ref)

    def count(self, token: int) -> int:
        """The number of committed requests under a token. ``recall`` has read them for this batch."""
        return self._requests_of(token).count

    def _requests_of(self, token: int) -> Requests:
        """The known requests of a token, from memory, or from the file if needed. Raise Unreadable."""
        requests = self._requests.get(token)
        if requests is None:
            inside.does("looks for earlier requests")
            requests = self._requests[token] = Requests(self._read(token))
            self._bytes += requests.bytes
        else:
            self._requests.move_to_end(token)
        return requests

    def committed(self, refs: Iterable[StoredRef]) -> None:
        """Remember the requests of a committed batch."""
        for ref in refs:
            self._bytes += self._requests[ref.token].add(ref)

    def may_come_back(self, refs: Iterable[StoredRef]) -> None:
        """It is unknown whether these requests will be in the file at the next start."""
        self._unsure.update((ref.token, ref.ref) for ref in refs)

    def clear(self) -> None:
        """Tokens were forgotten in the file: read all requests again when needed."""
        self._requests.clear()
        self._bytes = 0

    def trim(self) -> None:
        """Drop the requests beyond ``max_bytes``. Called after a batch, which may need more."""
        while self._bytes > self._max_bytes and self._requests:
            self._bytes -= self._requests.popitem(last=False)[1].bytes


# --- in the file ------------------------------------------------------------------------------------------


def requests_under(writer: sqlite3.Connection, token: int) -> list[StoredRef]:
    """The results of the last REFS requests under a token, in order. Raises sqlite3.Error."""
    sql = "SELECT token, count, ref, room, number FROM refs WHERE token = ? ORDER BY count"
    return [StoredRef(*row) for row in writer.execute(sql, (token,)).fetchall()]


def store(
    writer: sqlite3.Connection, tokens: Iterable[ordered.TokenUsed], refs: Sequence[StoredRef], uses: int
) -> None:
    """Store the uses of tokens, beginning with use number ``uses + 1``, and the results of requests."""
    kept = {each.token for each in refs}
    rows = [
        (each.token, each.name, uses + count, each.token in kept, each.token) for count, each in enumerate(tokens, 1)
    ]
    if rows:
        writer.executemany(
            "INSERT INTO tokens (id, name, used, kept)"
            " VALUES (?, ?, ?, ? OR EXISTS (SELECT 1 FROM rooms WHERE owner = ?))"
            " ON CONFLICT (id) DO UPDATE"
            " SET name = excluded.name, used = excluded.used, kept = max(kept, excluded.kept)",
            rows,
        )
    if refs:
        writer.executemany(
            "INSERT OR REPLACE INTO refs (token, slot, count, ref, room, number) VALUES (?, ?, ?, ?, ?, ?)",
            [(r.token, r.count % REFS, r.count, r.ref, r.room, r.number) for r in refs],
        )


def keep(writer: sqlite3.Connection, places: Mapping[int, str]) -> None:
    """Store what tokens keep, in place of what they kept before. Of a token that is not in the file, nothing."""
    writer.executemany(
        "INSERT OR REPLACE INTO places (token, place) SELECT id, ? FROM tokens WHERE id = ?",
        [(place, token) for token, place in places.items()],
    )


def forget(writer: sqlite3.Connection, connected: Set[int]) -> bool:
    """If there are more than TOKENS tokens, forget up to SWEEP_TOKENS of them, with their requests.

    Tokens without requests and without rooms are forgotten first, then those that were unused for the longest time.
    Tokens in ``connected`` stay. Those under which accounts were registered stay, too, and are not counted. Returns
    whether there are more to forget.
    """
    others = "FROM tokens WHERE NOT EXISTS (SELECT 1 FROM accounts WHERE accounts.id = tokens.id)"
    spare = writer.execute(f"SELECT count(*) {others}").fetchone()[0] - TOKENS
    if spare <= 0:
        return False
    oldest = writer.execute(f"SELECT id {others} ORDER BY kept, used")
    ids = list(islice((row for row in oldest if row[0] not in connected), min(spare, SWEEP_TOKENS)))
    oldest.close()
    writer.executemany("DELETE FROM refs WHERE token = ?", ids)
    writer.executemany("DELETE FROM places WHERE token = ?", ids)
    writer.executemany("DELETE FROM keys WHERE token = ?", ids)
    writer.executemany("DELETE FROM tokens WHERE id = ?", ids)
    return bool(spare > SWEEP_TOKENS == len(ids))
