"""Releases the lock between checking and taking.

Caught by: test_only_one_session_gets_a_name: Both were told yes, and only one can be sam
"""

import threading


class NameTaken(Exception):
    pass


class NameTable:
    def __init__(self):
        self._lock = threading.Lock()
        self._named = {}

    def claim(self, session, name):
        key = name.casefold()
        with self._lock:
            holder = self._named.get(key, session)
        if holder is not session:
            raise NameTaken(name)
        with self._lock:
            self._named[key] = session

    def rename(self, session, old, new):
        self.claim(session, new)
        if old.casefold() != new.casefold():
            self.release(session, old)

    def release(self, session, name):
        key = name.casefold()
        with self._lock:
            if self._named.get(key) is session:
                del self._named[key]

    def who(self, name):
        with self._lock:
            return self._named.get(name.casefold())
