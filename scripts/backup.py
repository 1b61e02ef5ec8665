#!/usr/bin/env python3
"""Copy the history of a server, running or not: backup.py chat_threads.db copy.db

Copying the file alone would lose its end: the newest messages are in SQLite's log beside it. This goes through
SQLite's backup, in small steps, so that the server goes on meanwhile. Exit code 0, or 1 with a line that says why
there is no copy.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import urllib.parse

import click

from chat_threads import filelock, streams

PAGES = 500  # copied in one step
PAUSE = 0.01  # seconds between two steps


@click.command(help=__doc__.split("\n\n")[0])
@click.argument("history", type=click.Path(exists=True, dir_okay=False))
@click.argument("copy", type=click.Path(dir_okay=False))
def main(history: str, copy: str) -> None:
    if os.path.exists(copy):
        sys.exit(f"backup: {copy} exists; it was left as it is.")
    unfinished = copy + ".part"
    try:
        source = sqlite3.connect("file:" + urllib.parse.quote(os.path.abspath(history)) + "?mode=ro", uri=True)
        with contextlib.suppress(FileNotFoundError):
            os.remove(unfinished)
        filelock.make_private(unfinished)
        target = sqlite3.connect(unfinished)
        try:
            source.execute("BEGIN")  # otherwise each message that is said meanwhile makes SQLite copy all anew
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            with click.progressbar(length=1, label="Copying", file=sys.stderr) as bar:

                def progress(status: int, remaining: int, total: int) -> None:
                    bar.length = max(total, 1)
                    bar.update(total - remaining - bar.pos)

                source.backup(target, pages=PAGES, progress=progress, sleep=PAUSE)
            source.execute("COMMIT")  # SQLite's log grows for as long as it is under way
            found = target.execute("PRAGMA integrity_check").fetchone()[0]
            messages = target.execute("SELECT count(*) FROM messages").fetchone()[0]
        finally:
            target.close()
            source.close()
    except (sqlite3.Error, OSError) as error:
        with contextlib.suppress(OSError):
            os.remove(unfinished)
        sys.exit(f"backup: {history} was not copied: {error}.")
    if found != "ok":
        sys.exit(f"backup: {history} is damaged ({found}); what could be read is in {unfinished}.")
    os.replace(unfinished, copy)
    click.echo(f"{copy}: {messages} messages")


if __name__ == "__main__":
    streams.prepare()
    main()
