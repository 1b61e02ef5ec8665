"""The ledger: who is on which server, under which name, as the log says. Equal on all servers at the same position.

Only the history thread uses it. ``Copy`` stores the changes of each row with the messages of the row, so a copy of the
file has it, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..lookalikes import looks
from ..rules import fold
from ..tokens import Who

Key = tuple[int, int]  # a server, and the number of a session there


@dataclass(slots=True)
class Entered:
    """Somebody who is connected to some server."""

    name: str = ""
    identity: int = 0
    token: int = 0
    account: bool = False
    operator: bool = False
    rooms: list[int] = field(default_factory=list)  # as entered
    away: str | None = None

    def is_account(self, identity: int) -> bool:
        """Whether it is logged in to this account."""
        return self.account and self.identity == identity

    def who(self) -> Who:
        return Who(self.identity, self.account, self.operator)

    def text(self) -> str:
        found = [self.name, self.identity, self.token, self.account, self.operator, self.rooms, self.away]
        return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


class Ledger:
    """Everybody who is connected, by server and session."""

    def __init__(self) -> None:
        self.people: dict[Key, Entered] = {}
        self._by_name: dict[str, Key] = {}
        self._by_look: dict[str, Key] = {}
        self._by_number: dict[int, set[Key]] = {}  # by the numbers of their tokens and of themselves
        self.servers: dict[int, int] = {}  # each living server's last position
        self.reads: dict[int, int] = {}  # the position up to which each of them has surely read
        self._members: dict[int, int] = {}  # how many, by room
        self.changed: set[Key] = set()  # by the row that is being numbered

    def holders(self, at: Key, name: str) -> set[Key]:
        """Who else has the name, or one that looks like it. A name can look like several that do not look alike."""
        found = {self._by_name.get(fold(name)), *[self._by_look.get(look) for look in looks(name)]}
        return {other for other in found if other and other != at}

    def take(self, at: Key, name: str, identity: int, token: int, account: bool, operator: bool) -> None:
        person = self.people.setdefault(at, Entered())
        self._unname(at, person)
        self._unnumber(at, person)
        person.name, person.identity, person.token = name, identity, token
        for number in (identity, token):
            self._by_number.setdefault(number, set()).add(at)
        person.account, person.operator = account, operator
        self._by_name[fold(name)] = at
        self._by_look.update(dict.fromkeys(looks(name), at))
        self.changed.add(at)

    def same(self, at: Key, identity: int, token: int, account: bool) -> list[Key]:
        """The other sessions of a person, whose place is taken."""
        return [
            other
            for other in sorted(self._by_number.get(token, set()) | self._by_number.get(identity, set()))
            if other != at and self._is_same(self.people[other], identity, token, account)
        ]

    @staticmethod
    def _is_same(person: Entered, identity: int, token: int, account: bool) -> bool:
        return bool(person.name and (person.token == token or (account and person.is_account(identity))))

    def log_in(self, account: int, operator: bool | None) -> list[Key]:
        """Those who are connected as this person are logged in to the account that it has made, and are operators or
        not; None: it has ended. Return them."""
        known = sorted(self._by_number.get(account, ()))
        found = [at for at in known if self.people[at].identity == account and self.people[at].name]
        for at in found:
            person = self.people[at]
            person.account = operator is not None
            person.operator = bool(operator or (person.account and person.operator))
        self.changed.update(found)
        return found

    def tokens(self) -> set[int]:
        """The numbers of the tokens of everybody, and of their accounts."""
        return {number for each in self.people.values() for number in (each.token, each.identity)}

    def lose_name(self, at: Key) -> None:
        if person := self.people.get(at):
            self._unname(at, person)
            self.changed.add(at)

    def _unname(self, at: Key, person: Entered) -> None:
        if person.name:
            if self._by_name.get(fold(person.name)) == at:
                del self._by_name[fold(person.name)]
            for look in looks(person.name):
                if self._by_look.get(look) == at:
                    del self._by_look[look]
            person.name = ""

    def go_away(self, at: Key, words: str | None) -> bool:
        """Somebody is away, or back (None). Return whether they are connected."""
        if at not in self.people:
            return False
        self.people[at].away = words
        self.changed.add(at)
        return True

    def _unnumber(self, at: Key, person: Entered) -> None:
        for number in (person.identity, person.token):
            if found := self._by_number.get(number):
                found.discard(at)
                if not found:
                    del self._by_number[number]

    def enter(self, at: Key, room: int) -> None:
        person = self.people.setdefault(at, Entered())
        if room not in person.rooms:
            person.rooms.append(room)
            self._members[room] = self._members.get(room, 0) + 1
            self.changed.add(at)

    def leave(self, at: Key, room: int) -> None:
        person = self.people.get(at)
        if person and room in person.rooms:
            person.rooms.remove(room)
            self._count_out(room)
            self.changed.add(at)

    def leave_all(self, at: Key) -> list[int]:
        """Somebody is connected no more. Return the rooms that they were in."""
        person = self.people.pop(at, None)
        if person is None:
            return []
        self._unname(at, person)
        self._unnumber(at, person)
        for room in person.rooms:
            self._count_out(room)
        self.changed.add(at)
        return person.rooms

    def room_ended(self, room: int) -> None:
        if self._members.pop(room, 0):
            for at, person in self.people.items():
                if room in person.rooms:
                    person.rooms.remove(room)
                    self.changed.add(at)

    def _count_out(self, room: int) -> None:
        left = self._members[room] - 1
        if left:
            self._members[room] = left
        else:
            del self._members[room]

    def members(self, room: int) -> int:
        """How many people are in a room."""
        return self._members.get(room, 0)

    def all_read(self) -> int:
        """The position up to which all living servers have read the log."""
        return min(self.reads.values(), default=0)

    def of(self, server: int) -> list[Key]:
        return [at for at in self.people if at[0] == server]

    # --- in the file ------------------------------------------------------------------------------------

    def take_changes(self) -> dict[Key, str | None]:
        """What is new since the last call, as the file has it. None: somebody is connected no more."""
        found = {at: self.people[at].text() if at in self.people else None for at in self.changed}
        self.changed.clear()
        return found

    def alive(self) -> list[tuple[int, int, int]]:
        """The living servers, as the file has them."""
        return [(server, last, self.reads[server]) for server, last in self.servers.items()]

    def read(self, rows: Iterable[tuple[int, int, str]]) -> None:
        for server, session, text in rows:
            name, identity, token, account, operator, rooms, away = json.loads(text)
            at = (server, session)
            self.people[at] = Entered("", identity, token, account, operator, rooms, away)
            for number in (identity, token):
                self._by_number.setdefault(number, set()).add(at)
            for room in rooms:
                self._members[room] = self._members.get(room, 0) + 1
            if name:
                self.take(at, name, identity, token, account, operator)
        self.changed.clear()
