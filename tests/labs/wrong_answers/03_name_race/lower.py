"""Lower case is not enough: the ß of a name becomes SS in capitals.

Caught by: test_only_one_session_gets_a_name: That is Strauß in capitals. bob was told yes.
"""

import threading


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    """Knows which session has which name. Upper and lower case make no difference. Any thread may call any method."""

    def __init__(self):
        self._lock = threading.Lock()  # guards _named; no method that takes this lock is called while it is held
        self._named = {}  # the session that has each name; the keys are in lower case

    def claim(self, session, name):
        """Give the name to the session. Raise NameTaken if another session has the name."""
        with self._lock:
            self._claim(session, name)

    def rename(self, session, old, new):
        """Give the session the new name and free the old one. After NameTaken, the session keeps the old name."""
        with self._lock:
            self._claim(session, new)
            if old.lower() != new.lower():
                self._release(session, old)

    def release(self, session, name):
        """Free the name if that session has it."""
        with self._lock:
            self._release(session, name)

    def who(self, name):
        """Return the session that has the name, or None."""
        with self._lock:
            return self._named.get(name.lower())

    # The caller holds the lock.

    def _claim(self, session, name):
        key = name.lower()
        if self._named.get(key, session) is not session:
            raise NameTaken(name)
        self._named[key] = session

    def _release(self, session, name):
        key = name.lower()
        if self._named.get(key) is session:
            del self._named[key]
