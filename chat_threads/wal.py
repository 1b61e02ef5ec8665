"""SQLite's log as the next start would read it: what of a failed transaction would be found there.

A commit may fail late, when all that it wrote is in the log, whole and valid. The last thing it does is to note in the
log's index, the ``-shm`` file, how far the log goes, and there may be no room for that. The running SQLite goes by the
index, and its next commit overwrites the rest. But after a kill the index is made anew from the log, and then the
transaction that failed is found there. Both formats are documented: https://sqlite.org/walformat.html
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
from typing import BinaryIO

BLOCK = 32_768  # bytes of the index for about 4,000 frames of the log
BLOCKS = 4  # that are there from the start, so that they need not be found on a full disk
TRIES = 3  # at writing an empty commit over one that failed
_INDEX = 48  # bytes of the index's header, which is there twice
_HEAD, _FRAME = 32, 24  # bytes of the log's header, and of the header of a frame, which has a page behind it
_EMPTY = [1]  # an empty commit writes the first page only, and no message does that alone


class Unclear(Exception):
    """The log or its index could not be read."""


class Log:
    """The log of an open history, which is open as the descriptor ``log`` and stays so. The history thread's.

    SQLite has locks on the index, and closing any descriptor of it would drop them in this process. So it is opened
    once, after SQLite has opened it, and closed once all connections are. OSError: it cannot be opened.
    """

    def __init__(self, history: str, log: int) -> None:
        self._log = log  # opening it when a commit has failed would fail, too, without a descriptor to spare
        flags = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        self._index: int | None = os.open(history + "-shm", flags)
        with contextlib.suppress(OSError, AttributeError):  # a full disk; macOS and Windows
            os.posix_fallocate(self._index, 0, BLOCK * BLOCKS)

    def close(self) -> None:
        """All connections to the history are closed by then."""
        if self._index is not None:
            os.close(self._index)
            self._index = None

    def undo(self, writer: sqlite3.Connection, synchronous: str) -> bool:
        """Whether nothing of the writer's last transaction, which failed, would be found after a kill; False also if
        that cannot be known. Whatever the error was, all of it may lie in the log: then an empty commit is written over
        it. ``synchronous`` is the writer's setting."""
        with contextlib.suppress(sqlite3.Error):
            if writer.in_transaction:
                writer.execute("ROLLBACK")
        with contextlib.suppress(Unclear):
            if not self.comes_back():
                return not writer.in_transaction
        for _ in range(TRIES):
            with contextlib.suppress(sqlite3.Error):
                writer.execute("PRAGMA synchronous = OFF")  # the fsync may be what fails
                version = writer.execute("PRAGMA user_version").fetchone()[0]
                writer.execute(f"PRAGMA user_version = {version}")
            with contextlib.suppress(sqlite3.Error):
                writer.execute(f"PRAGMA synchronous = {synchronous}")
            with contextlib.suppress(Unclear):
                if self.is_void():  # an error of the empty commit does not matter, if it is in the log
                    return not writer.in_transaction
        return False

    def comes_back(self) -> bool:
        """Whether a transaction that has just failed would be found after a kill. Raises Unclear."""
        return self._beyond() not in (None, [], _EMPTY)

    def is_void(self) -> bool:
        """Whether an empty commit has taken the place of that transaction, whatever SQLite says. Raises Unclear."""
        return self._beyond() in ([], _EMPTY)

    def _beyond(self) -> list[int] | None:
        """The pages that were committed behind what SQLite knows of, in the order of the log; None: the log begins anew
        with the next commit, and still has what it had before."""
        try:
            known, salts = self._known()
            with open(self._log, "rb", closefd=False) as log:
                log.seek(0)
                head = log.read(_HEAD)
                return _committed(log, head, known) if head[16:24] == salts else None
        except (OSError, struct.error) as error:
            raise Unclear(str(error)) from error

    def _known(self) -> tuple[int, bytes]:
        """How many frames SQLite knows of, and the salts: they mark the frames of this round of the log."""
        assert self._index is not None
        os.lseek(self._index, 0, os.SEEK_SET)
        header = os.read(self._index, 2 * _INDEX)
        initialised, known = struct.unpack_from("=12xB3xI", header)
        if header[:_INDEX] != header[_INDEX:] or not initialised:
            raise Unclear("the index is being written")
        return known, header[32:40]


def _committed(log: BinaryIO, head: bytes, known: int) -> list[int]:
    """The pages of the valid frames after the first ``known`` ones, up to the last that is the end of a commit."""
    size = int.from_bytes(head[8:12], "big")
    words = f"{'>' if head[3] & 1 else '<'}{size // 4 + 2}I"
    sums = head[24:32]
    if known:
        log.seek(_HEAD + (known - 1) * (_FRAME + size))
        sums = log.read(_FRAME)[16:24]
    log.seek(_HEAD + known * (_FRAME + size))
    pages: list[int] = []
    committed = 0
    while len(frame := log.read(_FRAME + size)) == _FRAME + size:
        if frame[8:16] != head[16:24]:
            break
        sums = _checksum(sums, struct.unpack(words, frame[:8] + frame[_FRAME:]))
        if frame[16:24] != sums:
            break
        page, commit = struct.unpack_from(">2I", frame)
        pages.append(page)
        if commit:
            committed = len(pages)
    return pages[:committed]


def _checksum(before: bytes, words: tuple[int, ...]) -> bytes:
    """SQLite's checksum of all frames so far, from the one before and the words of this frame."""
    one, two = struct.unpack(">2I", before)
    for at in range(0, len(words), 2):
        one = (one + words[at] + two) & 0xFFFFFFFF
        two = (two + words[at + 1] + one) & 0xFFFFFFFF
    return struct.pack(">2I", one, two)
