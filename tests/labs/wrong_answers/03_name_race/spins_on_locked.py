"""It waits until the lock is not taken, and takes it then.

Caught by: test_only_one_session_gets_a_name: Both were told yes, and only one can be sam. The table says: sam is bob'
"""

import threading


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    def __init__(self):
        self._lock = threading.Lock()
        self._named = {}

    def _take(self):
        while self._lock.locked():
            pass
        self._lock.acquire(blocking=False)
        return self

    def __enter__(self):
        return self._take()

    def __exit__(self, *error):
        if self._lock.locked():
            self._lock.release()

    def claim(self, session, name):
        with self:
            self._claim(session, name)

    def rename(self, session, old, new):
        with self:
            self._claim(session, new)
            if old.casefold() != new.casefold():
                self._release(session, old)

    def release(self, session, name):
        with self:
            self._release(session, name)

    def who(self, name):
        with self:
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
