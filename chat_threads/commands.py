"""Commands: what a client asks for, in any dialect. Each is a class; the decorator above it is its row in the table.

``@command`` (see ``usage``) gives what people type, the help, the type of the request that programs send, and the cost
(see ``pace``). ``/help`` and the reading and checking of input come from this table. ``service`` carries the commands
out. Those about rooms are in ``room_commands`` and ``room_roles``, those of accounts in ``sign_in``, and those
that have no word in ``implied``.

All are frozen, so any thread may read them without a lock. The name of a room has its ``#``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .errors import UnknownCommand
from .implied import AreYouThere as AreYouThere
from .implied import Complete as Complete
from .implied import ShowHealth as ShowHealth
from .implied import ShowMetrics as ShowMetrics
from .implied import ShowScreen as ShowScreen
from .meant import meant
from .room_commands import Create as Create
from .room_commands import Delete as Delete
from .room_commands import Invite as Invite
from .room_commands import Join as Join
from .room_commands import Leave as Leave
from .room_commands import ListRooms as ListRooms
from .room_commands import Topic as Topic
from .room_commands import Who as Who
from .room_roles import OF_ROLES as OF_ROLES
from .room_roles import SPAN, UNITS
from .room_roles import Ban as Ban
from .room_roles import Deop as Deop
from .room_roles import Kick as Kick
from .room_roles import ListBans as ListBans
from .room_roles import Mute as Mute
from .room_roles import Op as Op
from .room_roles import Room as Room
from .room_roles import Unban as Unban
from .room_roles import Uninvite as Uninvite
from .room_roles import Unmute as Unmute
from .server_order import OF_ORDER as OF_ORDER
from .server_order import Announce as Announce
from .server_order import Audit as Audit
from .server_order import Report as Report
from .sign_in import ASKS as ASKS
from .sign_in import SECRET as SECRET
from .sign_in import SHORTEST as SHORTEST
from .sign_in import BecomeOperator as BecomeOperator
from .sign_in import ChangePassword as ChangePassword
from .sign_in import Login as Login
from .sign_in import Register as Register
from .sign_in import Unregister as Unregister
from .usage import ALL as ALL
from .usage import NUMBER, bare, command
from .usage import Command as Command
from .values import value

EVERYTHING = "all"  # /help with what each command does
MAX_PAGE = 200  # messages in a page of history
TEXT = "text"  # /help on a line that is no command
_LIMIT = re.compile("(in|from|before(?=:[#0-9])):(@?)(.+)", re.IGNORECASE)  # of a search


@command(type="hello", local=("since",))
@dataclass(frozen=True, slots=True)
class Hello(Command):
    """The handshake: a name and the first room; or a token from an earlier connection, and in ``since`` the rooms to
    come back to, each with the number of the last message that was seen there. ``place``: as in Resume; then an empty
    ``since`` says that the person was in no room. ``password``: that of the account that has the name."""

    name: str = ""
    room: str | None = None
    token: str = ""
    since: tuple[tuple[str, int], ...] | None = None
    place: bool = False
    password: str = field(default="", repr=False)


@command(type="say")
@value(frozen=True, slots=True)
class Say(Command):
    """Say ``text`` in ``room``, or in the current room. People type the text alone."""

    text: str
    room: str | None = None


@command(
    "/msg NAME text",
    "send somebody a private line",
    "private",
    aliases=("/w", "/tell", "/query", "/pm"),
    more="A private line is shown to the two of you and never stored. A person who is not connected never gets it.",
)
@dataclass(frozen=True, slots=True)
class Private(Command):
    to: str
    text: str


@command("/reply text", "answer the last private line", "reply", aliases=("/r",))
@dataclass(frozen=True, slots=True)
class Reply(Command):
    text: str


@command("/me action", "do something: ~ ann waves", "action")
@dataclass(frozen=True, slots=True)
class Act(Command):
    """Do something in ``room``, or in the current room: ``text`` follows the name, as in "ann waves"."""

    text: str
    room: str | None = None


@command("/nick NAME", "take another name", "nick", cost=3)  # shown in up to 20 rooms
@dataclass(frozen=True, slots=True)
class Nick(Command):
    name: str


@command(
    "/token",
    "show your token for /resume",
    "token",
    more="If your connection hangs, or on another day, type /resume TOKEN on a new one. /help resume says what you"
    " get.",
)
@dataclass(frozen=True, slots=True)
class ShowToken(Command):
    pass


@command(
    "/resume TOKEN",
    "take your old place, by its token",
    "resume",
    more="A connection that still has that token is closed. You have your name again, and the rooms"
    " that you made are yours. In telnet, nc and the terminal client, you are also in your rooms, with what"
    " you missed, and have your settings and whom you ignore.",
    cost=4,
)
@dataclass(frozen=True, slots=True)
class Resume(Command):
    """Take the place of the session that has this token. With ``place``, a program gets what people get: all that the
    token keeps, and the server goes on keeping it."""

    token: str
    place: bool | None = None


@command("/whois NAME", "show what is known about somebody", "whois")
@dataclass(frozen=True, slots=True)
class Whois(Command):
    name: str


@command(
    "/away [reason]",
    "say that you are away",
    "away",
    aliases=("/afk",),
    more="A person who sends you a private line sees the reason. /back says that you are back.",
)
@dataclass(frozen=True, slots=True)
class Away(Command):
    reason: str = ""


@command("/back", "say that you are back", "back")
@dataclass(frozen=True, slots=True)
class Back(Command):
    pass


@command(
    "/ignore [NAME]",
    "hide what somebody says",
    "ignore",
    more="It lasts while you are connected, and after /resume, in every room and in private. It still holds when the"
    " person takes another name or comes back with their token. You still hear somebody else who takes the name later."
    " /history still shows everything. Without a name, it lists whom you ignore.",
)
@dataclass(frozen=True, slots=True)
class Ignore(Command):
    """Hide what a person says: the one who has the name now, or ``person`` (tokens.person_of) under any name. Without
    either, list the people who are ignored."""

    name: str = ""
    person: str | None = None


@command("/unignore NAME", "show again what somebody says", "unignore")
@dataclass(frozen=True, slots=True)
class Unignore(Command):
    name: str
    person: str | None = None


@command(
    "/history [#room] [N|2h|before N|after N]",
    "page through what was said",
    "history",
    more=f"N is a number of messages, 1 to {MAX_PAGE}. 2h is a time span in s, m, h or d. before and after take the"
    " number of a message, which the pages show.",
    cost=4,  # a page, and for a time span about 20 look-ups of where it begins
)
@dataclass(frozen=True, slots=True)
class ReadHistory(Command):
    """A page of a room's history: the newest ``count`` messages, those next below ``before`` or above ``after``, or
    those of the last ``seconds``."""

    room: str | None = None
    count: int | None = None
    before: int | None = None
    after: int | None = None
    seconds: int | None = None

    @classmethod
    def typed(cls, rest: str) -> Command | None:
        words = rest.split()
        room = words.pop(0) if words and words[0].startswith("#") else None
        if not words:
            return cls(room)
        if len(words) == 1 and NUMBER.fullmatch(words[0]):
            return cls(room, count=int(words[0])) if 0 < int(words[0]) <= MAX_PAGE else None
        if len(words) == 1 and (match := SPAN.fullmatch(words[0])):
            return cls(room, seconds=int(match[1]) * UNITS[match[2]])
        if len(words) == 2 and words[0] in ("before", "after") and NUMBER.fullmatch(words[1]):
            number = int(words[1])
            return cls(room, before=number) if words[0] == "before" else cls(room, after=number)
        return None


@command(
    "/redact N [#room]",
    "remove a message",
    "redact",
    more="/history shows the numbers. You can remove what you said in the last 24 hours. The owner and the operators"
    " of the room can remove anything. The text is gone for good; the number, the time and the name stay.",
    cost=5,
)
@dataclass(frozen=True, slots=True)
class Redact(Command):
    """Remove the text of a message by its number, in ``room`` or in the current room."""

    number: int
    room: str | None = None


@command(
    "/search [words] [in:#room] [from:NAME]",
    "find messages with all the words",
    "search",
    more="A word is found inside other words, in any case, with or without accents: hang finds hanging, strasse"
    " finds Straße. in: searches one room, from: what one person said. The newest 50 are shown; before:#lab2/17 shows"
    " older ones.",
    cost=5,
    named={"sender": "from"},
)
@dataclass(frozen=True, slots=True)
class Search(Command):
    """Find messages. ``before``: only older ones than this one, as ``#room/number``."""

    words: str = ""
    room: str | None = None
    sender: str | None = None
    before: str | None = None

    @classmethod
    def typed(cls, rest: str) -> Command | None:
        words, limits = rest.split(), {}
        for found in filter(None, map(_LIMIT.fullmatch, rest.split())):
            limit = found[1].lower()
            if limit in limits:
                return None
            words.remove(found[0])
            limits[limit] = bare(found[3]) if limit == "from" else found[2] + found[3]
        return cls(" ".join(words), limits.get("in"), limits.get("from"), limits.get("before")) if rest else None


@command(
    "/set [OPTION VALUE]",
    "show or change what you see",
    "set",
    more="/set timestamps on|off|seconds: show when it was said\n/set numbers on|off: show the numbers of messages\n"
    "/set colour on|off: colour names and notices\n"
    "/set bell on|off: ring when your name is said, and on private lines\n"
    "/set joins on|off: show who comes, who goes, and who takes a new name\n"
    "/set replay N: messages shown on entering a room, 0 to 200\n"
    "/set zone Europe/Berlin, or UTC, or server: the time zone",
    named={"name": "option"},
)
@dataclass(frozen=True, slots=True)
class SetOption(Command):
    """Change what this session is shown; without a name, show the options and their values."""

    name: str | None = None
    value: str | None = None

    @classmethod
    def typed(cls, rest: str) -> Command | None:
        words = rest.split()
        return cls(*words) if len(words) in (0, 2) else None


@command(
    "/edit [on|off]",
    "keep your line whole over telnet",
    more="What others say scrolls above your line instead of into it. Up and Down show earlier lines, Tab completes"
    " names, rooms and commands, and other keys work as in a shell. Ctrl-C erases the line; on an empty one it leaves."
    " What you paste is sent when you press Enter. Alt-Enter, or Escape and then Enter, begins another line.",
    cost=2,
)
@dataclass(frozen=True, slots=True)
class Edit(Command):
    on: bool | None = None  # None: say whether it is on

    @classmethod
    def typed(cls, rest: str) -> Command | None:
        return {"on": cls(True), "off": cls(False), "": cls()}.get(rest.lower())


@command(
    "/qr",
    "show the address as a QR code",
    "qr",
    more="A phone that scans it opens your current room in a browser.",
    cost=2,  # and pace.CODE for the code
    local=("base",),
)
@dataclass(frozen=True, slots=True)
class ShowQr(Command):
    """Show the address of the chat, and of the current room in it, and its QR code. ``base`` is the address by which
    the client reached the chat; without it, the server gives its own."""

    base: str = ""


@command("/stats", "show how the server is doing", "stats")
@dataclass(frozen=True, slots=True)
class Stats(Command):
    pass


@command(
    "/threads",
    "show what every thread is doing",
    "threads",
    more="For connections from the server's own machine. It answers even while a thread is stuck, because it reads"
    " without a lock. queue is how many items wait now, and most is the highest number so far. lines and bytes count"
    " what was sent.",
    cost=6,
)
@dataclass(frozen=True, slots=True)
class ShowThreads(Command):
    pass


@command(
    "/locks",
    "show how the locks are used",
    "locks",
    more="Counted only with --lab or --trace. waited is the total time that threads waited for the lock, and"
    " longest is the longest time that a thread held it.",
)
@dataclass(frozen=True, slots=True)
class ShowLocks(Command):
    pass


@command(
    "/trace N",
    "show the trip of message N",
    "trace",
    more="For one of the newest messages of the current room; recorded only with --lab or --trace. Times are in"
    " milliseconds since a reader thread took up the line: queued for the history, taken, committed and published;"
    " and, for each member, queued and written to the socket.",
    cost=3,
)
@dataclass(frozen=True, slots=True)
class ShowTrip(Command):
    """Show the trip of a message by its number, or of the newest one, in ``room`` or in the current room."""

    number: int | None = None
    room: str | None = None


@command(
    "/lab slow NAME MS | pause WHAT S | off",
    "make a fault to look at",
    "lab",
    more="With --lab only. /lab slow ann 500 makes every send to ann take half a second longer, for a minute, and"
    " /lab slow ann 0 ends that. /lab pause publisher 10 holds the Publisher's lock for 10 seconds, and /lab pause"
    " history 10 stops the history thread; 60 seconds is the most. /lab off ends all faults. Everybody is told. Then"
    " look at /threads and /locks.",
)
@dataclass(frozen=True, slots=True)
class MakeFault(Command):
    """Make a fault for a class: "slow" adds ``amount`` milliseconds to every send to a person, and "pause" stops the
    publisher or the history for ``amount`` seconds; "off" ends all faults."""

    fault: str
    target: str = ""
    amount: int = 0

    @classmethod
    def typed(cls, rest: str) -> Command | None:
        words = rest.split()
        if words == ["off"]:
            return cls("off")
        if len(words) != 3 or words[0] not in ("slow", "pause") or not NUMBER.fullmatch(words[2]):
            return None
        fault, target = words[0], words[1]
        if fault == "pause" and (target := target.lower()) not in ("publisher", "history"):
            return None
        return cls(fault, target, int(words[2]))


@command(type="typed")
@dataclass(frozen=True, slots=True)
class Typed(Command):
    """A line as a person types it. The command in it takes its place, in ``room`` if the line names no room. For pages
    and clients that do not know all commands; other programs send the requests themselves."""

    line: str
    room: str | None = None


@command("/ping", "time the round trip", "ping")
@dataclass(frozen=True, slots=True)
class Ping(Command):
    pass


@command("/help [COMMAND]", "list the commands, or explain one", "help", aliases=("/?",), local=("about",))
@dataclass(frozen=True, slots=True)
class Help(Command):
    """Show the help on one command, the commands in groups, or EVERYTHING. Each dialect has its own."""

    about: str | None = None

    @classmethod
    def typed(cls, rest: str) -> Command | None:
        word = rest.split()[0].lstrip("/") if rest else ""
        word = word.rstrip(",.;:!?") or word[:1]  # /help join? but also /help ?
        if not rest:
            return cls()
        if word.lower() in ("", TEXT):
            return cls(TEXT)
        if word.lower() == EVERYTHING:
            return cls(EVERYTHING)
        called(f"/{word}")
        return cls(f"/{word}")


@command("/quit [words]", "leave, with a last word", "quit", aliases=("/exit", "/bye"))
@dataclass(frozen=True, slots=True)
class Quit(Command):
    words: str = ""


TYPED: tuple[type[Command], ...] = tuple(kind for kind in ALL if kind.row.usage)
"""The commands that people type with a /."""

REQUESTED: dict[str, type[Command]] = {kind.row.type: kind for kind in ALL if kind.row.type}
"""The commands that programs send, by the type of the request."""

BY_NAME: dict[str, type[Command]] = {name: kind for kind in TYPED for name in (kind.row.name, *kind.row.aliases)}
"""The commands that people type, by each of their names."""


def called(word: str) -> type[Command]:
    """The command for a word with a ``/``, in any case; raise UnknownCommand with the likeliest. That is never one that
    deletes a room or reaches everybody."""
    kind = BY_NAME.get(word.lower())
    if kind is None:
        near = meant(word[1:], [name[1:] for name, kind in BY_NAME.items() if kind not in (Delete, Announce)])
        raise UnknownCommand(word[:40], "/" + near if near else None)
    return kind


BEFORE_A_NAME = (AreYouThere, Help, ShowMetrics, ShowHealth, ShowThreads, ShowLocks, ShowTrip, ShowQr)
"""The commands that a client may give before it has a name, if its dialect lets it."""
