"""Every change is under the lock, but who() reads without it and sees half of a change.

Caught by: test_rename_takes_the_new_name_and_frees_the_old_one_in_one_step: it had two names
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
        with self._lock:
            if self._named.get(key) is session:
                del self._named[key]

    def who(self, name):
        return self._named.get(name.casefold())
