"""A lock for each name, taken in the order of the names. who() of two names sees each of them right."""

import contextlib
import threading


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    def __init__(self):
        self._guard = threading.Lock()  # guards _locks
        self._locks = {}
        self._named = {}

    def _lock(self, key):
        with self._guard:
            return self._locks.setdefault(key, threading.Lock())

    def claim(self, session, name):
        key = name.casefold()
        with self._lock(key):
            self._claim(session, key)

    def rename(self, session, old, new):
        old, new = old.casefold(), new.casefold()
        first, *second = sorted({old, new})
        with self._lock(first), self._lock(second[0]) if second else contextlib.nullcontext():
            self._claim(session, new)
            if old != new and self._named.get(old) is session:
                del self._named[old]

    def release(self, session, name):
        key = name.casefold()
        with self._lock(key):
            if self._named.get(key) is session:
                del self._named[key]

    def who(self, name):
        key = name.casefold()
        with self._lock(key):
            return self._named.get(key)

    def _claim(self, session, key):
        if self._named.get(key, session) is not session:
            raise NameTaken(key)
        self._named[key] = session
