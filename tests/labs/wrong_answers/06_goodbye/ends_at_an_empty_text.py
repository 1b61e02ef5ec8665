"""Mistakes an empty text for the end mark: both are false.

Caught by: test_an_empty_text_is_a_text: No thread can continue
"""

import queue
import threading
from dataclasses import dataclass


class Keeper:
    """A thread of its own stores texts, one after the other, in the order in which they were accepted."""

    def __init__(self, store):
        """``store(text)`` writes one to the disk, which takes a while."""
        self._store = store
        self._queue = queue.Queue()
        self._lock = threading.Lock()  # guards _stopping; nothing is put into the queue after None
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="keeper")

    def start(self):
        """Called once, before anything else."""
        self._thread.start()

    def submit(self, text):
        """Any thread, and it does not wait for the disk. True: the text is accepted, and will be stored. False: it
        is not, for we are stopping, and it will not."""
        with self._lock:
            if self._stopping:
                return False
            self._queue.put(text)  # has no bound, so this does not wait
            return True

    def stop(self):
        """Called once. Comes back when all that was accepted is stored; nothing is accepted after that."""
        with self._lock:
            self._stopping = True
            self._queue.put(None)
        self._thread.join()  # without the lock, which others need meanwhile

    def _work(self):
        while text := self._queue.get():
            self._store(text)


@dataclass
class Session:
    """One connection of somebody."""

    name: str


class Names:
    """Whose name it is. Who comes in with a name has it from then on; the older session that had it is ended."""

    def __init__(self):
        self._lock = threading.Lock()  # guards _named
        self._named = {}  # the session of each name

    def enter(self, session):
        """The session comes in. Returns the one that had the name until now, to be ended, or None."""
        with self._lock:
            old = self._named.get(session.name)
            self._named[session.name] = session
            return old

    def leave(self, session):
        """The session has ended. Its own thread calls this last, maybe long after another came in by that name."""
        with self._lock:
            if self._named.get(session.name) is session:  # not ==: two sessions of one name are equal
                del self._named[session.name]

    def who(self, name):
        """The session that has the name, or None."""
        with self._lock:
            return self._named.get(name)
