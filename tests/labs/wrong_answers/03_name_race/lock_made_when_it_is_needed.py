"""The lock is made at the first use: two threads may make one each.

Caught by: test_only_one_session_gets_a_name: Both were told yes, and only one can be sam. The table says: sam is bob'
"""

import threading


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    def __init__(self):
        self._lk = None
        self._named = {}

    def _lock(self):
        self._lk = self._lk or threading.RLock()
        return self._lk

    def claim(self, session, name):
        with self._lock():
            self._claim(session, name)

    def rename(self, session, old, new):
        with self._lock():
            self._claim(session, new)
            if old.casefold() != new.casefold():
                self._release(session, old)

    def release(self, session, name):
        with self._lock():
            self._release(session, name)

    def who(self, name):
        with self._lock():
            return self._named.get(name.casefold())

    def _claim(self, session, name):
        key = name.casefold()
        if self._named.get(key, session) is not session:
            raise NameTaken(name)
        self._named[key] = session

    def _release(self, session, name):
        key = name.casefold()
        if self._named.get(key) is session:
            del self._named[key]
