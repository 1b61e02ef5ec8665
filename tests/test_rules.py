"""What may be typed: names, rooms and texts that cannot harm a terminal or look like another's."""

from __future__ import annotations

import random
import re
import sys
import unicodedata

import pytest

from chat_threads.errors import BadName, BadRoom, NothingToSay, Told, TooLong
from chat_threads.rules import (
    NAME_LENGTH,
    ROOM_LENGTH,
    TEXT_LENGTH,
    WORDS_LENGTH,
    check_name,
    check_room,
    check_text,
    check_words,
    clean,
    fold,
    free_name,
)

CHARACTERS = [chr(number) for number in range(sys.maxunicode + 1)]
C0 = CHARACTERS[:0x20]
DEL_AND_C1 = CHARACTERS[0x7F:0xA0]
SEPARATORS = ["\u2028", "\u2029"]
DIRECTIONS = list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
ZERO_WIDTH = list("\u180e\u200b\u2060\u2061\u2062\u2063\u2064\u2065\ufeff")
DEPRECATED = CHARACTERS[0x206A:0x2070]
ANNOTATIONS = list("\ufff9\ufffa\ufffb")
SURROGATES = CHARACTERS[0xD800:0xE000]
HARMFUL = [*C0, *DEL_AND_C1, *SEPARATORS, *DIRECTIONS, *ZERO_WIDTH, *DEPRECATED, *ANNOTATIONS, *SURROGATES]
JOINERS = ["\u200c", "\u200d"]
INVISIBLE_LETTERS = list("\u115f\u1160\u3164\uffa0")


# --- names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a", "ann", "Ann-Marie", "a.b_c-1", "R2D2", "Zoë", "Ærø", "Юля", "李雷", "علي", "x" * 20]
)
def test_a_name_is_kept_as_it_is_typed(name):
    assert check_name(name) == name


def test_a_name_is_kept_composed():
    assert check_name("Zoe\u0308") == "Zo\u00eb"
    assert check_name("e\u0308" * 20) == "\u00eb" * 20


@pytest.mark.parametrize(
    "name", ["", " ", "x" * 21, "1ann", "-ann", "_ann", ".ann", "#ann", "/ann", "ann bob", " ann", "ann "]
)
def test_a_name_has_a_length_and_begins_with_a_letter(name):
    with pytest.raises(BadName):
        check_name(name)


@pytest.mark.parametrize("char", "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~ \t\u00a0\u3000²٣۴Ⅳ①€🙂ʰ")
def test_a_name_is_of_letters_ascii_digits_and_three_marks(char):
    with pytest.raises(BadName):
        check_name(f"a{char}b")


@pytest.mark.parametrize("place", ["{}ann", "an{}n", "ann{}"])
def test_nothing_invisible_or_harmful_can_be_in_a_name(place):
    for char in [*HARMFUL, *JOINERS, *INVISIBLE_LETTERS, "\u00ad", "\u034f", "\u2800", "\ufe0f", "\U000e0041"]:
        with pytest.raises(BadName):
            check_name(place.format(char))


def test_every_character_that_can_be_in_a_name_is_drawn_as_a_letter():
    """Of controls, formats, separators and marks that stand alone, none; a mark may be part of a letter."""
    for char in CHARACTERS:
        if unicodedata.category(char) in ("Cc", "Cf", "Zs", "Zl", "Zp", "Mn", "Me", "Mc", "Sk", "Lm"):
            try:
                name = check_name("x" + char)
            except BadName:
                continue
            assert all(unicodedata.category(each) in ("Lu", "Ll", "Lt", "Lo") for each in name), ascii(char)


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("ann bob", "annbob"), ("1ann", "ann"), ("...ann", "ann"), ("#ann", "ann"), ("x" * 30, "x" * 20),
        ("an\u202en", "ann"), ("a\x1b[31mnn", "a31mnn"), ("Zoe\u0308!", "Zoë"),
    ],
)  # fmt: skip
def test_a_bad_name_is_told_with_one_near_it_that_would_do(typed, near):
    with pytest.raises(BadName, match=re.escape(f" {near} would do.")) as caught:
        check_name(typed)
    assert caught.value.code == "bad_name"
    assert isinstance(caught.value, Told)


@pytest.mark.parametrize("typed", ["", "123", "!?", "-_.", "\u3164\u200b", "🙂"])
def test_a_bad_name_with_nothing_near_it_is_told_the_rule_only(typed):
    with pytest.raises(BadName, match=r"begins with a letter\.$"):
        check_name(typed)


@pytest.mark.parametrize("seed", range(20))
def test_a_name_that_would_do_does(seed):
    rng = random.Random(seed)
    suggested = 0
    for _ in range(100):
        typed = "".join(rng.choices("aZé日가1-_. !#\u0301\u202e\u3164🙂", k=rng.randrange(30)))
        try:
            check_name(typed)
        except BadName as error:
            if found := re.search(r"letter\. (.+) would do\.$", error.text):
                check_name(found[1])
                suggested += 1
    assert suggested


# --- the same name ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ann", "ANN"), ("Zoë", "ZOË"), ("Zo\u00eb", "Zoe\u0308"), ("strasse", "STRAßE"), ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("ann", "ａｎｎ"), ("fi", "ﬁ"), ("k", "\u212a"), ("s", "ſ"),
    ],
)  # fmt: skip
def test_spellings_that_differ_in_case_or_form_are_the_same(one, other):
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), [("ann", "anne"), ("ann", "änn"), ("a-b", "a_b"), ("o", "0"), ("l", "1")])
def test_other_names_are_not_the_same(one, other):
    assert fold(one) != fold(other)


def test_what_is_folded_stays_as_it_is():
    """Otherwise a name looked up in its kept form could be missed."""
    for char in [*CHARACTERS[:0x3000], *CHARACTERS[0xF900:0x10000], *CHARACTERS[0x10400:0x10450]]:
        assert fold(fold(char)) == fold(char), ascii(char)


def test_upper_and_lower_case_of_every_letter_that_has_both_are_the_same():
    for char in CHARACTERS[:0x2000]:
        if char.upper().lower() == char:
            assert fold(char.upper()) == fold(char), ascii(char)


def test_a_free_name_is_the_wanted_one_with_the_first_number_that_nobody_has():
    assert free_name("ann", {"ann"}.__contains__) == "ann2"
    assert free_name("ann", {"ann", "ann2"}.__contains__) == "ann3"
    assert free_name("ann2", {"ann2"}.__contains__) == "ann22"


def test_a_free_name_is_never_too_long():
    long = "x" * NAME_LENGTH
    taken = {long, *("x" * (NAME_LENGTH - 1) + str(number) for number in range(2, 10))}
    assert free_name(long, taken.__contains__) == "x" * (NAME_LENGTH - 2) + "10"
    assert check_name(free_name(long, taken.__contains__))


# --- rooms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", ["#a", "#lab2", "#2", "#-_", "#Übung_3-b", "#日本", "#" + "x" * ROOM_LENGTH])
def test_a_room_is_kept_as_it_is_typed(room):
    assert check_room(room) == room


def test_a_room_is_kept_composed():
    assert check_room("#U\u0308bung") == "#\u00dcbung"


@pytest.mark.parametrize(
    "room", ["", "#", "lab2", "##", "#a b", "#a.b", "#a#b", "# a", " #a", "#a ", "#٣", "#" + "x" * 33]
)
def test_a_room_begins_with_a_number_sign_and_has_no_other_marks(room):
    with pytest.raises(BadRoom) as caught:
        check_room(room)
    assert caught.value.code == "bad_room"
    assert isinstance(caught.value, Told)


def test_nothing_invisible_or_harmful_can_be_in_a_room():
    for char in [*HARMFUL, *JOINERS, *INVISIBLE_LETTERS]:
        for room in (f"#a{char}", f"#{char}a", f"{char}#a"):
            with pytest.raises(BadRoom):
                check_room(room)


# --- texts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "chars", [C0, DEL_AND_C1, SEPARATORS, DIRECTIONS, ZERO_WIDTH, DEPRECATED, ANNOTATIONS, SURROGATES],
    ids=["C0", "DEL and C1", "separators", "directions", "zero width", "deprecated", "annotations", "surrogates"],
)  # fmt: skip
def test_what_could_harm_a_terminal_is_taken_out(chars):
    for char in chars:
        expected = "a b" if char == "\t" else "ab"
        assert clean(f"a{char}b") == expected, ascii(char)
        assert clean(f"é{char * 3}é") == ("é   é" if char == "\t" else "éé"), ascii(char)
        assert clean(char) == "", ascii(char)


@pytest.fixture(scope="module")
def left():
    """What is left of a text of all characters that there are."""
    return set(clean("".join(CHARACTERS)))


def test_of_all_characters_none_that_harms_is_left_and_none_else_is_lost(left):
    lost = [char for char in CHARACTERS if char not in left]
    assert lost == sorted(HARMFUL)


def test_no_control_separator_or_direction_of_unicode_is_left(left):
    """Said by Unicode's own tables, not by the list above."""
    directions = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for char in left:
        assert unicodedata.category(char) not in ("Cc", "Zl", "Zp", "Cs"), ascii(char)
        assert unicodedata.bidirectional(char) not in directions, ascii(char)


def test_an_escape_sequence_loses_what_makes_it_one():
    assert clean("\x1b[2J\x1b]0;title\x07hi\x9b31m") == "[2J]0;titlehi31m"


def test_a_tab_becomes_a_space():
    assert clean("a\tb\t\tc") == "a b  c"


def test_blanks_at_the_end_go_and_at_the_beginning_stay():
    assert clean("  def f():  ") == "  def f():"
    assert clean("\tdef é():\t \u200b ") == " def é():"


@pytest.mark.parametrize(
    "text", ["hi all", "naïve café", "שלום עולם", "مرحبا", "日本語", "می\u200cخواهم", "👩\u200d💻", "🏳️", "e\u0301"]
)
def test_what_people_write_stays(text):
    assert clean(text) == text


@pytest.mark.parametrize("seed", range(10))
def test_what_is_clean_stays_as_it_is(seed):
    rng = random.Random(seed)
    for _ in range(50):
        text = clean("".join(rng.choices([*HARMFUL, *" \tabcé🙂" * 300], k=50)))
        assert clean(text) == text
        assert not set(text) & set(HARMFUL)


def test_a_text_is_said_cleaned():
    assert check_text(" \x1b[1mhi\tall\u202e ") == " [1mhi all"


@pytest.mark.parametrize("typed", ["", " ", "\t\t", "\x00", "\x1b", "\u200b\u202e", "\u00a0\u3000", "\u2028"])
def test_a_text_without_anything_visible_is_not_said(typed):
    with pytest.raises(NothingToSay) as caught:
        check_text(typed)
    assert caught.value.code == "nothing_to_say"
    assert isinstance(caught.value, Told)


@pytest.mark.parametrize("char", ["x", "é", "🙂"])
def test_a_text_is_at_most_two_thousand_characters_however_many_bytes(char):
    assert TEXT_LENGTH == 2000
    assert check_text(char * 2000) == char * 2000
    with pytest.raises(TooLong, match="That is 2001 characters, and at most 2000 go in one line") as caught:
        check_text(char * 2001)
    assert caught.value.code == "too_long"
    assert isinstance(caught.value, Told)


def test_what_is_taken_out_does_not_count():
    assert check_text("x" * 2000 + "\x1b\u200b  ") == "x" * 2000


def test_a_text_can_have_another_limit():
    assert check_text("x" * 5, 5) == "x" * 5
    with pytest.raises(TooLong, match="That is 6 characters, and at most 5"):
        check_text("x" * 6, 5)


def test_words_may_be_empty_and_have_no_blanks_around_them():
    assert check_words("") == ""
    assert check_words("\u200b \t") == ""
    assert check_words("  back\tat \x1b5 ") == "back at 5"


def test_words_are_at_most_two_hundred_characters():
    assert WORDS_LENGTH == 200
    assert check_words(" " + "é" * 200 + " ") == "é" * 200
    with pytest.raises(TooLong, match="That is 201 characters, and at most 200"):
        check_words("é" * 201)
