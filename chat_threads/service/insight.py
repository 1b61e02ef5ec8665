"""Insight: how the server is doing and where it is, what its threads and locks do, and help."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice

from .. import __version__, commands, events, inside, qr
from ..errors import NoFaults, NotInRoom, NotLocal, NoTrip, TripsUnrecorded
from ..lab import UnknownFault
from ..pace import cost_of_code
from ..reach import with_room
from ..rules import check_room, fold
from ..session import Session
from . import governing
from .table import MAX_ROWS, Context, does

log = logging.getLogger(__name__)


@does(commands.Stats)
def stats(context: Context, session: Session, command: commands.Stats) -> None:
    numbers = context.history.log_numbers
    session.answer(
        events.StatsShown(
            __version__,
            time.monotonic() - context.began,
            len(context.sessions),
            len(context.publisher),
            context.history.stored,
            threading.active_count(),
            context.history.commits.per_second(),
            *((numbers.position, numbers.behind, numbers.appends, numbers.retries) if numbers else ()),
        )
    )


@does(commands.ShowQr)
def show_qr(context: Context, session: Session, command: commands.ShowQr) -> None:
    """The address leads into the session's current room. Takes no lock."""
    room = context.publisher.peek_current(session)
    url = (command.base or context.home()) + with_room(room.name if room else "")
    session.pace.pay(cost_of_code(url))
    session.answer(events.QrShown(url, qr.rows_of(url)))


def _may_look(context: Context, session: Session) -> None:
    if not session.local and not context.insight.for_all:
        raise NotLocal()


@does(commands.ShowThreads)
def show_threads(context: Context, session: Session, command: commands.ShowThreads) -> None:
    """Answers even when other threads are stuck: it reads what they do without a lock."""
    _may_look(context, session)
    now = time.monotonic()
    slots = sorted(inside.slots(), key=_last_the_readers)
    places = inside.places({slot.ident for slot in slots[:MAX_ROWS]})
    waits = {ident: lock for lock in context.insight.locks.made for ident in lock.waiting()}
    rows = tuple(_row(slot, now, places.get(slot.ident, ""), waits.get(slot.ident)) for slot in slots[:MAX_ROWS])
    session.answer(events.ThreadList(rows, len(slots) - len(rows)))


def _last_the_readers(slot: inside.Slot) -> tuple[bool, int, bool]:
    """The order in which threads are shown: the readers at the end, those with the most waiting lines first, and those
    that only wait for input last."""
    if slot.role != "reader":
        return False, 0, False
    return True, -slot.depth()[0] if slot.depth else 0, slot.doing[0] == inside.INPUT


def _row(slot: inside.Slot, now: float, where: str, lock: inside.CountedLock | None) -> events.ThreadRow:
    """The row of a thread and of the lock that it waits for, read without any lock."""
    session: Session | None = slot.session
    doing, since = slot.doing
    waiting, most = slot.depth() if slot.depth else (None, None)
    return events.ThreadRow(
        slot.name,
        slot.role,
        session.name if session else None,
        doing,
        max(0.0, now - since),
        where,
        waiting,
        most,
        session.mailbox.taken if session else None,
        session.wire.sent if session else None,
        lock.name if lock else None,
        *(_held(lock, now) if lock else (None, None)),
    )


def _held(lock: inside.CountedLock, now: float) -> tuple[str | None, float | None]:
    """The thread that has a lock, and for how long: seconds."""
    name, since = lock.holder or (None, now)
    return name, None if name is None else max(0.0, now - since)


@does(commands.ShowLocks)
def show_locks(context: Context, session: Session, command: commands.ShowLocks) -> None:
    """Reads the numbers as they are, without a lock."""
    _may_look(context, session)
    now = time.monotonic()
    rows = []
    for lock in sorted(context.insight.locks.made, key=lambda lock: lock.name):
        name, held = _held(lock, now)
        longest = max(lock.longest, held or 0.0)
        waiters = lock.waiting().values()
        contended, waited = lock.contended + len(waiters), lock.waited + sum(now - asked for _, asked in waiters)
        waiting = tuple(waiter for waiter, _ in islice(waiters, MAX_ROWS))
        rows.append(events.LockRow(lock.name, lock.taken, contended, max(0.0, waited), longest, name, held, waiting))
    session.answer(events.LockList(context.insight.locks.counted, tuple(rows)))


@does(commands.ShowTrip)
def show_trip(context: Context, session: Session, command: commands.ShowTrip) -> None:
    """Reads the trip without a lock. Of a trip that is not over it shows what is known so far.

    With --lab, everybody may see the trips of every room, as everybody may read its history; otherwise only those of
    the session's current room. Without a room and without a current one, it is the newest trip of all.
    """
    _may_look(context, session)
    recorder, current = context.insight.recorder, context.publisher.peek_current(session)
    if recorder is None:
        raise TripsUnrecorded()
    room = current.name if current else None
    if command.room is not None and fold(command.room) != fold(room or ""):
        room = check_room(command.room)
        if not context.insight.for_all:
            raise NotInRoom(room)
    if room is None and (command.number is not None or not context.insight.for_all):
        raise NotInRoom()
    trip = recorder.newest(room) if command.number is None else recorder.find(room or "", command.number)
    found = context.publisher.peek(trip.room_id) if trip else None
    may_see = found is not None and (found.may_read if room else found.is_listed)(session)
    if trip is None or not may_see:
        raise NoTrip(room, command.number)  # also if the room is gone
    session.answer(trip.shown())


@does(commands.MakeFault)
def make_fault(context: Context, session: Session, command: commands.MakeFault) -> None:
    faults = context.insight.faults
    if faults is None:
        raise NoFaults()
    seconds = float(command.amount)
    if (command.fault, command.target) == ("pause", "publisher"):
        what = f"holds the Publisher's lock for {command.amount} s"
        faults.pause_publisher(seconds, _over(context, "The Publisher is free again."))
    elif (command.fault, command.target) == ("pause", "history"):
        what = f"stops the history for {command.amount} s"
        faults.pause_history(seconds, _over(context, "The history runs again."))
    elif command.fault == "off":
        faults.end_all()  # their threads tell everybody
        session.answer(events.Ack())
        return
    elif command.fault == "slow" and command.target:
        other = context.sessions.named(command.target)
        if command.amount == 0:
            faults.slow_no_more(other.number)  # its thread tells everybody
            session.answer(events.Ack())
            return
        what = f"makes every send to {other.name} take {command.amount} ms more, for a minute at most"
        faults.slow(other.number, command.amount, _over(context, f"{other.name} is no longer slowed down."))
    else:
        raise UnknownFault()
    log.info("%s %s", session, what)
    _tell_all(context, f"{session.name} {what}.", next="threads", asked=session)


def _over(context: Context, text: str) -> Callable[[], None]:
    return lambda: _tell_all(context, text)


def _tell_all(context: Context, text: str, next: str = "", asked: Session | None = None) -> None:
    """Tell everybody at once, even if other threads are stuck; for the session that ``asked`` it is the answer."""
    for each in context.sessions.people():
        tell = each.answer if each is asked else each.send
        tell(events.Notice(text, next=next))


@does(commands.Ping)
def ping(context: Context, session: Session, command: commands.Ping) -> None:
    """Waits as a message does, in the history's queue."""
    began = time.monotonic()
    context.wait(session)
    session.answer(events.Pong(time.monotonic() - began, session.wire.rtt()))


@does(commands.AreYouThere)
def are_you_there(context: Context, session: Session, command: commands.AreYouThere) -> None:
    session.answer(events.Notice("Yes, I am here."))


@does(commands.Help)
def show_help(context: Context, session: Session, command: commands.Help) -> None:
    without = () if command.about not in (None, commands.EVERYTHING) else useless(context, session)
    session.answer(events.HelpShown(command.about, bool(session.name), frozenset(without)))


def useless(context: Context, session: Session) -> Iterator[str]:
    """The names of the commands that would not work for this session: help and completion leave them out."""
    insight = context.insight
    may_look = session.local or insight.for_all
    for kind, works in (
        (commands.ShowThreads, may_look),
        (commands.ShowLocks, may_look and insight.locks.counted),
        (commands.ShowTrip, may_look and insight.recorder is not None),
        (commands.MakeFault, insight.faults is not None),
    ):
        if not works:
            yield kind.row.name
    if session.dialect.settings() is not None:  # a person's; other programs are told all that there is
        yield from (kind.row.name for kind in governing.useless(context, session))
