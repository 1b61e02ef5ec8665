"""rename() has a lock of its own, which only who() takes, too.

Caught by: test_a_session_that_changes_its_name_never_keeps_two_from_others: had both names
"""

import threading


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    def __init__(self):
        self._named = {}
        self._lock = threading.Lock()
        self._lock2 = threading.Lock()

    def claim(self, session, name):
        key = name.casefold()
        with self._lock:
            if self._named.get(key, session) is not session:
                raise NameTaken(name)
            self._named[key] = session

    def rename(self, session, old, new):
        with self._lock2:
            self.claim(session, new)
            if old.casefold() != new.casefold():
                self.release(session, old)

    def release(self, session, name):
        key = name.casefold()
        with self._lock:
            if self._named.get(key) is session:
                del self._named[key]

    def who(self, name):
        with self._lock2:
            return self._named.get(name.casefold())
