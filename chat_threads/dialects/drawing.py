"""How the line that is being edited looks on a terminal, and the status line. Pure: text in, bytes out.

The terminal, not the server, remembers where the cursor belongs: it is saved between the two halves of the line. So the
cursor is right even where a terminal draws a character wider or narrower than ``columns`` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..letters import clusters
from ..rules import TAB
from .columns import columns, shortened

MOST = 250  # columns that the line uses of a wider terminal: a bound on the work
_WIDEST = 1000  # columns of a status line
_NAMED = 12  # columns that a room, or one's own name, keeps in a status line that is too narrow for everything
_LEAST = 8  # columns for the text; a prompt that leaves fewer is not drawn
_SPARE = 3  # columns right of the cursor, if there is more text: for a wide letter, and the sign that there is more
_STEP = 8  # columns by which a long line moves to the left as it grows
_EXAMINED = 8  # characters for each column: few letters have more in one column
_DRAWN = 32  # characters that are drawn of one letter

_SAVE, _RESTORE, _ERASE = "\x1b7", "\x1b8", "\x1b[K"
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"
_SIGNS = str.maketrans({"\n": "↵", "\t": " " * TAB})  # how line ends and tabs look in the line


class Drawing:
    """Draws the line into one row of the terminal. A line that is longer than the row is scrolled sideways, a little at
    a time, so that people see where they were. ``<`` and ``>`` stand where some of it is hidden. The row's last column
    stays free for the cursor.

    It remembers which part is shown, and what was drawn last, so that it draws only what has changed. The cost is
    bounded by the width. The caller sees to it that nothing else moves the cursor or writes into the row, or calls
    ``forget``.
    """

    def __init__(self) -> None:
        self._start = 0  # the first character that is shown
        self._drawn: tuple[str, str] | None = None  # what stands before the cursor, and after it
        self._shows: object = None  # what ``draw`` was last given

    @property
    def before(self) -> str:
        """What stands before the cursor, as it was drawn last."""
        return self._drawn[0] if self._drawn else ""

    def forget(self) -> None:
        """The row may show anything: draw everything next time."""
        self._drawn = None

    def draw(self, before: str, after: str, width: int, prompt: str = "> ", row: int | None = None) -> bytes:
        """The bytes that show a text and a cursor in it, on a terminal of ``width`` columns; b"" if nothing changes.

        The row is ``row``, counted from 1, or the one that the cursor is in. No part has harmful characters.
        """
        shows = before, after, width, prompt, row
        if shows == self._shows and self._drawn is not None:
            return b""
        self._shows = shows
        room = max(0, min(width, MOST) - 1)
        lead = columns(prompt)
        if room < lead + _LEAST:
            prompt, lead = "", 0
        left, right = self._window(before, after, room - lead)
        left = prompt + left
        was, self._drawn = self._drawn, (left, right)
        if was == self._drawn:
            return b""
        return (_changes(was, left, right) or _whole(left, right, row)).encode("utf-8", "replace")

    def _window(self, before: str, after: str, room: int) -> tuple[str, str]:
        """The parts of the text before and after the cursor that are shown in ``room`` columns."""
        if self._start and _fits(before + after, room):  # the window has become wider, or the line shorter
            self._start = 0
        spare = _SPARE if after and room > _LEAST else 0
        step = min(_STEP, room // 4)
        most = max(0, room - 1 - spare - step)  # columns before the cursor, after the line has moved
        shown, mark = before[self._start :], int(self._start > 0)
        if mark and _fits(shown + after, most - step):  # the row has space for more of the beginning
            self._start = len(before) - len("".join(_last(before, most - _all_columns(_letters(after)))))
        elif mark and (not shown or _fits(shown, room // 4)):
            begins = _fits(before, 2 * room // 3)
            self._start = 0 if begins else len(before) - len("".join(_last(before, room // 2)))
        elif not (_fits(shown, room - mark - spare) or _fits(shown + after, room - mark)):
            self._start = len(before) - len("".join(_last(before, most)))
        mark = min(room, self._start, 1)
        left = _letters(before[self._start :])
        examined = after[: _EXAMINED * (room + 1)]
        right = _letters(examined)
        room -= mark + _all_columns(left)
        if _all_columns(right) > room or len(examined) < len(after):
            right = [*_fitting(right, room - 1), ">" * min(room, 1)]
        return "<" * mark + _shown(left), _shown(right)


def status(name: str, room: str | None, people: int, unread: Sequence[str], width: int) -> str:
    """The text of a status line for a terminal of ``width`` columns: one's name, the current room, the number of people
    in it, and the rooms with messages that were not shown there. It is cut so that the last column stays free: some
    terminals scroll when the last one of the last row is written to. The room's name is cut first, if it is long, and
    then one's own. Blanks do not fill the row: in a narrower window, the terminal would wrap them, too.
    """
    most = min(width, _WIDEST) - 1
    if most < 1:
        return ""
    named = [name] if room is None else [name, room]
    left = most - sum(1 + min(_NAMED, columns(each)) for each in named) - (len(named) - 1)
    if left < 0:
        return shortened(" " + "  ".join(named), most)
    more = []
    for part in ("in no room" if room is None else f"{people} {'person' if people == 1 else 'people'}", unread):
        fitting = part if isinstance(part, str) else _new_in(part, left - 2)
        if fitting and columns(fitting) <= left - 2:
            more.append(fitting)
            left -= 2 + columns(fitting)
    wide = columns(" " + "  ".join([*named, *more])) - most
    for at in range(len(named) - 1, -1, -1):
        if wide > 0:
            least = min(_NAMED, columns(named[at]))
            narrower = shortened(named[at], max(least, columns(named[at]) - wide))
            wide -= columns(named[at]) - columns(narrower)
            named[at] = narrower
    return shortened(" " + "  ".join([*named, *more]), most)


def _new_in(rooms: Sequence[str], most: int) -> str:
    """The part of a status line about rooms with new messages, in at most ``most`` columns: as many names as fit; or
    how many there are; or ""."""
    said, whole = "new in", ""
    for count, room in enumerate(rooms[:_WIDEST], 1):
        said += f" {room}"
        if columns(said) + 2 * (count < len(rooms)) > most:
            break
        whole = said + " …" * (count < len(rooms))
    number = f"{len(rooms)} new" if rooms else ""
    return whole or (number if len(number) <= most else "")


def wrapped(text: str, width: int) -> tuple[int, int]:
    """How many rows of this width are above the last one of a text that a terminal wraps, and how many columns of that
    one it takes. A wide letter that does not fit begins the next row."""
    above, taken = 0, 0
    for size in map(_columns, _letters(text)):
        above, taken = (above + 1, size) if taken + size > width else (above, taken + size)
    return (above + 1, 0) if taken == width else (above, taken)


def _fits(text: str, room: int) -> bool:
    """Whether a text takes at most ``room`` columns."""
    if len(text) > _EXAMINED * (room + 1):
        return False
    return _all_columns(_letters(text)) <= room


def _last(text: str, room: int) -> list[str]:
    """The last letters, as many as fit into ``room`` columns."""
    return _fitting(reversed(clusters(text[-_EXAMINED * (room + 1) :])), room)[::-1]


def _fitting(letters: Iterable[str], room: int) -> list[str]:
    """The letters that come first, as many as fit."""
    found: list[str] = []
    for letter in letters:
        room -= _columns(letter)
        if room < 0:
            break
        found.append(letter)
    return found


def _letters(text: str) -> Sequence[str]:
    return text if text.isascii() else clusters(text)


def _all_columns(letters: Sequence[str]) -> int:
    """The columns of all these letters; if they are a text of ASCII, at once."""
    if isinstance(letters, str):
        return len(letters) + (TAB - 1) * letters.count("\t")
    return sum(map(_columns, letters))


def _columns(letter: str) -> int:
    return columns(letter[:_DRAWN].translate(_SIGNS))


def _shown(letters: Sequence[str]) -> str:
    """How letters are drawn."""
    if isinstance(letters, str):
        return letters.translate(_SIGNS)
    return "".join(letter[:_DRAWN] for letter in letters).translate(_SIGNS)


def _changes(was: tuple[str, str] | None, left: str, right: str) -> str:
    """The least that has to be sent after ``was`` was drawn; "" if that is the whole row. Where a terminal may draw a
    character wider or narrower than expected, only the whole row is safe."""
    if was is None or not (left + right).isascii():
        return ""
    if left + right == "".join(was):
        return f"\x1b[{len(left) + 1}G"
    if not right and not was[1] and left.startswith(was[0]):
        return left[len(was[0]) :]
    return ""


def _whole(left: str, right: str, row: int | None) -> str:
    """The whole row. No text wraps into the next one, even on a terminal that draws characters wider than expected."""
    line = (f"\x1b[{row};1H" if row else "\r") + left
    line += f"{_SAVE}{right}{_ERASE}{_RESTORE}" if right else _ERASE
    return line if (left + right).isascii() else f"{_NO_WRAP}{line}{_WRAP}"
