"""The search: finds the newest messages with all the words, from one person or anybody, in one room or in all.

A word is also found inside other words: ``hang`` in "hanging", ``作业`` in 今天的作业. Both are folded first (see
``folding``). The index is an FTS5 table that holds no texts. Its terms are pieces of three letters. A piece begins
at every letter of a message; at the end of a word, pieces are shorter. So a word of three letters or more is looked up
by its pieces, and a shorter word by the pieces that begin with it. The sender and the room are terms, too.

The index follows the commits, and stores the last message that it contains. A search reads all later messages one by
one, or all messages if SQLite has no FTS5. So a search finds every message that was committed before it began.

Texts of rooms that are hidden from the person who searches are not read: neither the time of a search nor what it costs
may tell much about them.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from unicodedata import category

from .folding import RULE, fold_text
from .rules import fold

log = logging.getLogger(__name__)

ALL = 1 << 62  # an id above those of all messages
PIECE = 3  # letters
MAX_EXACT = 32  # pieces in one query of the index, at most
MAX_SHORT = 3  # words of one or two letters in one query: each costs as much as a common word
MAX_LEFT_OUT = 16  # hidden rooms that the index leaves out, those with the most messages; SQL leaves out all
SLICE = 500  # messages that are read and compared at a time
MAX_ADD = 500  # messages indexed in one transaction, which others wait for
ADD_LETTERS = 20_000  # and letters, roughly
_ROWS_AT_ONCE = 128  # rows in one statement

_BY, _IN = "\ufdd0", "\ufdd1"  # begin the terms of senders and rooms; noncharacters, so in no text
_BREAK = "\x1e"  # separates texts that are read together
_SIGNS = """!"#$%&''()*+,-./:;<=>?@[\\]^_`{|}~"""  # with these, only white space ends a term
_TABLE = f"""CREATE VIRTUAL TABLE pieces USING fts5(
    terms, content='', detail=none, tokenize="ascii tokenchars '{_SIGNS.replace('"', '""')}'")"""

Rows = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]  # all rows of a query
Looked = Callable[[int], None]  # is told how many messages were read and compared, once for each slice
Indexed = tuple[int, int, str, str]  # a message's id, its room's id, its sender and its text


def words_of(typed: str) -> tuple[str, ...]:
    """The words of a search, folded: those with a letter, a digit or a symbol such as an emoji."""
    return tuple(
        dict.fromkeys(
            word for word in fold_text(typed).split() if any(char.isalnum() or category(char) == "So" for char in word)
        )
    )


@dataclass(frozen=True, slots=True)
class Query:
    """A search. The words and the sender are folded."""

    words: tuple[str, ...]
    room: int | None = None
    sender: str | None = None
    hidden: tuple[int, ...] = ()  # rooms in which nothing is found, those with the most messages first

    def terms(self) -> str:
        """The query for the index, in FTS5's syntax. It may find too many messages, but never too few."""
        long = [word for word in self.words if len(word) >= PIECE]
        exact = dict.fromkeys(word[at : at + PIECE] for word in long for at in range(len(word) - PIECE + 1))
        short = [word for word in self.words if len(word) < PIECE and not any(word in other for other in long)]
        wanted = [_quoted(piece) for piece in list(exact)[:MAX_EXACT]]
        wanted += [_quoted(word) + "*" for word in short[:MAX_SHORT]]
        if self.sender is not None:
            wanted.append(_quoted(_BY + self.sender))
        if self.room is not None:
            wanted.append(_quoted(_IN + str(self.room)))
        left_out = " OR ".join(_quoted(_IN + str(room)) for room in self.hidden[:MAX_LEFT_OUT])
        found = " AND ".join(wanted)
        return f"({found}) NOT ({left_out})" if left_out else found


def _quoted(term: str) -> str:
    return '"' + term.replace('"', '""') + '"'


def _terms_of(room: int, sender: str, text: str) -> str:
    """The terms of a message in the index."""
    terms = {word[at : at + PIECE] for word in fold_text(text).split() for at in range(len(word))}
    return " ".join((*terms, _BY + fold(sender), _IN + str(room)))


class Index:
    """The index of one history. The history thread calls everything but ``find``, each in a transaction."""

    def __init__(self) -> None:
        self.usable = False  # set by ``open``; any thread reads it
        self.upto = 0  # the history thread's: the last message in it

    def open(self, writer: sqlite3.Connection) -> None:
        """Make an empty index if there is none for the present rule. Does nothing without FTS5."""
        rule, self.upto = writer.execute("SELECT rule, upto FROM searchable").fetchone()
        try:
            writer.execute("DROP TABLE IF EXISTS messages_fts")  # from version 2 of the file
            if rule != RULE:
                writer.execute("DROP TABLE IF EXISTS pieces")
                writer.execute(_TABLE)
            writer.execute("SELECT rowid FROM pieces LIMIT 0")
            self.usable = True
        except sqlite3.OperationalError as error:
            if "no such module" not in str(error):
                raise
            log.warning("this SQLite has no FTS5: searching reads every message")
        kept = RULE if self.usable else ""  # without FTS5 nothing is removed from it, so it has to be rebuilt
        if rule != kept:
            self.upto = 0
            writer.execute("UPDATE searchable SET rule = ?, upto = 0", (kept,))

    def add(self, writer: sqlite3.Connection, last: int) -> int:
        """Index the next few messages; ``last`` is the id of the newest one. Return the last message in the index."""
        messages = together(
            lambda sql, values: writer.execute(sql, values).fetchall(),
            "SELECT id, room, sender, text FROM messages WHERE id > ? AND kind != 'removed' ORDER BY id LIMIT ?",
            (self.upto, MAX_ADD),
        )
        values: list[Any] = []
        letters = taken = 0
        while taken < len(messages) and letters < ADD_LETTERS:
            id_, room, sender, text = messages[taken]
            values += (id_, _terms_of(room, sender, text))
            letters += len(text)
            taken += 1
        _write(writer, "rowid, terms", 2, values)
        upto = last if taken == len(messages) < MAX_ADD else messages[taken - 1][0]
        writer.execute("UPDATE searchable SET upto = ?", (upto,))
        return upto

    def remove(self, writer: sqlite3.Connection, messages: Sequence[Indexed]) -> None:
        """Remove messages that are about to be deleted."""
        values: list[Any] = []
        for id_, room, sender, text in messages:
            if id_ <= self.upto:
                values += ("delete", id_, _terms_of(room, sender, text))
        _write(writer, "pieces, rowid, terms", 3, values)

    def merge(self, writer: sqlite3.Connection, pages: int, begin: bool) -> bool:
        """Rewrite about ``pages`` pages of the index. Return False if nothing is left to do.

        FTS5 only notes that something was removed. It is gone when all parts of the index from before have been merged
        into one (https://sqlite.org/fts5.html#the_merge_command).
        """
        before = writer.total_changes
        writer.execute("INSERT INTO pieces (pieces, rank) VALUES ('merge', ?)", (-pages if begin else pages,))
        return writer.total_changes - before >= 2

    def find(
        self, rows: Rows, query: Query, limit: int, below: int = ALL, looked: Looked = lambda count: None
    ) -> list[int]:
        """The ids of the newest ``limit`` messages of a search below the id ``below``, the newest first. Any thread."""
        upto = rows("SELECT upto FROM searchable", ())[0][0] if self.usable else 0
        found = _find(rows, query, limit, below, looked, "messages AS m", "m.id", "m.id > ?", upto)
        if upto and len(found) < limit:
            source = "pieces AS p CROSS JOIN messages AS m ON m.id = p.rowid"
            where = "p.rowid <= ? AND p.pieces MATCH ?"
            found += _find(
                rows, query, limit - len(found), below, looked, source, "p.rowid", where, upto, query.terms()
            )
        return found


def _write(writer: sqlite3.Connection, columns: str, width: int, values: Sequence[Any]) -> None:
    """Insert rows into the index with few statements, because each releases the GIL and has to get it back."""
    for at in range(0, len(values), width * _ROWS_AT_ONCE):
        some = values[at : at + width * _ROWS_AT_ONCE]
        marks = ", ".join([f"({', '.join('?' * width)})"] * (len(some) // width))
        writer.execute(f"INSERT INTO pieces ({columns}) VALUES {marks}", some)


def _find(
    rows: Rows, query: Query, limit: int, below: int, looked: Looked, source: str, key: str, where: str, *values: Any
) -> list[int]:
    """Go through the messages of a source before the id ``below``, the newest first, until ``limit`` are found."""
    sql = f"SELECT m.id, m.room, m.sender, m.text FROM {source} JOIN rooms AS r ON r.id = m.room WHERE {where}"
    sql += " AND m.kind != 'removed'"
    if query.room is not None:
        sql += " AND m.room = ?"
        values += (query.room,)
    if query.hidden:
        # As text, because there may be more of them than SQLite allows variables.
        sql += f" AND m.room NOT IN ({', '.join(map(str, query.hidden))})"
    sql += f" AND {key} < ? ORDER BY {key} DESC LIMIT ?"
    meant = cache(lambda sender: query.sender in (None, fold(sender)))
    found: list[int] = []
    while len(found) < limit:
        messages = together(rows, sql, (*values, below, SLICE))
        looked(len(messages))
        for id_, _, sender, text in messages:
            if meant(sender):
                folded = fold_text(text)
                if all(word in folded for word in query.words):
                    found.append(id_)
        if len(messages) < SLICE:
            break
        below = messages[-1][0]
    return found[:limit]


def together(rows: Rows, sql: str, values: Sequence[Any]) -> list[Indexed]:
    """Read messages as one row, because SQLite releases the GIL for each row and has to get it back."""
    together = rows(
        "SELECT group_concat(id), group_concat(room), group_concat(sender, char(30)),"
        f" group_concat(replace(text, char(30), ' '), char(30)) FROM ({sql})",
        values,
    )[0]
    if together[0] is None:
        return []
    ids, rooms, senders, texts = together
    return list(
        zip(
            map(int, ids.split(",")),
            map(int, rooms.split(",")),
            senders.split(_BREAK),
            texts.split(_BREAK),
            strict=True,
        )
    )
