"""A lock that may be taken again, so that rename can call the others."""

import threading

LOCK = threading.RLock()


class NameTaken(Exception):
    pass


class NameTable:
    def __init__(self):
        self._named = {}

    def claim(self, session, name):
        with LOCK:
            if self._named.setdefault(name.casefold(), session) is not session:
                raise NameTaken(name)

    def rename(self, session, old, new):
        LOCK.acquire()
        try:
            self.claim(session, new)
            if old.casefold() != new.casefold():
                self.release(session, old)
        finally:
            LOCK.release()

    def release(self, session, name):
        with LOCK:
            if self.who(name) is session:
                del self._named[name.casefold()]

    def who(self, name):
        with LOCK:
            return self._named.get(name.casefold())
