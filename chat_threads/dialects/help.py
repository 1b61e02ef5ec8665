"""The help that people see: the commands in groups, what each of them does, or all about one. Pure functions."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from .. import commands
from ..events import HelpShown
from ..usage import Row
from .tables import table

ROOM = 78  # columns that lines may have, for a terminal of 80
COME_IN = (
    "First type your name, alone or with a room: ann, or ann #lab2. /resume TOKEN takes your old place, /quit leaves."
    " Once you are in, /help lists the commands."
)
TALK = "Talk"  # the group of all other commands
GROUPS = {
    "Rooms": "/join /leave /create /delete /rooms /who /topic /invite /room",
    "Rules": "/op /deop /kick /ban /unban /bans /mute /unmute /uninvite /report /audit /announce",
    "You": "/nick /token /resume /away /back /set /edit",
    "Account": "/register /login /password /unregister /operator",
    "Reading": "/history /search /redact",
    "Server": "/qr /stats /ping /help /quit",
    "Inside": "/threads /locks /trace /lab",
}
_GROUP_OF = {name: group for group, names in GROUPS.items() for name in names.split()}
A_TEXT = "A line is said in the current room; //text says a text that begins with /."
STAYS = "\xa0"  # a space at which no row ends


def help_lines(event: HelpShown, room: int = ROOM, editing: bool = False) -> list[str]:
    """The lines of the help that the event asks for, in at most ``room`` columns; ``editing``: /edit is on."""
    width = room - 2
    lines = [] if event.named else _wrapped(COME_IN, width)
    if event.about == commands.TEXT:
        lines += _wrapped(A_TEXT, width)
    elif event.about and event.about != commands.EVERYTHING:
        row = commands.called(event.about).row
        lines += _wrapped(whole(f"{row.usage}: {row.does}.", width - 2), width)
        for part in row.more.split("\n"):
            lines += _wrapped(part, width)
        if row.aliases:
            lines.append("Also: " + ", ".join(row.aliases))
    if lines:
        return [line.replace(STAYS, " ") for line in lines]
    shown = [kind.row for kind in commands.TYPED if kind.row.name not in event.without]
    if event.about is None:
        return _groups(shown, width, offer=not editing)
    rows = [["text", "say it in the current room"], ["//text", "say a text that begins with /"]]
    rows += [[row.usage, row.does] for row in shown]
    if room >= ROOM:
        return table(("command", "does"), rows)
    for usage, does in rows:
        lines += _wrapped(whole(usage, width - 4), width, "    ")
        lines += _wrapped(f"  {does}", width)
    return [line.replace(STAYS, " ") for line in lines]


def _wrapped(text: str, width: int, indent: str = "  ") -> list[str]:
    """The text in rows. Options of the command line stay whole. ``indent`` says that a row goes on with the one
    above it, as in a notice."""
    return textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False)


def whole(usage: str, most: int) -> str:
    """The usage, with its brackets, and what stands between two ``|``, kept whole if they fit into ``most`` columns."""
    return re.sub(
        r"\[[^]]*\]|\| [^|]*[^| ]",
        lambda found: found[0].replace(" ", STAYS) if len(found[0]) <= most else found[0],
        usage,
    )


def _packed(usages: Sequence[str], width: int) -> list[str]:
    """The usages in as few rows as possible. One that is wider than a row has rows of its own, and is indented from the
    second one on."""
    found: list[str] = []
    wide = True  # whether the last usage was
    for usage in usages:
        before, wide = wide, len(usage) > width
        if wide:
            found += _wrapped(whole(usage, width - 2), width)
        elif before or len(found[-1]) + 2 + len(usage) > width:
            found.append(usage)
        else:
            found[-1] += "  " + usage
    return found


def _groups(shown: Sequence[Row], width: int, offer: bool) -> list[str]:
    """The commands in groups, so that all of them fit into a terminal of 80 columns and 24 lines."""
    lines = _wrapped(A_TEXT, width)
    for group in (TALK, *GROUPS):
        usages = [row.usage for row in shown if _GROUP_OF.get(row.name, TALK) == group]
        rows = _packed(usages, width - 9)
        lines += [f"{group if each is rows[0] else '':9}{each}" for each in rows]
    lines += _wrapped("/help COMMAND explains a command, and /help all says what each of them does.", width)
    if offer and any(row.name == "/edit" for row in shown):
        lines += _wrapped("Over telnet, /edit on keeps your line whole and fits all text to your window.", width)
    return [line.replace(STAYS, " ") for line in lines]
