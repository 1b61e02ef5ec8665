"""Each method is one line, as if a line were one step.

Caught by: test_only_one_session_gets_a_name: Both were told yes, and only one can be sam. The table says: sam is ann'
"""


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    def __init__(self):
        self._named = {}

    def claim(self, session, name):
        if self._named.get(name.casefold(), session) is not session or self._named.update({name.casefold(): session}):
            raise NameTaken(name)

    def rename(self, session, old, new):
        self.claim(session, new), old.casefold() != new.casefold() and self.release(session, old)

    def release(self, session, name):
        self._named.pop(name.casefold()) if self._named.get(name.casefold()) is session else None

    def who(self, name):
        return self._named.get(name.casefold())
