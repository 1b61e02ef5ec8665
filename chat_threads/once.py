"""Exactly once: a request that is sent again after a broken connection takes effect once.

A client whose connection broke does not know what became of its last requests. It comes back with its token and sends
them again, under the same refs. So the history remembers the last REFS requests under each token, with the number that
each one's message got. A request that is found there is acknowledged with that number, and nothing else happens.

The table ``refs`` holds them in the file. Its rows are written in the transaction that stores the messages, so a crash
leaves both or neither. ``Once`` keeps those of the tokens used last in memory.

The history thread calls all of this; what takes a ``writer`` runs in a transaction of the Storage's.
"""

from __future__ import annotations

import sqlite3
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence, Set
from itertools import islice

from . import ordered
from .batch import StoredRef
from .errors import ChatError, MaybeStored, Unreadable
from .rules import REFS

TOKENS = 20_000  # tokens remembered
SWEEP_TOKENS = 4  # tokens forgotten in one transaction, each with up to REFS requests
REFS_BYTES = 1 << 26  # that the last requests of tokens may take in memory, unless told otherwise
TOKEN_BYTES = 700  # that a token takes there, about
REF_BYTES = 350  # and each of its requests, besides its ref

Refused = list[tuple[ordered.Ordered, ChatError]]


class Requests:
    """What became of the last REFS requests under one token, and about how many ``bytes`` that takes."""

    def __init__(self, stored: Sequence[StoredRef]) -> None:
        self.count = stored[-1].count if stored else 0
        self.by_ref = {each.ref: each for each in stored}
        self.bytes = TOKEN_BYTES + sum(map(_bytes_of, self.by_ref))

    def add(self, ref: StoredRef) -> int:
        """Add a request; returns by how many bytes that made it larger."""
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
    """Knows what was asked for before. ``read`` reads a token's requests from the file, and may raise Unreadable.

    Between two batches it takes up to ``max_bytes`` of memory; it reads the rest when needed.
    """

    def __init__(self, read: Callable[[int], Sequence[StoredRef]], max_bytes: int = REFS_BYTES) -> None:
        self._read = read
        self._max_bytes = max_bytes
        # Owned by the history thread.
        self._requests: OrderedDict[int, Requests] = OrderedDict()  # by token, the one used last at the end
        self._bytes = 0  # that these take, about
        self._unsure: set[tuple[int, str]] = set()  # requests of the one commit that may come back, by token and ref

    def recall(self, items: Iterable[ordered.Ordered]) -> tuple[list[ordered.Ordered], Refused]:
        """Replace what was submitted before under the same token and ref, and is committed, by its acknowledgement.

        A request of which nobody can know that is taken out and refused with an error that leaves it open, because
        saying "not stored" might be wrong.
        """
        recalled: list[ordered.Ordered] = []
        unsure: Refused = []
        for item in items:
            if isinstance(item, ordered.Draft) and item.token:
                if (item.token, item.ref) in self._unsure:
                    unsure.append((item, MaybeStored()))
                    continue
                try:
                    known = self._requests_of(item.token).by_ref.get(item.ref)
                except Unreadable as error:
                    unsure.append((item, error))
                    continue
                if known:
                    item = ordered.Acked(item.origin, item.ref, known.room, known.number)
            recalled.append(item)
        return recalled, unsure

    def count(self, token: int) -> int:
        """How many requests under a token are committed. ``recall`` has read them for this batch."""
        return self._requests_of(token).count

    def _requests_of(self, token: int) -> Requests:
        """What is known of a token's requests: from memory, or from the file once; raise Unreadable."""
        requests = self._requests.get(token)
        if requests is None:
            requests = self._requests[token] = Requests(self._read(token))
            self._bytes += requests.bytes
        else:
            self._requests.move_to_end(token)
        return requests

    def committed(self, refs: Iterable[StoredRef]) -> None:
        """Remember the requests of a batch that is stored."""
        for ref in refs:
            self._bytes += self._requests[ref.token].add(ref)

    def may_come_back(self, refs: Iterable[StoredRef]) -> None:
        """Nobody knows whether these requests will be in the file at the next start."""
        self._unsure.update((ref.token, ref.ref) for ref in refs)

    def trim(self) -> None:
        """Let go of what is too much. After a batch, which needed what it asked for."""
        while self._bytes > self._max_bytes and self._requests:
            self._bytes -= self._requests.popitem(last=False)[1].bytes


# --- in the file ------------------------------------------------------------------------------------------


def requests_under(writer: sqlite3.Connection, token: int) -> list[StoredRef]:
    """What became of the last REFS requests under a token, in order. Raises sqlite3.Error."""
    sql = "SELECT token, count, ref, room, number FROM refs WHERE token = ? ORDER BY count"
    return [StoredRef(*row) for row in writer.execute(sql, (token,)).fetchall()]


def store(
    writer: sqlite3.Connection, tokens: Iterable[ordered.TokenUsed], refs: Sequence[StoredRef], uses: int
) -> None:
    """Store which tokens were used, the ``uses + 1``-th use first, and what became of requests."""
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


def forget(writer: sqlite3.Connection, connected: Set[int]) -> bool:
    """If there are more than TOKENS tokens, forget up to SWEEP_TOKENS of them, with their requests.

    Those that were not used for longest go first, and before them those under which nothing was said with a ref. A
    token that is ``connected`` stays. Returns whether there are more to forget.
    """
    spare = writer.execute("SELECT count(*) FROM tokens").fetchone()[0] - TOKENS
    if spare <= 0:
        return False
    oldest = writer.execute("SELECT id FROM tokens ORDER BY kept, used")
    ids = list(islice((row for row in oldest if row[0] not in connected), min(spare, SWEEP_TOKENS)))
    oldest.close()
    writer.executemany("DELETE FROM refs WHERE token = ?", ids)
    writer.executemany("DELETE FROM tokens WHERE id = ?", ids)
    return bool(spare > SWEEP_TOKENS == len(ids))
