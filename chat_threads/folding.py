"""What counts as equal in a search: one rule for all writing systems.

A text and the search words are folded in the same way, and then compared letter by letter. Folding keeps differences
that make another word, and removes differences that are only another spelling:

- case, by Unicode's case folding: STRASSE, Straße and strasse; ΣΊΣΥΦΟΣ and Σίσυφος; İ, I and ı;
- the form of letters: composed or decomposed, full-width, half-width, ligatures, superscripts;
- accents, dots and strokes over, under and through a letter: é, ё, ą, Việt, Łódź; æ and œ become two letters;
- Hebrew and Arabic points, the tatweel, the forms of alef, Persian and Arabic keyboards' kaf and yeh;
- the nukta, and Devanagari's candrabindu; katakana and hiragana; the digits of all scripts;
- invisible characters; the quotes, dashes and other signs of print, such as the gershayim and maqaf of Hebrew;
- the Armenian ligature և, which is ԵՎ in capitals.

It keeps vowel signs, viramas, the tones of Thai and Lao, and the voicing of kana, which are not accents.
"""

from __future__ import annotations

import unicodedata

# Increased whenever the rule changes: the index of a history is then rebuilt.
RULE = f"3, Unicode {unicodedata.unidata_version}"

_REMEMBERED = 20_000  # letters whose replacements are cached

# Marks by their canonical combining class (UAX #44): overlays and nuktas, Hebrew and Arabic points, and marks over,
# under or beside a letter. Not in this list: vowels, tones, viramas (9) and the voicing of kana (8).
_DROPPED_MARKS = frozenset({1, 7, *range(10, 37), *range(200, 241)})

_PLAIN = {
    # Latin letters with a stroke, and joined letters, which Unicode does not decompose.
    **dict(zip("đðħıłøŧ", "ddhilot", strict=True)),
    "æ": "ae",
    "œ": "oe",
    "þ": "th",
    # The same letter on another keyboard, or with another ending.
    **dict(zip("ىیکةہٱ", "ييكهها", strict=True)),
    "ँ": "ं",
    # Typographic signs that keyboards do not have.
    **dict.fromkeys("‘’‚‛ʼʻ′׳", "'"),
    **dict.fromkeys("“”„‟«»״", '"'),
    **dict.fromkeys("‐‒–—―−־", "-"),
    **dict.fromkeys("⁄∕", "/"),
    "〜": "~",
    # Invisible, or only a longer line: the grapheme joiner, the tatweel, Hangul fillers, Mongolian separators.
    **dict.fromkeys("\u034f\u0640\u115f\u1160\u180b\u180c\u180d\u180f", ""),
}


def _plain(char: str) -> str:
    """The folded form of one decomposed character."""
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
    """A cache of ``_plain``, filled on first use. For str.translate, by any thread."""

    def __missing__(self, code: int) -> str:
        plain = _plain(chr(code))
        if len(self) < _REMEMBERED:
            self[code] = plain
        return plain


_TABLE = _Plain()


def fold_text(text: str) -> str:
    """The form in which texts are compared. Folding it again changes nothing. Any thread."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKD", text).casefold().translate(_TABLE)
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFKD", text).translate(_TABLE))
    return text.replace("եւ", "եվ")  # the first is what Unicode makes of և, the second what people write
