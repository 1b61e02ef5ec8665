"""The telnet layer: RFC 854 taken apart, options refused, lines made of what is typed, at any split of the bytes."""

from __future__ import annotations

import random
import re
import tracemalloc

import pytest

from chat_threads.dialects.telnet import LineEditor, Signal, Telnet
from chat_threads.messages import WireBytes

IAC, DONT, DO, WONT, WILL, SB, SE = b"\xff", b"\xfe", b"\xfd", b"\xfc", b"\xfb", b"\xfa", b"\xf0"
NOP, DM, BRK, IP, AO, AYT, EC, EL, GA, EOF = (
    b"\xf1", b"\xf2", b"\xf3", b"\xf4", b"\xf5", b"\xf6", b"\xf7", b"\xf8", b"\xf9", b"\xec",
)  # fmt: skip
TIMING_MARK = b"\x06"
LIMIT = 64  # bytes in a line, here
KIB = 1024


def converse(*chunks, limit=LIMIT):
    """What a client's bytes come to: lines, signals and answers in order, and whether something is unfinished."""
    telnet, editor = Telnet(), LineEditor(limit)
    seen = []
    for chunk in chunks:
        for item in telnet.receive(chunk):
            if isinstance(item, bytes):
                seen += editor.feed(item)
            else:
                seen.append(item)
    return seen, telnet.pending, editor.pending


def lines(*chunks, limit=LIMIT):
    return converse(*chunks, limit=limit)[0]


def received(*chunks):
    """What the telnet layer alone makes of the bytes: all of the text, and the signals and answers in order."""
    telnet = Telnet()
    items = [item for chunk in chunks for item in telnet.receive(chunk)]
    text = b"".join(item for item in items if isinstance(item, bytes))
    return text, [item for item in items if not isinstance(item, bytes)]


def answers(*chunks):
    return [item.data for item in received(*chunks)[1]]


def one_by_one(data):
    return [data[at : at + 1] for at in range(len(data))]


def split_at_random(rng, data):
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(8)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


# What a client sends, piece by piece, and what it comes to.
DIALOGUE = (
    (b"CR LF\r\nLF\nCR NUL\r\x00CR\r", [b"CR LF", b"LF", b"CR NUL", b"CR"]),
    (b"\r\n\n\r\x00\r", [b""] * 4),
    (b"\n", []),  # the second half of the CR LF that the piece before began
    (b"before" + IAC + WILL + b"\x18" + b" after\r\n", [WireBytes(IAC + DONT + b"\x18"), b"before after"]),
    (IAC + WILL + b"\x18", []),
    (IAC + WONT + b"\x18" + IAC + WILL + b"\x18", [WireBytes(IAC + DONT + b"\x18")]),
    (IAC + DO + b"\xff" + IAC + DONT + b"\xff", [WireBytes(IAC + WONT + b"\xff")]),
    ((IAC + DO + TIMING_MARK) * 2, [WireBytes(IAC + WONT + TIMING_MARK)] * 2),
    (b"out" + IAC + SB + b"\x18\x00in\r\n\xf0" + IAC + IAC + b"\xf0in" + IAC + SE + b"side\r\n", [b"outside"]),
    (IAC + SB + IAC + SE + IAC + SB + b"\x01" + IAC + AYT + IAC + SE + b"none\r\n", [b"none"]),
    (b"a" + IAC + IAC + b"b" + IAC + IAC + IAC + IAC + b"\r\n", [b"a\xffb\xff\xff"]),
    (b"caf\xc3\xa9s\x08\x7f\xc3\xa8\r\n", ["cafè".encode()]),
    ("日本語".encode() + b"\x08" + "🙂".encode() + b"\x7f\r\n", ["日本".encode()]),
    (b"\x08\x7fx\x7f\x7fy\r\n", [b"y"]),
    (b"xy" + IAC + EC + b"z\r\n" + "é".encode() + IAC + EC + b"e\r\n", [b"xz", b"e"]),
    (b"wrong" + IAC + EL + b"right\r\nwrong\x15right\r\n", [b"right", b"right"]),
    (b"there" + IAC + AYT + b"?\r\n", [Signal.ARE_YOU_THERE, b"there?"]),
    (b"nothing" + b"".join(IAC + each for each in (NOP, DM, BRK, AO, GA, SE)) + b" of it\r\n", [b"nothing of it"]),
    (b"apart\r" + IAC + NOP + b"\nagain\r" + IAC + AYT + b"\x00", [b"apart", b"again", Signal.ARE_YOU_THERE]),
    (b"o" * LIMIT + b"\r\n" + b"o" * (LIMIT + 1) + b"\r\n", [b"o" * LIMIT, None]),
    (b"o" * LIMIT + b"ver\x08\x08\x08\n" + b"o" * LIMIT + b"ver\x15under\n", [None, b"under"]),
    ("one\u2028line\u2029is\u0085\x0b\x0cone\n".encode(), ["one\u2028line\u2029is\u0085\x0b\x0cone".encode()]),
    (b"nul\x00s are kept\n\x00\n", [b"nul\x00s are kept", b"\x00"]),
    (b"unsent" + IAC + IP, [Signal.INTERRUPT]),
    (b" and sent\r\n" + IAC + EOF, [b"unsent and sent", Signal.END_OF_FILE]),
)  # fmt: skip
SENT = b"".join(piece for piece, _ in DIALOGUE)
SEEN = [item for _, items in DIALOGUE for item in items]


# --- at any split -------------------------------------------------------------------------------------


def test_the_dialogue_comes_to_what_its_pieces_say():
    assert converse(SENT) == (SEEN, False, False)


def test_each_piece_of_the_dialogue_comes_to_what_it_says():
    telnet, editor = Telnet(), LineEditor(LIMIT)
    for piece, expected in DIALOGUE:
        seen = []
        for item in telnet.receive(piece):
            seen += editor.feed(item) if isinstance(item, bytes) else [item]
        assert (piece, seen) == (piece, expected)


def test_a_split_of_the_dialogue_at_any_byte_changes_nothing():
    for at in range(len(SENT) + 1):
        assert converse(SENT[:at], SENT[at:]) == (SEEN, False, False), at


def test_the_dialogue_byte_by_byte_comes_to_the_same():
    assert converse(*one_by_one(SENT)) == (SEEN, False, False)


def test_empty_chunks_between_change_nothing():
    assert converse(*(chunk for byte in one_by_one(SENT) for chunk in (byte, b""))) == (SEEN, False, False)


def test_cutting_the_dialogue_off_anywhere_never_makes_another_beginning():
    for at in range(len(SENT)):
        seen = lines(SENT[:at])
        assert seen == SEEN[: len(seen)], at


# Bytes that mean something, and a few that do not.
ALPHABET = [*(bytes([each]) for each in range(236, 256)), *[IAC] * 12]
ALPHABET += [b"\r", b"\n", b"\x00", b"\x08", b"\x7f", b"\x15", b"a", b"b", b"\x06", b"\x18", b"\xc3", b"\xa9", b"\x80"]


@pytest.mark.parametrize("seed", range(60))
def test_random_bytes_come_to_the_same_at_random_splits(seed):
    rng = random.Random(seed)
    for _ in range(10):
        data = b"".join(rng.choices(ALPHABET, k=rng.randrange(150)))
        whole = converse(data, limit=7)
        assert converse(*one_by_one(data), limit=7) == whole, data
        for _ in range(5):
            chunks = split_at_random(rng, data)
            assert converse(*chunks, limit=7) == whole, chunks


# RFC 854 in another form: what of the bytes is not text.
_COMMANDS = re.compile(rb"\xff(?:[\xfb-\xfe](?:.|\Z)|\xfa(?:[^\xff]|\xff[^\xf0])*(?:\xff\xf0|\xff?\Z)|.|\Z)", re.DOTALL)


def _text_of(command):
    return {IAC + IAC: IAC, IAC + EC: b"\x7f", IAC + EL: b"\x15"}.get(command[0], b"")


@pytest.mark.parametrize("seed", range(30))
def test_the_text_of_random_bytes_is_what_is_no_command(seed):
    rng = random.Random(seed)
    for _ in range(20):
        data = b"".join(rng.choices(ALPHABET, k=rng.randrange(150)))
        assert received(data)[0] == _COMMANDS.sub(_text_of, data), data


@pytest.mark.parametrize("seed", range(10))
def test_bytes_of_any_kind_never_make_a_line_that_is_too_long_or_has_an_end_in_it(seed):
    rng = random.Random(seed)
    seen = lines(*split_at_random(rng, rng.randbytes(20_000)), limit=100)
    found = [item for item in seen if isinstance(item, bytes)]
    assert found
    for line in found:
        assert len(line) <= 100
        assert not re.search(rb"[\r\n\x08\x7f\x15]", line)


# --- options ------------------------------------------------------------------------------------------

REFUSALS = [(WILL, WONT, DONT), (DO, DONT, WONT)]  # asked, taken back, and the answer to the first


def test_it_never_speaks_first():
    assert Telnet().receive(b"") == []
    assert answers(b"hello\r\n" * 100) == []


@pytest.mark.parametrize(("ask", "back", "refusal"), REFUSALS)
def test_every_option_is_refused(ask, back, refusal):
    for option in one_by_one(bytes(range(256))):
        assert answers(IAC + ask + option) == [IAC + refusal + option]


@pytest.mark.parametrize(("ask", "back", "refusal"), REFUSALS)
def test_an_option_asked_for_again_is_not_refused_again(ask, back, refusal):
    assert answers(*[IAC + ask + b"\x01"] * 5) == [IAC + refusal + b"\x01"]


@pytest.mark.parametrize(("ask", "back", "refusal"), REFUSALS)
def test_an_option_taken_back_is_not_answered_and_then_refused_anew(ask, back, refusal):
    assert answers(IAC + back + b"\x01") == []
    change = IAC + ask + b"\x01" + IAC + back + b"\x01"
    assert answers(change * 3) == [IAC + refusal + b"\x01"] * 3


def test_the_two_sides_of_an_option_are_refused_apart():
    """WILL and DO of one option are two requests, and taking back one leaves the other (RFC 1143)."""
    both = IAC + WILL + b"\x03" + IAC + DO + b"\x03"
    assert answers(both + both) == [IAC + DONT + b"\x03", IAC + WONT + b"\x03"]
    assert answers(both + IAC + WONT + b"\x03" + both) == [
        IAC + DONT + b"\x03", IAC + WONT + b"\x03", IAC + DONT + b"\x03",
    ]  # fmt: skip


def test_options_are_refused_apart_from_one_another():
    ask = IAC + DO + b"\x01" + IAC + DO + b"\x03"
    assert answers(ask, ask) == [IAC + WONT + b"\x01", IAC + WONT + b"\x03"]


def test_every_timing_mark_is_answered():
    """A client that waits for it would wait for ever (RFC 860)."""
    assert answers(*[IAC + DO + TIMING_MARK] * 4) == [IAC + WONT + TIMING_MARK] * 4


def test_an_answer_comes_between_the_texts_around_it():
    assert Telnet().receive(b"a" + IAC + DO + b"\x01" + b"b") == [b"a", WireBytes(IAC + WONT + b"\x01"), b"b"]


# --- commands -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "signal"), [(IP, Signal.INTERRUPT), (EOF, Signal.END_OF_FILE), (AYT, Signal.ARE_YOU_THERE)]
)
def test_a_signal_comes_between_the_texts_around_it(command, signal):
    assert Telnet().receive(b"a" + IAC + command + b"b") == [b"a", signal, b"b"]


def test_every_other_command_is_taken_out_of_the_text():
    meaning = {IP, EOF, AYT, EC, EL, SB, WILL, WONT, DO, DONT, IAC}
    for command in set(one_by_one(bytes(range(256)))) - meaning:
        assert Telnet().receive(b"a" + IAC + command + b"b") == [b"ab"], command


def test_a_subnegotiation_says_nothing_whatever_is_in_it():
    inside = b"\x18\x00" + IAC + AYT + IAC + DO + b"\x01" + IAC + SB + IAC + IAC + b"\r\n"
    assert Telnet().receive(b"a" + IAC + SB + inside + IAC + SE + b"b") == [b"ab"]


@pytest.mark.parametrize("begun", [IAC, IAC + WILL, IAC + DONT, IAC + SB, IAC + SB + b"\x18xterm", IAC + SB + IAC])
def test_a_command_that_has_begun_is_pending(begun):
    telnet = Telnet()
    telnet.receive(b"text")
    assert not telnet.pending
    telnet.receive(begun)
    assert telnet.pending


@pytest.mark.parametrize("whole", [IAC + NOP, IAC + IAC, IAC + WILL + b"\x01", IAC + SB + b"\x18" + IAC + SE])
def test_a_command_that_has_ended_is_not_pending(whole):
    telnet = Telnet()
    telnet.receive(whole)
    assert not telnet.pending


def test_an_open_subnegotiation_of_a_megabyte_is_not_kept():
    telnet, chunk = Telnet(), b"\x18" * (4 * KIB)
    telnet.receive(IAC + SB)
    assert _peak(lambda: telnet.receive(chunk), times=256) < 64 * KIB
    assert telnet.pending
    assert telnet.receive(IAC + SE + b"on") == [b"on"]


# --- lines --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r\x00", b"\r"])
def test_a_line_is_ended_once_by(end):
    assert lines(b"one" + end + b"two" + end + end) == [b"one", b"two", b""]


def test_a_bare_cr_ends_its_line_at_once():
    """Without waiting for what follows: PuTTY's raw mode sends nothing more."""
    assert lines(b"hello\r") == [b"hello"]


def test_only_the_first_byte_after_a_cr_can_belong_to_it():
    assert lines(b"a\r\n\nb\r\x00\x00c\n") == [b"a", b"", b"b", b"\x00c"]
    assert lines(b"a\rb\nc\n") == [b"a", b"b", b"c"]


def test_unicode_line_separators_end_no_line():
    for char in "\u2028\u2029\u0085\x0b\x0c\x1c\x1d\x1e":
        text = f"a{char}b".encode()
        assert lines(text) == []
        assert lines(text + b"\n") == [text]


@pytest.mark.parametrize("char", ["a", "é", "€", "日", "🙂"])
@pytest.mark.parametrize("erase", [b"\x08", b"\x7f", IAC + EC])
def test_erasing_takes_back_a_whole_character(char, erase):
    assert lines(b"x" + char.encode() + erase + b"\n") == [b"x"]
    assert lines("ü".encode() + char.encode() * 2 + erase + b"\n") == ["ü".encode() + char.encode()]


def test_erasing_more_than_there_is_stops_at_the_beginning_of_the_line():
    assert lines("kept\né".encode() + b"\x7f" * 9 + b"new\n") == [b"kept", b"new"]


def test_erasing_after_a_broken_character_ends_too():
    assert lines(b"a\x80\xbf\x80\x7fb\n") == [b"b"]
    assert lines(b"\x80\x80\x7fb\n") == [b"b"]


@pytest.mark.parametrize("seed", range(20))
def test_erasing_at_random_leaves_what_a_list_of_characters_would(seed):
    rng = random.Random(seed)
    typed, left = b"", []
    for _ in range(200):
        if rng.random() < 0.45:
            typed += rng.choice([b"\x08", b"\x7f", IAC + EC])
            left = left[:-1]
        else:
            left.append(rng.choice("abé€日🙂ß"))
            typed += left[-1].encode()
    assert lines(*split_at_random(rng, typed + b"\r\n"), limit=8192) == ["".join(left).encode()]


@pytest.mark.parametrize("erase", [b"\x15", IAC + EL])
def test_erasing_the_line_leaves_the_lines_before(erase):
    assert lines(b"kept\nwrong" + erase + b"right\n") == [b"kept", b"right"]


def test_a_line_may_be_as_long_as_the_limit_and_no_longer():
    assert lines(b"x" * 8192 + b"\r\n", limit=8192) == [b"x" * 8192]
    assert lines(b"x" * 8193 + b"\r\n", limit=8192) == [None]


def test_the_limit_is_the_same_for_a_line_that_comes_in_parts():
    assert lines(*one_by_one(b"x" * LIMIT + b"\n")) == [b"x" * LIMIT]
    assert lines(*one_by_one(b"x" * LIMIT + b"x\n")) == [None]


def test_an_overlong_line_is_said_once_and_the_next_is_a_line():
    assert lines(b"x" * 1000, b"x" * 1000, b"\r", b"\nnext\r\n") == [None, b"next"]


def test_nothing_of_an_overlong_line_can_be_erased_back():
    assert lines(b"x" * (LIMIT + 1) + b"\x7f" * 1000 + b"/quit\n") == [None]


def test_an_overlong_line_can_be_erased_as_a_whole():
    assert lines(b"x" * 1000 + b"\x15short\n") == [b"short"]


def test_a_line_that_has_begun_is_pending_until_it_ends_or_is_erased():
    editor = LineEditor(LIMIT)
    for typed, pending in (
        (b"", False), (b"a", True), (b"\r", False), (b"\n", False), (b"b", True), (b"\x7f", False),
        (b"c", True), (b"\x15", False), (b"d" * 1000, True), (b"\n", False),
    ):  # fmt: skip
        editor.feed(typed)
        assert editor.pending is pending, typed


def test_a_line_of_ten_megabytes_is_not_kept():
    editor, chunk = LineEditor(8192), b"x" * (4 * KIB)
    assert _peak(lambda: editor.feed(chunk), times=2560) < 128 * KIB
    assert editor.feed(b"\r\nnext\r\n") == [None, b"next"]


def test_a_line_of_ten_megabytes_in_one_piece_is_not_copied():
    editor, line = LineEditor(8192), b"x" * (10 * KIB * KIB)
    assert _peak(lambda: editor.feed(line)) < 128 * KIB
    assert editor.feed(b"\n") == [None]


def _peak(action, times=1):
    """The most memory, in bytes, that was held at a time while doing it."""
    tracemalloc.start()
    try:
        for _ in range(times):
            action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
