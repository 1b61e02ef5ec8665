"""Questions to a person who types, such as for a password: one line answers each. Pure.

The answers complete a command, such as ``/login``, and are kept in nothing but that command.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from .. import commands
from ..rules import clean

HIDDEN = "password (not shown): "  # stands before a line that is typed and not shown
SHOWN = "name"  # the one field whose answer may be seen


@dataclass(frozen=True, slots=True)
class Question:
    """A question for a field of the command; ``again``: the answer must be the same as the one before."""

    field: str
    text: str
    again: bool = False
    least: int = 0  # characters


_LEAST = commands.SHORTEST
_BACK = "an empty line goes back"
_NEW = (
    Question("new", f"Type the new password; {_BACK}.", least=_LEAST),
    Question("new", "Type it once more.", again=True),
)
_OLD = Question("password", f"Type your password; {_BACK}.", least=_LEAST)


def _login(command: Any) -> Sequence[Question]:
    """First only for the name, so that an unknown one is found out before a password is typed."""
    if command.name:
        name = clean(command.name)[:40]
        ways = "an empty line goes back, /quit leaves"
        return (Question("password", f"The name {name} has a password. Type it; {ways}.", least=_LEAST),)
    return (Question(SHOWN, f"Type the name of your account; {_BACK}."),)


def _password(command: Any) -> Sequence[Question]:
    """First only for the old one, so that a wrong one is found out before a new one is chosen."""
    return _NEW if command.password else (_OLD,)


QUESTIONS: Mapping[type[commands.Command], Callable[[Any], Sequence[Question]]] = {
    commands.Hello: _login,
    commands.Login: _login,
    commands.Register: lambda command: (
        Question("password", f"Choose a password of {_LEAST} characters or more; {_BACK}.", least=_LEAST),
        Question("password", "Type it once more.", again=True),
    ),
    commands.ChangePassword: _password,
    commands.Unregister: lambda command: (_OLD,),
}
"""The questions that complete each command."""


def asked_for(command: commands.Command) -> bool:
    """Whether the command lacks a password, so that its person has to be asked."""
    return isinstance(command, commands.ASKS) and not command.password


def without_password(command: Any) -> commands.Command:
    """The command without the answers that nobody may see."""
    secrets = {each.name: "" for each in fields(command) if each.name in ("password", "new")}
    without: commands.Command = replace(command, **secrets)
    return without


def may_have_password(text: str) -> bool:
    """Whether there may be a password in a typed text, after a command that takes none, or another secret. The command
    may lack its ``/``, unless it is /resume: many texts begin with that word."""
    word, *rest = text.split(None, 1)[:2] or [""]
    kind = commands.BY_NAME.get("/" + word.lower().removeprefix("/").removesuffix(":"))
    return bool(rest) and (kind in commands.SECRET or (kind is commands.Resume and word.startswith("/")))


def without_secret(text: str) -> str:
    """A typed text; if it may have a password or another secret, only its first word."""
    return text.split()[0] if may_have_password(text) else text


def command_in(text: str) -> type[commands.Command] | None:
    """The command that an answer begins with, if it does: then it is no answer."""
    word = text.split()[0].lower() if text.strip() else ""
    return commands.BY_NAME.get(word) or commands.BY_NAME.get(word.rstrip("?!.,;:"))


class Form:
    """The questions for one command, and the answers so far."""

    def __init__(self, command: commands.Command) -> None:
        self._command: Any = command
        self.ended = False  # whether it ends without a command
        self._begin()

    def _begin(self) -> None:
        self._left = list(QUESTIONS[type(self._command)](self._command))
        self._answers: dict[str, str] = {}

    @property
    def question(self) -> Question:
        """The one that waits for an answer."""
        return self._left[0]

    @property
    def hidden(self) -> bool:
        """Whether nobody may see the answer."""
        return self._is_secret(self.question)

    @staticmethod
    def _is_secret(question: Question) -> bool:
        return question.field != SHOWN

    def answer(self, text: str) -> str:
        """Take an answer; return what is wrong with it, or "". Afterwards ``command`` is complete (or Quit, if that was
        typed), or the form has ``ended``, or the ``question`` is the next one."""
        question = self._left.pop(0)
        if not text.strip():
            self.ended = True
            return "Nothing was typed, so nothing was changed."
        if commands.BY_NAME.get(text.split()[0].lower()) is commands.Quit:
            self._left, self._answers, self._command = [], {}, commands.Quit()
            return ""
        if command_in(text):
            self._left.insert(0, question)
            what = "a password" if self._is_secret(question) else "a name"
            return f"That is a command, not {what}."
        if len(unicodedata.normalize("NFD", text)) < question.least:  # as an old password may have been typed
            self._left.insert(0, question)
            return f"A password has {question.least} characters or more."
        if question.again and text != self._answers[question.field]:
            self._begin()  # and not the end: whatever is typed next may be the password once more
            return "The two are not the same, so nothing was changed."
        self._answers[question.field] = text if question.field != SHOWN else text.strip()
        return ""

    @property
    def command(self) -> commands.Command | None:
        """The command with all answers; None: another question follows."""
        return None if self._left or self.ended else replace(self._command, **self._answers)
