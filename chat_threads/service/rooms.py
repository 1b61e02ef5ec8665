"""Rooms: entering and leaving, making and deleting, topics, the list of rooms, and invitations."""

from __future__ import annotations

from .. import commands, events, ordered
from ..chatroom import ChatRoom
from ..dialects.text import TextDialect
from ..errors import ChatError, LooksLikeRoom, RoomExists, Told, UnknownRoom
from ..pace import cost_of_table
from ..rules import check_room, check_words, is_room
from ..session import Session
from . import governing
from .table import MAX_ROWS, Context, does

TRIES = 3  # attempts to enter a room; an attempt fails if the room is deleted just before
NO_TOPIC = "-"  # the topic that removes a topic


def enter_or_make(
    context: Context, session: Session, name: str, first_time: bool = False, since: int | None = None
) -> None:
    """Enter the room of that name; make it if there is none. Waits as ``Publisher.subscribe`` does."""
    for left in reversed(range(TRIES)):
        try:
            _enter(context, session, _find_or_make(context, session, name), first_time, since)
            break
        except UnknownRoom:  # meanwhile everybody has left it, and nothing was said in it
            if not left:
                raise


def refusal(
    context: Context, session: Session, name: str, first_time: bool = False, since: int | None = None
) -> Told | None:
    """Enter the room as ``enter_or_make`` does, but return the error instead of raising it; None: the session has
    entered."""
    try:
        enter_or_make(context, session, name, first_time, since)
    except Told as error:
        error.without_stack()
        return error
    return None


def _find_or_make(context: Context, session: Session, name: str) -> ChatRoom:
    found = context.publisher.get(name)
    if found is None:
        try:
            return _make(context, session, name)
        except LooksLikeRoom:
            raise
        except RoomExists:  # somebody else has just made it
            found = context.publisher.find(name)
    return found


def _make(context: Context, session: Session, name: str, topic: str = "") -> ChatRoom:
    context.publisher.check_place(session)  # first, so that nobody makes a room that they cannot enter
    return context.publisher.create_chat_room(name, session.name, topic, session, session.ref)


def _enter(
    context: Context, session: Session, room: ChatRoom, first_time: bool = False, since: int | None = None
) -> None:
    left, session.sent_out = session.sent_out, None
    try:
        joined = context.publisher.subscribe(session, room, session.dialect.replay, first_time, session.ref, since)
    except ChatError:
        session.sent_out = session.sent_out or left  # the person may still be unaware of it
        raise
    if joined:
        context.history.submit(joined)
    governing.tell_whether_it_may_speak(session, room)


@does(commands.Join)
def join(context: Context, session: Session, command: commands.Join) -> None:
    """Waits as ``enter_or_make`` does."""
    enter_or_make(context, session, check_room(command.room), since=command.since)


@does(commands.Create)
def create(context: Context, session: Session, command: commands.Create) -> None:
    """Waits as ``enter_or_make`` does."""
    room = check_room(command.room)
    topic = check_words(command.topic)
    made = _make(context, session, room, topic)
    try:
        _enter(context, session, made)
    except UnknownRoom:  # somebody else entered it first, and has left it
        enter_or_make(context, session, room)
    governing.tell_how_to_keep(session, made)


@does(commands.Leave)
def leave(context: Context, session: Session, command: commands.Leave) -> None:
    """Waits until the session has left: what is typed next goes to another room."""
    room = context.room(session, command.room, member=True)
    context.history.submit(ordered.Left(room.id, session, session.ref))
    context.wait(session)


@does(commands.Delete)
def delete(context: Context, session: Session, command: commands.Delete) -> None:
    """Waits until the room is deleted; with ``ask``, for an SQLite connection to count its messages with."""
    room = context.room(session, command.room)
    ends = context.publisher.delete_chat_room(session, room, session.ref)
    if command.ask:
        count = context.history.storage.count_in(room.id)
        messages = f"{count} message{'' if count == 1 else 's'}" if count else "no messages"
        session.answer(events.Notice(f"{room.name} has {messages}.", room=room.name, next="delete"))
        return
    context.history.submit(ends)
    context.wait(session)


@does(commands.ListRooms)
def list_rooms(context: Context, session: Session, command: commands.ListRooms) -> None:
    rows = context.publisher.list_chat_rooms(MAX_ROWS, session)
    there = len(context.publisher) - len(context.publisher.hidden(session))
    session.pace.pay(cost_of_table((row.room, row.topic) for row in rows))
    session.answer(events.RoomList(tuple(rows), max(0, there - MAX_ROWS)))


@does(commands.Topic)
def topic(context: Context, session: Session, command: commands.Topic) -> None:
    if command.text is None:
        room = context.room(session, command.room)
        session.answer(events.TopicShown(room.name, context.publisher.topic(room)))
    else:
        room = context.room(session, command.room, member=True)
        text = "" if command.text == NO_TOPIC else check_words(command.text)
        if not text and isinstance(session.dialect, TextDialect) and not context.publisher.topic(room):
            session.answer(events.TopicShown(room.name, ""))  # nothing changes, so nobody else is told
            return
        context.history.submit(
            ordered.TopicSet(room.id, session.name, text, session, session.ref, room.name, session.identity)
        )
        if command.room is None and isinstance(session.dialect, TextDialect):
            _ask_which_room(context, session, text)


def _ask_which_room(context: Context, session: Session, text: str) -> None:
    """Tell a person whose topic begins with a room's name, without its ``#``, that there is this room. Waits for the
    topic."""
    name = "#" + text.partition(" ")[0]
    if is_room(name) and (named := context.publisher.get(name)) and named.is_listed(session):
        context.wait(session)
        session.answer(events.Notice(f"There is a room {named.name}.", room=named.name, next="topic"))


@does(commands.Invite)
def invite(context: Context, session: Session, command: commands.Invite) -> None:
    """Waits until what the session has changed before is in force."""
    context.wait(session)
    room = context.room(session, command.room, member=True)
    other = context.sessions.named(command.name)
    if room.name in context.publisher.rooms_of(other):  # also for one who ignores the session: /who shows as much
        session.answer(events.Notice(f"{other.name} is in {room.name} already."))
        return
    invited = () if session.identity in other.profile.ignored else (other,)
    said = f"{other.name} is invited to {room.name}."
    if room.governance and room.governance.accounts_only and not other.account:
        said = f"{said[:-1]}, but has to log in before entering: only people with accounts may."
    told: ordered.Told = (
        (invited, events.Invited(session.name, room.name)),
        governing.answered(session, events.Notice(said)),
    )
    if room.governance and room.governance.invite_only:
        told += governing.fleeting(invited, room, f"You may enter {room.name}")
    governing.invite(context, session, room, other, told)
