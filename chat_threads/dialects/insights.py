"""The server's threads, its locks, and the trip of a message, in lines for people. Pure functions.

``room`` is the number of columns that a line may have.
"""

from __future__ import annotations

from .. import events
from .amounts import counted, time_span
from .rows import wrapped
from .sentences import NOT_COUNTED, trip_shown
from .tables import blocks, table


def threads(event: events.ThreadList, room: int) -> list[str]:
    """Two lines for each thread, because a table with everything is wider than a terminal; a third one if it waits for
    a lock."""
    rows = [
        [row.thread, row.session or "", row.doing, _short(row.seconds), _pair(row.waiting, row.most)]
        for row in event.threads
    ]
    headers = ("thread", "session", "doing", "for", "queue/most")
    lines, each = blocks(headers, rows, (3, 4), room, shrink=((1, 12), (2, 12)))
    for row, above in zip(event.threads, each, strict=True):
        at = f"  at {row.where}"
        sent = f"  sent {counted(row.lines, 'line')}, {row.bytes} bytes" if row.lines is not None else ""
        parts = [at + sent] if len(at + sent) <= room or not sent else [at, sent]
        lines += (*above, *(line for part in parts for line in wrapped(part, room, "    ")))
        if row.lock:
            lines += (f"  {_wait_for(row.lock, row.holder, row.held)}",)
    return [*lines, *([f"and {counted(event.more, 'more reader')}."] if event.more else ())]


def locks(event: events.LockList, room: int) -> list[str]:
    """A table, and below it who waits for what."""
    if not event.counted:
        return [NOT_COUNTED]
    rows = [
        [
            row.lock,
            str(row.taken),
            str(row.contended),
            f"{row.waited * 1000:.1f}ms",
            f"{row.longest * 1000:.1f}ms",
            "" if row.holder is None else f"{row.holder}, {_short(row.held or 0.0)}",
        ]
        for row in event.locks
    ]
    headers = ("lock", "taken", "contended", "waited", "longest", "held now by")
    waits = [f"{each} {_wait_for(row.lock, row.holder, row.held)}" for row in event.locks for each in row.waiting]
    return [*table(headers, rows, (1, 2, 3, 4), room, shrink=((5, 12),)), *waits]


def trip(event: events.TripShown, room: int) -> list[str]:
    """When a message was where, and when each member got it."""

    def shown(milliseconds: float | None) -> str:
        return "" if milliseconds is None else f"{milliseconds:.3f}"

    rows = [[row.name, shown(row.queued), shown(row.written)] for row in event.members]
    members = table(("member", "queued", "written"), rows, (1, 2), room, shrink=((0, 20),))
    return [*trip_shown(event), *members, *([f"and {event.more} more."] if event.more else ())]


def _wait_for(lock: str, holder: str | None, held: float | None) -> str:
    """What a thread waits for. For the moment in which a lock is handed on, nobody has it."""
    return f"waits for {lock}" + (f", held by {holder} for {held or 0.0:.1f} s" if holder else "")


def _pair(first: int | None, second: int | None) -> str:
    return "/".join(str(each) for each in (first, second) if each is not None)


def _short(seconds: float) -> str:
    return f"{seconds:.3f}s" if seconds < 10 else time_span(seconds)
