"""An executor of one thread; after shutdown it refuses by RuntimeError."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass


class Keeper:
    def __init__(self, store):
        self._store = store
        self._pool = ThreadPoolExecutor(max_workers=1)

    def start(self):
        pass

    def submit(self, text):
        try:
            self._pool.submit(self._store, text)
        except RuntimeError:  # it was shut down
            return False
        return True

    def stop(self):
        self._pool.shutdown(wait=True)


@dataclass
class Session:
    """One connection of a person."""

    name: str


class Names:
    def __init__(self):
        self._lock = threading.Lock()
        self._named = {}

    def enter(self, session):
        with self._lock:
            old = self._named.get(session.name)
            self._named[session.name] = session
            return old

    def leave(self, session):
        with self._lock:
            if self._named.get(session.name) is session:
                del self._named[session.name]

    def who(self, name):
        with self._lock:
            return self._named.get(name)
