"""What people type, as commands: a line of a conversation, and the line in place of a name."""

from __future__ import annotations

import re

from .. import commands
from ..errors import BadName, ChatError, TextTooLong, UnknownCommand, Usage
from ..rules import TAB, TEXT_LENGTH, check_name, clean_lines, fold, in_messages, is_room, nearest, without_sequences
from ..usage import bare
from . import clock
from .asking import may_have_password
from .mistyped import Mistyped, refuse_confused, refuse_foreign, what_is_wrong

# Typed in place of a name, these words mean commands.
_MEANT = frozenset(("quit", "exit", "bye", "help", "?", "stats", "resume", "login", "register"))
_WITHOUT_NAME = frozenset((commands.Nick, commands.Resume, commands.Help, commands.Quit))
_TAKE_ONE = (commands.Nick, commands.Resume)

_WISHES = {
    "If you want to leave, type /quit.": ("exit", "logout", "quit"),
    "/help lists the commands.": ("commands", "help", "?"),
    "/who lists who is here.": ("who",),
    "/rooms lists the rooms.": ("rooms",),
    "/leave leaves this room; /quit leaves the chat.": ("leave",),
    "If you want to log in, type /login.": ("login", "signin"),
    "If you want to keep your name with a password, type /register.": ("register", "signup"),
}
HINTS = {
    spelled: hint
    for hint, words in _WISHES.items()
    for word in words
    for spelled in (word, word.capitalize(), word.upper())
}
"""What to tell a person whose whole line is such a word: it is said, but perhaps it was meant as a command."""
UNSLASHED = ("join", "leav")
"""The first four letters of other lines that may be meant as commands. To find them takes no call for each line."""


def hint(line: str) -> str:
    """What to tell a person who has said this line, which is in HINTS or begins as one of UNSLASHED; "": nothing."""
    word, _, room = line.partition(" ")
    meant = word in ("join", "leave") and is_room(room)
    return f"If you meant the command, type /{line}." if meant else HINTS.get(line, "")


_CURSOR_KEY = re.compile(r"\x1b[\[O](?:(?:1;[2-8])?[ABCDHF]|[1-8]~)")


def has_cursor_keys(line: str) -> bool:
    """Whether a line has what a terminal sends for a key such as an arrow."""
    return _CURSOR_KEY.search(line) is not None


_SLASHES = "／、・"  # what input methods for Chinese and Japanese give for the key of the /
_MAY_BEGIN = f" /{_SLASHES}"
_BLANK = re.compile("[ \u3000]+")
_NARROW = {0x3000: " ", **{ord("０") + digit: str(digit) for digit in range(10)}}
_OF_LINES = frozenset((commands.Private, commands.Reply, commands.Act))  # what they say may have several lines
_WORD = re.compile("[^ \n]*")
_KEYS = "".join(map(chr, {*range(32), 127} - set(b"\t\n\r\x1b")))  # such as Ctrl-L


def parse_line(line: str) -> commands.Command | None:
    """A line that is typed in a conversation; None if it is blank; raise UnknownCommand or Usage.

    It may be a text of several lines, with LF between them. If it begins with a command, all of it belongs to that.
    """
    if len(line) in _TOKENS:
        _refuse_token(line)
    if line[:1] in _INITIALS:
        _refuse_slashless(line)
    if line.isprintable() and line[:1] not in _MAY_BEGIN:  # most lines: neither blank nor a command
        return commands.Say(line)
    if not line.strip():
        return None
    line = clean_lines(line.lstrip(_KEYS))  # a key, such as the cursor's, before a command does not belong to it
    if line.startswith("//"):
        return commands.Say(line if line.startswith("// ") else line[1:])  # the former is a comment in many languages
    if not begins_command(line):
        _refuse_indented(line)
        return commands.Say(line)
    line = _with_spaces(line)
    word = _WORD.match(line)[0]  # type: ignore[index]
    rest = line[len(word) :].strip()
    if line == "/":
        raise Mistyped("A line that begins with / is a command.", "/help lists them.")
    if word == "/" and (kind := commands.BY_NAME.get("/" + rest.partition(" ")[0].lower())):
        raise Mistyped("No space belongs after the /.", f"Type {' '.join([kind.row.name, *rest.split()[1:]])[:60]}.")
    if (glued := word.partition("#")) and glued[1] and glued[0].lower() in commands.BY_NAME:
        raise Mistyped("A space belongs before the #.", f"Type {glued[0]} #{glued[2][:40]}.")
    if not rest and (asked := _asked_about(word)):
        return commands.Help(asked.row.name)
    if "/" in word[1:] or word == "/":
        advice = "To say this one, put another / in front of it."
        if "\n" in line:  # a // before several lines is a comment, and so is one before a space
            advice = "To say these lines, put a space in front of them."
        elif word == "/":
            advice = "To say this one, put a space in front of it."
        raise Mistyped("A line that begins with / is a command.", advice)
    words = rest.split()
    refuse_foreign(word.lower(), words)
    kind = commands.called(word)
    _refuse_lines(kind, line[len(word) :].rstrip())
    if words:
        refuse_confused(kind.row, words)
    command = kind.typed(rest if kind in _OF_LINES else rest.replace("\n", " "))
    if command is None:
        if kind is commands.SetOption:
            raise not_set(words[0], " ".join(words[1:]))
        raise what_is_wrong(kind.row, words) or Usage(kind.row.usage)
    return command


def _asked_about(word: str) -> type[commands.Command] | None:
    """The command that somebody asks about, as in ``/quit?``; None: there is none."""
    return commands.BY_NAME.get(word.rstrip("?").lower()) if word[-1] == "?" else None


def _with_spaces(line: str) -> str:
    """A command with spaces in place of the wide ones of an input method, and usual digits in place of wide ones; but
    a text in it stays as it was typed."""
    if line.isascii():
        return line
    word, *words = _BLANK.split(line)
    kind = commands.BY_NAME.get(word.lower())
    places = [place.strip("[]") for place in kind.row.places] if kind else []
    if not re.fullmatch("[a-z]+", "".join(places[-1:])):
        return line.translate(_NARROW)
    before = len(places) - (places[0] == "#room" and not "".join(words[:1]).startswith("#"))  # blanks before the text
    *parts, text = re.split(f"({_BLANK.pattern})", line, maxsplit=before)
    return "".join(parts).translate(_NARROW) + text


def begins_command(text: str) -> bool:
    """Whether a typed text begins as a command does, whether it exists or not. ``//`` and ``/*`` begin a text."""
    return text.startswith("/") and not text.startswith(("//", "/*"))


_SAID = (commands.Act, commands.Private, commands.Reply)


def is_shown(text: str) -> bool:
    """Whether a typed text is shown above its answer, as it was typed: a command that exists. A private line and the
    like are shown when they are said. A text that may have a secret is never shown."""
    words = text.split()
    kind = commands.BY_NAME.get(words[0].lower()) if words else None
    if kind is None or kind in _SAID:
        return False
    return not (may_have_password(text) or any(map(_TOKEN.fullmatch, words)))


def is_for_the_room(text: str) -> bool:
    """Whether a text of one line or more goes to the current room, or is a command about it."""
    first = (in_messages(text) or [""])[0]
    try:
        command = parse_line(first if "\n" in text else text)
    except ChatError:
        return False
    about = getattr(command, "room", "") is None
    return about and not isinstance(command, (commands.Search, commands.Who))  # these are about all rooms


def messages_in(text: str) -> int:
    """How many messages a text becomes; a command is none."""
    messages = in_messages(text.expandtabs(TAB))
    return 0 if begins_command("".join(messages[:1])) else len(messages)


def too_long(text: str) -> TextTooLong | None:
    """The error of a text of which some line is too long for a message: then none of its lines should be sent. All of
    what stands behind /msg and the like is one message."""
    if len(text) + (TAB - 1) * text.count("\t") <= TEXT_LENGTH:
        return None
    messages = in_messages(text.expandtabs(TAB))
    if begins_command("".join(messages[:1])):
        try:
            command = parse_line(text)
        except ChatError:
            return None
        messages = [clean_lines(command.text)] if isinstance(command, _SAID) else []
    longest = max(map(len, messages), default=0)
    return TextTooLong(longest, TEXT_LENGTH) if longest > TEXT_LENGTH else None


def option_named(name: str) -> str:
    """The option that a person names."""
    return {"color": "colour", "colors": "colour", "tz": "zone", "timezone": "zone"}.get(name.lower(), name.lower())


def not_set(option: str, value: str) -> Usage | Mistyped:
    """The error for an option that does not exist, or for a value that it does not take."""
    if option.lower() == "zone" and (zone := clock.meant(value)):
        return Mistyped("The name of a time zone begins with its region.", f"Type /set zone {zone}.")
    if option.lower() == "zone" and value.strip("?"):
        return Mistyped(
            f"There is no time zone {value[:40]}.", "Type one such as /set zone Europe/Berlin, UTC or server."
        )
    lines = {line.split()[1]: line for line in commands.SetOption.row.more.split("\n")}
    before, equals, after = option.partition("=")
    name = option_named(before)
    if name in lines and not equals:
        return Usage(lines[name])
    near = name if name in lines else nearest(name, lines) or ""
    if near[:1] != name[:1]:
        near = ""
    value = after or value
    advice = f"Type /set {near} {value[:40]}".rstrip() + "." if near else "/help set lists the options."
    return Mistyped(f"There is no option {option[:40]}.", advice)


# As the server makes them: 16 bytes in base64 leave two bits for the last letter. Less than 1 % have none of the first.
_TOKEN = re.compile(r"(?=.*[0-9_-])(?=.*[A-Z])(?=.*[a-z])[A-Za-z0-9_-]{21}[AQgw]")
_TAKES_TOKEN = {"": "/resume", "token": "/resume", "resume": "/resume", "operator": "/operator"}
_TOKENS = frozenset(len(f"{word} ".lstrip()) + 22 for word in _TAKES_TOKEN)  # characters of a line with a token


def _refuse_token(line: str) -> None:
    """Raise Mistyped for a token that stands alone, or behind a word such as resume: it must not be shown to all."""
    word, _, token = line.rpartition(" ")
    if _TOKEN.fullmatch(token) and (name := _TAKES_TOKEN.get(word.lower())):
        raise Mistyped("That looks like a token, which is secret. Nothing was sent.", f"Type {name} and the token.")


_ASK = {kind.row.name[1:]: kind.row.name for kind in commands.ASKS}  # the commands that ask for a password
_INITIALS = frozenset(first for word in (*_ASK, "msg") for first in (word[0], word[0].upper()))
_NO_NAME = "me|us|you|him|her|them|it|the|a|an|this|that|my|our|your|his|their|if|when|for|and|or"
_PRIVATE = re.compile(rf"msg (?!(?:{_NO_NAME})\b)@?[^\W\d_]\S* +\S", re.IGNORECASE)


def _refuse_slashless(line: str) -> None:
    """Raise Mistyped for a command without its /, with a password, or with words for one person, which must not be said
    to all. "msg me when you are there" is a sentence."""
    if name := _with_password(line):
        advice = f"Type {name} alone, and the password when you are asked. If it is none, begin the line with a space."
        raise Mistyped("That may be a password. Nothing was sent.", advice)
    if _PRIVATE.match(line):
        advice = "Begin the line with /msg; or with a space, if all may read it."
        raise Mistyped("That looks like a private line, but lacks its /. Nothing was sent.", advice)


def _with_password(line: str) -> str:
    """The command that somebody has typed without its /, maybe with a password behind it; "": none. A word of letters
    alone may be one, too, but most are parts of a sentence, such as "login problems"."""
    words = line.split(None, 3)
    if not 2 <= len(words) <= 3 or not (name := _ASK.get(words[0].lower().rstrip(":"))):
        return ""
    last = words[-1].rstrip(".,;:!?)")
    name_and_password = name == "/login" and len(words) == 3 and last == words[-1] and len(last) >= commands.SHORTEST
    return "" if _ORDINARY.fullmatch(last) and not name_and_password else name


_ORDINARY = re.compile(r"[^\W\d_]*(?:['’][^\W\d_]+)*|\d{1,5}")  # a word without hyphens, or a number


# A frame that keeps an error in a variable is in a cycle with it, through its traceback. So these functions keep none.


def _refuse_indented(line: str) -> None:
    """Raise Mistyped for a text that has a command behind blanks: it may be private, and must not be said to all."""
    if word := indented_command(line):
        what = f"{line[0]} is not the / of a command" if line[0] in _SLASHES else "a space stands before it"
        raise Mistyped(f"That looks like {word}, but {what}. Nothing was sent.", f"Begin the line with {word}.")


def indented_command(text: str) -> str:
    """The command that a text begins with behind blanks, as typed; "" if there is none."""
    text = text.lstrip() if text[:1] != "/" else ""
    begin = "/" if text[:1] in _SLASHES else text[:1]
    word: str = _BLANK.split((begin + text[1:]).partition("\n")[0], 1)[0]
    return word if word.lower() in commands.BY_NAME else ""


def _refuse_lines(kind: type[commands.Command], rest: str) -> None:
    """Raise Mistyped for several lines after a command that does not take a text, or if another command follows."""
    _, *more = rest.split("\n")
    if more and kind not in _OF_LINES:
        takes_text = re.fullmatch(r"\[?[a-z]+\]?", (kind.row.places or [""])[-1])
        if not takes_text or any(map(begins_command, more)):
            raise Mistyped(f"{kind.row.name} takes one line. Nothing was done.", "Send the lines one by one.")


# How people introduce themselves to a program that asks for their name.
_INTRODUCTION = re.compile(
    r"(?:(?:hi|hello|hey)[,!]? )?(?:i am|i'm|im|it's|this is|call me|(?:my )?(?:user)?name(?: is|:|'s|)|login:?)"
    r" (\w+)[.!]?",
    re.IGNORECASE,
)


def parse_name(line: str) -> commands.Command | None:
    """A line that is typed in place of a name, maybe with a room; raise UnknownCommand or Usage.

    A blank line asks for help. A command that works without a name stays that command; any other one becomes Help on
    it. Control characters stay, so that a line that has any is rejected as a name.
    """
    words = without_sequences(line).replace("\ufeff", " ").split()  # a file may begin with a byte order mark
    _refuse_token(" ".join(words))
    if _with_password(line):
        raise Mistyped("That may be a password.", "Type only your name, and the password when you are asked.")
    if not words:
        return commands.Help()
    if len(words) == 1 and words[0][0] != "/" and (words[0].lower().rstrip("?") or "?") in _MEANT:
        words[0] = "/" + words[0]
    if len(words) == 1 and words[0][0] == "/" and (asked := _asked_about(words[0])):
        return commands.Help(asked.row.name)
    if words[0].startswith("/") and not words[0].startswith("//"):
        try:
            kind = commands.called(words[0])
        except UnknownCommand as error:
            raise error if error.near else Mistyped(error.fact, "First type your name; /help says more.") from None
        if kind not in _WITHOUT_NAME or (len(words) == 1 and kind in _TAKE_ONE):
            return commands.Help(kind.row.name)
        if kind is commands.Nick and len(words) == 3 and is_room(words[2]):
            return commands.Hello(words[1], words[2])
        command = parse_line(" ".join(words))
        if isinstance(command, commands.Nick):
            return commands.Hello(command.name)
        return commands.Hello(token=command.token) if isinstance(command, commands.Resume) else command
    if len(words) == 3 and words[1] == "#":
        words = [words[0], "#" + words[2]]
    if len(words) == 2 and words[1].startswith("#"):
        return commands.Hello(bare(words[0]), words[1])
    if found := _INTRODUCTION.fullmatch(" ".join(words)):
        raise Mistyped("Type only your name.", f"If it is {found[1]}, type {found[1]}.")
    name, sign, room = words[0].partition("#")
    if len(words) == 1 and sign and not _why_not(name) and is_room(room := "#" + room):
        raise Mistyped("A space is between a name and a room.", f"Type {name} {room}.")
    if len(words) == 3 and is_room(words[1]) and is_room(room := "_".join(words[1:])) and not _why_not(words[0]):
        raise Mistyped("A room's name has no spaces.", f"Type {words[0]} {room}.")
    if rooms := [word for word in words[:4] if is_room(word)]:
        raise _out_of_order(words[:4], rooms[0])
    if len(words) == 2:
        _refuse_two_words(*words)
    return commands.Hello(" ".join(words))


def _out_of_order(words: list[str], room: str) -> Mistyped:
    """What to do with a name, a room and more in place of a name."""
    names = [word for word in words if word[0] != "#"]
    clear = len(names) == 1 or names[:1] == words[:1]
    name = names[0] if clear and is_room("#" + names[0]) else "ann"
    return Mistyped("First comes your name, and then at most one room.", f"Type {name} {room}.")


def _refuse_two_words(first: str, second: str) -> None:
    """Raise Mistyped for a name and a room without its sign, in place of a name."""
    why = _why_not(f"{first} {second}")
    if why and not _why_not(first) and is_room(room := f"#{second}"):
        fact, advice = why if fold(first) in fold(why[1]) else ("A name has no spaces.", "")
        raise Mistyped(fact, f"{advice} To begin in the room {room}, type {first} {room}.".strip())


def _why_not(name: str) -> tuple[str, str] | None:
    """What is wrong with a name, and the advice; None: nothing."""
    try:
        check_name(name)
    except BadName as error:
        return error.fact, error.advice
    return None
