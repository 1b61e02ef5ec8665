"""Telnet's options: who does what, agreed by questions and answers as RFC 1143 says. Pure: no socket.

``TABLE`` lists every state of an option and how it changes. Two ends that follow it never answer each other's answers
for ever, however often either end changes its mind.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from enum import Enum

WILL, WONT, DO, DONT, IAC = 251, 252, 253, 254, 255  # RFC 854
BINARY, ECHO, SGA, TIMING_MARK, TTYPE, NAWS, LINEMODE = 0, 1, 3, 6, 24, 31, 34  # RFC 856-858, 860, 1091, 1073, 1184

Way = tuple[int, int]
"""An option as the client would ask for it: (WILL, option) is done by the client, and (DO, option) by this end."""


class State(Enum):
    """An option in one way. The last two are the queues of RFC 1143: this end has changed its mind, and says so only
    after the answer that is under way."""

    NO = "off"
    YES = "on"
    WANT_YES = "off; this end has asked for it"
    WANT_NO = "on; this end has withdrawn it"
    WANT_YES_THEN_NO = "off; asked for, and to be withdrawn once the answer has come"
    WANT_NO_THEN_YES = "on; withdrawn, and to be asked for again once the answer has come"


# By state and event, the next state and what to say: True for DO or WILL, False for DONT or WONT, None for nothing.
# This end's events are "ask" and "withdraw". The client's are "yes" and "no". What is missing changes nothing.
TABLE: Mapping[State, Mapping[str, tuple[State, bool | None]]] = {
    State.NO: {"ask": (State.WANT_YES, True), "yes": (State.YES, True)},
    State.YES: {"withdraw": (State.WANT_NO, False), "no": (State.NO, False)},
    State.WANT_YES: {
        "withdraw": (State.WANT_YES_THEN_NO, None),
        "yes": (State.YES, None),
        "no": (State.NO, None),
    },
    State.WANT_YES_THEN_NO: {"ask": (State.WANT_YES, None), "yes": (State.WANT_NO, False), "no": (State.NO, None)},
    State.WANT_NO: {"ask": (State.WANT_NO_THEN_YES, None), "yes": (State.NO, None), "no": (State.NO, None)},
    State.WANT_NO_THEN_YES: {
        "withdraw": (State.WANT_NO, None),
        "yes": (State.YES, None),
        "no": (State.WANT_YES, True),
    },
}


class Options:
    """The options of one connection. An option that the client asks for is agreed to only if it is in ``welcome``."""

    def __init__(self, welcome: Set[Way]) -> None:
        self._welcome = welcome
        self._states: dict[Way, State] = {}  # those that were ever agreed to or asked for; at most a few
        self._refused: set[Way] = set()  # refused, and not withdrawn by the client
        self._waiting: set[Way] = set()  # asked for again, which is not answered

    def state(self, way: Way) -> State:
        return self._states.get(way, State.NO)

    def on(self, way: Way) -> bool:
        """Whether both ends have agreed to it, and neither has withdrawn."""
        return self.state(way) is State.YES

    def ask(self, *ways: Way) -> bytes:
        """Want these options from now on; what to send. Debian's telnet counts its requests: for one that waits for an
        answer, the question is the answer, and none follows."""
        said = b"".join(self._change(way, "ask") for way in ways)
        for way in self._waiting.intersection(ways):
            self._change(way, "yes")
        self._waiting.difference_update(ways)
        self._refused.difference_update(ways)
        return said

    def withdraw(self, *ways: Way) -> bytes:
        """Want these options no longer; what to send."""
        return b"".join(self._change(way, "withdraw") for way in ways)

    def receive(self, verb: int, option: int) -> bytes:
        """The client has said this; the answer, or b"" if there is none."""
        way = (verb if verb in (WILL, DO) else verb - 1), option
        if verb in (WONT, DONT):
            self._refused.discard(way)
            self._waiting.discard(way)
            return self._change(way, "no")
        if self.state(way) is not State.NO or way in self._welcome:
            return self._change(way, "yes")
        if way in self._refused and option != TIMING_MARK:  # each timing mark is a request of its own
            self._waiting.add(way)
            return b""
        self._refused.add(way)
        return _said(way, False)

    def _change(self, way: Way, event: str) -> bytes:
        state, says = TABLE[self.state(way)].get(event, (self.state(way), None))
        if state is not self.state(way):
            self._states[way] = state
        return b"" if says is None else _said(way, says)


def _said(way: Way, yes: bool) -> bytes:
    verb = DO if way[0] == WILL else WILL
    return bytes((IAC, verb if yes else verb + 1, way[1]))
