"""Rules for everything that people type: names, room names, and texts that cannot harm a terminal.

All input from people passes these checks before it is kept, queued or logged. The limits are those of the protocol, in
characters. Pure functions, any thread.
"""

from __future__ import annotations

import heapq
import re
import unicodedata
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice, pairwise

from .errors import BadName, BadRoom, MixedName, NothingToSay, ReservedName, TextTooLong, TooManyLines, WordsTooLong
from .letters import (
    COMMON,
    JOINERS,
    begins_name,
    clusters,
    in_identifier,
    in_name,
    is_mark,
    joins,
    script,
    scripts,
    written_together,
)
from .lookalikes import in_latin, looks

NAME_LENGTH = 20
ROOM_LENGTH = 32
TEXT_LENGTH = 2000  # a message
LINES = 40  # lines in it

WORDS_LENGTH = 200  # a topic, a reason to be away, words on leaving
REFS = 256  # requests that are remembered for each token, to recognise a request that is sent again
LIKELY = 100  # names that are compared with a mistyped name
CLOSE_LOOKS = 3  # of these, the number that are compared letter by letter

# Characters of a name or a room that are examined: the time to normalise grows with the square of a long row of
# combining marks, and everybody waits for it. At most four become one, so a text that is cut here is too long anyway.
_LOOKED_AT = 160

_PER_LETTER = 3  # code points in a name or a room, for each letter that it may have

# Names and rooms in ASCII that are allowed, except RESERVED names.
_PLAIN_NAME = re.compile(f"[A-Za-z][A-Za-z0-9._-]{{0,{NAME_LENGTH - 1}}}")
_PLAIN_ROOM = re.compile(f"#[A-Za-z0-9_-]{{1,{ROOM_LENGTH}}}")

# Letters of living languages that NFKC decomposes: Thai and Lao am, Lao's two digraphs, Armenian ev, Kazakh's high
# hamza, the letters of Hangul. They stay as they are typed. Other characters that NFKC changes are forms of plain
# characters (ligatures, full width, mathematical letters), and become plain.
_WHOLE = frozenset([*"\u0e33\u0eb3\u0edc\u0edd\u0587\u0675\u0676\u0677\u0678", *map(chr, range(0x3131, 0x318F))])

_WIDE_SIGNS = frozenset("＃－．＿")  # as Japanese keyboards produce them

# Letters in Unicode that are invisible.
_INVISIBLE_LETTERS = frozenset("\u115f\u1160\u3164\uffa0")

# Names that the server's own lines use, names that sound like the operator's, and those to which people who know other
# chats send their passwords.
RESERVED = frozenset(
    "you yourself all everyone everybody anyone anybody nobody others here channel room server system service root"
    " superuser admin administrator sysadmin sysop operator moderator mod owner staff support security"
    " chatthreads nickserv chanserv".split()
)

# Whole sequences that make a terminal act instead of showing a character (ECMA-48, ECMA-35). Each begins with ESC, or
# with the character from U+0080 to U+009F that stands for ESC and a letter. No part of the pattern goes back over more
# than one control string, so the time is linear in the length of the text.
_SEQUENCE = re.compile(
    # CSI: the mouse as X10 reports it, function keys of Linux' console, and all else, with parameters or cut short
    "(?:\x1b\\[|\x9b)(?:M[^\x00-\x1f]{0,3}|\\[[ -~]?|[0-?]*[ -/]*[@-~]?)"
    # SS2 and SS3: cursor keys, the keypad
    "|(?:\x1b[NO]|[\x8e\x8f])[0-9;]*[ -~]?"
    # OSC, DCS, APC, PM, SOS, the title of screen and tmux: up to BEL or ST. Where that is missing a terminal would take
    # the rest of the line for it; the one-character forms are likelier from a text that was decoded wrongly, and
    # ESC k from the key.
    "|(?:\x1b[PX\\]^_k]|[\x90\x98\x9d-\x9f])[^\x07\x18\x1a\x1b\x80-\x9f]*(?:\x07|\x9c|\x1b\\\\)"
    "|\x1b[PX\\]^_][^\x00-\x1f\x80-\x9f\u2028\u2029]*"
    # character sets and the like
    "|\x1b(?:[!-/][ -/]*[0-~]?| [FGLMN])"
    # two characters; ESC before any other letter is the key, pressed by somebody who goes on writing
    "|\x1b[0-_clmno|}~]"
)

# Line ends (Unicode 5.8). Each becomes a space; CR LF becomes one. A tab becomes spaces up to the next tab stop.
_BREAK = re.compile("\r\n|[\n-\r\x85\u2028\u2029]")
TAB = 4  # columns from one tab stop to the next, as on the page for browsers

# Other characters that must never reach another person's terminal: control characters C0, DEL and C1 (ECMA-48),
# direction marks, embeddings, overrides and isolates (UAX #9), zero-width space and no-break space, word joiner,
# deprecated format controls, interlinear annotation, lone surrogates. The joiners U+200C and U+200D stay: Persian and
# many emoji need them.
_HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)

MARKS = 8  # marks and joiners on one letter: the tallest stacks of Tibetan have as many, the flag of Wales six
_MANY_MARKS = re.compile(rf"[^\w\s!-~]{{{MARKS + 1},}}")  # marks are among these, and so are emoji

# Other invisible symbols: the empty braille pattern, the null notehead, the layout of hieroglyphs, and code points
# that Unicode reserves for more of them.
_INVISIBLE_SYMBOL = re.compile(
    "[\u180f\u2800\ufff0-\ufff8\U0001d159\U00013430-\U0001343f\U00013441\U00013442\U000e0000-\U000e0fff]"
)


def fold(name: str) -> str:
    """The form in which two spellings of the same name or room are equal."""
    if name.isascii():
        return name[:_LOOKED_AT].lower()
    folded = unicodedata.normalize("NFKC", name[:_LOOKED_AT]).casefold()
    return unicodedata.normalize("NFKC", folded).translate(_NO_JOINERS)


_NO_JOINERS = dict.fromkeys(map(ord, JOINERS))


def check_name(typed: str) -> str:
    """Return the name as it is kept: composed, in plain forms. Raise BadName, with a similar name that is allowed.

    A name is an identifier of Unicode's (UAX #31) in one script, or in scripts that are written together (UTS #39,
    "highly restrictive"). Its length is counted in letters, each with its marks.
    """
    if _PLAIN_NAME.fullmatch(typed) and not is_reserved(typed):  # most are
        return typed
    name = _kept(typed)
    if not _is_name(name):
        near = _nearest_name(without_sequences(typed[:_LOOKED_AT]))
        raise BadName(near, "A name has no spaces.") if near and " " in name.strip() else BadName(near)
    used = scripts(name)
    if not written_together(used):
        raise MixedName(" and ".join(used), _nearest_name(name))
    if is_reserved(name):
        raise ReservedName(name, free_name(name, is_reserved))
    return name


def is_reserved(name: str) -> bool:
    """Whether a name is one of RESERVED: in any case, with look-alike letters or digits, or with signs in it.

    Ali is not all: a small i is not an l. Only a capital I among small letters counts as an l.
    """
    plain = name.replace("I", "l")
    shown = looks(plain if plain[1:].islower() else name)
    return any(look.translate(reading).replace("rn", "m") in RESERVED for look in shown for reading in _READINGS)


_READINGS = (str.maketrans("103457", "loeast", "-_."), str.maketrans("1l03457", "iioeast", "-_."))


def _is_name(name: str) -> bool:
    return _has_length(name, NAME_LENGTH) and begins_name(name[0]) and _sifted(name, "-_.") == name


def _has_length(word: str, most: int) -> bool:
    return 1 <= len(word) <= most * _PER_LETTER and len(clusters(word)) <= most


def _kept(typed: str) -> str:
    """The form in which a name or a room is kept: NFC, in plain characters."""
    word = unicodedata.normalize("NFC", typed[:_LOOKED_AT])
    if word.isascii():
        return word
    plain = [
        unicodedata.normalize("NFKC", char) if char not in _WHOLE and (in_name(char) or char in _WIDE_SIGNS) else char
        for char in word
    ]
    return unicodedata.normalize("NFC", "".join(plain))


def _sifted(typed: str, signs: str) -> str:
    """The text without the characters that a name may not have: letters, marks, digits and ``signs`` stay."""
    kept, marks = "", 0
    for at, char in enumerate(typed):
        last = kept[-1:]
        if is_mark(char):
            marks += 1
            if not in_identifier(char) or last in signs or marks > MARKS or (last == char and marks > 1):
                continue
        elif char in JOINERS:
            if last in JOINERS or not joins(kept, char, typed[at + 1 :]):
                continue
        elif char in signs or in_name(char):
            if not kept and char not in signs and not in_identifier(char):
                continue
            marks = 0
        else:
            continue
        kept += char
    return kept


def _nearest_name(typed: str) -> str | None:
    """An allowed name that looks like the typed text, or None. Digits at the beginning go to the end: pat9 for 9pat."""
    first = _FIRST_DIGITS.match(typed.strip())
    number = first[0] if first else ""
    word = unicodedata.normalize("NFC", typed[:_LOOKED_AT])[: NAME_LENGTH * (_PER_LETTER + 1)]
    for _ in range(3):  # removing a character may bring two together that then compose
        word = _kept(_sifted("".join(map(_spelled_out, word)), "-_."))
        while word and not begins_name(word[0]):
            word = word[1:]
        word = _shortened(_one_script(word), NAME_LENGTH)
        if word and number:
            word, number = _shortened(word, NAME_LENGTH - len(number)) + number, ""
        if word == _kept(word) and _is_name(word) and written_together(scripts(word)):
            return free_name(word, is_reserved) if is_reserved(word) else word
    return None


_FIRST_DIGITS = re.compile("[0-9]{1,4}(?![0-9])")


def _spelled_out(char: str) -> str:
    """The plain form of a character, if a name may contain it: ² becomes 2."""
    plain = unicodedata.normalize("NFKC", char)
    return plain if char not in _WHOLE and all(map(in_name, plain)) else char


def _one_script(word: str) -> str:
    """The word in one script: in Latin if all letters look Latin; otherwise in the script of most letters."""
    used = scripts(word)
    if written_together(used):
        return word
    if scripts(look := in_latin(word)) in ([], ["Latin"]):
        return look
    most = max(used, key=lambda each: sum(script(char) == each for char in word))
    return "".join(char for char in word if written_together([most, *({script(char)} - {most, COMMON})]))


def _shortened(word: str, letters: int) -> str:
    """The first ``letters`` letters, each with its vowel signs."""
    short, size = "", 0
    for each in clusters(word)[:letters]:
        size += len(each)
        if size > letters * _PER_LETTER:
            break
        short += each
    return _sifted(short, "-_.")  # a joiner at the end joins nothing


def free_name(wanted: str, taken: Callable[[str], bool]) -> str:
    """A name near ``wanted`` for which ``taken(name)`` is false: ann2, ann3, … ann10, and then with growing steps,
    because somebody may have taken hundreds. After ann2 comes ann3."""
    numbered = _NUMBERED.fullmatch(wanted)
    stem, number = (numbered[1], int(numbered[2]) + 1) if numbered else (wanted, 2)
    tried, step = 1, 1
    while True:
        suffix = str(number)
        candidate = _shortened(stem, NAME_LENGTH - len(suffix)) + suffix
        if not taken(candidate):
            return candidate
        tried += 1
        step = 2 * step if tried >= 10 else step
        number += step


_NUMBERED = re.compile("(.*[^0-9])([1-9][0-9]?)", re.ASCII)


def check_room(typed: str) -> str:
    """Return the room's name as it is kept; raise BadRoom, with the name after a ``#`` if only that is missing."""
    if _PLAIN_ROOM.fullmatch(typed):  # most are
        return typed
    room = _kept(typed)
    if is_room(room):
        return room
    raise BadRoom("#" + room if is_room("#" + room) else None)


def is_room(room: str) -> bool:
    """Whether this is a room's name in the form in which it is kept."""
    body = room[1:]
    return (
        room.startswith("#")
        and _has_length(body, ROOM_LENGTH)
        and (in_identifier(body[0]) or body[0] in "-_")
        and _sifted(body, "-_") == body
    )


def without_sequences(text: str) -> str:
    """The text without escape sequences; other control characters stay."""
    return _SEQUENCE.sub("", text)


def without_harmful(text: str) -> str:
    """The text without control and direction characters; nothing becomes a space."""
    return text if text.isprintable() else _HARMFUL.sub("", text)


def clean(text: str) -> str:
    """The text without anything that could harm a terminal: whole escape sequences, control and direction characters.

    Line ends become a space, tabs become spaces, blanks at the end are removed, and a letter keeps at most MARKS marks.
    """
    if not text.isprintable():  # all harmful characters are not
        text = _HARMFUL.sub("", _BREAK.sub(" ", _SEQUENCE.sub("", text)).expandtabs(TAB))
    if not text.isascii():
        text = _MANY_MARKS.sub(_fewer_marks, text)
    return text.rstrip(" ") if text[-1:] == " " else text


def clean_lines(text: str) -> str:
    """As ``clean``, but LF ends a line and stays."""
    return "\n".join(map(clean, text.split("\n"))) if "\n" in text else clean(text)


def _trimmed(text: str) -> str:
    """The text without blank lines before and after it."""
    text = text.rstrip()
    blank = len(text) - len(text.lstrip())
    return text[text.rfind("\n", 0, blank) + 1 :]


def in_messages(text: str) -> list[str]:
    """The lines of a text in as few messages as possible: LF is between the lines of each. A line that is too long for
    a message is one of its own."""
    found: list[str] = []
    room = 0  # lines that the last message may have besides its first
    for line in text.split("\n"):
        if room and len(found[-1]) + 1 + len(line) <= TEXT_LENGTH:
            found[-1] += "\n" + line
            room -= 1
        elif line.strip():
            found.append(line)
            room = LINES - 1
    return [each.rstrip() for each in found]


def _fewer_marks(found: re.Match[str]) -> str:
    kept, marks = "", 0
    for char in found[0]:
        marks = marks + 1 if _is_mark(char) else 0
        if marks <= MARKS:
            kept += char
    return kept


def _is_mark(char: str) -> bool:
    """Whether a character is drawn on the one before it, or is invisible."""
    return unicodedata.category(char) in ("Mn", "Mc", "Me", "Cf")


def _is_visible(char: str) -> bool:
    """Whether a character is visible when it stands alone."""
    return not (
        char.isspace()
        or unicodedata.category(char) in ("Mn", "Mc", "Me")
        or unicodedata.bidirectional(char) == "BN"  # soft hyphens, joiners, tags, but not the signs over Arabic numbers
        or char in _INVISIBLE_LETTERS
        or _INVISIBLE_SYMBOL.match(char)
    )


def check_text(typed: str, limit: int = TEXT_LENGTH) -> str:
    """Return a message's text, cleaned: not blank, at most ``limit`` characters. Raise NothingToSay or TooLong.

    It may have up to LINES lines, with LF between them. CR LF and CR end a line, too, and nothing else does.
    """
    if "\n" in typed or "\r" in typed:
        typed = _trimmed(without_sequences(typed).replace("\r\n", "\n").replace("\r", "\n"))
        if (count := typed.count("\n") + 1) > LINES:
            raise TooManyLines(count, LINES)
        text = _trimmed(clean_lines(typed))
    else:
        text = clean(typed)
    if text[limit:]:
        raise TextTooLong(len(text), limit)
    if not ("!" <= text[:1] <= "~" or any(map(_is_visible, text))):  # most begin with a visible sign of ASCII
        raise NothingToSay()
    return text


def check_words(typed: str) -> str:
    """Return a topic, a reason or a farewell, cleaned: "" if blank, at most WORDS_LENGTH characters. Raise TooLong."""
    text = clean(typed).strip()
    if len(text) > WORDS_LENGTH:
        raise WordsTooLong(len(text), WORDS_LENGTH)
    return text if any(map(_is_visible, text)) else ""


def mentions(name: str, text: str) -> bool:
    """Whether a text contains the name as a word, in any case. With a vowel sign after it, it is another word."""
    return any(not is_mark(text[found.end() :][:1] or " ") for found in _as_word(name).finditer(text))


@lru_cache(maxsize=1024)
def _as_word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)


def nearest(typed: str, names: Iterable[str]) -> str | None:
    """The name most similar to the typed one, or None if none is similar: a guess at what somebody meant.

    Compares the first LIKELY names, but letter by letter only the few that share the most letters with it: one such
    comparison takes as long as a usual command.
    """
    typed = typed[:ROOM_LENGTH]
    wanted = _features(typed)
    likely = heapq.nlargest(
        CLOSE_LOOKS, islice(names, LIKELY), lambda name: 2 * len(wanted & _features(name)) - len(name)
    )
    unmarked = {name.removeprefix("#"): name for name in likely}  # a # that all rooms have makes no name similar
    return unmarked.get(next(iter(get_close_matches(typed.removeprefix("#"), unmarked, 1)), ""))


def _features(name: str) -> set[str]:
    """The characters of a name, and its pairs of neighbouring characters."""
    name = name[:ROOM_LENGTH]
    return {*name, *map("".join, pairwise(name))}
