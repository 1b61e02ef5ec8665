"""The new name may be the old one in another case, and then this frees it.

Caught by: test_a_session_may_claim_its_own_name_in_another_case: It was told yes, and then ann was nobody
"""

import threading


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    """Knows which session has which name. Upper and lower case make no difference. Any thread may call any method."""

    def __init__(self):
        self._lock = threading.Lock()  # guards _named; nothing is called under it that could take it again
        self._named = {}  # the session that has each name; the keys are in lower case

    def claim(self, session, name):
        """Give the name to the session. Raise NameTaken if another session has the name."""
        with self._lock:
            self._claim(session, name)

    def rename(self, session, old, new):
        """Give the session the new name and free the old one. After NameTaken, the session keeps the old name."""
        with self._lock:
            self._claim(session, new)
            self._release(session, old)

    def release(self, session, name):
        """Free the name if that session has it."""
        with self._lock:
            self._release(session, name)

    def who(self, name):
        """Return the session that has the name, or None."""
        with self._lock:
            return self._named.get(name.casefold())

    # The caller holds the lock.

    def _claim(self, session, name):
        key = name.casefold()
        if self._named.get(key, session) is not session:
            raise NameTaken(name)
        self._named[key] = session

    def _release(self, session, name):
        key = name.casefold()
        if self._named.get(key) is session:
            del self._named[key]
