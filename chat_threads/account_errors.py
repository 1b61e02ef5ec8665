"""What can go wrong with accounts and passwords. No error text has a password in it, or anything that may be one."""

from __future__ import annotations

from .errors import NameTaken, Told, whole

LOG_IN = 'Send "password", too, to log in'  # how programs do that


class PasswordNeeded(NameTaken):
    """The name belongs to an account, and the client has not shown its password."""

    code = "password_needed"

    def __init__(self, name: str, near: str) -> None:
        super().__init__(name, near, "belongs to an account")
        Told.__init__(self, self.fact, f"{LOG_IN}, or take another name, such as {near}." if near else f"{LOG_IN}.")


class WrongPassword(Told):
    """The answer to a wrong password, and to one that was changed meanwhile."""

    code = "wrong_password"

    def __init__(self, name: str) -> None:
        super().__init__(f"That is not the password of {name}.")
        self.name = name


class NoAccount(Told):
    """Nobody has registered the name."""

    code = "no_account"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no account {name}.")
        self.name = name


class NotLoggedIn(Told):
    """The request is for somebody who is logged in."""

    code = "not_logged_in"
    fact = "You are not logged in."


class OperatorsName(Told):
    """The name is one of the server's operators, so not everybody may register it."""

    code = "not_allowed"

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is an operator's name: it can be registered only on the server's own machine.")
        self.name = name


class RegisteredAlready(Told):
    """The session is logged in, so it has an account, ``name``; the session itself may be called otherwise now."""

    code = "logged_in"

    def __init__(self, name: str, now: str) -> None:
        if name.lower() == now.lower():
            super().__init__(f"{name} has a password already, and you are logged in.")
        else:
            super().__init__(f"You are logged in as {name}, and an account has one name: {now} has no password.")
        self.name = name


class LoggedInAlready(RegisteredAlready):
    """The session would log in to the account that it is logged in to."""

    def __init__(self, name: str) -> None:
        Told.__init__(self, f"You are logged in as {name} already.")
        self.name = name


class BadPassword(Told):
    """A new password that is not allowed. ``fact`` says why, and never what it was."""

    code = "bad_password"


class TypedPassword(Told):
    """Something was typed after a command that takes nothing, and it may be a password."""

    code = "usage"

    def __init__(self, command: str) -> None:
        fact = f"{command} takes nothing after it. If that was a password, others may have seen it: choose another one."
        super().__init__(fact, f"Type {command} alone, and then what you are asked for.")


class PlainPassword(Told):
    """Passwords are not accepted from other machines without TLS."""

    code = "not_encrypted"
    fact = "This connection is not encrypted, and this server takes no passwords on such a connection."
    advice = "Connect with TLS, or come back with your token."


class PlainName(PlainPassword):
    """The same for somebody who has only given the name of an account, and perhaps does not know that it is one."""

    def __init__(self, name: str) -> None:
        fact = f"The name {name} belongs to an account, and this server takes no passwords without encryption."
        advice = "Take another name. If this one is yours, connect with TLS, or come back with your token."
        super().__init__(fact, advice)
        self.name = name


class PasswordsBusy(Told):
    """Too many others have their passwords checked."""

    code = "busy"
    fact = "Too many people are logging in at this moment."
    advice = "Try again in half a minute. A token needs no password."


class TooManyPasswords(Told):
    """Too many passwords were wrong for a name, or too many were checked for an address."""

    code = "try_later"

    def __init__(self, seconds: float, name: str = "") -> None:
        self.seconds = whole(seconds)
        what = f"wrong passwords for {name}" if name else "passwords"
        super().__init__(f"Too many {what} came from your address.", f"Try again in {self.seconds} seconds.")


class TooManyAccounts(Told):
    """No more accounts can be made: from this address for ``seconds``; None: at all."""

    code = "no_more_accounts"

    def __init__(self, seconds: float | None = None) -> None:
        if seconds is None:
            super().__init__("There are too many accounts already.")
            return
        self.seconds = whole(seconds)
        super().__init__("Too many accounts were made from your address.", f"Try again in {self.seconds} seconds.")


class WrongOperatorToken(Told):
    """That is not the token that the server printed, or somebody has used it."""

    code = "unknown_token"
    fact = "That is not the token that the server printed when it started, or it has been used already."


class AccountBusy(Told):
    """Another change of the same account is under way."""

    code = "busy"
    fact = "Another change of this account is under way."
    advice = "Try again in a moment."
