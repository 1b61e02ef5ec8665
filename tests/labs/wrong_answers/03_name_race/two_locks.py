"""release() has a lock of its own, which keeps no other method out.

Caught by: test_a_name_released_during_a_rename_is_not_taken_from_its_next_session: died of KeyError
"""

import threading


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    """Who has which name. Upper and lower case are the same name. Any thread may call any method."""

    def __init__(self):
        self._lock = threading.Lock()  # guards _named; nothing is called under it that could take it again
        self._other = threading.Lock()
        self._named = {}  # the session of each name, by the name in lower case

    def claim(self, session, name):
        """Give the name to the session; NameTaken if another session has it."""
        with self._lock:
            self._claim(session, name)

    def rename(self, session, old, new):
        """Give the session the new name, and back the old one. NameTaken: it keeps the old one."""
        with self._lock:
            self._claim(session, new)
            if old.casefold() != new.casefold():
                self._release(session, old)

    def release(self, session, name):
        """The name is free again, if that session had it."""
        with self._other:
            self._release(session, name)

    def who(self, name):
        """The session of that name, or None."""
        with self._lock:
            return self._named.get(name.casefold())

    # The lock is held.

    def _claim(self, session, name):
        key = name.casefold()
        if self._named.get(key, session) is not session:
            raise NameTaken(name)
        self._named[key] = session

    def _release(self, session, name):
        key = name.casefold()
        if self._named.get(key) is session:
            del self._named[key]
