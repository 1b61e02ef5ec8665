"""Latencies in buckets: memory does not grow with the run, and two histograms add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

BITS = 6  # 64 buckets for each doubling: the error is below 1/64 of the value
LONGEST = (1 << 40) - 1  # microseconds, twelve days; longer values count as this


class Histogram:
    """Counts of whole microseconds, in log-linear buckets: exact up to 127, then 64 for each doubling."""

    __slots__ = ("counts", "longest")

    def __init__(self) -> None:
        self.counts = [0] * (bucket(LONGEST) + 1)
        self.longest = 0

    def record(self, value: int) -> None:
        self.record_since((0,), value)

    def record_since(self, times: Iterable[int], now: int) -> None:
        """Record the time from each of the times to ``now``; a later time counts as 0."""
        counts = self.counts
        longest = self.longest
        for at in times:
            value = now - at
            if value > longest:
                longest = value
            if value < 128:  # the same as bucket(), without a call
                counts[value if value > 0 else 0] += 1
            else:
                shift = value.bit_length() - 7
                counts[(shift << 6) + (value >> shift) if value < LONGEST else -1] += 1
        self.longest = longest

    def take(self) -> tuple[dict[int, int], int]:
        """Return the records since the last call, to be sent and added elsewhere; empties this histogram."""
        taken = {index: count for index, count in enumerate(self.counts) if count}, self.longest
        self.counts = [0] * len(self.counts)
        self.longest = 0
        return taken

    def add(self, counts: Mapping[int, int], longest: int) -> None:
        """Add the result of ``take``."""
        for index, count in counts.items():
            self.counts[index] += count
        self.longest = max(self.longest, longest)

    def merge(self, other: Histogram) -> None:
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.longest = max(self.longest, other.longest)

    @property
    def total(self) -> int:
        return sum(self.counts)

    def percentile(self, percent: float) -> int | None:
        """The value that ``percent`` percent do not exceed, rounded up to the end of its bucket; None: no records."""
        total = self.total
        if not total:
            return None
        wanted = total * percent / 100
        seen = 0
        for index, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return min(highest(index), self.longest)
        return self.longest


def bucket(value: int) -> int:
    """The bucket of a value from 0 to LONGEST."""
    shift = max(value.bit_length() - BITS - 1, 0)
    return (shift << BITS) + (value >> shift)


def highest(index: int) -> int:
    """The largest value in a bucket."""
    shift = max((index >> BITS) - 1, 0)
    return ((index - (shift << BITS) + 1) << shift) - 1
