"""Pages of what was said: a room's history, and what a search finds."""

from __future__ import annotations

import time
from itertools import takewhile

from .. import commands, events
from ..errors import BadRequest, NothingToFind, TooLong, WordsTooLong
from ..pace import cost_of_comparing
from ..paging import Page
from ..rules import NAME_LENGTH, check_room, check_words, clean
from ..search import words_of
from ..session import Session
from ..usage import NUMBER
from .table import Context, does

PAGE = 20  # messages in a page of history, unless told otherwise
OWN_WORDS = 1.0  # seconds
MAX_FOUND = 50  # hits that a search shows


def _settle(context: Context, session: Session) -> None:
    """Wait for what the session has said just before, so that it finds that; but not long, if the history is stuck."""
    context.history.settle(OWN_WORDS, session.ended)


@does(commands.ReadHistory)
def read_history(context: Context, session: Session, command: commands.ReadHistory) -> None:
    """Waits for an SQLite connection to read with, and as ``_settle`` does."""
    _settle(context, session)
    room = context.room(session, command.room)
    storage, removals = context.history.storage, context.publisher.removals.count
    before, after, limit = command.before, command.after, PAGE
    if command.count is not None:
        limit = max(1, min(command.count, commands.MAX_PAGE))
    elif command.seconds is not None:
        after = storage.number_before(room.id, int((time.time() - command.seconds) * 1000))
        limit = commands.MAX_PAGE
    messages = tuple(storage.page(room.id, before, after, limit, bounded=True))
    last = context.publisher.last(room)
    if messages:
        last = max(last, messages[-1].number)
        older = messages[0].number if messages[0].number > 1 else None
        newer = messages[-1].number if messages[-1].number < last else None
    else:
        older = newer = None
    page = events.HistoryPage(room.name, messages, last, older, newer)
    context.publisher.show_page(session, page, removals, session.ref)


@does(commands.Search)
def search(context: Context, session: Session, command: commands.Search) -> None:
    """Waits for an SQLite connection to read with, for the search itself, and as ``_settle`` does."""
    _settle(context, session)
    try:
        words = check_words(command.words)
    except WordsTooLong as error:
        raise TooLong(f"A search has at most {error.limit} characters, and this one has {error.length}.") from None
    room = context.publisher.find(check_room(command.room), session) if command.room else None
    if not words_of(words) and (words or not (room or command.sender)):
        raise NothingToFind()
    storage, removals, below = context.history.storage, context.publisher.removals.count, None
    if command.before:
        last_room, slash, number = command.before.rpartition("/")
        if not slash or not NUMBER.fullmatch(number):
            raise BadRequest("before takes a room and the number of a message in it, as in #lab2/17.")
        below = storage.place_of(context.publisher.find(check_room(last_room), session).id, int(number))
    hidden = () if room else context.publisher.hidden(session)
    compared: list[int] = []
    try:
        found = storage.search(
            *(words, room.id if room else None, command.sender, MAX_FOUND + 1, session.ended, below, hidden),
            compared.append,
        )
    finally:
        session.pace.pay(cost_of_comparing(sum(compared)))
    shown = tuple(takewhile(Page().takes, found[: -MAX_FOUND - 1 : -1]))[::-1]
    more = len(found) > len(shown)
    limits = [f"in:{room.name}"] if room else []
    limits += [f"from:{clean(command.sender)[:NAME_LENGTH]}"] if command.sender else []
    older = [words, *limits, f"before:{shown[0].room}/{shown[0].number}"] if more else []
    limited = " ".join(limits)
    page = events.SearchPage(words or limited, shown, more, " ".join(older).lstrip(), limited if words else "")
    context.publisher.show_page(session, page, removals, session.ref)
