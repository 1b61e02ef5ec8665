"""What can go wrong, as a tree.

A ``ChatError`` is an answer to a client: ``code`` is for programs and never changes once released, ``text``
is for people and says what was wrong and what to do. Its two branches say what happens next: after a
``Told`` the conversation goes on, after a ``CutOff`` it is over. A ``StartError`` is for the operator: the
program prints it and exits with 2. Anything else that is raised is a bug.

Instances are values: they are raised, but also queued and compared, and nothing changes them.
"""

from __future__ import annotations


class ChatThreadsError(Exception):
    """The root: everything that this package raises on purpose."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class StartError(ChatThreadsError):
    """The server cannot start: a port in use, a history that is not ours. Exit code 2, one line."""


class ChatError(ChatThreadsError):
    """Something a client has to be told."""

    code = "error"


class Told(ChatError):
    """The client is told, and the conversation goes on."""


class CutOff(ChatError):
    """The client is told, and the connection is closed."""


# --- told, and goes on --------------------------------------------------------------------------------


class UnknownCommand(Told):
    code = "unknown_command"

    def __init__(self, command: str, nearest: str | None = None) -> None:
        hint = f"Did you mean {nearest}?" if nearest else "/help lists the commands."
        super().__init__(f"There is no command {command}. {hint}")


class Usage(Told):
    """A known command with arguments that it does not take."""

    code = "usage"

    def __init__(self, usage: str, why: str = "") -> None:
        super().__init__(f"{why + ' ' if why else ''}Usage: {usage}")


class BadName(Told):
    """``near`` is a name near it that would do, if there is one; ``with_near`` says the same with another one."""

    code = "bad_name"
    rule = "A name is 1 to 20 letters, digits, '-', '_' or '.', and begins with a letter."

    def __init__(self, near: str | None = None, rule: str = rule) -> None:
        super().__init__(rule + (f" Try {near}." if near else ""))
        self.near = near
        self.rule = rule

    def with_near(self, near: str) -> BadName:
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
    code = "name_taken"

    def __init__(self, name: str, free: str) -> None:
        super().__init__(f"The name {name} is taken. Try {free}.")
        self.free = free


class LooksTaken(NameTaken):
    """Nobody has the name, but it looks like another person's."""

    def __init__(self, name: str, other: str, free: str) -> None:
        Told.__init__(self, f"The name {name} looks like {other}, which belongs to somebody else. Try {free}.")
        self.free = free


class BadRoom(Told):
    code = "bad_room"

    def __init__(self) -> None:
        super().__init__("A room's name is '#' and 1 to 32 letters, digits, '-' or '_', like #lab2.")


class UnknownRoom(Told):
    code = "unknown_room"

    def __init__(self, room: str, nearest: str | None = None) -> None:
        hint = f"Did you mean {nearest}? " if nearest else ""
        super().__init__(f"There is no room {room}. {hint}/rooms lists them, /join makes one.")


class RoomGone(Told):
    """The room was deleted between the typing and the storing."""

    code = "unknown_room"

    def __init__(self) -> None:
        super().__init__("That room has just been deleted. Nothing was done.")


class RoomExists(Told):
    code = "room_exists"

    def __init__(self, room: str) -> None:
        super().__init__(f"The room {room} exists already. /join {room} goes there.")


class LooksLikeRoom(RoomExists):
    """There is no such room, but one whose name looks the same."""

    def __init__(self, name: str, room: str) -> None:
        Told.__init__(self, f"{name} looks like {room}, which exists already. /join {room} goes there.")


class TooManyRooms(Told):
    code = "too_many_rooms"


class NotInRoom(Told):
    code = "not_in_room"

    def __init__(self, room: str | None = None) -> None:
        super().__init__(
            f"You are not in {room}. /join {room} goes there." if room else "You are not in a room. Type /join #lobby."
        )


class NotAllowed(Told):
    code = "not_allowed"


class NoTrip(Told):
    """The trip of a message that is not there, or too long ago, or nobody recorded it."""

    code = "no_trip"


class BadFault(Told):
    code = "bad_fault"


class UnknownToken(Told):
    code = "unknown_token"

    def __init__(self) -> None:
        super().__init__("Unknown or expired token. Enter a name instead.")


class TooManyTokens(Told):
    code = "too_many_tokens"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"Too many tokens were handed out to your address. Ask again in {max(1, round(seconds))} seconds."
        )


class NobodyWrote(Told):
    """/reply, and there is nothing to reply to."""

    code = "unknown_person"

    def __init__(self) -> None:
        super().__init__("Nobody has sent you a private line yet. To send one, type /msg NAME text.")


class UnknownPerson(Told):
    code = "unknown_person"

    def __init__(self, name: str, nearest: str | None = None) -> None:
        hint = f"Did you mean {nearest}?" if nearest else "/who lists who is here."
        super().__init__(f"Nobody here is called {name}. {hint}")


class BadJson(Told):
    """A line that is not the JSON it should be."""

    code = "bad_json"

    def __init__(self, why: str) -> None:
        super().__init__(f"That line was not understood: {why}.")


class BadRequest(Told):
    """JSON, but not a request: a field is missing, or holds what it should not."""

    code = "bad_request"


class UnknownType(Told):
    """A request of a type that there is not."""

    code = "unknown_type"

    def __init__(self, kind: str | None) -> None:
        what = (
            f"There is no request of type {kind[:40]!a}"
            if kind is not None
            else "A request needs a type, which is a string"
        )
        super().__init__(f"{what}. The request help lists the types.")


class TooLong(Told):
    code = "too_long"


class NotUtf8(Told):
    code = "not_utf8"

    def __init__(self, advice: str = "Set your terminal to UTF-8.") -> None:
        super().__init__(f"That line is not UTF-8, so it was not sent. {advice}")


class NothingToSay(Told):
    """After taking out what must not reach a terminal, nothing was left."""

    code = "nothing_to_say"

    def __init__(self, text: str = "That line has no visible characters, so it was not sent.") -> None:
        super().__init__(text)


class NotStored(Told):
    """The history could not keep it, so nobody saw it (promise 1)."""

    code = "not_stored"

    def __init__(self, why: str, what: str = "sent") -> None:
        super().__init__(f"Not stored, so not {what}: {why}")


class RoomNotStored(Told):
    """A room was made, but the history could not keep it yet. It tries again with whatever comes next."""

    code = "not_stored"

    def __init__(self, room: str, why: str) -> None:
        super().__init__(
            f"{room} was made, but it is not stored yet: {why}. The server tries again with the next message."
        )


class MaybeStored(Told):
    """The disk failed in a commit, or its files became others, at a moment that leaves it open. ReadOnly is said then,
    too."""

    code = "maybe_stored"

    def __init__(self) -> None:
        super().__init__(
            "It is not known whether that was stored: the server's disk failed, or its files were changed."
            " Look when the server has been started again."
        )


class ReadOnly(Told):
    """Nothing can be stored until the server is started again. Said to all, and to who comes in later."""

    code = "read_only"

    def __init__(self, what: str = "The server's disk failed") -> None:
        super().__init__(f"{what}. No new message can be stored or shown until the server is started again.")


class Busy(Told):
    """What was asked is under way, but takes long."""

    code = "busy"

    def __init__(self) -> None:
        super().__init__("The history is busy; please wait. Your request will be done.")


class Unreadable(Told):
    """The history could not be read just now."""

    code = "unreadable"

    def __init__(self, why: str) -> None:
        super().__init__(f"The history cannot be read now: {why}. Try again.")


class Broken(Told):
    """A bug in the server: the client is told, the log has the traceback."""

    code = "internal"

    def __init__(self) -> None:
        super().__init__("Internal server error. The server's log has the details.")


# --- told, and cut off --------------------------------------------------------------------------------


class NoHandshake(CutOff):
    code = "no_handshake"


class GaveWay(NoHandshake):
    """It had given no name when the last place was needed."""

    def __init__(self) -> None:
        super().__init__(
            "The server is full, and you had given no name, so your place went to somebody else."
            " Come again, and give it at once."
        )


class UnfinishedLine(CutOff):
    code = "unfinished_line"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"You started a line and did not finish it within {seconds:g} seconds. Goodbye.")


class TooSlow(CutOff):
    """The reader did not keep up (promise 3)."""

    code = "too_slow"

    def __init__(self, why: str = "too much was waiting for you") -> None:
        super().__init__(f"You read too slowly: {why}. Connect again; /history shows what you missed.")


class Replaced(CutOff):
    """The client came back on another connection, which has its name and rooms now."""

    code = "replaced"

    def __init__(self) -> None:
        super().__init__("You reconnected elsewhere; this connection is closed. Goodbye.")


class ServerFull(CutOff):
    code = "server_full"

    def __init__(self, why: str) -> None:
        super().__init__(f"The server is full: {why}. Try again later.")


class TooManyConnections(CutOff):
    code = "too_many_connections"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"There are too many connections from your address: at most {most} are allowed. Close one, then"
            " connect again."
        )


class NoProxyHeader(CutOff):
    """A connection from a proxy that does not begin as a proxy's has to."""

    code = "no_proxy_header"

    def __init__(self) -> None:
        super().__init__(
            "Connections from your address must begin with the PROXY protocol, and yours does not."
            " Connect through the proxy."
        )


class ShuttingDown(CutOff):
    code = "shutting_down"

    def __init__(self) -> None:
        super().__init__("The server is shutting down. Goodbye.")


class NotChat(CutOff):
    """The peer speaks another protocol. ``answer`` is what it is sent instead of a text, maybe nothing."""

    code = "not_chat"

    def __init__(self, text: str, answer: bytes = b"") -> None:
        super().__init__(text)
        self.answer = answer
