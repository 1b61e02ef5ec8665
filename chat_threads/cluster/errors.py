"""What people are told only in a cluster."""

from __future__ import annotations

from ..errors import CutOff, MaybeStored, NotStored, StartError


class Unreached(NotStored):
    """The log could not be reached for a while, and what was said is surely not in it."""

    def __init__(self, what: str = "sent") -> None:
        super().__init__("the servers' common log cannot be reached", what)


class GivenUpMeanwhile(NotStored):
    """The other servers counted this one as gone before the value came into the log."""

    def __init__(self) -> None:
        super().__init__("the other servers could not reach this one")


class Unsettled(MaybeStored):
    """The connection to the log broke while something was sent to it, so nobody knows yet whether it arrived."""

    fact = "The server does not know yet whether that was stored: the servers' common log cannot be reached."
    advice = "If it was, it is shown when the log can be reached again."


class OutOfTouch(CutOff):
    """The other servers counted this one as gone, so its people have left."""

    code = "shutting_down"  # programs connect again, as after that
    fact = "The other servers could not reach this one for a while. Goodbye."
    advice = "Connect again."


class RowsAreGone(StartError):
    """The log begins after what this copy has: its old rows were deleted."""

    def __init__(self, position: int, found: int) -> None:
        has = f"this server's history ends with row {position}" if position else "this server's history is new"
        super().__init__(
            f"The servers' common log begins with row {found}: what is older is only in the servers' histories, and"
            f" {has}. Copy the history of a server that runs (scripts/backup.py one.db copy.db), and name the copy with"
            " --db."
        )


class LogHasBegun(StartError):
    """The history of a server that was alone cannot be added to a log that is not empty."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"The history {path} is of a server that was alone, and the servers' common log has begun without it."
            " To begin a log with this history, name an empty database with --cluster. To join the other servers, name"
            " a copy of the history of one of them with --db (scripts/backup.py one.db copy.db)."
        )


class OtherFormat(StartError):
    """The tables in the database are of another version."""

    def __init__(self, found: int) -> None:
        super().__init__(
            f"The servers' common log in the database of --cluster has format {found}, which this chat_threads cannot"
            " read. Install the version that the other servers have, or name an empty database."
        )


class OtherLayout(StartError):
    """Another version made this copy, and this one cannot read what it has besides messages."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"The history {path} is of a server in a cluster, and another version of chat_threads made it, with which"
            " this one cannot go on. Install that version, or name a new file with --db: then the server gets"
            " everything from the database, if the other servers have this version, too."
        )


class LogIsShorter(StartError):
    """The log has lost rows that this copy has."""

    def __init__(self, position: int, found: int) -> None:
        super().__init__(
            f"This server's history has {position} rows of the servers' common log, which has only {found}. So the"
            " database has lost rows: it may be an older backup, or a standby that was behind. Restore the database, or"
            " name a new file with --db, and do so for all servers."
        )


class CopyFailed(StartError):
    """The server's own history cannot follow the log."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"This server's history cannot follow the servers' common log: {why}. So the server stops. Nothing is lost:"
            " when it is started again, it reads on where it was."
        )


class NewerEntry(StartError):
    """A newer version wrote a row of the log, and this one does not know what it means."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The servers' common log has {what}, which a newer chat_threads wrote. This server cannot follow, so it"
            " stops. Install that version and start it again."
        )
