"""Marks that tie a history and SQLite's log together, so that a log is never applied to a file that is not its own.

After ``kill -9`` the newest messages are in SQLite's log beside the file. At the next start SQLite adds them to the
file that has the history's name then. If that is a backup, pages of two histories get mixed: nothing in the log or in
the file says that they do not belong together. So the history holds a mark, 16 random bytes, and also the mark before
it. The mark is renewed

- when the history is opened and when it is closed;
- just before the log is copied into the file, as the last thing in that log;
- just after that, if all of the log was copied, as the first thing in the log, which starts again from its beginning.

So the file itself, without its log, holds either one of the marks in the log, or the mark before the first of them. A
backup that was made before this log was begun holds neither. A backup that was made while this log was in use holds a
mark in it, and then the log fits: every page that differs is in the log.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from .errors import StartError
from .schema import connect

MAGIC = b"\xff\xfech\xffmk\xfe"  # stands before a mark; no text in UTF-8 has these bytes
_MAGIC_SIZE = len(MAGIC)
SIZE = 16  # bytes of a mark
NONE = bytes(SIZE)  # stands for the mark of a history that an older version made, without a mark
_LEAF = 13  # the type of a page that holds rows of a table (https://sqlite.org/fileformat2.html#b_tree_pages)
_HEADER = struct.Struct(">8I")  # of SQLite's log: magic, version, page size, count, two salts, two checksums
_FRAME = struct.Struct(">6I")  # of a page in it: page, size of the file after a commit, the same salts and checksums
_MAGICS = (0x377F0682, 0x377F0683)  # checksums of little-endian and of big-endian words


class Mark(NamedTuple):
    """The row of the table: the mark, and the mark before it."""

    mark: bytes
    before: bytes


def fresh() -> bytes:
    """A new mark."""
    return os.urandom(SIZE)


def renew(connection: sqlite3.Connection, fresh_mark: bytes) -> None:
    """Give the history a new mark, in the transaction that is under way, or in one of its own."""
    connection.execute(
        "UPDATE identity SET before = CAST(substr(mark, ?) AS BLOB), mark = ?", (len(MAGIC) + 1, MAGIC + fresh_mark)
    )


def found_in(page: bytes) -> Mark | None:
    """The mark in a page; None: this is not the page that holds it."""
    if len(page) < 512 or page[0] != _LEAF or page[3:5] != b"\0\1":  # one row
        return None
    row = int.from_bytes(page[8:10], "big")
    at = page.find(MAGIC, row, row + _MAGIC_SIZE + 16) + _MAGIC_SIZE
    if at < _MAGIC_SIZE or len(page) < at + 2 * SIZE:
        return None
    return Mark(page[at : at + SIZE], page[at + SIZE : at + 2 * SIZE])


def root(connection: sqlite3.Connection) -> int:
    """The number of the page that holds the mark; pages count from 1. Raises sqlite3.Error."""
    row = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'identity'").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("it has no mark")
    return int(row[0])


def mark(connection: sqlite3.Connection) -> bytes:
    """The history's mark. Raises sqlite3.Error, also if something else is in its place: SQLite may have copied only a
    part of its log into the file."""
    row = connection.execute("SELECT mark FROM identity").fetchone()
    if row is None or not isinstance(row[0], bytes) or not row[0].startswith(MAGIC):
        raise sqlite3.DatabaseError("it has no mark")
    return row[0][len(MAGIC) :]


def refuse_strange_log(path: str) -> None:
    """Raise StartError if SQLite's log beside a history belongs to another file. Call this before SQLite opens them.

    A history or a log that is damaged or has no mark is not refused: nobody can tell whether they belong together.
    """
    log = path + "-wal"
    with contextlib.suppress(OSError), open(log, "rb") as file:
        marks = list(marks_in(file))
        if marks and (own := _mark_of(path)) is not None:
            _, first = marks[0]
            if own not in {first.before, *(each.mark for _, each in marks)} and _holds(file, marks[0][0]):
                raise StartError(
                    f"The history {path} is not the file that SQLite's log {log} belongs to: another file, such as a"
                    " backup, was put in its place. Both were left as they are. To start with this file as it is,"
                    f" move {log} away. To keep the newest messages, put back the file that was there before."
                )


def _mark_of(path: str) -> bytes | None:
    """The mark in the file itself, without its log; None: it cannot be read."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(connect(path, "ro", 0, immutable=True)) as file:
        if not file.execute("SELECT count(*) FROM sqlite_master WHERE name = 'identity'").fetchone()[0]:
            return NONE
        return mark(file)
    return None


def _frames(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Each page in a log, with its header before it. Ends where the rest is left over from an older log."""
    file.seek(0)
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return
    magic, _, size, _, *salts = _HEADER.unpack(header)[:6]
    if magic not in _MAGICS or not 512 <= size <= 65536:
        return
    while len(head := file.read(_FRAME.size)) == _FRAME.size and len(page := file.read(size)) == size:
        if list(_FRAME.unpack(head)[2:4]) != salts:
            return
        yield head, page


def marks_in(file: BinaryIO) -> Iterator[tuple[int, Mark]]:
    """The marks in a log, in order, each with the number of its frame, from 0."""
    for number, (_, page) in enumerate(_frames(file)):
        if found := found_in(page):
            yield number, found


def _holds(file: BinaryIO, number: int) -> bool:
    """Whether SQLite would apply the log at least up to frame ``number``. Takes about a second for 10 MB.

    All checksums must be right up to a commit in that frame or in a later one.
    """
    file.seek(0)
    header = file.read(_HEADER.size)
    order = ">" if _HEADER.unpack(header)[0] & 1 else "<"
    sums = _checksum(order, header[:24], (0, 0))
    if sums != _HEADER.unpack(header)[6:]:
        return False
    for at, (head, page) in enumerate(_frames(file)):
        sums = _checksum(order, page, _checksum(order, head[:8], sums))
        if sums != _FRAME.unpack(head)[4:]:
            return False
        if at >= number and _FRAME.unpack(head)[1]:
            return True
    return False


def _checksum(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    """https://sqlite.org/fileformat2.html#checksum_algorithm"""
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second
