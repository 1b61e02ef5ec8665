"""What each command does, whatever the dialect: above each method stands its command.

Everything here runs in the reader thread of the session that asked, except ``refuse`` and ``announce``, which
the history thread calls. What has to be seen in the same order by everybody is submitted to the history; the rest is
answered at once.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from . import __version__, commands, events, inside, ordered
from .chatroom import ChatRoom, Subscriber
from .errors import (
    BadFault,
    BadName,
    BadRequest,
    Busy,
    ChatError,
    LooksLikeRoom,
    NobodyWrote,
    NotAllowed,
    NothingToSay,
    NotInRoom,
    NoTrip,
    NotStored,
    Replaced,
    RoomExists,
    Told,
    TooLong,
    TooManyTokens,
    UnknownPerson,
    UnknownRoom,
    UnknownToken,
    Unreadable,
)
from .history import History
from .lab import Faults
from .pace import cost_of_saying, cost_of_table
from .publisher import LOBBY, Publisher
from .rules import check_name, check_room, check_text, check_words, fold
from .search import words_of
from .session import Session, SessionStore
from .tokens import identity_of, new_token, person_of, token_id
from .trace import Recorder

log = logging.getLogger(__name__)

OVERTAKEN = 3  # times that a room may disappear before somebody who wants to be in it has entered
PAGE = 20  # messages in a page of history, unless told otherwise
MAX_PAGE = 200
MAX_FOUND = 50  # hits that a search shows
MAX_ROWS = 100  # rows in a table of rooms or people
SETTLE = 15.0  # seconds to wait for what was said before; more than SQLite waits for another's lock
MAX_IGNORED = 100
COME_IN = (
    "First type your name, alone or with a room: ann, or ann #lab2. /resume TOKEN takes your old place, /quit leaves."
    " Once you are in, /help lists the commands."
)
NO_TOPIC = "-"  # the topic that takes a topic away


@dataclass(frozen=True)
class Insight:
    """What may be looked at, and by whom: what --lab and --trace add to the service."""

    locks: inside.Locks = field(default_factory=inside.Locks)
    faults: Faults | None = None  # those that --lab allows
    recorder: Recorder | None = None  # of messages' trips

    @property
    def for_all(self) -> bool:
        """Whether everybody may look inside, and not only those at the server's own machine."""
        return self.faults is not None


METHODS: dict[type[commands.Command], Callable[[Service, Session, Any], None]] = {}
"""What does each command."""

M = TypeVar("M", bound=Callable[..., None])


def _does(kind: type[commands.Command]) -> Callable[[M], M]:
    """The method below is what that command does."""

    def register(method: M) -> M:
        METHODS[kind] = method
        return method

    return register


class Service:
    """The commands, and the beginning and end of a conversation. Keeps nothing of its own that changes."""

    def __init__(
        self,
        publisher: Publisher,
        sessions: SessionStore,
        history: History,
        motd: tuple[str, ...] = (),
        insight: Insight | None = None,
    ) -> None:
        self._publisher = publisher
        self._sessions = sessions
        self._history = history
        self._motd = motd
        self._insight = insight or Insight()
        self._began = time.monotonic()

    # --- beginning and end ----------------------------------------------------------------------------------

    def admit(self, session: Session, hello: commands.Hello) -> None:
        """The handshake: give the session its name and bring it into its first rooms.

        These are those it asks for, or, with a token, those that the connection was in whose place it takes, or
        the lobby. Raises BadName, BadRoom, NameTaken, UnknownToken or Unreadable; nothing has changed then, and it
        may try again.
        """
        name = self._name_of(hello.token) if hello.token else hello.name
        if hello.name or not hello.token:
            name = self._checked_name(hello.name)
        rooms: dict[str, int | None] = {check_room(room): number for room, number in hello.since}
        if hello.room:
            room = check_room(hello.room)
            rooms[room] = rooms.pop(room, None)  # the last one is the current one
        old = self._take(session, name, hello.token or new_token())
        if hello.token or (session.dialect.token_first and not self._sessions.wait_for_token(session.address)):
            self._keep_token(session)
        session.dialect.admitted(name)
        self._update_views(session)
        session.answer(events.Welcome(name, self._motd, __version__, session.token if session.known else ""))
        if self._history.read_only:
            session.tell(self._history.read_only)
        first_time = True
        for room, since in (rooms or dict.fromkeys(old)).items():
            try:
                self._enter_or_make(session, room, first_time, since)
                first_time = False
            except Told as error:
                session.tell(error, session.dialect.ref)
        if first_time:
            try:
                self._enter_or_make(session, LOBBY, first_time)
            except Told as error:
                session.tell(error, session.dialect.ref)

    def _name_of(self, token: str) -> str:
        """The name under which a token was used last; raise UnknownToken, or Unreadable if that cannot be told."""
        holder = self._sessions.holder(token)
        if holder:
            return holder.name
        settled = self._history.settle(SETTLE)  # it may be on its way to the storage
        name = self._history.storage.token(token_id(token))
        if name is None:
            raise UnknownToken() if settled else Unreadable("it is busy")
        self._sessions.know([(name, token_id(token))])  # a flood of other names may have made it forgotten
        try:
            return check_name(name)
        except BadName as error:  # it is older than the rule
            return self._sessions.free(error.near or name, token_id(token))

    def _take(self, session: Session, name: str, token: str) -> list[str]:
        """Give the session a name, and, with a token, the place of whoever had that. Returns the rooms of that
        place, its current one at the end."""
        old = self._sessions.claim(session, name, token)
        rooms: list[str] = []
        if old:
            log.info("%s takes the place of %s", session, old)
            rooms = list(self._publisher.rooms_of(old))
            with contextlib.suppress(NotInRoom):
                current = self._publisher.current(old).name
                rooms.sort(key=lambda room: room == current)
            old.cut_off(Replaced())
            self._depart(old, "", SETTLE)
        return rooms

    def _keep_token(self, session: Session) -> None:
        """The client knows its token, or will at once: let the history keep that, with the session's name."""
        session.known = True
        self._sessions.introduce(session)
        if self._sessions.holder(session.token) is session:
            with contextlib.suppress(NotStored):  # then the next message under it stores it
                self._history.submit(ordered.TokenUsed(session.identity, session.name))

    def dismiss(self, session: Session, words: str, patience: float) -> None:
        """The conversation is over: the session sees what it said before, the others that it left, and its
        name is free again."""
        if session.name:
            self._depart(session, self._words_or_none(words), patience)
            self._sessions.release(session)

    def _depart(self, session: Session, words: str, patience: float) -> None:
        """Take the session out of its rooms, after what it said, in at most so many seconds."""
        try:
            self._history.submit(ordered.LeftAll(session, words))
            self._history.settle(patience)
        except Told:
            pass  # the history is stuck; what follows does without it
        self._publisher.unsubscribe(session)

    @staticmethod
    def _words_or_none(words: str) -> str:
        try:
            return check_words(words)
        except TooLong:
            return ""

    def handle(self, session: Session, command: commands.Command) -> None:
        """Do what is asked; raise ChatError if that is not possible."""
        METHODS[type(command)](self, session, command)

    def refuse(self, item: ordered.Ordered, error: ChatError) -> None:
        """The history thread's: what was submitted was not stored, so whoever asked is told."""
        origin: Session | None = getattr(item, "origin", None)
        if origin is not None:
            origin.tell(error, getattr(item, "ref", ""))

    def announce(self, error: ChatError) -> None:
        """The history thread's: everybody is told."""
        for session in self._sessions.people():
            session.tell(error)

    # --- saying ---------------------------------------------------------------------------------------------

    @_does(commands.Say)
    def _say(self, session: Session, command: commands.Say | commands.Act, kind: events.Kind = "say") -> None:
        text = check_text(command.text)
        room = self._room(session, command.room, member=True)
        session.pace.pay(cost_of_saying(text, self._publisher.audience(room)))
        ref = session.dialect.ref
        token = session.identity if ref and session.known else 0
        self._sessions.introduce(session)
        said = (room.id, room.name, session.name, kind, text, session, ref, token, session.identity)
        self._history.submit(ordered.Draft(*said))

    @_does(commands.Act)
    def _act(self, session: Session, command: commands.Act) -> None:
        self._say(session, command, "action")

    @_does(commands.Private)
    def _private(self, session: Session, command: commands.Private) -> None:
        text = check_text(command.text)
        other = self._sessions.named(command.to)
        at = int(time.time() * 1000)
        if session.identity not in other.profile.ignored:
            other.reply_to = session.contact
            other.send(events.PrivateLine(at, session.name, other.name, text))
        session.answer(events.PrivateLine(at, session.name, other.name, text, sent=True))
        away = other.profile.away
        if away is not None:
            session.answer(events.Notice(f"{other.name} is away" + (f": {away}" if away else ".")))

    @_does(commands.Reply)
    def _reply(self, session: Session, command: commands.Reply) -> None:
        who = session.reply_to
        if who is None:
            raise NobodyWrote()
        other = self._sessions.again(who)  # not by its name, which may be somebody else's by now
        if other is None:
            raise UnknownPerson(who.name)
        self._private(session, commands.Private(other.name, command.text))

    # --- rooms ----------------------------------------------------------------------------------------------

    def _room(self, session: Session, name: str | None, member: bool = False) -> ChatRoom:
        """The room meant: the current one, or the one named; with ``member``, only if it is in there."""
        if name is None:
            return self._publisher.current(session)
        check_room(name)
        return self._publisher.member_of(session, name) if member else self._publisher.find(name)

    def _find_or_make(self, session: Session, name: str) -> ChatRoom:
        found = self._publisher.get(name)
        if found is None:
            try:
                return self._make(session, name)
            except LooksLikeRoom:
                raise
            except RoomExists:  # somebody else has just made it
                found = self._publisher.find(name)
        return found

    def _make(self, session: Session, name: str, topic: str = "") -> ChatRoom:
        self._publisher.check_place(session)  # no room is made that its maker cannot enter
        return self._publisher.create_chat_room(name, session.name, topic, session, session.dialect.ref)

    def _enter_or_make(self, session: Session, name: str, first_time: bool = False, since: int | None = None) -> None:
        """Enter the room of that name, which is made if there is none."""
        tries = OVERTAKEN
        while tries:
            tries -= 1
            try:
                self._enter(session, self._find_or_make(session, name), first_time, since)
                break
            except UnknownRoom:  # everybody has left it meanwhile, and it was of no use any more
                if not tries:
                    raise

    def _enter(self, session: Session, room: ChatRoom, first_time: bool = False, since: int | None = None) -> None:
        dialect = session.dialect
        joined = self._publisher.subscribe(session, room, dialect.replay, first_time, dialect.ref, since)
        if joined:
            self._history.submit(joined)

    @_does(commands.Join)
    def _join(self, session: Session, command: commands.Join) -> None:
        self._enter_or_make(session, check_room(command.room), since=command.since)

    @_does(commands.Create)
    def _create(self, session: Session, command: commands.Create) -> None:
        room = check_room(command.room)
        topic = check_words(command.topic)
        made = self._make(session, room, topic)
        try:
            self._enter(session, made)
        except UnknownRoom:  # somebody else was in there and left before
            self._enter_or_make(session, room)

    @_does(commands.Leave)
    def _leave(self, session: Session, command: commands.Leave) -> None:
        room = self._room(session, command.room, member=True)
        self._history.submit(ordered.Left(room.id, session, session.dialect.ref))
        self._wait(session)  # what is typed next goes to another room

    @_does(commands.Delete)
    def _delete(self, session: Session, command: commands.Delete) -> None:
        room = self._room(session, command.room)
        ends = self._publisher.delete_chat_room(session, room, session.dialect.ref)
        if command.ask:
            count = self._history.storage.count_in(room.id)
            messages = f"{count} message{'' if count == 1 else 's'}" if count else "no messages"
            session.answer(events.Notice(f"{room.name} has {messages}. /delete {room.name} yes deletes it for good."))
            return
        self._history.submit(ends)
        self._wait(session)

    def _wait(self, session: Session) -> None:
        """Wait until what the session asked for has been done; raise Busy if that takes too long."""
        if not self._history.settle(SETTLE, session.ended) and not session.ended.is_set():
            raise Busy()

    @_does(commands.ListRooms)
    def _list_rooms(self, session: Session, command: commands.ListRooms) -> None:
        rows = self._publisher.list_chat_rooms(MAX_ROWS)
        session.pace.pay(cost_of_table((row.room, row.topic) for row in rows))
        session.answer(events.RoomList(tuple(rows), max(0, len(self._publisher) - MAX_ROWS)))

    @_does(commands.Who)
    def _who(self, session: Session, command: commands.Who) -> None:
        people: Sequence[Subscriber]
        if command.room is None:
            room, people = None, self._sessions.people()
        else:
            found = self._room(session, command.room)
            room, people = found.name, self._publisher.members(found)
        shown = sorted(people, key=lambda each: fold(each.name))[:MAX_ROWS]
        rows = tuple(each.person(self._publisher.rooms_of(each)) for each in shown)
        session.pace.pay(cost_of_table((row.name, *row.rooms, row.away or "") for row in rows))
        session.answer(events.PeopleList(room, rows, max(0, len(people) - MAX_ROWS)))

    @_does(commands.Topic)
    def _topic(self, session: Session, command: commands.Topic) -> None:
        if command.text is None:
            room = self._room(session, command.room)
            session.answer(events.TopicShown(room.name, self._publisher.topic(room)))
        else:
            room = self._room(session, command.room, member=True)
            text = "" if command.text == NO_TOPIC else check_words(command.text)
            self._history.submit(ordered.TopicSet(room.id, session.name, text, session, session.dialect.ref))

    @_does(commands.Invite)
    def _invite(self, session: Session, command: commands.Invite) -> None:
        room = self._room(session, command.room, member=True)
        other = self._sessions.named(command.name)
        if session.identity not in other.profile.ignored:
            other.send(events.Invited(session.name, room.name))
        session.answer(events.Notice(f"{other.name} is invited to {room.name}."))

    # --- people ---------------------------------------------------------------------------------------------

    def _checked_name(self, typed: str) -> str:
        """The name as it is kept; raise BadName, with a name near it that is free."""
        try:
            return check_name(typed)
        except BadName as error:
            raise (error.with_near(self._sessions.free(error.near)) if error.near else error) from None

    @_does(commands.Nick)
    def _nick(self, session: Session, command: commands.Nick) -> None:
        name, old = self._checked_name(command.name), session.name
        if name == old:
            session.answer(events.Notice(f"You are called {name} already."))
            return
        self._take(session, name, "")
        if session.known:
            self._keep_token(session)
        self._rename(session, old)

    def _rename(self, session: Session, old: str) -> None:
        """Its name is another one now: show that to the session and to the others."""
        session.dialect.renamed(session.name)
        self._update_views(session)
        session.answer(events.Notice(f"You are {session.name} now."))
        if session.name != old:
            self._history.submit(ordered.NameChanged(session, old, session.name))

    @_does(commands.ShowToken)
    def _show_token(self, session: Session, command: commands.ShowToken) -> None:
        if not session.known:
            seconds = self._sessions.wait_for_token(session.address)
            if seconds:
                raise TooManyTokens(seconds)
            self._keep_token(session)
        session.answer(events.TokenShown(session.token))

    @_does(commands.Resume)
    def _resume(self, session: Session, command: commands.Resume) -> None:
        old = session.name
        rooms = self._take(session, self._name_of(command.token), command.token)
        self._keep_token(session)
        ignored = dict(session.profile.ignored)
        if ignored.pop(session.identity, None):  # it is that person now, and has to see what it says itself
            self._set_ignored(session, ignored)
        self._rename(session, old)
        for room in rooms:
            try:
                self._enter_or_make(session, room)
            except Told as error:
                session.tell(error, session.dialect.ref)

    @_does(commands.Whois)
    def _whois(self, session: Session, command: commands.Whois) -> None:
        other = self._sessions.named(command.name)
        person = other.person(self._publisher.rooms_of(other))
        session.answer(events.PersonShown(person, time.monotonic() - other.began))

    @_does(commands.Away)
    def _away(self, session: Session, command: commands.Away) -> None:
        session.profile = replace(session.profile, away=check_words(command.reason))
        session.answer(events.Notice("You are away. /back ends it."))

    @_does(commands.Back)
    def _back(self, session: Session, command: commands.Back) -> None:
        was_away = session.profile.away is not None
        session.profile = replace(session.profile, away=None)
        session.answer(events.Notice("You are back." if was_away else "You were not away."))

    @_does(commands.Ignore)
    def _ignore(self, session: Session, command: commands.Ignore) -> None:
        """The person is meant, so it is the token that is kept: names change, and somebody else may take one."""
        if command.person is None:
            other = self._sessions.named(command.name)
            identity, name = other.identity, other.name
        else:
            identity, name = _identity_of(command.person), check_name(command.name)
        if identity == session.identity:
            raise NotAllowed("You cannot ignore yourself: you see your own lines to know that they are stored.")
        ignored = {**session.profile.ignored, identity: name}
        if len(ignored) > MAX_IGNORED:
            raise TooLong(f"You already ignore {MAX_IGNORED} people. /unignore one of them first.")
        self._set_ignored(session, ignored)
        said = f"What {name} says is hidden now. /unignore {name} shows it again."
        session.answer(events.Notice(said, person_of(identity)))

    @_does(commands.Unignore)
    def _unignore(self, session: Session, command: commands.Unignore) -> None:
        name = check_name(command.name)
        if command.person is None:
            identity = self._ignored_as(session, name)
        else:
            identity = _identity_of(command.person)
        ignored = dict(session.profile.ignored)
        if identity is None or identity not in ignored:
            session.answer(events.Notice(f"{name} was not ignored."))
            return
        del ignored[identity]
        self._set_ignored(session, ignored)
        session.answer(events.Notice(f"What {name} says is shown again.", person_of(identity)))

    def _ignored_as(self, session: Session, name: str) -> int | None:
        """Which of those whom the session ignores has this name, or else had it when they were ignored."""
        ignored = session.profile.ignored
        with contextlib.suppress(UnknownPerson):
            identity = self._sessions.named(name).identity
            if identity in ignored:
                return identity
        return next((identity for identity, then in ignored.items() if fold(then) == fold(name)), None)

    def _set_ignored(self, session: Session, ignored: Mapping[int, str]) -> None:
        session.profile = replace(session.profile, ignored=ignored)
        session.dialect.ignoring(frozenset(ignored))
        self._update_views(session)

    def _update_views(self, session: Session) -> None:
        self._publisher.set_views(session, session.dialect.views)

    # --- history --------------------------------------------------------------------------------------------

    @_does(commands.ReadHistory)
    def _read_history(self, session: Session, command: commands.ReadHistory) -> None:
        room = self._room(session, command.room)
        storage = self._history.storage
        before, after, limit = command.before, command.after, PAGE
        if command.count is not None:
            limit = max(1, min(command.count, MAX_PAGE))
        elif command.seconds is not None:
            after = storage.number_before(room.id, int((time.time() - command.seconds) * 1000))
            limit = MAX_PAGE
        messages = tuple(storage.page(room.id, before, after, limit, events.PAGE_BYTES))
        last = self._publisher.last(room)
        if messages:
            last = max(last, messages[-1].number)
            older = messages[0].number if messages[0].number > 1 else None
            newer = messages[-1].number if messages[-1].number < last else None
        else:
            older = newer = None
        session.answer(events.HistoryPage(room.name, messages, last, older, newer))

    @_does(commands.Search)
    def _search(self, session: Session, command: commands.Search) -> None:
        words = check_words(command.words)
        if not words_of(words):
            raise NothingToSay("A search needs a word with a letter or digit in it.")
        room = self._publisher.find(check_room(command.room)).id if command.room else None
        found = self._history.storage.search(words, room, command.sender, MAX_FOUND + 1, session.ended)
        session.answer(events.SearchPage(words, tuple(found[-MAX_FOUND:]), len(found) > MAX_FOUND))

    # --- the session and the server -------------------------------------------------------------------------

    @_does(commands.SetOption)
    def _set(self, session: Session, command: commands.SetOption) -> None:
        said = session.dialect.set_option(command.name, command.value)
        self._update_views(session)
        session.answer(events.Notice(said))

    @_does(commands.Stats)
    def _stats(self, session: Session, command: commands.Stats) -> None:
        session.answer(
            events.StatsShown(
                __version__,
                time.monotonic() - self._began,
                len(self._sessions),
                len(self._publisher),
                self._history.stored,
                threading.active_count(),
                self._history.per_second(),
            )
        )

    def _may_look(self, session: Session) -> None:
        if not session.local and not self._insight.for_all:
            raise NotAllowed(
                "Only connections from the server's own machine may see that; --lab shows it to everybody."
            )

    @_does(commands.ShowThreads)
    def _show_threads(self, session: Session, command: commands.ShowThreads) -> None:
        """Takes no lock that any other thread could be stuck with."""
        self._may_look(session)
        now = time.monotonic()
        slots = sorted(inside.slots(), key=_last_the_readers)
        places = inside.places({slot.ident for slot in slots[:MAX_ROWS]})
        rows = tuple(_row(slot, now, places.get(slot.ident, "")) for slot in slots[:MAX_ROWS])
        session.answer(events.ThreadList(rows, len(slots) - len(rows)))

    @_does(commands.ShowLocks)
    def _show_locks(self, session: Session, command: commands.ShowLocks) -> None:
        """Takes no lock: the numbers are read as they are."""
        self._may_look(session)
        now = time.monotonic()
        rows = []
        for lock in sorted(self._insight.locks.made, key=lambda lock: lock.name):
            name, since = lock.holder or (None, now)
            held = None if name is None else max(0.0, now - since)
            longest = max(lock.longest, held or 0.0)
            rows.append(events.LockRow(lock.name, lock.taken, lock.contended, lock.waited, longest, name, held))
        session.answer(events.LockList(self._insight.locks.counted, tuple(rows)))

    @_does(commands.ShowTrip)
    def _show_trip(self, session: Session, command: commands.ShowTrip) -> None:
        """Takes no lock; of a trip that is under way, what there is so far is shown."""
        self._may_look(session)
        recorder, room = self._insight.recorder, self._publisher.peek_current(session)
        if recorder is None:
            raise NoTrip("This server records no trips. Start it with --lab or --trace to record them.")
        if room is None:
            raise NotInRoom()
        trip = recorder.find(room.name, command.number)
        if trip is None:
            raise NoTrip(f"There is no record of the trip of message {command.number} of {room.name}.")
        session.answer(trip.shown())

    @_does(commands.MakeFault)
    def _make_fault(self, session: Session, command: commands.MakeFault) -> None:
        faults = self._insight.faults
        if faults is None:
            raise NotAllowed("Faults can be made only on a server that was started with --lab.")
        seconds = float(command.amount)
        if (command.fault, command.target) == ("pause", "publisher"):
            what = f"holds the Publisher's lock for {command.amount} s"
            faults.pause_publisher(seconds, self._over("The Publisher is free again."))
        elif (command.fault, command.target) == ("pause", "history"):
            what = f"stops the history for {command.amount} s"
            faults.pause_history(seconds, self._over("The history goes on."))
        elif command.fault == "slow":
            other = self._sessions.named(command.target)
            what = f"makes every send to {other.name} take {command.amount} ms more, for a minute at most"
            faults.slow(other.number, command.amount, self._over(f"{other.name} is no longer slowed down."))
        else:
            raise BadFault("The faults are slow NAME, pause publisher, and pause history.")
        log.info("%s %s", session, what)
        self._tell_all(f"{session.name} {what}. /threads and /locks show it.")

    def _over(self, text: str) -> Callable[[], None]:
        return lambda: self._tell_all(text)

    def _tell_all(self, text: str) -> None:
        """Tell everybody, whatever is stuck."""
        for each in self._sessions.people():
            each.send(events.Notice(text))

    @_does(commands.Ping)
    def _ping(self, session: Session, command: commands.Ping) -> None:
        began = time.monotonic()
        self._wait(session)
        session.answer(events.Pong(time.monotonic() - began, session.wire.rtt()))

    @_does(commands.AreYouThere)
    def _are_you_there(self, session: Session, command: commands.AreYouThere) -> None:
        session.answer(events.Notice("Yes, I am here."))

    @_does(commands.Help)
    def _help(self, session: Session, command: commands.Help) -> None:
        if session.name or command.about:
            session.answer(events.HelpShown(command.about))
        if not session.name:
            session.answer(events.Notice(COME_IN))


def _identity_of(person: str) -> int:
    identity = identity_of(person)
    if identity is None:
        raise BadRequest("person must be the 16 digits from the answer to ignore.")
    return identity


def _last_the_readers(slot: inside.Slot) -> tuple[bool, int]:
    """The order in which threads are shown: of the readers first those for which most waits."""
    if slot.role != "reader":
        return False, 0
    return True, -slot.depth()[0] if slot.depth else 0


def _row(slot: inside.Slot, now: float, where: str) -> events.ThreadRow:
    """What is shown of a thread, read without any lock."""
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
    )
