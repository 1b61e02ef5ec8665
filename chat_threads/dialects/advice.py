"""Advice after an error or a notice for people who type: it names commands as they are typed."""

from __future__ import annotations

from collections.abc import Callable

from .. import account_errors, disconnects, errors, refusals
from ..events import Notice, Problem

# Before BINARY is agreed, some telnet clients drop the byte 0x85. The line cannot be repaired: the byte may be missing
# anywhere.
_SET_UTF8 = (
    "Type it once more. If that does not help, set your terminal to UTF-8, and connect with: telnet -- HOST -PORT"
)

ADVICE: dict[type[errors.ChatError], Callable[[Problem], str]] = {
    errors.UnknownCommand: lambda problem: "" if problem.near else "/help lists the commands.",
    errors.NameTaken: lambda problem: f"Try {problem.near}. If that is you, type /resume TOKEN.",
    account_errors.PasswordNeeded: lambda problem: f"If that is you, type /login; or try {problem.near}.",
    account_errors.NoAccount: lambda problem: "/register makes your name an account.",
    account_errors.NotLoggedIn: lambda problem: "/login logs you in, /register makes your name an account.",
    account_errors.PlainPassword: lambda problem: "Connect with TLS, or type /resume TOKEN.",
    account_errors.PlainName: lambda problem: (
        "Take another name. If this one is yours, connect with TLS, or type /resume TOKEN."
    ),
    errors.SpacedRoom: lambda problem: f"Type /create {problem.near}; or /create {problem.room}, and then its /topic.",
    errors.UnknownRoom: lambda problem: f"/rooms lists the rooms{'' if problem.near else ', /join makes one'}.",
    errors.RoomExists: lambda problem: f"/join {problem.room} goes there.",
    errors.LooksLikeRoom: lambda problem: f"/join {problem.room} goes there.",
    errors.ServerHasTooManyRooms: lambda problem: "/rooms lists them.",
    errors.InTooManyRooms: lambda problem: "/leave one of them.",
    errors.MadeTooManyRooms: lambda problem: "/delete one of them.",
    errors.AddressMadeTooManyRooms: lambda problem: (
        f"/delete one of yours, or make another one in {problem.seconds} seconds."
    ),
    errors.NotInRoom: lambda problem: (
        f"/join {problem.room} goes there." if problem.room else "/rooms lists the rooms, and /join enters one."
    ),
    refusals.NamesakesRoom: lambda problem: "If that was you, /resume TOKEN first.",
    refusals.NamesakesRules: lambda problem: "If that was you, /resume TOKEN first.",
    refusals.NamesakesMessage: lambda problem: "If that was you, /resume TOKEN first.",
    errors.NobodyWrote: lambda problem: "To send one, type /msg NAME text.",
    errors.WriterLeft: lambda problem: (
        f"To write to the {problem.near} who is here now, type /msg {problem.near} and the text."
    ),
    errors.UnknownPerson: lambda problem: "" if problem.near else "/who lists who is here.",
    errors.NotConnected: lambda problem: "/who lists who is here.",
    refusals.InviteOnly: lambda problem: (
        problem.text[len(problem.fact) :]
        .strip()
        .replace("come back with your token or log in", "type /resume TOKEN or /login")
    ),
    refusals.AccountsOnly: lambda problem: (  # what was not sent comes last
        "/login logs you in; /register makes an account." + problem.text[len(problem.fact) :]
    ),
    refusals.GuestBanned: lambda problem: f"/unban {problem.near} first.",
    refusals.RoomInSetting: lambda problem: f"Did you mean /room {problem.room} {problem.near}?",
    refusals.ListedAddress: lambda problem: f"/bans {problem.room} lists that, and /unban or /unmute lifts it.",
    refusals.NotListed: lambda problem: f"/bans {problem.room} lists who is.",
    refusals.NoOperator: lambda problem: f"/room {problem.room} names its operators.",
    refusals.NotInvited: lambda problem: f"/room {problem.room} names who is.",
    refusals.NoAddress: lambda problem: "Without the word address, /ban is for the person and the name.",
    refusals.NotThere: lambda problem: f"/who {problem.room} lists who is.",
    refusals.NotOperator: lambda problem: (
        f"/room {problem.room} names them." if f"{problem.room}" in problem.fact else ""
    ),
    refusals.NotOwner: lambda problem: f"/room {problem.room} says who that is.",
    refusals.NoMuting: lambda problem: "/ignore NAME hides from you what somebody says.",
    errors.TooManyIgnored: lambda problem: "/unignore one of them first.",
    errors.NotUtf8: lambda problem: _SET_UTF8,
    disconnects.TooSlow: lambda problem: "Connect again; /history shows what you missed.",
}
"""The advice that replaces an error's own."""

# An error that a server sent as JSON has no kind. Its code chooses the advice, if the code and the fields are enough.
_BY_CODE: dict[str, type[errors.ChatError]] = {
    kind.code: kind
    for kind in (
        *(errors.UnknownRoom, errors.RoomExists, errors.NotInRoom, errors.UnknownPerson),
        account_errors.PasswordNeeded,
    )
}

# Some advice to programs is replaced wherever it ends a text. Errors that share it have the same advice for people.
_BY_ADVICE: dict[str, type[errors.ChatError]] = {
    f" {kind.advice}": kind for kind in (refusals.NamesakesRules, refusals.NoMuting)
}


def error(problem: Problem) -> str:
    """What went wrong, and what a person who types commands can do about it."""
    for words, told in _BY_ADVICE.items() if problem.kind is None else ():
        if problem.text.endswith(words):
            return f"{problem.text.removesuffix(words)} {ADVICE[told](problem)}"
    kind = problem.kind or _BY_CODE.get(problem.code)
    if problem.kind is None and kind is errors.UnknownPerson and not problem.text.startswith("Nobody"):
        return problem.text  # it is about somebody who is not banned, or the like
    if problem.kind is None and kind is errors.RoomExists and problem.text.endswith(" may not enter it."):
        return problem.text
    if kind not in ADVICE or (problem.kind is None and " /" in problem.text):  # a server of 1.0.0 has advised already
        return problem.text
    fact = problem.fact or problem.text.partition(f" {account_errors.LOG_IN}")[0]  # what follows is for programs
    return f"{fact} {ADVICE[kind](problem)}".rstrip()


NEXT: dict[str, Callable[[Notice], str]] = {
    "back": lambda notice: "/back ends it.",
    "delete": lambda notice: f"/delete {notice.room} yes deletes it for good.",
    "history": lambda notice: "/history shows it.",
    "kick": lambda notice: f"/kick {notice.room} {notice.name} sends them out of it.",
    "threads": lambda notice: "/threads and /locks show it.",
    "token": lambda notice: "To keep it for later, type /register or /token.",
    "topic": lambda notice: f"If you meant it, type /topic {notice.room} and the text.",
    "unignore": lambda notice: (
        f"/unignore {notice.name} shows it again." if notice.name else "/unignore NAME shows again what somebody says."
    ),
}
"""How people go on from a notice, by the type of the request."""


def notice(said: Notice) -> str:
    """A notice, and what a person can type next."""
    return f"{said.text} {NEXT[said.next](said)}" if said.next in NEXT else said.text


def replayed(room: str, first: int, count: int, last: int, hidden: str = "") -> str:
    """What stands above the ``count`` messages from number ``first`` on that are shown on entering a room, of which
    ``last`` is the newest. It names the room: whoever comes back enters several."""
    if first > 1:
        newest = f"The last message of {last}" if count == 1 else f"The last {count} of {last} messages"
        return f"{newest}{hidden}; /history {room} before {first} shows older ones."
    return f"What was said so far, {count} {'message' if count == 1 else 'messages'}{hidden}:"
