"""What programs send and get: one JSON object a line. docs/protocol.rst describes the objects for people.

``REQUESTS`` turns objects into commands, by the rows of ``commands``; ``codec`` turns events into objects. Lines are
UTF-8, at most 64 KiB, and end with LF (a CR before it is removed). A line that is not understood is answered with an
error, and the connection stays open.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, NoReturn, get_args, get_type_hints

from .. import commands, events
from ..errors import BadJson, BadRequest, ChatError, LineTooLong, NotUtf8, UnknownType
from ..parcel import Views
from ..rules import LINES, REFS, TEXT_LENGTH, WORDS_LENGTH
from . import codec
from .base import DEFAULTS, MAX_REPLAY, Request, Settings, SharedViews
from .help import help_lines
from .sentences import TEXTS
from .typed import parse_line

LINE = 65536  # bytes in a line, without its end
DEPTH = 8  # objects and arrays inside one another; no request needs more than two
REF_LENGTH = 64  # characters
MAX_SINCE = 20  # rooms to come back to in one hello
_BIGGEST = 2**53 - 1  # the largest integer that every JSON reader keeps exactly (RFC 8259, section 6)


# --- what is sent to us -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a request: its name, the type of its value, and the name of the command's argument."""

    name: str
    kind: type
    required: bool
    argument: str


_KINDS = {str: "a string", int: "a number", bool: "true or false"}


def _fields_of(kind: type[commands.Command]) -> tuple[Field, ...]:
    """The fields of the dataclass, except for those that are ``local`` in its row."""
    hints = get_type_hints(kind)
    return tuple(
        Field(
            kind.row.named.get(each.name, each.name),
            hints[each.name] if isinstance(hints[each.name], type) else get_args(hints[each.name])[0],  # of X | None
            each.default is MISSING or "sent" in each.metadata,
            each.name,
        )
        for each in fields(kind)  # type: ignore[arg-type]
        if each.name not in kind.row.local
    )


REQUESTS: dict[str, tuple[type[commands.Command], tuple[Field, ...]]] = {
    name: (kind, _fields_of(kind)) for name, kind in commands.REQUESTED.items()
}


def _since(rooms: object) -> tuple[tuple[str, int], ...] | None:
    """The ``since`` of hello as pairs of a room and a number; raise BadRequest."""
    if rooms is None:
        return None
    if not isinstance(rooms, dict) or not all(
        isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in rooms.values()
    ):
        raise BadRequest("since of hello must be an object with rooms as keys and numbers as values.")
    if len(rooms) > MAX_SINCE:
        raise BadRequest(f"since of hello may have at most {MAX_SINCE} rooms.")
    return tuple(rooms.items())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BadJson("an object has the same key twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > _BIGGEST:
        raise BadJson(f"a number is larger than {_BIGGEST}")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise BadJson("a number is out of range")
    return number


def _no_constant(name: str) -> NoReturn:
    raise BadJson(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_no_constant
)
_UP_TO_3_DIGITS = re.compile("[0-9]{1,3}")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?')
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse(line: bytes) -> dict[str, Any]:
    """One line as an object; raise BadJson or NotUtf8."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise NotUtf8() from None
    if text.count("[") + text.count("{") > DEPTH:  # counted before it is parsed: the parser recurses
        depth = 0
        for char in _STRING.sub("", text):
            depth += (char in "[{") - (char in "]}")
            if depth > DEPTH:
                raise BadJson(f"it is nested more than {DEPTH} deep")
    try:
        found = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise BadJson(f"{error.msg} at character {error.pos + 1}") from None
    if not isinstance(found, dict):
        raise BadJson("a line must be one object")
    return found


def _ref_of(request: dict[str, Any]) -> str:
    """The program's name for its request, or ""; raise BadRequest."""
    ref = request.get("ref")
    if ref is None:
        return ""
    if not isinstance(ref, str) or len(ref) > REF_LENGTH or _SURROGATE.search(ref):
        raise BadRequest(f"ref must be a string of up to {REF_LENGTH} characters.")
    return ref


def _meant(typed: commands.Typed) -> commands.Command:
    """The command that a typed line is; raise UnknownCommand, Usage or BadRequest."""
    command: Any = parse_line(typed.line)
    if command is None:
        raise BadRequest("line of typed is blank.")
    if not command.row.type:
        raise BadRequest(f"{command.row.name} works in a terminal only.")
    if command == commands.Help():
        return commands.Help(commands.EVERYTHING)
    has_place = typed.room is not None and getattr(command, "room", "") is None
    return replace(command, room=typed.room) if has_place else command  # type: ignore[no-any-return]


# What is kept for a person: see docs/protocol.rst; and that lines are edited, for the next time over telnet.
_KEPT = frozenset(("timestamps", "numbers", "colour", "bell", "joins", "replay", "zone", commands.Edit.row.name))
_KEPT_LENGTH = 40  # characters of a value


class JsonDialect:
    """A program's end of the conversation. See base.Dialect."""

    name = "json"
    token_first = True
    greeted = True
    framed = False
    may_be_local = True

    def __init__(self, settings: Settings = DEFAULTS) -> None:
        self.replay = settings.replay
        self._style = _USUAL
        self.views = _USUAL_VIEWS
        self._named = False
        self._kept: dict[str, str] | None = None  # the settings of a person at a terminal, kept for its client
        self._line = bytearray()
        self._overlong = False
        self.pending = False
        self._found: list[bytes | None] = []  # at most a read's lines; a deque would take 700 bytes more

    def feed(self, data: bytes) -> int:
        *ended, rest = data.split(b"\n")
        for part in ended:
            line = bytes(self._line + part).removesuffix(b"\r")
            self._found.append(None if self._overlong or len(line) > LINE else line)
            self._line, self._overlong = bytearray(), False
        if rest:
            self._line += rest
            if self._overlong or len(self._line) > LINE + 1:  # a CR is not counted
                self._line, self._overlong = bytearray(), True
        self.pending = self._overlong or self._line != b""
        return len(ended)

    def next_input(self) -> Request | None:
        while self._found:
            line = self._found.pop(0)
            ref = ""
            try:
                if line is None:
                    raise LineTooLong(LINE, "done")
                if line.strip():
                    request = parse(line)
                    ref = _ref_of(request)
                    return Request(self._command(request), ref)
            except ChatError as error:
                return Request(error.without_stack(), ref)
        return None

    def _command(self, request: dict[str, Any]) -> commands.Command:
        kind = request.get("type")
        if not isinstance(kind, str) or kind not in REQUESTS:
            raise UnknownType(kind if isinstance(kind, str) else None)
        if (kind == "hello") is self._named and kind != "quit":  # quit may come before hello, too
            raise BadRequest("hello must be the first request, and may come only once.")
        make, wanted = REQUESTS[kind]
        arguments = {}
        for field in wanted:
            value = request.get(field.name)
            if value is None:
                if field.required:
                    raise BadRequest(f"{kind} needs {field.name}.")
                continue
            given = type(value)  # exactly: true and false are no numbers
            if given is not field.kind:
                raise BadRequest(f"{field.name} of {kind} must be {_KINDS[field.kind]}.")
            if given is int and value < 0:
                raise BadRequest(f"{field.name} of {kind} must not be below 0.")
            if given is str and not value.isascii() and _SURROGATE.search(value):
                raise BadJson("a string has half of a surrogate pair")
            arguments[field.argument] = value
        if kind == "hello":
            if "name" not in arguments and "token" not in arguments:
                raise BadRequest("hello needs a name or a token.")
            self._set_replay(self.replay if request.get("replay") is None else request["replay"])
            arguments["since"] = _since(request.get("since"))
        if arguments.get("place") and self._kept is None:
            self._kept = {}
        command = make(**arguments)
        return _meant(command) if kind == "typed" else command  # type: ignore[arg-type]

    def _set_replay(self, replay: object) -> None:
        if not isinstance(replay, int) or isinstance(replay, bool) or not 0 <= replay <= MAX_REPLAY:
            raise BadRequest(f"replay must be a number from 0 to {MAX_REPLAY}.")
        self.replay = replay

    def admitted(self, name: str) -> None:
        self._named = True

    def ask(self, command: commands.Command) -> bool:
        return False

    def hint(self) -> str:
        return ""

    def renamed(self, name: str) -> None:
        """Nothing that is shown depends on the name."""

    def ignoring(self, people: frozenset[int]) -> None:
        self._set_style(replace(self._style, ignored=people))

    def _set_style(self, style: _Style) -> None:
        self._style = style
        self.views = Views(_VIEWS.of(style), _VIEWS.of(style))

    def today(self, at: float) -> None:
        """Programs know the time."""

    def settings(self) -> dict[str, str] | None:
        """Programs keep theirs themselves, except for the client of a person who wants to come back."""
        return self._kept

    def set_option(self, name: str | None, value: str | None) -> str:
        if name is None:
            return f"Set: joins {'on' if self._style.joins else 'off'}, replay {self.replay}."
        if self._kept is not None and name in _KEPT and value and len(value) <= _KEPT_LENGTH and name != "replay":
            self._kept[name] = value
        elif name == "joins" and value in ("on", "off"):
            self._set_style(replace(self._style, joins=value == "on"))
        elif name == "replay" and value and _UP_TO_3_DIGITS.fullmatch(value) and int(value) <= MAX_REPLAY:
            self.replay = int(value)
            if self._kept is not None:
                self._kept[name] = value
        else:
            raise BadRequest(f"set takes joins on or off, and replay 0 to {MAX_REPLAY}.")
        return f"Set: {name} {value}."


# --- what we send -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Style:
    joins: bool = True
    ignored: frozenset[int] = frozenset()  # the numbers of the ignored people's tokens


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_quoted = json.encoder.encode_basestring  # what _encode does with a string


class JsonView:
    """How events look to a program. Immutable; see parcel.View."""

    __slots__ = ("_style", "__weakref__")

    def __init__(self, style: _Style) -> None:
        self._style = style

    def encode(self, shown: Sequence[events.Event]) -> bytes:
        lines = []
        ignored = self._style.ignored
        for event in shown:
            if isinstance(event, events.WireBytes):
                return event.data  # alone in its parcel
            told, ref = (event.event, event.ref) if isinstance(event, events.Answer) else (event, "")
            if isinstance(told, events.Message):
                if told.who not in ignored:
                    lines.append(_message_line(told))
            elif isinstance(told, events.Replay):
                lines += [_message_line(each) for each in told.messages if each.who not in ignored]
            elif isinstance(told, events.Greeting):
                lines.append(f"* Welcome to chat_threads {told.version}. Programs skip this line.")
            elif self._style.joins or not isinstance(told, (events.Presence, events.Renamed)):
                if isinstance(told, events.Presence) and told.who in ignored:
                    told = replace(told, words="")
                fields = _fields(told)
                lines.append(_encode({**fields, "ref": ref} if ref else fields))
        return "".join(line + "\n" for line in lines).encode("utf-8", "replace")


_VIEWS = SharedViews(JsonView)
_USUAL = _Style()
_USUAL_VIEWS = Views(_VIEWS.of(_USUAL), _VIEWS.of(_USUAL))


def _message_line(event: events.Message) -> str:
    """As codec.encode, but faster, because most of what is sent is messages."""
    return (
        f'{{"type":"message","room":{_quoted(event.room)},"number":{event.number},"at":"{codec.timestamp(event.at)}",'
        f'"from":{_quoted(event.sender)},"kind":"{event.kind}","text":{_quoted(event.text)}}}'
    )


_LIMITS = {
    "line": LINE,
    "text": TEXT_LENGTH,
    "lines": LINES,
    "words": WORDS_LENGTH,
    "ref": REF_LENGTH,
    "refs": REFS,
    "replay": MAX_REPLAY,
}


def _fields(event: events.Event) -> dict[str, Any]:
    if isinstance(event, events.HelpShown):
        return {"type": "help", **_help(event)}
    found = codec.encode(event)
    if isinstance(event, events.Welcome):
        found["limits"] = _LIMITS
    elif (texts := TEXTS.get(type(event))) and (lines := texts(event)):
        found["text"] = "\n".join(lines)
    return found


def _help(event: events.HelpShown) -> dict[str, Any]:
    """The types of requests; or what people who type lines on a page want to know: all commands, or one."""
    if event.about is None:
        useless = {kind.row.type for kind in commands.TYPED if kind.row.name in event.without}
        return {"requests": sorted(REQUESTS.keys() - useless)}
    if event.about in (commands.EVERYTHING, commands.TEXT):
        shown = [kind.row for kind in commands.TYPED if kind.row.name not in event.without]
        return {"commands": [{"usage": row.usage, "does": row.does} for row in shown]}
    row = commands.called(event.about).row
    text = "\n".join(help_lines(event, sys.maxsize))
    found = {"usage": row.usage, "does": row.does, "details": row.more, "aliases": list(row.aliases), "text": text}
    return {key: value for key, value in found.items() if value}
