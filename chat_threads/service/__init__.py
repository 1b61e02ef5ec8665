"""The service: what each command does, and how a conversation begins and ends. It is the same for every dialect.

Each family of commands has a file: ``talk``, ``rooms``, ``governing``, ``order``, ``people``, ``accounts``, ``pages``,
``insight``, ``metrics`` and ``screen``. Above each function stands the command that it carries out. Everything here
runs in the reader thread of the session that asked, except ``refuse`` and ``announce``, which the history thread calls,
and the notice that a fault has ended, which the fault's lab thread sends.

A change that everybody must see in the same order is submitted to the history; the rest is answered at once. ``submit``
waits while the history's queue is full, at most ``history.PATIENCE`` seconds; then it raises NotStored.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from .. import __version__, commands, events, ordered
from ..accounts import Accounts
from ..dialects.base import SILENT
from ..errors import ChatError
from ..history import History
from ..publisher import Publisher
from ..reach import HERE, HTTP, url
from ..register import LOBBY
from ..rules import WORDS_LENGTH, check_room, check_words, clean
from ..session import Session, SessionStore
from ..tokens import new_token
from . import accounts, governing, insight, metrics, order, pages, passwords, people, returning, rooms, screen, talk
from .table import METHODS, Context, Insight

__all__ = ["METHODS", "Insight", "Service"]

# Importing them has filled METHODS.
FAMILIES = (talk, rooms, governing, order, people, accounts, pages, insight, metrics, screen)


class Service:
    """The commands, and the beginning and end of a conversation. Nothing in it ever changes, so it needs no lock."""

    def __init__(
        self,
        publisher: Publisher,
        sessions: SessionStore,
        history: History,
        motd: tuple[str, ...] = (),
        insight: Insight | None = None,
        home: Callable[[], str] = lambda: url(HERE, HTTP),
        all_accounts: Accounts | None = None,
    ) -> None:
        """``home`` says which address opens the chat in a browser. ``all_accounts``: None makes some."""
        self._context = Context(publisher, sessions, history, insight or Insight(), home, all_accounts or Accounts())
        self._motd = motd

    def admit(self, session: Session, hello: commands.Hello) -> bool:
        """The handshake: give the session its name and bring it into its first rooms. Return False if its client is
        asked for a password first: then the next hello has that.

        The first rooms are those of the connection whose place it takes, or those that its token or its account keeps,
        and the one that it asks for; failing that, the lobby. A program that says ``since`` knows where it was, and
        enters only the rooms that it asks for. A person who comes back may have been in no room. Raises BadName,
        BadRoom, NameTaken, UnknownToken, Unreadable, or what ``passwords.checked`` raises; then nothing has changed,
        and the client may try again. Waits as that, ``people.known_by``, ``people.take``, ``people.keep_token``,
        ``returning.kept_under`` and ``rooms.enter_or_make`` do.
        """
        context = self._context
        name, who = people.known_by(context, hello.token) if hello.token else (hello.name, None)
        if hello.name or not hello.token:
            name = people.checked_name(context, hello.name)
        wanted: dict[str, int | None] = {check_room(room): number for room, number in hello.since or ()}
        if hello.room:
            room = check_room(hello.room)
            wanted[room] = wanted.pop(room, None)  # the last one is the current one
        token = hello.token or new_token()
        if hello.password:
            (name, who), token = passwords.checked(context, session, name, hello.password), new_token()
        elif owner := passwords.owner_of(context, name, who):
            if passwords.asks(context, session, replace(hello, name=owner.name)):
                return False
        place = returning.kept_under(context, session, token, who) if who else None
        new = token != hello.token
        old = people.take(context, session, name, token, who)
        if not new or (session.dialect.token_first and not context.sessions.wait_for_token(session.address)):
            people.keep_token(context, session, new)
        session.dialect.admitted(name)
        if place:
            returning.restore(context, session, place.kept)
        if session.views is not session.dialect.views:
            people.update_views(context, session)
        welcome = events.Welcome(name, self._motd, __version__, session.token if session.known else "")
        more = session.dialect.hint(), session.dialect.today(time.time())
        nowhere = hello.place and hello.since == () and not wanted
        told = (events.Notice(text) for text in more if text)
        session.answer(welcome, *told, more=not nowhere)  # what it enters follows
        if context.history.read_only:
            session.tell(context.history.read_only)
        if place and hello.since is None:  # otherwise it is a program that reconnects, and knows where it was
            returning.tell_settings(session, place.kept)
            wanted = returning.with_room(returning.rooms(context, session, old, place), hello.room)
        if nowhere:
            returning.enter(context, session, {})
        else:
            returning.enter(context, session, wanted or dict.fromkeys(old), first_time=True, otherwise=LOBBY)
        if place and hello.since is None:
            returning.tell(context, session, old, place)
        return True

    def handle(self, session: Session, command: commands.Command) -> None:
        """Carry out a command; raise ChatError if that is not possible. Waits as the command's function says."""
        if session.token_lost:
            session.token_lost = False
            people.keep_token(self._context, session, new=True)
        METHODS[type(command)](self._context, session, command)
        if session.note_at is not None and (session.heard > session.note_at or type(command) in returning.CHANGES):
            returning.note(self._context, session)

    def refused(self, session: Session, command: object, error: ChatError) -> None:
        """A command, or what came in place of one, was answered with this error: ask a person for a password again."""
        passwords.ask_again(session, command, error)

    def wait(self, session: Session) -> None:
        """Nothing came from the client for a while: bring the screen of a person who edits lines up to date."""
        screen.refresh(self._context, session)

    def dismiss(self, session: Session, words: str, patience: float, all_leave: bool = False) -> None:
        """The conversation is over: show the session the messages up to its leaving, show the others that it left, and
        free its name. If ``all_leave``, only the first of these: nobody else is shown anything. Afterwards it is in no
        room, or it is silent if its dialect is. Waits as ``people.depart`` does."""
        if session.name:
            screen.leave(session)
            returning.leave(self._context, session, patience)
            if all_leave:
                self._context.history.settle(patience)
                if session.dialect.views is SILENT:
                    people.update_views(self._context, session)
                return
            people.depart(self._context, session, check_words(clean(words)[:WORDS_LENGTH]), patience)
            self._context.sessions.release(session)

    def refuse(self, item: ordered.Ordered, error: ChatError) -> None:
        """For the history thread: send the error to the session whose value was not stored."""
        if isinstance(item, ordered.AccountStored):
            accounts.not_stored(self._context, item)
        if isinstance(item, ordered.TokenUsed) and isinstance(item.session, Session):  # not one of another server
            item.session.token_lost = True
        origin: Session | None = getattr(item, "origin", None)
        if origin is not None:
            origin.tell(error, getattr(item, "ref", ""))

    def announce(self, error: ChatError) -> None:
        """For the history thread: send the error to everybody."""
        for session in self._context.sessions.people():
            session.tell(error)
