"""A list and a condition in place of the queue."""

import threading


class Keeper:
    def __init__(self, store):
        self._store = store
        self._changed = threading.Condition()
        self._texts = []
        self._stopping = False

    def start(self):
        self._thread = threading.Thread(target=self._work, name="keeper")
        self._thread.start()

    def submit(self, text):
        with self._changed:
            if self._stopping:
                return False
            self._texts.append(text)
            self._changed.notify()
            return True

    def stop(self):
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _work(self):
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._texts or self._stopping)
                texts, self._texts = self._texts, []
            if not texts:
                return
            for text in texts:
                self._store(text)


class Session:
    def __init__(self, name):
        self.name = name


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
            if self.who_locked(session.name) is session:
                del self._named[session.name]

    def who(self, name):
        with self._lock:
            return self.who_locked(name)

    def who_locked(self, name):
        return self._named.get(name)
