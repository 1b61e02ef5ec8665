"""What people type, as commands: a line of a conversation, and the line in place of a name."""

from __future__ import annotations

from .. import commands
from ..errors import UnknownCommand, Usage
from ..rules import clean, without_sequences

# Typed in place of a name, these words mean commands.
_MEANT = frozenset(("quit", "exit", "bye", "help", "?", "stats"))
_WITHOUT_NAME = frozenset((commands.Nick, commands.Resume, commands.Help, commands.Quit))


def parse_line(line: str) -> commands.Command | None:
    """A line that is typed in a conversation; None if it is blank; raise UnknownCommand or Usage."""
    if line.isprintable() and line[:1] not in " /":  # most lines: neither blank nor a command
        return commands.Say(line)
    if not line.strip():
        return None
    line = clean(line)  # a cursor key before a command does not belong to it
    if line.startswith("//"):
        return commands.Say(line[1:])
    if not line.startswith("/"):
        return commands.Say(line)
    word, _, rest = line.partition(" ")
    if word == "/" and (kind := commands.BY_NAME.get("/" + rest.strip().partition(" ")[0].lower())):
        raise UnknownCommand(word, kind.row.name)
    kind = commands.called(word)
    command = kind.typed(rest.strip())
    if command is None:
        raise Usage(kind.row.usage)
    return command


def parse_name(line: str) -> commands.Command | None:
    """A line that is typed in place of a name, maybe with a room; raise UnknownCommand or Usage.

    A blank line asks for help. A command that works without a name stays that command; any other one becomes Help on
    it. Control characters stay, so that a line that has any is rejected as a name.
    """
    words = without_sequences(line).replace("\ufeff", " ").split()  # a file may begin with a byte order mark
    if not words:
        return commands.Help()
    if len(words) == 1 and words[0].lower() in _MEANT:
        words[0] = "/" + words[0]
    if words[0].startswith("/") and not words[0].startswith("//"):
        kind = commands.called(words[0])
        if kind not in _WITHOUT_NAME:
            return commands.Help(kind.row.name)
        command = parse_line(" ".join(words))
        if isinstance(command, commands.Nick):
            return commands.Hello(command.name)
        return commands.Hello(token=command.token) if isinstance(command, commands.Resume) else command
    if len(words) == 2 and words[1].startswith("#"):
        return commands.Hello(words[0], words[1])
    return commands.Hello(" ".join(words))
