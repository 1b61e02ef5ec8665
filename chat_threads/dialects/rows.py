"""A text in rows that fit into a window. Pure: any thread.

Rows end at spaces, and beside Chinese and Japanese letters. A word that is wider than a row is broken between two
letters. Only an address such as ``https://...`` stays whole: the terminal wraps it by itself, and can open and copy it.
The measures of the last texts are remembered, because windows of many widths show the same message.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from operator import add

from ..letters import clusters, may_hang, script
from .columns import widest_of

_TEXTS = 16  # texts whose measures are remembered
_REMEMBERED = 20_000  # letters, likewise
# The most columns and characters of a letter, as long as it fits into a row. Each character of a larger one counts as a
# letter. A family of emoji has 8 columns or more in a terminal that does not join its characters.
_WIDEST, _LONGEST = 16, 32

_WORDS = re.compile("[^ ]+ *")

# An address that stays whole. The terminal may wrap it anywhere, so no part of it may look like the beginning of a line
# of somebody else, or of the server: it has no colon behind the port, and no *, ! or [. What follows has its own row.
_ADDRESS = re.compile(
    r"""[("'<]?[A-Za-z][A-Za-z0-9+.-]*://[\w.-]+(?::[0-9]{1,5})?(?:[/?#][\w\-.~/?#@$&'()+,;=%"<>]*)?""", re.ASCII
)

# How a letter goes with others. ``_HANGING``: it may belong to the letter before it. ``_BEGINS``
# and ``_ENDS``: signs of ASCII that do the same to the word beside them.
_ALONE, _OPENING, _CLOSING, _IN_WORD, _SPACE, _HANGING, _BEGINS, _ENDS = range(8)


_ASCII_SIGNS = {**dict.fromkeys("#([@", _BEGINS), **dict.fromkeys(".,;:!?)]", _ENDS)}


class _Letters(dict[str, tuple[int, int]]):
    """The columns of a letter, and how it goes with others. A cache, filled on first use."""

    def __missing__(self, letter: str) -> tuple[int, int]:
        found = widest_of(letter), _kind(letter)
        if len(self) < _REMEMBERED:
            self[letter] = found
        return found


_LETTERS = _Letters()


def _kind(letter: str) -> int:
    if letter == " ":
        return _SPACE
    if len(letter) == 1 and may_hang(letter):
        return _HANGING
    if "\u3000" <= letter[0] <= "\u30ff" or "\uff00" <= letter[0] <= "\uff65":  # the signs of East Asian print
        category = unicodedata.category(letter[0])
        if category in ("Ps", "Pi"):
            return _OPENING
        if category[0] == "P" or category == "Lm":
            return _CLOSING
    if letter.isascii():
        return _ASCII_SIGNS.get(letter, _IN_WORD)
    return _ALONE if script(letter[0]) in ("Han", "Kana") else _IN_WORD


def _parts(letter: str, most: int) -> Sequence[str]:
    return [letter] if len(letter) <= _LONGEST and _LETTERS[letter][0] <= most else letter


class _Measures:
    """Where the letters and words of a text begin and end. Positions are counted in letters. The characters of a letter
    that is wider than ``most`` columns count as letters."""

    __slots__ = ("text", "last", "begins", "ends", "_chars", "columns")

    def __init__(self, text: str, most: int) -> None:
        self.text = text
        self._chars: Sequence[int] | None = None  # before each letter, and at the end; None: a letter is a character
        self.columns: Sequence[int] = range(len(text) + 1)  # likewise
        self.begins: Sequence[int]  # of words, and where they end
        self.ends: Sequence[int]
        if text.isascii():
            words = _WORDS.findall(text)
            self.begins = [*accumulate(map(len, words), initial=len(text) - len(text.lstrip(" ")))]
            self.ends = [*map(add, self.begins, map(len, map(str.rstrip, words)))]
        else:
            self._measure_letters(text, most)
        self.last = self.ends[-1] if self.ends else 0

    def _measure_letters(self, text: str, most: int) -> None:
        letters: Sequence[str] = text
        found = [_LETTERS[letter] for letter in text]
        if any(kind == _HANGING for _, kind in found):
            letters = [part for letter in clusters(text) for part in _parts(letter, most)]
            found = [_LETTERS[letter] for letter in letters]
            self._chars = array("I", accumulate(map(len, letters), initial=0))
        self.columns = array("I", accumulate((each for each, _ in found), initial=0))
        self.begins, self.ends = begins, ends = array("I"), array("I")
        before = _SPACE
        for at, (_, kind) in enumerate(found):
            if kind == _SPACE != before:
                ends.append(at)
            elif kind != _SPACE and (before == _SPACE or _may_part(before, kind)):
                if before != _SPACE:
                    ends.append(at)
                begins.append(at)
            before = kind
        if before != _SPACE:
            ends.append(len(letters))

    def part(self, begin: int, end: int) -> str:
        return self.text[begin:end] if self._chars is None else self.text[self._chars[begin] : self._chars[end]]


def _may_part(before: int, after: int) -> bool:
    """Whether a row may end between letters of these kinds, neither of which is a space."""
    if before in (_OPENING, _BEGINS) or after in (_CLOSING, _ENDS):
        return False
    return before in (_ALONE, _CLOSING) or after in (_ALONE, _OPENING)


_measures = lru_cache(_TEXTS)(_Measures)


def rows(text: str, most: int, first: int | None = None) -> list[str]:
    """The text in rows of at most ``most`` columns, without the spaces at their ends. The first row has at most
    ``first`` columns; it may be empty then. A row that ends with an address may be wider. Spaces before the first word
    stay if they take at most half of a row, even if the word has to be broken: they are the indentation of code.
    """
    measures = _measures(text, min(most, _WIDEST))
    columns, begins, ends, last = measures.columns, measures.begins, measures.ends, measures.last
    found, begin, room = [], 0, most if first is None else max(0, first)
    while columns[last] - columns[begin] > room:
        reach = bisect_right(columns, columns[begin] + room) - 1  # where the row is full
        fitting = bisect_right(ends, reach)  # words of the text that end there or before
        word = begins[fitting]  # the next one
        whole = columns[ends[fitting]] - columns[word] <= most  # whether it fits into a row of its own
        if not whole and begin <= word < reach and _ADDRESS.fullmatch(measures.part(word, ends[fitting])):
            end, following = ends[fitting], begins[fitting + 1] if ends[fitting] < last else last
        elif begin == fitting == 0 < word and room < most:  # code keeps its indentation
            end = following = 0
        elif begin == fitting == 0 < word <= most // 2 and not _ADDRESS.fullmatch(measures.part(word, ends[0])):
            end = following = reach
        elif word >= begin and (word >= reach or whole) and (word > begin or room < most):
            end, following = max(begin, ends[fitting - 1] if fitting else 0), word
        else:
            end = following = reach if reach > begin or room < most else begin + 1
        if end > begin or room < most:
            found.append(measures.part(begin, end))
        begin, room = following, most
    return [*found, measures.part(begin, last)] if begin < last or not found else found


def wrapped(text: str, most: int, later: str = "") -> list[str]:
    """The text in rows of at most ``most`` columns, of which every one but the first begins with ``later``."""
    first, *others = rows(text, most - len(later), most)
    return [first, *(later + each for each in others)]
