"""rename holds the lock and calls a method that takes it again, so it waits for itself.

Caught by: test_a_session_that_does_not_get_the_new_name_keeps_the_old_one: which it holds itself
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
            if self._named.get(key, session) is not session:
                raise NameTaken(name)
            self._named[key] = session

    def rename(self, session, old, new):
        with self._lock:
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
