"""Accounts: registering a name, logging in, and what else has to do with passwords.

A change is submitted to the history, and answered once it is committed. Most of these commands wait for their turn to
check a password, and for the history.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import fields, replace

from .. import commands, events, ordered
from ..account_errors import (
    BadPassword,
    LoggedInAlready,
    NoAccount,
    NotLoggedIn,
    OperatorsName,
    RegisteredAlready,
    WrongOperatorToken,
)
from ..dialects.asking import command_in
from ..disconnects import Replaced
from ..errors import BadRequest, Busy, NotStored
from ..passwords import Account, Password, check_password
from ..rules import clean
from ..session import Session
from ..tokens import new_token, token_id
from . import governing, people, returning
from .passwords import FAILED, asks, check, check_private, checked, in_turn
from .table import Context, does

log = logging.getLogger(__name__)

OPERATOR = "You are an operator of the server now, with all rights in every room."


def _store(context: Context, session: Session, change: ordered.AccountChange) -> bool:
    """Submit a change and wait until it is stored; return whether it is. If not, the session is told why."""
    context.history.submit(change)
    context.wait(session)
    ended = isinstance(change, ordered.AccountEnded)
    return context.accounts.of(change.account.id) == (None if ended else change.account)


def _end_others(context: Context, session: Session, account: Account) -> None:
    """Cut off another session that logged in to the account while the account was changed or given up."""
    other = context.sessions.holder("", account.id)
    if other and other is not session:
        other.cut_off(Replaced())


def not_stored(context: Context, change: ordered.AccountStored) -> None:
    """For the history thread: the change could not be stored. If an account was to be made, the name is free again."""
    if context.accounts.of(change.account.id) is None:
        context.sessions.unreserve(change.account.name)


def _own(context: Context, session: Session, otherwise: str = "") -> Account:
    """The account of a session that is logged in; raise NotLoggedIn, whose fact is ``otherwise``, if given."""
    account = context.accounts.of(session.identity) if session.account else None
    if account is None:
        raise NotLoggedIn(otherwise)
    return account


def _key(session: Session) -> int:
    """The number of the session's token, if its client knows it."""
    return token_id(session.token) if session.known else 0


@does(commands.Register)
def register(context: Context, session: Session, command: commands.Register) -> None:
    accounts = context.accounts
    if session.account:
        raise RegisteredAlready(_own(context, session).name, session.name)
    if accounts.is_operators_name(session.name) and not session.local:
        raise OperatorsName(session.name)
    if already := accounts.of(session.identity):  # it was stored late, after its answer was given up
        login(context, session, commands.Login(already.name, command.password))
        return
    if not command.password:
        _ask(context, session, command)
        return
    check_private(context, session)
    _check_new(command.password)
    with accounts.changing(session.identity):
        password = in_turn(context, session, lambda: Password.of(command.password))
        account = Account(session.identity, session.name, int(time.time() * 1000), password)
        if context.sessions.holder(session.token) is not session:  # another connection has taken its place
            return
        accounts.may_make(session.address)
        context.sessions.reserve(account.name, account.id)
        with contextlib.suppress(NotStored):
            context.history.submit(ordered.TokenUsed(account.id, account.name))
        try:
            stored = _store(context, session, ordered.AccountStored(account, _key(session), session, session.ref))
        except NotStored:
            context.sessions.unreserve(account.name)
            raise
        if not stored:
            return
        context.sessions.logs_in(session, accounts.is_operator(account), password.salt)
    log.info("%s registers", session)
    returning.begin(session)
    said = f"{account.name} is yours now: only whoever knows the password can have this name. You are logged in."
    if session.operator:
        log.info("%s is an operator of the server", session)
        said += f" {OPERATOR}"
    session.answer(events.Notice(said, name=account.name))


def _check_new(password: str) -> None:
    """Raise BadPassword if this cannot be a new password, or if nobody could type it when asked for it."""
    check_password(password)
    if command_in(password):
        raise BadPassword("A password cannot begin with a command.")


def _ask(context: Context, session: Session, command: commands.Command) -> None:
    """Ask for what the command lacks. Raise BadRequest if the client has to send it by itself."""
    if not asks(context, session, command):
        missing = [each.name for each in fields(command) if not getattr(command, each.name)]  # type: ignore[arg-type]
        raise BadRequest(f"{command.row.type} needs {' and '.join(missing)}.")


@does(commands.Login)
def login(context: Context, session: Session, command: commands.Login) -> None:
    account = context.accounts.named(command.name) if command.name else None
    if command.name and account is None:
        raise NoAccount(clean(command.name[:100])[:40])
    if account and session.account and session.identity == account.id:
        raise LoggedInAlready(account.name)
    if account is None or not command.password:
        _ask(context, session, command)
        return
    name, who = checked(context, session, account.name, command.password)
    people.come_back(context, session, name, new_token(), who, new=True)


@does(commands.ChangePassword)
def change_password(context: Context, session: Session, command: commands.ChangePassword) -> None:
    account, accounts = _own(context, session), context.accounts
    if not command.password:
        _ask(context, session, replace(command, new=""))
        return
    if not command.new:
        check(context, session, account, account.name, command.password)
        if not session.dialect.ask(command):
            session.answer(events.Ack())
        return
    _check_new(command.new)
    with context.accounts.changing(account.id):
        check(context, session, account, account.name, command.password)
        password = in_turn(context, session, lambda: Password.of(command.new))
        changed = replace(account, password=password)
        if context.sessions.holder(session.token) is not session:  # another connection has taken its place
            return
        if not _store(context, session, ordered.AccountStored(changed, _key(session), session, session.ref)):
            return
        context.sessions.logs_in(session, accounts.is_operator(changed), password.salt)
        _end_others(context, session, account)
    log.info("%s has another password", session)
    session.answer(events.Notice("Your password is changed. Your other tokens are void.", name=account.name))


@does(commands.BecomeOperator)
def become_operator(context: Context, session: Session, command: commands.BecomeOperator) -> None:
    account = _own(context, session, "An operator of the server has an account, and you are not logged in.")
    accounts = context.accounts
    with accounts.changing(account.id):
        if not accounts.take_token(command.token):
            session.pace.pay(FAILED)
            raise WrongOperatorToken()
        changed = replace(account, operator=True)
        stored = False
        try:
            stored = _store(context, session, ordered.AccountStored(changed, None, session, session.ref))
        except Busy:
            stored = True  # perhaps: the token must not make a second one
            raise
        finally:
            if not stored:
                accounts.expect_operator(command.token)
        if not stored:
            return
        context.sessions.logs_in(session, True, account.password.salt)
    log.info("%s is an operator of the server", session)
    session.answer(events.Notice(OPERATOR, name=account.name))


@does(commands.Unregister)
def unregister(context: Context, session: Session, command: commands.Unregister) -> None:
    account = _own(context, session)
    if not command.password:
        _ask(context, session, command)
        return
    with context.accounts.changing(account.id):
        check(context, session, account, account.name, command.password)
        if context.sessions.holder(session.token) is not session:
            return
        was_operator = session.operator
        key = token_id(session.token)  # even if nobody has seen it: /token may show it later
        context.history.submit(ordered.TokenUsed(key, session.name))
        if not _store(context, session, ordered.AccountEnded(account, key, session, session.ref)):
            return
        _end_others(context, session, account)
        context.sessions.logs_out(session)
        governing.leave_forbidden(context, session)
    log.info("%s gives up the account %s", session, account.name)
    said = f"{account.name} belongs to nobody now. You keep your name as long as you are here."
    if was_operator:
        said += " You are no longer an operator of the server."
    session.answer(events.Notice(said, name=account.name))
