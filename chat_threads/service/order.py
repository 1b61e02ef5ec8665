"""Keeping order: reports to the operators, announcements, and what operators did."""

from __future__ import annotations

from collections.abc import Iterator

from .. import audit, commands, events, ordered
from ..chatroom import ChatRoom
from ..governance import Somebody
from ..pace import cost_of_table
from ..redaction import UnknownMessage
from ..refusals import NotOperator, NotServerOperator
from ..rules import check_text, check_words, fold
from ..session import Session
from ..usage import NUMBER
from .governing import answered, person_in, rank, refuse_itself, refuse_namesake, rules_of
from .table import Context, does

MOST = 50  # actions that /audit shows, and as many reports


@does(commands.Report)
def report(context: Context, session: Session, command: commands.Report) -> None:
    """Store it, for operators who come later. Then show it to those who are here. Raise UnknownMessage;
    or UnknownPerson if nobody can have the name, or somebody who is here has one like it. For a message, waits for an
    SQLite connection."""
    room = context.room(session, command.room, member=True)
    number = NUMBER.fullmatch(command.about)
    if number and not 0 < int(command.about) <= context.publisher.last(room):
        raise UnknownMessage(room.name, int(command.about))
    about, sender = command.about, ""
    if number:
        accused, sender = _author(context, room, int(about))
    else:
        person = person_in(context, room, about, True)
        refuse_itself(session, person)
        about, accused = person.name, person.identity
    why = check_words(command.why)
    by_whom = f" from {sender}" if sender else ""
    what = f"message {about}{by_whom}" if number else about
    said = f"{session.name} reports {what} in {room.name}" + (f": {why}" if why else ".")
    event = events.Notice(said, name="" if number else about, room=room.name)
    operators = [*_who_see(context, session, room, "" if number else about, accused)]
    shown = ", and shown to the operators who are here" if operators else " for operators who come later"
    if not operators and rank(room, session):
        shown = " in the list of what operators did"
    unknown = "" if number or accused else f" Nobody is called {about} now."
    done = events.Notice(f"Your report is kept{shown}.{unknown}", room=room.name)
    told = ((tuple(operators), event), answered(session, done))
    by, noted = Somebody(session.identity, session.name), ": ".join(filter(None, (by_whom.strip(), why)))
    context.history.submit(
        ordered.Noted(room.id, room.name, by, "report", about, noted, session, session.ref, told, accused)
    )


def _who_see(context: Context, session: Session, room: ChatRoom, about: str, accused: int) -> Iterator[Session]:
    """The operators who are here, and are shown the report at once: as /audit, without the room's operators whom it is
    about."""
    there = set(context.publisher.members(room))
    for other in context.sessions.people():
        if other is session or session.identity in other.profile.ignored:
            continue
        meant = other.identity == accused if accused else fold(other.name) == fold(about)
        if other.operator or (other in there and not meant and rank(room, other)):
            yield other


def _author(context: Context, room: ChatRoom, number: int) -> tuple[int, str]:
    """The number of the person who said a message, 0 if nobody knows; and the name that the person had then, "" if the
    message is gone. Waits for an SQLite connection."""
    page = context.history.storage.page(room.id, number + 1, None, 1)
    return (page[-1].who, page[-1].sender) if page and page[-1].number == number else (0, "")


def _is_about(session: Session, row: events.AuditRow) -> bool:
    """Whether a row is a report about the person, who might take revenge for it."""
    if row.action != "report":
        return False
    if row.who:
        return row.who == session.identity
    return fold(row.about) == fold(session.name)


@does(commands.Announce)
def announce(context: Context, session: Session, command: commands.Announce) -> None:
    """Show a text to everybody. Raise NotServerOperator."""
    if not session.operator:
        raise NotServerOperator()
    text = check_words(check_text(command.text))
    event = events.Notice(f"{session.name} announces to everybody: {text}", name=session.name)
    done = events.Notice("Everybody who is here sees that.")
    told = ((tuple(context.sessions.people()), event), answered(session, done))
    by = Somebody(session.identity, session.name)
    context.history.submit(ordered.Noted(audit.SERVER, "", by, "announce", "", text, session, session.ref, told))


@does(commands.Audit)
def list_audit(context: Context, session: Session, command: commands.Audit) -> None:
    """Reports about oneself are for the server's operators only. Waits for what was submitted before, and for an SQLite
    connection. Raises NotServerOperator or NotOperator."""
    room = context.room(session, command.room) if command.room or not session.operator else None
    if room:
        refuse_namesake(room, session)
    if room and not rank(room, session):
        raise NotOperator(room.name, rules_of(room).rulers(room.name))
    context.wait(session)
    rows = context.history.storage.audit(room.id if room else None, MOST)
    if room and not session.operator:
        rows = tuple(row for row in rows if not _is_about(session, row))
    session.pace.pay(cost_of_table((row.by, row.about, row.why) for row in rows))
    session.answer(events.AuditList(room.name if room else None, rows))
