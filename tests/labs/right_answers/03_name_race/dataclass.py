"""The state is a dataclass, and the lock one of its fields."""

import threading
from dataclasses import dataclass, field


class NameTaken(Exception):
    """Somebody else has the name."""


@dataclass
class State:
    lock: threading.Lock = field(default_factory=threading.Lock)
    named: dict = field(default_factory=dict)

    def __enter__(self):
        self.lock.acquire()
        return self.named

    def __exit__(self, *error):
        self.lock.release()


def take(named, session, name):
    if named.setdefault(name.casefold(), session) is not session:
        raise NameTaken(name)


class NameTable:
    def __init__(self):
        self._state = State()

    def claim(self, session, name):
        with self._state as named:
            take(named, session, name)

    def rename(self, session, old, new):
        with self._state as named:
            take(named, session, new)
            if old.casefold() != new.casefold() and named.get(old.casefold()) is session:
                del named[old.casefold()]

    def release(self, session, name):
        with self._state as named:
            if named.get(name.casefold()) is session:
                del named[name.casefold()]

    def who(self, name):
        with self._state as named:
            return named.get(name.casefold())
