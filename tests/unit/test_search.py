"""The search: which letters count as equal, words in all writing systems, and an index that follows the commits."""

from __future__ import annotations

import contextlib
import pathlib
import random
import shutil
import sqlite3
import unicodedata
from collections.abc import Callable

import pytest
from support.samples import for_each

from chat_threads import search as module
from chat_threads.errors import Unreadable
from chat_threads.events import Message
from chat_threads.folding import RULE, fold_text
from chat_threads.ordered import RoomMade
from chat_threads.schema import MEMORY, MIGRATIONS
from chat_threads.search import ADD_LETTERS, MAX_ADD, Index, Query, words_of
from chat_threads.storage import Batch, Storage
from chat_threads.storage_errors import StorageBroken, StorageError

LAB, HALL = 1, 2  # rooms


def made(room: int) -> RoomMade:
    name = {LAB: "#lab", HALL: "#hall"}[room]
    return RoomMade(room, name, name, "", "ann", 1_000)


def said(number: int, text: str, room: int = LAB, sender: str = "ann") -> Message:
    return Message(room, {LAB: "#lab", HALL: "#hall"}[room], number, 1_000 * number, sender, "say", text)


def index_all(storage: Storage) -> None:
    while storage.unindexed:
        storage.index()


def found(storage: Storage, words: str, room: int | None = None, sender: str | None = None) -> list[int]:
    return [message.number for message in storage.search(words, room, sender, 1000)]


def in_index(storage: Storage, word: str) -> int:
    """How many messages the index itself has for a word, whether or not they are still there."""
    rows = storage._read("SELECT count(*) FROM pieces WHERE pieces MATCH ?", (Query((word,)).terms(),))
    return int(rows[0][0])


def is_sound(storage: Storage) -> None:
    storage._writer.execute("INSERT INTO pieces (pieces) VALUES ('integrity-check')")


@pytest.fixture
def storage(opened: Callable[..., Storage]) -> Storage:
    """A fresh history with the rooms #lab and #hall."""
    storage = opened()
    storage.commit(Batch([made(LAB), made(HALL)]))
    return storage


def with_the_index(storage: Storage) -> None:
    index_all(storage)


def before_the_index_is_made(storage: Storage) -> None:
    assert storage.unindexed


def without_fts5(storage: Storage) -> None:
    storage._index.usable = False


ways = pytest.mark.parametrize("way", [with_the_index, before_the_index_is_made, without_fts5])


# --- what counts as the same -------------------------------------------------------------------------------

SAME = """
    strasse Straße STRASSE straẞe              елка ёлка ЁЛКА Елка           сигма Сигма
    σίσυφος ΣΊΣΥΦΟΣ Σίσυφοσ σισυφος            istanbul İstanbul ISTANBUL ıstanbul
    café cafe CAFÉ cafe\u0301                  lodz Łódź łódź ŁÓDŹ           vietnam Việtnam VIỆTNAM
    oresund Øresund ØRESUND                    encyclopaedia encyclopædia    oeuvre œuvre ŒUVRE
    fine ﬁne ＦＩＮＥ ｆｉｎｅ                      ｻｰﾊﾞｰ サーバー さーばー ｻーバー
    한국 \u1112\u1161\u11ab\u1100\u116e\u11a8   مرحبا مَرْحَبًا مـــرحبا             محمد محمّد محمـد
    احمد أحمد إحمد آحمد ٱحمد                   كتاب کتاب                      على علی علي
    שלום שָׁלוֹם שׁלום                           कलम क़लम क\u093cलम             हां हाँ
    don't don’t donʼt                          a-b a–b a‑b a—b               год2024 год２０２４ год٢٠٢٤
    ❤ ❤\ufe0f                                  soft so\u00adft so\u200bft    x2 x² x₂
    dzungla Džungla DŽungla džungla             երևան Երևան ԵՐԵՎԱՆ ԵՐԵՒԱՆ երեւան
    צה"ל צה״ל                                   ג'ירפה ג׳ירפה                תל-אביב תל־אביב
    'olelo ʻōlelo ʼolelo                        5~10 5〜10 ５～１０             1/2 ½ 1∕2 １／２
"""
DIFFERENT = """
    か/が は/ぱ ครู/คร น้ำ/นำ कुल/कल गति/गत সে/স தமிழ்/தமழ் မြ/မ 한/하 日/目 i/l o/ö2 ы/и ب/ت ש/ס 1/l c++/c--
"""


@for_each("group", [group.split() for line in SAME.splitlines() for group in line.split("  ") if group.strip()])
def test_ways_to_write_a_word_count_as_the_same(group: list[str]) -> None:
    assert len({fold_text(word) for word in group}) == 1, [fold_text(word) for word in group]


@for_each("pair", DIFFERENT.split())
def test_differences_that_make_another_word_stay(pair: str) -> None:
    one, other = pair.split("/")
    assert fold_text(one) != fold_text(other)


def test_all_normal_forms_and_both_cases_of_every_character_are_equal() -> None:
    for code in range(0x110000):
        char = chr(code)
        if unicodedata.category(char) in ("Cn", "Co", "Cs", "Lo") and code > 0x3400 and code % 97:
            continue  # a sample of ideographs, syllables and what is not assigned
        folded = fold_text(char)
        others = [unicodedata.normalize(form, char) for form in ("NFC", "NFD", "NFKC", "NFKD")]
        for other in (folded, char.upper(), char.lower(), *others):
            assert fold_text(other) == folded, f"U+{code:04X} {other!a}"


def test_words_are_what_has_a_letter_a_digit_or_a_symbol() -> None:
    assert words_of('C++  - ?! 👍🏽 don’t "50%" · ×') == ("c++", "👍🏽", "don't", '"50%"')
    assert words_of("hang HANG Hang") == ("hang",)
    assert words_of("_ - \u3164 \u00ad \u2800"[:3]) == ()


# --- what is found ------------------------------------------------------------------------------------------

TEXTS = [
    "今天的作业在哪里",
    "重跑gen-7…",
    "it hangs when I run it",
    "Hanging again, on Straße 12",
    "ёлка у нас большая",
    "오늘 숙제 어디 있어요 한국",
    "การบ้านวันนี้อยู่ที่ไหน",
    "サーバーが落ちた",
    "日本語です",
    "C++ is > 50% templates",
    "محمّد في البيت",
    "नमस्ते दुनिया, क़लम कहाँ है",
    "👩‍💻 pushed 👍🏽",
    "ῥόδον Σίσυφος",
    "x",
    "don’t “quote” me",
    'say "never" AND * NEAR(a b) text:colon',
]
WANTED = [
    ("今天", [0]), ("天", [0]), ("作业", [0]), ("作业在哪", [0]), ("今天的作业在哪里", [0]), ("业作", []),
    ("今天 哪里", [0]),
    ("gen", [1]), ("gen-", [1]), ("gen-7", [1]), ("重跑", [1]), ("跑g", [1]), ("跑gen", [1]), ("7...", [1]),
    ("hang", [2, 3]), ("HANGS", [2]), ("hanging strasse", [3]), ("angi", [3]), ("straße", [3]),
    ("h", [2, 3, 12]), ("ha", [2, 3]),
    ("елка", [4]), ("ЁЛКА", [4]), ("большая нас", [4]), ("ая", [4]),
    ("\u1112\u1161\u11ab\u1100\u116e\u11a8", [5]), ("한국", [5]), ("숙제", [5]), ("숙제 한국", [5]), ("있어", [5]),
    ("การบ้าน", [6]), ("วันนี้", [6]), ("ไหน", [6]), ("บ้", [6]),
    ("サーバー", [7]), ("ｻｰﾊﾞｰ", [7]), ("さーばー", [7]), ("落", [7]), ("落ちた", [7]),
    ("日本語", [8]), ("本語で", [8]), ("日", [8]),
    ("c++", [9]), ("50%", [9]), ("0%", [9]), ("50", [9]), ("> 50%", [9]),
    ("محمد", [10]), ("البيت", [10]), ("بيت", [10]),
    ("कलम", [11]), ("दुनिया", [11]), ("नमस्", [11]), ("कहां", [11]),
    ("👍", [12]), ("👩‍💻", [12]), ("👩", [12]), ("pushed 👍", [12]),
    ("σισυφος", [13]), ("ΡΟΔΟΝ", [13]), ("ον Σίσυφος", [13]),
    ("x", [14, 16]),
    ("don't", [15]), ('"quote"', [15]), ("quote", [15]),
    ('"never"', [16]), ("AND", [16]), ("near(a", [16]), ("text:colon", [16]),
    ("colon never say", [16]), ("a b) say", [16]),
    ("nowhere", []), ("hangx", []), ("zz", []), ("hang 今天", []), ("- *", []), ("", []),
]  # fmt: skip


@ways
def test_a_word_is_found_in_all_writing_systems_and_inside_others(
    storage: Storage, way: Callable[[Storage], None]
) -> None:
    storage.commit(Batch(messages=[said(number, text) for number, text in enumerate(TEXTS)]))
    way(storage)
    assert [(words, found(storage, words)) for words, _ in WANTED] == WANTED


@ways
def test_any_part_of_any_word_is_found_and_nothing_else(storage: Storage, way: Callable[[Storage], None]) -> None:
    """A search finds what a look at every message finds, whatever is searched for, by whom and where."""
    chance = random.Random(7)
    letters = "aAbcéß gen- \t%'\"*()今天作业한국ёлкаサが๊้ัการكَتابक़लि👍🏽ﬁ\u0301\u0328…’"
    texts = ["".join(chance.choice(letters) for _ in range(chance.randrange(1, 40))).strip() or "a" for _ in range(400)]
    messages = [
        said(number, text, chance.choice((LAB, HALL)), chance.choice(("ann", "Bob", "Änne")))
        for number, text in enumerate(texts)
    ]
    storage.commit(Batch(messages=messages[:300]))
    way(storage)
    storage.commit(Batch(messages=messages[300:]))
    for _ in range(150):
        parts = []
        for _ in range(chance.choice((1, 1, 2, 3))):
            word = chance.choice(fold_text(chance.choice(texts)).split() or ["a"])
            at = chance.randrange(len(word))
            parts.append(word[at : at + chance.randrange(1, 7)])
        words, room, sender = (
            " ".join(parts),
            chance.choice((None, None, LAB)),
            chance.choice((None, None, "BOB", "änne")),
        )
        wanted = words_of(words)
        expected = [
            message.number
            for message in messages
            if wanted
            and all(word in fold_text(message.text) for word in wanted)
            and room in (None, message.room_id)
            and (sender is None or sender.casefold() == message.sender.casefold())
        ]
        assert found(storage, words, room, sender) == expected, (words, room, sender)


@ways
def test_the_newest_are_found_and_shown_oldest_first(
    storage: Storage, way: Callable[[Storage], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLICE", 7)
    storage.commit(Batch(messages=[said(number, "hello" if number % 3 else "bye") for number in range(1, 61)]))
    way(storage)
    storage.commit(Batch(messages=[said(number, "hello") for number in (61, 62)]))
    hello = [number for number in range(1, 61) if number % 3] + [61, 62]
    for limit in (1, 2, 3, 10, 41, 42, 43):
        assert [message.number for message in storage.search("hello", None, None, limit)] == hello[-limit:]
    assert len(storage.search("BYE", LAB, "ann", 1000)) == 20


@ways
def test_the_messages_of_a_deleted_room_take_nobodys_place(storage: Storage, way: Callable[[Storage], None]) -> None:
    storage.commit(Batch(messages=[said(1, "hello"), *(said(number, "hello", HALL) for number in range(1, 20))]))
    way(storage)
    storage.commit(Batch(rooms_ended=[HALL]))
    assert [message.room for message in storage.search("hello", None, None, 5)] == ["#lab"]


@ways
def test_a_word_is_found_on_any_line_of_a_text(storage: Storage, way: Callable[[Storage], None]) -> None:
    storage.commit(Batch(messages=[said(1, "def run():\n    lock.acquire()\n    spin"), said(2, "spin\n\x1e\nx")]))
    way(storage)
    assert [found(storage, words) for words in ("acquire", "spin", "run lock", "spinx")] == [[1], [1, 2], [1], []]
    assert [message.lines for message in storage.search("spin", None, None, 5)] == [3, 3]


def test_a_name_is_no_word_and_a_word_no_name(storage: Storage) -> None:
    storage.commit(
        Batch(
            messages=[said(1, "\ufdd0al \ufdd12 bob", sender="ann"), said(2, "x", HALL, "bob"), said(3, "y", LAB, "al")]
        )
    )
    index_all(storage)
    assert found(storage, "bob") == [1]
    assert found(storage, "bob", sender="al") == []
    assert found(storage, "bob", room=HALL) == []
    assert found(storage, "al", sender="al") == []


def test_a_search_of_very_many_words_is_no_error(storage: Storage) -> None:
    words = [chr(0x4E00 + number) * (number % 4 + 1) for number in range(100)]
    storage.commit(Batch(messages=[said(1, " ".join(words)), said(2, " ".join(words[1:]))]))
    index_all(storage)
    assert found(storage, " ".join(words)) == [1]


def test_a_search_reads_few_messages_to_find_few(storage: Storage) -> None:
    """Not a time but a count: the index is asked for the sender and the room too, and nothing else is read."""
    storage.commit(Batch(messages=[said(number, f"the lab {number}") for number in range(1, 5001)]))
    storage.commit(Batch(messages=[said(1, "the end", HALL, "bob")]))
    index_all(storage)
    steps = [0]

    def counted(words: str, room: int | None, sender: str | None, hidden: tuple[int, ...]) -> int:
        with storage._borrow(storage._searchers) as connection:

            def rows(sql: str, values: object) -> list[tuple[object, ...]]:
                return connection.execute(sql, values).fetchall()  # type: ignore[arg-type]

            steps[0] = 0
            connection.set_progress_handler(lambda: steps.__setitem__(0, steps[0] + 1), 100)
            storage._index.find(rows, Query(words_of(words), room, sender, hidden), 51)
            connection.set_progress_handler(None, 0)
        return steps[0]

    for asked in [
        ("the", None, "nobody", ()), ("the", HALL, None, ()), ("zzz", None, None, ()), ("zz", None, None, ()),
        ("the", None, None, (LAB,)), ("e", None, None, (LAB, 99)),
    ]:  # fmt: skip
        assert counted(*asked) <= 10, asked


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("hidden", [(LAB,), (*range(1000, 20_000), LAB)], ids=["few rooms", "many rooms"])
def test_no_text_of_a_hidden_room_is_read_and_what_is_compared_is_counted(
    storage: Storage, indexed: bool, hidden: tuple[int, ...]
) -> None:
    storage.commit(Batch(messages=[said(number, f"the lab {number}") for number in range(1, 1201)]))
    storage.commit(Batch(messages=[said(1, "the end", HALL, "bob")]))
    if indexed:
        index_all(storage)
    for rooms, count in (((), 500), (hidden, 1)):
        compared: list[int] = []
        messages = storage.search("the", None, None, 51, hidden=rooms, looked=compared.append)
        assert (messages[-1].text, len(messages)) == ("the end", min(count, 51))
        assert sum(compared) == count


# --- the index follows --------------------------------------------------------------------------------------


def test_a_commit_leaves_the_index_alone(storage: Storage) -> None:
    statements: list[str] = []
    storage._writer.set_trace_callback(statements.append)
    storage.commit(Batch(messages=[said(1, "hello")]))
    storage._writer.set_trace_callback(None)
    assert [statement.split()[0] for statement in statements] == ["INSERT"]
    assert (storage.unindexed, in_index(storage, "hello"), found(storage, "hello")) == (1, 0, [1])
    storage.index()
    assert (storage.unindexed, in_index(storage, "hello"), found(storage, "hello")) == (0, 1, [1])


@pytest.mark.parametrize(
    ("text", "most"),
    [("hello", MAX_ADD), ("x" * 2000, ADD_LETTERS // 2000), ("가" * 1999 + "나", ADD_LETTERS // 2000)],
)
def test_one_step_of_the_index_is_bounded(storage: Storage, text: str, most: int) -> None:
    storage.commit(Batch(messages=[said(number, text) for number in range(1, 3 * most + 2)]))
    left = [storage.unindexed]
    while storage.unindexed:
        storage.index()
        left.append(storage.unindexed)
    assert left == [3 * most + 1, 2 * most + 1, most + 1, 1, 0]
    assert in_index(storage, text[-3:]) == 3 * most + 1
    is_sound(storage)


def test_a_killed_history_continues_to_index_where_it_was(
    path: pathlib.Path, tmp_path: pathlib.Path, storage: Storage, opened: Callable[..., Storage]
) -> None:
    storage.commit(Batch(messages=[said(number, "hello") for number in range(1, 2 * MAX_ADD + 2)]))
    storage.index()
    killed = tmp_path / "killed.db"
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", f"{killed}{end}")
    again = opened(killed)
    assert (again.unindexed, in_index(again, "hello")) == (MAX_ADD + 1, MAX_ADD)
    assert len(found(again, "hello")) == 1000
    index_all(again)
    assert in_index(again, "hello") == 2 * MAX_ADD + 1
    is_sound(again)


def test_an_older_history_is_searched_at_once_and_its_index_rebuilt(
    path: pathlib.Path, opened: Callable[..., Storage]
) -> None:
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.execute("PRAGMA application_id = 0x63687468")
        for statement in (*MIGRATIONS[0], *MIGRATIONS[1], "PRAGMA user_version = 2"):
            old.execute(statement)
        old.execute("CREATE VIRTUAL TABLE messages_fts USING fts5(text, content='messages', content_rowid='id')")
        old.execute("INSERT INTO rooms VALUES (1, '#lab', '#lab', '', 'ann', 1, 2)")
        for id_, text in ((1, "今天的作业"), (2, "hanging")):
            old.execute("INSERT INTO messages VALUES (?, 1, ?, 1, 'ann', 'say', ?)", (id_, id_, text))
        old.execute("INSERT INTO messages_fts (messages_fts) VALUES ('rebuild')")
        old.commit()
    storage = opened()
    assert storage.unindexed == 2
    assert (found(storage, "作业"), found(storage, "hang")) == ([1], [2])
    index_all(storage)
    assert (found(storage, "作业"), found(storage, "hang"), in_index(storage, "hang")) == ([1], [2], 1)
    assert storage._read("SELECT count(*) FROM sqlite_master WHERE name LIKE 'messages_fts%'", ()) == [(0,)]


def test_under_another_rule_the_index_is_rebuilt(
    opened: Callable[..., Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = opened()
    storage.commit(Batch([made(LAB)], [said(1, "hello"), said(2, "bye")]))
    index_all(storage)
    storage.close()
    monkeypatch.setattr(module, "RULE", RULE + " and more")
    again = opened()
    assert (again.unindexed, in_index(again, "hello"), found(again, "hello")) == (2, 0, [1])
    index_all(again)
    again.close()
    assert opened().unindexed == 0


class WithoutFts5:
    """A connection of an SQLite without FTS5, or with something else wrong with it."""

    def __init__(self, connection: sqlite3.Connection, error: str = "no such module: fts5") -> None:
        self.connection = connection
        self.error = error

    def execute(self, sql: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        if "pieces" in sql or "messages_fts" in sql:
            raise sqlite3.OperationalError(self.error)
        return self.connection.execute(sql, values)


def test_an_sqlite_without_fts5_reads_and_one_with_it_rebuilds_the_index(
    opened: Callable[..., Storage], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    storage = opened()
    storage.commit(Batch([made(LAB)], [said(1, "hello"), said(2, "hello")]))
    index_all(storage)
    storage.close()
    with monkeypatch.context() as poor:
        usual = Index.open
        poor.setattr(Index, "open", lambda index, writer: usual(index, WithoutFts5(writer)))  # type: ignore[arg-type]
        without = opened()
    assert "no FTS5" in caplog.text
    without.commit(Batch(messages=[said(3, "hello again")]))
    assert (without.unindexed, found(without, "hello"), found(without, "ag")) == (0, [1, 2, 3], [3])
    assert without.sweep(1_500) == (1, False)
    without.close()
    again = opened()
    assert found(again, "hello") == [2, 3]
    index_all(again)
    assert (found(again, "hello"), in_index(again, "hello")) == ([2, 3], 2)


def test_another_error_of_the_index_is_not_taken_for_a_missing_fts5(storage: Storage) -> None:
    with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
        Index().open(WithoutFts5(storage._writer, "disk I/O error"))  # type: ignore[arg-type]


def test_a_message_after_the_newest_were_deleted_is_found_after_a_restart(opened: Callable[..., Storage]) -> None:
    """Their ids are not given again: the index would be taken to have them already."""
    storage = opened()
    storage.commit(Batch([made(LAB)], [said(1, "hello"), said(2, "hello")]))
    index_all(storage)
    storage.sweep(10_000)
    storage.close()
    again = opened()
    again.commit(Batch(messages=[said(3, "hello")]))
    assert found(again, "hello") == [3]
    index_all(again)
    assert (found(again, "hello"), in_index(again, "hello")) == ([3], 1)


def test_messages_that_the_index_cannot_take_are_read(storage: Storage) -> None:
    storage.commit(Batch(messages=[said(number, "hello") for number in range(1, MAX_ADD + 1)]))
    index_all(storage)
    storage.commit(Batch(messages=[said(MAX_ADD + 1, "hello and goodbye")]))
    storage._writer.execute(
        "CREATE TEMP TRIGGER full BEFORE UPDATE ON searchable"
        " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    )
    with pytest.raises(StorageError, match="disk full"):
        storage.index()
    assert (storage.unindexed, found(storage, "goodbye"), len(found(storage, "hello"))) == (
        1,
        [MAX_ADD + 1],
        MAX_ADD + 1,
    )
    storage._writer.execute("DROP TRIGGER full")
    storage._broken = True
    with pytest.raises(StorageBroken):
        storage.index()
    assert found(storage, "goodbye") == [MAX_ADD + 1]
    storage._broken = False
    index_all(storage)
    assert (found(storage, "goodbye"), in_index(storage, "goodbye")) == ([MAX_ADD + 1], 1)


@pytest.mark.parametrize("step", range(4))
def test_a_search_finds_everything_once_though_the_index_moves_on_meanwhile(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    storage.commit(Batch(messages=[said(number, "hello") for number in range(1, 4)]))
    index_all(storage)
    storage.commit(Batch(messages=[said(number, "hello") for number in range(4, 7)]))
    asked: list[str] = []
    find = Index.find

    def meanwhile(
        index: Index, rows: module.Rows, query: Query, limit: int, below: int, looked: module.Looked
    ) -> list[int]:
        def slow(sql: str, values: object) -> list[tuple[object, ...]]:
            if len(asked) == step:
                index_all(storage)
                storage.commit(Batch(messages=[said(7, "hello")]))
                index_all(storage)
            asked.append(sql)
            return rows(sql, values)  # type: ignore[arg-type]

        return find(index, slow, query, limit, below, looked)

    monkeypatch.setattr(Index, "find", meanwhile)
    assert found(storage, "hello") in ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 7])
    assert len(asked) == 3


@pytest.mark.parametrize("indexed", [0, 3, 5])
def test_deleted_messages_leave_the_index_even_if_only_some_are_in_it(storage: Storage, indexed: int) -> None:
    for number, text in enumerate(TEXTS[:5]):
        if number == indexed:
            index_all(storage)
        storage.commit(Batch(messages=[said(number, text)]))
    if indexed == 5:
        index_all(storage)
    assert storage.sweep(2_500) == (3, False)
    assert (found(storage, "今天"), found(storage, "hang")) == ([], [3])
    index_all(storage)
    assert [in_index(storage, word) for word in ("今天的", "gen", "hang", "елк")] == [0, 0, 1, 1]
    is_sound(storage)


def test_the_number_of_a_room_comes_from_its_messages_and_outlives_them(opened: Callable[..., Storage]) -> None:
    storage = opened()
    storage.commit(Batch([made(LAB), made(HALL)], [said(number, "hello") for number in range(1, 6)]))
    assert [room.last for room in storage.rooms()] == [5, 0]
    storage.sweep(3_500)
    assert [room.last for room in storage.rooms()] == [5, 0]
    storage.sweep(10**12)
    storage.close()
    again = opened()
    assert [room.last for room in again.rooms()] == [5, 0]
    again.commit(Batch(messages=[said(6, "hello"), said(1, "hello", HALL)]))
    assert [room.last for room in again.rooms()] == [6, 1]


def test_a_history_in_memory_is_indexed_and_searched(opened: Callable[..., Storage]) -> None:
    storage = opened(MEMORY)
    storage.commit(Batch([made(LAB)], [said(1, "今天"), said(2, "hanging")]))
    assert (found(storage, "今"), found(storage, "hang")) == ([1], [2])
    index_all(storage)
    assert (found(storage, "今"), found(storage, "hang")) == ([1], [2])


def test_a_search_in_a_history_that_breaks_gets_an_error(storage: Storage) -> None:
    storage.commit(Batch(messages=[said(1, "hello")]))
    index_all(storage)
    storage._writer.execute("DROP TABLE pieces")
    with pytest.raises(Unreadable, match="no such table"):
        storage.search("hello", None, None, 10)
