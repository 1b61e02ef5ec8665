"""A list, and a semaphore that counts what is in it."""

import collections
import threading
from dataclasses import dataclass


class Keeper:
    def __init__(self, store):
        self._store = store
        self._queue = collections.deque()
        self._lock = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="keeper")
        self._there = threading.Semaphore(0)

    def start(self):
        self._thread.start()

    def submit(self, text):
        with self._lock:
            if self._stopping:
                return False
            self._queue.append(text)
            self._there.release()
            return True

    def stop(self):
        with self._lock:
            self._stopping = True
            self._there.release()
        self._thread.join()

    def _work(self):
        while self._there.acquire() and self._queue:
            self._store(self._queue.popleft())


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
