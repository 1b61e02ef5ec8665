"""rename() takes the lock of the old name, then the lock of the new one: two renames that cross wait for ever.

Caught by: test_two_sessions_that_want_each_others_names_are_both_refused: No thread can continue: ann waits for self.
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
        if old == new:
            self.claim(session, new)
            return
        with self._lock(old):
            with self._lock(new):
                self._claim(session, new)
                if self._named.get(old) is session:
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
