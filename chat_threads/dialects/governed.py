"""How a room is governed, in words for people. Pure functions."""

from __future__ import annotations

from .. import events
from ..refusals import about, span

_DONE: dict[events.Action, str] = {
    "op": "made {name} an operator of {room}",
    "deop": "took the role of operator of {room} from {name}",
    "kick": "sent {name} out of {room} for a minute",
    "ban": "banned {name} from {room}",
    "unban": "lifted {name}'s ban from {room}",
    "mute": "muted {name} in {room}",
    "unmute": "lets {name} speak in {room} again",
}

_FOR_GOOD: dict[events.Action, str] = {"ban": " for good", "mute": " for good"}

_SET = {
    "public": "opened {room}: nobody needs an invitation there",
    "invite-only": "closed {room}: only people who are invited may enter",
    "open": "opened {room} for talk: its members may speak again",
    "quiet": "made {room} quiet: only its operators may speak",
    "slow off": "ended the slow mode of {room}: nobody has to wait between two messages there",
    "accounts-only": "closed {room} to guests: only its operators and people who are logged in may enter and speak",
    "everybody": "opened {room} to everybody: nobody needs an account there",
    "listed": "put {room} on the list of rooms",
    "unlisted": "took {room} off the list of rooms",
    "keep all": "made {room} keep its messages as long as other rooms do",
}

_STATE: dict[events.Action, str] = {"ban": "banned", "kick": "sent out", "mute": "muted"}


def moderated(event: events.Moderated) -> str:
    """What an operator has done about a person."""
    done = _DONE[event.action].format(name=event.name, room=event.room)
    how_long = f" for {span(event.seconds)}" if event.seconds is not None else _FOR_GOOD.get(event.action, "")
    if event.action == "deop" and event.by == event.name:
        done = f"gave up the role of operator of {event.room}"
    if event.address:
        how_long += ", with all who come from the same address"
    return f"{event.by} {done}{how_long}" + (f": {event.why}" if event.why else "")


def room_set(event: events.RoomSet) -> str:
    """What an operator has set in a room."""
    word, _, number = event.setting.partition(" ")
    still, _, seconds = event.still.partition(" ")
    if event.setting in _SET:
        done = _SET[event.setting].format(room=event.room)
    elif word == "slow" and number.isdecimal():
        done = f"made {event.room} slow: only its operators may speak more often than once in {span(int(number))}"
    elif word == "keep" and number.isdecimal():
        done = f"made {event.room} keep its messages for {span(86400 * int(number))}"
    else:  # of a newer server
        done = f"set {event.room} to {event.setting}"
    if still == "slow" and seconds.isdecimal():
        done += f", once in {span(int(seconds))}"
    elif still == "quiet" and word in ("slow", "accounts-only"):
        done += "; it is still quiet"
    elif still in ("accounts-only", "invite-only"):
        done += f"; it is still {still}"
    return f"{event.by} {done}"


def room_shown(event: events.RoomShown) -> tuple[str, ...]:
    """How a room is governed."""
    rules = {word: value for word, _, value in (each.partition(" ") for each in event.settings)}
    needs = [word for setting, word in (("invite-only", "invited"), ("accounts-only", "logged in")) if setting in rules]
    who = f"Only its operators and people who are {' and '.join(needs)}" if needs else "Everybody"
    said = [f"{who} may enter {event.room}."]
    seldom = f"once in {span(int(rules['slow']))}" if rules.get("slow", "off") != "off" else ""
    if "quiet" in rules:
        said.append("Only its operators may speak.")
        if seldom:
            said.append(f"When it is open again, everybody else may speak {seldom}.")
    elif seldom:
        said.append(f"Everybody but its operators may speak {seldom}.")
    elif "accounts-only" in rules:
        said.append("Its operators, and everybody in it who is logged in, may speak.")
    else:
        said.append("Everybody in it may speak.")
    if "unlisted" in rules:
        said.append("It is not on the list of rooms.")
    if rules.get("keep", "all") != "all":
        said.append(f"Its messages are deleted after {span(86400 * int(rules['keep']))}.")
    operators = ", ".join(event.operators)
    if event.creator:
        whose = f"It was made by {event.creator}; its operators: {operators or 'nobody else'}."
    elif operators:
        whose = f"It belongs to nobody; its operators: {operators}."
    else:
        whose = "It belongs to nobody, so only the server's operators may change that."
    lines = [" ".join(said), f"{whose} /help room says more."]
    if event.invited:
        lines.insert(1, f"Invited: {', '.join(event.invited)}.")
    return tuple(lines)


def sanction(row: events.SanctionRow) -> tuple[str, str]:
    """What a person on the list of bans is, and for how long."""
    what = _STATE[row.action] + (", address" if row.address else "")
    return what, "for good" if row.seconds is None else about(row.seconds)


def nobody(event: events.SanctionList) -> str:
    """What stands in place of an empty list of bans."""
    return f"Nobody is banned from {event.room} or muted in it."
