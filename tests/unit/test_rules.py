"""The rules for texts: a text cannot harm a terminal, and is not empty."""

from __future__ import annotations

import random
import sys
import unicodedata

import pytest
from support.samples import for_each

from chat_threads.errors import NothingToSay, Told, TooLong
from chat_threads.rules import (
    LINES,
    MARKS,
    TEXT_LENGTH,
    WORDS_LENGTH,
    check_text,
    check_words,
    clean,
    in_messages,
)

CHARACTERS = [chr(number) for number in range(sys.maxunicode + 1)]
C0 = CHARACTERS[:0x20]
DEL_AND_C1 = CHARACTERS[0x7F:0xA0]
BREAKS = ["\n", "\v", "\f", "\r", "\r\n", "\x85", "\u2028", "\u2029"]
DIRECTIONS = list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
ZERO_WIDTH = list("\u180e\u200b\u2060\u2061\u2062\u2063\u2064\u2065\ufeff")
DEPRECATED = CHARACTERS[0x206A:0x2070]
ANNOTATIONS = list("\ufff9\ufffa\ufffb")
SURROGATES = CHARACTERS[0xD800:0xE000]
HARMFUL = [*C0, *DEL_AND_C1, *BREAKS, *DIRECTIONS, *ZERO_WIDTH, *DEPRECATED, *ANNOTATIONS, *SURROGATES]


# --- texts --------------------------------------------------------------------------------------------


@for_each(
    "chars", [C0, DEL_AND_C1, DIRECTIONS, ZERO_WIDTH, DEPRECATED, ANNOTATIONS, SURROGATES],
)  # fmt: skip
def test_harmful_characters_are_removed_from_texts(chars):
    for char in {*chars} - {*BREAKS, "\t"}:
        assert clean(f"é{char}é") == "éé", ascii(char)
        assert clean(f"é{char * 3}é") == "éé", ascii(char)
        assert clean(char) == "", ascii(char)


@for_each(
    ("text", "columns"),
    [("\t", ""), ("\tx", "    x"), ("if x:\ty", "if x:   y"), ("abcd\te", "abcd    e"), ("\t\té", " " * 8 + "é")],
)
def test_a_tab_becomes_spaces_so_that_code_stays_aligned(text, columns):
    assert clean(text) == columns


@for_each("mark", BREAKS)
def test_the_end_of_a_line_becomes_a_space(mark):
    assert clean(f"one{mark}two") == "one two"
    assert clean(f"é{mark}{mark}é") == "é  é"
    assert clean(f"é {mark}\u200bé{mark}") == "é  é"
    assert clean(mark) == ""
    assert clean(f"{mark}/quit") == " /quit", "what was in the middle of a text is no command"


@pytest.fixture(scope="module")
def left():
    """The characters that survive the cleaning, out of all that exist, each between two letters."""
    return set(clean("x".join(CHARACTERS)))


def test_all_harmful_characters_and_no_others_are_removed(left):
    lost = [char for char in CHARACTERS if char not in left]
    assert lost == sorted({*HARMFUL} - {"\r\n"})


def test_no_control_separator_or_direction_of_unicode_is_left(left):
    """Said by Unicode's own tables, not by the list above."""
    directions = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for char in left:
        assert unicodedata.category(char) not in ("Cc", "Zl", "Zp", "Cs"), ascii(char)
        assert unicodedata.bidirectional(char) not in directions, ascii(char)


SEQUENCES = {
    "cursor key": "\x1b[A",
    "cursor key with Ctrl": "\x1b[1;5D",
    "cursor key of an application": "\x1bOB",
    "cursor key with Alt": "\x1b\x1b[C",
    "cursor key with a modifier in front": "\x1bO5P",
    "function key": "\x1b[15;2~",
    "function key of a console": "\x1b[[A",
    "Enter of the keypad": "\x1bOM",
    "blank of the keypad": "\x1bO ",
    "focus": "\x1b[I",
    "answer of a terminal": "\x1b[?64;1;2;6;9;15;22c",
    "place of the cursor": "\x1b[24;80R",
    "colour": "\x1b[31m",
    "colour of 24 bits": "\x1b[38;2;255;100;0m",
    "colour with colons": "\x1b[38:2::255:100:0m",
    "reset": "\x1b[m",
    "clearing": "\x1b[2J",
    "private mode": "\x1b[?1049h",
    "intermediate": "\x1b[2 q",
    "two intermediates": "\x1b[?1$p",
    "soft reset": "\x1b[!p",
    "paste": "\x1b[200~",
    "end of a paste": "\x1b[201~",
    "mouse, X10": "\x1b[M !!",
    "mouse, X10, far right": "\x1b[M#ÿ\x7f",
    "mouse, SGR": "\x1b[<0;93;12M",
    "mouse, SGR, let go": "\x1b[<0;93;12m",
    "mouse, urxvt": "\x1b[32;93;12M",
    "title, BEL": "\x1b]0;owned\x07",
    "title, ST": "\x1b]2;owned\x1b\\",
    "title with letters of all kinds": "\x1b]0;grüße 日本 🙂\x07",
    "link": "\x1b]8;;https://example.org/a?b=c\x1b\\",
    "clipboard": "\x1b]52;c;b3duZWQ=\x07",
    "string over two lines": "\x1b]52;c;b3du\nZWQ=\x07",
    "DCS": "\x1bP$q q\x1b\\",
    "APC": "\x1b_Gi=1;AAAA\x1b\\",
    "PM": "\x1b^private\x1b\\",
    "SOS": "\x1bXstring\x1b\\",
    "SS2": "\x1bN~",
    "character set": "\x1b(B",
    "character set of 94 by 94": "\x1b$(C",
    "double width": "\x1b#6",
    "7 bits": "\x1b F",
    "save and restore": "\x1b7\x1b8",
    "keypad": "\x1b=\x1b>",
    "full reset": "\x1bc",
    "index": "\x1bD\x1bM\x1bE",
    "CSI, one character": "\x9b31m",
    "SS3, one character": "\x8fA",
    "OSC, one character": "\x9d0;owned\x9c",
    "OSC, one character, BEL": "\x9d0;owned\x07",
    "DCS, one character": "\x90$q\x9c",
    "APC, one character": "\x9fGi=1;AAAA\x1b\\",
    "begun again": "\x1b[31\x1b[32m",
    "begun again in a string": "\x1b]0;ow\x1b[31m",
    "ended by CAN": "\x1b[31\x18",
    "very long": "\x1b[" + "1;" * 50_000 + "m",
    "very long title": "\x1b]0;" + "x" * 100_000 + "\x07",
}


@for_each("kind", SEQUENCES)
def test_an_escape_sequence_is_taken_out_whole(kind):
    sequence = SEQUENCES[kind]
    for text in ("{}FAILED", "{0}{0}FAILED", "FAILED{}", "FAI{}LED", "\x1b[0m{0}FA{0}ILED\x1b[0m"):
        assert clean(text.replace("{0}", sequence).replace("{}", sequence)) == "FAILED"
    assert clean(f"é{sequence}é") == "éé"
    assert clean(sequence) == ""
    with pytest.raises(NothingToSay):
        check_text(sequence)
    assert check_words(f" {sequence} ") == ""


@for_each("kind", SEQUENCES)
def test_an_escape_sequence_that_is_cut_short_says_nothing(kind):
    """But a control string of the one-character kind: that is likelier a text that was decoded wrongly."""
    sequence = SEQUENCES[kind][:100]
    if sequence[0] not in "\x90\x9d\x9f" and "\n" not in sequence:
        for end in range(1, len(sequence)):
            assert clean("é " + sequence[:end]) == "é", end


@for_each(
    ("typed", "left"),
    [
        ("a\x1b", "a"),
        ("a\x1bé", "aé"),
        ("\x1bhello", "hello"),  # the key was pressed, and then something written
        ("\x1b hello", " hello"),
        ("\x1bkvi notes.txt\x1b\\$ make", "$ make"),  # a title of screen and tmux
        ("o\x1bk, no title", "ok, no title"),
        ("\x1b[3é", "é"),
        ("\x1b]0;cut\nnext line", " next line"),
        ("\x1b]0;cut\u2028next line", " next line"),
        ("â\x80\x9chiâ\x80\x9d there", "âhiâ there"),  # “hi” there, decoded wrongly
        ("ð\x9f\x98\x80 hi", "ð hi"),
        ("[31m", "[31m"),
        ("\u200b[31m", "[31m"),
        ("\x1b\u200b[31m", "[31m"),
    ],
)
def test_characters_outside_a_sequence_stay(typed, left):
    assert clean(typed) == left


@for_each(
    "piece",
    [
        "\x1b",
        "\x1b[",
        "\x1b]",
        "\x9d",
        "\x9d\n",
        "\x1bP\x9d",
        "\x1b]x\n",
        "\x1b\x9b",
        "\x1b[M",
        "\x1bO1",
        "\x9dx ",
        "é\u0301",
    ],
)
def test_a_long_text_of_beginnings_is_cleaned_in_a_time_that_grows_with_its_length(piece):
    """If it grew with the square, this would take an hour, and pytest's timeout would end it."""
    assert set(clean(piece * 300_000)) <= set("1 xé\u0301")


def test_blanks_at_the_end_go_and_at_the_beginning_stay():
    assert clean("  def f():  ") == "  def f():"
    assert clean("\tdef é():\t \u200b ") == "    def é():"


@for_each(
    "text", ["hi all", "naïve café", "שלום עולם", "مرحبا", "日本語", "می\u200cخواهم", "👩\u200d💻", "🏳️", "e\u0301"]
)
def test_the_texts_that_people_write_stay(text):
    assert clean(text) == text


@for_each("seed", range(10))
def test_a_clean_text_stays_as_it_is(seed):
    rng = random.Random(seed)
    for _ in range(50):
        text = clean("".join(rng.choices([*HARMFUL, *" \tabcé🙂" * 300], k=50)))
        assert clean(text) == text
        assert not set(text) & set(HARMFUL)


def test_a_text_is_said_cleaned():
    assert check_text(" \x1b[1mhi\vall\u202e ") == " hi all"


INVISIBLE = [
    *"\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b\u180f\u200c\u200d\u2800\u3164\ufe0e\ufe0f\uffa0\ufff0",
    *"\u00a0\u1680\u2000\u2007\u202f\u205f\u3000",
    *"\U0001d159\U0001d173\U0001bca0\U00013430\U00013441\U000e0001\U000e0041\U000e007f\U000e0100\U000e0fff",
]
LONE_MARKS = [*"\u0301\u0489\u05b0\u064b\u0e31\u20dd\u20e3\u093e\u0bbe\u1b35", "\u0301\u0302", "\u064e\u0651"]


@for_each(
    "typed",
    ["", " ", "\t\t", "\x00", "\x1b", "\u200b\u202e", "\u00a0\u3000", "\u2028", "\x1b[A", *INVISIBLE, *LONE_MARKS],
)
def test_a_text_without_anything_visible_is_not_said(typed):
    for text in (typed, typed * 20, f" {typed}\u200d{typed} ", f"\x1b[31m{typed}\x1b[0m\n"):
        with pytest.raises(NothingToSay) as caught:
            check_text(text)
        assert check_words(text) == ""
    assert caught.value.code == "nothing_to_say"
    assert isinstance(caught.value, Told)


REAL = {
    "a heart": "❤️",
    "a family": "👩\u200d👩\u200d👧\u200d👦",
    "a flag": "🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f",
    "a flag of letters": "🇷🇴",
    "a rainbow": "🏳️\u200d🌈",
    "a keycap": "1️⃣",
    "a health worker": "🧑🏽\u200d⚕️",
    "many": "👩\u200d💻" * 30,
    "Persian": "می\u200cخواهم",
    "Arabic with all its marks": "مُحَمَّدٌ",
    "Hebrew with cantillation": "בְּרֵאשִׁ֖ית",
    "Vietnamese, decomposed": unicodedata.normalize("NFD", "Tiếng Việt"),
    "Thai": "น้ำผึ้ง",
    "Burmese": "မြို့",
    "Malayalam": "ന്\u200dറെ",
    "Sinhala": "ශ්\u200dරී",
    "Tibetan": "ཧྐྵྨླྺྼྻྂ",
    "Hangul, decomposed": unicodedata.normalize("NFD", "안녕하세요"),
    "a sign of the Quran": "۝",
    "braille": "⠓⠊",
    "a soft hyphen": "Donau\u00addampfschiff",
    "a circle": "○\u20dd",
}


@for_each("kind", REAL)
def test_texts_of_all_writing_systems_stay_as_they_are(kind):
    assert check_text(REAL[kind]) == REAL[kind]
    assert check_text(f"a {REAL[kind]} b") == f"a {REAL[kind]} b"
    assert check_words(REAL[kind]) == REAL[kind]


@for_each("letter", ["e", "é", "я", "한", "👩", "!", "🙂", "(", "e\u0301 e"])
@for_each("mark", ["\u0301", "\u0489", "\u093e", "\u20dd", "\ufe0f", "\u200d", "\u00ad", "\U000e0041"])
def test_a_letter_has_a_bounded_number_of_marks(letter, mark):
    assert MARKS == 8
    assert clean(letter + mark * MARKS) == letter + mark * MARKS
    assert clean(letter + mark * 1000 + "x" + mark * 9) == letter + mark * MARKS + "x" + mark * MARKS
    assert clean((letter + mark * MARKS) * 50) == (letter + mark * MARKS) * 50


def test_every_mark_is_bounded():
    for char in CHARACTERS:
        if unicodedata.category(char) in ("Mn", "Mc", "Me"):
            assert clean("x" + char * 20) == "x" + char * MARKS, ascii(char)


def test_every_letter_and_digit_is_visible():
    """But those that Unicode calls letters and are drawn as nothing."""
    for char in CHARACTERS:
        if unicodedata.category(char)[0] in "LNPS" and char not in INVISIBLE and char != "\U00013442":
            assert check_text(char) == char, ascii(char)


@for_each("char", ["x", "é", "🙂"])
def test_a_text_is_at_most_two_thousand_characters_however_many_bytes(char):
    assert TEXT_LENGTH == 2000
    assert check_text(char * 2000) == char * 2000
    with pytest.raises(TooLong, match="That is 2001 characters, and a message has at most 2000") as caught:
        check_text(char * 2001)
    assert caught.value.code == "too_long"
    assert isinstance(caught.value, Told)


def test_removed_characters_do_not_count():
    assert check_text("x" * 2000 + "\x1b\u200b  ") == "x" * 2000


@for_each("end", ["\n", "\r", "\r\n"])
@for_each(
    ("typed", "said"),
    [
        ("if x:|\tgo()||else:|  stop()", "if x:\n    go()\n\nelse:\n  stop()"),
        ("|  | \t|  one|  two | |", "  one\n  two"),
        ("one|", "one"),
        ("\x1b[2J|\u200b| one|\u2028|two", " one\n\ntwo"),
        ("one\x1b[1m|\u202etwo\x85three\u2028four\vfive\fsix", "one\ntwo three four five six"),
        ("e" + "\u0301" * 99 + "|x", "e" + "\u0301" * MARKS + "\nx"),
        ("one|* bob left|bob: hi", "one\n* bob left\nbob: hi"),
    ],
)
def test_a_text_may_have_several_lines_and_each_is_cleaned_like_one(typed, said, end):
    assert check_text(typed.replace("|", end)) == said
    assert check_text(said) == said
    assert "\n" not in check_words(typed.replace("|", end))


def test_a_text_has_at_most_forty_lines():
    assert LINES == 40
    block = "\n".join(["x"] * 40)
    assert check_text(f"\n \n{block}\n \n\n") == block
    for typed, count in ((block + "\nx", 41), ("x" + "\n" * 60_000 + "x", 60_001)):
        with pytest.raises(TooLong, match=f"That is {count} lines, and a message has at most 40") as caught:
            check_text(typed)
        assert caught.value.code == "too_long"
    with pytest.raises(TooLong, match="That is 2001 characters"):
        check_text("x" * 1000 + "\n" + "x" * 1000)
    for blank in ("\n" * 60_000, "\n\u2800\n\r", "\x1b[1m\n\u200b"):
        with pytest.raises(NothingToSay):
            check_text(blank)


def test_a_long_text_is_said_in_as_few_messages_as_its_lines_allow():
    lines = [f"{number}" for number in range(100)]
    found = in_messages("\n".join(lines))
    assert [len(each.split("\n")) for each in found] == [40, 40, 20]
    assert "\n".join(found).split("\n") == lines
    assert in_messages("\n".join(["x" * 999, "y" * 1000, "z"])) == ["x" * 999 + "\n" + "y" * 1000, "z"]
    assert in_messages("a\n" + "x" * 3000 + "\n\n  b\n") == ["a", "x" * 3000, "  b"]
    assert in_messages(" \n") == []


def test_a_text_can_have_another_limit():
    assert check_text("x" * 5, 5) == "x" * 5
    with pytest.raises(TooLong, match="That is 6 characters, and a message has at most 5"):
        check_text("x" * 6, 5)


def test_words_may_be_empty_and_have_no_blanks_around_them():
    assert check_words("") == ""
    assert check_words("\u200b \t") == ""
    assert check_words("  back\nat \x1b[1m5 ") == "back at 5"


def test_words_are_at_most_two_hundred_characters():
    assert WORDS_LENGTH == 200
    assert check_words(" " + "é" * 200 + " ") == "é" * 200
    with pytest.raises(TooLong, match="That is 201 characters, and at most 200"):
        check_words("é" * 201)
