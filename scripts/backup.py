#!/usr/bin/env python3
"""Copy the history of a server, even while it runs: backup.py chat_threads.db copy.db

With --alone, it makes a copy of the history of a server in a cluster, for a server without --cluster.

Put a copy back, while no server uses the history: backup.py chat_threads.db --restore copy.db

A copy of the file alone would lack the newest messages, which are in SQLite's log beside it. This program uses
SQLite's backup interface, in small steps, so the server can keep working. The exit code is 0, or 1 with a line that
says why there is no copy, or why nothing was put back.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sqlite3
import sys
import time
import urllib.parse

import click

from chat_threads import filelock, files, identity, schema, streams
from chat_threads.cluster.copy import leave
from chat_threads.errors import StartError

PAGES = 500  # pages copied in one step
PAUSE = 0.01  # seconds between two steps
BUSY_TIMEOUT = 5.0  # seconds to wait for another program that has locked the backup


def copied(source: str, unfinished: str) -> int:
    """Copy a history into a file of that name, and check the copy. Return the number of messages."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(unfinished)
    with contextlib.ExitStack() as stack:
        url = "file:" + urllib.parse.quote(os.fsencode(os.path.abspath(source))) + "?mode=ro"
        history = stack.enter_context(contextlib.closing(sqlite3.connect(url, uri=True)))
        filelock.make_private(unfinished)
        target = stack.enter_context(contextlib.closing(sqlite3.connect(unfinished)))
        history.execute("BEGIN")  # otherwise SQLite would start the copy again after each new message
        history.execute("SELECT count(*) FROM sqlite_master").fetchone()
        seen = sys.stderr if sys.stderr.isatty() else io.StringIO()  # cron would send a mail
        with click.progressbar(length=1, label="Copying", file=seen) as bar:

            def progress(status: int, remaining: int, total: int) -> None:
                bar.length = max(total, 1)
                bar.update(total - remaining - bar.pos)

            history.backup(target, pages=PAGES, progress=progress, sleep=PAUSE)
        history.execute("COMMIT")  # at once, because SQLite's log grows during the transaction
        found = target.execute("PRAGMA integrity_check").fetchone()[0]
        if found != "ok":
            raise Damaged(f"{source} is damaged ({found}); what could be read is in {unfinished}")
        return int(target.execute("SELECT count(*) FROM messages").fetchone()[0])


class Damaged(Exception):
    """A copy is not sound."""


def make(history: str, copy: str, alone: bool = False) -> None:
    """Copy a history; exit with 1 if this fails. ``alone``: for a server without --cluster."""
    if os.path.exists(copy):
        sys.exit(f"backup: {copy} exists; it was left as it is. Give the copy another name.")
    unfinished = copy + ".part"
    try:
        messages = copied(history, unfinished)
        if alone:
            with contextlib.closing(sqlite3.connect(unfinished, isolation_level=None)) as file:
                leave(file)
    except Damaged as error:
        sys.exit(f"backup: {error}.")
    except (sqlite3.Error, OSError) as error:
        with contextlib.suppress(OSError):
            os.remove(unfinished)
        sys.exit(f"backup: {history} was not copied: {reason(error)}.")
    os.replace(unfinished, copy)
    click.echo(f"{copy}: {messages} messages")


def restore(history: str, backup: str) -> None:
    """Move the present history aside and put a backup in its place. If this fails, change nothing and exit with 1."""
    path = os.path.realpath(history)
    unfinished = path + ".part"
    try:
        files.refuse_unwritable(path)
        lock = filelock.FileLock(path)
        try:
            if os.path.exists(path):
                lock.hold()
                if os.path.samefile(path, backup):
                    raise OSError(f"{backup} is the history itself")
            identity.refuse_strange_log(os.path.realpath(backup))
            schema.examine(os.path.realpath(backup), BUSY_TIMEOUT, copies=True)
            messages = copied(backup, unfinished)
            settle(unfinished)
            aside = put_aside(path)
            os.replace(unfinished, path)
            sync(os.path.dirname(path))
        finally:
            lock.release()
    except (StartError, Damaged, sqlite3.Error, OSError) as error:
        with contextlib.suppress(OSError):
            os.remove(unfinished)
        sys.exit(f"backup: {backup} was not put in the place of {history}: {reason(error)}.")
    click.echo(
        f"{history}: {messages} messages, from {backup}." + (f" What was there is {aside} now." if aside else "")
    )


def reason(error: Exception) -> str:
    """The error without advice for a server's start; of a system's error, the file and what the system says."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return re.sub("(, or|\\.) (give|name|Name) [a-z ]+ --db$", "", str(error).rstrip("."))


def settle(copy: str) -> None:
    """Give a copy a new mark, so that no other file's log is mistaken for its log, and sync it to the disk."""
    with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as file:
        file.execute("PRAGMA journal_mode = DELETE")  # no log beside it
        with contextlib.suppress(sqlite3.OperationalError):  # a history from before marks existed
            identity.renew(file, identity.fresh())
    sync(copy)


def put_aside(path: str) -> str:
    """Rename a history and what SQLite has beside it; the name that they have then, or "" if there were none.

    The history first: what is left of it after a kill is refused by the server, and not taken for a whole one.
    """
    aside = f"{path}.before-{time.strftime('%Y%m%d-%H%M%S')}"
    there = [end for end in ("", files.LOG, files.SHARED) if os.path.exists(path + end)]
    for end in there:
        if os.path.exists(aside + end):
            raise OSError(f"{aside + end} exists; try again")
    for end in there:
        os.rename(path + end, aside + end)
    return aside if there else ""


def sync(path: str) -> None:
    """Sync a file, or the names in a directory, to the disk, if the system supports that."""
    with contextlib.suppress(PermissionError):  # Windows cannot open directories
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@click.command(help="\n\n".join(__doc__.split("\n\n")[:3]))
@click.argument("history", type=click.Path(dir_okay=False))
@click.argument("copy", type=click.Path(dir_okay=False), required=False)
@click.option("--restore", "backup", type=click.Path(exists=True, dir_okay=False), help="Put this copy back.")
@click.option("--alone", is_flag=True, help="Make the copy for a server without --cluster.")
def main(history: str, copy: str | None, backup: str | None, alone: bool) -> None:
    if (copy is None) == (backup is None):
        raise click.UsageError("Name the copy to make, or the one to --restore.")
    if backup is not None:
        restore(history, backup)
    elif copy is not None:
        if not os.path.exists(history):
            raise click.UsageError(f"There is no history {history}.")
        make(history, copy, alone)


if __name__ == "__main__":
    streams.prepare()
    main()
