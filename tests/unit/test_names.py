"""Names of people and rooms: in every writing system, of bounded length, and none that looks empty or broken."""

from __future__ import annotations

import random
import re
import sys
import unicodedata

import pytest
from support.samples import for_each
from support.written import WRITTEN

from chat_threads.errors import BadName, BadRoom, Told
from chat_threads.letters import INVISIBLE, clusters, is_mark, scripts
from chat_threads.rules import MARKS, NAME_LENGTH, ROOM_LENGTH, check_name, check_room, fold, free_name

CHARACTERS = [chr(number) for number in range(sys.maxunicode + 1)]
CONTROLS = [char for char in CHARACTERS if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zs", "Zl", "Zp")]
UNSEEN = [*INVISIBLE, "\u2800", "\u00ad", "\ufe0f", "\U000e0041", "\u180e"]


# --- names --------------------------------------------------------------------------------------------


@for_each("language", WRITTEN)
def test_names_of_every_language_are_names_and_rooms(language):
    name = unicodedata.normalize("NFC", WRITTEN[language])
    for typed in (name, unicodedata.normalize("NFD", name)):
        assert check_name(typed) == name
        assert check_name(typed + "_2") == name + "_2"
        assert check_room("#" + typed) == "#" + name
        assert check_room(f"#lab2-{typed}") == f"#lab2-{name}"


@for_each("language", WRITTEN)
def test_a_name_that_is_too_long_is_cut_between_letters(language):
    """It loses only its end, and no letter loses its vowel."""
    name = unicodedata.normalize("NFC", WRITTEN[language])
    for typed in (name * 20, name + " " + name * 20, name + "!" * 20, f"«{name}»"):
        with pytest.raises(BadName) as caught:
            check_name(typed)
        near = caught.value.near
        assert near is not None
        assert check_name(near) == near
        assert (name * 20).startswith(near)
        cut = (name * 21)[len(near)]
        assert not is_mark(cut)
        assert cut not in "\u200c\u200d\u0e33\u0eb3"
        assert len(clusters(near)) >= min(len(clusters(name)), 10)


@for_each("language", WRITTEN)
def test_a_free_name_is_a_name(language):
    name = unicodedata.normalize("NFC", WRITTEN[language])
    for wanted in (name, "".join((clusters(name) * 20)[:NAME_LENGTH])):
        free = free_name(wanted, {wanted, free_name(wanted, {wanted}.__contains__)}.__contains__)
        assert check_name(free) == free
        assert free.endswith("3")


@for_each("name", ["a", "ann", "Ann-Marie", "a.b_c-1", "R2D2", "Zoë", "Ærø", "Юля", "李雷", "علي", "x" * 20])
def test_a_name_is_kept_as_it_is_typed(name):
    assert check_name(name) == name


def test_a_name_is_kept_composed():
    assert check_name("Zoe\u0308") == "Zo\u00eb"
    assert check_name("e\u0308" * 20) == "\u00eb" * 20


@for_each(
    ("typed", "kept"),
    [
        ("ａｎｎ", "ann"), ("ﬁona", "fiona"), ("𝐚𝐧𝐧", "ann"), ("ⅣＡ", "IVA"), ("aʰ", "ah"), ("ſam", "sam"),
        ("ｻｰﾊﾞｰ", "サーバー"),
        ("ａ－ｂ．ｃ＿１", "a-b.c_1"), ("\ufedf\ufee0\ufeea", "لله"), ("㍿", None), ("ǆin", "džin"),
        ("\u00b5ικρός", "μικρός"), ("\uf9e1李", "李李"),
    ],
)  # fmt: skip
def test_other_forms_of_a_letter_become_the_letter(typed, kept):
    if kept is None:
        with pytest.raises(BadName):
            check_name(typed)
    else:
        assert check_name(typed) == kept
        assert fold(typed) == fold(kept)


@for_each(
    "name", ["", " ", "x" * 21, "1ann", "-ann", "_ann", ".ann", "#ann", "/ann", "ann bob", " ann", "ann ", "१अनिल"]
)  # fmt: skip
def test_a_name_has_a_length_and_begins_with_a_letter(name):
    with pytest.raises(BadName):
        check_name(name)


@for_each("letter", ["é", "한", "日", "ङ", "ทิ", "กี่", "น้ำ", "कि", "க்", "শ্রী", "ស្រី", "မြ", "دَ", "שּׁ", "བསྒྲུ"[1:]])
def test_a_letter_with_its_marks_counts_once(letter):
    (one,) = clusters(unicodedata.normalize("NFC", letter))
    fits = min(NAME_LENGTH, NAME_LENGTH * 3 // len(one))
    assert check_name(letter * fits) == one * fits
    assert check_room("#" + letter * fits) == "#" + one * fits
    for typed in (letter * (NAME_LENGTH + 1), letter * 100, letter * 10_000):
        with pytest.raises(BadName):
            check_name(typed)
    for typed in (letter * (ROOM_LENGTH + 1), letter * 10_000):
        with pytest.raises(BadRoom):
            check_room("#" + typed)


def test_a_letter_of_a_name_has_a_bounded_number_of_marks_and_none_twice():
    marks = "\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308\u0309"
    assert len(marks) > MARKS
    assert check_name("q" + marks[:MARKS]) == "q" + marks[:MARKS]
    for typed in ("q" + marks, "q\u0323\u0323", "q" + marks * 100, "क\u0902\u0902"):
        with pytest.raises(BadName) as caught:
            check_name(typed)
        assert caught.value.near
        assert check_name(caught.value.near) == caught.value.near
        with pytest.raises(BadRoom):
            check_room("#" + typed)


@for_each("char", "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~ \t\u00a0\u3000²①€🙂‿℮℘҉½©☃\u0589।")
def test_a_name_is_of_letters_digits_and_three_signs(char):
    for name in (f"a{char}b", f"a{char}", f"अ{char}"):
        with pytest.raises(BadName):
            check_name(name)


@for_each("sign", "-_.")
def test_no_mark_stands_on_a_sign(sign):
    for name in (f"a{sign}\u0301", f"क{sign}\u093f"):
        with pytest.raises(BadName):
            check_name(name)


@for_each("place", ["{}ann", "an{}n", "ann{}", "{}अनिल", "अ{}निल", "अनिल{}", "김{}철수", "សុ{}ខា"])
def test_nothing_invisible_or_harmful_can_be_in_a_name(place):
    for char in [*CONTROLS, *UNSEEN]:
        with pytest.raises(BadName):
            check_name(place.format(char))
        with pytest.raises(BadRoom):
            check_room("#" + place.format(char))


@for_each("typed", ["علی\u200c", "علی\u200dرضا", "ا\u200c\u200cب", "क\u200cख", "क\u094d\u200c", "a\u094d\u200db"])
def test_a_joiner_stands_only_where_it_changes_what_is_drawn(typed):
    with pytest.raises(BadName) as caught:
        check_name(typed)
    assert caught.value.near


def test_names_that_differ_in_joiners_only_are_the_same():
    assert fold("علی\u200cرضا") == fold("علیرضا")
    assert fold("ශ්\u200dරී") == fold("ශ්රී")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", [61, pytest.param(1, marks=pytest.mark.stress)])
def test_every_character_of_a_name_is_drawn(step):
    """It has no controls, formats or separators, and each mark stands on a letter."""
    for char in [*CHARACTERS[:0x1000], *CHARACTERS[0x1000::step]]:
        if unicodedata.category(char) in ("Cn", "Co", "Cs") or "\uac10" < char < "\ud7a0" or char > "\U00030000":
            continue
        for typed in ("x" + char, char):
            if why_not(typed):
                continue
            name = check_name(typed)
            assert not is_mark(name[0]), ascii(char)
            assert all(
                unicodedata.category(each)[0] in "LMN" or each in "-_.·\u05f3\u05f4\u0f0b\u30fb" for each in name
            ), ascii(char)
            assert check_name(name) == name, ascii(char)


@for_each(
    "typed",
    ["аnn", "annа", "Аnn", "αnn", "соcо", "annअ", "日本ж", "日本กิ", "김カ", "ㄅカ", "աnn", "Ꭺnn", "a٣b", "a۴", "עa"],
)
def test_a_name_does_not_mix_scripts_that_are_not_written_together(typed):
    assert len(scripts(typed)) == 2
    with pytest.raises(BadName, match="is written in one script, and this one mixes") as caught:
        check_name(typed)
    assert caught.value.code == "bad_name"
    near = caught.value.near
    assert near
    assert check_name(near) == near


@for_each("name", ["日本Tokyo", "カタカナひらがな漢字ABC", "김김金K", "金ㄅB", "ann2", "Юля_2", "علي2"])
def test_a_name_may_mix_what_is_written_together(name):
    assert check_name(name) == name


@for_each(
    ("typed", "near"),
    [
        ("ann bob", "annbob"), ("1ann", "ann1"), ("2pac", "pac2"), ("3d printer", "dprinter3"),
        ("9" + "x" * 30, "x" * 19 + "9"),
        ("...ann", "ann"), ("#ann", "ann"), ("x" * 30, "x" * 20),
        ("an\u202en", "ann"), ("a\x1b[31mnn", "ann"), ("ann\x1b[A", "ann"), ("Zoe\u0308!", "Zoë"),
        ("अनिल कुमार", "अनिलकुमार"), ("कवि!ता", "कविता"), ("น้ำ ฝน", "น้ำฝน"), ("ann²", "ann2"), ("O’Brien", "OBrien"),
        ("佐々木 さん", "佐々木さん"), ("🙂अनिल🙂", "अनिल"), ("१अनिल", "अनिल"), ("สมชาย\u200b", "สมชาย"),
        ("김 철수", "김철수"),
        ("علي ٣", "علي٣"), ("ann\ufe0f", "ann"),
    ],
)  # fmt: skip
def test_the_error_for_a_bad_name_suggests_a_similar_one(typed, near):
    with pytest.raises(BadName, match=re.escape(f" Try {near}.")) as caught:
        check_name(typed)
    assert caught.value.code == "bad_name"
    assert isinstance(caught.value, Told)


@for_each("typed", ["", "123", "!?", "-_.", "\u3164\u200b", "🙂", "\u0301\u0302", "\u093f", "١٢٣"])
def test_the_error_for_a_bad_name_with_no_similar_one_states_only_the_rule(typed):
    with pytest.raises(BadName, match=r"begins with a letter\.$"):
        check_name(typed)


@for_each("seed", range(20))
def test_a_name_that_would_do_does(seed):
    rng = random.Random(seed)
    letters = [
        "aZé日가1-_. !#\u0301\u202e\u3164🙂",
        "".join(WRITTEN.values()),
        "कखि\u094d\u200d\u200c\u093c২",
        "กิ้ำ\u0e31x",
    ]
    suggested = 0
    for _ in range(100):
        typed = "".join(rng.choices(rng.choice(letters), k=rng.randrange(60)))
        error = why_not(typed)
        if error and error.near:
            assert check_name(error.near) == error.near
            assert f" Try {error.near}." in error.text
            suggested += 1
    assert suggested


def why_not(typed: str) -> BadName | None:
    try:
        check_name(typed)
    except BadName as error:
        return error
    return None


def test_a_very_long_name_costs_no_more_than_a_long_one():
    """Otherwise this would take minutes: normalizing marks takes the square of their number."""
    for typed in ("e" + "\u0301\u0316" * 200_000, "क\u094d" * 200_000, "\u200d" * 400_000, "ﷺ" * 400_000):
        with pytest.raises(BadName):
            check_name(typed)
        with pytest.raises(BadRoom):
            check_room("#" + typed)
        fold(typed)


# --- the same name ------------------------------------------------------------------------------------


@for_each(
    ("one", "other"),
    [
        ("ann", "ANN"), ("Zoë", "ZOË"), ("Zo\u00eb", "Zoe\u0308"), ("strasse", "STRAßE"), ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("ann", "ａｎｎ"), ("fi", "ﬁ"), ("k", "\u212a"), ("s", "ſ"),
    ],
)  # fmt: skip
def test_spellings_that_differ_in_case_or_form_are_the_same(one, other):
    assert fold(one) == fold(other)


@for_each(("one", "other"), [("ann", "anne"), ("ann", "änn"), ("a-b", "a_b"), ("o", "0"), ("l", "1")])
def test_other_names_are_not_the_same(one, other):
    assert fold(one) != fold(other)


def test_a_folded_name_stays_as_it_is():
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
    assert free_name("ann2", {"ann2"}.__contains__) == "ann3"
    assert free_name("ann99", {"ann99"}.__contains__) == "ann100"
    assert free_name("ann1990", {"ann1990"}.__contains__) == "ann19902"


def test_a_free_name_is_never_too_long():
    long = "x" * NAME_LENGTH
    taken = {long, *("x" * (NAME_LENGTH - 1) + str(number) for number in range(2, 10))}
    assert free_name(long, taken.__contains__) == "x" * (NAME_LENGTH - 2) + "10"
    assert check_name(free_name(long, taken.__contains__))


# --- rooms --------------------------------------------------------------------------------------------


@for_each("room", ["#a", "#lab2", "#2", "#٣", "#-_", "#Übung_3-b", "#日本", "#" + "x" * ROOM_LENGTH])
def test_a_room_is_kept_as_it_is_typed(room):
    assert check_room(room) == room


def test_a_room_is_kept_composed():
    assert check_room("#U\u0308bung") == "#\u00dcbung"


@for_each(
    "room", ["", "#", "lab2", "##", "#a b", "#a.b", "#a#b", "# a", " #a", "#a ", "#\u0301", "#\u0f0b", "#" + "x" * 33]
)
def test_a_room_begins_with_a_number_sign_and_has_no_other_marks(room):
    with pytest.raises(BadRoom) as caught:
        check_room(room)
    assert caught.value.code == "bad_room"
    assert isinstance(caught.value, Told)
