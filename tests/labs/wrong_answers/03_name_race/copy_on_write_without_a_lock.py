"""Each change makes a new dictionary, so that readers need no lock. Writers would need one.

Caught by: test_only_one_session_gets_a_name: Both were told yes, and only one can be sam. The table says: sam is ann'
"""


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    def __init__(self):
        self._named = {}

    def claim(self, session, name):
        self._change(session, None, name)

    def rename(self, session, old, new):
        self._change(session, old, new)

    def release(self, session, name):
        self._change(session, name, None)

    def who(self, name):
        return self._named.get(name.casefold())

    def _change(self, session, old, new):
        named = dict(self._named)
        if new is not None and named.get(new.casefold(), session) is not session:
            raise NameTaken(new)
        if old is not None and named.get(old.casefold()) is session:
            del named[old.casefold()]
        if new is not None:
            named[new.casefold()] = session
        self._named = named
