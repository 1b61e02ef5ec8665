"""QR codes: their squares, and how a terminal shows them to a phone's camera."""

from __future__ import annotations

import re
import subprocess

import pytest
from support.samples import for_each
from support.servers import needs

from chat_threads import qr, reach
from chat_threads.qr import NoQrCode, drawn, rows_of

URLS = (
    "http://192.168.1.5:8080/",
    "http://192.168.1.5:8080/#lab2",
    reach.url("2001:db8::7", 8080, "#한국어-스레드"),
)
COLOURS = {"30": 0, "40": 0, "47": 255}  # as the escape sequences of SGR name them


def painted(lines: list[str], ground: int) -> list[list[int]]:
    """The grey values on the screen of a terminal whose background has this one: two by two for a character."""
    rows = []
    for line in lines:
        upper, lower = [], []
        front, back = 255 - ground, ground
        for sequence, char in re.findall(r"\x1b\[([0-9;]+)m|(.)", f"  {line}  "):
            if sequence == "0":
                front, back = 255 - ground, ground
            elif sequence:
                for code in sequence.split(";"):
                    front, back = (COLOURS[code], back) if code[0] == "3" else (front, COLOURS[code])
            else:
                upper.append(front if char in "█▀" else back)
                lower.append(front if char in "█▄" else back)
        rows += [upper, lower]
    return rows


def scanned(zbarimg: str, pixels: list[list[int]], size: tuple[int, int], tmp_path) -> str:
    """What a scanner reads from a picture with so many pixels for each of these, horizontally and vertically."""
    across, down = size
    width = max(map(len, pixels))
    lines = [bytes(grey for grey in row + row[:1] * (width - len(row)) for _ in range(across)) for row in pixels]
    picture = tmp_path / "screen.pgm"
    picture.write_bytes(
        b"P5 %d %d 255\n" % (width * across, len(lines) * down) + b"".join(each * down for each in lines)
    )
    done = subprocess.run([zbarimg, "-q", "--raw", picture], capture_output=True, text=True, check=False)
    return done.stdout.removesuffix("\n")


@for_each("ground", [0, 255])
@for_each("blocks", [True, False])
@for_each("url", URLS)
def test_a_scanner_reads_the_code_from_a_dark_terminal_and_from_a_light_one(url, blocks, ground, tmp_path):
    lines = drawn(rows_of(url), blocks)
    size = (8, 8) if blocks else (4, 4)  # a character is 8 by 16 pixels
    assert scanned(needs("zbarimg"), painted(lines, ground), size, tmp_path) == url


def test_the_rows_are_a_square_with_a_light_border_for_any_address():
    rows = rows_of(URLS[1])
    assert {len(row) for row in rows} == {len(rows)} == {33}
    assert set(rows[: qr.QUIET] + rows[-qr.QUIET :]) == {"0" * 33}
    assert {row[: qr.QUIET] + row[-qr.QUIET :] for row in rows} == {"0" * 2 * qr.QUIET}
    assert [len(re.sub(r"\x1b\[[0-9;]+m", "", line)) for line in drawn(rows)] == [33] * 17
    assert (
        {len(re.sub(r"\x1b\[[0-9;]+m", "", line)) for line in drawn(rows, False)} == {qr.columns(rows, False)} == {66}
    )


def test_letters_of_every_script_lead_into_their_room():
    assert reach.url("192.168.1.5", 80, "#lab 2/ä") == "http://192.168.1.5/#lab%202%2F%C3%A4"


def test_without_segno_the_error_has_the_address_and_what_to_install(monkeypatch):
    monkeypatch.setattr(qr, "segno", None)
    with pytest.raises(NoQrCode, match=r"^The address of this chat is http://h:1/\..*pip install '.\[web\]'"):
        rows_of.__wrapped__("http://h:1/")


@for_each(
    ("encoding", "has"),
    [("utf-8", True), ("cp437", True), ("latin-1", False), ("ascii", False), ("nothing", False), (None, False)],
)
def test_half_blocks_are_for_character_sets_that_have_them(encoding, has):
    assert qr.has_blocks(encoding) is has
