"""It tries to take the lock, and sleeps a little."""

import threading
import time


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    def __init__(self):
        self._lock = threading.Lock()
        self._named = {}

    def __enter__(self):
        while not self._lock.acquire(False):
            time.sleep(0.001)

    def __exit__(self, *error):
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
