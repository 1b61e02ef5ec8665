"""enter() is one line, so it takes no lock.

Caught by: test_of_two_sessions_that_enter_at_once_one_is_told_of_the_other: The first has to be told None, and the se
"""

import queue
import threading
from dataclasses import dataclass


class Keeper:
    def __init__(self, store):
        self._store = store
        self._queue = queue.Queue()
        self._lock = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="keeper")

    def start(self):
        self._thread.start()

    def submit(self, text):
        with self._lock:
            if self._stopping:
                return False
            self._queue.put(text)
            return True

    def stop(self):
        with self._lock:
            self._stopping = True
            self._queue.put(None)
        self._thread.join()

    def _work(self):
        while (text := self._queue.get()) is not None:
            self._store(text)


@dataclass
class Session:
    """One connection of a person."""

    name: str


class Names:
    def __init__(self):
        self._lock = threading.Lock()
        self._named = {}

    def enter(self, session):
        old, self._named[session.name] = self._named.get(session.name), session
        return old

    def leave(self, session):
        with self._lock:
            if self._named.get(session.name) is session:
                del self._named[session.name]

    def who(self, name):
        with self._lock:
            return self._named.get(name)
