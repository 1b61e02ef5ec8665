"""What a character is, and which characters form one letter: facts from Unicode, with their sources.

Python's ``unicodedata`` lacks the property Script. The first word of a character's name gives the script, with the
exceptions below. Pure functions, any thread.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

JOINERS = "\u200c\u200d"  # ZWNJ and ZWJ: invisible, but they change how their neighbours are drawn

# Letters and marks in Unicode that are invisible: the grapheme joiner, Hangul fillers, Khmer's inherent vowels,
# variation selectors. With them, two different names could look the same.
INVISIBLE = frozenset(
    [
        *"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0\U00016fe4",
        *map(chr, range(0xFE00, 0xFE10)),
        *map(chr, range(0xE0100, 0xE01F0)),
    ]
)

# UAX #31, tables 3a and 3b: not allowed in identifiers, but allowed in names. The Hebrew geresh and gershayim, the
# Tibetan tsheg, the middle dots of katakana (ジョン・スミス) and of Catalan.
NAME_SIGNS = "\u05f3\u05f4\u0f0b\u30fb\u00b7"

# A consonant after one of these forms one letter with the consonant before it: UAX #29, rule GB9c; Burmese; Khmer.
_STACKERS = frozenset("\u094d\u09cd\u0acd\u0b4d\u0c4d\u0ccd\u0d4d\u1039\u17d2")

COMMON = ""  # the script of characters that go with every script

# First words that are not the name of the script, or that belong to one script together.
_SCRIPTS = {
    **dict.fromkeys(("CJK", "IDEOGRAPHIC", "HANGZHOU"), "Han"),
    **dict.fromkeys(("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HENTAIGANA", "VERTICAL", "MASU"), "Kana"),
    **dict.fromkeys(("ARABIC-INDIC", "EXTENDED"), "Arabic"),
    **dict.fromkeys(("ROMAN", "TURNED"), "Latin"),
    **dict.fromkeys(("COMBINING", "MODIFIER", "CARON", "DIGIT", "LOW", "HYPHEN-MINUS", "FULL", "MIDDLE"), COMMON),
    **dict.fromkeys(("INVERTED", "VEDIC", "MUSICAL", "ZERO", "VARIATION"), COMMON),
}

# The scripts of those marks that are called COMBINING and go with one script only. Others go with every script.
_MARKS_OF_ONE = frozenset({"CYRILLIC", "GLAGOLITIC", "GREEK", "KATAKANA-HIRAGANA"})

# Scripts that are written together: UTS #39, section 5.2, "highly restrictive".
_TOGETHER = (
    frozenset({"Latin", "Han", "Kana"}),
    frozenset({"Latin", "Han", "Bopomofo"}),
    frozenset({"Latin", "Han", "Hangul"}),
)

# Scripts whose letters join, so that a ZWNJ between two letters is visible: UAX #31, rule A1.
_JOINING = frozenset({"Arabic", "Syriac", "Mandaic", "Nko", "Mongolian", "Adlam", "Hanifi"})


def is_mark(char: str) -> bool:
    """Whether a character is drawn on, under or beside the letter before it: a vowel sign, an accent, a tone."""
    return unicodedata.category(char) in ("Mn", "Mc")


@lru_cache(maxsize=4096)
def in_identifier(char: str) -> bool:
    """Whether a character is allowed in an identifier (UAX #31: XID_Continue) and is visible."""
    return ("a" + char).isidentifier() and char not in INVISIBLE and unicodedata.category(char)[0] in "LMN"


def in_name(char: str) -> bool:
    """Whether a character is allowed in the name of a person or a room, after a letter."""
    return in_identifier(char) or char in NAME_SIGNS


def begins_name(char: str) -> bool:
    """Whether a name may begin with this character: UAX #31, XID_Start."""
    return char.isidentifier() and in_identifier(char)


@lru_cache(maxsize=4096)
def script(char: str) -> str:
    """The script that a character belongs to, as one word; COMMON if it goes with several."""
    words = unicodedata.name(char, "").split(" ")
    word = words[1] if words[0] == "COMBINING" and words[1] in _MARKS_OF_ONE else words[0]
    return _SCRIPTS.get(word, word.capitalize())


def scripts(text: str) -> list[str]:
    """The scripts of a text, each once, in their order, without COMMON."""
    return [] if text.isascii() else [each for each in dict.fromkeys(map(script, text)) if each != COMMON]


def written_together(used: list[str]) -> bool:
    """Whether these scripts are used together in one word."""
    return len(used) <= 1 or any(together.issuperset(used) for together in _TOGETHER)


def joins(before: str, joiner: str, after: str) -> bool:
    """Whether a joiner between these two texts changes how they are drawn: UAX #31, rules A1, A2 and B.

    Also before a virama, where Bengali needs it (র‍্য). The rules also ask how each letter joins. This is not checked:
    names that differ only in joiners are the same name, see rules.fold.
    """
    last, following = before[-1:], after[:1]
    letter = next((char for char in reversed(before) if not is_mark(char)), "")
    if not letter or letter in JOINERS or not in_identifier(letter):
        return False
    if _is_virama(last):
        return joiner == "\u200d" or (following != "" and begins_name(following))
    if _is_virama(following):
        return joiner == "\u200d"
    return (
        joiner == "\u200c"
        and following != ""
        and begins_name(following)
        and script(letter) == script(following)
        and script(letter) in _JOINING
    )


def _is_virama(char: str) -> bool:
    return char != "" and unicodedata.combining(char) == 9


def clusters(text: str) -> list[str]:
    """Split a text into pieces that readers see as one character: roughly UAX #29's extended grapheme clusters."""
    return list(text) if text.isascii() else list(each_cluster(text))


def each_cluster(text: str) -> Iterator[str]:
    """Yield the ``clusters`` of a text, for callers that need the first ones only."""
    found = text[:1]
    for char in text[1:]:
        if _hangs_on(found, char):
            found += char
        else:
            yield found
            found = char
    if found:
        yield found


def may_hang(char: str) -> bool:
    """Whether a character may belong to the cluster before it. Letters of other scripts may after a character of which
    this is true."""
    return _hangs(char) or _is_flag_letter(char)


@lru_cache(maxsize=4096)
def _hangs(char: str) -> bool:
    """Whether a character belongs to the cluster before it, whichever that is."""
    return (
        unicodedata.category(char) in ("Mn", "Mc", "Me")
        or char in JOINERS
        or char in "\u0e33\u0eb3"  # Thai and Lao am
        or "\u1160" <= char <= "\u11ff"  # vowels and finals of decomposed Hangul
        or "\ud7b0" <= char <= "\ud7ff"
        or "\U0001f3fb" <= char <= "\U0001f3ff"  # skin colours
        or "\U000e0020" <= char <= "\U000e007f"  # tags, in flags
    )


def _hangs_on(cluster: str, char: str) -> bool:
    """Whether a character belongs to the cluster before it."""
    if _hangs(char):
        return True
    last = cluster[-1]
    if last == "\u200d":
        return unicodedata.category(char) == "So" or (_is_virama(cluster[-2:-1]) and char.isalpha())
    if last in _STACKERS:
        return char.isalpha() and script(char) == script(last)
    return _is_flag_letter(char) and len(cluster) == 1 and _is_flag_letter(cluster)


def _is_flag_letter(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


_MOST = 64  # characters that are examined to find one letter: a letter has no more
_FEW = 8  # most letters have fewer


def first_letter(text: str) -> int:
    """The number of characters in the first letter."""
    for most in (_FEW, _MOST):
        found = clusters(text[:most])
        if len(found) > 1:
            break
    return len(found[0]) if found else 0


def last_letter(text: str) -> int:
    """The number of characters in the last letter."""
    for most in (_FEW, _MOST):
        found = clusters(text[-most:])
        if len(found) > 1 and not _is_flag_letter(text[-1]):  # where a flag begins depends on the others
            break
    return len(found[-1]) if found else 0
