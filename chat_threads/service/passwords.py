"""Passwords: asking a client for one, and checking it.

The reader thread of the session that sent a password checks it, a few at a time (see ``passwords.Gate``). The password
is in the command and in local variables, and nowhere else: not in an error, a log line, or what ``/threads`` shows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from .. import commands, events, inside
from ..account_errors import (
    AccountBusy,
    BadPassword,
    NoAccount,
    PasswordsBusy,
    PlainName,
    PlainPassword,
    RegisteredAlready,
    TooManyPasswords,
    WrongPassword,
)
from ..addresses import is_loopback, site
from ..dialects.asking import without_password
from ..errors import ChatError
from ..passwords import Account
from ..rules import clean
from ..session import Session
from ..tokens import Who
from .table import Context

log = logging.getLogger(__name__)

FAILED = 15  # tokens that a wrong password costs besides its command (see pace): as much as a person does not notice
AGAIN = (WrongPassword, BadPassword, TooManyPasswords, PasswordsBusy, AccountBusy)  # then the person is asked again
MANY = 4  # with so many others ahead, a person is told how many they are
PLAIN = "This connection is not encrypted: others on the network can read your password. Use it nowhere else."

T = TypeVar("T")


def who_is(context: Context, account: Account) -> Who:
    """The person of an account."""
    return Who(account.id, True, context.accounts.is_operator(account), account.password.salt)


def is_still(context: Context, who: Who) -> bool:
    """Whether the person still has the account, with the password of then: a new one voids what was found out."""
    account = context.accounts.of(who.identity)
    return account is not None and account.password.salt == who.proof


def owner_of(context: Context, name: str, who: Who | None) -> Account | None:
    """The account to which the name belongs, if it is not that of the person."""
    account = context.accounts.named(name)
    return None if who and account and who.identity == account.id else account


def asks(context: Context, session: Session, command: commands.Command) -> bool:
    """Ask the session's client for the password that the command lacks, if its dialect can ask; return whether it can.
    Raise PlainPassword."""
    check_private(context, session, command.name if isinstance(command, commands.Hello) else "")
    asked = session.dialect.ask(command)
    _warn(session, again=asked)
    return asked


def _warn(session: Session, again: bool) -> None:
    """Tell a client whose passwords others can read; ``again``: even if it has been told before."""
    if not _is_private(session) and (again or not session.warned):
        session.warned = True
        session.send(events.Notice(PLAIN))


def ask_again(session: Session, command: object, error: ChatError) -> None:
    """A password was refused, or the name of an account. The person will type it again, or goes on with the password,
    and that line must not be said in a room or taken as a name. So ask for it again."""
    if isinstance(command, commands.Login) and command.name and isinstance(error, (NoAccount, RegisteredAlready)):
        session.dialect.ask(commands.Login())
    elif isinstance(command, (commands.Hello, *commands.ASKS)) and command.password and isinstance(error, AGAIN):
        session.dialect.ask(without_password(command))


def _is_private(session: Session) -> bool:
    return session.local or session.wire.private or is_loopback(session.address)  # the last also in a browser


def check_private(context: Context, session: Session, name: str = "") -> None:
    """Raise PlainPassword if nobody may send a password on this connection. ``name``: an account's, which came
    without its password."""
    if context.accounts.plain == "refuse" and not _is_private(session):
        raise PlainName(name) if name else PlainPassword()


def checked(context: Context, session: Session, name: str, text: str) -> tuple[str, Who]:
    """The name of the account, and its person, if this is the password. Raise NoAccount, WrongPassword, PlainPassword,
    TooManyPasswords or PasswordsBusy. Waits for other passwords, at most ``passwords.PATIENCE`` seconds."""
    account = check(context, session, context.accounts.named(name), name, text)
    log.info("%s logs in as %s", session, account.name)
    return account.name, who_is(context, account)


def check(context: Context, session: Session, account: Account | None, name: str, text: str) -> Account:
    """The account, which was found by this name, if this is its password. Raises and waits as ``checked`` does."""
    accounts = context.accounts
    check_private(context, session)
    if account is None:
        raise NoAccount(clean(name[:100])[:40])
    accounts.may_try(account.name, session.address)
    right: bool | None = None
    try:
        right = in_turn(context, session, lambda: account.password.matches(text))
    finally:
        accounts.tried(account.name, session.address, right)
    if not right or accounts.of(account.id) != account:  # changed meanwhile
        session.pace.pay(FAILED)
        raise WrongPassword(account.name)
    return account


def in_turn(context: Context, session: Session, work: Callable[[], T]) -> T:
    """Do the work of a password when it is this thread's turn. Raise TooManyPasswords or PasswordsBusy."""
    accounts, wire, asked = context.accounts, session.wire, False

    def tell(before: int) -> None:
        if before >= MANY:
            session.send(events.Notice(f"Please wait: {before} others are ahead of you. A token needs no password."))

    def gone() -> bool:
        """A client that has ended its input may still wait for the answer, as ``nc -N`` does. Send it something: if it
        has gone, its system answers with a reset."""
        nonlocal asked
        if wire.hung_up and not asked:
            asked = True
            session.send(events.Notice("Please wait: your password is still to be checked."))
        return session.ended.is_set() or wire.dead

    accounts.may_work(session.address)
    _warn(session, again=False)
    inside.does("waits for its turn at passwords")
    try:
        accounts.gate.enter(site(session.address), gone, tell)
    except PasswordsBusy:
        accounts.did_not_work(session.address)
        raise
    try:
        inside.does("works on a password")
        return work()
    finally:
        accounts.gate.leave()
