"""The dialect of people: lines of text over telnet, nc, or anything like them. See base.Dialect.

``typed`` says which command a line is, and ``render`` how people see events.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import replace
from typing import Any

from .. import commands, events
from ..errors import ChatError, LineTooLong, NotUtf8, Usage
from ..parcel import Views
from ..usage import NUMBER
from .base import DEFAULTS, Input, Request, Settings
from .render import Style, views
from .telnet import LineEditor, Signal, Telnet
from .typed import parse_line, parse_name

LINE = 8192  # bytes in a line, without its end
MAX_REPLAY = 200

# A mouse's position as X10 reports it. Beyond column 95 that is not UTF-8, but the line around it is good.
_MOUSE = re.compile(rb"\x1b\[M[^\x00-\x1f]{0,3}")


class TextDialect:
    """A person's end of the conversation. See base.Dialect."""

    name = "text"
    token_first = False
    greeted = True
    framed = False
    may_be_local = True

    def __init__(self, settings: Settings = DEFAULTS, blocks: bool = True) -> None:
        self.replay = settings.replay
        self._style = Style(blocks=blocks)
        self.views: Views = views(self._style)
        self._name = ""
        self._bell = False
        self._telnet = Telnet()
        self._editor = LineEditor(LINE)
        self._found: deque[bytes | Signal | events.WireBytes | None] = deque()
        self.pending = False

    def feed(self, data: bytes) -> int:
        ended = 0
        for item in self._telnet.receive(data):
            if type(item) is bytes:
                lines = self._editor.feed(item)
                self._found += lines
                ended += len(lines)
            else:
                self._found.append(item)
        self.pending = self._editor.pending or self._telnet.pending
        return ended

    def next_input(self) -> Input | None:
        while self._found:
            item = self._found.popleft()
            if item is None or type(item) is bytes:
                try:
                    command = self._parse(item)
                except ChatError as error:
                    return Request(error)
                if command is not None:
                    return Request(command)
            elif isinstance(item, events.WireBytes):
                return item
            elif item is Signal.CHANGED:
                self._set_style(columns=self._telnet.size[0])
                if self._name:
                    return Request(commands.ShowScreen())
            else:
                return Request(commands.AreYouThere() if item is Signal.ARE_YOU_THERE else commands.Quit())
        return None

    def _parse(self, line: bytes | None) -> commands.Command | None:
        if line is None:
            raise LineTooLong(LINE, "sent")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            try:
                text = _MOUSE.sub(b"", line).decode("utf-8")
            except UnicodeDecodeError:
                raise NotUtf8() from None
        return parse_line(text) if self._name else parse_name(text)

    def admitted(self, name: str) -> None:
        self.renamed(name)

    def renamed(self, name: str) -> None:
        self._name = name
        self._set_style(bell=name if self._bell else "")

    def ignoring(self, people: frozenset[int]) -> None:
        self._set_style(ignored=people)

    def _set_style(self, **changes: Any) -> None:
        style = replace(self._style, **changes)
        if style != self._style:
            self._style, self.views = style, views(style)

    def settings(self) -> dict[str, str]:
        return {
            "timestamps": self._style.timestamps,
            "numbers": _on_off(self._style.numbers),
            "colour": _on_off(self._style.colour),
            "bell": _on_off(self._bell),
            "joins": _on_off(self._style.joins),
            "replay": str(self.replay),
        }

    def set_option(self, name: str | None, value: str | None) -> str:
        if name is None:
            return "Set: " + ", ".join(f"{key} {value}" for key, value in self.settings().items()) + "."
        option, value = name.lower(), (value or "").lower()
        if option == "color":
            option = "colour"
        if option == "timestamps" and value in ("on", "off", "seconds"):
            self._set_style(timestamps=value)
        elif option == "bell" and value in _SWITCH:
            self._bell = _SWITCH[value]
            self._set_style(bell=self._name if self._bell else "")
        elif option in ("numbers", "colour", "joins") and value in _SWITCH:
            self._set_style(**{option: _SWITCH[value]})
        elif option == "replay" and NUMBER.fullmatch(value) and int(value) <= MAX_REPLAY:
            self.replay = int(value)
        else:
            raise Usage("/set OPTION VALUE. /help set lists the options.")
        return f"{option} is {value} now."


_SWITCH = {"on": True, "off": False}


def _on_off(value: bool) -> str:
    return "on" if value else "off"
