"""Takes the name, and then checks whether it has it: the other thread does the same a little later.

Caught by: test_only_one_session_gets_a_name: Both were told yes, and only one can be sam
"""


class NameTaken(Exception):
    pass


class NameTable:
    def __init__(self):
        self._named = {}

    def claim(self, session, name):
        key = name.casefold()
        if self._named.get(key, session) is not session:
            raise NameTaken(name)
        self._named[key] = session
        if self._named[key] is not session:
            raise NameTaken(name)

    def rename(self, session, old, new):
        self.claim(session, new)
        if old.casefold() != new.casefold():
            self.release(session, old)

    def release(self, session, name):
        key = name.casefold()
        if self._named.get(key) is session:
            del self._named[key]

    def who(self, name):
        return self._named.get(name.casefold())
