"""What counts as the same in a search: one rule for all writing systems.

A text and the words that are searched for are folded alike, and then compared letter by letter. Folding keeps what
makes another word and drops what is only another way of writing it:

- case, by Unicode's case folding: STRASSE, Straße and strasse; ΣΊΣΥΦΟΣ and Σίσυφος; İ, I and ı;
- how it was typed: composed or decomposed, full-width, half-width, ligatures, superscripts;
- accents, dots and strokes over, under and through a letter: é, ё, ą, Việt, Łódź; æ and œ become two letters;
- Hebrew and Arabic points, the tatweel, the forms of alef, Persian and Arabic keyboards' kaf and yeh;
- the nukta, and Devanagari's candrabindu; katakana and hiragana; the digits of all scripts;
- characters that are drawn as nothing; curly quotes and the longer dashes.

It keeps vowel signs, viramas, the tones of Thai and Lao, and the voicing of kana: they are no accents.
"""

from __future__ import annotations

import unicodedata

# Goes up whenever the rule changes: the index of a history is then made anew.
RULE = f"2, Unicode {unicodedata.unidata_version}"

_REMEMBERED = 20_000  # letters whose replacement is kept

# Marks by their canonical combining class (UAX #44): overlays and nuktas, Hebrew and Arabic points, and what stands
# over, under or beside a letter. The classes left out are vowels, tones, viramas (9) and the voicing of kana (8).
_DROPPED_MARKS = frozenset({1, 7, *range(10, 37), *range(200, 241)})

_PLAIN = {
    # Latin letters with a stroke, and joined ones: Unicode does not take them apart.
    **dict(zip("đðħıłøŧ", "ddhilot", strict=True)),
    "æ": "ae",
    "œ": "oe",
    "þ": "th",
    # The same letter on another keyboard, or with another ending.
    **dict(zip("ىیکةہٱ", "ييكهها", strict=True)),
    "ँ": "ं",
    # Typographic signs that keyboards do not have.
    **dict.fromkeys("‘’‚‛ʼ′", "'"),
    **dict.fromkeys("“”„‟«»", '"'),
    **dict.fromkeys("‐‒–—―−", "-"),
    # Drawn as nothing, or only longer: the grapheme joiner, the tatweel, Hangul fillers, Mongolian separators.
    **dict.fromkeys("\u034f\u0640\u115f\u1160\u180b\u180c\u180d\u180f", ""),
}


def _plain(char: str) -> str:
    """What one character, taken apart, becomes."""
    if char in _PLAIN:
        return _PLAIN[char]
    category = unicodedata.category(char)
    if category == "Mn" and unicodedata.combining(char) in _DROPPED_MARKS:
        return ""
    if category in ("Cf", "Me") or "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef":
        return ""  # joiners, tags, frames around a character, variation selectors
    if category == "Nd":
        return str(unicodedata.decimal(char))
    if "\u30a1" <= char <= "\u30f6" or char in "ヽヾ":
        return chr(ord(char) - 0x60)  # katakana to hiragana
    return char


class _Plain(dict[int, str]):
    """What ``_plain`` says of each character, asked when it first comes up. For str.translate, by any thread."""

    def __missing__(self, code: int) -> str:
        plain = _plain(chr(code))
        if len(self) < _REMEMBERED:
            self[code] = plain
        return plain


_TABLE = _Plain()


def fold_text(text: str) -> str:
    """The form in which texts are compared; folding it again changes nothing. Any thread."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKD", text).casefold().translate(_TABLE)
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKD", text).translate(_TABLE))
