"""It waits a millisecond for the lock, and goes on without it.

Caught by: test_only_one_session_gets_a_name: Both were told yes, and only one can be sam. The table says: sam is ann'
"""

import threading


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    def __init__(self):
        self._lock = threading.Lock()
        self._named = {}

    def claim(self, session, name):
        got = self._lock.acquire(timeout=0.001)
        try:
            self._claim(session, name)
        finally:
            if got:
                self._lock.release()

    def rename(self, session, old, new):
        got = self._lock.acquire(timeout=0.001)
        try:
            self._claim(session, new)
            if old.casefold() != new.casefold():
                self._release(session, old)
        finally:
            if got:
                self._lock.release()

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
