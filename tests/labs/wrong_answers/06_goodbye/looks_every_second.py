"""The thread checks every second whether it should stop, although it could be woken.

Caught by: test_the_thread_sleeps_until_it_has_something_to_do: keeper wakes up again and again, and has nothing to do.
"""

import queue
import threading


class Keeper:
    def __init__(self, store):
        self._store = store
        self._lock = threading.Lock()
        self._queue = queue.Queue()
        self._stopping = False
        self._ended = threading.Event()

    def start(self):
        threading.Thread(target=self._work, name="keeper").start()

    def submit(self, text):
        with self._lock:
            if not self._stopping:
                self._queue.put(text)
            return not self._stopping

    def stop(self):
        with self._lock:
            self._stopping = True
        self._ended.wait()

    def _work(self):
        while True:
            try:
                self._store(self._queue.get(timeout=1))
            except queue.Empty:
                with self._lock:
                    if self._stopping and self._queue.empty():
                        self._ended.set()
                        return


class Session:
    def __init__(self, name):
        self.name = name


class Names:
    def __init__(self):
        self._lock = threading.Lock()
        self._named = {}

    def enter(self, session):
        with self._lock:
            old, self._named[session.name] = self._named.get(session.name), session
            return old

    def leave(self, session):
        with self._lock:
            if self._named.get(session.name) is session:
                self._named.pop(session.name)

    def who(self, name):
        with self._lock:
            return self._named.get(name)
