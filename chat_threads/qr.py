"""QR codes: an address as dark and light squares, which a phone's camera reads.

``rows_of`` makes the squares, and ``drawn`` draws them for a terminal. segno makes the code; it comes with the extra
``[web]``. Pure functions, any thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from .errors import Told

try:
    import segno
except ImportError:
    segno = None  # type: ignore[assignment]

QUIET = 4  # light squares around the code, which readers need (ISO/IEC 18004, section 9.1)
_HALVES = {"00": " ", "11": "█", "10": "▀", "01": "▄"}  # two squares, one above the other, in one character
_ON_LIGHT = "\x1b[30;47m"  # black on white, whatever the terminal's own colours are (ECMA-48, SGR)
_SQUARES = {"0": "\x1b[47m  ", "1": "\x1b[40m  "}  # without a letter: two columns of colour are a square
_END = "\x1b[0m"


class NoQrCode(Told):
    """segno, which makes QR codes, is not installed with the server."""

    code = "no_qr_code"

    def __init__(self, url: str) -> None:
        super().__init__(
            f"The address of this chat is {url}. There is no QR code of it, because the server lacks segno.",
            "Install it there: pip install '.[web]' in the folder of README.rst.",
        )
        self.url = url


@lru_cache(maxsize=64)
def rows_of(url: str) -> tuple[str, ...]:
    """The rows of the code, from the top: "1" is a dark square and "0" a light one. All are equally long, and QUIET is
    included. Takes up to about 20 ms, for a room with a long name. Raises NoQrCode without segno.
    """
    if segno is None:
        raise NoQrCode(url)
    code = segno.make(url, error="l", micro=False)
    return tuple("".join("1" if square else "0" for square in row) for row in code.matrix_iter(border=QUIET))


def drawn(rows: Sequence[str], blocks: bool = True) -> list[str]:
    """The code as lines for a terminal, dark on light. ``columns`` and the length of the list say how large it is.

    With ``blocks``, a character is two squares; otherwise two spaces are a square, which every character set has.
    """
    if not blocks:
        return ["".join(_SQUARES[square] for square in row) + _END for row in rows]
    light = "0" * len(rows[0])
    pairs = zip(rows[::2], [*rows[1::2], *[light] * (len(rows) % 2)], strict=True)
    halves = ["".join(_HALVES[upper + lower] for upper, lower in zip(*pair, strict=True)) for pair in pairs]
    return [f"{_ON_LIGHT}{line}{_END}" for line in halves]


def columns(rows: Sequence[str], blocks: bool = True) -> int:
    """How many columns of a terminal the drawn code takes."""
    return len(rows[0]) if blocks else 2 * len(rows[0])


def has_blocks(encoding: str | None) -> bool:
    """Whether this character set has the characters that ``drawn`` uses with ``blocks``."""
    try:
        "".join(_HALVES.values()).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
