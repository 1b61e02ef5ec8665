"""What is wrong with a typed command, and what to type in its place."""

from __future__ import annotations

import re

from .. import commands
from ..errors import BadName, ChatError, Told
from ..rules import check_name, is_room, nearest
from ..usage import Row, bare


class Mistyped(Told):
    """A line that is not as the usage says, but it is clear what was meant."""

    code = "usage"


def refuse_foreign(word: str, words: list[str]) -> None:
    """Raise Mistyped for what other chats have a command for, and this one has in another way."""
    if word in ("/delete", "/del", "/remove", "/rm", "/erase") and len(words) == 1 and commands.Redact.typed(words[0]):
        raise Mistyped("A message is removed with /redact.", f"Type /redact {words[0]}.")
    if word == "/say" and words:
        raise Mistyped("There is no command /say: a line without a / is said to the room.", "Type only the text.")


def refuse_confused(row: Row, words: list[str]) -> None:
    """Raise Mistyped for a room in place of a person, a person in place of a room, or several people."""
    if is_room(words[0]) and row.places[:1] in (["NAME"], ["[NAME]"]) and row.name != "/nick":
        if len(words) == 2 and "[#room]" in row.places and words[1][0].isalpha():
            raise Mistyped("The person's name comes first.", f"Type {row.name} {words[1][:40]} {words[0][:40]}.")
        room = words[0][:40]
        advice = f"/join {room} goes there."
        if row.name == "/ignore":
            advice = f"/leave {room} leaves it."
        if row.name == "/whois":
            advice = f"/who {room} lists who is there."
        elif "[#room]" in row.places:
            advice = f"Type {row.name} NAME {room}."
        raise Mistyped(f"{room} is a room, and {row.name} is for a person.", advice)
    about_rooms = row.places[:1] in (["#room"], ["[#room]"]) and not "".join(row.places[1:2]).startswith("NAME")
    if about_rooms and len(rooms := [each for each in words[0].split(",") if each]) > 1:
        if all(map(is_room, rooms)):
            raise Mistyped(f"{row.name} takes one room at a time.", f"Type {row.name} {rooms[0]}.")
    if row.places[:2] == ["[#room]", "NAME"] and len(words) == 2 and is_room(words[1]) and not words[0].startswith("#"):
        raise Mistyped("The room comes first.", f"Type {row.name} {words[1]} {words[0][:40]}.")
    if row.name == "/lab" and words[0] == "pause" and words[1:] and words[1].lower() not in ("publisher", "history"):
        raise Mistyped("What can be paused is the publisher or the history.", "Type /lab pause publisher 10.")
    if row.name in ("/ban", "/mute") and words[0][0].isdigit() and _is_long_ban(words[1::-1], 0):
        raise Mistyped("The person's name comes first.", f"Type {row.name} {words[1][:40]} {words[0][:40]}.")
    if row.name == "/kick" and _is_long_ban(words):
        raise Mistyped("/kick keeps somebody out for one minute.", f"For longer, type /ban {' '.join(words)[:80]}.")
    if row.name == "/ban" and [word.lower() for word in words] == ["list"]:
        raise Mistyped("/ban keeps somebody out.", "Type /bans to list who is banned.")
    if row.name == "/help" and is_room(room := words[0][:40]):
        advice = f"/room {room} shows its rules, /who {room} who is there."
        raise Mistyped(f"{room} is a room, and /help is about commands.", advice)
    if row.name == "/who" and [word.lower() for word in words] in (["all"], ["everybody"], ["everyone"], ["*"]):
        raise Mistyped("/who alone lists everybody.", "Type /who.")
    if row.name == "/who" and len(words) == 1 and is_room("#" + (word := bare(words[0]))):
        raise Mistyped("A room's name begins with '#'.", f"Type /who #{word}; or /whois {word} for a person.")
    if row.name == "/search":
        _refuse_limits(words)
    if row.name == "/report" and len(words) == 1 and re.fullmatch("#[0-9]{1,15}", words[0]):
        raise Mistyped("The number of a message has no #.", f"Type /report {words[0][1:]}.")
    if row.name == "/invite" and len(words) == 2 and not any(word.startswith("#") for word in words):
        first, second = (word.rstrip(",;")[:40] for word in words)
        if is_room("#" + second) and first[:1].isalpha():
            advice = f"Type /invite {first} #{second}"
            advice += f"; for another person, type /invite {second}." if second[0].isalpha() else "."
            raise Mistyped("A room's name begins with '#'.", advice)


def _refuse_limits(words: list[str]) -> None:
    """Raise Mistyped for a person after ``in:``, or a room after ``from:``."""
    for word in words:
        limit, colon, name = word.partition(":")
        if colon and limit.lower() == "in" and is_room("#" + name):
            raise Mistyped("A room's name begins with '#'.", f"Type in:#{name}; or from:{name} for a person.")
        if colon and limit.lower() == "from" and is_room(name):
            raise Mistyped(f"{name} is a room, and from: is for a person.", f"Type in:{name}.")


def _is_long_ban(words: list[str], seconds: int = 60) -> bool:
    """Whether these words after /ban mean a name and a time of more than so many ``seconds``."""
    try:
        ban = commands.Ban.typed(" ".join(words))
    except ChatError:
        return False
    return isinstance(ban, commands.Ban) and ban.name[0].isalpha() and not ban.why and (ban.seconds or 0) > seconds


def _spaced_name(name: str) -> Mistyped | None:
    try:
        near: str | None = check_name(name)
    except BadName as error:
        near = error.near
    return Mistyped("A name has no spaces.", f"Type /nick {near}.") if near else None


def what_is_wrong(row: Row, words: list[str]) -> Mistyped | None:
    """What is wrong with words that do not fit the usage, and what to type; None: only the usage can tell."""
    if not row.places:
        return Mistyped(f"{row.name} takes nothing after it.", f"Type {row.name} alone.")
    if row.name == "/history":
        return _no_page(words)
    if row.name == "/search" and words:
        return Mistyped("A search takes in:, from: and before: once each.", "Without in:, it looks everywhere.")
    if row.name == "/redact" and len(words) == 2 and is_room(words[0]) and commands.Redact.typed(words[1]):
        return Mistyped("The number comes first.", f"Type /redact {words[1]} {words[0]}.")
    numbered = row.name == "/redact" and all(map(is_room, words[1:]))
    if numbered and commands.Redact.typed(rest := " ".join(words).removeprefix("#")):
        return Mistyped("The number of a message has no #.", f"Type /redact {rest}.")
    first = words[0].rstrip(",;")[:40] if words else ""
    if row.name == "/nick" and len(words) > 1:
        return _spaced_name("".join(words)) if "#" not in words[1] else None
    if row.places in (["NAME"], ["[NAME]"], ["[#room]", "NAME"]) and len(words) > 1 and first[:1].isalpha():
        return Mistyped(f"{row.name} takes one name at a time.", f"Type {row.name} {first}.")
    rooms = [word for word in words if word.startswith("#")]
    if row.name == "/invite" and len(rooms) == 1 and is_room(rooms[0]) and first[:1].isalpha():
        return Mistyped("/invite takes one name, and then at most one room.", f"Type /invite {first} {rooms[0][:40]}.")
    if row.places in (["#room"], ["[#room]"]) and len(words) > 1:
        if is_room(first) and all(word.startswith("#") for word in words):
            return Mistyped(f"{row.name} takes one room at a time.", f"Type {row.name} {first}.")
        if row.places == ["#room"] and is_room(f"#{words[0]}"):
            words = [f"#{words[0]}", *words[1:]]
            first = f"#{first}"
        room = "_".join(words)
        if is_room(room) and is_room(words[0]):
            return Mistyped("A room's name has no spaces.", f"Type {row.name} {first}, or {row.name} {room}.")
    return None


# Time spans in words, and what /history takes for them: how many of which unit.
_SPANS = {
    word: (number, unit)
    for words, number, unit in (
        ("s sec secs second seconds", 1, "s"),
        ("m min mins minute minutes", 1, "m"),
        ("h hr hrs hour hours", 1, "h"),
        ("d day days today", 1, "d"),
        ("yesterday", 2, "d"),
        ("w week weeks", 7, "d"),
        ("month months", 30, "d"),
    )
    for word in words.split()
}
_SPAN = re.compile("([0-9]{0,6}) ?([a-z]+)", re.ASCII)
_FILLERS = frozenset("last past the a an for from since ago".split())
_NO_ROOMS = _FILLERS | {"before", "after", "until"}  # they begin no name of a room after /history


def _span(words: list[str]) -> str | None:
    """The time span that words such as ``2 hours`` or ``yesterday`` stand for, as /history takes it."""
    found = _SPAN.fullmatch(" ".join(word for word in words if word not in _FILLERS))
    if not found or found[2] not in _SPANS:
        return None
    number, unit = _SPANS[found[2]]
    return f"{int(found[1] or 1) * number}{unit}"


def _no_page(words: list[str]) -> Mistyped | None:
    """What is wrong with words after /history, and what to type."""
    if re.fullmatch("[0-9]+|all", words[-1].lower()) and (len(words) == 1 or (len(words) == 2 and is_room(words[0]))):
        page = " ".join([*filter(is_room, words[:1]), str(commands.MAX_PAGE)])
        more = f"Type /history {page}; the page says how to see older ones."
        return Mistyped(f"A page has 1 to {commands.MAX_PAGE} messages.", more)
    if len(words) > 1 and words[0] not in _NO_ROOMS and (near := nearest(words[0].lower(), ("before", "after"))):
        page = f"{near} {' '.join(words[1:])}"
        if commands.ReadHistory.typed(page):
            return Mistyped("before and after take the number of a message.", f"Type /history {page}.")
    rooms = [word.rstrip(",;")[:40] for word in words if word.startswith("#")]
    rest = [word.lower() for word in words if not word.startswith("#")]
    fact = ""
    if len(rooms) > 1:
        fact = "/history takes one room at a time."
    elif rooms and not words[0].startswith("#"):
        fact = "The room comes first."
    elif not rooms and words[0][0].isalpha() and rest[0] not in _NO_ROOMS and not _span(rest):
        fact, rooms, rest = "A room's name begins with '#'.", ["#" + words[0][:40]], rest[1:]
    if span := _span(rest):
        fact, rest = "A time span is a number with s, m, h or d.", [span]
    page = " ".join([*rooms[:1], *rest])
    person = f"; or /search from:{words[0][:40]} for what a person said" if rooms and words == [rooms[0][1:]] else ""
    good = fact and all(map(is_room, rooms[:1])) and commands.ReadHistory.typed(page)
    return Mistyped(fact, f"Type /history {page}{person}.") if good else None
