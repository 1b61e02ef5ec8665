"""The names in use and the names that people are known by: no two of them look alike.

A name is *in use* while a session has it. It is *known* once something was said under it, or while a token is kept
for it. Anybody may take a name that is not in use. Nobody may take a name that only looks like another person's name
in use or known name; the owner of that name, who is recognised by the name itself or by its token, may. A name is
*reserved* while it belongs to an account. Nobody else may take it, or a name that looks like it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from .account_errors import PasswordNeeded
from .errors import LooksTaken, NameTaken
from .lookalikes import looks
from .rules import fold, free_name, is_reserved

KNOWN = 20_000  # looks of known names that are kept: about 10 MB
ALIKE = 4  # known names with one look, from histories older than this rule

Owner = TypeVar("Owner")


@dataclass(frozen=True, slots=True)
class Name:
    """A name, and the forms in which it is compared. Made before a lock is taken, because that costs up to 50 µs."""

    text: str
    key: str
    looks: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Name:
        return cls(text, fold(text), looks(text))


class Names(Generic[Owner]):
    """The names in use, with their owners, and the known names. It has no lock: the owner of this object holds one."""

    def __init__(self) -> None:
        self._owners: dict[str, Owner] = {}  # by key
        self._in_use: dict[str, Name] = {}  # by look
        self._reserved: dict[str, tuple[int, str]] = {}  # by key: the account's number, and the name
        self._reserved_looks: dict[str, str] = {}  # keys of reserved names by look
        self._known: OrderedDict[str, dict[str, tuple[int, str]]] = OrderedDict()  # by look and key

    def owner(self, key: str) -> Owner | None:
        return self._owners.get(key)

    def owners(self) -> Iterable[Owner]:
        return self._owners.values()

    def check(self, name: Name, identity: int, own: tuple[Owner | None, ...]) -> None:
        """Raise NameTaken, with a free name, unless the person with this token's number may take the name;
        PasswordNeeded, if another person's account has it.

        Names of the sessions in ``own`` count as free.
        """
        if self._is_anothers(name.key, identity):
            raise PasswordNeeded(self._reserved[name.key][1], self.free(name.text, identity))
        if self._owners.get(name.key, own[0]) not in own:
            raise NameTaken(name.text, self.free(name.text, identity))
        other = self._other_like(name, identity, own)
        if other and name.key not in self._reserved:
            raise LooksTaken(name.text, other, self.free(name.text, identity))

    def take(self, name: Name, owner: Owner) -> None:
        self._owners[name.key] = owner
        self._in_use.update(dict.fromkeys(name.looks, name))

    def give_back(self, name: Name, owner: Owner) -> None:
        """Free the name, unless somebody else has it by now."""
        if self._owners.get(name.key) is owner:
            del self._owners[name.key]
            for look in name.looks:
                if look in self._in_use and self._in_use[look].key == name.key:
                    del self._in_use[look]

    def reserve(self, name: Name, identity: int) -> None:
        """The name belongs to the account with this number."""
        self._reserved[name.key] = identity, name.text
        for look in name.looks:
            self._reserved_looks.setdefault(look, name.key)

    def unreserve(self, name: Name) -> None:
        """The name belongs to no account any more."""
        self._reserved.pop(name.key, None)
        for look in name.looks:
            if self._reserved_looks.get(look) == name.key:
                del self._reserved_looks[look]

    def know(self, name: Name, identity: int) -> None:
        """Remember a name, with the number of its token; 0: it has none."""
        for look in name.looks:
            alike = self._known.setdefault(look, {})
            if name.key in alike or len(alike) < ALIKE:
                alike[name.key] = identity, name.text
            self._known.move_to_end(look)
            if len(self._known) > KNOWN:
                self._known.popitem(last=False)

    def free(self, text: str, identity: int = 0) -> str:
        """The name itself or one near it that a newcomer, or the person with this token's number, may take now."""

        def taken(near: str) -> bool:
            name = Name.of(near)
            if name.key in self._owners or is_reserved(near):
                return True
            return self._is_anothers(name.key, identity) or self._other_like(name, identity, ()) is not None

        return free_name(text, taken) if taken(text) else text

    def _is_anothers(self, key: str, identity: int) -> bool:
        """Whether the name is reserved for another person than this one."""
        return self._reserved.get(key, (identity, ""))[0] != identity

    def _other_like(self, name: Name, identity: int, own: tuple[Owner | None, ...]) -> str | None:
        """Another person's name that looks like this one, or None."""
        for look in name.looks:
            key = self._reserved_looks.get(look)
            if key and key != name.key and self._reserved[key][0] != identity:
                return self._reserved[key][1]
            used = self._in_use.get(look)
            if used and used.key != name.key and self._owners.get(used.key) not in own:
                return used.text
            known = self._known.get(look)
            if known and name.key not in known and not any(whose == identity != 0 for whose, _ in known.values()):
                return next(text for _, text in known.values())
        return None
