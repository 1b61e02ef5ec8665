"""The queue has a bound, as in lab 5: at the bound, submit() waits for the disk.

Caught by: test_submit_does_not_wait_for_the_disk: ann waits in put()
"""

import queue
import threading
from dataclasses import dataclass


class Keeper:
    """Stores texts in a thread of its own, one after the other, in the order in which they were accepted."""

    def __init__(self, store):
        """``store(text)`` writes a text to the disk, which takes a while."""
        self._store = store
        self._queue = queue.Queue(99)
        self._lock = threading.Lock()  # guards _stopping, and keeps every text before the None in the queue
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="keeper")

    def start(self):
        """Called once, before anything else."""
        self._thread.start()

    def submit(self, text):
        """Accept a text, and return True: it will be stored. When the keeper is stopping, return False: the text is
        refused and will not be stored. Called by any thread; never waits for the disk."""
        with self._lock:
            if self._stopping:
                return False
            self._queue.put(text)  # the queue has no bound, so this does not wait
            return True

    def stop(self):
        """Called once. Returns when every accepted text is stored. After that, every text is refused."""
        with self._lock:
            self._stopping = True
            self._queue.put(None)
        self._thread.join()  # without the lock: submit() needs it to refuse texts

    def _work(self):
        while (text := self._queue.get()) is not None:
            self._store(text)


@dataclass
class Session:
    """One connection of a person."""

    name: str


class Names:
    """Knows which session has which name. A new session takes the name over from an older one, which is then ended."""

    def __init__(self):
        self._lock = threading.Lock()  # guards _named
        self._named = {}  # the session that has each name

    def enter(self, session):
        """A session enters. Return the session that had the name until now, which the caller ends, or None."""
        with self._lock:
            old = self._named.get(session.name)
            self._named[session.name] = session
            return old

    def leave(self, session):
        """A session has ended. Its own thread calls this last, maybe long after a new session took the name."""
        with self._lock:
            if self._named.get(session.name) is session:  # not ==: two sessions of one name are equal
                del self._named[session.name]

    def who(self, name):
        """Return the session that has the name, or None."""
        with self._lock:
            return self._named.get(name)
