"""The screen of a person who edits lines over telnet. Only the text dialect has one, and the commands for it."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable
from typing import TypeGuard

from .. import commands, events
from ..dialects.base import Dialect
from ..dialects.completing import Goal, Known, goal
from ..dialects.screen import Situation
from ..dialects.text import TextDialect
from ..governance import Governance
from ..rules import fold
from ..session import Session
from ..wire import IDLE
from . import governing, insight
from .people import update_views
from .table import Context, does

REDRAW = 1  # tokens for a change of the views, or of the window
DRAWN = 1 << 11  # bytes drawn for a token, if letters had to be measured; each drawing costs MEASURED more
MEASURED = 0.3
COMPARED = 40  # names that are not of ASCII alone and are compared with what was typed, for a token
ROOMS = 2  # tokens for looking through all rooms, maybe 10,000
PEOPLE = 2  # and through all people
MOST = 100  # candidates for a completion
_OF_ROOMS: tuple[type[commands.Command], ...] = (*governing.MODERATING, commands.Audit)
ELSEWHERE = frozenset(kind.row.name for kind in _OF_ROOMS)  # they may work in another room
SEEN = 5.0  # seconds in which somebody who looks at the keyboard may miss that they had to leave their room
REFRESH = 2.0  # seconds after which the status line of somebody who presses no key is brought up to date


def _has_screen(dialect: Dialect) -> TypeGuard[TextDialect]:
    return isinstance(dialect, TextDialect)


@does(commands.Edit)
def edit(context: Context, session: Session, command: commands.Edit) -> None:
    """Ask the client for single keys, or end its screen; or say whether it has one. If it has to be asked, its screen
    begins with its answer."""
    assert _has_screen(session.dialect)
    if command.on is None:
        session.answer(events.Notice(session.dialect.edits))
        return
    itself = weakref.ref(session)  # the dialect belongs to the session, and must not keep it in memory

    def current() -> str | None:
        me = itself()
        room = context.publisher.peek_current(me) if me else None
        return room.name if room else None

    def believed() -> str | None:
        me = itself()
        left, at = (me and me.sent_out) or ("", 0.0)
        return left if left and time.monotonic() - at < SEEN else current()

    def slow() -> int:
        me = itself()
        room = context.publisher.peek_current(me) if me else None
        rules = room.governance if room else None
        return rules.slow if me and rules and not rules.rank(me) else 0

    said = session.dialect.edit(command.on, current, believed, slow)
    session.wire.wake_after(REFRESH if command.on else IDLE)
    show_screen(context, session, commands.ShowScreen())
    session.answer(events.Notice(said))


@does(commands.ShowScreen)
def show_screen(context: Context, session: Session, command: commands.ShowScreen) -> None:
    """Draw what has changed: what the person has typed, the status line, or all of the screen. Never waits."""
    assert _has_screen(session.dialect)
    room = context.publisher.peek_current(session)
    seen = context.publisher.seen(session)
    rooms = [(name, last) for _, name, last, _ in seen]
    silent = time.time() - max((at for *_, at in seen), default=0) / 1000
    people = len(room.members) if room else 0
    lines = session.mailbox.taken
    session.line = session.dialect.line
    situation = Situation(session.name, room.name if room else None, people, rooms, silent, lines, time.monotonic())
    _draw(context, session, session.dialect.draw(situation, command.drawn))


def refresh(context: Context, session: Session) -> None:
    """Bring the status line of a person who presses no key up to date, and wait no longer for what the client has not
    answered. Never waits."""
    if not _has_screen(session.dialect):
        return
    session.dialect.pause()
    if session.dialect.editing:
        show_screen(context, session, commands.ShowScreen())
    else:
        session.wire.wake_after(IDLE)  # it was asked for single keys, and has refused them or not answered


def leave(session: Session) -> None:
    """The conversation ends: leave a line that the person has not finished above, where it can be read. Never waits."""
    if _has_screen(session.dialect) and (unfinished := session.dialect.unfinished()):
        session.send(events.WireBytes(unfinished))


def _draw(context: Context, session: Session, drawn: bytes) -> None:
    """Send what is drawn and, in the same step, show the rooms by the dialect's views from now on."""
    assert _has_screen(session.dialect)
    shown = (events.WireBytes(drawn),) if drawn else ()
    if not drawn.isascii():
        session.pace.pay(MEASURED + len(drawn) / DRAWN)
    if session.dialect.views != session.views:
        session.pace.pay(REDRAW)
        session.wire.wake_after(REFRESH if session.dialect.editing else IDLE)
        update_views(context, session, *shown)
    elif shown:
        session.send(*shown)


@does(commands.Complete)
def complete(context: Context, session: Session, command: commands.Complete) -> None:
    """Find the commands, rooms or people that begin with the last word that was typed."""
    assert _has_screen(session.dialect)
    session.dialect.complete(_candidates(context, session, command.before))


def _candidates(context: Context, session: Session, before: str) -> list[str]:
    """At most MOST words, the likeliest first: of people, those who spoke last."""
    wanted = goal(before)
    if before.startswith("/") and " " not in before:
        useless = {*insight.useless(context, session)}
        words = [word for word in wanted.words if word not in useless - ELSEWHERE]
        return wanted.fitting(sorted(words, key=lambda word: word in useless), MOST)
    return wanted.fitting([*wanted.words, *_known(context, session, wanted)], MOST)


_LISTS: dict[Known, Callable[[Governance], Iterable[str]]] = {
    Known.BANNED: lambda rules: (each.name for each in rules.bans.in_force(int(time.time() * 1000))),
    Known.MUTED: lambda rules: (each.name for each in rules.mutes.in_force(int(time.time() * 1000))),
    Known.INVITED: lambda rules: rules.invited.values(),
    Known.OPERATORS: lambda rules: rules.operators.values(),
}


def _known(context: Context, session: Session, wanted: Goal) -> list[str]:
    """What the person may mean, and what is not always the same."""
    known, publisher = wanted.known, context.publisher
    found: list[str] = []
    if known is Known.OWN_ROOMS:
        found += publisher.rooms_of(session)
    elif known is Known.ROOMS:
        session.pace.pay(ROOMS)
        found += [*publisher.rooms_of(session), *publisher.beginning(fold(wanted.start), MOST, session)]
    elif known is Known.IGNORED:
        found += session.profile.ignored.values()
    elif known in _LISTS:
        room = publisher.get(wanted.room) if wanted.room else publisher.peek_current(session)
        if room and governing.rank(room, session):
            found += [name for name in _LISTS[known](governing.rules_of(room)) if name != session.name]
    elif known is not Known.NOTHING:
        room = publisher.get(wanted.room) if wanted.room else publisher.peek_current(session)
        found += publisher.names(room) if room and room.name in publisher.rooms_of(session) else []
        if known is Known.PEOPLE:
            session.pace.pay(PEOPLE)
            found += [other.name for other in context.sessions.people()]
        found = [name for name in found if name != session.name]
    session.pace.pay(sum(not each.isascii() for each in found) // COMPARED)
    return found
