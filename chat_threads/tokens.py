"""Tokens: what a client shows to come back as itself, after its connection was lost.

A token is a secret of the client's, 128 random bits. The server keeps a number that is made from it, which does
not give the token away: who can read the history cannot take anybody's place. Pure functions, any thread.
"""

from __future__ import annotations

import hashlib
import secrets

TOKEN_LENGTH = 64  # characters that are looked at; those that are handed out have 22


def new_token() -> str:
    """A token that nobody has."""
    return secrets.token_urlsafe(16)


def token_id(token: str) -> int:
    """The number under which a token is kept: 63 bits of its SHA-256, as many as SQLite's integers hold."""
    digest = hashlib.sha256(token[:TOKEN_LENGTH].encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:8], "big") >> 1
