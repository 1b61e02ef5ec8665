"""What a character is, and which characters make one letter: facts that Unicode has, and where to find them.

Python's ``unicodedata`` has no property Script. The first word of a character's name says the same, with the few
exceptions that stand here. Pure functions, any thread.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

JOINERS = "\u200c\u200d"  # ZWNJ and ZWJ: drawn as nothing, but they change how their neighbours are drawn

# Letters and marks to Unicode that are drawn as nothing: the grapheme joiner, Hangul fillers, Khmer's inherent vowels,
# variation selectors. In a name they would make two that look the same.
INVISIBLE = frozenset(
    [
        *"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0\U00016fe4",
        *map(chr, range(0xFE00, 0xFE10)),
        *map(chr, range(0xE0100, 0xE01F0)),
    ]
)

# UAX #31, table 3a and 3b: no part of an identifier, but of names. The Hebrew geresh and gershayim, the Tibetan tsheg,
# the middle dots of katakana (ジョン・スミス) and of Catalan.
NAME_SIGNS = "\u05f3\u05f4\u0f0b\u30fb\u00b7"

# A consonant behind one of these hangs together with the one before it: UAX #29, rule GB9c; Burmese; Khmer.
_STACKERS = frozenset("\u094d\u09cd\u0acd\u0b4d\u0c4d\u0ccd\u0d4d\u1039\u17d2")

COMMON = ""  # the script of what goes with every script

# What the first word of a character's name does not say, and what is one script under several.
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

# Those whose letters join, so that ZWNJ between two of them is seen: UAX #31, rule A1.
_JOINING = frozenset({"Arabic", "Syriac", "Mandaic", "Nko", "Mongolian", "Adlam", "Hanifi"})


def is_mark(char: str) -> bool:
    """Whether it is drawn on, under or beside the letter before it: a vowel sign, an accent, a tone."""
    return unicodedata.category(char) in ("Mn", "Mc")


@lru_cache(maxsize=4096)
def in_identifier(char: str) -> bool:
    """Whether it can be in an identifier (UAX #31: XID_Continue) and is drawn as something."""
    return ("a" + char).isidentifier() and char not in INVISIBLE and unicodedata.category(char)[0] in "LMN"


def in_name(char: str) -> bool:
    """Whether it can be in a name or a room, behind a letter."""
    return in_identifier(char) or char in NAME_SIGNS


def begins_name(char: str) -> bool:
    """Whether a name can begin with it: UAX #31, XID_Start."""
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
    """Whether somebody who writes one of these scripts writes the others with it, in one word."""
    return len(used) <= 1 or any(together.issuperset(used) for together in _TOGETHER)


def joins(before: str, joiner: str, after: str) -> bool:
    """Whether a joiner between these two texts changes how they are drawn: UAX #31, rules A1, A2 and B.

    Also where Bengali needs it, before a virama (র‍্য). The rules ask how each letter joins, which is not looked at:
    names that differ in joiners only are the same name, see rules.fold.
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
    """The text in pieces that are each seen as one character: about UAX #29's extended grapheme clusters."""
    if text.isascii():
        return list(text)
    found: list[str] = []
    for char in text:
        if found and _hangs_on(found[-1], char):
            found[-1] += char
        else:
            found.append(char)
    return found


def _hangs_on(cluster: str, char: str) -> bool:
    """Whether a character belongs to the cluster before it."""
    if (
        unicodedata.category(char) in ("Mn", "Mc", "Me")
        or char in JOINERS
        or char in "\u0e33\u0eb3"  # Thai and Lao am
        or "\u1160" <= char <= "\u11ff"  # vowels and finals of Hangul, taken apart
        or "\ud7b0" <= char <= "\ud7ff"
        or "\U0001f3fb" <= char <= "\U0001f3ff"  # skin colours
        or "\U000e0020" <= char <= "\U000e007f"  # tags, in flags
    ):
        return True
    last = cluster[-1]
    if last == "\u200d":
        return unicodedata.category(char) == "So" or (_is_virama(cluster[-2:-1]) and char.isalpha())
    if last in _STACKERS:
        return char.isalpha() and script(char) == script(last)
    return _is_flag_letter(char) and len(cluster) == 1 and _is_flag_letter(cluster)


def _is_flag_letter(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"
