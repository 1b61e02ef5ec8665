"""Lab 3, one solution: check and take the name under one lock, in one step."""

import pathlib
import sys
import threading
from functools import partial


class NameTaken(Exception):
    """Somebody else has the name."""


class NameTable:
    """Knows which session has which name. Upper and lower case make no difference. Any thread may call any method."""

    def __init__(self):
        self._lock = threading.Lock()  # guards _named; no method that takes this lock is called while it is held
        self._named = {}  # the session that has each name; the keys are in lower case

    def claim(self, session, name):
        """Give the name to the session. Raise NameTaken if another session has the name."""
        with self._lock:
            self._claim(session, name)

    def rename(self, session, old, new):
        """Give the session the new name and free the old one. After NameTaken, the session keeps the old name."""
        with self._lock:
            self._claim(session, new)
            if old.casefold() != new.casefold():
                self._release(session, old)

    def release(self, session, name):
        """Free the name if that session has it."""
        with self._lock:
            self._release(session, name)

    def who(self, name):
        """Return the session that has the name, or None."""
        with self._lock:
            return self._named.get(name.casefold())

    # The caller holds the lock.

    def _claim(self, session, name):
        key = name.casefold()
        if self._named.get(key, session) is not session:
            raise NameTaken(name)
        self._named[key] = session

    def _release(self, session, name):
        key = name.casefold()
        if self._named.get(key) is session:
            del self._named[key]


def by_chance(rounds=500):
    """Eight threads claim one name at the same moment, again and again. How often does more than one get it?"""
    sys.setswitchinterval(1e-6)  # let threads take turns as often as possible
    doubles = 0
    for _ in range(rounds):
        table, start, winners = NameTable(), threading.Barrier(8), []

        def want(session, table=table, start=start, winners=winners):
            start.wait()
            try:
                table.claim(session, "sam")
                winners.append(session)
            except NameTaken:
                pass

        threads = [threading.Thread(target=want, args=(f"session {number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        doubles += len(winners) > 1
    return f"By chance: in {doubles} of {rounds} rounds more than one thread got the name."


def by_stepper():
    """Two threads claim one name; the stepper tries every order."""
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
    import stepper

    def make():
        table, winners = NameTable(), []

        def want(session):
            try:
                table.claim(session, "sam")
                winners.append(session)
            except NameTaken:
                pass

        return winners, {"ann": partial(want, "ann"), "bob": partial(want, "bob")}

    def check(winners):
        return "ann and bob both got the name." if len(winners) > 1 else None

    result = stepper.explore(make, check, only=[sys.modules[__name__]])
    found = f"By the stepper: after {result.orders} orders, {result.seconds * 1000:.0f} ms:"
    return f"{found}\n\n{stepper.story(result)}" if result.fault else f"{found} no fault."


if __name__ == "__main__":
    print(by_chance())
    print(by_stepper())
