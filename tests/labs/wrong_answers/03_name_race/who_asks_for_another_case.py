"""who() looks for the name as it is written.

Caught by: test_a_session_may_claim_its_own_name_in_another_case: and then ann was nobody
"""

import threading


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    def __init__(self):
        self._named = {}
        self._lock = threading.RLock()

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
            return self._named.get(name)
