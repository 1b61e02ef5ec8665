"""Tables of names and topics in every writing system: they line up, and fit into a terminal of 80 columns."""

from __future__ import annotations

import pathlib
import re

import pytest
from support.samples import for_each

from chat_threads.dialects import columns as module
from chat_threads.dialects.columns import columns, shortened, widest, widest_of
from chat_threads.dialects.tables import table
from chat_threads.dialects.text import TextDialect
from chat_threads.events import (
    AuditList,
    AuditRow,
    Moderated,
    Notice,
    PeopleList,
    PersonRow,
    PersonShown,
    Presence,
    Problem,
    RoomList,
    RoomRow,
    SanctionList,
    SanctionRow,
    TopicChanged,
    TopicShown,
)
from chat_threads.letters import clusters
from chat_threads.rules import check_name, check_room

NAMES = {
    "Latin": "Bartholomew_Marie-An",
    "Chinese": "李" * 20,
    "Japanese": "サーバー佐々木",
    "Korean": "김철수",
    "Thai": "กิตติน้ำฝน",
    "Hindi": "कृष्णमूर्ति",
    "Tamil": "கவிதா",
    "Sinhala": "ශ්‍රීමාලි",
    "Khmer": "ស្រីមុំ",
    "Burmese": "ကျွန်ုပ်",
    "Hebrew": "דָּוִד",
    "Arabic": "محمّد",
    "Persian": "علی‌رضا",
    "Vietnamese": "Nguyễn",
}
TOPICS = {
    "a family": "👩‍👩‍👧‍👦 meet " * 5,
    "flags": "🇷🇴🇯🇵🏴󠁧󠁢󠁷󠁬󠁳󠁿" * 6,
    "Chinese": "今天的作业在哪里" * 8,
    "Thai": "น้ำผึ้ง" * 20,
    "Hebrew": "מה נשמע היום " * 6,
    "marks": "e\u0301\u0323" * 80,
    "keycaps": "1️⃣2️⃣3️⃣" * 10,
    "half-width": "ｻｰﾊﾞｰ" * 20,
    "short": "hi",
    "none": "",
}
MARKS = "\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308"
WIDTH = {
    "李": 2,
    "サ": 2,
    "ー": 2,
    "김": 2,
    "x": 1,
    "ก": 1,
    "กิ": 1,
    "e\u0301": 1,
    "ב": 1,
    "🙂": 2,
    "👩‍👩‍👧‍👦": 2,
    "\u200d": 0,
    "🇷🇴": 2,
}


def cells(line: str, starts: list[int]) -> list[str]:
    """The text in each column of a line. A column is found by the drawn width of the text before it."""
    found = ["" for _ in starts]
    at = 0
    for each in clusters(line):
        column = max(number for number, start in enumerate(starts) if start <= at)
        found[column] += each
        at += columns(each)
    return [cell.strip(" \u200e") for cell in found]


def rows_of(lines: list[str]) -> list[list[str]]:
    rule = next(line for line in lines if set(line) == {"-", " "})
    starts = [found.start() for found in re.finditer("-+", rule)]
    return [cells(line, starts) for line in lines[lines.index(rule) + 1 :]]


def lines_of(event) -> list[str]:
    text = TextDialect().views.here.encode((event,)).decode()
    return [line.removeprefix("* ") for line in text.split("\r\n")[:-1]]


def likely(text: str, whole: str) -> bool:
    """Whether this is the whole text, or its beginning, cut between letters."""
    if not text.endswith("…"):
        return text == whole
    kept = clusters(text[:-1])
    return kept == clusters(whole)[: len(kept)]


@for_each("text", WIDTH)
def test_a_text_takes_as_many_columns_as_it_is_drawn_in(text):
    assert columns(text) == WIDTH[text]
    assert columns(f"ab{text}") == 2 + WIDTH[text]


@for_each("text", [*NAMES.values(), *TOPICS.values()])
@for_each("most", [1, 2, 3, 10, 17, 30])
def test_a_text_is_cut_between_letters_and_fits(text, most):
    short = shortened(text, most)
    assert columns(short) <= widest(short) <= most
    assert likely(short, text)
    assert widest(short) >= min(widest(text), most) - max(map(widest, clusters(text)), default=0)
    assert shortened(text, widest(text)) == text


FAMILY = "👩\u200d👩\u200d👧\u200d👦"
WORDS = FAMILY * 7 + "xxxxxxxx * ann: type your password"  # 48 columns, or 90 where the characters are not joined


@for_each(
    "event",
    [
        TopicChanged("#lab2", "eve", WORDS),
        TopicShown("#lab2", WORDS),
        Presence("#lab2", "left", ("eve",), WORDS),
        Notice(f"eve is away: {WORDS}"),
        PersonShown(PersonRow("eve", ("#lab2",), 3.0, WORDS), 1.0),
        Moderated("#lab2", "eve", "ban", "bob", WORDS),
        Problem("banned", f"You are banned from #lab2: {WORDS}."),
        RoomList((RoomRow("#lab2", 1, 1, WORDS),), 0),
        PeopleList(None, (PersonRow("eve", ("#lab2",), 3.0, WORDS),), 0),
        SanctionList("#lab2", (SanctionRow("bob", "ban", "eve", WORDS, None),)),
        AuditList("#lab2", (AuditRow(0, "#lab2", "eve", "topic", "bob", WORDS),)),
    ],
)
def test_no_words_of_a_person_begin_a_row_where_characters_are_not_joined(event):
    """Such a terminal draws a family in eight columns. What is too wide would go on in a row of its own, which could
    look like another person's line, or the server's."""
    for line in TextDialect().views.here.encode((event,)).decode().split("\r\n"):
        assert sum(map(columns, line)) <= 80


def test_a_very_long_text_is_cut_in_no_time():
    """Measuring the whole text for each letter takes the square of its length: pytest's timeout would end the test."""
    assert columns(shortened("कि" * 1_000_000, 30)) <= 30
    assert columns(shortened("e" + "\u0301" * 1_000_000, 30)) <= 30


@pytest.mark.parametrize("text", [("e" + MARKS) * 22, "कि" * 100, "李" * 200, "👩‍👩‍👧‍👦" * 28])
def test_each_letter_of_a_cell_is_measured_a_few_times_at_most(text, monkeypatch):
    measured: list[int] = []

    def counted(part: str) -> int:
        measured.append(len(part))
        return columns(part)

    monkeypatch.setattr(module, "columns", counted)
    shortened(text, 20)
    assert sum(measured) <= 2 * len(text)
    measured.clear()
    table(["name"], [[text]] * 10, most=40, shrink=[(0, 20)])
    assert sum(measured) <= 3 * 10 * len(text) + len("name")


def test_people_of_all_scripts_stand_in_columns_of_a_terminal_of_80():
    names = [check_name(name) for name in NAMES.values()]
    people = [
        PersonRow(name, tuple(f"#{other}"[:33] for other in names[:3]), 3.0, away)
        for name, away in zip(names, [*TOPICS.values()] * 2, strict=False)
    ]
    lines = lines_of(PeopleList(None, tuple(people), 0))
    assert all(columns(line) <= 78 for line in lines)
    for person, row in zip(people, rows_of(lines), strict=True):
        assert row[0] == person.name, "whole, for it is what one types"
        assert likely(row[1], " ".join(person.rooms))
        assert row[2] == "3s"
        assert likely(row[3], (person.away or "away").strip())


def test_rooms_of_all_scripts_stand_in_columns_of_a_terminal_of_80():
    names = [check_room("#" + name) for name in NAMES.values()]
    rows = [
        RoomRow(name, number, 10_000 + number, topic.strip())
        for number, (name, topic) in enumerate(zip(names, [*TOPICS.values()] * 2, strict=False))
    ]
    lines = lines_of(RoomList(tuple(rows), 0))
    assert all(columns(line) <= 78 for line in lines)
    for room, row in zip(rows, rows_of(lines), strict=True):
        assert row[:3] == [room.room, str(room.people), str(room.messages)]
        assert likely(row[3], room.topic)


@for_each("room", ["#" + "李" * 32, "#" + "x" * 32, "#" + "ที่" * 32, "#" + "नि" * 32])
def test_the_longest_names_of_rooms_fit(room):
    lines = lines_of(RoomList((RoomRow(check_room(room), 1, 2, "topic " * 30),), 0))
    assert all(columns(line) <= 78 for line in lines)
    ((name, people, messages, topic),) = rows_of(lines)
    assert likely(name, room)
    assert (people, messages) == ("1", "2")
    assert len(topic) >= 10


def test_hebrew_and_arabic_leave_their_neighbours_where_they_are():
    """A terminal that orders text would put the numbers to the left of the name, so a mark that is not seen ends it."""
    lines = lines_of(RoomList((RoomRow("#עברית", 3, 14, "שלום"), RoomRow("#lab", 3, 14, "")), 0))
    assert [line.split() for line in lines[2:]] == [["#עברית\u200e", "3", "14", "שלום"], ["#lab", "3", "14"]]


def test_without_wcwidth_characters_are_counted(monkeypatch):
    monkeypatch.setattr(module, "wcswidth", None)
    monkeypatch.setattr(module, "widest_of", widest_of.__wrapped__)  # which remembers nothing
    assert columns("李x") == 2
    assert shortened("李雷李雷", 3) == "李雷…"


@for_each("most", [20, 30, 40])
def test_a_table_is_made_narrower_column_by_column(most):
    lines = table(("a", "b"), [("x" * 30, "y" * 30)], most=most, shrink=((1, 5), (0, 8)))
    assert max(map(len, lines)) == most


def test_a_table_may_have_no_rows():
    assert table(("room", "people"), [], most=20, shrink=((0, 4),))[0].split() == ["room", "people"]


def test_a_plain_install_measures_widths():
    """By tabulate's own extra, which brings wcwidth."""
    setup = pathlib.Path(__file__).parents[2] / "setup.py"
    assert '"tabulate[widechars]>=' in setup.read_text(encoding="utf-8")
