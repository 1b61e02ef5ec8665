"""Storing accounts, and the tokens that open them. ``schema`` describes the tables.

The history thread calls these functions, in a transaction of the Storage. Raises sqlite3.Error.
"""

from __future__ import annotations

import sqlite3

from .ordered import AccountChange, AccountEnded, TokenUsed
from .rules import fold

KEYS = 20  # tokens that open one account: those that were used last


def store(writer: sqlite3.Connection, change: AccountChange | TokenUsed) -> None:
    """Store a change of an account, or that a token opens it."""
    if isinstance(change, TokenUsed):
        found = writer.execute("SELECT 1 FROM accounts WHERE id = ? AND salt = ?", (change.account, change.proof))
        if found.fetchone():  # otherwise the password has been changed since
            _add_key(writer, change.token, change.account)
        return
    account, password, key = change.account, change.account.password, change.key
    if key is not None:
        void = "SELECT token FROM keys WHERE account = ? AND token NOT IN (?, ?)"
        writer.execute(f"DELETE FROM tokens WHERE id IN ({void})", (account.id, key, account.id))
        writer.execute("DELETE FROM keys WHERE account = ?", (account.id,))
    if isinstance(change, AccountEnded):
        writer.execute("DELETE FROM accounts WHERE id = ?", (account.id,))
        if key != account.id:  # the first token of all may be void, and must not become somebody's again
            writer.execute("INSERT OR REPLACE INTO keys (token, account) VALUES (?, 0)", (account.id,))
    else:
        writer.execute(
            "INSERT OR REPLACE INTO accounts (id, name, key, made, n, r, p, salt, hash, operator)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(account.id, account.name, fold(account.name), account.made),
                *(password.n, password.r, password.p, password.salt, password.hash, account.operator),
            ),
        )
    if key:
        _add_key(writer, key, account.id)


def _add_key(writer: sqlite3.Connection, token: int, account: int) -> None:
    """Note that the token opens the account; of those that do, only the KEYS that were used last stay."""
    writer.execute("INSERT OR REPLACE INTO keys (token, account) VALUES (?, ?)", (token, account))
    writer.execute("UPDATE tokens SET kept = 1 WHERE id = ?", (token,))  # many new tokens must not push it out
    writer.execute(
        "DELETE FROM keys WHERE account = ? AND token NOT IN (SELECT token FROM keys JOIN tokens ON id = token"
        " WHERE account = ? ORDER BY used DESC LIMIT ?)",
        (account, account, KEYS),
    )
