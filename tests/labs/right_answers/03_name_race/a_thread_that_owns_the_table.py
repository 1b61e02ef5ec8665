"""A thread owns the table; all others ask it through a queue."""

import functools
import queue
import threading
from concurrent.futures import Future


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    def __init__(self):
        self._named = {}
        self._asked = queue.SimpleQueue()
        threading.Thread(target=self._work, name="table", daemon=True).start()

    def _work(self):
        while True:
            work, answer = self._asked.get()
            try:
                answer.set_result(work())
            except NameTaken as taken:
                answer.set_exception(taken)

    def _ask(self, work, *args):
        answer = Future()
        self._asked.put((functools.partial(work, *args), answer))
        return answer.result()

    def claim(self, session, name):
        self._ask(self._claim, session, name)

    def rename(self, session, old, new):
        self._ask(self._rename, session, old, new)

    def release(self, session, name):
        self._ask(self._release, session, name)

    def who(self, name):
        return self._ask(self._named.get, name.casefold())

    def _rename(self, session, old, new):
        self._claim(session, new)
        if old.casefold() != new.casefold():
            self._release(session, old)

    def _claim(self, session, name):
        key = name.casefold()
        if self._named.get(key, session) is not session:
            raise NameTaken(name)
        self._named[key] = session

    def _release(self, session, name):
        key = name.casefold()
        if self._named.get(key) is session:
            del self._named[key]
