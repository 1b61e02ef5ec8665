"""The commands of accounts. People do not type a password after a command: the server asks for it.

A program sends the password as a field. A dialect for people asks its person, and completes the command with the
answers (see ``dialects.asking``). No password shows in the ``repr`` of a command. See ``commands``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .account_errors import TypedPassword
from .passwords import SHORTEST as SHORTEST
from .usage import Command, command

SENT = {"sent": True}  # a program has to send the field; a person is asked for it


class _Asks(Command):
    """A command for which the server asks for a password."""

    __slots__ = ()

    @classmethod
    def typed(cls, rest: str) -> Command | None:
        """Raise TypedPassword if anything follows: it may be a password, so no error may repeat it."""
        if rest:
            raise TypedPassword(cls.row.name)
        return cls()


@command(
    "/register",
    "keep your name with a password",
    "register",
    more="The server asks for the password. From then on, only whoever knows it can have your name, and /login or the"
    " name itself brings you back from anywhere. What you own now stays yours.",
    cost=10,
)
@dataclass(frozen=True, slots=True)
class Register(_Asks):
    """Make the session's name an account with this password."""

    password: str = field(default="", repr=False, metadata=SENT)


@command(
    "/login",
    "take your registered name",
    "login",
    more="The server asks for the name and the password. If you are connected elsewhere, that connection is closed."
    " You can also log in at once, by typing the name when you connect. A /token brings you back without a password.",
    cost=10,
)
@dataclass(frozen=True, slots=True)
class Login(_Asks):
    """Become the person of an account."""

    name: str = field(default="", metadata=SENT)
    password: str = field(default="", repr=False, metadata=SENT)


@command(
    "/password",
    "change your password",
    "password",
    more="The server asks for the old one and the new one. All your other tokens are void afterwards. The token of this"
    " connection stays: if others know it, connect again with your password first, and change that there.",
    cost=10,
)
@dataclass(frozen=True, slots=True)
class ChangePassword(_Asks):
    """Change the password of the session's account to ``new``. All tokens but the session's own are forgotten. Without
    ``new``, only check the password."""

    password: str = field(default="", repr=False, metadata=SENT)
    new: str = field(default="", repr=False, metadata=SENT)


@command(
    "/unregister",
    "give up your registered name",
    "unregister",
    more="The server asks for the password. Then anybody may have the name. What you said stays in the history.",
    cost=10,
)
@dataclass(frozen=True, slots=True)
class Unregister(_Asks):
    """End the session's account."""

    password: str = field(default="", repr=False, metadata=SENT)


@command(
    "/operator TOKEN",
    "become an operator of the server",
    "operator",
    more="For the first operator: a server that has none prints the token when it starts with --operator-token.",
    cost=10,
)
@dataclass(frozen=True, slots=True)
class BecomeOperator(Command):
    """Make the session's account an operator of the server, by the token that the server has printed."""

    token: str = field(repr=False)


ASKS = (Register, Login, ChangePassword, Unregister)
"""The commands that have a password in them."""

SECRET: tuple[type[Command], ...] = (*ASKS, BecomeOperator)
"""Those whose typed line may have a secret in it."""
