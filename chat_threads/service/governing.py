"""Governing: the rules of a room, its operators, and what they do about people.

Who may do what is checked by the history thread, which changes the rules between two messages (see ``governance``).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any, Literal

from .. import commands, events, ordered
from ..changes import Appoint, Change, Dismiss, Invite, Lifted, Sanctioned, Set, Uninvite
from ..chatroom import ChatRoom
from ..dialects.text import TextDialect
from ..errors import BadName, BadRequest, ChatError, NotAllowed, NotInRoom, UnknownPerson, Unreadable
from ..governance import Governance, Rank, Sanctions, Somebody, read_setting
from ..pace import cost_of_table
from ..refusals import (
    NAME_STAYS,
    AddedTooMany,
    BannedName,
    GuestBanned,
    Muted,
    NamesakesRules,
    NoMuting,
    NoOperator,
    NotOperator,
    NotThere,
    QuietRoom,
    TooSoon,
    span,
)
from ..retention import DAY_MS
from ..room_roles import LONGEST
from ..rules import check_name, check_words, clean, fold
from ..session import Session
from .table import SETTLE, Context, does

MODERATING = tuple(kind for kind in commands.OF_ROLES if kind is not commands.Room)
"""The commands that /help lists only for operators."""

TYPO = 0.75  # similarity from which on a name is taken for a mistyped one: tes and tess have 0.86, dan and ann 0.67
ENTRIES = 10  # people on a room's lists that cost as much as one more command, because a change stores all of them


def useless(context: Context, session: Session) -> Iterator[type[commands.Command]]:
    """The commands that the session may not use in its current room."""
    if not session.operator:
        yield commands.Announce
    if not context.accounts.expects_operator:
        yield commands.BecomeOperator
    with contextlib.suppress(NotInRoom):
        if rank(context.publisher.current(session), session):
            return
    yield from (*MODERATING, commands.Audit)


def rules_of(room: ChatRoom) -> Governance:
    """How the room is governed now."""
    return room.governance or Governance(room.owner)


def rank(room: ChatRoom, session: Session) -> Rank:
    """What the session may do in a room now."""
    return rules_of(room).rank(session)


def answered(session: Session, event: events.Event) -> tuple[tuple[Session], events.Event]:
    """The answer to the current request, for what is told after a commit (``ordered.Told``)."""
    (answer,) = events.answers(session.ref, event)
    return (session,), answer


def invite(context: Context, session: Session, room: ChatRoom, other: Session, told: ordered.Told) -> None:
    """Let another session enter the room, also if it becomes invite-only later, and then show what is ``told``. If it
    is not, members may invite, too, but only for now. Raise NotOperator, or GuestBanned for somebody who is banned from
    the room."""
    if room.governance and (ban := room.governance.banned(other, int(time.time() * 1000))):
        raise GuestBanned(other.name, room.name, ban.kick)
    if rank(room, session):
        invited = room.governance.invited if room.governance else {}
        _submit(context, session, room, Invite(_noted(other), _gone(context, invited)), told)
        return
    if room.governance and room.governance.invite_only:
        raise NotOperator(room.name, rules_of(room).rulers(room.name))
    for sessions, event in told:
        for each in sessions:
            each.send(event)


def check_rename(context: Context, session: Session, name: str = "") -> None:
    """Raise Muted if the session is muted in one of its rooms: a new name would say something there, and
    another person might be allowed to speak. For a new ``name`` of the same person, raise QuietRoom if one of its rooms
    is quiet for it, or BannedName if the name is banned from one."""
    at = int(time.time() * 1000)
    renamed = replace(_noted(session), name=name)
    for each in context.publisher.rooms_of(session):
        room = context.publisher.get(each)
        rules = room.governance if room else None
        if room is None or rules is None:
            continue
        if mute := rules.muted(session, at):
            raise Muted(room.name, mute.left(at), mute.why, NAME_STAYS)
        if name and rules.quiet and not rules.rank(session):
            raise QuietRoom(room.name, NAME_STAYS)
        if name and rules.banned(renamed, at):
            raise BannedName(room.name, name)


def check_slow(context: Context, session: Session) -> tuple[int, ...]:
    """A new name is shown like a message. Return the slow rooms in which it counts as one; raise TooSoon if it comes
    too soon in one of them. Waits for what was submitted before if there are any."""
    rooms = [context.publisher.get(name) for name in context.publisher.rooms_of(session)]
    slow = [(room, rules) for room in rooms if room and (rules := room.governance) and rules.slow]
    slow = [(room, rules) for room, rules in slow if not rules.rank(session)]
    if slow:
        context.wait(session)
    for room, rules in slow:
        if wait := context.history.wait_to_speak(room.id, rules.slow, session.identity):
            raise TooSoon(room.name, rules.slow, wait, so=NAME_STAYS)
    return tuple(room.id for room, _ in slow)


def leave_forbidden(context: Context, session: Session, why: type[ChatError] = ChatError) -> None:
    """The session has another name, or is another person. It leaves the rooms that it may not enter now, for this
    reason, and is told it."""
    for name in context.publisher.rooms_of(session):
        room = context.publisher.get(name)
        if room and (refusal := room.refusal(session)) and isinstance(refusal, why):
            session.tell(refusal)
            context.history.submit(ordered.Left(room.id, session))


def tell_how_to_keep(session: Session, room: ChatRoom) -> None:
    """Tell a person that the room is theirs, and, if nothing proves later who made it, what does. Once is enough."""
    keeps = session.known if isinstance(session.dialect, TextDialect) else session.note_at is not None
    if session.dialect.settings() is not None and not (session.account or keeps or session.taught):
        session.taught = True
        session.send(events.Notice(f"{room.name} is yours while you are connected.", room=room.name, next="token"))


def _tell_if_it_stays(
    context: Context, session: Session, room: ChatRoom, before: Governance | None, closed: bool = False
) -> None:
    """A room that has its first rule, or is closed, outlives the visit of the one who made it. Tell them that. Waits
    until the rule is in force, so that it is said below that."""
    if (closed or before is None) and room.owner == session.identity:
        context.wait(session)
        tell_how_to_keep(session, room)


def tell_whether_it_may_speak(session: Session, room: ChatRoom) -> None:
    """Tell a person who has gone to a room, or asks for its rules, if they may only read there, or speak seldom."""
    rules, dialect = room.governance, session.dialect
    a_program = dialect.settings() is None and dialect.name != "web"
    if rules is None or a_program:
        return
    if rules.muted(session, int(time.time() * 1000)):
        said = f"You are muted in {room.name}: you can read there, but not speak."
    elif rules.rank(session):
        return
    elif rules.quiet:
        said = f"{room.name} is quiet: only its operators may speak."
    elif rules.slow:
        said = f"{room.name} is slow: you may speak once in {span(rules.slow)}."
    else:
        return
    session.send(events.Notice(said, room=room.name))


def _noted(session: Session) -> Somebody:
    return Somebody.of(session, session.identity, session.name)


def _submit(context: Context, session: Session, room: ChatRoom, change: Change, told: ordered.Told = ()) -> None:
    if rules := room.governance:
        session.pace.pay(rules.entries / ENTRIES)
        if Rank.MEMBER < rank(room, session) < Rank.SERVER and change.lengthens(rules):
            if seconds := context.sessions.wait_to_add(session.address):
                raise AddedTooMany(room.name, seconds)
    item = ordered.RoomChanged(room.id, room.name, room.owner, change, _noted(session), session, session.ref, told)
    context.history.submit(item)


def _change(context: Context, session: Session, room: ChatRoom, change: Change, told: ordered.Told = ()) -> None:
    refuse_namesake(room, session)
    _submit(context, session, room, change, told)


def refuse_namesake(room: ChatRoom, session: Session) -> None:
    """Raise NamesakesRules for somebody who may be the owner, without the token."""
    if not rank(room, session) and fold(room.creator) == fold(session.name):
        raise NamesakesRules(room.name, room.creator)


def _outside(context: Context, session: Session, room: ChatRoom, about: set[int], said: str) -> ordered.Told:
    """What is told to these people if they are here, but not in the room, and so do not see the change there."""
    there = set(context.publisher.members(room))
    concerned = [each for each in context.sessions.people() if each.identity in about and each not in there]
    told = tuple(each for each in concerned if each is not session and session.identity not in each.profile.ignored)
    return ((told, events.Notice(said, name=session.name, room=room.name)),) if told else ()


def fleeting(people: Iterable[Any], room: ChatRoom, said: str) -> ordered.Told:
    """What is told to those of the people whom the server will not recognise when they come back: the room's rules
    know them by a token that they have not asked for."""
    of_this_server = (each for each in people if isinstance(each, Session))
    guests = (each for each in of_this_server if not (each.account or each.known))
    told = tuple(each for each in guests if each.dialect.name == "text")
    return ((told, events.Notice(f"{said} while you are connected.", room=room.name, next="token")),) if told else ()


def _gone(context: Context, people: Collection[int]) -> tuple[int, ...]:
    """Those on a list who can never come back: guests who have left without a token. If there may be some, waits until
    what was submitted before is in force, and for an SQLite connection."""
    here = context.sessions.identities() if people else frozenset()
    away = [each for each in people if each not in here and context.accounts.of(each) is None]
    if away and context.history.settle(SETTLE):
        with contextlib.suppress(Unreadable):
            known = context.history.storage.known(away)
            return tuple(each for each in away if each not in known)
    return ()


def _names(context: Context, people: Mapping[int, str]) -> tuple[str, ...]:
    """The names on a list, without those who can never come back."""
    gone = _gone(context, people)
    return tuple(name for identity, name in people.items() if identity not in gone)


def _lift(context: Context, session: Session, room: ChatRoom, kind: Literal["unban", "unmute"], typed: str) -> None:
    person, rules = person_in(context, room, typed), room.governance or Governance()
    listed, key = rules.bans if kind == "unban" else rules.mutes, fold(person.name)
    about = {person.identity, *(each.identity for each in listed if each.key == key)} - {0}
    lifted = f"ban from {room.name}" if kind == "unban" else f"mute in {room.name}"  # there may be one by address, too
    told = _outside(context, session, room, about, f"{session.name} lifted your {lifted}.")
    _change(context, session, room, Lifted(kind, person), told)


def person_in(context: Context, room: ChatRoom, typed: str, exactly: bool = False) -> Somebody:
    """The person who has that name now, or whose account has it, or who was the last to say something in the room under
    it, or who became an operator there under it. Otherwise only the name is known; raise UnknownPerson if nobody can
    have it, or, with ``exactly``, if another name is like it."""
    try:
        return _known(context, typed)
    except UnknownPerson as error:
        unknown = error.without_stack()
    try:
        name = check_name(clean(typed))
    except BadName:  # nobody can have it
        raise UnknownPerson(clean(typed[:100])[:40]) from None
    said, key = reversed(context.publisher.recent(room.name)), fold(name)
    appointed = room.governance.operators if room.governance else {}
    who = next((each.who for each in said if fold(each.sender) == key), 0)
    who = who or next((identity for identity, each in appointed.items() if fold(each) == key), 0)
    if exactly and unknown.near and not who and _is_typo(key, fold(unknown.near)):
        raise unknown
    return _called(context, who, name)


def _is_typo(typed: str, name: str) -> bool:
    exchanged = typed[0] == name[0] and sorted(typed) == sorted(name)  # gsu for gus
    return exchanged or SequenceMatcher(None, typed, name).ratio() >= TYPO


def _meant(context: Context, room: ChatRoom, typed: str) -> Somebody:
    """The person to act against, as ``person_in`` finds exactly; under the name that others see, if the name of an
    account was typed, and its person is here under another one."""
    person = person_in(context, room, typed, True)
    here = (each for each in context.sessions.people() if person.account and each.identity == person.identity)
    return next(map(_noted, here), person)


def _called(context: Context, identity: int, name: str) -> Somebody:
    """The person with this number, who had the name once."""
    for each in context.sessions.people():
        if identity and each.identity == identity:
            return replace(_noted(each), name=name)
    account = context.accounts.of(identity)
    return Somebody(identity, name, account is not None, account is not None and context.accounts.is_operator(account))


def _who_said(context: Context, session: Session, room: ChatRoom, name: str) -> int:
    """The number of the person who was the last to say something in the room under this name; 0: nobody did, or nobody
    can tell now. Waits for an SQLite connection."""
    session.pace.pay(commands.Search.cost)
    with contextlib.suppress(Unreadable):
        for message in context.history.storage.search("", room.id, name, 1, session.ended):
            return message.who
    return 0


def _known(context: Context, typed: str) -> Somebody:
    """The person who has that name now, or whose account has it; raise UnknownPerson."""
    try:
        return _noted(context.sessions.named(typed))
    except UnknownPerson:
        if account := context.accounts.named(typed):
            return Somebody(account.id, account.name, True, context.accounts.is_operator(account))
        raise


@does(commands.Room)
def room(context: Context, session: Session, command: commands.Room) -> None:
    """Unless a program changes a rule, waits until what the session has changed before is in force. To show the rules,
    waits as ``_gone`` does. With ``ask``, waits for an SQLite connection to count messages with."""
    found = context.room(session, command.room)
    if command.setting is not None:
        fields = read_setting(command.setting)
        if command.ask and rank(found, session) >= Rank.OWNER and (keep := fields.get("keep")):
            before = int(time.time() * 1000) - keep * DAY_MS
            if count := context.history.storage.count_in(found.id, before):
                said = f"{count} message{' is' if count == 1 else 's are'} older in {found.name}, and would be deleted"
                session.answer(events.Notice(f"{said} for good. Add yes to do that.", room=found.name))
                return
        if isinstance(session.dialect, TextDialect) and rank(found, session):
            context.wait(session)
            rules = rules_of(found)
            if replace(rules, **fields) == rules:  # nobody else is told
                session.answer(events.Notice(f"{found.name} has that rule already.", room=found.name))
                return
        rules_before = found.governance
        members = context.publisher.members(found)
        present = tuple((each.identity, each.name) for each in members)
        closes = members if fields.get("invite_only") else ()
        others = (each for each in closes if each is not session and each.identity != found.owner)
        told = fleeting(others, found, f"You may enter {found.name}")
        if told:
            ((guests, _),) = told
            who = "1 person here has" if len(guests) == 1 else f"{len(guests)} people here have"
            said = f"{who} neither account nor token. After they disconnect, they need another invitation."
            told += (((session,), events.Notice(said, room=found.name)),)
        _change(context, session, found, Set(command.setting, present), told)
        _tell_if_it_stays(context, session, found, rules_before, bool(fields.get("invite_only")))
        return
    context.wait(session)
    rules = rules_of(found)
    operators = _names(context, rules.operators)
    creator = found.creator if found.owner else ""
    may_enter = {each: name for each, name in rules.invited.items() if each != found.owner}
    invited = _names(context, may_enter) if rank(found, session) else ()
    session.pace.pay(cost_of_table((each,) for each in invited))
    session.answer(events.RoomShown(found.name, rules.settings(), creator, operators, invited))
    if rules.muted(session, int(time.time() * 1000)):
        tell_whether_it_may_speak(session, found)


@does(commands.Op)
def op(context: Context, session: Session, command: commands.Op) -> None:
    """Waits until what the session has changed before is in force."""
    context.wait(session)
    found = context.room(session, command.room)
    person = _known(context, command.name)
    if person.identity == found.owner:
        raise NotAllowed(f"{person.name} owns {found.name}, and may do more than an operator there.")
    rules = rules_of(found)
    if isinstance(session.dialect, TextDialect) and person.identity in rules.operators and rank(found, session) > 1:
        said = f"{person.name} is an operator of {found.name} already."
        session.answer(events.Notice(said, name=person.name, room=found.name))  # nothing changes: nobody else is told
        return
    told = _outside(context, session, found, {person.identity}, f"{session.name} made you an operator of {found.name}.")
    rules_before = found.governance
    here = (each for each in context.sessions.people() if each.identity == person.identity)
    if guest := fleeting(here, found, f"You are an operator of {found.name}"):
        said = f"The role ends with {person.name}'s connection: {person.name} has neither account nor token."
        told += (*guest, ((session,), events.Notice(said, name=person.name, room=found.name)))
    _change(context, session, found, Appoint(person, _gone(context, rules.operators)), told)
    _tell_if_it_stays(context, session, found, rules_before)


@does(commands.Deop)
def deop(context: Context, session: Session, command: commands.Deop) -> None:
    found = context.room(session, command.room)
    person = person_in(context, found, command.name)
    if person.identity and person.identity == found.owner:
        raise NotAllowed(f"{person.name} owns {found.name}, which nobody can take away.")
    if person.identity == session.identity and not rank(found, session):
        raise NoOperator(person.name, found.name)
    said = f"{session.name} took the role of operator of {found.name} from you."
    _change(context, session, found, Dismiss(person), _outside(context, session, found, {person.identity}, said))


@does(commands.Kick)
def kick(context: Context, session: Session, command: commands.Kick) -> None:
    found = context.room(session, command.room)
    person, why = _meant(context, found, command.name), check_words(command.why)
    refuse_itself(session, person)
    if person.identity not in {each.identity for each in context.publisher.members(found)}:
        raise NotThere(person.name, found.name)
    _change(context, session, found, Sanctioned("kick", person, None, why))


@does(commands.Ban)
def ban(context: Context, session: Session, command: commands.Ban) -> None:
    _sanction(context, session, command, "ban")


@does(commands.Mute)
def mute(context: Context, session: Session, command: commands.Mute) -> None:
    found = context.room(session, command.room)
    refuse_namesake(found, session)
    if not rank(found, session):  # checked once more by the history thread; here, because it tells more
        raise NoMuting(found.name, rules_of(found).rulers(found.name))
    _sanction(context, session, command, "mute")


def refuse_itself(session: Session, person: Somebody) -> None:
    """Raise NotAllowed if the person is the one who asks."""
    if person.identity == session.identity:
        raise NotAllowed("You cannot do that to yourself.")


def _sanction(
    context: Context, session: Session, command: commands.Ban | commands.Mute, kind: Literal["ban", "mute"]
) -> None:
    if command.seconds is not None and not 1 <= command.seconds <= LONGEST:
        raise BadRequest(f"seconds of {kind} must be 1 to {LONGEST}.")
    found = context.room(session, command.room)
    person, why = _meant(context, found, command.name), check_words(command.why)
    refuse_itself(session, person)
    if not person.identity and rank(found, session):
        person = _called(context, _who_said(context, session, found, person.name), person.name)
        if not (person.identity or command.address):
            said = f"Nobody is called {person.name} now, so this holds for the name only."
            session.send(events.Notice(said, name=person.name))
    done = f"banned you from {found.name}" if kind == "ban" else f"muted you in {found.name}"
    how_long = f" for {span(command.seconds)}" if command.seconds else " for good"
    said = f"{session.name} {done}{how_long}" + (f": {why}" if why else ".")
    told = _outside(context, session, found, {person.identity}, said)
    _change(context, session, found, Sanctioned(kind, person, command.seconds, why, command.address), told)


@does(commands.Unban)
def unban(context: Context, session: Session, command: commands.Unban) -> None:
    _lift(context, session, context.room(session, command.room), "unban", command.name)


@does(commands.Unmute)
def unmute(context: Context, session: Session, command: commands.Unmute) -> None:
    _lift(context, session, context.room(session, command.room), "unmute", command.name)


@does(commands.Uninvite)
def uninvite(context: Context, session: Session, command: commands.Uninvite) -> None:
    found = context.room(session, command.room)
    person = person_in(context, found, command.name)
    there = person.identity in {each.identity for each in context.publisher.members(found)}
    said = f"{person.name} is not invited to {found.name} any more" + (", but is still in it." if there else ".")
    done = events.Notice(said, name=person.name, room=found.name, next="kick" if there else "")
    said = f"{session.name} took back your invitation to {found.name}."
    told = _outside(context, session, found, {person.identity}, said)
    _change(context, session, found, Uninvite(person), (answered(session, done), *told))


@does(commands.ListBans)
def list_bans(context: Context, session: Session, command: commands.ListBans) -> None:
    """Waits until what the session has changed before is in force."""
    context.wait(session)
    found = context.room(session, command.room)
    refuse_namesake(found, session)
    if not rank(found, session):
        raise NotOperator(found.name, rules_of(found).rulers(found.name))
    rules, at = rules_of(found), int(time.time() * 1000)
    both: tuple[tuple[Literal["ban", "mute"], Sanctions], ...] = (("ban", rules.bans), ("mute", rules.mutes))
    rows = tuple(
        events.SanctionRow(
            each.name, "kick" if each.kick else action, each.by, each.why, each.left(at), bool(each.network)
        )
        for action, listed in both
        for each in listed.in_force(at)
    )
    longest: dict[tuple[bool, str], events.SanctionRow] = {}  # by name: several people may have had it
    for row in rows:
        key = (row.action == "mute", fold(row.name))
        if key not in longest or _lasts(row) > _lasts(longest[key]):
            longest[key] = row
    session.pace.pay(cost_of_table((row.name, row.by, row.why) for row in longest.values()))
    session.answer(events.SanctionList(found.name, tuple(longest.values())))


def _lasts(row: events.SanctionRow) -> float:
    return float("inf") if row.seconds is None else row.seconds
