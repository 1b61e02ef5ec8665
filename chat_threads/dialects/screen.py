"""The screen of a client in edit mode: what others say above, the line being edited, and a status line below. Pure.

Above is a scroll region of the terminal (DECSTBM). What is said is drawn the same for everybody, however large their
windows: save the cursor, go to the last row of the region, show the text on a new line, go back. So the *terminal*
remembers where the person types, and a thousand sessions can share the bytes (see ``above``). Only the reader thread
draws the two lines below, by ``Screen``.

Before the two lines are drawn for the first time, or in a window of another size, the terminal is asked where its
cursor is (ECMA-48: DSR). They are drawn when it has answered, or when anything else has come from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from .drawing import status, wrapped
from .editing import Editing
from .options import ECHO, IAC, SGA, WONT
from .telnet import within

LINE = 8192  # bytes in a line, without its end

# Save the cursor; count rows within the region (DECOM), which goes to its first row; down to its last row; scroll.
_TO_REGION = b"\x1b7\x1b[?6h\x1b[999B\n"
_BACK = b"\x1b[?6l\x1b8"

AWARE = 2.0  # seconds after which the person has seen a question
FRESH = 2.0  # seconds after which what is typed may look wrong, because the person goes on typing

_BELOW = 2  # rows that the line and the status line take
_PASTES = "\x1b[?2004h"  # mark what is pasted (bracketed paste)

# Are you there? The answer comes as keys do. It wakes the reader thread, which then draws what has changed
# (ECMA-48: DSR).
STATUS = b"\x1b[5n"

# Where is the cursor? And the answer (ECMA-48: CPR), or the beginning of one.
_WHERE = "\x1b[6n"
_ANSWER = re.compile(rb"\x1b\[([0-9]{1,4});([0-9]{1,4})R")
_BEGUN = re.compile(rb"\x1b(?:\[[0-9]{0,4}(?:;[0-9]{0,4})?)?")

# Make way for the two lines: erase them in their rows. After a change of the window: where they are, from the
# cursor's row on. A terminal forgets the region when its window changes, so the rows of the two lines may hold what was
# said in the last moment. Then leave all rows as they are, and scroll.
_WHOLE = "\x1b[r"
_ERASE = "\x1b7\x1b[r\x1b8\r\x1b[J\n"
_SCROLL = "\x1b[r\x1b[999;1H\n\n"


def _moment(took: float | None) -> float:
    """How many seconds may have passed since the change of a window, if the terminal took so long to answer; None: it
    has not answered."""
    return 1.0 if took is None else max(0.05, 1.5 * took)


# The whole screen scrolls again, and the two lines are erased. The cursor stays where they began.
END = b"\x1b[?2004l\x1b[r\x1b[999;1H\x1b[2K\x1b[A\x1b[2K"

# The same when the conversation ends, and telnet shows again what one types (RFC 857, 858).
LAST = END + bytes((IAC, WONT, ECHO, IAC, WONT, SGA))


def above(lines: bytes) -> bytes:
    """Draw lines, which end in CR LF, into the region. Longer lines than the window wrap there."""
    return _TO_REGION + lines[:-2] + _BACK if lines else b""


@dataclass(frozen=True, slots=True)
class Situation:
    """What the status line shows, as the person's reader thread knows it."""

    name: str
    room: str | None  # the current one
    people: int  # in it
    rooms: Sequence[tuple[str, int]]  # those that the person is in, each with the number of its last message
    silent: float = float("inf")  # seconds since something was said in one of them
    lines: int = 0  # that the client was sent so far
    at: float = 0.0  # seconds, of a clock that only runs forward


class Question(Enum):
    """The question where the cursor is. Until it is over, nothing is drawn."""

    DUE = "not asked yet"
    ASKED = "not answered yet"
    OVER = "answered, or not waited for"


class Screen:
    """One client's screen. It belongs to the client's reader thread."""

    def __init__(
        self,
        size: tuple[int, int],
        unseen: int = 0,
        current: Callable[[], str | None] = lambda: None,
        believed: Callable[[], str | None] | None = None,
    ) -> None:
        """``unseen``: how many of the lines that the client was sent so far are not on the screen. ``current`` says
        which room is the current one, and ``believed`` which one the person may take for it. They do not wait."""
        self.editing = Editing(LINE)
        self._current, self._believed = current, believed or current
        self._begun: str | None = None  # the room in which the line was begun
        self._held: tuple[str, str | None] | None = None  # a line that is asked about, and the room then
        self._held_at = 0.0  # when it was asked first, by the clock of Situation
        self._at = 0.0  # the time now, as it was told last
        self._seen: dict[str, int] = {}  # by room: the last message when it was the current one, or first known
        self._status: object = None  # what the status line on the screen says; None: it is not there
        self._clear: str | None = None  # makes way for the two lines; "": they are there; None: see ``_begin``
        self._used = False  # whether keys have come since the last ``freshen``
        self._fresh = 0.0  # when both lines were drawn again for that, by the clock of Situation
        # Before the window changed: what stood before the cursor, and the rows.
        self._was: tuple[str, int] | None = None
        self._unseen = unseen
        self._size = size  # as the client told it: a terminal moves its contents even if the one within bounds stays
        self._columns, self._rows = within(size)
        self.question = Question.DUE
        self._asked = 0  # questions without an answer
        self._answer = b""  # the beginning of one
        self._cursor: tuple[int, int] | None = None  # its row and column, as the terminal has answered
        self._asked_at = Situation("", None, 0, ())  # what was known when it was asked
        self.editing.resize(self._columns, self._rows - 1)

    pending = False  # a line that has begun may take any time: it is short, and its bytes are here

    def feed(self, data: bytes) -> list[bytes | None]:
        """Take keys. The lines that they make come from ``editing.next``."""
        data, self._answer = self._answer + data, b""
        while self._asked and (found := _ANSWER.match(data)):
            data = data[found.end() :]
            self._asked -= 1
            if not self._asked:  # earlier ones were about windows of other sizes
                self.question, self._cursor = Question.OVER, (min(int(found[1]), self._rows), int(found[2]))
        if self._asked and _BEGUN.fullmatch(data):
            self._answer = data
        elif data:
            self.go_on()
            self._used = True
            if not self.editing.text:
                self.begin_line()
            self.editing.feed(data)
        return []

    def go_on(self) -> None:
        """Wait no longer for the terminal to say where the cursor is."""
        self.question, self._asked = Question.OVER, 0

    def resize(self, size: tuple[int, int]) -> None:
        """The window has another size, and the terminal has moved its contents, with the cursor."""
        if size != self._size:
            self._was = self._was or (self.editing.before, self._rows)
            self._size, (self._columns, self._rows) = size, within(size)
            self.question, self._cursor = Question.DUE, None
            self._draw_again(_ERASE)

    def redraw(self) -> None:
        """The two lines are in their rows, whatever else is written there now: draw both again."""
        self._draw_again(self._clear or _WHOLE)

    def freshen(self) -> None:
        """The person has typed, and pauses, or goes on for a while: draw both lines again, as the prompt of telnet's
        own (Ctrl-]) may have been there."""
        if self._used and self.question is Question.OVER:
            self._used, self._status = False, None
            self.editing.redraw()

    def _draw_again(self, clear: str) -> None:
        if self._clear is not None:
            self._clear = clear
        self.editing.resize(self._columns, self._rows - 1)

    def draw(self, situation: Situation) -> bytes:
        """What brings the screen up to date, but the line: the region if it has to be set, and the status line if it
        has changed. The cursor is in the line's row afterwards."""
        drawn = ""
        self._at = situation.at
        if self.question is Question.DUE:
            self.question, self._asked_at = Question.ASKED, situation
            self._asked += 1
            return _WHERE.encode()
        if self.question is Question.ASKED:
            return b""
        if situation.at - self._fresh >= FRESH:
            self._fresh = situation.at
            self.freshen()
        if self._clear != "":
            line = f"\x1b[{self._rows - 1};1H"
            clear = self._begin(situation.lines) if self._clear is None else self._clear
            if self._was and self._clear:
                clear = self._move(situation.silent, *self._was)
            drawn = f"{clear}\x1b[1;{self._rows - _BELOW}r{line}\x1b[J{_PASTES}"
            self._clear, self._status = "", None
            self._was = None
        says = situation.name, situation.room, situation.people, self._unread(situation), self._columns
        if says != self._status:  # to measure its letters takes longer than all else here
            self._status = says
            text = status(*says)
            drawn += f"\x1b7\x1b[{self._rows};1H\x1b[7m{text}\x1b[0m\x1b[K\x1b8"
        return drawn.encode("utf-8", "replace")

    def begin_line(self) -> None:
        """What is typed next belongs to the room that the person takes for the current one."""
        self._begun = self._believed()
        self._held = None

    def moved(self) -> tuple[str, str] | None:
        """The current room, and the one in which the line was begun, if that was another one."""
        begun, now = self._begun, self._current()
        if begun and now and begun != now:
            return now, begun
        self._begun = now
        return None

    def is_confirmed(self, line: str) -> bool:
        """Whether an Enter sends a line that was begun in another room: the second one does, unless the line has
        changed within AWARE seconds since the person was asked. Then that was typed ahead, and no answer."""
        asked, self._held = self._held, (line, self._current())
        if asked is None or asked[1] != self._held[1]:
            self._held_at = self._at
        if asked == self._held or self._at - self._held_at >= AWARE:
            self._begun, self._held = self._current(), None
        return self._held is None

    def _begin(self, lines: int) -> str:
        """Make way for the two lines, and move what is there to the bottom.

        The cursor says how many rows are ``used``. If it is not known, at least as many are as the client was sent
        ``lines``. The line feeds bring what was written last into the row ``used``, wherever it was. Blank rows at the
        top then move it down, and nothing is lost.
        """
        if self._cursor:
            row, column = self._cursor
            used = row - (column == 1) + max(0, lines - self._asked_at.lines - 1)  # the question counts as a line, too
        else:
            used = lines - self._unseen
        used = min(max(1, used), self._rows - _BELOW)
        down = self._rows - _BELOW - used
        return "\n" * (down + 1) + (f"\x1b[H\x1b[{down}L" if down else "")

    def _move(self, silent: float, before: str, rows: int) -> str:
        """Make way for the two lines in a window that has changed: it had ``rows``, and this stood ``before`` the
        cursor. The terminal has moved what is there, and the cursor is still in the line's row.

        In a narrower window, the two lines may have wrapped, and pushed rows at the top into the scrollback. A blank
        row there would be in the middle of what was said, so the rows that become free stay above the line. If there
        are free rows because the window is taller, the terminal had no more rows to show: they go to the top.
        """
        was_silent = self._asked_at.silent
        if silent < was_silent or was_silent < _moment(silent - was_silent if self._cursor else None):
            return _SCROLL
        if not self._cursor:
            return _ERASE
        row, column = self._cursor
        above, left = wrapped(before, self._columns)
        wraps = column == left + 1 != self._columns  # whether the terminal has wrapped the line before the cursor
        begins = max(1, row - above) if wraps else row
        down = min(self._rows - rows, self._rows - 1 - row)
        move = f"\x1b[H\x1b[{down}L" if down > 0 else f"\x1b[{self._rows};1H" + "\n" * (begins - self._rows + 1)
        return f"\x1b[r\x1b[{begins};1H\x1b[J{move}"

    def _unread(self, situation: Situation) -> list[str]:
        """The rooms in which something was said since they were the current one."""
        seen, self._seen = self._seen, {}
        for room, last in situation.rooms:
            self._seen[room] = last if room == situation.room else seen.get(room, last)
        return [room for room, last in situation.rooms if last > self._seen[room]]
