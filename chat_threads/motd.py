"""The file of --motd: what everybody is shown on entering."""

from __future__ import annotations

from .errors import StartError
from .rules import WORDS_LENGTH, clean

MOTD_LINES = 50


def read_motd(path: str) -> tuple[str, ...]:
    """The lines of the file, cleaned of control characters; raise StartError."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = [clean(line.rstrip("\n")) for line in file.read(MOTD_LINES * 4 * WORDS_LENGTH).split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise StartError(f"The file of --motd, {path}, cannot be read: {why}.") from error
    while lines and not lines[-1]:
        lines.pop()
    if len(lines) > MOTD_LINES or any(len(line) > WORDS_LENGTH for line in lines):
        raise StartError(
            f"The file of --motd, {path}, is too long: at most {MOTD_LINES} lines of {WORDS_LENGTH} characters."
        )
    return tuple(lines)
