"""No lock. With an interpreter lock nothing can come between the look and the taking, because there is no call.

Caught by: test_only_one_session_gets_a_name: Both were told yes, and only one can be sam. The table says: sam is ann'
"""


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    def __init__(self):
        self._named = {}

    def claim(self, session, name):
        key = name.casefold()
        if key in self._named and self._named[key] is not session:
            raise NameTaken(name)
        self._named[key] = session

    def rename(self, session, old, new):
        old, new = old.casefold(), new.casefold()
        if new in self._named and self._named[new] is not session:
            raise NameTaken(new)
        self._named[new] = session
        if old != new and old in self._named and self._named[old] is session:
            del self._named[old]

    def release(self, session, name):
        key = name.casefold()
        if key in self._named and self._named[key] is session:
            del self._named[key]

    def who(self, name):
        key = name.casefold()
        return self._named[key] if key in self._named else None
