"""Step 1: a line. Each client comes alone: the program may serve one client at a time."""

from __future__ import annotations

import time

from stairs.talk import Client, Failed, Stage, encoded

LIMIT = 65_536  # bytes of a line
MUCH = 100  # megabytes that are sent without the end of a line
GARBAGE = 48  # megabytes that may wait for a garbage collector
LONG = 10.0  # seconds; a program that keeps the line takes longer and longer to look through it
DEEP = 60_000  # brackets, one in the other
PAUSE = 0.05  # seconds between two pieces of a line


def a_greeting_comes_first_and_hello_is_answered_with_welcome(stage: Stage) -> None:
    ann = stage.client()
    ann.send({"type": "hello", "name": "ann", "ref": "1"})
    ann.expect("welcome", name="ann", ref="1")
    if not ann.greeting:
        raise Failed("Expected: one line of text before the first answer, such as '* Welcome.'")


def ping_is_answered_with_pong_and_quit_with_bye_and_the_end(stage: Stage) -> None:
    ann = stage.guest("ann")
    for _ in range(3):
        ann.ask("ping", "pong")
    ann.quit()
    stage.note("ann comes again")
    stage.guest("ann").quit()


def a_line_in_many_pieces_is_one_line(stage: Stage) -> None:
    ann = stage.guest("ann")
    for ref in ("plain", "café", "né", "ö", "🧵"):
        line = encoded({"type": "ping", "ref": ref})
        inside = next((at for at, byte in enumerate(line) if byte >= 0x80), 8) + 1  # in the middle of a character
        for piece in (line[:3], line[3:inside], line[inside:-1], line[-1:]):
            ann.send(piece)
            time.sleep(PAUSE)
        ann.expect("pong", f"one pong with the ref {ref!r}, after the last piece", ref=ref)


def many_lines_in_one_piece_are_answered_one_by_one(stage: Stage) -> None:
    ann = stage.client()
    refs = [f"ping {number}" for number in range(1, 21)]
    half = encoded({"type": "ping", "ref": "the last"})
    ann.send({"type": "hello", "name": "ann"}, *({"type": "ping", "ref": ref} for ref in refs), half[:9])
    ann.expect("welcome")
    for ref in refs:
        ann.expect("pong", "20 pongs, with the refs in the order of the pings", ref=ref)
    ann.send(half[9:])
    ann.expect("pong", ref="the last")


def a_line_that_is_no_request_is_an_error_and_the_connection_stays(stage: Stage) -> None:
    ann = stage.guest("ann")
    for line in (b'{"type":"ping"\n', b"hello?\n", b"[1,2]\n", b'"ping"\n', b"[" * DEEP + b"\n"):
        _expect_error(ann, line, "bad_json")
    _expect_error(ann, b'{"type":"ping","ref":"\xc3"}\n', "not_utf8", "bad_json")
    _expect_error(ann, '{"type":"ping"}'.encode("utf-16-le") + b"\n", "not_utf8", "bad_json")
    _expect_error(ann, b"{}\n", "bad_request", "unknown_type")
    ann.refused("unknown_type", "there is no such request", {"type": "shout"})
    odds: tuple[object, ...] = (5, [1], {}, None)
    for odd in odds:
        ann.refused(("bad_request", "unknown_type"), "a type that is not a string is wrong", {"type": odd})
    ann.send(b'{"type":"ping","ref":"\\ud800"}\n')
    ann.expect(("pong", "error"), "half a character is answered, with a pong or an error")
    ann.ask("ping", "pong", "the connection goes on, with a pong")


def _expect_error(ann: Client, line: bytes, *codes: str) -> None:
    ann.send(line)
    answer = ann.expect("error", f"that line is answered with an error, {' or '.join(codes)}")
    if answer.get("code") not in codes:
        raise Failed(f"Expected: an error with the code {' or '.join(codes)}.")


def a_line_that_is_too_long_is_one_error_and_fills_no_memory(stage: Stage) -> None:
    ann = stage.guest("ann")
    line = encoded({"type": "ping", "ref": "just", "more": ""})
    ann.send(line[:-3] + b"x" * (LIMIT + 1 - len(line)) + line[-3:])
    ann.expect("pong", f"a line of {LIMIT:,} bytes is not too long", ref="just")
    ann.send(line[:-3] + b"x" * (LIMIT + 2 - len(line)) + line[-3:])
    ann.expect("error", f"a line of {LIMIT + 1:,} bytes is too long", code="too_long")
    ann.send(b'{"type":"ping","ref":"' + b"x" * LIMIT)
    time.sleep(PAUSE)
    ann.send(b'"}\n')
    answer = ann.expect("error", f"a line of more than {LIMIT:,} bytes is an error")
    if answer.get("code") != "too_long":
        raise Failed('Expected: an error with the code "too_long".')
    ann.ask("ping", "pong", "one error, and after it the connection goes on")
    before, began = stage.program.memory(), time.monotonic()
    for sent in range(1, MUCH + 1):
        try:
            ann.send(b"x" * (1 << 20), quietly=True)
        except Failed:
            if _growth(stage, before) < sent / 2:
                raise
        slow = time.monotonic() - began > LONG
        if _growth(stage, before) > max(MUCH / 10 if slow else GARBAGE, sent / 2):
            stage.note(f"ann sends {sent} MB without the end of a line")
            raise Failed(
                f"The program's memory has grown from {before} to {stage.program.memory()} MB. It should keep about "
                f"{LIMIT:,} bytes of a line, however long it is."
            )
    stage.note(f"ann sends {MUCH} MB without the end of a line")
    ann.send(b"\n")
    ann.expect("error", "that line is an error, too", code="too_long")
    ann.ask("ping", "pong", "the connection goes on")


def _growth(stage: Stage, before: int | None) -> int:
    """How many megabytes the program has more than before; 0 if the system does not say."""
    now = stage.program.memory()
    return 0 if before is None or now is None else now - before


def a_client_that_breaks_off_does_not_end_the_program(stage: Stage) -> None:
    for said in (b"", b'{"type":"hel', encoded({"type": "hello", "name": "ann"}) * 2):
        ann = stage.client()
        if said:
            ann.send(said)
        ann.break_off()
    stage.guest("bob").ask("ping", "pong", "the next client is served as before")


CHECKS = (
    a_greeting_comes_first_and_hello_is_answered_with_welcome,
    ping_is_answered_with_pong_and_quit_with_bye_and_the_end,
    a_line_in_many_pieces_is_one_line,
    many_lines_in_one_piece_are_answered_one_by_one,
    a_line_that_is_no_request_is_an_error_and_the_connection_stays,
    a_line_that_is_too_long_is_one_error_and_fills_no_memory,
    a_client_that_breaks_off_does_not_end_the_program,
)
