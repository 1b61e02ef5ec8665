"""release() checks and then removes, without the lock.

Caught by: test_a_name_released_twice_is_not_taken_from_its_next_session: sam
"""

import threading


class NameTaken(Exception):
    pass


class NameTable:
    def __init__(self):
        self._lock = threading.RLock()
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
        if self._named.get(key) is session:
            del self._named[key]

    def who(self, name):
        with self._lock:
            return self._named.get(name.casefold())
