"""The client of torture.py that governs its rooms: it mutes, bans and kicks the others, and closes rooms to them.

It owns the rooms, because it is the first in them, and shows its token when it comes back. What it does to somebody
ends soon, and at the end it opens everything again.
"""

from __future__ import annotations

import threading
from typing import Any

from torture_clients import Client
from torture_connection import Odd
from torture_world import World, now

PAUSE = (0.2, 1.5)  # seconds between two actions
HELD = (0.5, 3.0)  # seconds for which one holds
SETTINGS = {"quiet": "open", "invite-only": "public", "slow 5": "slow off"}  # and how each ends
WHAT = {
    "ban": "bans",
    "kick": "kicks",
    "mute": "mutes",
    "quiet": "quiet rooms",
    "invite-only": "invite-only rooms",
    "slow 5": "slow rooms",
}


class Governor(Client):
    """Governs all rooms, one action after the other. No message of a banned person may follow the notice."""

    def __init__(self, world: World, others: list[Client]) -> None:
        super().__init__("g1", world)
        self.reached = dict.fromkeys(world.rooms)
        self.owns = threading.Event()  # it has entered all rooms, so it has made them
        self._others = others
        self._out: set[tuple[str, str]] = set()  # rooms and the names of those who are banned from them
        self._undone: list[dict[str, Any]] = []  # what has to be sent to end the actions in force

    def _take_part(self) -> None:
        self.owns.set()
        self._undo()
        while not self.world.over.wait(0):
            self._obey()
            self._listen(*PAUSE)
            if not self.world.over.is_set():
                self._do_something()
        self._undo()
        while not self.world.finishing.is_set():
            self._hear(0.1)
        self._finish()

    def _listen(self, least: float, most: float) -> None:
        until = now() + self.chance.uniform(least, most)
        while now() < until:
            self._hear(0.1)

    def _do_something(self) -> None:
        room = self.chance.choice(self.world.rooms)
        what = self.chance.choice(list(WHAT))
        if what in SETTINGS:
            begin, end = ({"type": "room", "room": room, "setting": each} for each in (what, SETTINGS[what]))
            self._act(what, begin, end)
            return
        members = [each for each in self._others if room in each.reached]
        if not members:
            return
        other = self.chance.choice(members)
        action = {"type": what, "room": room, "name": other.name}
        end = {"type": "unmute" if what == "mute" else "unban", "room": room, "name": other.name}
        if what == "mute":
            self._act(what, action, end)
        else:
            with self.world.fault("put out of a room", other.name):  # nobody's text is late for one who is out
                self._act(what, action, end)

    def _act(self, what: str, action: dict[str, Any], end: dict[str, Any]) -> None:
        self._undone.append(end)
        if what == "invite-only":
            self.world.closings += 1
        if self._ask(action)["type"] == "ack":
            self.world.count(WHAT[what])
            self._listen(*HELD)
        self._undo()

    def _undo(self) -> None:
        """End what holds. It stays on the list until the server has answered, so also after a kill."""
        while self._undone:
            answer = self._ask(self._undone[0])
            if answer["type"] == "error" and answer["code"] in ("not_stored", "maybe_stored", "read_only"):
                self._listen(0.2, 1.0)
            else:
                done = self._undone.pop(0)
                if done.get("setting") == SETTINGS["invite-only"]:
                    self.world.openings += 1

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        ref = self._ref(request["type"])
        self.connection.send({**request, "ref": ref})
        return self._answer(ref)

    def _enters(self, room: str) -> None:
        self._out.clear()  # the notices before that may have been missed
        super()._enters(room)

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] == "moderated":
            one = event["room"], event["name"]
            if event["action"] == "ban":
                self._out.add(one)
            elif event["action"] == "unban":
                self._out.discard(one)
        elif event["type"] == "message" and (event["room"], event["from"]) in self._out:
            raise Odd(f"a banned person spoke: {event}")
        elif event["type"] == "notice" and event["text"].endswith("so this holds for the name only."):
            self.world.count("banned or muted while away")
            return
        super()._take(event)
