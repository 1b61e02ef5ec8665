"""who reads after it has released the lock, and rename frees outside.

Caught by: test_rename_takes_the_new_name_and_frees_the_old_one_in_one_step: bob found the name sam with ann's session
"""

import threading


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    def __init__(self):
        self._lock = threading.Lock()
        self._named = {}

    def claim(self, session, name):
        with self._lock:
            self._claim(session, name)

    def rename(self, session, old, new):
        with self._lock:
            self._claim(session, new)
        with self._lock:
            if old.casefold() != new.casefold():
                self._release(session, old)

    def release(self, session, name):
        with self._lock:
            self._release(session, name)

    def who(self, name):
        with self._lock:
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
