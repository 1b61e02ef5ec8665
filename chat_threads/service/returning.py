"""Coming back: what a token keeps of a person, and how the person gets it again.

Only for people who know their token, in dialects that leave their settings to the server: programs and browsers keep
theirs themselves, except for programs that ask for this, such as the terminal client. A session's reader notes what is
kept after a command that changes it, once a minute while the person types, and at the end. It goes through the
history's queue into the next batch.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .. import commands, events, ordered
from ..errors import ChatError, CutOff, NotStored, Told, Unreadable
from ..kept import Kept, Seen, mark_of
from ..mailbox import OPEN
from ..refusals import AccountsOnly, Banned, InviteOnly
from ..rules import fold
from ..session import Session
from ..tokens import Who
from .rooms import refusal
from .table import Context

EVERY = 60.0  # seconds between two notes while the person only talks
SHORTEST = 20  # bytes of a message as a queue counts them, at least
AROUND = 3  # bytes around a message's name and text as it is sent, at least
LOOK = 0.02  # seconds between two looks whether it has
ARRIVES = 0.3  # seconds in which what was sent to a living client arrives
PAID = 1000  # characters of a note for one token (see pace)
MISSED = 200  # messages of a room that somebody who comes back is shown, at most

KEPT_OUT = (Banned, InviteOnly, AccountsOnly)

CHANGES = frozenset(
    (
        *(commands.Join, commands.Create, commands.Leave, commands.Delete, commands.ShowToken),
        *(commands.Ignore, commands.Unignore, commands.Away, commands.Back, commands.SetOption, commands.Edit),
    )
)
"""The commands after which something else is kept. After Resume, ``enter`` notes it."""


def begin(session: Session) -> None:
    """The client knows its token: note what it keeps from now on. Called by the session's reader."""
    if session.dialect.settings() is not None:
        session.note_at = 0.0


def note(context: Context, session: Session) -> None:
    """After a command: note what the session's token keeps. Called by the session's reader, which waits as
    ``History.submit`` does, and whose client pays for it."""
    unread = session.mailbox.held() // SHORTEST
    _note(context, session, unread if session.mailbox.life is OPEN else None)  # otherwise something was dropped


def _note(context: Context, session: Session, unread: int | None) -> None:
    _look(context, session, unread)
    session.pace.pay(_submit(context, session, context.history.submit) // PAID)


def _look(context: Context, session: Session, unread: int | None) -> None:
    """``unread``: at most so many messages may still wait to be sent to the client. None: nobody knows, because the
    connection may have been dead for a while. Then the numbers stay as they were noted last."""
    noted = {each.room: each.number for each in session.kept.rooms} if session.kept else {}
    seen = []
    for room, name, last, _ in context.publisher.seen(session):
        before = noted.get(room, 0 if noted else last)
        seen.append(Seen(room, mark_of(name), min(last, before if unread is None else max(before, last - unread))))
    profile, settings = session.profile, session.dialect.settings() or {}
    session.kept = Kept(tuple(seen), profile.away, tuple(profile.ignored.items()), tuple(settings.items()))


def _submit(context: Context, session: Session, submit: Callable[[ordered.Ordered], None]) -> int:
    """Return how many characters are submitted."""
    session.note_at = session.heard + EVERY
    if session.kept is None or context.sessions.holder(session.token) is not session:
        return 0
    text = session.kept.text()
    with contextlib.suppress(NotStored):  # then what was noted before is kept
        submit(ordered.PlaceKept(session.identity, text))
    return len(text)


def leave(context: Context, session: Session, patience: float) -> None:
    """The conversation is over, and the session still in its rooms: note what is kept. Waits up to ``patience`` seconds
    for what it has said, so that it has seen that."""
    if session.note_at is None or context.sessions.holder(session.token) is not session:
        return
    sure = not (session.broken or session.reason or session.wire.lost)
    if sure:
        context.history.settle(patience)
    _look(context, session, unread=0 if sure else None)
    _submit(context, session, context.history.enqueue)


@dataclass(frozen=True, slots=True)
class Place:
    """What a token keeps, and the numbers that were seen in the rooms that still exist, by their names."""

    kept: Kept
    seen: Mapping[str, int]
    unfinished: bool = False  # the session that has the token has itself not entered all of them


def kept_under(context: Context, session: Session, token: str, who: Who) -> Place | None:
    """What is kept for the person who has the token, for a session that shows it, or has logged in, and has not taken
    the place yet; None: nothing for this dialect. Raises Unreadable, but not if another session is that person. Waits
    for an SQLite connection."""
    if session.dialect.settings() is None:
        return None
    storage, holder = context.history.storage, context.sessions.holder(token, who.identity if who.account else 0)
    kept = holder.kept if holder else None
    try:
        kept = kept or Kept.read(storage.place(who.identity))
        names = storage.room_names([each.room for each in kept.rooms])
    except Unreadable:
        if holder is None:
            raise
        kept, names = kept or Kept(), {}
    seen = {
        names[each.room]: each.number
        for each in kept.rooms
        if each.room in names and mark_of(names[each.room]) == each.mark
    }
    return Place(kept, seen, holder is not None and holder.note_at is None)


def restore(context: Context, session: Session, kept: Kept) -> None:
    """Give the session what was kept, besides the rooms. The views of its dialect change.

    Until ``enter`` is through, nothing is noted. So if the connection breaks meanwhile, or another one takes its place,
    all stays as it was kept.
    """
    session.kept, session.note_at = kept, None
    for option, value in kept.settings:
        with contextlib.suppress(ChatError):  # an option of another version
            session.dialect.set_option(option, value)
    session.restore(kept.away, dict(kept.ignored))
    if kept.away is not None:
        context.sessions.tell_away(session)
    session.dialect.ignoring(frozenset(session.profile.ignored))


def see_off(context: Context, old: Session, reason: CutOff) -> dict[str, int | None]:
    """Cut off a session whose place another one takes. Return its rooms, the current one last, each with the number of
    the newest message that has arrived at its client's system; None: nobody can tell. Waits at most ARRIVES seconds."""
    seen = context.publisher.seen(old)
    found: dict[str, int | None] = {name: None for _, name, _, _ in seen}
    if old.note_at is not None and old.mailbox.life is OPEN:  # it was sent everything in all its rooms
        deadline = time.monotonic() + ARRIVES
        last = old.last_words(reason)
        old.close(*last, reason=reason)
        sent = old.written.wait(ARRIVES)  # then the system has all that was queued, and is told the rest
        unread = old.wire.unacknowledged()
        while unread and sent and time.monotonic() < deadline and not old.ended.wait(LOOK):
            unread = old.wire.unacknowledged()
        if unread is not None and not old.broken and old.reason is reason:
            unread = max(0, unread + old.mailbox.held() - len(old.views.own.encode(last)))
            for _, name, number, _ in seen:
                found[name] = _arrived(old, number, context.publisher.recent(name), unread)
    old.cut_off(reason)
    return found


def _arrived(old: Session, number: int, recent: Sequence[events.Message], unread: int) -> int:
    """The newest message of a room that the client has, if ``unread`` bytes of all that it was sent have not arrived,
    and it was sent everything up to ``number``. ``recent`` are the room's newest messages."""
    for message in reversed(recent):
        if message.number > number:
            continue
        if unread <= 0:
            break
        number = message.number - 1
        if message.who not in old.profile.ignored:
            unread -= len(message.sender) + len(message.text) + AROUND
    return max(0, number - max(0, unread) // AROUND)


def rooms(context: Context, session: Session, old: Mapping[str, int | None], place: Place) -> dict[str, int | None]:
    """The rooms to enter, in order, each with the number of the last message that was seen there.

    ``old`` are those of the connection whose place the session has taken, as ``see_off`` found them. If there was none,
    they are those that were kept; if that session had not entered all of its own rooms yet, they are both.
    """
    found: dict[str, int | None] = {}
    both = dict.fromkeys([*place.seen, *old]) if place.unfinished else old or place.seen
    for name in both:
        room = context.publisher.get(name)
        number = place.seen.get(name)
        if room and number is not None:
            last = context.publisher.last(room)
            if (arrived := old.get(name)) is not None:
                number = max(number, arrived)
            elif old:  # nobody knows how long its client has been away
                number = max(0, min(number, last - session.dialect.replay))
            number = max(number, last - MISSED)
        found[name] = number
    return found


def with_room(rooms: Mapping[str, int | None], room: str | None) -> dict[str, int | None]:
    """The rooms, with this one, if there is one, as the last, which becomes the current one."""
    found = dict(rooms)
    if room:
        name = next((each for each in rooms if fold(each) == fold(room)), room)
        found[name] = found.pop(name, None)
    return found


def enter(
    context: Context,
    session: Session,
    wanted: Mapping[str, int | None],
    first_time: bool = False,
    otherwise: str | None = None,
) -> None:
    """Enter these rooms or, if none of them can be entered, the room ``otherwise``. Then show an error for each that
    could not be entered: an error before the messages of another room is easily missed.

    If one cannot be entered now, nothing more is noted, so that the token still keeps it, unless the session may not
    enter it at all. Otherwise the numbers stay as they were kept until the client's next line: only that tells that it
    has received what it missed.
    """
    entered = 0
    refused: list[Told] = []
    for name, since in wanted.items():
        error = refusal(context, session, name, first_time and not entered, since)
        entered += error is None
        refused += [error] if error else []
    for_good = all(isinstance(error, KEPT_OUT) for error in refused)
    if session.kept is not None and for_good and not session.ended.is_set():
        _note(context, session, unread=None)
        session.note_at = session.heard
    if not entered and otherwise:
        error = refusal(context, session, otherwise, first_time)
        refused += [error] if error else []
    for error in refused:
        session.tell(error, session.ref)


def tell_settings(session: Session, kept: Kept) -> None:
    """Tell a client that shows everything itself how it is shown, before it is shown anything else."""
    options = [(option, value) for option, value in kept.settings if not option.startswith("/")]  # /edit is telnet's
    _send(session, events.Restored(tuple(f"{option} {value}" for option, value in options)))


def tell(context: Context, session: Session, old: Mapping[str, int | None], place: Place) -> None:
    """Say what is as it was, and where the person is, below what was missed. Say, too, if what had arrived on the
    ``old`` connection, whose place the session has taken, is not shown again."""
    told: list[events.Event] = []
    if any(number is not None and number > place.seen.get(room, number) for room, number in old.items()):
        told.append(events.Notice("What your other connection had received is not shown again.", next="history"))
    if session.profile.away is not None:
        told.append(events.Notice("You are still away.", next="back"))
    if ignored := session.profile.ignored:
        told.append(events.Notice(f"You still ignore {', '.join(ignored.values())}.", next="unignore"))
    current = context.publisher.peek_current(session)
    if current and len(context.publisher.rooms_of(session)) > 1:
        told.append(events.Notice(f"What you type goes to {current.name}.", room=current.name))
    if told:
        _send(session, *told)


def _send(session: Session, *told: events.Event) -> None:
    """Show the session these events beside the answer to its request, which has only one."""
    session.send(*told)
    session.was_shown(sum(event.size for event in told))
