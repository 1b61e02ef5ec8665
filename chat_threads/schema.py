"""What is in the file: its tables, the steps from one version to the next, and what may be opened at all.

All of it happens before a history is open: ``examine`` refuses a file that is not ours without writing to it,
``create`` makes a new one, ``migrate`` brings an old one up to date.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
import urllib.parse
from collections.abc import Iterator

from . import filelock
from .errors import StartError
from .rules import fold

log = logging.getLogger(__name__)

APPLICATION_ID = 0x63687468  # 'chth', at offset 68 of the file (https://sqlite.org/fileformat2.html)
MEMORY = ":memory:"
FRAME = 24 + 4096  # bytes of a page in SQLite's log

# Each entry brings a file from the version before to its own; a new file goes through all of them.
# ``doomed`` holds deleted rooms whose messages are still to be swept away; ``refs`` what became of the last
# requests under a token, the ``count``-th of them in slot count % REFS, so that a row makes room for another.
# ``used`` counts the uses of all tokens: they are in that order, whatever the clock says. ``kept`` is 1 for a token
# under which something was said with a ref, or that a room belongs to: it is forgotten after those that have 0.
# ``owner`` is the token that a room belongs to; 0: it is nobody's, for it was made before there were owners.
# ``who`` is the token under which a message was said, which tells a person from the next one with that name; 0: it is
# not known, for it was said before that was kept.
# ``rooms.last`` is the highest number that was swept away; higher ones are in ``messages``. ``searchable`` says by
# which rule the search index was made, and up to which message it goes; ``search`` makes the index itself.
# ``retention`` has the last time of the clock that was believed, since when, by itself, a clock is doubted, and whether
# something of what was deleted may still be readable in the file.
# ``identity`` has the mark that ties the file and SQLite's log together: see the module of that name.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE rooms (
            id      INTEGER PRIMARY KEY,
            name    TEXT NOT NULL,
            key     TEXT NOT NULL UNIQUE,
            topic   TEXT NOT NULL,
            creator TEXT NOT NULL,
            created INTEGER NOT NULL,
            last    INTEGER NOT NULL
        )""",
        """CREATE TABLE messages (
            id     INTEGER PRIMARY KEY,
            room   INTEGER NOT NULL,
            number INTEGER NOT NULL,
            at     INTEGER NOT NULL,
            sender TEXT NOT NULL,
            kind   TEXT NOT NULL,
            text   TEXT NOT NULL
        )""",
        "CREATE UNIQUE INDEX messages_by_number ON messages (room, number)",
        "CREATE TABLE doomed (room INTEGER PRIMARY KEY)",
    ),
    (
        """CREATE TABLE tokens (
            id   INTEGER PRIMARY KEY,
            name TEXT NOT NULL,
            used INTEGER NOT NULL
        )""",
        "CREATE INDEX tokens_by_use ON tokens (used)",
        """CREATE TABLE refs (
            token  INTEGER NOT NULL,
            slot   INTEGER NOT NULL,
            count  INTEGER NOT NULL,
            ref    TEXT NOT NULL,
            room   TEXT NOT NULL,
            number INTEGER NOT NULL,
            PRIMARY KEY (token, slot)
        ) WITHOUT ROWID""",
    ),
    (
        "ALTER TABLE rooms ADD COLUMN owner INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX rooms_by_owner ON rooms (owner)",
        "ALTER TABLE tokens ADD COLUMN kept INTEGER NOT NULL DEFAULT 0",
        "UPDATE tokens SET kept = 1 WHERE id IN (SELECT token FROM refs)",
        "DROP INDEX tokens_by_use",
        "CREATE INDEX tokens_by_worth ON tokens (kept, used)",
        "CREATE TABLE searchable (rule TEXT NOT NULL, upto INTEGER NOT NULL)",
        "INSERT INTO searchable (rule, upto) VALUES ('', 0)",
    ),
    (
        "CREATE TABLE retention (seen INTEGER, doubted INTEGER, remains INTEGER NOT NULL)",
        "INSERT INTO retention (seen, doubted, remains) SELECT NULL, NULL, EXISTS (SELECT 1 FROM rooms)",
    ),
    ("ALTER TABLE messages ADD COLUMN who INTEGER NOT NULL DEFAULT 0",),
    (
        "CREATE TABLE identity (mark BLOB NOT NULL, before BLOB NOT NULL)",
        "INSERT INTO identity (mark, before)"
        " VALUES (CAST(x'fffe6368ff6d6bfe' || randomblob(16) AS BLOB), zeroblob(16))",
    ),
)
VERSION = len(MIGRATIONS)


def connect(path: str, mode: str, timeout: float, immutable: bool = False) -> sqlite3.Connection:
    """Open a history as ``mode`` says, "ro" or "rw", never making it; MEMORY is one of its own each time."""
    if path == MEMORY:
        target = MEMORY
    else:
        target = "file:" + urllib.parse.quote(os.fsencode(path)) + f"?mode={mode}"
        target += "&immutable=1" if immutable else ""
    connection = sqlite3.connect(
        target,
        uri=path != MEMORY,
        timeout=timeout,
        isolation_level=None,  # transactions are begun by hand
        check_same_thread=False,  # connections change hands, but never have two users
    )
    if mode == "rw":
        connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten; not every SQLite does so
        connection.execute("PRAGMA temp_store = MEMORY")  # and what it needs for a moment goes to no other file
    connection.create_function("fold", 1, fold, deterministic=True)  # SQLite knows the case of ASCII only
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing: what is executed meanwhile is committed at the end, or rolled back."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def create(path: str) -> None:
    """Make the file under another name, whole, then give it its own: a kill leaves no half of one."""
    for rest in ("-wal", "-journal"):
        if os.path.exists(path + rest):
            raise StartError(
                f"There is no history {path}, but there is {path + rest}, the end of one."
                " Bring the history back, or move that file away."
            )
    unborn = path + ".new"
    with contextlib.suppress(FileNotFoundError):
        os.remove(unborn)
    filelock.make_private(unborn)  # and SQLite gives its log the same mode
    made = sqlite3.connect(unborn, isolation_level=None)
    try:
        made.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        migrate(made)
    finally:
        made.close()
    os.replace(unborn, path)


def examine(path: str, timeout: float) -> None:
    """Refuse what is not a history of ours or is damaged, without writing a byte to it."""

    def refuse(why: str) -> StartError:
        return StartError(f"{path} {why}. It was left as it is. Name another file with --db.")

    with open(path, "rb") as file:  # before SQLite has locks on it, which closing would drop
        header = file.read(100)
    if not header:
        raise refuse("is empty, so it is not a chat_threads history")
    if header[:16] != b"SQLite format 3\0" or len(header) < 100:
        raise refuse("is not an SQLite file")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise refuse("is an SQLite file, but not a chat_threads history")
    # Without a log there is nothing to recover, and "immutable" keeps SQLite from making files.
    clean = not os.path.exists(path + "-wal")
    check = connect(path, "ro", timeout, immutable=clean)
    try:
        version = check.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise refuse(f"is of version {version}, made by a newer chat_threads; this one knows version {VERSION}")
        started = time.monotonic()
        found = check.execute("PRAGMA quick_check(1)").fetchone()[0]
        if time.monotonic() - started > 1:
            log.info("checking %s took %.1f s", path, time.monotonic() - started)
        if found != "ok":
            raise refuse(f"is damaged ({' '.join(found.split())})")
    except sqlite3.DatabaseError as error:
        raise refuse(f"is damaged or cannot be read ({error})") from error
    finally:
        check.close()


def migrate(connection: sqlite3.Connection) -> bool:
    """Bring a history from its version to this one's, each step in a transaction of its own. Whether it was older."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, statements in enumerate(MIGRATIONS[version:], version + 1):
        with transaction(connection):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
    return bool(version < VERSION)
