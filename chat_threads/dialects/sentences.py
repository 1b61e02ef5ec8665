"""What a JSON object says, as a text for people: ``text`` of the objects in ``TEXTS``. Pure functions.

A page shows it as it is. So it needs no words of its own for what only the server understands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from .. import events
from ..rules import is_room
from . import governed
from .amounts import counted, time_span

NOTHING_DONE = "Nothing was reported, and operators have done nothing."
NOT_COUNTED = "The use of locks is counted only with --lab or --trace."


def person_shown(event: events.PersonShown) -> tuple[str, ...]:
    """Where a person is, and since when."""
    person = event.person
    rooms = "in " + ", ".join(person.rooms) if person.rooms else "in no room that you can see"
    lines = [
        f"{person.name} is {rooms}.",
        f"Connected for {time_span(event.connected)}, last typed {time_span(person.idle)} ago.",
    ]
    if person.account:
        name = event.logged_in_as
        belongs = f"Logged in as {name}; the present name belongs to no account." if name else ""
        lines.append(belongs or "Logged in: the name belongs to an account.")
    if event.operator:
        lines.append("An operator of the server.")
    if person.away is not None:
        lines.append(f"Away: {person.away}" if person.away else "Away.")
    return tuple(lines)


def _sanctions(event: events.SanctionList) -> tuple[str, ...]:
    def told(row: events.SanctionRow) -> str:
        what, left = governed.sanction(row)
        what += f" {left}" if row.seconds is None else f" for {left} more"
        return f"{row.name}: {what}, by {row.by}" + (f": {row.why}" if row.why else "")

    return tuple(map(told, event.people)) or (governed.nobody(event),)


def _token_shown(event: events.TokenShown) -> tuple[str, ...]:
    return (
        f"Your token is {event.token} and nobody else should know it.",
        "To come back to where you were, in a browser or in a terminal, type this:",
        f"/resume {event.token}",
    )


def topic_shown(event: events.TopicShown) -> str:
    """What a room is about."""
    return f"The topic of {event.room} is: {event.topic}" if event.topic else f"{event.room} has no topic."


def history_page(event: events.HistoryPage) -> str:
    """Which messages they are; or that there are none."""
    if not event.messages:
        return "That part of the history has no messages." if event.last else f"Nothing was said in {event.room} yet."
    first, last = event.messages[0].number, event.messages[-1].number
    which = f"messages {first} to {last}" if first < last else f"message {first}"
    return f"{event.room}, {which} of {event.last}:"


_NO_QUOTES = str.maketrans(dict.fromkeys('"“”„«»'))


def _without_last(words: list[str], *unwanted: str) -> list[str]:
    return words[:-1] if words and words[-1].lower() in unwanted else words


def search_page(event: events.SearchPage) -> tuple[str, ...]:
    """What was found; and how to search for what was perhaps meant."""
    hints = []
    sought = f"{event.words} {event.limits}".rstrip()
    if "*" in event.words:
        plain = " ".join(sought.replace("*", " ").split())
        hints.append(f"A * is searched for as it is. Parts of words need none: /search {plain}")
    elif not event.messages and (plain := " ".join(sought.translate(_NO_QUOTES).split())) not in ("", sought):
        hints.append(f"Quotes are searched for as they are. Without them: /search {plain}")
    typed = event.words.split()
    rooms = [word for word in typed if is_room(word)]
    if rooms and not event.messages and not event.limits:
        at = typed.index(rooms[0])
        words = " ".join([*_without_last(typed[:at], "in", "in:"), *typed[at + 1 :]])
        hints.append(f"To search in {rooms[0]}, type /search {words} in:{rooms[0]}".replace("  ", " "))
    for limit, what, example in (("in:", "A room", "in:#lab2"), ("from:", "A name", "from:ann")):
        if limit in typed and not (limit == "in:" and rooms and hints):
            hints.append(f"{what} comes right after {limit} without a space, as in {example}")
    if not event.messages and any(word.startswith("before:") for word in typed):
        hints.append("before: takes a room and a message's number, as in before:#lab2/17")
    if not event.messages and not event.limits and len(typed) > 1 and typed[-2].lower() in ("from", "by"):
        hints.append(f"For what a person said, type /search {' '.join([*typed[:-2], f'from:{typed[-1]}'])}")
    count = len(event.messages)
    found = f"{counted(count, 'message')} found for: {sought}" if count else f"Nothing was found for: {sought}"
    if event.more:
        found = f"More than {counted(count, 'match', 'matches')}; the newest {count} for: {sought}"
    return (found, *hints)


def nobody_in(event: events.PeopleList) -> str:
    """Why a list of people is empty."""
    return f"Nobody is in {event.room}."


def stats(event: events.StatsShown) -> list[tuple[str, str]]:
    """How the server is doing: what, and its value."""
    rows = [
        ("version", event.version),
        ("uptime", time_span(event.uptime)),
        ("sessions", str(event.sessions)),
        ("rooms", str(event.rooms)),
        ("messages stored", str(event.stored)),
        ("messages/s", f"{event.per_second:.1f}"),
        ("threads", str(event.threads)),
    ]
    if event.log_position is not None:  # in a cluster
        rows += [
            ("rows of the log", str(event.log_position)),
            ("rows behind", str(event.log_behind)),
            ("rows appended", str(event.log_appends)),
            ("appends that failed", str(event.log_retries)),
        ]
    return rows


def trip_shown(event: events.TripShown) -> tuple[str, str]:
    """When a message was where. When each member got it is in a table."""
    stages = (f"{name} {'not yet' if at is None else f'{at:.3f}'}" for name, at in asdict(event.stages).items())
    head = f"The trip of message {event.number} of {event.room}, by {event.sender}, in ms since it was received:"
    return head, ", ".join(stages)


def pong(event: events.Pong) -> str:
    """How long the round trip took."""
    text = f"Pong: {event.through * 1000:.2f} ms through the server's queue"
    if event.network is not None:
        text += f", {event.network * 1000:.2f} ms over the network"
    return text + "."


TEXTS: dict[type[events.Event], Callable[[Any], tuple[str, ...]]] = {
    events.Moderated: lambda event: (governed.moderated(event),),
    events.RoomSet: lambda event: (governed.room_set(event),),
    events.RoomShown: governed.room_shown,
    events.SanctionList: _sanctions,
    events.PersonShown: person_shown,
    events.TokenShown: _token_shown,
    events.TopicShown: lambda event: (topic_shown(event),),
    events.HistoryPage: lambda event: (history_page(event),),
    events.SearchPage: search_page,
    events.PeopleList: lambda event: () if event.people else (nobody_in(event),),
    events.AuditList: lambda event: () if event.rows else (NOTHING_DONE,),
    events.StatsShown: lambda event: tuple(f"{what}: {value}" for what, value in stats(event)),
    events.LockList: lambda event: () if event.counted else (NOT_COUNTED,),
    events.TripShown: trip_shown,
    events.Pong: lambda event: (pong(event),),
}
"""The lines of each text; none: it has no text, because its lists say all."""
