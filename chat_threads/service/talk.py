"""Talk: what people say in a room, or to one person."""

from __future__ import annotations

import time

from .. import commands, events, ordered
from ..chatroom import ChatRoom
from ..dialects.text import TextDialect
from ..errors import NobodyWrote, WriterLeft
from ..pace import CROWD, cost_of_lines, cost_of_saying
from ..rules import check_text
from ..session import Session
from .table import Context, does

UNAWARE = 60.0  # seconds for which somebody may be typing a line that was begun in another room


@does(commands.Say)
def say(context: Context, session: Session, command: commands.Say | commands.Act, kind: events.Kind = "say") -> None:
    """Submit a draft to the history, which shows it to everybody in the room, the sender too, once it is stored."""
    text = check_text(command.text)
    if "\n" in text:
        session.pace.pay(cost_of_lines(text))
    room = context.room(session, command.room, member=True)
    if session.sent_out and _is_unaware(session, room):
        return
    members = len(room.members)
    if members >= CROWD:
        session.pace.pay(cost_of_saying(text, members))
    if not session.known_by_name:
        context.sessions.introduce(session)
    name, ref, who = session.profile.name, session.ref, session.identity
    token = who if ref and session.known else 0
    draft = ordered.Draft(room.id, room.name, name, kind, text, session, ref, token, who)
    context.history.submit(draft)


def _is_unaware(session: Session, room: ChatRoom) -> bool:
    """Whether the line may have been begun in the room that the session had to leave. Then its person is told that
    nothing was sent. Somebody who edits lines is asked by the dialect, and a program keeps its own lines."""
    (left, at), session.sent_out = session.sent_out or ("", 0.0), None
    whole_lines = isinstance(session.dialect, TextDialect) and not session.dialect.editing
    if not whole_lines or time.monotonic() - at > UNAWARE:
        return False
    moved = f"You are in {room.name} now, not in {left}"
    said = f"{moved}, so nothing was sent. If your line is meant for this room, type it again."
    session.answer(events.Problem("", said))
    return True


@does(commands.Act)
def act(context: Context, session: Session, command: commands.Act) -> None:
    say(context, session, command, "action")


@does(commands.Private)
def private(context: Context, session: Session, command: commands.Private) -> None:
    """Show a line to the two people, at once: it is not stored, and has no place in the order. Never waits."""
    text = check_text(command.text)
    session.pace.pay(cost_of_lines(text))
    other = context.sessions.named(command.to)
    at = int(time.time() * 1000)
    if session.identity not in other.profile.ignored:
        other.reply_to = session.contact
        other.send(events.PrivateLine(at, session.name, other.name, text))
    session.answer(events.PrivateLine(at, session.name, other.name, text, sent=True))
    if other.identity in session.profile.ignored:
        session.answer(events.Notice(f"You ignore {other.name}, so you will not see an answer."))
    away = other.profile.away
    if away is not None and other is not session:
        session.answer(events.Notice(f"{other.name} is away" + (f": {away}" if away else ".")))


@does(commands.Reply)
def reply(context: Context, session: Session, command: commands.Reply) -> None:
    who = session.reply_to
    if who is None:
        raise NobodyWrote()
    other = context.sessions.again(who)  # not by the name, which somebody else may have by now
    if other is None:
        context.sessions.named(who.name)  # or raise UnknownPerson
        raise WriterLeft(who.name)
    private(context, session, commands.Private(other.name, command.text))


@does(commands.Redact)
def redact(context: Context, session: Session, command: commands.Redact) -> None:
    """Submit it to the history, which knows who has said the message, and removes it or refuses."""
    room = context.room(session, command.room, member=True)
    name, who, ref = session.name, session.identity, session.ref
    context.history.submit(ordered.Redacted(room.id, room.name, command.number, name, who, room.owner, session, ref))
