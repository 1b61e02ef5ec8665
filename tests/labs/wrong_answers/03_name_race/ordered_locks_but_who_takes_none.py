"""Locks for each name, in order; but rename frees the old name after its lock was released.

Caught by: test_rename_takes_the_new_name_and_frees_the_old_one_in_one_step: bob found the name sam with ann's session
"""

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
        with self._lock(new):
            self._claim(session, new)
        if old != new:
            self.release(session, old)

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
