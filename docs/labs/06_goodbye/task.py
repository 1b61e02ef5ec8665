"""Lab 6: how to end. This file is yours; only the names and arguments of what is there now must stay."""

import queue
import threading
import time
from dataclasses import dataclass


class Keeper:
    """A thread of its own stores texts, one after the other, in the order in which they were accepted."""

    def __init__(self, store):
        """``store(text)`` writes one to the disk, which takes a while."""
        self._store = store
        self._queue = queue.Queue()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="keeper")

    def start(self):
        """Called once, before anything else."""
        self._thread.start()

    def submit(self, text):
        """Any thread, and it does not wait for the disk. True: the text is accepted, and will be stored. False: it
        is not, for we are stopping, and it will not."""
        if self._stopping:
            return False
        self._queue.put(text)
        return True

    def stop(self):
        """Called once. Comes back when all that was accepted is stored; nothing is accepted after that."""
        self._stopping = True
        self._queue.put(None)  # wakes the thread
        self._thread.join()

    def _work(self):
        while not self._stopping:
            text = self._queue.get()
            if text is not None:
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
            self._named.pop(session.name, None)

    def who(self, name):
        """The session that has the name, or None."""
        with self._lock:
            return self._named.get(name)


def main():
    stored = []

    def store(text):
        time.sleep(0.001)  # the disk
        stored.append(text)

    keeper = Keeper(store)
    keeper.start()
    accepted = sum(keeper.submit(f"text {number}") for number in range(1, 101))
    keeper.stop()
    print(f"texts accepted: {accepted}, and stored: {len(stored)}")

    names, first, second = Names(), Session("sam"), Session("sam")
    names.enter(first)
    print("sam's connection hangs, and sam comes in once more.")
    names.enter(second)
    names.leave(first)
    print("The old session has ended. Who is sam now?", "the new one" if names.who("sam") is second else "nobody")


if __name__ == "__main__":
    main()
