#!/usr/bin/env python3
"""Export messages, for a report: export.py chat_threads.db --room '#lab' --since 2h --format csv > lab.csv

The export only reads the history, a page at a time, up to the message that was the newest at its start. The server
may run. With --pseudonyms people are person-1, person-2, … in the order in which they first spoke, also inside the
messages. The names of people who never said anything stay in the messages.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import sqlite3
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from typing import Any, TextIO

import click

from chat_threads import streams
from chat_threads.letters import JOINERS, NAME_SIGNS, is_mark
from chat_threads.rules import fold

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
PAGE = 1000  # messages for one query
FORMULA = ("=", "+", "-", "@", "\t")  # a spreadsheet reads a cell that begins with one of these as a formula

Row = tuple[str, int, int, str, str, str]  # room, number, milliseconds, sender, kind, text


def moment(text: str) -> int:
    """Parse --since into milliseconds: a time span, or a date with or without a time, in this machine's time zone."""
    if match := re.fullmatch(r"([0-9]{1,9})([smhd])", text):
        return int((time.time() - int(match[1]) * UNITS[match[2]]) * 1000)
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither like 2h nor like 2026-11-24 or '2026-11-24 14:00'.") from None


class Export:
    """A history as it is now. What is said from now on is not in it, nor what is deleted before its page is read.

    Each page is a transaction of its own, over before any of it is written: SQLite's log cannot shrink, and grows with
    every message, for as long as any transaction is under way, and ``less`` may keep us waiting for hours.
    """

    def __init__(self, history: sqlite3.Connection, rooms: Iterable[str]) -> None:
        self._history = history
        history.execute("BEGIN")  # so that all of this is from one moment
        there = history.execute("SELECT key, id, name FROM rooms").fetchall()
        self._upto = history.execute("SELECT coalesce(max(id), 0) FROM messages").fetchone()[0]
        history.execute("COMMIT")
        with_sign = [f"#{room.removeprefix('#')}" for room in rooms]  # in a shell, # may begin a comment
        wanted = {fold(room): room for room in with_sign}
        for key in wanted.keys() - {key for key, _, _ in there}:
            raise ValueError(f"there is no room {wanted[key]}")
        self._rooms = {room: name for key, room, name in there if key in wanted or not wanted}

    def _pages(self, query: str, *values: int) -> Iterator[list[Any]]:
        """Yield the rows of a query for the messages between two ids, a page at a time."""
        after = -1
        while True:
            last = self._history.execute(
                "SELECT max(id) FROM (SELECT id FROM messages WHERE id > ? AND id <= ? ORDER BY id LIMIT ?)",
                (after, self._upto, PAGE),
            ).fetchone()[0]
            if last is None:
                return
            yield self._history.execute(
                f"{query} AND id > ? AND id <= ? ORDER BY id", (*values, after, last)
            ).fetchall()
            after = last

    def rows(self, since: int) -> Iterator[Row]:
        """Yield the messages, in the order of the history."""
        for page in self._pages("SELECT room, number, at, sender, kind, text FROM messages WHERE at >= ?", since):
            for room, *said in page:
                if room in self._rooms and said[2].strip():  # a message under deletion is blank until it is gone
                    yield self._rooms[room], *said

    def people(self) -> dict[str, str]:
        """A pseudonym for each name, by its folded form, of all people who ever said something."""
        first: dict[str, None] = {}  # in order
        for page in self._pages("SELECT sender FROM messages WHERE true"):
            first.update((fold(name), None) for (name,) in page if name.strip())
        return {name: f"person-{number}" for number, name in enumerate(first, 1)}


def hidden(rows: Iterable[Row], pseudonyms: dict[str, str]) -> Iterator[Row]:
    """Yield the rows with pseudonyms, for senders and for whole words in texts."""
    marks = "".join(filter(is_mark, map(chr, range(sys.maxunicode + 1))))
    within = rf"\w{JOINERS}{NAME_SIGNS}{marks}"
    names = re.compile(rf"[^\W_](?:[{within}.-]*[{within}])?")

    def instead(match: re.Match[str]) -> str:
        return pseudonyms.get(fold(match[0]), match[0])

    for room, number, at, sender, kind, text in rows:
        yield room, number, at, pseudonyms[fold(sender)], kind, names.sub(instead, text)


def while_taken(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows while stdout accepts output."""
    return itertools.takewhile(lambda row: not streams.lost(), rows)


def utc(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_txt(rows: Iterable[Row], file: TextIO) -> None:
    for room, number, at, sender, kind, text in rows:
        stamp = time.strftime("%Y-%m-%d %H:%M", time.localtime(at / 1000))
        said = f"~ {sender} {text}" if kind == "action" else f"{sender}: {text}"
        if kind == "removed":
            said = f"* a message from {sender} was removed"
        said = said.replace("\n", "\n  | ")  # as on a terminal: no further line looks like another message
        file.write(f"{room} {number} [{stamp}] {said}\n")


def write_csv(rows: Iterable[Row], file: TextIO) -> None:
    """Write CSV for spreadsheets. A cell that they would read as a formula gets an apostrophe in front."""
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["room", "number", "time", "from", "kind", "text"])
    for room, number, at, sender, kind, text in rows:
        table.writerow([room, number, utc(at), sender, kind, "'" + text if text.startswith(FORMULA) else text])


def write_jsonl(rows: Iterable[Row], file: TextIO) -> None:
    """Write JSON lines as in the protocol for programs."""
    for room, number, at, sender, kind, text in rows:
        said: dict[str, Any] = {"room": room, "number": number, "at": utc(at), "from": sender}
        file.write(json.dumps({**said, "kind": kind, "text": text}, ensure_ascii=False) + "\n")


FORMATS: dict[str, Callable[[Iterable[Row], TextIO], None]] = {
    "txt": write_txt,
    "csv": write_csv,
    "jsonl": write_jsonl,
}


@click.command(help="\n\n".join(__doc__.split("\n\n")[:2]))
@click.argument("history", type=click.Path(exists=True, dir_okay=False))
@click.option("--room", "rooms", multiple=True, help="Only messages of this room; you may give it more than once.")
@click.option("--since", metavar="WHEN", help="Like 2h, 3d, 2026-11-24 or '2026-11-24 14:00'.")
@click.option("--format", "kind", type=click.Choice(sorted(FORMATS)), default="txt", show_default=True)
@click.option("--pseudonyms", is_flag=True, help="Replace people's names.")
def main(history: str, rooms: tuple[str, ...], since: str | None, kind: str, pseudonyms: bool) -> None:
    start = 0 if since is None else moment(since)
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    try:
        file = sqlite3.connect(
            "file:" + urllib.parse.quote(os.fsencode(os.path.abspath(history))) + "?mode=ro", uri=True
        )
        try:
            export = Export(file, rooms)
            said = export.rows(start)
            FORMATS[kind](while_taken(hidden(said, export.people()) if pseudonyms else said), sys.stdout)
            sys.stdout.flush()
            if error := streams.lost():
                raise error
        finally:
            file.close()
    except BrokenPipeError:
        pass
    except (ValueError, OSError, sqlite3.Error) as error:
        sys.exit(f"export: {history} was not exported: {error}.")


if __name__ == "__main__":
    streams.prepare()
    main()
