"""A line editor for clients that send each key as it is pressed. Pure: bytes in; lines and bytes to draw out.

``Keys`` makes keys of the bytes, ``Buffer`` edits the line, and ``Drawing`` shows it. The bytes come without telnet's
commands. However they are split between calls, the lines and the text are the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ..events import WireBytes
from ..rules import TAB, in_messages
from .asking import HIDDEN
from .buffer import Buffer
from .drawing import Drawing
from .keys import Key, Keys, Paste
from .typed import begins_command, indented_command

_NOT_HIDDEN = frozenset((Key.COMPLETE, Key.COMPLETE_BACK, Key.UP, Key.DOWN, Key.YANK))  # keys without effect in it
_ERASES = (Key.KILL_BEFORE, Key.INTERRUPT)  # all of the line, if the cursor is at its end
BATCH = 64  # keys, or pieces of text, between two drawings: a bound on the work that one drawing stands for
_WORK: dict[Key | str | Paste, int] = dict.fromkeys(
    (Key.WORD_LEFT, Key.WORD_RIGHT, Key.KILL_WORD_BEFORE, Key.KILL_WORD_AFTER), 8
)  # in keys


class Wish(Enum):
    """What a person asks for with a key, besides editing."""

    LEAVE = "Ctrl-C or Ctrl-D on an empty line"
    STAY = "Ctrl-C once more, after it has erased the line: perhaps by habit"
    REDRAW = "Ctrl-L"
    FULL = "text was dropped, because the line is full"
    REFUSED = "nothing of a pasted text was taken, because it does not fit"
    SEND = "Enter: the line is about to be sent, see Editing.hold"
    REFRESH = "whatever has changed is to be drawn, as the terminal is there"
    SCROLL_BACK = "Page Up, for the first time since the last line"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The completions of the last word in ``before`` are wanted: see Editing.complete."""

    before: str


Item = bytes | WireBytes | Wish | Wanted
"""A line without its end, bytes to send to the terminal, or something else to do."""


class Editing:
    """The line editor of one client. It belongs to the client's reader thread.

    What was pasted is shown, and sent when Enter is pressed.
    """

    def __init__(self, limit: int, columns: int = 80, row: int | None = None, prompt: str = "> ") -> None:
        """A line has at most ``limit`` bytes. See ``resize`` for the others."""
        self._buffer = Buffer(limit)
        self._keys = Keys()
        self._drawing = Drawing()
        self._typed: deque[Key | str | Paste] = deque()
        self._found: deque[Item] = deque()
        self._columns, self._row, self._prompt = columns, row, prompt
        self._stale = True  # whether the row may not show the line as it is
        self._hidden = False
        self._ring = False
        self._erased = False  # whether the last key was Ctrl-C, and erased the line
        self._sends = False  # whether the next key is Enter, and the line is about to be sent
        self._pressed = False  # whether a person has pressed a key since ``take_pressed``
        self._told: set[Wish] = set()  # what the person need not be told before the next line

    @property
    def text(self) -> str:
        """The line that is being edited."""
        return self._buffer.text

    @property
    def stale(self) -> bool:
        """Whether ``next`` draws something, even if nothing more is typed."""
        return self._stale

    @property
    def before(self) -> str:
        """What stands before the cursor, as the line was drawn last."""
        return self._drawing.before

    def take_pressed(self) -> bool:
        """Whether a person has pressed a key since the last call; what the terminal sends by itself is none."""
        pressed, self._pressed = self._pressed, False
        return pressed

    def feed(self, data: bytes) -> None:
        """Take bytes. Call ``next`` until it returns None before feeding more."""
        self._typed.extend(self._keys.feed(data))

    def interrupt(self) -> None:
        """Do what Ctrl-C does: some clients send a command of telnet's for it."""
        self._typed.append(Key.INTERRUPT)

    def next(self) -> Item | None:
        """What the bytes so far come to, in order; None: feed more.

        A drawing comes before the lines of the same batch of keys, so that Enter empties the line at once.
        """
        while not self._found and (self._typed or self._stale):
            self._work()
        return self._found.popleft() if self._found else None

    def complete(self, candidates: Sequence[str]) -> None:
        """Complete the word that was Wanted with the first of these words; Tab then shows the others."""
        self._ring = not self._buffer.complete(candidates)
        self._stale = True

    def hold(self) -> None:
        """After Wish.SEND: forget about that Enter, so that the line stays as it is; and about others typed with it, up
        to a key that erases the line."""
        typed = [*self._typed]
        erased = next((at for at, each in enumerate(typed) if each in _ERASES), len(typed))
        self._typed = deque([each for each in typed[:erased] if each is not Key.ENTER] + typed[erased:])
        self._sends = False
        self._ring = self._stale = True

    def hide(self, hidden: bool) -> None:
        """From now on, the line is not drawn, nor kept among the earlier lines, because it is a password; or it is."""
        self._hidden = hidden
        self._buffer.clear()
        self._buffer.forgetful = hidden
        self.redraw()

    def resize(self, columns: int, row: int | None = None) -> None:
        """The terminal has so many columns, and the line is in this row, counted from 1; None: in the cursor's row."""
        self._columns, self._row = columns, row
        self.redraw()

    def redraw(self) -> None:
        """The terminal may show anything in the line's row: ``next`` draws all of it."""
        self._drawing.forget()
        self._stale = True

    def _work(self) -> None:
        """Do what a batch of keys says, and draw."""
        work = 0
        while self._typed and work < BATCH:
            typed = self._typed.popleft()
            work += _WORK.get(typed, 1)
            if not self._do(typed):
                break
        if work >= BATCH:  # a drawing stands for each batch, whatever has changed
            self._drawing.forget()
        if self._buffer.full:
            self._tell(Wish.FULL)
        if self._sends:
            return
        line = ("", "") if self._hidden else (self._buffer.before, self._buffer.after)
        prompt = HIDDEN if self._hidden else self._prompt
        drawn = self._drawing.draw(*line, self._columns, prompt, self._row) + b"\a" * self._ring
        if drawn:
            self._found.appendleft(WireBytes(drawn))
        self._stale = self._ring = False
        if Wish.REDRAW in self._found:
            self.redraw()

    def _do(self, typed: Key | str | Paste) -> bool:
        """Do what was typed; False if what is found has to be handled before the next key."""
        buffer = self._buffer
        self._pressed |= typed is not Key.ANSWERED
        erased, self._erased = self._erased, False
        if isinstance(typed, str):
            buffer.insert(typed if not self._hidden else typed.replace("\n", ""))
        elif isinstance(typed, Paste):
            if not buffer.paste(typed.text, typed.first):
                self._ring = True
                self._found.append(Wish.REFUSED)
        elif typed is Key.ENTER:
            if buffer.text and not (self._hidden or self._sends):
                self._sends = True
                self._typed.appendleft(typed)
                self._found.append(Wish.SEND)
                return False
            self._sends = False
            self._told.clear()
            text = buffer.take()
            self._found.extend([text.encode()] if self._hidden else _lines(text))
            return not (self._hidden or text.startswith("/"))  # what follows may be a password
        elif typed is Key.INTERRUPT and buffer.text:
            self._told.clear()
            self._erased = True
            buffer.clear()
        elif typed is Key.INTERRUPT and erased:
            self._found.append(Wish.STAY)
        elif typed is Key.INTERRUPT or (typed is Key.DELETE_OR_LEAVE and not buffer.text):
            self._found.append(Wish.LEAVE)
        elif self._hidden and typed in _NOT_HIDDEN:
            self._ring = True
        elif typed in (Key.COMPLETE, Key.COMPLETE_BACK) and not buffer.completing:
            self._found.append(Wanted(buffer.before))
            return False
        elif typed is Key.REDRAW:
            self._found.append(Wish.REDRAW)
            return False
        elif typed is Key.SCROLL_BACK:
            self._tell(Wish.SCROLL_BACK)
        elif typed is Key.ANSWERED:
            self._found.append(Wish.REFRESH)
            return False
        else:
            buffer.press(typed)
        return True

    def _tell(self, wish: Wish) -> None:
        """Ring; and have the person told why, once for each line."""
        self._ring = True
        if wish not in self._told:
            self._told.add(wish)
            self._found.append(wish)


def _lines(text: str) -> list[bytes]:
    """The text as it is sent: in few messages, each of one line or more, with blanks in place of tabs.

    If it begins with a command, after blanks or not, all of it belongs to that command, so that nothing of a private
    line is said in public. Otherwise none of its lines is a command.
    """
    text = text.expandtabs(TAB)
    if "\n" not in text:
        return [text.encode()]
    first, *rest = in_messages(text) or [""]
    if begins_command(first) or indented_command(first):
        return ["\n".join([first, *rest]).encode()]
    return [("/" * (each[:1] == "/" and not each.startswith(("// ", "/*"))) + each).encode() for each in (first, *rest)]
