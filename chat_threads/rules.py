"""What people may type: names, room names, and texts that cannot harm a terminal.

Everything a person types passes through here before it is kept, queued or logged. The limits are the
protocol's, in characters; pure functions, any thread.
"""

from __future__ import annotations

import heapq
import re
import unicodedata
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from itertools import islice, pairwise

from .errors import BadName, BadRoom, NothingToSay, TooLong

NAME_LENGTH = 20
ROOM_LENGTH = 32
TEXT_LENGTH = 2000  # what is said in one line
WORDS_LENGTH = 200  # a topic, a reason to be away, words on leaving
REFS = 256  # requests that are remembered for each token, so that one sent again is known
LIKELY = 100  # names that a mistyped one is compared with
CLOSE_LOOKS = 3  # of these, how many are compared letter by letter

# Characters of a name or a room that are looked at: normalizing takes the square of a long row of combining
# marks, and everybody waits meanwhile. Four become one at most, so whatever is cut here is too long all the same.
_LOOKED_AT = 160

# Unicode calls these letters, but they are drawn as nothing.
_INVISIBLE_LETTERS = frozenset("\u115f\u1160\u3164\uffa0")

# What tells a terminal to do something instead of showing a character (ECMA-48, ECMA-35), in full. Each begins with
# ESC, or with the character from U+0080 to U+009F that is short for ESC and a letter. No part of this looks back over
# more than one control string, so the time it takes grows with the text and no faster.
_SEQUENCE = re.compile(
    # CSI: the mouse as X10 reports it, function keys of Linux' console, and all else, with parameters or cut short
    "(?:\x1b\\[|\x9b)(?:M[^\x00-\x1f]{0,3}|\\[[ -~]?|[0-?]*[ -/]*[@-~]?)"
    # SS2 and SS3: cursor keys, the keypad
    "|(?:\x1b[NO]|[\x8e\x8f])[0-9;]*[ -~]?"
    # OSC, DCS, APC, PM, SOS: up to BEL or ST. Where that is missing a terminal would take the rest of the line for it;
    # the one-character forms are likelier to come from a text that was decoded wrongly.
    "|(?:\x1b[PX\\]^_]|[\x90\x98\x9d-\x9f])[^\x07\x18\x1a\x1b\x80-\x9f]*(?:\x07|\x9c|\x1b\\\\)"
    "|\x1b[PX\\]^_][^\x00-\x1f\x80-\x9f\u2028\u2029]*"
    # character sets and the like
    "|\x1b(?:[!-/][ -/]*[0-~]?| [FGLMN])"
    # two characters; ESC before any other letter is the key, pressed by somebody who goes on writing
    "|\x1b[0-_clmno|}~]"
)

# Where a line ends (Unicode 5.8), and a tab: a space does instead, once for CR LF.
_BREAK = re.compile("\r\n|[\t-\r\x85\u2028\u2029]")

# What else must never reach another person's terminal: control characters C0, DEL and C1 (ECMA-48), direction marks,
# embeddings, overrides and isolates (UAX #9), zero-width space and no-break space, word joiner, deprecated format
# controls, interlinear annotation, lone surrogates. The joiners U+200C and U+200D stay: Persian and many emoji need
# them.
_HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)

MARKS = 8  # marks and joiners on one letter: the tallest stacks of Tibetan have as many, the flag of Wales six
_MANY_MARKS = re.compile(rf"[^\w\s!-~]{{{MARKS + 1},}}")  # marks are among these, and so are emoji

# What else is drawn as nothing: the empty braille pattern, the null notehead, the layout of hieroglyphs, and places
# that Unicode keeps for more of the kind.
_INVISIBLE_SYMBOL = re.compile(
    "[\u180f\u2800\ufff0-\ufff8\U0001d159\U00013430-\U0001343f\U00013441\U00013442\U000e0000-\U000e0fff]"
)


def _is_letter(char: str) -> bool:
    return unicodedata.category(char) in ("Lu", "Ll", "Lt", "Lo") and char not in _INVISIBLE_LETTERS


def _is_digit(char: str) -> bool:
    return "0" <= char <= "9"


def fold(name: str) -> str:
    """The form under which two spellings of a name or a room are the same."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name[:_LOOKED_AT]).casefold())


def check_name(typed: str) -> str:
    """Return the name as it is kept (composed, NFC); raise BadName, with a name near it that is allowed."""
    name = unicodedata.normalize("NFC", typed[:_LOOKED_AT])
    if (
        1 <= len(name) <= NAME_LENGTH
        and _is_letter(name[0])
        and all(_is_letter(c) or _is_digit(c) or c in "-_." for c in name)
    ):
        return name
    raise BadName(_nearest_name(without_sequences(name)))


def _nearest_name(typed: str) -> str | None:
    kept = "".join(c for c in typed if _is_letter(c) or _is_digit(c) or c in "-_.")
    kept = kept.lstrip("0123456789-_.")[:NAME_LENGTH]
    return kept or None


def free_name(wanted: str, taken: Callable[[str], bool]) -> str:
    """A name near ``wanted`` for which ``taken(name)`` is false: ann2, ann3, … ann10, and then in ever larger steps,
    because somebody may have taken hundreds."""
    number, step = 2, 1
    while True:
        suffix = str(number)
        candidate = wanted[: NAME_LENGTH - len(suffix)] + suffix
        if not taken(candidate):
            return candidate
        step = 2 * step if number >= 10 else step
        number += step


def check_room(typed: str) -> str:
    """Return the room's name as it is kept; raise BadRoom."""
    room = unicodedata.normalize("NFC", typed[:_LOOKED_AT])
    body = room[1:]
    if (
        room.startswith("#")
        and 1 <= len(body) <= ROOM_LENGTH
        and all(_is_letter(c) or _is_digit(c) or c in "-_" for c in body)
    ):
        return room
    raise BadRoom()


def without_sequences(text: str) -> str:
    """The text without what would tell a terminal to do something; other control characters stay."""
    return _SEQUENCE.sub("", text)


def clean(text: str) -> str:
    """The text without what could harm a terminal: escape sequences whole, control and direction characters.

    The end of a line and a tab become a space, blanks at the end go, and a letter keeps at most MARKS marks.
    """
    if not text.isprintable():  # as all of those are
        text = _HARMFUL.sub("", _BREAK.sub(" ", _SEQUENCE.sub("", text)))
    if not text.isascii():
        text = _MANY_MARKS.sub(_fewer_marks, text)
    return text.rstrip(" ")


def _fewer_marks(found: re.Match[str]) -> str:
    kept, marks = "", 0
    for char in found[0]:
        marks = marks + 1 if _is_mark(char) else 0
        if marks <= MARKS:
            kept += char
    return kept


def _is_mark(char: str) -> bool:
    """Whether it is drawn on what stands before it, or not at all."""
    return unicodedata.category(char) in ("Mn", "Mc", "Me", "Cf")


def _is_visible(char: str) -> bool:
    """Whether something is drawn for a character that stands alone."""
    return not (
        char.isspace()
        or unicodedata.category(char) in ("Mn", "Mc", "Me")
        or unicodedata.bidirectional(char) == "BN"  # soft hyphens, joiners, tags, but not the signs over Arabic numbers
        or char in _INVISIBLE_LETTERS
        or _INVISIBLE_SYMBOL.match(char)
    )


def check_text(typed: str, limit: int = TEXT_LENGTH) -> str:
    """A text to be said: cleaned, not blank, at most ``limit`` characters; raise NothingToSay or TooLong."""
    text = clean(typed)
    if len(text) > limit:
        raise TooLong(f"That is {len(text)} characters, and at most {limit} go in one line. Nothing was sent.")
    if not any(map(_is_visible, text)):
        raise NothingToSay()
    return text


def check_words(typed: str) -> str:
    """A topic, a reason or a farewell: cleaned, "" if blank, at most WORDS_LENGTH; raise TooLong."""
    text = clean(typed).strip()
    if len(text) > WORDS_LENGTH:
        raise TooLong(f"That is {len(text)} characters, and at most {WORDS_LENGTH} are kept here. Nothing was changed.")
    return text if any(map(_is_visible, text)) else ""


def nearest(typed: str, names: Iterable[str]) -> str | None:
    """The name that looks most like what was typed, or None if none is near it: what somebody may have meant.

    Looks at the first LIKELY names, and closely only at the few that share most letters with it: a close look at one
    takes as long as obeying a usual command does.
    """
    typed = typed[:ROOM_LENGTH]
    wanted = _features(typed)
    likely = heapq.nlargest(
        CLOSE_LOOKS, islice(names, LIKELY), lambda name: 2 * len(wanted & _features(name)) - len(name)
    )
    return next(iter(get_close_matches(typed, likely, 1)), None)


def _features(name: str) -> set[str]:
    """Its characters, and each two that stand side by side."""
    name = name[:ROOM_LENGTH]
    return {*name, *map("".join, pairwise(name))}
