"""Each method is locked, and rename calls two of them: somebody may come between.

Caught by: test_a_new_name_is_taken_and_the_old_one_given_back_in_one_step: it had two names
"""

import threading


class NameTaken(Exception):
    pass


class NameTable:
    def __init__(self):
        self._lock = threading.Lock()
        self._named = {}

    def claim(self, session, name):
        key = name.casefold()
        with self._lock:
            if self._named.get(key, session) is not session:
                raise NameTaken(name)
            self._named[key] = session

    def rename(self, session, old, new):
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
            return self._named.get(name.casefold())
