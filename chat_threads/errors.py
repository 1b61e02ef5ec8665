"""What can go wrong, as a tree.

A ``ChatError`` is an answer to a client. ``code`` is for programs and never changes once released. ``fact`` says what
went wrong, and ``advice`` what every client can do about it; ``text`` is both. A dialect may word the advice for its
own clients: ``dialects.advice`` does, for people who type commands. So no text here names a command as people type it,
except in the errors of typing.

The two branches of ChatError say what happens next. After a ``Told`` the conversation goes on. After a ``CutOff`` it is
over; ``disconnects`` has these. A ``StartError`` is for the operator: the program prints it and exits with 2. Anything
else that nobody catches is a bug. Instances are values: any thread may read them, and nobody changes what they say.
"""

from __future__ import annotations

import math


class ChatThreadsError(Exception):
    """The root of the errors that reach a client, an operator or a program."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class StartError(ChatThreadsError):
    """The server cannot start: a port in use, a history that is not ours. Exit code 2, one line."""


class ChatError(ChatThreadsError):
    """Something that a client has to be told. Programs get ``room``, ``near`` and ``seconds`` as fields, too."""

    code = "error"
    cost = 1  # of the request, in tokens, if it is answered before it becomes a command; see pace
    room: str | None = None  # the room that it is about
    near: str | None = None  # the most similar name, room or command that is possible
    seconds: int | None = None  # to wait before the client can try again
    fact = ""
    advice = ""

    def __init__(self, fact: str = "", advice: str = "") -> None:
        self.fact = fact or self.fact
        self.advice = advice or self.advice
        super().__init__(f"{self.fact} {self.advice}".rstrip())

    def without_stack(self) -> ChatError:
        """This error, without its traceback. That may hold the error in turn, and only the collector frees a cycle."""
        self.__traceback__ = self.__context__ = None
        return self


class Told(ChatError):
    """The client gets the error, and the conversation goes on."""


class CutOff(ChatError):
    """The client gets the error, and the connection is closed."""


# --- typing -------------------------------------------------------------------------------------------


class UnknownCommand(Told):
    code = "unknown_command"

    def __init__(self, command: str, near: str | None = None) -> None:
        super().__init__(f"There is no command {command}.{_did_you_mean(near)}")
        self.command, self.near = command, near


class Usage(Told):
    """A known command with arguments that it does not take."""

    code = "usage"

    def __init__(self, usage: str) -> None:
        super().__init__(f"Usage: {usage}")
        self.usage = usage


# --- names --------------------------------------------------------------------------------------------


class BadName(Told):
    """``near`` is a similar name that is allowed, if there is one."""

    code = "bad_name"
    rule = "A name is 1 to 20 letters, digits, '-', '_' or '.', and begins with a letter."

    def __init__(self, near: str | None = None, rule: str = rule) -> None:
        super().__init__(rule, f"Try {near}." if near else "")
        self.near, self.rule = near, rule

    def with_near(self, near: str) -> BadName:
        """The same error with another name to try."""
        return BadName(near, self.rule)


class ReservedName(BadName):
    """A name that others would take for the server's, or for everybody's."""

    def __init__(self, name: str, near: str) -> None:
        super().__init__(near, f"The name {name} is reserved for the server.")


class MixedName(BadName):
    """A name in scripts that are not written together, so that it may look like another one."""

    def __init__(self, scripts: str, near: str | None = None) -> None:
        super().__init__(near, f"A name is written in one script, and this one mixes {scripts}.")


class NameTaken(Told):
    """``near`` is a similar name that is free."""

    code = "name_taken"

    def __init__(self, name: str, near: str, why: str = "is taken") -> None:
        super().__init__(f"The name {name} {why}.", f"Try {near}.")
        self.name, self.near = name, near


class LooksTaken(NameTaken):
    """Nobody has the name, but it looks like another person's."""

    def __init__(self, name: str, other: str, near: str) -> None:
        super().__init__(name, near, f"looks like {other}, which belongs to somebody else")
        self.other = other


# --- rooms --------------------------------------------------------------------------------------------


class BadRoom(Told):
    """``near`` is a similar name that is allowed, if there is one."""

    code = "bad_room"
    fact = "A room's name is '#' and 1 to 32 letters, digits, '-' or '_', like #lab2."

    def __init__(self, near: str | None = None, fact: str = "A room's name begins with '#'.") -> None:
        super().__init__(fact if near else "", f"Try {near}." if near else "")
        self.near = near


class SpacedRoom(BadRoom):
    """``/create #my room``: a name with a space in it, or a room and its topic. Only people can type it."""

    def __init__(self, room: str, near: str) -> None:
        super().__init__(near, "A room's name has no spaces.")
        self.room = room


class UnknownRoom(Told):
    code = "unknown_room"

    def __init__(self, room: str, near: str | None = None) -> None:
        super().__init__(f"There is no room {room}.{_did_you_mean(near)}")
        self.room, self.near = room, near


class RoomGone(Told):
    """The room was deleted between the typing and the storing."""

    code = "unknown_room"
    fact = "That room has just been deleted. Nothing was done."


class RoomExists(Told):
    code = "room_exists"

    def __init__(self, room: str, fact: str = "") -> None:
        super().__init__(fact or f"The room {room} exists already.")
        self.room = room


class LooksLikeRoom(RoomExists):
    """There is no room of that name, but ``room`` looks the same."""

    def __init__(self, name: str, room: str) -> None:
        super().__init__(room, f"{name} looks like {room}, which exists already.")
        self.name = name


class TooManyRooms(Told):
    code = "too_many_rooms"


class ServerHasTooManyRooms(TooManyRooms):
    """There are ``limit`` rooms, and no more can be made."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"There are {limit} rooms already.")
        self.limit = limit


class InTooManyRooms(TooManyRooms):
    """The session is in ``limit`` rooms."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"You are in {limit} rooms, and more are not allowed.", "Leave one of them.")
        self.limit = limit


class MadeTooManyRooms(TooManyRooms):
    """The session's token owns ``limit`` rooms."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"You have made {limit} rooms, and more are not allowed.", "Delete one of them.")
        self.limit = limit


class AddressMadeTooManyRooms(TooManyRooms):
    """Another room can be made from the session's address after ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self.seconds = whole(seconds)
        advice = f"Delete one of yours, or make another one in {self.seconds} seconds."
        super().__init__("Too many rooms were made from your address.", advice)


class NotInRoom(Told):
    """The session is not in ``room``; None: it is not in any."""

    code = "not_in_room"

    def __init__(self, room: str | None = None) -> None:
        super().__init__(f"You are not in {room or 'a room'}.")
        self.room = room


# --- what is not allowed ------------------------------------------------------------------------------


class NotAllowed(Told):
    code = "not_allowed"


class IgnoresItself(NotAllowed):
    """A session cannot ignore itself: its own lines are its acknowledgements."""

    fact = "You cannot ignore yourself: your own lines show you that they are stored."


class NotLocal(NotAllowed):
    """The command is for connections from the server's own machine, unless the server was started with --lab."""

    fact = "Only connections from the server's own machine may see that, and no browser; --lab shows it to everybody."


class NoFaults(NotAllowed):
    """The server was not started with --lab."""

    fact = "Faults can be made only on a server that was started with --lab."


class NoTrip(Told):
    """The trip of a message that does not exist, or whose record is gone."""

    code = "no_trip"

    def __init__(self, room: str | None, number: int | None) -> None:
        which = "a message" if number is None else f"message {number}"
        super().__init__(f"There is no record of the trip of {which}{f' of {room}' if room else ''}.")
        self.room, self.number = room, number


class TripsUnrecorded(Told):
    code = "no_trip"
    fact = "This server records no trips."
    advice = "Start it with --lab or --trace to record them."


class BadFault(Told):
    code = "bad_fault"


# --- tokens and people --------------------------------------------------------------------------------


class UnknownToken(Told):
    code = "unknown_token"
    fact = "Unknown or expired token."
    advice = "Enter a name instead."


class TooManyTokens(Told):
    code = "too_many_tokens"

    def __init__(self, seconds: float) -> None:
        self.seconds = whole(seconds)
        super().__init__("Too many tokens were handed out to your address.", f"Ask again in {self.seconds} seconds.")


class NobodyWrote(Told):
    """A reply, and nobody to reply to."""

    code = "unknown_person"
    fact = "Nobody has sent you a private line since you connected."


class WriterLeft(Told):
    """A reply to somebody who has left. Somebody has the name ``near`` now, who may be another person."""

    code = "unknown_person"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The {name} who wrote to you has left.", f"Whoever is called {name} now may be somebody else."
        )
        self.near = name


class UnknownPerson(Told):
    code = "unknown_person"

    def __init__(self, name: str, near: str | None = None) -> None:
        super().__init__(f"Nobody here is called {name}.{_did_you_mean(near)}")
        self.name, self.near = name, near


class NotConnected(UnknownPerson):
    """The name is an account's, whose person is not connected, or has another name now. ``operator``: of the server."""

    def __init__(self, name: str, operator: bool = False) -> None:
        whose = "an operator of the server" if operator else "an account"
        Told.__init__(self, f"Nobody here is called {name} now. The name belongs to {whose}.")
        self.name, self.near = name, None


# --- lines and texts ----------------------------------------------------------------------------------


class BadJson(Told):
    """A line that is not the JSON that it should be."""

    code = "bad_json"

    def __init__(self, why: str) -> None:
        super().__init__(f"That line was not understood: {why}.")


class BadRequest(Told):
    """JSON, but not a request: a field is missing, or has a wrong value."""

    code = "bad_request"


class UnknownType(Told):
    """A request of a type that does not exist; None: the type is missing or is not a string."""

    code = "unknown_type"

    def __init__(self, kind: str | None) -> None:
        no_type = 'A request needs a field "type" with a string.'
        what = no_type if kind is None else f"There is no request of type {kind[:40]!a}."
        super().__init__(what, 'The request "help" lists the types.')


class TooLong(Told):
    code = "too_long"


class TextTooLong(TooLong):
    """A text of ``length`` characters, where ``limit`` are allowed."""

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(f"That is {length} characters, and a message has at most {limit}. Nothing was sent.")
        self.length, self.limit = length, limit


class TooManyLines(TooLong):
    """The same for its lines."""

    def __init__(self, lines: int, limit: int) -> None:
        super().__init__(f"That is {lines} lines, and a message has at most {limit}. Nothing was sent.")


class WordsTooLong(TooLong):
    """The same for a topic, a reason or a farewell."""

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(f"That is {length} characters, and at most {limit} are allowed here. Nothing was changed.")
        self.length, self.limit = length, limit


class LineTooLong(TooLong):
    """A line of more than ``limit`` bytes. ``done``: what was not done with it, such as sent."""

    def __init__(self, limit: int, done: str) -> None:
        super().__init__(f"A line has at most {limit} bytes. Yours was longer, so it was not {done}.")
        self.limit = limit


class TooManyIgnored(TooLong):
    """The session ignores ``limit`` people already."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"You already ignore {limit} people.", "Stop ignoring one of them first.")
        self.limit = limit


class NoLineEnd(Told):
    """The client's input ended in the middle of a line."""

    code = "unfinished_line"
    fact = "The input ended before its last line did, so that was not sent."
    advice = "End each line with a line feed."


class NotUtf8(Told):
    code = "not_utf8"
    fact = "That line is not UTF-8, so it was not sent."


class NothingToSay(Told):
    """The text is empty once control characters are removed."""

    code = "nothing_to_say"
    fact = "That line has no visible characters, so it was not sent."


class NothingToFind(Told):
    """A search without a word, or for nothing at all."""

    code = "nothing_to_say"
    fact = "A search needs a word with a letter, a digit or an emoji in it, or a person or a room."


# --- the history --------------------------------------------------------------------------------------


class NotStored(Told):
    """The history could not store the value, so nobody saw it (promise 1)."""

    code = "not_stored"

    def __init__(self, why: str, what: str = "sent") -> None:
        super().__init__(f"Not stored, so not {what}: {why}")


class RoomNotStored(Told):
    """A room was made, but the history could not store it yet. The history tries again with the next batch."""

    code = "not_stored"

    def __init__(self, room: str, why: str) -> None:
        after = "The server tries again with the next message."
        super().__init__(f"{room} was made, but it is not stored yet: {why}. {after}")
        self.room = room


class MaybeStored(Told):
    """The disk failed in a commit, or the files were changed, so nobody can tell. Everybody gets ReadOnly as well."""

    code = "maybe_stored"
    fact = "The server does not know whether that was stored: the server's disk failed, or its files were changed."
    advice = "Check the history after the server has restarted."


class ReadOnly(Told):
    """Nothing can be stored until the server is started again. Everybody gets the error, and so do later clients."""

    code = "read_only"

    def __init__(self, what: str = "The server's disk failed") -> None:
        super().__init__(f"{what}. No new message can be stored or shown until the server is started again.")


class Busy(Told):
    """The request is under way, but takes long."""

    code = "busy"
    fact = "The history is busy; please wait. If you asked for a change, it is still under way."


class Unreadable(Told):
    """The history could not be read just now."""

    code = "unreadable"

    def __init__(self, why: str) -> None:
        super().__init__(f"The history cannot be read now: {why}.", "Try again.")


class Broken(Told):
    """A bug in the server: the client gets the error, and the log has the traceback."""

    code = "internal"
    fact = "Internal server error. The server's log has the details."


def _did_you_mean(near: str | None) -> str:
    return f" Did you mean {near}?" if near else ""


def whole(seconds: float) -> int:
    """Rounded up, so that whoever waits for as long as that can try again."""
    return max(1, math.ceil(round(seconds, 3)))
