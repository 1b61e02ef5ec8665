"""Errors about the rules of rooms, and about what their operators may do. See ``errors`` and ``governance``."""

from __future__ import annotations

from .errors import LooksLikeRoom, NotAllowed, RoomExists, Told, whole
from .rules import clean

NAME_STAYS = "You keep your name there."
NAMED = 40  # characters of a text that was not sent


def unsent(what: str, text: str) -> str:
    """How an error tells a text that was not sent from others that came at once. ``what``: what to call it."""
    return f"{what.capitalize()} was not sent: {_beginning(text)}" if text else "Nothing was sent."


def _beginning(text: str) -> str:
    first = text.partition("\n")[0][:NAMED]
    return first if first == text else f"{first}…"


class Banned(Told):
    """The person may not be in the room: for ``seconds``, or until the ban is lifted."""

    code = "banned"

    def __init__(self, room: str, seconds: int | None = None, why: str = "", kicked: bool = False) -> None:
        """``kicked``: it is for a moment only."""
        fact = f"You are banned from {room}{_until(seconds)}{_because(why)}."
        if kicked and seconds is not None:
            fact = f"You were sent out of {room}{_because(why)}. You may come back in {about(seconds)}."
        super().__init__(fact)
        self.room, self.seconds = room, seconds


class BannedAddress(Banned):
    """The person may not be in the room, because everybody who comes from the same address may not."""

    def __init__(self, room: str, seconds: int | None, why: str, by: str) -> None:
        """``by``: who did that."""
        how_long = _until(seconds) or " for good"
        fact = f"Everybody who comes from your address is banned from {room}{how_long}{_because(why)}."
        Told.__init__(self, fact, f"It was done by {by}, who can lift it.")
        self.room, self.seconds = room, seconds


class BannedName(Banned):
    """The person is in the room, and may not take a name there that is banned from it."""

    def __init__(self, room: str, name: str) -> None:
        Told.__init__(self, f"The name {name} is banned from {room}. {NAME_STAYS}")
        self.room, self.seconds = room, None


class Muted(Told):
    """The person may be in the room, but neither speak nor take another name: for ``seconds``, or until the mute is
    lifted."""

    code = "muted"

    def __init__(self, room: str, seconds: int | None = None, why: str = "", so: str = "") -> None:
        """``so``: what follows from it."""
        super().__init__(f"You are muted in {room}{_until(seconds)}{_because(why)}. {so}")
        self.room, self.seconds = room, seconds


class QuietRoom(Told):
    """Only the operators speak in the room now."""

    code = "quiet_room"

    def __init__(self, room: str, so: str) -> None:
        """``so``: what follows from it."""
        super().__init__(f"{room} is quiet: only its operators speak now. {so}")
        self.room = room


class TooSoon(Told):
    """The room is slow, and the person's next message there may come after ``seconds``."""

    code = "too_soon"

    def __init__(self, room: str, slow: int, seconds: int, text: str = "", so: str = "", what: str = "this") -> None:
        """``text``: what was not sent, to tell it from other lines that came at once; ``what``: what to call it."""
        again = f"Send {what} again in {span(seconds)}: {_beginning(text)}"
        super().__init__(
            f"{room} is slow: everybody but its operators may speak once in {span(slow)}.{f' {so}' if so else ''}",
            again if text else f"Try again in {span(seconds)}.",
        )
        self.room, self.seconds = room, seconds


class AccountsOnly(Told):
    code = "accounts_only"

    def __init__(self, room: str, so: str = "") -> None:
        """``so``: what follows from it."""
        super().__init__(f"{room} is only for people who have an account and are logged in.", so)
        self.room = room


class InviteOnly(Told):
    code = "invite_only"

    def __init__(self, room: str, known: bool = False) -> None:
        """``known``: whether the person is logged in."""
        advice = "Ask one of its operators for an invitation."
        more = "" if known else " If you had one, come back with your token or log in first."
        super().__init__(f"{room} is only for people who were invited.", advice + more)
        self.room = room


class ClosedRoom(RoomExists):
    """There is a room of that name, and the person may not enter it."""

    def __init__(self, room: str) -> None:
        super().__init__(room, f"The room {room} exists already, and you may not enter it.")


class LooksHidden(LooksLikeRoom):
    """The name looks like that of a room that is not listed for the person."""

    def __init__(self, name: str) -> None:
        RoomExists.__init__(self, name, f"Another room's name looks like {name}.")
        self.name = name


class NotOperator(NotAllowed):
    """The change is for the room's owner and operators; if it has none, for the server's."""

    def __init__(self, room: str, rulers: str) -> None:
        """``rulers``: who they are (see Governance)."""
        super().__init__(f"Only {rulers} may do that.")
        self.room = room


class NoMuting(NotOperator):
    """Nobody else mutes a person for everybody. Anybody may hide what the person says from themselves."""

    advice = "Use ignore to hide from yourself what somebody says."


class NamesakesRules(NotOperator):
    """Somebody with the owner's name, but another token. ``name``: of the person who made the room."""

    advice = "If that was you, come back with your token first."

    def __init__(self, room: str, name: str) -> None:
        NotAllowed.__init__(self, f"{room} was made by {name}, under another token.")
        self.room, self.name = room, name


class NamesakesMessage(NotAllowed):
    """The message is from somebody with the person's name, but another token."""

    advice = "If that was you, come back with your token first."

    def __init__(self, room: str, number: int, sender: str) -> None:
        super().__init__(f"Message {number} of {room} is from {sender}, under another token.")
        self.room, self.number = room, number


class LobbyStays(NotAllowed):
    """The lobby cannot be deleted."""

    def __init__(self, room: str) -> None:
        super().__init__(f"{room} cannot be deleted.")
        self.room = room


class NobodysRoom(NotAllowed):
    """Only the server's operators can delete a room without an owner."""

    def __init__(self, room: str) -> None:
        super().__init__(f"{room} belongs to nobody: only the server's operators can delete it.")
        self.room = room


class OthersRoom(NotAllowed):
    """The person's token did not make the room."""

    def __init__(self, room: str, creator: str) -> None:
        super().__init__(f"{room} was made by {creator}. Only {creator} and the server's operators can delete it.")
        self.room, self.creator = room, creator


class NamesakesRoom(OthersRoom):
    """As OthersRoom, for a session that has the creator's name: it may be the creator, without the token."""

    advice = "If that was you, come back with your token first."

    def __init__(self, room: str, creator: str) -> None:
        NotAllowed.__init__(self, f"{room} was made by {creator}, under another token.")
        self.room, self.creator = room, creator


class NotOwner(NotAllowed):
    """The change is for the room's owner."""

    def __init__(self, room: str) -> None:
        super().__init__(f"Only the owner of {room} may do that.")
        self.room = room


class NotServerOperator(NotAllowed):
    """The change is for the server's operators."""

    fact = "Only the server's operators may do that."


class Protected(NotAllowed):
    """The change is aimed at somebody who may do no less than the person who asks for it."""

    def __init__(self, room: str, rank: int) -> None:
        """``rank``: that person's (governance.Rank)."""
        who = f"the owner of {room}" if rank == 2 else "one of the server's operators"
        facts = {
            1: f"Only the owner of {room} may do that to one of its operators.",
            3: f"Nobody may do that to {who}.",
        }
        super().__init__(facts.get(rank, f"Only the server's operators may do that to {who}."))
        self.room = room


class GuestBanned(NotAllowed):
    """Somebody cannot be invited who is banned from the room, or was sent out of it a moment ago (``kicked``)."""

    def __init__(self, name: str, room: str, kicked: bool = False) -> None:
        what = f"was just sent out of {room}" if kicked else f"is banned from {room}"
        super().__init__(f"{name} {what}.", "Lift the ban first.")
        self.near, self.room = name, room


class NotListed(Told):
    """Nobody of that name is ``what``: banned from the room, or muted in it."""

    code = "not_listed"

    def __init__(self, name: str, what: str, room: str) -> None:
        super().__init__(f"{name} is not {what} {room}.")
        self.name, self.room = name, room


class ListedAddress(NotListed):
    """Somebody is ``what``, because everybody is who comes from the same address as ``near``."""

    def __init__(self, name: str, what: str, room: str, near: str) -> None:
        Told.__init__(self, f"{name} is {what} {room} with the address of {near}.", f"Lift what was done to {near}.")
        self.name, self.room, self.near = name, room, near


class NoOperator(NotListed):
    """The person who is to lose the role of operator does not have it."""

    def __init__(self, name: str, room: str) -> None:
        super().__init__(name, "an operator of", room)


class NotInvited(NotListed):
    """The person has no invitation that could be taken back."""

    def __init__(self, name: str, room: str) -> None:
        super().__init__(name, "invited to", room)


class NotThere(NotListed):
    """The person is not in the room, and so cannot be sent out."""

    def __init__(self, name: str, room: str) -> None:
        super().__init__(name, "in", room)


class NoAddress(NotThere):
    """The person's address cannot be banned: it is known only while they are connected."""

    def __init__(self, name: str, room: str) -> None:
        Told.__init__(self, f"{name} is not connected, so nobody knows the address.", "Ban only the person.")
        self.name, self.room = name, room


class AddedTooMany(Told):
    """The list of the room is long, and one more can be added from the session's address after ``seconds``."""

    code = "try_later"

    def __init__(self, room: str, seconds: float) -> None:
        self.room, self.seconds = room, whole(seconds)
        fact = f"That list of {room} is long, and too many people were added to such lists from your address."
        super().__init__(fact, f"Try again in {self.seconds} seconds.")


class ListFull(Told):
    """The list of the room is full, with ``limit`` people."""

    code = "too_long"

    def __init__(self, room: str, limit: int, what: str) -> None:
        super().__init__(f"{room} has {limit} {what} already, and more are not allowed.", "Remove one of them first.")
        self.room, self.limit = room, limit


class BadSetting(Told):
    """A room has no such setting, or not with that value. ``near`` is the most similar one."""

    code = "bad_request"

    def __init__(self, typed: str, advice: str, near: str | None = None) -> None:
        super().__init__(f"{clean(typed)[:40]} is not a setting of a room.", advice)
        self.near = near


class RoomInSetting(BadSetting):
    """The setting ``near`` is meant, for another ``room``, whose ``#`` is missing."""

    def __init__(self, typed: str, room: str, near: str) -> None:
        super().__init__(typed, f"Did you mean {near} for {room}?", near)
        self.room = room


class BadTime(Told):
    """A word in place of a time, which begins with a digit, but is no time or is out of range. Only people type it."""

    code = "usage"

    def __init__(self, typed: str, more: str = "") -> None:
        what = "is too short or too long" if more else "is not a time"
        super().__init__(f"{typed[:40]} {what}. Nothing was done.", f"A time is like 10m, 2h or 3d.{more}")


class LateTime(Told):
    """A time at the end of a reason, or in words: it would count as a part of the reason, and a ban would have no end.
    ``right``: the line as it should be. Only people type it."""

    code = "usage"

    def __init__(self, right: str) -> None:
        super().__init__("A time is in digits, right after the name, as in 10m. Nothing was done.", f"Type {right}.")


_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def span(seconds: int) -> str:
    """A time span in words, in its largest whole unit: 2 hours, 90 minutes, 10 seconds."""
    unit, size = next((unit, size) for unit, size in _UNITS if (seconds >= size and not seconds % size) or size == 1)
    number = seconds // size
    return f"{number} {unit}{'' if number == 1 else 's'}"


def about(seconds: int) -> str:
    """A time span in words, in its largest unit, rounded up."""
    size = next((size for _, size in _UNITS if seconds >= 2 * size), 1)
    return span(-(-seconds // size) * size)


def _until(seconds: int | None) -> str:
    return "" if seconds is None else f" for {about(seconds)}"


def _because(why: str) -> str:
    return f" ({why})" if why else ""
