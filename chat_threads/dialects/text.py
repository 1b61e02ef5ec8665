"""The dialect of people: lines of text over telnet, nc, or anything like them. See base.Dialect.

``typed`` says which command a line is, and ``render`` how people see events. A telnet client may send each key instead
of whole lines (``Mode``); then ``editing`` makes the lines, and ``screen`` draws. What /set changes is in
``preferences``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import Enum

from .. import commands, events
from ..errors import ChatError, LineTooLong, NotUtf8
from . import notices
from .amounts import time_span
from .asking import Form
from .base import DEFAULTS, Input, Request, Settings
from .editing import Editing, Wanted, Wish
from .preferences import Preferences
from .screen import END, LINE, Question, Screen, Situation, above
from .speech import typed
from .telnet import RETURN, LineEditor, Signal, Telnet, within
from .typed import (
    HINTS,
    UNSLASHED,
    has_cursor_keys,
    hint,
    is_for_the_room,
    is_shown,
    messages_in,
    parse_line,
    parse_name,
    too_long,
)

KEY = 5  # blank lines (see pace.BLANKS) that a key costs, besides what is drawn
EDIT = "/edit"  # among the settings that are kept
LETTER = 1.0  # seconds in which all bytes of a character come

# A mouse's position as X10 reports it. Beyond column 95 that is not UTF-8, but the line around it is good.
_MOUSE = re.compile(rb"\x1b\[M[^\x00-\x1f]{0,3}")
_HALF = re.compile(rb"[\xc2-\xf4][\x80-\xbf]{0,2}(/[a-zA-Z]+)(?!\S)")  # of a letter, before a command


class Mode(Enum):
    """What the client sends, and what it was asked for. ``TextDialect._changed`` handles the client's answers."""

    LINES = "whole lines"
    ASKED = "whole lines; it was asked for single keys"
    SILENT = "whole lines, without an answer so far, and the person was told so"
    KEYS = "single keys"


def _without_mouse(line: bytes) -> str:
    """The text of a line, which is UTF-8 except for reports of a mouse; raise NotUtf8."""
    try:
        return _MOUSE.sub(b"", line).decode("utf-8")
    except UnicodeDecodeError:
        raise NotUtf8() from None


class SpoiltLine(NotUtf8):
    """The client's telnet took some bytes of the line for its own, because it was asked for 8 bits only then."""

    advice = "Type it again."  # one row, because the telnet may not begin another one where it should


class TextDialect(Preferences):
    """A person's end of the conversation. See base.Dialect."""

    name = "text"
    token_first = False
    greeted = True
    framed = False
    may_be_local = True

    def __init__(self, settings: Settings = DEFAULTS, blocks: bool = True) -> None:
        super().__init__(settings.replay, blocks)
        self._telnet = Telnet()
        self._mode = Mode.LINES
        self._edits = False  # whether the person has wanted to edit lines, perhaps before they came back
        self._editor: LineEditor | Screen = LineEditor(LINE)
        self._screen: Screen | None = None  # with Mode.KEYS
        self._keys: Editing | None = None  # has the lines of a client that sends keys
        self._ended = b""  # what ends a screen, to be sent before anything else is shown
        self._note = ""  # to be said on the new screen
        self._obeyed = False  # whether a command may have changed the status line since it was last drawn
        self._current: Callable[[], str | None] = lambda: None  # see ``edit``
        self._believed: Callable[[], str | None] = lambda: None
        self._slow: Callable[[], int] = lambda: 0
        self._answers = 0  # to telnet, which nobody sees
        self._form: Form | None = None  # what the person is being asked
        self._hiding = False  # whether what is typed must not be seen
        self._told_shown = False  # whether the person was told that it was seen
        self._offered = False  # whether the person was told of /edit, or need not be
        self._told_of_keys = False  # whether the person was told that arrow keys need /edit on
        self._found: list[bytes | Signal | Input | None] = []  # at most a read's; a deque would take 700 bytes more
        self.pending = False

    def feed(self, data: bytes) -> int:
        ended, resized = 0, False
        for item in self._telnet.receive(data):
            if type(item) is bytes:
                waits = self._screen is not None and self._screen.question is not Question.OVER
                lines = self._editor.feed(item)
                self._found += lines
                ended += len(lines)
                if waits and not self.waits:
                    self._changed()
            elif item is Signal.CHANGED:
                self._changed()
            elif item is Signal.RESIZED:
                resized = True
            elif item is Signal.INTERRUPT and self._keys is not None:
                self._keys.interrupt()
            else:
                if item is Signal.INTERRUPT:
                    self._editor.feed(b"\x15")  # drop what was typed before it: half a password begins no other line
                self._answers += isinstance(item, events.WireBytes)
                self._found.append(item)
        if resized:  # once, however many sizes came: a new style takes its time
            self._changed()
        if self._mode is not Mode.LINES:
            ended += self._feed_more(len(data), ended)
        self.pending = self._editor.pending or self._telnet.pending
        return ended

    def next_input(self) -> Input | None:
        if self._keys is not None and (self._screen is None or self._screen.question is Question.OVER):
            if request := self._next_of_keys(self._keys):
                return request
        while self._found:
            item = self._found.pop(0)
            if item is None or type(item) is bytes:
                if request := self._request(item):
                    return request
            elif item is Signal.ANSWERS:
                self._make_offer()
            elif item is Signal.INTERRUPT and self._form is not None:
                if request := self._request(b""):
                    return request
            elif isinstance(item, Signal):
                return Request(commands.AreYouThere() if item is Signal.ARE_YOU_THERE else commands.Quit())
            else:
                return item  # type: ignore[return-value]
        return None

    def _mended(self, line: bytes) -> str:
        """The text of a line that is not UTF-8. If a telnet has lost a line in the middle of a letter, half of that
        letter stands before the next line. A command behind it is still a command. Raises NotUtf8."""
        if (half := _HALF.match(line)) and half[1].decode().lower() in commands.BY_NAME:
            line = line[half.start(1) :]
        try:
            return _without_mouse(line)
        except NotUtf8:
            if self._found and self._found[0] is RETURN:
                raise SpoiltLine() from None
            raise

    def _request(self, line: bytes | None) -> Request | None:
        """What a line asks for; None if it is blank, or answers a question."""
        if self._form is not None:
            return self._answered(self._form, line)
        if self._hiding:
            self._hide_no_more()
        try:
            if line is None:
                raise LineTooLong(LINE, "sent")
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError:
                text = self._mended(line)
            command = parse_line(text) if self._name else parse_name(text)
            if (text in HINTS or text[:4] in UNSLASHED) and self._name and (told := hint(text)):
                self._tell(told)
        except ChatError as error:
            return Request(error.without_stack())
        if "\x1b" in text and not self._told_of_keys and self._name and has_cursor_keys(text):
            self._told_of_keys = True
            self._tell(notices.CURSOR_KEYS)
        return None if command is None else Request(command)

    def admitted(self, name: str) -> None:
        self.renamed(name)
        self._found.append(Signal.ANSWERS)  # not yet: perhaps the person comes back, and edits lines again

    def hint(self) -> str:
        """Offer /edit to what may be a telnet: its lines end as telnet's do, but it has sent no commands of telnet."""
        if (
            self._offered
            or self._telnet.spoken
            or isinstance(self._editor, Screen)
            or self._editor.lf_alone is not False
        ):
            return ""
        self._offered = True
        return notices.OFFER

    # --- questions ------------------------------------------------------------------------------------------

    def ask(self, command: commands.Command) -> bool:
        later = self._take_input()
        self._form = Form(command)
        self._ask_next(self._form)
        self._found += later
        return True

    def _take_input(self) -> list[bytes | Signal | Input | None]:
        """Take the lines that have come already. What is to be sent stays: it goes out before the question."""
        found = self._found
        self._found = [item for item in found if isinstance(item, events.WireBytes)]
        return [item for item in found if not isinstance(item, events.WireBytes)]

    def _ask_next(self, form: Form) -> None:
        """Ask the next question. The client is asked not to show the answer, if nobody may see it."""
        hide = form.hidden
        if hide and not self._hiding:
            self._send(self._telnet.hide())
        self._tell(form.question.text)
        if hide and not self._hiding and self._telnet.hides is None and not self._told_shown:
            self._tell("In telnet, it is not shown as you type; in nc, it is.")
        self._hiding = hide
        if self._keys is not None:
            self._keys.hide(hide)

    def _answered(self, form: Form, line: bytes | None) -> Request | None:
        """A line answers a question; None: there is another one, or none any more. What is said of it comes before the
        lines that have come already."""
        later = self._take_input()
        request = self._take_answer(form, line)
        self._found += later
        return request

    def _take_answer(self, form: Form, line: bytes | None) -> Request | None:
        if line and self._hiding and not self._told_shown and self._telnet.shows:
            self._told_shown = True
            self._tell(notices.SHOWN)
        try:
            why = "That was too long." if line is None else form.answer(line.decode("utf-8"))
        except UnicodeDecodeError:
            why = "That was not UTF-8."
        command = None if form.ended else form.command
        if form.ended:
            self._tell(why if self._name else notices.OTHER_NAME)
        elif why:
            self._send(self.views.own.encode((events.Problem("", why),)))
        if not form.ended and command is None:
            self._ask_next(form)
            return None
        self._form = None
        if not (isinstance(command, commands.ChangePassword) and not command.new):  # a question follows
            self._hide_no_more()
            self._make_offer()
        return None if command is None else Request(command)

    def _hide_no_more(self) -> None:
        if self._hiding:
            self._hiding = False
            self._send(self._telnet.show())
            if self._keys is not None:
                self._keys.hide(False)

    @property
    def editing(self) -> bool:
        """Whether the client has a screen, or is about to have one."""
        return self._screen is not None

    @property
    def waits(self) -> bool:
        """Whether the screen waits until the terminal has said where the cursor is."""
        return self._screen is not None and self._screen.question is not Question.OVER

    @property
    def in_a_letter(self) -> bool:
        """Whether what has come ends in the middle of a character, and the client may be a telnet. If that lasts for
        LETTER seconds, it never ends. Other clients may only be slow."""
        if isinstance(self._editor, Screen) or not self._telnet.lost_a_letter:
            return False
        return self._telnet.spoken or not self._editor.lf_alone

    def pause(self) -> None:
        """Nothing has come from the client for a while: wait no longer for what it was asked, and draw what may look
        wrong."""
        if self.in_a_letter:
            self._editor = LineEditor(LINE)
            asked = self._telnet.forget_line()
            self._send(asked)
            self._tell(notices.LOST if asked else notices.LOST_AGAIN)
            self.pending = self._telnet.pending
        if self._mode is Mode.ASKED and self._form is None:
            self._unanswered()
        elif self._screen is not None and self.waits:
            self._screen.go_on()
            self._changed()
        elif self._screen is not None:
            self._screen.freshen()

    # --- single keys ----------------------------------------------------------------------------------------

    def edit(
        self,
        on: bool,
        current: Callable[[], str | None] = lambda: None,
        believed: Callable[[], str | None] | None = None,
        slow: Callable[[], int] = lambda: 0,
    ) -> str:
        """Ask the client for single keys, or for whole lines again; return the answer in words. ``draw`` has what is
        to be sent before it. ``current`` says which room is the current one, and ``believed`` which one the person may
        take for it, and ``slow`` how many seconds they must wait there between two messages. They do not wait."""
        self._current, self._believed, self._slow = current, believed or current, slow
        self._edits = on and not self._telnet.has_own_line
        if on and self._mode is Mode.LINES:
            if self._telnet.has_own_line:
                return notices.OWN_LINE
            self._mode = Mode.ASKED
            self._send(self._telnet.ask_key_by_key())
            if self._telnet.key_by_key:
                self._changed()
            return "Your program is asked to send each key as you press it."
        if on:
            asked = notices.UNANSWERED if self._mode is Mode.SILENT else "Your program has been asked already."
            return "/edit is on already." if self._mode is Mode.KEYS else asked
        if self._mode is Mode.LINES:
            return "/edit is off already."
        if self._mode is Mode.SILENT:  # it has perhaps just been found out, by this line
            self._found = [each for each in self._found if each != events.WireBytes(self._said(notices.UNANSWERED))]
        goes_on = "again" if self._mode is Mode.KEYS else "as before"
        self._to_lines()
        return f"Your program sends whole lines {goes_on}."

    def settings(self) -> dict[str, str]:
        return super().settings() | ({EDIT: "on"} if self._edits else {})

    def set_option(self, name: str | None, value: str | None) -> str:
        """Also whether lines are edited, for a person who comes back. Only a client that speaks telnet is asked."""
        if (name, value) != (EDIT, "on"):
            return super().set_option(name, value)
        self._edits = True
        if self._telnet.spoken and self._mode is Mode.LINES:
            self._offered = True
            self._found.append(Request(commands.Edit(True)))
        return self.edits

    @property
    def edits(self) -> str:
        """Whether lines are edited, in words, and how to change that."""
        if self._mode is Mode.KEYS:
            return "/edit is on. /edit off ends it."
        if self._mode is Mode.SILENT:
            return notices.UNANSWERED
        if self._mode is Mode.ASKED:
            return "/edit is not on yet: your program has been asked, and has not answered."
        if self._telnet.has_own_line:
            return notices.OWN_LINE
        return "/edit is off. Over telnet, /edit on keeps your line whole while others talk."

    def draw(self, situation: Situation, line: bytes = b"") -> bytes:
        """What is to be sent before anything is shown by the views that the dialect has now: the end of the screen, or
        whatever has changed on it. ``line`` is what has changed of the line."""
        drawn, self._ended = self._ended, b""
        if self._screen is not None:
            drawn += self._screen.draw(situation)
            if self._screen.editing.stale:  # all of it follows, because the cursor may be somewhere else
                line = b"\a" * line.endswith(b"\a")
            if self._note and not self.waits:
                drawn += self._said(self._note)
                self._note = ""
        return drawn + line

    @property
    def line(self) -> str:
        """The line that is being edited; "": there is none, or nobody may see it."""
        return "" if self._hiding or self._screen is None or not self._style.screen else self._screen.editing.text

    def unfinished(self) -> bytes:
        """What shows the line that is being edited among what was said; b"" if there is none."""
        return above(self.typed(self.line).encode("utf-8", "replace")) if self.line else b""

    def typed(self, text: str) -> str:
        """The lines that show what the person has typed."""
        return typed(self._style, text)

    def complete(self, candidates: Sequence[str]) -> None:
        """The answer to the last ``commands.Complete``: the words that fit, the likeliest first."""
        if self._keys is not None:
            self._keys.complete(candidates)

    def _changed(self) -> None:
        """The client has answered, withdrawn, or has a window of another size."""
        keys = self._telnet.key_by_key
        if self._screen is not None and keys:
            self._screen.resize(self._telnet.size)
        elif self._screen is not None:
            self._to_lines()
        elif self._mode is not Mode.LINES and keys:
            self._mode = Mode.KEYS
            self._screen = self._editor = Screen(self._telnet.size, self._answers, self._current, self._believed)
            self._keys = self._screen.editing
            self._obeyed = False
            self._keys.hide(self._hiding)
            self._note = "Your line stays whole now. Tab completes, Up goes back, /edit off ends it."
        elif self._mode is not Mode.LINES and keys is False:
            self._to_lines()
            self._tell(notices.OWN_LINE if self._telnet.has_own_line else notices.REFUSED)
        columns, fits = within(self._telnet.size)[0], self._telnet.knows_columns
        begun = self._style.screen or not self.waits
        self._set_style(columns=columns, fits=fits, screen=self._mode is Mode.KEYS and begun)
        if self._name:
            self._found.append(Request(commands.ShowScreen()))

    def _to_lines(self) -> None:
        if self._mode is Mode.KEYS:
            self._ended = END if self._style.screen else b""
            self._screen = None
            self._editor = LineEditor(LINE)
            self._set_style(screen=False)
        self._mode = Mode.LINES
        self._send(self._telnet.ask_whole_lines())
        if self._hiding:
            self._send(self._telnet.hide())

    def _feed_more(self, size: int, ended: int) -> int:
        """Bytes have come from a client that was asked for single keys; the number of blank lines that they cost."""
        if self._mode is Mode.KEYS:
            return KEY * size
        if self._mode is Mode.ASKED and ended:
            self._unanswered()
        return 0

    def _unanswered(self) -> None:
        self._mode = Mode.SILENT
        self._tell(notices.UNANSWERED)

    def _next_of_keys(self, keys: Editing) -> Request | events.WireBytes | None:
        """The next thing that the keys so far come to."""
        if self._obeyed and self._screen is not None:
            self._obeyed = False
            self._screen.begin_line()
            return Request(commands.ShowScreen())
        while (item := keys.next()) is not None:
            if type(item) is bytes:
                self._obeyed = item.startswith(b"/") or self._form is not None
                if request := self._request(item):
                    return request
            elif item in (Wish.LEAVE, Wish.STAY) and self._form is not None:
                if request := self._request(b""):
                    return request
            elif item is Wish.LEAVE:
                return Request(commands.Quit())
            elif isinstance(item, Wanted):
                return Request(commands.Complete(item.before))
            elif self._screen is None:  # the keys came before the screen ended
                continue
            elif isinstance(item, events.WireBytes):
                return Request(commands.ShowScreen(item.data, keys.take_pressed()))
            elif item is Wish.SEND:
                text = keys.text
                if problem := too_long(text):
                    keys.hold()
                    return Request(problem)
                if "\ufffd" in text:
                    keys.hold()
                    return events.WireBytes(self._said(notices.LOST_LETTER))
                moved = self._screen.moved()
                if moved and is_for_the_room(text) and not self._screen.is_confirmed(text):
                    keys.hold()
                    return events.WireBytes(self._said(notices.MOVED.format(*moved)))
                if "\n" in text and (seconds := self._slow()) and (count := messages_in(text)) > 1:
                    keys.hold()
                    return events.WireBytes(self._said(notices.TOO_MANY.format(count, time_span(seconds))))
                if "/" in text and self._form is None and is_shown(text):
                    return events.WireBytes(above(self.typed(text).encode("utf-8", "replace")))
            elif item in notices.OF_KEYS:
                return events.WireBytes(self._said(notices.OF_KEYS[item]))
            else:
                if item is Wish.REDRAW:
                    self._screen.redraw()
                return Request(commands.ShowScreen(pressed=keys.take_pressed()))
        if self._mode is not Mode.KEYS:
            self._keys = None
        return None

    def _make_offer(self) -> None:
        """Say to a person whose client speaks telnet that lines can be edited, once."""
        if self._telnet.answers and self._name and self._form is None and not self._offered:
            if self._mode is Mode.LINES and not self._telnet.has_own_line:
                self._tell(notices.OFFER)
            self._offered = True

    def _tell(self, text: str) -> None:
        self._send(self._said(text))

    def _send(self, data: bytes) -> None:
        if data:
            self._found.append(events.WireBytes(data))

    def _said(self, text: str) -> bytes:
        return self.views.own.encode((events.Notice(text),))
