"""Pages of what was said: a room's history, and what a search finds."""

from __future__ import annotations

import time

from .. import commands, events
from ..errors import NothingToFind
from ..rules import check_room, check_words
from ..search import words_of
from ..session import Session
from .table import Context, does

PAGE = 20  # messages in a page of history, unless told otherwise
MAX_PAGE = 200
MAX_FOUND = 50  # hits that a search shows


@does(commands.ReadHistory)
def read_history(context: Context, session: Session, command: commands.ReadHistory) -> None:
    """Waits for an SQLite connection to read with."""
    room = context.room(session, command.room)
    storage = context.history.storage
    before, after, limit = command.before, command.after, PAGE
    if command.count is not None:
        limit = max(1, min(command.count, MAX_PAGE))
    elif command.seconds is not None:
        after = storage.number_before(room.id, int((time.time() - command.seconds) * 1000))
        limit = MAX_PAGE
    messages = tuple(storage.page(room.id, before, after, limit, events.PAGE_BYTES))
    last = context.publisher.last(room)
    if messages:
        last = max(last, messages[-1].number)
        older = messages[0].number if messages[0].number > 1 else None
        newer = messages[-1].number if messages[-1].number < last else None
    else:
        older = newer = None
    session.answer(events.HistoryPage(room.name, messages, last, older, newer))


@does(commands.Search)
def search(context: Context, session: Session, command: commands.Search) -> None:
    """Waits for an SQLite connection to read with, and for the search itself."""
    words = check_words(command.words)
    if not words_of(words):
        raise NothingToFind()
    room = context.publisher.find(check_room(command.room)).id if command.room else None
    found = context.history.storage.search(words, room, command.sender, MAX_FOUND + 1, session.ended)
    session.answer(events.SearchPage(words, tuple(found[-MAX_FOUND:]), len(found) > MAX_FOUND))
