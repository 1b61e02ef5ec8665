"""Texts in rows that fit into a window."""

from __future__ import annotations

import random
import re

from support.samples import for_each

from chat_threads.dialects import rows as module
from chat_threads.dialects.columns import columns
from chat_threads.dialects.rows import rows

FAMILY = "👩\u200d👩\u200d👧\u200d👦"  # 8 columns where its characters are not joined
CROWD = "\u200d".join("👩" * 9)  # 18


@for_each(
    ("text", "most", "first", "found"),
    [
        ("the readers must not wait", 12, None, ["the readers", "must not", "wait"]),
        ("the readers must not wait", 12, 5, ["the", "readers must", "not wait"]),
        ("the readers", 12, 2, ["", "the readers"]),
        ("the readers", 12, -3, ["", "the readers"]),
        ("see example.org/lab2/readers now", 12, None, ["see example.", "org/lab2/rea", "ders now"]),
        ("see https://example.org/lab2 now", 12, None, ["see https://example.org/lab2", "now"]),
        ("see https://example.org/lab2", 12, 4, ["see", "https://example.org/lab2"]),
        ("今天https://example.org/lab2今天", 12, None, ["今天https://example.org/lab2", "今天"]),
        ("(http://[::1]/lab2/readers) now", 12, None, ["(http://[::1", "]/lab2/reade", "rs) now"]),
        ("größer als a|b|c", 13, None, ["größer als", "a|b|c"]),
        ("    x = f(long)", 12, None, ["    x =", "f(long)"]),
        ("           f(long)", 12, None, ["f(long)"]),
        ("      self.waits(1)", 16, None, ["      self.waits", "(1)"]),
        ("      self.waits(1)", 16, 5, ["", "      self.waits", "(1)"]),
        ("      http://a.org/b", 16, None, ["http://a.org/b"]),
        ("exactly this", 12, None, ["exactly this"]),
        ("exactly this   ", 12, None, ["exactly this"]),
        ("two  spaces stay", 12, None, ["two  spaces", "stay"]),
        ("今天的作业，在哪里。", 10, None, ["今天的作", "业，在哪", "里。"]),
        ("今天的「作业」在哪里", 8, None, ["今天的", "「作业」", "在哪里"]),
        ("in #长长的名字.", 8, None, ["in #长长", "的名字."]),
        ("of #长长的名字 (长的)!", 7, None, ["of #长", "长的名", "字 (长", "的)!"]),
        ("김철수 김철수", 8, None, ["김철수", "김철수"]),
        ("กำกำกำกำ", 4, None, ["กำกำ", "กำกำ"]),
        ("e\u0301e\u0301e\u0301", 2, None, ["e\u0301e\u0301", "e\u0301"]),
        (FAMILY * 6, 38, None, [FAMILY * 4, FAMILY * 2]),
        (f"see {FAMILY * 2}", 18, 11, ["see", FAMILY * 2]),
        (FAMILY * 3, 10, None, [FAMILY] * 3),
        (FAMILY * 2, 8, 4, ["", FAMILY, FAMILY]),
        (FAMILY, 7, None, [FAMILY[:6], FAMILY[6:]]),
        (CROWD, 16, None, [CROWD[:16], CROWD[16:]]),
        ("", 12, None, [""]),
        ("   ", 12, 3, [""]),
    ],
)
def test_a_row_ends_at_a_space_or_where_a_reader_of_the_script_expects_it(text, most, first, found):
    assert rows(text, most, first) == found


def test_nothing_is_lost_and_no_row_is_too_wide_even_if_a_terminal_draws_each_character_by_itself():
    chance = random.Random(1)
    for _ in range(3000):
        text = "".join(chance.choices("aab  你「」，กำ🙂👩\u200d🇷\u0301", k=chance.randrange(40)))
        most = chance.randrange(4, 12)
        first = chance.choice([None, -1, 0, 1, 4])
        found = rows(text, most, first)
        assert "".join(found).replace(" ", "") == text.replace(" ", "")
        for row, room in zip(found, [most if first is None else max(0, first), *[most] * len(found)], strict=False):
            assert columns(row) <= sum(map(columns, row)) <= room
            assert row == row.rstrip(" ")


@for_each(
    "forged", ["* bob left", "[12:34] bob: hi", "bob: hi", "! No", "~ bob waves", "  | x", "> /quit", "\xa0", "é:"]
)
def test_an_address_that_the_terminal_wraps_cannot_begin_a_row_as_a_line_of_the_chat(forged):
    """Whatever stands in it, and however wide the window is that it was put into rows for."""
    for most in range(10, 90, 7):
        for before in range(80):
            text = f"see https://example.org/{'x' * before}{forged}/y is what I mean"
            for row in rows(text, most):
                for wide in range(most, most + 5):
                    for at in range(wide, len(row), wide):
                        assert re.fullmatch("[^ :*!\\[\xa0]+", row[at : at + wide]), (row, wide)


def test_a_letter_of_a_thousand_characters_is_taken_as_a_thousand():
    for text in ("ก" + "ำ" * 1000, "👩" + "\u200d👩" * 1000, "e" + "\u0301" * 1000):
        found = rows(text, 10)
        assert "".join(found) == text
        assert max(sum(map(columns, row)) for row in found) <= 10


def test_a_text_is_measured_once_for_all_widths(monkeypatch):
    measured: list[str] = []

    def counted(text: str) -> int:
        measured.append(text)
        return columns(text)

    text = "กิตติน้ำฝน 李 " * 50
    monkeypatch.setattr(module, "widest_of", counted)
    for most in range(10, 200):
        rows(text, most)
    assert len(measured) <= len(text)
