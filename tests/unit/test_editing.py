"""The line editor: keys, the edited line, and how it is drawn, however the bytes are split and whatever they are."""

from __future__ import annotations

import copy
import itertools
import random
import re
import tracemalloc

import pytest
from support.samples import for_each

from chat_threads.dialects import keys as keys_of
from chat_threads.dialects.buffer import HISTORY, LINES
from chat_threads.dialects.columns import columns
from chat_threads.dialects.drawing import MOST, status
from chat_threads.dialects.editing import TAB, Editing, Wanted, Wish
from chat_threads.events import WireBytes
from chat_threads.letters import clusters
from chat_threads.rules import without_harmful

LIMIT = 8192
FAMILY = "👩‍👩‍👧‍👦"
LETTERS = [
    "a",
    "Z",
    "9",
    "_",
    ".",
    "é",
    "e\u0301",
    "李",
    "ｻﾞ",
    "กำ",
    "ที่",
    "한",
    "ב",
    "نّ",
    "🙂",
    "👍🏽",
    FAMILY,
    "🇷🇴",
    "1️⃣",
]
LEFT, RIGHT, HOME, END, UP, DOWN = b"\x1b[D", b"\x1b[C", b"\x1b[H", b"\x1b[F", b"\x1b[A", b"\x1b[B"
PASTE, PASTED = b"\x1b[200~", b"\x1b[201~"


class Row:
    """One row of a terminal, as far as drawings need it. Its letters are as wide as ``columns`` says."""

    KNOWN = re.compile(r"\x1b\[\??([0-9;]*)([GHKhl])|(\x1b[78]|[\r\a])|([^\x00-\x1f\x7f-\x9f\u202a-\u202e]+)")

    def __init__(self, width):
        self.cells, self.at, self.saved, self.wraps = [" "] * width, 0, 0, True

    def write(self, data):
        at = 0
        while at < len(data):
            found = self.KNOWN.match(data, at)
            assert found, f"{data[at:]!r} reaches the terminal"
            at = found.end()
            number, final, control, text = found.groups()
            for letter in clusters(text or ""):
                self._put(letter)
            if control == "\r" or final == "H":
                self.at = 0
            elif final == "G":
                self.at = int(number) - 1
            elif final == "K":
                self.cells[self.at :] = [" "] * (len(self.cells) - self.at)
            elif final:
                self.wraps = final == "h"
            elif control == "\x1b7":
                self.saved = self.at
            elif control == "\x1b8":
                self.at = self.saved
        assert self.wraps
        assert self.at < len(self.cells)

    def _put(self, letter):
        size = columns(letter)
        assert self.at + size < len(self.cells), "the last column stays free"
        if size:
            self.cells[self.at : self.at + size] = [letter, *[""] * (size - 1)]
            self.at += size
        elif self.at:
            self.cells[self.at - 1] += letter

    def __str__(self):
        return "".join(self.cells)


def pull(editing, *chunks, candidates=()):
    """What the chunks come to: drawings, lines and wishes."""
    items = []
    for chunk in chunks:
        editing.feed(chunk)
        while (item := editing.next()) is not None:
            if item is not Wish.SEND:  # nobody holds the line
                items.append(item)
            if isinstance(item, Wanted):
                editing.complete(candidates)
    return items


def typed(*chunks, candidates=()):
    """The lines and wishes, and the text that is left."""
    editing = Editing(LIMIT)
    items = pull(editing, *chunks, candidates=candidates)
    return [item for item in items if not isinstance(item, WireBytes)], editing.text


def split_at_random(rng, data):
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(12)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


# What a person types on an empty line, and the result.
PIECES = [
    (b"hello\r\n", [b"hello"]),
    (b"one\r\x00two\rthree\nfour\r\n\r\n", [b"one", b"two", b"three", b"four", b""]),
    (b"helo" + LEFT + b"l" + END + b"!\r", [b"hello!"]),
    (b"b" + b"\x1bOD" + b"a" + b"\x1bOC" + b"c\r", [b"abc"]),
    (b"bc\x1b[Ha\x1b[Fd\r", [b"abcd"]),
    (b"bc\x1b[1~a\x1b[4~d\r", [b"abcd"]),
    (b"bc\x1b[7~a\x1b[8~d\r", [b"abcd"]),
    (b"bc\x1bOHa\x1bOFd\r", [b"abcd"]),
    (b"bc\x01a\x05d\x1bOM", [b"abcd"]),
    (b"abx\x08y\x7fc" + LEFT * 2 + b"\x1b[3~B\r", [b"aBc"]),
    (b"abc\x02\x02\x04B\x06\r", [b"aBc"]),
    (b"one two three\x1b[1;5D\x1b[1;3D2\x1bf\x1b[1;5C!\r", [b"one 2two three!"]),
    (b"one two three\x1bb\x1bb2\x1bf\x1bOc!\r", [b"one 2two three!"]),
    (b"one two\x1bb\x1b[1;2D-\r", [b"one- two"]),
    (b"one two-three\x17x\x15\x19\x19\r", [b"one xone x"]),
    (b"one two-three\x17\x17\x19\x19\r", [b"one two-threeone two-three"]),
    (b"one two-three\x1b\x7f\x1b\x08\x19\r", [b"one two-three"]),
    (b"one two\x01\x1bd\x0b\x19\x19\r", [b"one twoone two"]),
    (b"one two\x01\x1b[3;5~x\x0b\x19\x01\x19\r", [b" twox two"]),
    ("a👍🏽e\u0301กำ🇷🇴🇯🇵".encode() + b"\x7f\x7f\x7f\x7f\x7fb\r", [b"ab"]),
    ("👩‍👩‍👧‍👦李ที่".encode() + LEFT * 3 + b"a" + RIGHT * 2 + b"b\r", ["a👩‍👩‍👧‍👦李bที่".encode()]),
    ("une e\u0301te\u0301".encode() + b"\x1bb\x17\x01\x1bd\r", [b""]),
    (b"caf\xc3\r" + b"x\xff\x80y\r", ["caf\ufffd".encode(), "x\ufffd\ufffdy".encode()]),
    ("a\u202eb\u200bc\u2028d\u0085e\ufeff\x00\x11f\r".encode(), [b"abcdef"]),
    (b"a\x1b[31mb\x1b[2Jc\x1b[24;80Rd\x1b[M !!e\x1b[<0;1;1Mf\r", [b"abcdef"]),
    (b"a\x1b[[Ab\x1b[Ic\x1bOPd\x1b[15~e\x1b[?1;2cf\r", [b"abcdef"]),
    (b"a\x1bxb\x1b\x1b[Dc\x1b]0;d\x07e\r", [b"axc]0;deb"]),
    (b"a\x1b\rb\x1b\r\x00c\x1b\r\nd\x1b\ne\r", [b"a\nb\nc\nd\ne"]),
    (b"/msg bob a\x1b\r/b\r", [b"/msg bob a\n/b"]),
    (b"a\x1b[" + b"1" * 40 + b"b\x1b[1;\xc3\xa9\r", [b"a" + b"1" * 10 + "bé".encode()]),
    (b"word\x1b[Z\x03", [Wanted("word")]),
    (b"\x03\x04", [Wish.LEAVE, Wish.LEAVE]),
    (b"unsent\x03sent\r", [b"sent"]),
    (b"ab\x04\x02\x04\r", [b"a"]),
    (b"\x0c\x12", [Wish.REDRAW, Wish.REDRAW]),
    (b"\x1b[5~\x1b[6~\x1b[5~x\r\x1b[5;2~", [Wish.SCROLL_BACK, b"x", Wish.SCROLL_BACK]),
    (PASTE + b"one\ttab\n\tand\n/\tmore" + PASTED + b"!\r", [b"one tab\n    and\n/   more!"]),
    (PASTE + b"x\n" * 79 + b"/y" + PASTED + b"\r", [b"x\n" * 39 + b"x", b"x\n" * 39 + b"/y"]),
    (PASTE + b"x\n" * 40 + b"/y" + PASTED + b"\r", [b"x\n" * 39 + b"x", b"//y"]),
    (PASTE + b"a\r\nb\r\x00\nc\x1b[31m\x1bd\x0c" + PASTED + b"\r", [b"a\nb\n\ncd"]),
    (b"say:" + PASTE + b"\n/quit\n//x" + PASTED + b"\r", [b"say:\n/quit\n//x"]),
    (b"/msg bob " + PASTE + b"all\nof it" + PASTED + b"\r", [b"/msg bob all\nof it"]),
    (PASTE + b"\n \n/msg bob all\nof it" + PASTED + b"\r", [b"/msg bob all\nof it"]),
    (PASTE + b"its end was lost\r\x03x\r", [b"x"]),
    (PASTED + b"x\r", [b"x"]),
]


@for_each(("keys", "expected"), PIECES)
def test_each_key_does_what_readline_does(keys, expected):
    assert typed(keys) == (expected, "")


@pytest.mark.parametrize("seed", range(3))
def test_a_split_at_any_byte_changes_nothing(seed, monkeypatch):
    monkeypatch.setattr(keys_of, "BURST", 1 << 20)  # nothing but Tab depends on it
    rng = random.Random(seed)
    for _ in range(10):
        keys = b"".join(rng.choice(PIECES)[0] for _ in range(12))[rng.randrange(40) :]  # it begins anywhere
        whole = typed(keys)
        assert typed(*split_at_random(rng, keys)) == whole
        assert typed(*(keys[at : at + 1] for at in range(len(keys)))) == whole


# --- prompt_toolkit does the same -----------------------------------------------------------------------

CURSOR = [
    LEFT,
    RIGHT,
    HOME,
    END,
    UP,
    DOWN,
    b"\x01",
    b"\x02",
    b"\x05",
    b"\x06",
    b"\x10",
    b"\x0e",
    b"\x7f",
    b"\x08",
    b"\x1b[3~",
]
WORDS = [b"\x1bb", b"\x1bf", b"\x1b[1;5C", b"\x1b[1;5D"]
KILLS = [b"\x15", b"\x0b", b"\x17"]
WORD_KILLS = [b"\x1bd", b"\x1b\x7f"]
BACKWARD = [b"\x1bb", b"\x1b[1;5D"]
FORWARD = [b"\x1bf", b"\x1b[1;5C", b"\x1bd"]


def random_keys(rng, plain):
    """Lines of keys. A kill follows a letter, removes something, and has a letter after it: readline adds it to the
    kill before it, and keeps what was killed if nothing is."""
    letters = ["a", "b", "z", " "] if plain else ["a", " ", "é", "李", "ß", "🙂", "."]
    keys = [*CURSOR, b"\x04", b"\x19", *KILLS, *((WORDS + WORD_KILLS) if plain else ())]
    editing = Editing(LIMIT)
    for _ in range(rng.randrange(1, 8)):
        line = []

        def press(key, line=line):
            line.append(key)
            pull(editing, key)

        for _ in range(rng.randrange(60)):
            if rng.random() < 0.5:
                press(rng.choice(letters).encode())
                continue
            key = rng.choice(keys)
            if key in FORWARD and not re.match(r"\s+\w|\w\w", editing._buffer.after):
                continue  # readline goes to the end of a word of one letter, or of the line; prompt_toolkit does not
            if key in BACKWARD and not re.search(r"\w", editing._buffer.before):
                continue  # and likewise to the beginning
            if key in KILLS + WORD_KILLS:
                probe = copy.deepcopy(editing)
                pull(probe, key)
                if probe.text == editing.text:
                    continue
                press(key)
                key = b"k"
            if key != b"\x04" or editing.text:
                press(key)
        if not editing.text.strip():
            press(b"x")
        press(b"\r")
        yield b"".join(line)


@pytest.mark.parametrize("seed", range(12))
def test_random_keys_make_the_lines_that_they_make_in_prompt_toolkit(seed):
    prompt_toolkit = pytest.importorskip("prompt_toolkit", reason="the extra [client] is not installed")
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    rng = random.Random(seed)
    lines = list(random_keys(rng, plain=seed % 2 == 0))
    with create_pipe_input() as keyboard:
        session = prompt_toolkit.PromptSession(input=keyboard, output=DummyOutput())
        expected = []
        for line in lines:
            keyboard.send_bytes(line)
            expected.append(session.prompt().encode())
    assert typed(*split_at_random(rng, b"".join(lines))) == (expected, "")


# --- what the terminal shows ----------------------------------------------------------------------------


@for_each("width", [*range(1, 24), 40, 80, 200, 10_000])
def test_the_row_shows_the_text_around_the_cursor_at_any_width(width):
    rng = random.Random(width)
    editing, row = Editing(LIMIT, width), Row(width)
    prompt = "> " if width > 10 else ""
    for _ in range(150):
        key = rng.choice([LEFT, RIGHT, HOME, END, b"\x7f", b"\x17", UP, DOWN, b"\r", *[b""] * 12])
        key = key or "".join(rng.choices(LETTERS, k=rng.randrange(1, 6))).encode()
        for item in pull(editing, key):
            if isinstance(item, WireBytes):
                row.write(item.data.decode())  # it fits: see Row
        before, after = editing._buffer.before, editing._buffer.after
        left = "".join(row.cells[: row.at]).removeprefix(prompt)
        right = str(row).removeprefix(prompt)[len(left) :].rstrip(" ")
        if width > 11:
            assert before.endswith(left[1:]) if left[:1] == "<" else before == left
            assert after.startswith(right[:-1]) if right[-1:] == ">" else after == right
            assert left[:1] != "<" or columns(left) > (min(width, MOST) - 3) // 4, "what was typed last is seen"
        if columns(before + after) < min(width, MOST) - 3:
            assert right == after
        elif width > 11:
            assert columns(left + right) >= (min(width, MOST) - 3) * 0.6 - 5, "little space is wasted"
            assert not after or right not in ("", ">"), "the letter at the cursor is seen"


@for_each("width", [20, 40, 80, 200])
@for_each("letter", ["x", "李"])
def test_a_long_line_moves_sideways_a_little_at_a_time_so_that_one_sees_where_one_was(width, letter):
    editing = Editing(LIMIT, width)
    begins, moved, right = 0, set(), set()
    for key in [letter.encode()] * 400 + [LEFT] * 400:
        pull(editing, key)
        (moved if key == LEFT else right).add(abs(editing._drawing._start - begins) * columns(letter))
        begins = editing._drawing._start
    assert len(moved) > 1, "it was longer than the row"
    assert max(moved) < width // 2
    assert max(right) <= 10


def test_only_what_changes_is_drawn():
    editing = Editing(LIMIT)

    def drawn(keys):
        return [item.data for item in pull(editing, keys) if isinstance(item, WireBytes)]

    assert drawn(b"hello") == [b"\r> hello\x1b[K"]
    assert drawn(b" you") == [b" you"]
    assert drawn(LEFT * 50) == [b"\x1b[3G"], "one drawing for all keys that come together"
    assert drawn(LEFT) == drawn(b"\x1b[") == drawn(b"6~") == []
    assert drawn(b"\x15\x0b\r") == [b"\r> \x1b[K"]
    editing.resize(40, 23)
    assert drawn(b"x") == [b"\x1b[23;1H> x\x1b[K"]
    assert drawn(b"\x15" + PASTE + b"\ta\tb" + PASTED) == [b"\x1b[23;1H>     a    b\x1b[K"], (
        "a tab is drawn as four spaces"
    )
    assert drawn(LEFT) == [b"\x1b[12G"]
    assert [type(item) for item in pull(editing, b"\x0c")] == [Wish, WireBytes], "the line is drawn on the new screen"


@for_each("width", [-5, 0, 1, 2, 9, 20, 40, 80, 5000, 1 << 40])
def test_the_status_line_fits(width):
    for room, people, unread in [("#lobby", 1, ()), (None, 0, ()), ("#" + "李" * 32, 1000, ("#lab",) * 500)]:
        line = status("ann", room, people, unread, width)
        assert columns(line) <= max(0, min(width, 1000) - 1), "the last column of the last row stays free"
        assert line == line.rstrip(), "no blanks that a terminal would wrap in a narrower window"
        assert "……" not in line
    assert status("ann", "#" + "x" * 32, 3, ("#a",), 40) == " ann  #xxxxxxxxxx…  3 people  new in #a"
    assert status("ann", "#lab", 3, ("#a", "#b"), 50) == " ann  #lab  3 people  new in #a #b"
    long = "#room-number-one", 3, ("#room-number-two", "#b", "#c")
    for width, shown in (
        (60, " ann  #room-numbe…  3 people  new in #room-number-two #b #c"),
        (56, " ann  #room-numbe…  3 people  new in #room-number-two …"),
        (40, " ann  #room-number-one  3 people  3 new"),
        (20, " ann  #room-number…"),
        (10, " ann  #r…"),
    ):
        assert status("ann", *long, width) == shown


# --- history, completion, and what is too much ----------------------------------------------------------


def test_the_history_keeps_the_unfinished_line_and_what_was_changed():
    assert typed(b"one\rtwo\runfin", UP, UP + b"!", DOWN, DOWN + b"ished", b"\r") == (
        [b"one", b"two", b"unfinished"],
        "",
    )
    assert typed(b"one\rtwo\r" + UP * 2 + b"!" + DOWN + UP)[1] == "one!"
    assert typed(b"one\rtwo\r" + UP * 2 + b"!" + DOWN + b"\r" + UP * 3)[1] == "one", "as it was sent"
    assert typed(b"one\rone\r  \r" + UP * 9)[1] == "one"
    assert typed(b"".join(b"%d\r" % number for number in range(99)) + UP * 99)[1] == str(99 - HISTORY)


def test_tab_shows_one_candidate_after_the_other():
    assert typed(b"an\t", candidates=["ann"]) == ([Wanted("an")], "ann: ")
    assert typed(b"hi an\t!", candidates=["ann"]) == ([Wanted("hi an")], "hi ann !")
    assert typed(b"/jo\t#l\t", candidates=["/join"])[1] == "/join /join "
    three = ["ann", "anton", "Ánna"]
    for keys, shown in {
        b"\t": "anton: ",
        b"\t\t": "Ánna: ",
        b"\t\t\t": "an",
        b"\x1b[Z": "an",
        b"\x1b[Z" * 2: "Ánna: ",
    }.items():
        assert typed(b"an\t" + keys, candidates=three) == ([Wanted("an")], shown)
    assert typed(b"an\thi\t", candidates=three)[0] == [Wanted("an"), Wanted("ann: hi")]
    assert typed(b"if x:\r\t\ty = 1\tz\r\tq", candidates=three) == ([b"if x:", b"        y = 1   z"], "\tq"), "pasted"
    assert typed(b"I meant an\t", candidates=three)[1] == "I meant ann "
    assert typed(b"say an to me" + b"\x1bb" * 2 + LEFT + b"\t", candidates=["ann"])[1] == "say ann to me"
    editing = Editing(LIMIT)
    assert pull(editing, b"q\t")[-1] == WireBytes(b"\a"), "there is none"


def test_what_does_not_fit_is_dropped_with_a_bell_and_one_word():
    for chunks in ([b"o" * 7 + "éé".encode() + b"xy"], [b"o" * 7, "é".encode(), "é".encode(), b"x", b"y"]):
        editing = Editing(10)
        items = pull(editing, *chunks)
        assert items.count(Wish.FULL) == 1
        assert [item.data for item in items if isinstance(item, WireBytes)][-1].endswith(b"\a")
        assert editing.text == "oooooooé"
        assert pull(editing, b"\x7f!\r")[-1] == b"ooooooo!"
    editing = Editing(10)
    assert Wish.FULL in pull(editing, b"aaaaaaa b\t", candidates=["bob"])
    assert editing.text == "aaaaaaa b", "a completion is whole or not at all"


@for_each("block", [b"\nx" * LINES, b"x" * (LIMIT + 1), "李".encode() * 3000])
def test_of_a_pasted_block_that_does_not_fit_nothing_is_taken(block):
    many, least = PASTE + block + PASTED, PASTE + b"\nx" * (LINES - 1) + PASTED
    for split in ([many], [many[:50], many[50:]]):
        editing = Editing(LIMIT)
        items = pull(editing, b"before after" + LEFT * 5, *split)
        assert items.count(Wish.REFUSED) == 1
        assert Wish.FULL not in items
        assert [item.data for item in items if isinstance(item, WireBytes)][-1].endswith(b"\a")
        assert editing.text == "before after"
        assert pull(editing, b"and ", many)[-1] is Wish.REFUSED, "each is answered"
        assert pull(editing, b"\r")[-1] == b"before and after"
        assert Wish.REFUSED not in pull(editing, least)
        assert editing.text == "\nx" * (LINES - 1)


def test_enter_is_asked_about_before_a_line_is_sent_and_may_be_taken_back():
    editing = Editing(LIMIT)
    editing.feed(b"one\r")
    assert editing.next() is Wish.SEND
    editing.hold()
    assert editing.next() == WireBytes(b"\r> one\x1b[K\a")
    assert editing.next() is None
    editing.feed(b"!\rtwo\r\r")
    wished = [item for item in iter(editing.next, None) if not isinstance(item, WireBytes)]
    assert wished == [Wish.SEND, b"one!", Wish.SEND, b"two", b""]


@for_each(("erases", "said"), [(b"", [b"one"]), (b"\x15", [b"two", b"three"]), (b"\x03", [b"two", b"three"])])
def test_an_enter_that_is_taken_back_takes_others_with_it_until_the_line_is_erased(erases, said):
    """They come together when the person has had to wait."""
    editing = Editing(LIMIT)
    editing.feed(b"one\r\r" + erases + (b"two\rthree\r" if erases else b""))
    assert editing.next() is Wish.SEND
    editing.hold()
    if not erases:
        editing.feed(b"\r")
    assert [item for item in iter(editing.next, None) if isinstance(item, bytes)] == said


def hostile(rng):
    """Random pieces of sequences, control characters, half letters, and letters that harm or join."""
    odd = [
        b"\x1b",
        b"\x1b[",
        b"\x1bO",
        b"\x9b",
        b"\xc2\x9b",
        b"\x1b[M",
        b"\x1b]0;",
        b"\x1b[200~",
        b"\x1b[201~",
        b"\xf0\x9f",
        b"\xff",
    ]
    odd += [
        "\u202e\u2066\ufeff\u0301".encode(),
        "\U0001f1e6".encode() * 9,
        "\u200d".encode() * 40,
        "🙂\u200d".encode() * 90,
    ]
    odd += [LEFT, UP, DOWN, HOME, b"\x19", b"\x0b", b"\x17", b"\x7f", b"\t", b"\r", b"\x1bb", b"\x1bf", b"\x1bd"]
    while True:
        yield rng.choice([rng.choice(odd), rng.randbytes(rng.randrange(8)), bytes([rng.randrange(32)]), b"word " * 20])


def test_hostile_bytes_never_reach_the_terminal_and_fill_no_memory():
    rng = random.Random(1)
    pieces = hostile(rng)
    tracemalloc.start()
    try:
        editing, row = Editing(LIMIT, 40), Row(40)
        for _ in range(300):
            for item in pull(editing, b"".join(itertools.islice(pieces, 12))):
                if isinstance(item, WireBytes):
                    assert len(item.data) < 40 * 32 * 4
                    row.write(item.data.decode())
                elif isinstance(item, bytes):
                    assert len(item) <= LIMIT * TAB + LINES
                    assert without_harmful(item.decode().replace("\n", "")) == item.decode().replace("\n", "")
        for _ in range(HISTORY):
            pull(editing, "🙂".encode() * 2000 + b"a\x7f\r")
        pull(editing, ("🙂".encode() * 2000 + UP) * HISTORY)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 150_000


@for_each(
    "keys",
    [
        LEFT + RIGHT,
        b"\x15\x19",
        b"\x1bb\x1bb\x1bf",
        b"\x17\x19",
        UP + LEFT + DOWN,
        b"a\x7f",
        b"a",
        b"a\t",
        b"\x1b[",
        b"\x01\x05",
        b"\x0c",
        PASTE,
    ],
)
@for_each("letter", ["x", "x ", "李", FAMILY, "🇷", "e\u0301", "\u200d"])
def test_a_key_costs_little_however_long_the_line_is(keys, letter, monkeypatch):
    """The cost is the number of characters that are looked at one by one."""
    looked_at = 0

    def counted(text):
        nonlocal looked_at
        looked_at += 0 if text.isascii() else len(text)
        return clusters(text)

    monkeypatch.setattr("chat_threads.dialects.buffer.clusters", counted)
    monkeypatch.setattr("chat_threads.dialects.drawing.clusters", counted)
    editing = Editing(LIMIT)
    pull(editing, letter.encode() * (LIMIT // len(letter.encode()) - 10) + b"\r" + UP)
    looked_at = 0
    flood = keys * 100
    drawings = sum(isinstance(item, WireBytes) for item in pull(editing, flood, candidates=["ab", "ac"]))
    assert drawings <= 201
    assert looked_at <= max(1, drawings) * 8000
    assert pull(editing, b"\x03ok\r")[-1] == b"ok", "nothing is left undone"
