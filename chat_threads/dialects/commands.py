"""What people type: the table of slash commands, which /help shows and which reads their arguments."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from .. import commands
from ..errors import UnknownCommand, Usage
from ..rules import clean, nearest, without_sequences


@dataclass(frozen=True, slots=True)
class TextCommand:
    """A row of the table: how a command is typed, what it does in a line, and how its arguments are read.

    ``parse`` gets what follows the command's name, stripped, and returns a Command; None: it does not take
    that. ``more`` is what /help COMMAND adds.
    """

    name: str
    usage: str
    does: str
    parse: Callable[[str], commands.Command | None]
    aliases: tuple[str, ...] = ()
    more: str = ""


def _alone(command: commands.Command) -> Callable[[str], commands.Command | None]:
    return lambda rest: None if rest else command


def _one_word(make: Callable[[str], commands.Command]) -> Callable[[str], commands.Command | None]:
    return lambda rest: make(rest) if rest and " " not in rest else None


def _maybe_word(make: Callable[[str | None], commands.Command]) -> Callable[[str], commands.Command | None]:
    return lambda rest: make(rest or None) if " " not in rest else None


def _words(make: Callable[[str], commands.Command]) -> Callable[[str], commands.Command | None]:
    return lambda rest: make(rest) if rest else None


def _word_and_words(
    make: Callable[[str, str], commands.Command], optional: bool = False
) -> Callable[[str], commands.Command | None]:
    def parse(rest: str) -> commands.Command | None:
        word, _, words = rest.partition(" ")
        words = words.strip()
        return make(word, words) if word and (words or optional) else None

    return parse


def _parse_delete(rest: str) -> commands.Command | None:
    room, *more = rest.split() or [""]
    return commands.Delete(room, ask=not more) if room and more in ([], ["yes"]) else None


def _parse_topic(rest: str) -> commands.Command | None:
    first, _, words = rest.partition(" ")
    if first.startswith("#"):
        return commands.Topic(first, words.strip() or None)
    return commands.Topic(None, rest or None)


def _parse_invite(rest: str) -> commands.Command | None:
    words = rest.split()
    return commands.Invite(words[0], words[1] if len(words) == 2 else None) if 1 <= len(words) <= 2 else None


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)
_WHILE = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)


def _parse_history(rest: str) -> commands.Command | None:
    words = rest.split()
    room = words.pop(0) if words and words[0].startswith("#") else None
    if not words:
        return commands.ReadHistory(room)
    if len(words) == 1 and NUMBER.fullmatch(words[0]):
        return commands.ReadHistory(room, count=int(words[0]))
    if len(words) == 1 and (match := _WHILE.fullmatch(words[0])):
        return commands.ReadHistory(room, seconds=int(match[1]) * _UNITS[match[2]])
    if len(words) == 2 and words[0] in ("before", "after") and NUMBER.fullmatch(words[1]):
        number = int(words[1])
        return (
            commands.ReadHistory(room, before=number)
            if words[0] == "before"
            else commands.ReadHistory(room, after=number)
        )
    return None


def _parse_search(rest: str) -> commands.Command | None:
    words: list[str] = []
    room = sender = None
    for word in rest.split():
        if word.startswith("in:") and len(word) > 3:
            room = word[3:]
        elif word.startswith("from:") and len(word) > 5:
            sender = word[5:]
        else:
            words.append(word)
    return commands.Search(" ".join(words), room, sender) if words else None


def _parse_set(rest: str) -> commands.Command | None:
    words = rest.split()
    if not words:
        return commands.SetOption()
    return commands.SetOption(words[0], words[1]) if len(words) == 2 else None


def _parse_lab(rest: str) -> commands.Command | None:
    words = rest.split()
    if len(words) != 3 or words[0] not in ("slow", "pause") or not NUMBER.fullmatch(words[2]):
        return None
    if words[0] == "pause" and words[1] not in ("publisher", "history"):
        return None
    return commands.MakeFault(words[0], words[1], int(words[2]))


def _parse_help(rest: str) -> commands.Command | None:
    if not rest or " " in rest:
        return None if rest else commands.Help()
    word = rest if rest.startswith("/") else "/" + rest
    if word.lower() not in BY_NAME:
        raise _unknown(word)
    return commands.Help(word)


COMMANDS: tuple[TextCommand, ...] = (
    TextCommand("/join", "/join #room", "go to a room, made if there is none", _one_word(commands.Join), ("/j",)),
    TextCommand("/leave", "/leave [#room]", "leave it, or the current room", _maybe_word(commands.Leave), ("/part",)),
    TextCommand(
        "/create",
        "/create #room [topic]",
        "make a new room and go there",
        _word_and_words(commands.Create, optional=True),
        more="It is an error if the room exists. Whoever made a room can /delete it; see /help delete.",
    ),
    TextCommand(
        "/delete",
        "/delete #room [yes]",
        "delete your room and its history",
        _parse_delete,
        more="Without yes it only says how many messages that would delete. Only whoever made the room can do it: on"
        " the same connection, or after /resume with the token that /token showed there. Its members are told and land"
        " in #lobby.",
    ),
    TextCommand("/rooms", "/rooms", "list the rooms", _alone(commands.ListRooms()), ("/list",)),
    TextCommand("/who", "/who [#room]", "list who is here, or in a room", _maybe_word(commands.Who), ("/names",)),
    TextCommand(
        "/topic",
        "/topic [#room] [text]",
        "show or set what a room is about",
        _parse_topic,
        more="/topic - takes the topic away.",
    ),
    TextCommand("/invite", "/invite NAME [#room]", "ask somebody in", _parse_invite),
    TextCommand(
        "/msg",
        "/msg NAME text",
        "say it to one person, privately",
        _word_and_words(commands.Private),
        more="A private line is shown to the two of you and never stored. Somebody who is not there never gets it.",
    ),
    TextCommand("/reply", "/reply text", "answer the last private line", _words(commands.Reply), ("/r",)),
    TextCommand("/me", "/me action", "do something: ~ ann waves", _words(lambda text: commands.Say(text, "action"))),
    TextCommand("/nick", "/nick NAME", "take another name", _one_word(commands.Nick)),
    TextCommand(
        "/token",
        "/token",
        "show what brings you back",
        _alone(commands.ShowToken()),
        more="After a lost connection your old one may hang for minutes, and have your name. /resume TOKEN, typed"
        " on a new connection in place of a name or later, takes its place at once.",
    ),
    TextCommand(
        "/resume",
        "/resume TOKEN",
        "take your old place, by its token",
        _one_word(commands.Resume),
        more="The older connection with that token is closed; you have its name and are in its rooms. Without one,"
        " you have the name that it was last used under.",
    ),
    TextCommand("/whois", "/whois NAME", "show what is known of somebody", _one_word(commands.Whois)),
    TextCommand(
        "/away",
        "/away [reason]",
        "say that you are away",
        commands.Away,
        more="Who sends you a private line is told the reason. /back ends it.",
    ),
    TextCommand("/back", "/back", "say that you are back", _alone(commands.Back())),
    TextCommand(
        "/ignore",
        "/ignore NAME",
        "hide what somebody says",
        _one_word(commands.Ignore),
        more="It is hidden while you are connected, in every room and in private. /history shows it all the same.",
    ),
    TextCommand("/unignore", "/unignore NAME", "show it again", _one_word(commands.Unignore)),
    TextCommand(
        "/history",
        "/history [#room] [N|2h|before N|after N]",
        "page through what was said",
        _parse_history,
        more="N is how many messages, at most 200; 2h is a while: s, m, h or d. before and after take the number"
        " of a message, as the pages show it.",
    ),
    TextCommand(
        "/search",
        "/search words [in:#room] [from:NAME]",
        "find messages with all the words",
        _parse_search,
        more="A word is found inside other words, too, in any case, and with or without its accents: hang finds"
        " hanging, strasse finds Straße. The newest 50 messages are shown. in: and from: look in one room, or for what"
        " one person said.",
    ),
    TextCommand(
        "/set",
        "/set [OPTION VALUE]",
        "show or change what you see",
        _parse_set,
        more="/set timestamps on|off|seconds, /set numbers on|off, /set colour on|off (names and notices),"
        " /set bell on|off (when your name is said, and on private lines), /set joins on|off,"
        " /set replay N (messages on entering a room, 0 to 200).",
    ),
    TextCommand("/stats", "/stats", "show how the server is doing", _alone(commands.Stats())),
    TextCommand(
        "/threads",
        "/threads",
        "show what every thread is doing",
        _alone(commands.ShowThreads()),
        more="For connections from the server's own machine. It answers even while a thread is stuck: no lock is taken"
        " to find out. queue is what waits there now, most the most that ever did; lines and bytes are those out.",
    ),
    TextCommand(
        "/locks",
        "/locks",
        "show how the locks are used",
        _alone(commands.ShowLocks()),
        more="Counted only with --lab or --trace. waited is all that threads waited for it, longest the longest time"
        " that one had it.",
    ),
    TextCommand(
        "/trace",
        "/trace N",
        "show the trip of message N",
        lambda rest: commands.ShowTrip(int(rest)) if NUMBER.fullmatch(rest) else None,
        more="Of the current room, one of the newest; recorded only with --lab or --trace. Times are in milliseconds"
        " since a reader thread took up its line: when it was in the history's queue, taken from there, committed,"
        " published, and for each member queued and written to the socket.",
    ),
    TextCommand(
        "/lab",
        "/lab slow NAME MS | pause WHAT S",
        "make a fault to look at",
        _parse_lab,
        more="With --lab only. /lab slow ann 500 lets every send to ann take half a second more, for a minute."
        " /lab pause publisher 10 holds the Publisher's lock, /lab pause history 10 stops the history thread, for so"
        " many seconds, at most 60. Everybody is told. Then look at /threads and /locks.",
    ),
    TextCommand("/ping", "/ping", "time the round trip", _alone(commands.Ping())),
    TextCommand("/help", "/help [COMMAND]", "list the commands, or explain one", _parse_help, ("/?",)),
    TextCommand("/quit", "/quit [words]", "leave, with a last word", commands.Quit, ("/exit", "/bye")),
)
_MEANT = frozenset(("quit", "exit", "bye", "help", "?", "stats"))  # in place of a name; the last is memcached's
_WITHOUT_NAME = frozenset(("/nick", "/resume", "/help", "/quit"))
BY_NAME = {name: command for command in COMMANDS for name in (command.name, *command.aliases)}


def parse_line(line: str) -> commands.Command | None:
    """A line that is typed in a conversation; None if it is blank; raise UnknownCommand or Usage."""
    if not line.strip():
        return None
    line = clean(line)  # a cursor key pressed before a command is no part of it
    if line.startswith("//"):
        return commands.Say(line[1:])
    if not line.startswith("/"):
        return commands.Say(line)
    word, _, rest = line.partition(" ")
    command = BY_NAME.get(word.lower())
    if command is None:
        raise _unknown(word)
    parsed = command.parse(rest.strip())
    if parsed is None:
        raise Usage(command.usage)
    return parsed


def parse_name(line: str) -> commands.Command | None:
    """A line that is typed in place of a name, maybe with a room; None if it is blank; raise UnknownCommand or Usage.

    What one means by a command is done, or else is Help on it. Control characters stay, and no name has any.
    """
    words = without_sequences(line).replace("\ufeff", " ").split()  # a file may begin with a byte order mark
    if not words:
        return None
    if len(words) == 1 and words[0].lower() in _MEANT:
        words[0] = "/" + words[0]
    if words[0].startswith("/") and not words[0].startswith("//"):
        row = BY_NAME.get(words[0].lower())
        if row and row.name not in _WITHOUT_NAME:
            return commands.Help(row.name)
        command = parse_line(" ".join(words))
        if isinstance(command, commands.Nick):
            return commands.Hello(command.name)
        return commands.Hello(token=command.token) if isinstance(command, commands.Resume) else command
    if len(words) == 2 and words[1].startswith("#"):
        return commands.Hello(words[0], words[1])
    return commands.Hello(" ".join(words))


def _unknown(word: str) -> UnknownCommand:
    near = nearest(word[1:].lower(), [name[1:] for name in BY_NAME])
    return UnknownCommand(word[:40], "/" + near if near else None)
