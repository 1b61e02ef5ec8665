"""The line that is being edited, with the commands of GNU readline, its history, and the completion of words.

The cursor stands between letters as readers see them (see ``letters.clusters``), so that one key moves over, or erases,
a letter with all its marks or an emoji with all its parts. Pure: no terminal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ..letters import clusters, first_letter, last_letter
from ..rules import without_harmful
from .asking import may_have_password
from .keys import Key

HISTORY = 50  # lines
HISTORY_BYTES = 1 << 14  # in all of them, and in what was changed in them
LINES = 100  # in one text, after a paste
CANDIDATES = 100  # for a completion
_WORD = 128  # characters that are examined to find a word

_BLANK_WORD = re.compile(r"\s*\S*")  # in the reversed text
_LAYOUT = re.compile("([\n\t])")


class Buffer:
    """A text and a cursor in it. The text has at most ``limit`` bytes of UTF-8, and no character that could harm a
    terminal; line ends and tabs in it come from a paste.

    The cost of a key is small, and does not depend on the characters: only those near the cursor are examined.
    """

    def __init__(self, limit: int) -> None:
        self.before = ""  # the text before the cursor
        self.after = ""
        self.full = False  # whether text did not fit, since the last key
        self.forgetful = False  # whether lines are not kept in the history, because they are passwords
        self._limit = limit
        self._unpasted = ""  # the text before the cursor, without what is being pasted
        self._refused = False  # whether that does not fit
        self._killed = ""
        self._killing = False  # whether the last key was a kill: then the next kill is added to it
        self._history: list[bytes] = []  # UTF-8, the latest last
        self._at = 0  # the line of the history that is shown; len(_history): none
        self._changed: dict[int, bytes] = {}  # lines as they were left: changed ones, and the unfinished new one
        self._turns: list[str] = []  # the word that is being completed, and its completions
        self._turn = 0  # which of them is shown

    @property
    def text(self) -> str:
        """The whole text."""
        return self.before + self.after

    # --- text ---------------------------------------------------------------------------------------------

    def insert(self, typed: str) -> None:
        """Put text at the cursor, without harmful characters. What does not fit is dropped, and all that follows it
        until the next key."""
        self._killing, self._turns = False, []
        self._insert("".join(each if each in "\n\t" else without_harmful(each) for each in _LAYOUT.split(typed)))

    def paste(self, part: str, first: bool) -> bool:
        """Put a part of a pasted text at the cursor. False: with it, the text does not fit, so nothing of it stays, and
        the parts that follow are dropped."""
        if first:
            self._unpasted, self._refused, self.full = self.before, False, False
        if not self._refused:
            self.insert(part)
            if self.full:
                self.before, self.full, self._refused = self._unpasted, False, True
                return False
        return True

    def _insert(self, text: str) -> None:
        if self.full or not text:
            return
        room = self._limit - _size(self.text)
        if _size(text) > room:
            text = text.encode()[:room].decode("utf-8", "ignore")
            self.full = True
        lines = LINES - 1 - self.text.count("\n")
        if text.count("\n") - (text.endswith("\n") and not self.after) > lines:  # the last line may have an end
            text = "\n".join(text.split("\n")[: lines + 1])
            self.full = True
        self.before += text

    # --- keys ---------------------------------------------------------------------------------------------

    def press(self, key: Key) -> bool:
        """Do what a key does; False if it can do nothing here."""
        state = self.before, self.after, self._at
        self.full = False
        if key not in _TURNS:
            self._turns = []
        killed = _KILLS.get(key)
        if killed:
            self._kill(*killed(self))
        else:
            self._killing = False
            _MOVES[key](self)
        return state != (self.before, self.after, self._at)

    def take(self) -> str:
        """Return the text, keep it in the history, and begin a new line."""
        text = self.text
        self.clear()
        line = text.encode()
        if self.forgetful:
            self._killed = ""  # the keys that erase keep what they erase
        elif text.strip() and line not in self._history[-1:] and not may_have_password(text):
            self._history = [*self._history, line][-HISTORY:]
            while sum(map(len, self._history)) > HISTORY_BYTES:
                del self._history[0]
        self._at = len(self._history)
        return text

    def clear(self) -> None:
        """Begin a new line without keeping this one."""
        self.before = self.after = self._unpasted = ""
        self.full = self._killing = False
        self._turns = []
        self._changed.clear()
        self._at = len(self._history)

    def _left(self) -> None:
        self._move(-last_letter(self.before))

    def _right(self) -> None:
        self._move(first_letter(self.after))

    def _home(self) -> None:
        self.before, self.after = "", self.text

    def _end(self) -> None:
        self.before, self.after = self.text, ""

    def _word_left(self) -> None:
        self._move(-_word_before(self.before))

    def _word_right(self) -> None:
        self._move(_word_after(self.after))

    def _move(self, steps: int) -> None:
        text, at = self.text, len(self.before) + steps
        self.before, self.after = text[:at], text[at:]

    def _backspace(self) -> None:
        self.before = self.before[: len(self.before) - last_letter(self.before)]

    def _delete(self) -> None:
        self.after = self.after[first_letter(self.after) :]

    # --- killed text --------------------------------------------------------------------------------------

    def _kill(self, before: int, after: int) -> None:
        """Remove and keep so many characters before and after the cursor."""
        at = len(self.before) - before
        if before or after:
            kept = self._killed if self._killing else ""
            self._killed = self.before[at:] + kept + self.after[:after]
            self._killing = True
        self.before, self.after = self.before[:at], self.after[after:]

    def _yank(self) -> None:
        self._insert(self._killed)

    # --- history ------------------------------------------------------------------------------------------

    def _up(self) -> None:
        self._show(self._at - 1)

    def _down(self) -> None:
        self._show(self._at + 1)

    def _show(self, at: int) -> None:
        """Show another line, and keep this one as it is until a line is taken."""
        newest = len(self._history)
        if not 0 <= at <= newest:
            return
        line = self.text.encode()
        self._changed.pop(self._at, None)
        if line != self._original(self._at):
            self._changed[self._at] = line
        self._at = at
        self.before, self.after = self._changed.get(at, self._original(at)).decode(), ""
        while sum(map(len, self._history)) + sum(map(len, self._changed.values())) > HISTORY_BYTES + self._limit:
            del self._changed[next(each for each in self._changed if each != newest)]

    def _original(self, at: int) -> bytes:
        return self._history[at] if at < len(self._history) else b""

    # --- completion ---------------------------------------------------------------------------------------

    def complete(self, candidates: Sequence[str]) -> bool:
        """Begin to complete the word before the cursor with the first of these; False if there is none. The keys
        COMPLETE and COMPLETE_BACK then show the others, and the word itself."""
        word = self.before.rpartition(" ")[2]
        begins = word == self.before
        self._turns = [word, *(each + self._separator(each, begins) for each in candidates[:CANDIDATES])]
        self._turn = 0
        self._turn_by(1)
        found = len(self._turns) > 1
        if len(self._turns) <= 2:  # nothing to choose from: the next Tab begins anew
            self._turns = []
        return found

    def _separator(self, word: str, begins: bool) -> str:
        """What follows a completed word: people are addressed at the beginning of a line."""
        if begins and not word.startswith(("/", "#")):
            return ": "
        return "" if self.after.startswith(" ") else " "

    @property
    def completing(self) -> bool:
        """Whether the keys show other completions of the same word."""
        return bool(self._turns)

    def _turn_by(self, steps: int) -> None:
        if not self._turns:
            return
        shown = self._turns[self._turn]
        self._turn = (self._turn + steps) % len(self._turns)
        before = self.before[: len(self.before) - len(shown)] + self._turns[self._turn]
        if _size(before + self.after) > self._limit:
            self._turns, self.full = [], True
        else:
            self.before = before


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _word_after(text: str) -> int:
    """The number of characters up to the end of the word."""
    return _up_to_the_word(clusters(text[:_WORD]))


def _word_before(text: str) -> int:
    """The number of characters back to the beginning of the word."""
    return _up_to_the_word(clusters(text[-_WORD:])[::-1])


def _up_to_the_word(letters: Sequence[str]) -> int:
    """The number of characters in the signs and blanks that come first, and in the word that follows them."""
    size, inside = 0, False
    for letter in letters:
        of_word = letter[0].isalnum() or letter[0] == "_"
        if inside and not of_word:
            break
        inside = of_word
        size += len(letter)
    return size


def _blank_word_before(text: str) -> int:
    """The number of characters back to the beginning of a word between blanks."""
    found = _BLANK_WORD.match(text[-_WORD:][::-1])
    return found.end() if found else 0


_MOVES: dict[Key, Callable[[Buffer], None]] = {
    Key.LEFT: Buffer._left,
    Key.RIGHT: Buffer._right,
    Key.HOME: Buffer._home,
    Key.END: Buffer._end,
    Key.WORD_LEFT: Buffer._word_left,
    Key.WORD_RIGHT: Buffer._word_right,
    Key.BACKSPACE: Buffer._backspace,
    Key.DELETE: Buffer._delete,
    Key.DELETE_OR_LEAVE: Buffer._delete,
    Key.UP: Buffer._up,
    Key.DOWN: Buffer._down,
    Key.YANK: Buffer._yank,
    Key.COMPLETE: lambda buffer: buffer._turn_by(1),
    Key.COMPLETE_BACK: lambda buffer: buffer._turn_by(-1),
}
# Each with the numbers of characters before and after the cursor that it removes.
_KILLS: dict[Key, Callable[[Buffer], tuple[int, int]]] = {
    Key.KILL_BEFORE: lambda buffer: (len(buffer.before), 0),
    Key.KILL_AFTER: lambda buffer: (0, len(buffer.after)),
    Key.KILL_BLANK_WORD: lambda buffer: (_blank_word_before(buffer.before), 0),
    Key.KILL_WORD_BEFORE: lambda buffer: (_word_before(buffer.before), 0),
    Key.KILL_WORD_AFTER: lambda buffer: (0, _word_after(buffer.after)),
}
_TURNS = (Key.COMPLETE, Key.COMPLETE_BACK)
