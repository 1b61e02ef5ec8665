"""The errors of governed rooms: what the rules of a room, or its operators, do not allow. See ``errors`` and
``governance``."""

from __future__ import annotations

from .errors import LooksLikeRoom, NotAllowed, RoomExists, Told


class Banned(Told):
    """The person may not be in the room: for ``seconds``, or until the ban is lifted."""

    code = "banned"

    def __init__(self, room: str, seconds: int | None = None, why: str = "") -> None:
        super().__init__(f"You are banned from {room}{_until(seconds)}{_because(why)}.")
        self.room, self.seconds = room, seconds


class Muted(Told):
    """The person may be in the room, but neither speak nor take another name: for ``seconds``, or until the mute is
    lifted."""

    code = "muted"

    def __init__(self, room: str, seconds: int | None = None, why: str = "") -> None:
        super().__init__(f"You are muted in {room}{_until(seconds)}{_because(why)}. Nothing was sent.")
        self.room, self.seconds = room, seconds


class QuietRoom(Told):
    """Only the operators speak in the room now."""

    code = "quiet_room"

    def __init__(self, room: str) -> None:
        super().__init__(f"{room} is quiet: only its operators speak now. Nothing was sent.")
        self.room = room


class TooSoon(Told):
    """The room is slow, and the person's next message there may come after ``seconds``."""

    code = "too_soon"

    def __init__(self, room: str, slow: int, seconds: int) -> None:
        super().__init__(
            f"{room} is slow: everybody has one message in {span(slow)}. Nothing was sent.",
            f"Send it again in {seconds} seconds.",
        )
        self.room, self.seconds = room, seconds


class AccountsOnly(Told):
    code = "accounts_only"

    def __init__(self, room: str) -> None:
        super().__init__(f"{room} is only for people who have an account and are logged in.")
        self.room = room


class InviteOnly(Told):
    code = "invite_only"

    def __init__(self, room: str) -> None:
        super().__init__(f"{room} is only for people who were invited.", "Ask one of its operators for an invitation.")
        self.room = room


class LooksHidden(LooksLikeRoom):
    """The name looks like that of a room that is not listed for the person."""

    def __init__(self, name: str) -> None:
        RoomExists.__init__(self, name, f"Another room's name looks like {name}.")
        self.name = name


class NotOperator(NotAllowed):
    """The change is for the room's owner and operators."""

    def __init__(self, room: str) -> None:
        super().__init__(f"Only the owner and the operators of {room} may do that.")
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

    def __init__(self, name: str, room: str) -> None:
        super().__init__(f"Only somebody who may do more in {room} than you can do that to {name}.")
        self.name, self.room = name, room


class NotListed(Told):
    """Nobody of that name is ``what`` in the room: banned, muted or an operator."""

    code = "unknown_person"

    def __init__(self, name: str, what: str, room: str) -> None:
        super().__init__(f"{name} is not {what} {room}.")
        self.name, self.room = name, room


class ListFull(Told):
    """The room has ``limit`` people on the list already."""

    code = "too_long"

    def __init__(self, room: str, limit: int, what: str) -> None:
        super().__init__(f"{room} has {limit} {what} already, and more are not allowed.", "Take one back first.")
        self.room, self.limit = room, limit


class BadSetting(Told):
    """A room has no such setting, or not with that value."""

    code = "bad_request"

    def __init__(self, advice: str) -> None:
        super().__init__("A room has no such setting.", advice)


_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def span(seconds: int) -> str:
    """A time span in words, in its largest whole unit: 2 hours, 90 minutes, 10 seconds."""
    return _in(next(unit for unit in _UNITS if (seconds >= unit[1] and not seconds % unit[1]) or unit[1] == 1), seconds)


def about(seconds: int) -> str:
    """A time span in words, in its largest unit, rounded up."""
    return _in(next((unit for unit in _UNITS if seconds >= 2 * unit[1]), _UNITS[-1]), seconds)


def _in(unit: tuple[str, int], seconds: int) -> str:
    number = -(-seconds // unit[1])
    return f"{number} {unit[0]}{'' if number == 1 else 's'}"


def _until(seconds: int | None) -> str:
    return "" if seconds is None else f" for {about(seconds)}"


def _because(why: str) -> str:
    return f" ({why})" if why else ""
