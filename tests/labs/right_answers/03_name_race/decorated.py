"""A decorator takes the lock."""

import functools
import threading


class NameTaken(Exception):
    """Somebody else has the name."""


def locked(method):
    @functools.wraps(method)
    def alone(self, *args):
        with self._lock:
            return method(self, *args)

    return alone


class NameTable:
    def __init__(self):
        self._lock = threading.RLock()
        self._named = {}

    @locked
    def claim(self, session, name):
        key = name.casefold()
        if self._named.get(key, session) is not session:
            raise NameTaken(name)
        self._named[key] = session

    @locked
    def rename(self, session, old, new):
        self.claim(session, new)
        if old.casefold() != new.casefold():
            self.release(session, old)

    @locked
    def release(self, session, name):
        if self.who(name) is session:
            self._named.pop(name.casefold())

    @locked
    def who(self, name):
        return self._named.get(name.casefold())
