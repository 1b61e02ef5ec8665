"""Commands without a word of their own: what clients ask for by telnet, by HTTP, or by the keys of the line editor.

They stand in no table: nobody types them, and no program sends them by name. All are frozen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .usage import Command


@dataclass(frozen=True, slots=True)
class AreYouThere(Command):
    """Telnet's Are You There (RFC 854)."""


@dataclass(frozen=True, slots=True)
class ShowScreen(Command):
    """Draw ``drawn``, what has changed on the client's screen, and show what comes from now on by its new views.
    ``pressed``: whether a person has pressed a key; otherwise the terminal has sent something by itself."""

    cost: ClassVar[float] = 0.2  # for each key, or for some that come together
    drawn: bytes = b""
    pressed: bool = False


@dataclass(frozen=True, slots=True)
class Complete(Command):
    """Tab was pressed: find the words that may stand in place of the last one in ``before``."""

    cost: ClassVar[float] = 2
    before: str


@dataclass(frozen=True, slots=True)
class ShowMetrics(Command):
    """The numbers for a monitoring system. ``forwarded``: the request passed a proxy, so it is never local."""

    forwarded: bool = False


@dataclass(frozen=True, slots=True)
class ShowHealth(Command):
    """Whether the server can store and serve."""
