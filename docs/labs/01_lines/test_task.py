"""The check of lab 1: a conversation, cut up in every way that a network may cut it, gives the same lines."""

from __future__ import annotations

import pathlib
import sys
import traceback
import tracemalloc
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
import stepper

task = stepper.load_task(__file__)

LIMIT = 64
SENT = "hi bob\n  is the café open? \r\n\nyes\r\n".encode()
SHOWN = 6  # steps of a long story


def tell(*story: str) -> None:
    """Fail with a story instead of a traceback."""
    pytest.fail("\n".join(story), pytrace=False)


def ended(data: bytes, limit: int) -> list[str | None]:
    """The lines that are complete after all these bytes."""
    lines = data.split(b"\n")[:-1]
    return [None if len(line) > limit else line.removesuffix(b"\r").decode("utf-8", "replace") for line in lines]


def ended_last(data: bytes) -> bytes:
    """The bytes since the last LF."""
    return data.rpartition(b"\n")[2]


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    return [data[start:end] for start, end in pairwise((0, *places, len(data)))]


def splits(data: bytes) -> Iterator[list[bytes]]:
    """In one piece, in two, in three, and byte by byte."""
    for count in (0, 1, 2):
        for places in combinations(range(1, len(data)), count):
            yield cut(data, places)
    yield cut(data, range(1, len(data)))


def short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 48 else f"{text[:32]}…{text[-13:]}"


def died(error: Exception) -> str:
    line = next(
        frame for frame in reversed(traceback.extract_tb(error.__traceback__)) if frame.filename == task.__file__
    )
    return f"feed() raised {error!r} in line {line.lineno} of {pathlib.Path(task.__file__).name}: {line.line}"


def count(lines: Sequence[str | None]) -> str:
    return f"{len(lines)} line{'s' * (len(lines) != 1)}"


def why(got: object, want: list[str | None], before: bytes, limit: int) -> str:
    """In a sentence, what is wrong with one step."""
    if not isinstance(got, list):
        return f"feed() has to return a list, but returned {got!r}."
    if len(got) > len(want):
        if not want and got == [None]:
            return "The line has not ended yet. A line that is too long becomes None once, when it ends."
        if not want:
            return "No line has ended yet, but feed() returned one: what recv() returns is not a line."
        return f"This completes {count(want)}, but feed() returned {len(got)}: not all are lines. Only LF ends one."
    if len(got) < len(want):
        return f"This completes {count(want)}, but feed() returned {len(got)}: something was lost or held back."
    for mine, right in zip(got, want, strict=True):
        if mine == right:
            continue
        if right is None:
            return f"A line of more than {limit} bytes has to become None, once, when it ends, and not {short(mine)}."
        if mine is None:
            return f"{short(right)} is not longer than {limit} bytes, but feed() says that it is."
        if "\ufffd" in str(mine) and "\ufffd" not in right:
            return f"{mine!r} should be {right!r}: half a character was decoded before the other half arrived."
        if before and right.endswith(str(mine)):
            return f"{mine!r} should be {right!r}: the first part of the line was lost."
        return f"{mine!r} should be {right!r}."
    return "Those are the right lines."


def go_through(pieces: Sequence[bytes], limit: int = LIMIT) -> None:
    """Feed the pieces, and tell the story up to the first wrong step."""
    lines = task.Lines(limit)
    rows = []
    before = b""
    for number, piece in enumerate(pieces, 1):
        want = ended(before + piece, limit)[len(ended(before, limit)) :]
        try:
            got = lines.feed(piece)
        except Exception as error:
            got = error
        rows.append((str(number), short(piece), short(got), short(want)))
        if got != want:
            says = died(got) if isinstance(got, Exception) else why(got, want, ended_last(before), limit)
            heads = ("step", "recv() returned", "feed() returned", "should return")
            shown = rows[-SHOWN:]
            widths = [max(len(row[column]) for row in (heads, *shown)) for column in range(4)]
            tell(
                f"The client sent {short(b''.join(pieces))}",
                f"and it arrived in {len(pieces)} pieces." if len(pieces) > 1 else "and it arrived in one piece.",
                *([f"Steps 1 to {number - SHOWN} were right."] if number > SHOWN else []),
                "",
                *("  ".join(map(str.ljust, row, widths)).rstrip() for row in (heads, *shown)),
                "",
                f"Step {number}: {says}",
            )
        before += piece


def test_a_line_in_one_piece_is_a_line():
    go_through([b"hi bob\n"])


def test_two_lines_in_one_piece_are_two_lines():
    go_through([b"hi bob\nare you there?\n"])


def test_a_line_in_two_pieces_is_one_line():
    go_through([b"hi ", b"bob\n"])


def test_the_lines_are_the_same_wherever_the_stream_is_cut():
    for pieces in splits(SENT):
        go_through(pieces)


def test_only_lf_ends_a_line():
    go_through(["one\u2028line \x0b\x0c\x1c\x85 still\rthe same\n".encode()])


def test_one_cr_before_lf_is_removed():
    go_through([b"one\r\n"])
    go_through([b"one\r\r\n"])


def test_invalid_utf_8_is_replaced_and_the_next_line_is_fine():
    for pieces in splits(b"caf\xe9\nhi\n"):
        go_through(pieces)


def test_two_connections_do_not_mix():
    ann, bob = task.Lines(LIMIT), task.Lines(LIMIT)
    steps = [("ann", ann, b"hi "), ("bob", bob, b"good "), ("ann", ann, b"there\n"), ("bob", bob, b"morning\n")]
    got = [(name, data, lines.feed(data)) for name, lines, data in steps]
    if [lines for _, _, lines in got] == [[], [], ["hi there"], ["good morning"]]:
        return
    mixed = "good" in str(got[2][2]) or "hi" in str(got[3][2])
    tell(
        "Ann and bob are connected at the same time; each connection has its own Lines.",
        "",
        *(f"  from {name}: recv() returned {data!r:14} feed() returned {lines!r}" for name, data, lines in got),
        "",
        "Ann said 'hi there', bob said 'good morning': "
        + (
            "one connection must not see the bytes of another."
            if mixed
            else "an unfinished line has to be kept until it ends."
        ),
    )


def test_a_new_connection_begins_empty():
    for number in range(100):
        old = task.Lines(LIMIT)
        old.feed(b"half a line")
        old.feed(b"x" * (number % 2 * 2 * LIMIT))
        del old  # Python may give its place in memory, and so its id(), to the next one
        got = task.Lines(LIMIT).feed(b"hi\n")
        if got != ["hi"]:
            tell(
                "Ann's connection ends in the middle of a line. Then bob connects, and gets Lines of his own.",
                "",
                f"  from bob: recv() returned {b'hi' + bytes([10])!r}  feed() returned {got!r}",
                "",
                "Bob said 'hi': a new connection must not see what is left of one that has ended.",
            )


def test_a_byte_order_mark_is_a_character_like_any_other():
    for pieces in splits("\ufeffhi\n\ufeffyes\n".encode()):
        go_through(pieces)


def test_a_line_that_is_too_long_is_none_and_the_next_line_is_fine():
    for size in (1, 7, 1000):
        data = b"x" * 1000 + b"\nhi\n"
        go_through(cut(data, range(size, len(data), size)))
    go_through([b"x" * 1000, b"\n", b"hi\n"])


def test_the_limit_is_for_the_bytes_before_lf():
    for limit in (LIMIT, 10):
        for line in (b"x" * limit, b"x" * (limit + 1), "é".encode() * (limit // 2), "é".encode() * (limit // 2) + b"x"):
            go_through([line + b"\n"], limit)
            go_through([line, b"\n"], limit)
        go_through([b"x" * (limit - 1) + b"\r\n"], limit)
        go_through([b"x" * limit + b"\r\n"], limit)  # CR is one of them


def test_a_line_that_never_ends_fills_no_memory():
    lines = task.Lines(LIMIT)
    size = 1000
    tracemalloc.start()
    try:
        for _ in range(1000):
            lines.feed(b"x" * size)  # a new object each time, which counts if it is kept
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    if held > 5_000:
        tell(
            "A client sends 1,000,000 bytes and never an LF.",
            "",
            f"  a line may have            {LIMIT} bytes",
            f"  this connection keeps {held:9,} bytes",
            "",
            "1000 such clients fill the memory of the server, and nobody can chat any more.",
        )
