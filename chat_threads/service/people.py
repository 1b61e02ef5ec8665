"""People: who is here, under which name and token, and what each of them wants to see."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .. import commands, events, ordered
from ..chatroom import Subscriber
from ..disconnects import Replaced
from ..errors import (
    BadName,
    BadRequest,
    IgnoresItself,
    NotConnected,
    NotStored,
    ReservedName,
    Told,
    TooManyIgnored,
    TooManyTokens,
    UnknownPerson,
    UnknownToken,
    Unreadable,
)
from ..pace import cost_of_table
from ..refusals import Banned
from ..rules import check_name, check_words, clean, fold
from ..session import MAX_IGNORED, Session
from ..tokens import Who, identity_of, person_of, token_id
from . import governing, passwords, returning
from .table import MAX_ROWS, SETTLE, Context, does

log = logging.getLogger(__name__)


def known_by(context: Context, token: str) -> tuple[str, Who]:
    """The name that a token was last used with, or that of its account if somebody else has that name now, and who it
    is; raise UnknownToken, or Unreadable if the server cannot tell.

    Waits at most SETTLE seconds, as the token may be on its way to the storage, and for an SQLite connection.
    """
    holder = context.sessions.holder(token)
    if holder:
        return holder.name, holder.who
    settled = context.history.settle(SETTLE)
    found = context.history.storage.token(token_id(token))
    if found is None:
        raise UnknownToken() if settled else Unreadable("it is busy")
    name, identity = found
    account = context.accounts.of(identity)
    if account:
        who = passwords.who_is(context, account)
        still = context.history.storage.token(token_id(token))
        if still is None or still[1] != identity:  # a new password has voided it meanwhile
            raise UnknownToken()
        free = fold(name) != fold(account.name) and context.sessions.free(name, identity) == name
        return name if free else account.name, who
    context.sessions.know([(name, identity)])  # many other names may have pushed it out
    try:
        return check_name(name), Who(identity)
    except BadName as error:  # the name is older than the rule
        return context.sessions.free(error.near or name, identity), Who(identity)


def checked_name(context: Context, typed: str) -> str:
    """The name in the form in which it is kept; raise BadName, with a free name like it if there is one."""
    try:
        return check_name(typed)
    except BadName as error:
        raise (error.with_near(context.sessions.free(error.near)) if error.near else error) from None


def take(context: Context, session: Session, name: str, token: str, who: Who | None = None) -> dict[str, int | None]:
    """Give the session a name and, with a token, the place of the session that had the token, or that is logged in to
    the account of ``who``.

    That session is cut off. Returns its rooms, as ``returning.see_off`` does. Waits as that does, and as ``depart``
    does, with a patience of SETTLE seconds. Raises Replaced if the password of the account was changed meanwhile.
    """
    old = context.sessions.claim(session, name, token, who)
    rooms: dict[str, int | None] = {}
    if old:
        log.info("%s takes the place of %s", session, old)
        rooms = returning.see_off(context, old, Replaced())
        depart(context, old, "", SETTLE)
    if who and who.account and not passwords.is_still(context, who):
        raise Replaced()
    return rooms


def keep_token(context: Context, session: Session, new: bool) -> None:
    """Submit the token and the session's name to the history. The client has the token, or is about to get it; ``new``:
    for the first time, so that it opens the account of the session, if it has one."""
    session.known = True
    if not session.known_by_name:
        context.sessions.introduce(session)
    if context.sessions.holder(session.token) is session:
        with contextlib.suppress(NotStored):  # then its next message stores it
            account = session.identity if session.account and new else 0
            context.history.submit(
                ordered.TokenUsed(token_id(session.token), session.name, account, session.proof, session)
            )


def depart(context: Context, session: Session, words: str, patience: float) -> None:
    """Take the session out of its rooms, after the messages that it has sent.

    Waits for the history up to ``patience`` seconds, plus up to ``history.PATIENCE`` while its queue is full.
    """
    try:
        context.history.submit(ordered.LeftAll(session, words))
        context.history.settle(patience)
    except Told:
        pass  # the history is stuck, so the others do not see the departure
    context.publisher.unsubscribe(session)


def update_views(context: Context, session: Session, *first: events.Event) -> None:
    """Give the session the views that its dialect has now. Between what it was shown by the old ones and what it will
    be shown by the new ones, show it ``first``."""
    context.publisher.set_views(session, session.dialect.views, *first)


@does(commands.Who)
def who(context: Context, session: Session, command: commands.Who) -> None:
    people: Sequence[Subscriber]
    if command.room is None:
        room, people = None, context.sessions.people()
    else:
        found = context.room(session, command.room)
        room, people = found.name, context.publisher.members(found)
    shown = sorted(people, key=lambda each: fold(each.name))[:MAX_ROWS]
    rows = tuple(each.person(context.publisher.rooms_of(each, session)) for each in shown)
    session.pace.pay(cost_of_table((row.name, *row.rooms, row.away or "") for row in rows))
    session.answer(events.PeopleList(room, rows, max(0, len(people) - MAX_ROWS)))


@does(commands.Whois)
def whois(context: Context, session: Session, command: commands.Whois) -> None:
    """Raise UnknownPerson, or NotConnected if the name is an account's. Who is an operator of the server is shown to
    those who are."""
    try:
        other = context.sessions.named(command.name)
    except UnknownPerson:
        if account := context.accounts.named(command.name):
            raise NotConnected(account.name, session.operator and context.accounts.is_operator(account)) from None
        raise
    person = other.person(context.publisher.rooms_of(other, session))
    besides, operator = _account_besides(context, other), session.operator and other.operator
    session.answer(events.PersonShown(person, time.monotonic() - other.began, besides, operator))


@does(commands.Nick)
def nick(context: Context, session: Session, command: commands.Nick) -> None:
    name, old = checked_name(context, command.name), session.name
    if name == old:
        session.answer(events.Notice(f"You are called {name} already.", name=name))
        return
    owner = passwords.owner_of(context, name, Who(session.identity))
    if owner and passwords.asks(context, session, commands.Login(owner.name)):
        return
    governing.check_rename(context, session, name)
    slow = governing.check_slow(context, session)
    take(context, session, name, "")
    governing.leave_forbidden(context, session, Banned)  # if the name was banned just now
    if session.known:
        keep_token(context, session, new=False)
    rename(context, session, old, slow)


def _account_besides(context: Context, session: Session) -> str:
    """The name of the session's account, if the session has another name now; otherwise ""."""
    account = context.accounts.of(session.identity) if session.account else None
    return account.name if account and fold(account.name) != fold(session.name) else ""


def rename(context: Context, session: Session, old: str, slow: tuple[int, ...] = ()) -> None:
    """The session has taken another name: show it to the session and to the others. It counts as a message in the
    ``slow`` rooms."""
    session.dialect.renamed(session.name)
    update_views(context, session)
    said = f"You are {session.name} now."
    if account := _account_besides(context, session):
        said += f" {account} stays yours, and has the password; this name has none."
    session.answer(events.Notice(said, name=session.name))
    if session.name != old:
        context.history.submit(ordered.NameChanged(session, old, session.name, slow, session.identity))


@does(commands.ShowToken)
def show_token(context: Context, session: Session, command: commands.ShowToken) -> None:
    if not session.known:
        seconds = context.sessions.wait_for_token(session.address)
        if seconds:
            raise TooManyTokens(seconds)
        keep_token(context, session, new=True)
    if session.kept is None and session.note_at is None:  # otherwise a return may be under way
        returning.begin(session)
    session.answer(events.TokenShown(session.token))


@does(commands.Resume)
def resume(context: Context, session: Session, command: commands.Resume) -> None:
    """Take the place of the session that has the token, or had it. Waits as ``known_by`` and ``come_back`` do."""
    old = session.name
    if context.sessions.holder(command.token) is session and session.note_at is not None:  # it has entered its rooms
        session.answer(events.Notice(f"You are {old} already, and in your rooms.", name=old))
        return
    try:
        name, who = known_by(context, command.token)
    except UnknownToken:
        raise UnknownToken(advice="You keep your name and your place.") from None
    come_back(context, session, name, command.token, who)


def come_back(context: Context, session: Session, name: str, token: str, who: Who, new: bool = False) -> None:
    """Become the person who has the token, or to whom it is given (``new``), in place of the session that is that
    person now. Waits as ``take`` and ``rooms.enter_or_make`` do, and for an SQLite connection."""
    old = session.name
    if who.identity != session.identity:
        governing.check_rename(context, session)
    place = returning.kept_under(context, session, token, who)
    old_rooms = take(context, session, name, token, who)
    governing.leave_forbidden(context, session)
    if not new or session.known:
        keep_token(context, session, new)
    if place:
        returning.restore(context, session, place.kept)
    ignored = dict(session.profile.ignored)
    if ignored.pop(session.identity, None):  # the session is that person now, and must see its own lines
        _set_ignored(context, session, ignored)
    rename(context, session, old)
    if new and session.known:
        session.answer(events.TokenShown(session.token))
    if place:
        returning.tell_settings(session, place.kept)
    wanted = returning.rooms(context, session, old_rooms, place) if place else dict.fromkeys(old_rooms)
    returning.enter(context, session, wanted)
    if place:
        returning.tell(context, session, old_rooms, place)


@does(commands.Away)
def away(context: Context, session: Session, command: commands.Away) -> None:
    reason = check_words(command.reason)
    session.profile = replace(session.profile, away=reason)
    context.sessions.tell_away(session)
    session.answer(events.Notice(f"You are away: {reason}." if reason else "You are away.", next="back"))


@does(commands.Back)
def back(context: Context, session: Session, command: commands.Back) -> None:
    was_away = session.profile.away is not None
    session.profile = replace(session.profile, away=None)
    if was_away:
        context.sessions.tell_away(session)
    session.answer(events.Notice("You are back." if was_away else "You were not away."))


@does(commands.Ignore)
def ignore(context: Context, session: Session, command: commands.Ignore) -> None:
    """Ignore a person, not a name. The token is kept, because people change names, and others may take the old ones."""
    if not command.name and command.person is None:
        session.answer(_ignored_people(context, session))
        return
    if command.person is None:
        other = context.sessions.named(command.name)
        identity, name = other.identity, other.name
    else:
        identity, name = _identity_of(command.person), check_name(command.name)
    if identity == session.identity:
        raise IgnoresItself()
    ignored = {**session.profile.ignored, identity: name}
    if len(ignored) > MAX_IGNORED:
        raise TooManyIgnored(MAX_IGNORED)
    _set_ignored(context, session, ignored)
    said = f"What {name} says is hidden now."
    session.answer(events.Notice(said, person_of(identity), name, next="unignore"))


def _ignored_people(context: Context, session: Session) -> events.Notice:
    ignored = session.profile.ignored
    if not ignored:
        return events.Notice("You ignore nobody.")
    now = {each.identity: each.name for each in context.sessions.people() if each.identity in ignored}
    names = [
        f"{now[person]} (was {name})" if fold(now.get(person, name)) != fold(name) else name
        for person, name in ignored.items()
    ]
    return events.Notice(f"You ignore {', '.join(names)}.", next="unignore")


@does(commands.Unignore)
def unignore(context: Context, session: Session, command: commands.Unignore) -> None:
    try:
        name = check_name(command.name)
    except ReservedName:  # nobody is going to be called that
        name = clean(command.name)
    if command.person is None:
        identity = _ignored_as(context, session, name)
    else:
        identity = _identity_of(command.person)
    ignored = dict(session.profile.ignored)
    if identity is None or identity not in ignored:
        session.answer(events.Notice(f"{name} was not ignored."))
        return
    del ignored[identity]
    _set_ignored(context, session, ignored)
    session.answer(events.Notice(f"What {name} says is shown again.", person_of(identity), name))


def _ignored_as(context: Context, session: Session, name: str) -> int | None:
    """The ignored person who has this name now, or else the one who had it when they were ignored."""
    ignored = session.profile.ignored
    with contextlib.suppress(UnknownPerson):
        identity = context.sessions.named(name).identity
        if identity in ignored:
            return identity
    return next((identity for identity, then in ignored.items() if fold(then) == fold(name)), None)


def _set_ignored(context: Context, session: Session, ignored: Mapping[int, str]) -> None:
    session.profile = replace(session.profile, ignored=ignored)
    session.dialect.ignoring(frozenset(ignored))
    update_views(context, session)


def _identity_of(person: str) -> int:
    identity = identity_of(person)
    if identity is None:
        raise BadRequest("person must be the 16 hexadecimal digits in the answer to ignore.")
    return identity


@does(commands.SetOption)
def set_option(context: Context, session: Session, command: commands.SetOption) -> None:
    said = session.dialect.set_option(command.name, command.value)
    update_views(context, session)
    session.answer(events.Notice(said))
