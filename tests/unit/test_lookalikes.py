"""Names that could be taken for another person's, or for the server's: they are refused, and ordinary names are not."""

from __future__ import annotations

import unicodedata

import pytest
from support.samples import for_each

from chat_threads import names as module
from chat_threads.errors import BadName, LooksLikeRoom, LooksTaken, NameTaken, ReservedName, RoomExists
from chat_threads.letters import in_identifier
from chat_threads.lookalikes import _LOOKS_LIKE, looks
from chat_threads.names import ALIKE, Name, Names
from chat_threads.rules import RESERVED, check_name, fold, is_reserved
from chat_threads.session import SessionStore

ALIKE_PAIRS = [
    ("mike", "miĸe"),
    ("coco", "сосо"),  # Cyrillic
    ("coco", "СОСО"),
    ("COCO", "сосо"),
    ("Icoco", "Ісосо"),
    ("lcoco", "Ісосо"),
    ("Bob", "ВОВ"),
    ("ann", "аnn"),
    ("Zoë", "Zоё"),
    ("pacha", "расһа"),
    ("bob", "ΒΟΒ"),  # Greek
    ("von", "νοn"),
    ("Nik", "Νικ"),
    ("vik", "νικ"),
    ("hnn", "հոո"),  # Armenian
    ("coco", "ⲥⲟⲥⲟ"),  # Coptic
    ("coco", "СⲞⲤО"),
    ("aza", "ᎪᏃᎪ"),  # Cherokee
    ("mick", "ꓟꓲꓚꓗ"),  # Lisu
    ("ivan", "ıvan"),  # Latin
    ("ivan", "İvan"),
    ("gail", "ɡɑil"),
    ("anna", "ᴀɴɴᴀ"),
    ("Tom", "ᴛᴏᴍ"),
    ("wik", "ᴡɪᴋ"),
    ("Ștefan", "Ştefan"),
    ("сосо", "ⲥⲟⲥⲟ"),
    ("علي", "علی"),  # Arabic and Persian yeh
    ("كريم", "کریم"),
    ("علي", "عـلـي"),  # longer
    ("علي3", "علي٣"),
    ("علي٣", "علی۳"),
    ("ニコ", "二コ"),  # Kana and Han
    ("ヘレン", "へレン"),
    ("サーバ", "サ一バ"),
    ("แม", "เเม"),  # Thai, one vowel and two
    ("आन", "अान"),  # Devanagari
    ("ന്‍", "ൻ"),  # Malayalam chillu
    ("བསྟན་", "བསྟན"),
    ("ジョン・S", "ジョン.S"),
    ("ʻana", "ʼana"),
]

OTHER_NAMES = [
    ("ann1", "annl"),
    ("annI", "ann1"),
    ("s10", "sl0"),
    ("O0", "OO"),
    ("corn", "com"),
    ("ann", "änn"),
    ("ann", "an-n"),
    ("a-b", "a_b"),
    ("Łukasz", "Lukasz"),
    ("søren", "soren"),
    ("Алёна", "Алена"),
    ("Ирина", "Мирина"),
    ("вова", "boba"),
    ("Түмэн", "Тумэн"),
    ("ดาว", "ตาว"),
    ("כהן", "כהו"),
    ("മിനി", "മീനി"),
    ("వాణి", "హణి"),
    ("ثریا", "پریا"),
    ("김", "긴"),
    ("カ", "が"),
    ("土", "士"),
    ("佐々木", "佐木"),
]


# --- what looks alike ------------------------------------------------------------------------------------


@for_each(("one", "other"), ALIKE_PAIRS)
def test_names_that_look_alike_have_a_look_in_common(one, other):
    assert fold(one) != fold(other)
    assert set(looks(one)) & set(looks(other))
    assert set(looks("#" + one)) & set(looks("#" + other))


@for_each(("one", "other"), OTHER_NAMES)
def test_names_that_their_readers_tell_apart_do_not_look_alike(one, other):
    assert not set(looks(one)) & set(looks(other))


@for_each("name", [name for pair in [*ALIKE_PAIRS, *OTHER_NAMES] for name in pair])
def test_a_name_looks_like_itself_in_every_case_and_form(name):
    for same in (name.upper(), name.lower(), unicodedata.normalize("NFD", name)):
        if fold(same) == fold(name):
            assert set(looks(same)) & set(looks(name)), ascii(same)


def test_the_table_has_letters_of_names_and_what_they_look_like_looks_like_itself():
    assert len(_LOOKS_LIKE) > 1000
    for code, look in _LOOKS_LIKE.items():
        char = chr(code)
        if unicodedata.category(char) != "Cn":  # newer than this Python
            assert in_identifier(char) or char in "\u00b7\u30fb", ascii(char)
        assert look != char
        assert look.translate(_LOOKS_LIKE) == look or len(look) > 1, ascii(char)


@for_each(("typed", "near"), [("аnn", "ann"), ("αnn", "ann"), ("Zоё", "Zoë"), ("Αнна", "нна"), ("mike\u0483", "mike")])
def test_the_error_for_a_name_of_mixed_scripts_names_the_one_that_it_looks_like(typed, near):
    with pytest.raises(BadName) as caught:
        check_name(typed)
    assert caught.value.near == near


# --- who has a name ----------------------------------------------------------------------------------------


class House:
    """People in a register of names, each with a token of their own."""

    def __init__(self) -> None:
        self.names: Names[str] = Names()

    def come(self, person: str, name: str, identity: int = 0) -> None:
        self.names.check(Name.of(name), identity or hash(person), (person, None))
        self.names.take(Name.of(name), person)

    def go(self, person: str, name: str) -> None:
        self.names.give_back(Name.of(name), person)


@for_each(("one", "other"), ALIKE_PAIRS)
def test_a_name_that_looks_like_one_in_use_is_refused_with_one_that_is_free(one, other):
    for first, second in ((one, other), (other, one)):
        house = House()
        house.come("first", first)
        with pytest.raises(LooksTaken, match="looks like") as caught:
            house.come("second", second)
        assert isinstance(caught.value, NameTaken)
        assert caught.value.code == "name_taken"
        house.come("second", caught.value.near)
        house.go("first", first)
        house.come("third", second)


@for_each(("one", "other"), OTHER_NAMES)
def test_names_that_do_not_look_alike_may_be_in_use_at_once(one, other):
    house = House()
    house.come("first", one)
    house.come("second", other)


def test_a_class_of_students_with_numbers_in_their_names_may_enter():
    house = House()
    for number in range(1000):
        house.come(f"student {number}", f"s{number}")
        house.come(f"other {number}", f"ann{number:04}")
    for name in ("sl", "sI", "annl", "annO", "ann0l"):
        house.come(name, name)


def test_anybody_may_take_a_known_name_but_only_its_person_may_take_one_that_looks_like_it():
    house = House()
    house.names.know(Name.of("coco"), 7)
    with pytest.raises(LooksTaken, match="looks like coco"):
        house.come("other", "сосо")
    house.come("anybody", "Coco")
    house.go("anybody", "Coco")
    house.come("the same", "сосо", 7)


def test_names_that_look_alike_and_are_older_than_the_rule_may_enter_but_not_both_at_once():
    house = House()
    house.names.know(Name.of("coco"), 0)
    house.names.know(Name.of("сосо"), 8)
    house.come("first", "coco")
    with pytest.raises(LooksTaken):
        house.come("second", "сосо", 8)
    house.go("first", "coco")
    house.come("second", "сосо", 8)
    with pytest.raises(LooksTaken):
        house.come("third", "ⲥⲟⲥⲟ")


def test_a_name_is_given_back_only_by_its_owner():
    house = House()
    house.come("first", "coco")
    house.go("second", "сосо")
    house.go("second", "coco")
    with pytest.raises(LooksTaken):
        house.come("second", "сосо")
    house.go("first", "coco")
    house.come("second", "сосо")


def test_the_known_names_are_bounded_and_the_oldest_are_forgotten(monkeypatch):
    monkeypatch.setattr(module, "KNOWN", 100)
    house = House()
    for number in range(1000):
        house.names.know(Name.of(f"coco{number}"), 0)
    for alike in ("коза", "коzа", "kоза", "коза2"):
        house.names.know(Name.of(alike), 0)
    assert len(house.names._known) == 100
    with pytest.raises(LooksTaken):
        house.come("new", "сосо999")
    house.come("new", "сосо1")
    for number in range(100):
        house.names.know(Name.of("сосо999"[: number % 5] + "x"), number)
    assert all(len(each) <= ALIKE for each in house.names._known.values())


# --- rooms -----------------------------------------------------------------------------------------------------


def test_a_room_that_looks_like_another_is_kept_by_the_same_code_as_one_that_exists():
    assert issubclass(LooksLikeRoom, RoomExists)
    assert LooksLikeRoom("#a", "#b").code == "room_exists"


# --- the server's own names ------------------------------------------------------------------------------------


SMALL_CAPITALS = str.maketrans("abcdefghijklmnoprtuvwyz", "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀᴛᴜᴠᴡʏᴢ")


@for_each("name", sorted(RESERVED))
def test_the_servers_names_are_reserved(name):
    cyrillic = name.translate(str.maketrans("aeopcyxs", "аеорсухѕ"))
    first, rest = name[0], name[1:]
    for typed in (
        *(name, name.upper(), name.title(), f"{name}-", f"{name}_", f"{first}.{rest}"),
        *(first + rest.replace(old, new) for old, new in ("o0", "oｏ", "l1", "lI", "i1", "a4", "e3", "s5", "t7")),
        name.translate(SMALL_CAPITALS),
        name.replace("m", "rn"),
    ):
        assert is_reserved(typed), typed
        with pytest.raises(ReservedName) as caught:
            check_name(typed)
        assert caught.value.code == "bad_name"
        assert f"reserved for the server. Try {caught.value.near}." in caught.value.text
        assert check_name(caught.value.near) == caught.value.near
    assert is_reserved(cyrillic)


@for_each("name", ["your", "alla", "Alan", "hera", "server2", "admiral", "Moder", "rooms", "ann", "Ally", "Юля"])
def test_other_names_are_not_reserved(name):
    assert not is_reserved(name)
    assert check_name(name) == name


GIVEN_NAMES = """
Ada Adam Admir Adnan Aiko Ail Aila Aili Aino Al Ala Alan Ali Alia Alice Alii Alina Alla Alli Allie Ally Amin Amina Amir
An Anil Anja Anna Arno Arnold Ayu Bjorn Boris Chan Channing Cai Chiara Eli Elia Ella Eowyn Erin Ernest Eve Evelyn
Hana Hannele Harry Helen Her Hera Hermes Hero Hira Hiro Ian Ibrahim Ida Iker Ilia Ilya Ines Iris Isil Ivo Jin Jo Juan
Kai Lal Lali Li Lia Lil Lila Lili Lilli Lior Lori Lou Mai Mary Mia Mo Moe Modesto Modi Moderata Moin Nadir Nobu Noor
Oli Olli Omar Oskar Ona Otto Owen Percy Rani Ramon Robin Roman Rome Romi Romy Rom Ron Roo Roots Rory Ruth Selma
Serge Servet Seth Severin Sima Simon Stafford Stefan Steffi Sue Sven Taffy Temel Tom Yao Ye
Yi Yo You-Jin Younes Young Youssef Yu Yuki Yusuf Ylli Zoe Zeynep
Alí Ålí Åli Élodie İlay Işıl Ilıca Łukasz Ólafur Þór Đorđe Øyvind Zoë
Али Алл Алла Алі Анна Вера Гера Инна Иоан Мо Рома Роман Тома Юля Ян Їван
Άλλη Ίλια Ηρα Ρομα Νίκη Αλί Մուշեղ Անի გიორგი ნინო עלי יולי אילן רון علي علی مريم يوسف هيرا
अली मीरा राम আলী இலா ఆలి ಆಲಿ ആലി අලි อลิ อารี ლალი 阿里 有仁 佐藤 さくら ユウ 유진 알리
""".split()


@for_each("spelled", [str, str.lower, str.upper])
def test_no_given_name_is_reserved(spelled):
    for name in map(spelled, GIVEN_NAMES):
        assert not is_reserved(name), name
        assert check_name(name)


def test_a_token_that_was_kept_under_a_given_name_brings_it_back():
    sessions = SessionStore()
    sessions.know([("Ali", 5), ("Ail", 6)])
    assert sessions.free("Ali", 5) == "Ali"
    assert sessions.free("Ail", 7) == "Ail"
