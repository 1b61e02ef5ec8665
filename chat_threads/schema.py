"""What is in the file: its tables, the steps from one version to the next, and which files may be opened.

All of this happens before a history is open. ``examine`` refuses a file that is not ours, without writing to it.
``create`` makes a new file, and ``migrate`` brings an old one to this version.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
import urllib.parse

from . import filelock
from .errors import StartError
from .rules import fold

log = logging.getLogger(__name__)

APPLICATION_ID = 0x63687468  # 'chth', at offset 68 of the file (https://sqlite.org/fileformat2.html)
MEMORY = ":memory:"
FRAME = 24 + 4096  # bytes of a page in SQLite's log

# Each entry brings a file from the version before it to its own version. A new file goes through all of them.
#
# rooms       ``last`` is the highest number of a message that was deleted; higher ones are in ``messages``. ``owner``
#             is the number of the token that the room belongs to; 0: nobody's, made before there were owners.
# messages    ``who`` is the number of the sender's token, which tells two people with one name apart; 0: unknown; the
#             message is older than this column.
# doomed      deleted rooms whose messages are not all deleted yet.
# tokens      ``used`` counts the uses of all tokens, so it orders them without a clock. ``kept`` is 1 for a token under
#             which something was said with a ref, that a room belongs to, or that opens an account. Tokens with 0 are
#             forgotten first.
# refs        what became of the last requests under a token. The ``count``-th is in slot count % REFS, so a new row
#             takes the place of the oldest.
# searchable  the rule by which the search index was made, and the last message in it. ``search`` makes the index.
# retention   ``seen`` is the last time of the clock that was trusted, ``doubted`` what the clock showed when the server
#             began to doubt it, ``remains`` whether something that was deleted may still be readable in the file.
# places      what a token keeps for a person who comes back (see the module ``kept``).
# governance  how rooms are governed, if an operator has changed anything (see the module ``governance``).
# accounts    the names that are reserved. ``id`` is the number of the token under which the name was registered; the
#             others are the scrypt hash of the password, its salt and its parameters.
# keys        the tokens that open an account, and the numbers of their owners: a token that is not in here is its own
#             owner, unless that is an account. 0: the token is void, although it was the first one of its owner.
# audit       what was done to keep order (see the module ``audit``). ``place`` is the room's name,
#             ``who`` the number of the person whom a report is about, and ``reporter`` that of who reports.
# identity    the mark that ties the file and SQLite's log together (see the module ``identity``).
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
    ("CREATE TABLE places (token INTEGER PRIMARY KEY, place TEXT NOT NULL)",),
    ("CREATE TABLE governance (room INTEGER PRIMARY KEY, text TEXT NOT NULL)",),
    (
        """CREATE TABLE accounts (
            id       INTEGER PRIMARY KEY,
            name     TEXT NOT NULL,
            key      TEXT NOT NULL UNIQUE,
            made     INTEGER NOT NULL,
            n        INTEGER NOT NULL,
            r        INTEGER NOT NULL,
            p        INTEGER NOT NULL,
            salt     BLOB NOT NULL,
            hash     BLOB NOT NULL,
            operator INTEGER NOT NULL
        )""",
        "CREATE TABLE keys (token INTEGER PRIMARY KEY, account INTEGER NOT NULL)",
        "CREATE INDEX keys_by_account ON keys (account)",
    ),
    (
        """CREATE TABLE audit (
            id     INTEGER PRIMARY KEY,
            room   INTEGER NOT NULL,
            at     INTEGER NOT NULL,
            place  TEXT NOT NULL,
            by     TEXT NOT NULL,
            action TEXT NOT NULL,
            about  TEXT NOT NULL,
            why    TEXT NOT NULL
        )""",
        "CREATE INDEX audit_by_room ON audit (room)",
    ),
    ("ALTER TABLE audit ADD COLUMN who INTEGER NOT NULL DEFAULT 0",),
    ("ALTER TABLE audit ADD COLUMN reporter INTEGER NOT NULL DEFAULT 0",),
)
VERSION = len(MIGRATIONS)


def connect(path: str, mode: str, timeout: float, immutable: bool = False) -> sqlite3.Connection:
    """Open a history for reading ("ro") or for writing too ("rw"). It must exist; MEMORY is a new one each time."""
    if path == MEMORY:
        target = MEMORY
    else:
        target = "file:" + urllib.parse.quote(os.fsencode(path)) + f"?mode={mode}"
        target += "&immutable=1" if immutable else ""
    connection = sqlite3.connect(
        target,
        uri=path != MEMORY,
        timeout=timeout,
        isolation_level=None,  # ``transaction`` begins and ends transactions
        check_same_thread=False,  # connections are lent from thread to thread; each has one user at a time
    )
    if mode == "rw":
        connection.execute("PRAGMA secure_delete = ON")  # overwrite what is deleted: not every SQLite does by default
        connection.execute("PRAGMA temp_store = MEMORY")  # no texts in temporary files, which are not overwritten
    connection.create_function("fold", 1, fold, deterministic=True)  # SQLite itself folds ASCII only
    return connection


class transaction:
    """A transaction: it is committed at the end of the ``with`` block, and rolled back after an exception.

    A class, because a ``contextmanager`` makes eight calls for each transaction, and this makes three.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *rest: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")


def create(path: str) -> None:
    """Make the file under another name, then rename it: a kill never leaves half a file. Raises StartError."""
    for rest in ("-wal", "-journal"):
        if os.path.exists(path + rest):
            raise StartError(
                f"There is no history {path}, but {path + rest} exists, which is part of one."
                " Bring the history back, or move that file away."
            )
    unfinished = path + ".new"
    with contextlib.suppress(FileNotFoundError):
        os.remove(unfinished)
    filelock.make_private(unfinished)  # SQLite gives its log the same mode
    try:
        with contextlib.closing(sqlite3.connect(unfinished, isolation_level=None)) as made:
            made.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            migrate(made)
        os.replace(unfinished, path)
    except BaseException:  # a full disk
        with contextlib.suppress(OSError):
            os.remove(unfinished)
        raise


def examine(path: str, timeout: float, copies: bool = False) -> None:
    """Raise StartError if the file is not a history of ours, or is damaged. Does not write to it. ``copies``: it may be
    a copy of the log of several servers (see ``cluster.copy``)."""

    def refuse(why: str) -> StartError:
        return StartError(f"{path} {why}. It was left as it is. Name another file with --db.")

    with open(path, "rb") as file:  # before SQLite locks it: closing any descriptor of a file drops its locks
        header = file.read(100)
    if not header:
        raise refuse("is empty, so it is not a chat_threads history")
    if header[:16] != b"SQLite format 3\0" or len(header) < 100:
        raise refuse("is not an SQLite file")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise refuse("is an SQLite file, but not a chat_threads history")
    # Without a log there is nothing to recover. "immutable" keeps SQLite from making files.
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
        if not copies and is_copy(check):
            raise StartError(
                f"The history {path} is of a server in a cluster, and has all that its servers have said. Start it with"
                f" --cluster. To go on without the others, make a history of your own from it:"
                f" scripts/backup.py {path} alone.db --alone."
            )
    except sqlite3.DatabaseError as error:
        raise refuse(f"is damaged or cannot be read ({error})") from error
    finally:
        check.close()


def is_copy(connection: sqlite3.Connection) -> bool:
    """Whether a history is a copy of the log of several servers."""
    made = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'copy'").fetchone()
    return bool(made and connection.execute("SELECT 1 FROM copy").fetchone())


def migrate(connection: sqlite3.Connection) -> bool:
    """Bring a history to this version, each step in a transaction of its own. Returns whether it was older."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, statements in enumerate(MIGRATIONS[version:], version + 1):
        with transaction(connection):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
    return bool(version < VERSION)
