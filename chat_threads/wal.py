"""Reads SQLite's log as the next start would: does the log still hold a failed transaction?

A commit may fail late, when everything that it wrote is in the log, whole and valid. Its last step is to note in the
log's index, the ``-shm`` file, how far the log goes, and on a full disk that step can fail. The running SQLite trusts
the index, and its next commit overwrites the failed one. But after a kill the index is rebuilt from the log, and then
the failed transaction is found there. Both formats are documented: https://sqlite.org/walformat.html
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
from typing import BinaryIO

BLOCK = 32_768  # bytes of the index for about 4,000 frames of the log
BLOCKS = 4  # blocks that are allocated at the start, because a full disk has no room for them later
TRIES = 3  # at writing an empty commit over a failed one, and at a look while another program writes
_INDEX = 48  # bytes of the index's header, which is there twice
_HEAD, _FRAME = 32, 24  # bytes of the log's header, and of a frame's header; a page follows the latter
_PIECE = 65_536  # bytes that a program that copies a file writes at least, in one place
_EMPTY = [1]  # the pages of an empty commit: the first only, and no message writes that page alone


class Unclear(Exception):
    """The log or its index could not be read."""


class Log:
    """The log of an open history. Owned by the history thread.

    ``log`` is a descriptor of the log, which its caller opens and closes. SQLite has locks on the index, and closing
    any descriptor of the index would drop them in this process. So the index is opened once, after SQLite has opened
    it, and closed after all connections. OSError: it cannot be opened.
    """

    def __init__(self, history: str, log: int) -> None:
        self._log = log  # open from the start: when a commit fails, there may be no descriptor left
        flags = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        self._index: int | None = os.open(history + "-shm", flags)
        with contextlib.suppress(OSError, AttributeError):  # a full disk; macOS and Windows
            os.posix_fallocate(self._index, 0, BLOCK * BLOCKS)

    def close(self) -> None:
        """Close the index. All connections to the history are closed by then."""
        if self._index is not None:
            os.close(self._index)
            self._index = None

    def undo(self, writer: sqlite3.Connection, synchronous: str) -> bool:
        """Make sure that nothing of the writer's failed transaction would be found after a kill.

        Whatever the error was, the whole transaction may be in the log; then an empty commit is written over it.
        ``synchronous`` is the writer's setting. Returns False if the transaction may still be found, or if that
        cannot be known.
        """
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
                if self.is_void():  # an error of the empty commit does not matter if that commit is in the log
                    return not writer.in_transaction
        return False

    def comes_back(self) -> bool:
        """Whether the transaction that has just failed would be found after a kill. Raises Unclear."""
        return self._beyond() not in (None, [], _EMPTY)

    def is_void(self) -> bool:
        """Whether an empty commit has taken the place of that transaction, whatever SQLite says. Raises Unclear."""
        return self._beyond() in ([], _EMPTY)

    def is_current(self, frames: bool = False) -> bool:
        """Whether SQLite's index may belong to the log that is there. False: another log was copied over it, or it was
        cut. ``frames``: also look for a part of another log further on, in one place of each 64 KB.

        To start the log again, SQLite first notes that in the index, and then writes to the log. Another program may do
        both while this looks, so this looks again. If the index holds nothing of the log, all of it is in the file.
        """
        for _ in range(TRIES):
            try:
                known, salts = self._known()
                os.lseek(self._log, 0, os.SEEK_SET)
                head = os.read(self._log, _HEAD)
                if not known or (head[16:24] == salts and not (frames and self._strange(head, known))):
                    return True
            except (Unclear, OSError, struct.error):
                return True  # it cannot be told
        return False

    def _strange(self, head: bytes, known: int) -> bool:
        """Whether one of the first ``known`` frames does not have the salts of the log's header."""
        frame = _FRAME + int.from_bytes(head[8:12], "big")
        for number in (*range(0, known, max(1, _PIECE // frame)), known - 1):
            os.lseek(self._log, _HEAD + number * frame + 8, os.SEEK_SET)
            if os.read(self._log, 8) != head[16:24]:
                return True
        return False

    def _beyond(self) -> list[int] | None:
        """The pages of commits in the log that SQLite's index does not have, in the log's order.

        None: SQLite is about to start the log again from its beginning, and has not written to it yet.
        """
        try:
            known, salts = self._known()
            with open(self._log, "rb", closefd=False) as log:
                log.seek(0)
                head = log.read(_HEAD)
                return _committed(log, head, known) if head[16:24] == salts else None
        except (OSError, struct.error) as error:
            raise Unclear(str(error)) from error

    def _known(self) -> tuple[int, bytes]:
        """How many frames the index has, and the salts, which mark the frames of this round of the log."""
        assert self._index is not None
        os.lseek(self._index, 0, os.SEEK_SET)
        header = os.read(self._index, 2 * _INDEX)
        initialised, known = struct.unpack_from("=12xB3xI", header)
        if header[:_INDEX] != header[_INDEX:] or not initialised:
            raise Unclear("the index is being written")
        return known, header[32:40]


def _committed(log: BinaryIO, head: bytes, known: int) -> list[int]:
    """The pages of the valid frames after the first ``known`` ones, up to the last frame that ends a commit."""
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
    """SQLite's checksum up to this frame, from the one up to the frame before and this frame's words."""
    one, two = struct.unpack(">2I", before)
    for at in range(0, len(words), 2):
        one = (one + words[at] + two) & 0xFFFFFFFF
        two = (two + words[at + 1] + one) & 0xFFFFFFFF
    return struct.pack(">2I", one, two)
