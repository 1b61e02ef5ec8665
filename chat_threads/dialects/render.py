"""What people see: each event as lines of text. ``SHOW`` is the table.

Lines that begin with ``*`` are the server's, ``!`` are errors; no line of what people say begins with either, in any
setting (see ``speech``). Lines end with CR LF. Everything is pure, except that times depend on the time zone and on
today's date.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from .. import events, qr
from ..errors import Usage
from ..rules import mentions
from . import advice, clock, governed, insights, sentences
from .amounts import counted, time_span
from .columns import shortened
from .help import STAYS, help_lines, whole
from .rows import wrapped
from .speech import Style, said, spoken
from .tables import table

MARGIN = 2  # columns of a line of the server before its table: "* "


class TextView:
    """How events look to a person, with this person's settings. Immutable; see parcel.View."""

    __slots__ = ("style", "__weakref__")

    def __init__(self, style: Style) -> None:
        self.style = style

    def encode(self, shown: Sequence[events.Event]) -> bytes:
        style = self.style
        return b"".join(
            [
                event.data
                if type(event) is events.WireBytes
                else SHOW[type(event)](style, event).encode("utf-8", "replace")
                for event in shown
            ]
        )


def _folded(style: Style, text: str) -> list[str]:
    """The text in lines that fit the window. Two spaces say that a line goes on with the one above it."""
    room = _room_in(style)
    fits = len(text) <= (room if text.isascii() else room // 2)  # a character has at most two columns
    return [text] if fits else wrapped(text, room, "  ")


def _line(style: Style, text: str) -> str:
    if len(lines := _folded(style, text)) > 1:
        return _lines(style, *lines)
    line = f"* {text}".rstrip()
    return f"\x1b[2m{line}\x1b[0m\r\n" if style.colour else f"{line}\r\n"


def _lines(style: Style, *texts: str) -> str:
    return "".join(_line(style, text) for text in texts)


def _table(
    style: Style,
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[int] = (),
    shrink: Sequence[tuple[int, int]] = (),
) -> str:
    return _lines(style, *table(headers, rows, right, _room_in(style) if shrink else None, shrink))


def _room_in(style: Style) -> int:
    """How many columns of the window a table may take."""
    return style.columns - MARGIN


def _stamp(style: Style, at: int) -> str:
    """The time of an event that has just happened."""
    if style.timestamps == "on":
        return clock.minute(style.zone, at // 60_000)
    return clock.second(style.zone, at // 1000) if style.timestamps == "seconds" else ""


def _old_stamp(style: Style, at: int) -> str:
    """The time of an older event: with its day, unless that is today."""
    stamp = _stamp(style, at)
    day = clock.day(style.zone, at / 1000)
    return stamp.replace("[", f"[{day} ") if stamp and day != clock.day(style.zone, time.time()) else stamp


def _message(style: Style, event: events.Message) -> str:
    if event.who in style.ignored:
        return ""
    number = f"{event.number} " if style.numbers else ""
    room = "" if style.here else event.room + " "
    ring = "\a" if style.bell and event.sender != style.bell and mentions(style.bell, event.text) else ""
    line = said(style, f"{number}{_stamp(style, event.at)}{room}", event)
    if ring and style.screen:
        line = "\x1b[1m" + line.replace("\x1b[0m", "\x1b[0;1m") + "\x1b[0m"
    return f"{line}{ring}\r\n"


def _greeting(style: Style, event: events.Greeting) -> str:
    return _line(style, f"Welcome to chat_threads {event.version}. What is your name?")


def _welcome(style: Style, event: events.Welcome) -> str:
    hello = f"Hello, {event.name}. What is said in a room is kept: /history shows it."
    return _lines(style, hello, *event.motd)


def _entered(style: Style, event: events.Entered) -> str:
    if not event.count:
        text = f"You are in {event.room}, and nobody else is."
    else:
        more = event.count - len(event.others)
        names = ", ".join(event.others) + (f" and {more} more" if more > 0 else "")
        text = f"You are in {event.room} with {counted(event.count, 'other')}: {names}."
    if event.first_time:
        text += " /help lists the commands."
    topic = [f"The topic of {event.room} is: {event.topic}"] if event.topic else []
    return _lines(style, text, *topic)


def _replay(style: Style, event: events.Replay) -> str:
    first, count = event.messages[0].number, len(event.messages)
    shown = [message for message in event.messages if message.who not in style.ignored]
    hidden = f" ({count - len(shown)} hidden)" if len(shown) < count else ""
    head = advice.replayed(event.room, first, count, event.last, hidden)
    lines = [
        said(style, (f"{message.number} " if style.numbers else "") + _old_stamp(style, message.at), message)
        for message in shown
    ]
    return _line(style, head) + "".join(line + "\r\n" for line in lines)


def _departed(style: Style, event: events.Departed) -> str:
    if event.current:
        return _line(style, f"You left {event.room}. What you type goes to {event.current} now.")
    return _line(
        style, f"You left {event.room} and are not in a room now. /rooms lists the rooms, and /join enters one."
    )


def _current(style: Style, event: events.Current) -> str:
    return _line(style, f"You are in {event.room}. What you type goes there now.")


def _names(names: Sequence[str]) -> str:
    """Up to three names, or two and a count: ann / ann and bob / ann, bob and cy / ann, bob and 35 others."""
    if len(names) <= 3:
        return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    return f"{names[0]}, {names[1]} and {len(names) - 2} others"


def _presence(style: Style, event: events.Presence) -> str:
    if not style.joins:
        return ""
    room = "" if style.here else " " + event.room
    words = f" ({event.words})" if event.words and event.who not in style.ignored else ""
    return _line(style, f"{_names(event.names)} {event.kind}{room}{words}")


def _renamed(style: Style, event: events.Renamed) -> str:
    return _line(style, f"{event.old} is {event.new} now") if style.joins else ""


def _topic_changed(style: Style, event: events.TopicChanged) -> str:
    if not event.topic:
        return _line(style, f"{event.by} removed the topic of {event.room}")
    return _line(style, f"{event.by} set the topic of {event.room}: {event.topic}")


def _redacted(style: Style, event: events.Redacted) -> str:
    return _line(style, f"{event.by} removed message {event.number} of {event.room}")


def _topic_shown(style: Style, event: events.TopicShown) -> str:
    return _line(style, sentences.topic_shown(event))


def _room_deleted(style: Style, event: events.RoomDeleted) -> str:
    now = f"What you type goes to {event.now_in} now." if event.now_in else "You are not in a room now."
    return _line(style, f"{event.by} deleted {event.room} and its history. {now}")


def _moderated(style: Style, event: events.Moderated) -> str:
    return _line(style, governed.moderated(event))


def _room_set(style: Style, event: events.RoomSet) -> str:
    return _line(style, governed.room_set(event))


def _room_shown(style: Style, event: events.RoomShown) -> str:
    return _lines(style, *governed.room_shown(event))


def _audit_list(style: Style, event: events.AuditList) -> str:
    if not event.rows:
        return _line(style, sentences.NOTHING_DONE)
    always = replace(style, timestamps="on")
    rows = [
        [_old_stamp(always, row.at).strip("[] "), row.room, row.by, row.action, row.about, row.why]
        for row in event.rows
    ]
    headers = ("when", "room", "by", "what", "about", "why")
    return _table(style, headers, rows, shrink=((5, 12), (1, 12), (4, 12), (2, 12)))


def _sanction_list(style: Style, event: events.SanctionList) -> str:
    if not event.people:
        return _line(style, governed.nobody(event))
    rows = [[row.name, *governed.sanction(row), row.by, row.why] for row in event.people]
    return _table(style, ("name", "what", "time left", "by", "why"), rows, shrink=((4, 10), (0, 12), (3, 12)))


def _private_line(style: Style, event: events.PrivateLine) -> str:
    stamp = _stamp(style, event.at)
    if event.sent:
        return spoken(style, f"{stamp}you -> ", event.to, ": ", event.text) + "\r\n"
    ring = "\a" if style.bell else ""
    return f"{spoken(style, stamp, event.sender, ' -> you: ', event.text)}{ring}\r\n"


def _invited(style: Style, event: events.Invited) -> str:
    return _line(style, f"{event.by} invites you to {event.room}: /join {event.room}")


def _page_lines(style: Style, messages: Sequence[events.Message], with_room: bool) -> str:
    width = len(str(messages[-1].number)) if messages and not with_room else 0
    lines = ""
    for message in messages:
        before = f"{message.room} " if with_room else ""
        before += f"{message.number:>{width}} {_old_stamp(style, message.at)}"
        lines += said(style, before, message) + "\r\n"
    return lines


def _history_page(style: Style, event: events.HistoryPage) -> str:
    head = sentences.history_page(event)
    ways = []
    if event.before:
        ways.append(f"Older: /history {event.room} before {event.before}")
    if event.after:
        ways.append(f"Newer: /history {event.room} after {event.after}")
    tail = _line(style, "   ".join(ways)) if ways else ""
    return _line(style, head) + _page_lines(style, event.messages, False) + tail


def _search_page(style: Style, event: events.SearchPage) -> str:
    head, *hints = sentences.search_page(event)
    older = _line(style, f"Older: /search {event.older}") if event.older else ""
    return _line(style, head) + _page_lines(style, event.messages, True) + _lines(style, *hints) + older


def _cell(style: Style, header: str, text: str, most: int) -> str:
    """A cell of a table. It is cut so that it fits into one row also where the window is too narrow for columns."""
    return shortened(text, max(10, min(most, _room_in(style) - len(f"  {header}: "))))


def _room_list(style: Style, event: events.RoomList) -> str:
    rows = [[row.room, str(row.people), str(row.messages), _cell(style, "topic", row.topic, 60)] for row in event.rooms]
    shown = _table(style, ("room", "people", "messages", "topic"), rows, right=(1, 2), shrink=((3, 10), (0, 20)))
    return shown + (_line(style, f"and {counted(event.more, 'more room')}.") if event.more else "")


def _away(reason: str | None) -> str:
    return "" if reason is None else reason or "away"


def _people_list(style: Style, event: events.PeopleList) -> str:
    if not event.people:
        return _line(style, sentences.nobody_in(event))
    rows = [
        [
            person.name,
            _cell(style, "rooms", " ".join(person.rooms), 30),
            time_span(person.idle),
            _cell(style, "away", _away(person.away), 20),
        ]
        for person in event.people
    ]
    names = ["name", "rooms", "idle", "away"]
    if any(person.account for person in event.people):
        names.append("logged in")
        for row, person in zip(rows, event.people, strict=True):
            row.append("yes" if person.account else "")
    shown = _table(style, names, rows, right=(2,), shrink=((1, 12), (3, 8), (0, 20)))
    return shown + (_line(style, f"and {event.more} more.") if event.more else "")


def _person_shown(style: Style, event: events.PersonShown) -> str:
    return _lines(style, *sentences.person_shown(event))


def _qr_shown(style: Style, event: events.QrShown) -> str:
    """The code has its own colours, and stays undimmed. Of one that is too wide for the window, only the address."""
    needs = MARGIN + qr.columns(event.rows, style.blocks)
    if needs > _room_in(style):
        return _lines(style, event.url, f"The QR code needs a window of {needs + MARGIN} columns.")
    return _line(style, event.url) + "".join(f"* {line}\r\n" for line in qr.drawn(event.rows, style.blocks))


def _stats_shown(style: Style, event: events.StatsShown) -> str:
    return _table(style, ("what", "value"), sentences.stats(event), right=(1,))


def _thread_list(style: Style, event: events.ThreadList) -> str:
    return _lines(style, *insights.threads(event, _room_in(style)))


def _lock_list(style: Style, event: events.LockList) -> str:
    return _lines(style, *insights.locks(event, _room_in(style)))


def _trip_shown(style: Style, event: events.TripShown) -> str:
    return _lines(style, *insights.trip(event, _room_in(style)))


def _token_shown(style: Style, event: events.TokenShown) -> str:
    return _lines(
        style,
        f"Your token is {event.token} and nobody else should know it.",
        "To come back to where you were, connect and type this in place of a name:",
        f"/resume {event.token}",
    )


def _pong(style: Style, event: events.Pong) -> str:
    return _line(style, sentences.pong(event))


def _help_shown(style: Style, event: events.HelpShown) -> str:
    return _lines(style, *help_lines(event, _room_in(style), style.screen))


def _notice(style: Style, event: events.Notice) -> str:
    return _line(style, advice.notice(event))


def _problem(style: Style, event: events.Problem) -> str:
    text = advice.error(event)
    if event.kind is Usage:
        rows = [row.replace(STAYS, " ") for row in _folded(style, whole(text, _room_in(style) - 2))]
    else:
        rows = _folded(style, text)
    lines = [f"! {row}" for row in rows]
    return "".join(f"\x1b[31m{line}\x1b[0m\r\n" if style.colour else f"{line}\r\n" for line in lines)


def _bye(style: Style, event: events.Bye) -> str:
    return _line(style, "Goodbye.") if event.reason == "quit" else ""  # otherwise a problem said why


def _ack(style: Style, event: events.Ack) -> str:
    return ""  # people see the echo of their line instead


def _restored(style: Style, event: events.Restored) -> str:
    return ""  # they are in force already


def _answer(style: Style, event: events.Answer) -> str:
    return SHOW[type(event.event)](style, event.event)


SHOW: dict[type[events.Event], Callable[[Style, Any], str]] = {
    events.Message: _message,
    events.Greeting: _greeting,
    events.Welcome: _welcome,
    events.Entered: _entered,
    events.Replay: _replay,
    events.Departed: _departed,
    events.Current: _current,
    events.Presence: _presence,
    events.Renamed: _renamed,
    events.TopicChanged: _topic_changed,
    events.TopicShown: _topic_shown,
    events.Redacted: _redacted,
    events.RoomDeleted: _room_deleted,
    events.Moderated: _moderated,
    events.RoomSet: _room_set,
    events.RoomShown: _room_shown,
    events.SanctionList: _sanction_list,
    events.AuditList: _audit_list,
    events.PrivateLine: _private_line,
    events.Invited: _invited,
    events.HistoryPage: _history_page,
    events.SearchPage: _search_page,
    events.RoomList: _room_list,
    events.PeopleList: _people_list,
    events.PersonShown: _person_shown,
    events.QrShown: _qr_shown,
    events.StatsShown: _stats_shown,
    events.ThreadList: _thread_list,
    events.TripShown: _trip_shown,
    events.LockList: _lock_list,
    events.TokenShown: _token_shown,
    events.Pong: _pong,
    events.HelpShown: _help_shown,
    events.Notice: _notice,
    events.Problem: _problem,
    events.Bye: _bye,
    events.Ack: _ack,
    events.Restored: _restored,
    events.Answer: _answer,
}
"""How each event is shown."""
