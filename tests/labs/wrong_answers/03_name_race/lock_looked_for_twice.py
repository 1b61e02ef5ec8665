"""A lock made at the first use, with a look before it.

Caught by: test_only_one_session_gets_a_name: Both were told yes, and only one can be sam. The table says: sam is bob'
"""

import threading


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    _lock = None

    def __init__(self):
        self._named = {}

    def _guard(self):
        if self._lock is None:
            self._lock = threading.Lock()
        return self._lock

    def claim(self, session, name):
        with self._guard():
            self._claim(session, name)

    def rename(self, session, old, new):
        with self._guard():
            self._claim(session, new)
            if old.casefold() != new.casefold():
                self._release(session, old)

    def release(self, session, name):
        with self._guard():
            self._release(session, name)

    def who(self, name):
        with self._guard():
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
