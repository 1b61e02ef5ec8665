"""Changes are made to a copy under a lock; readers take the current dictionary, in one step."""

import threading


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    def __init__(self):
        self._lock = threading.Lock()  # one change at a time
        self._named = {}  # is replaced, never changed

    def claim(self, session, name):
        self._change(session, None, name)

    def rename(self, session, old, new):
        self._change(session, old, new)

    def release(self, session, name):
        self._change(session, name, None)

    def who(self, name):
        return self._named.get(name.casefold())

    def _change(self, session, old, new):
        with self._lock:
            named = dict(self._named)
            if new is not None and named.get(new.casefold(), session) is not session:
                raise NameTaken(new)
            if old is not None and named.get(old.casefold()) is session:
                del named[old.casefold()]
            if new is not None:
                named[new.casefold()] = session
            self._named = named
