"""A flag in place of a lock.

Caught by: test_only_one_session_gets_a_name: Both were told yes, and only one can be sam. The table says: sam is bob'
"""

import time


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    def __init__(self):
        self._busy = False
        self._named = {}

    def _begin(self):
        while self._busy:
            time.sleep(0)
        self._busy = True

    def claim(self, session, name):
        self._begin()
        try:
            self._claim(session, name)
        finally:
            self._busy = False

    def rename(self, session, old, new):
        self._begin()
        try:
            self._claim(session, new)
            if old.casefold() != new.casefold():
                self._release(session, old)
        finally:
            self._busy = False

    def release(self, session, name):
        self._begin()
        self._release(session, name)
        self._busy = False

    def who(self, name):
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
