"""What each command does, whatever the dialect, and the beginning and end of a conversation.

Each family of commands has a file; above each function in it stands its command. Everything here runs in the reader
thread of the session that asked, except ``refuse`` and ``announce``, which the history thread calls. What has to be
seen in the same order by everybody is submitted to the history; the rest is answered at once.
"""

from __future__ import annotations

from .. import __version__, commands, events, ordered
from ..errors import ChatError, Told, TooLong
from ..history import History
from ..publisher import LOBBY, Publisher
from ..rules import check_room, check_words
from ..session import Session, SessionStore
from ..tokens import new_token
from . import insight, pages, people, rooms, talk
from .table import METHODS, Context, Insight

__all__ = ["METHODS", "Insight", "Service"]

FAMILIES = (talk, rooms, people, pages, insight)  # importing them has filled METHODS


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
        self._context = Context(publisher, sessions, history, insight or Insight())
        self._motd = motd

    def admit(self, session: Session, hello: commands.Hello) -> None:
        """The handshake: give the session its name and bring it into its first rooms.

        These are those it asks for, or, with a token, those that the connection was in whose place it takes, or
        the lobby. Raises BadName, BadRoom, NameTaken, UnknownToken or Unreadable; nothing has changed then, and it
        may try again.
        """
        context = self._context
        name = people.name_of(context, hello.token) if hello.token else hello.name
        if hello.name or not hello.token:
            name = people.checked_name(context, hello.name)
        wanted: dict[str, int | None] = {check_room(room): number for room, number in hello.since}
        if hello.room:
            room = check_room(hello.room)
            wanted[room] = wanted.pop(room, None)  # the last one is the current one
        old = people.take(context, session, name, hello.token or new_token())
        if hello.token or (session.dialect.token_first and not context.sessions.wait_for_token(session.address)):
            people.keep_token(context, session)
        session.dialect.admitted(name)
        people.update_views(context, session)
        session.answer(events.Welcome(name, self._motd, __version__, session.token if session.known else ""))
        if context.history.read_only:
            session.tell(context.history.read_only)
        first_time = True
        for room, since in (wanted or dict.fromkeys(old)).items():
            try:
                rooms.enter_or_make(context, session, room, first_time, since)
                first_time = False
            except Told as error:
                session.tell(error, session.ref)
        if first_time:
            try:
                rooms.enter_or_make(context, session, LOBBY, first_time)
            except Told as error:
                session.tell(error, session.ref)

    def handle(self, session: Session, command: commands.Command) -> None:
        """Do what is asked; raise ChatError if that is not possible."""
        METHODS[type(command)](self._context, session, command)

    def dismiss(self, session: Session, words: str, patience: float) -> None:
        """The conversation is over: the session sees what it said before, the others that it left, and its
        name is free again."""
        if session.name:
            people.depart(self._context, session, _words_or_none(words), patience)
            self._context.sessions.release(session)

    def refuse(self, item: ordered.Ordered, error: ChatError) -> None:
        """The history thread's: what was submitted was not stored, so whoever asked is told."""
        origin: Session | None = getattr(item, "origin", None)
        if origin is not None:
            origin.tell(error, getattr(item, "ref", ""))

    def announce(self, error: ChatError) -> None:
        """The history thread's: everybody is told."""
        for session in self._context.sessions.people():
            session.tell(error)


def _words_or_none(words: str) -> str:
    try:
        return check_words(words)
    except TooLong:
        return ""
