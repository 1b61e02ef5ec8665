"""Tries to take the lock until it gets it."""

import contextlib
import queue
import threading


class Member:
    """A member of a room. At most ``limit`` texts wait in its queue, which the member's own thread empties."""

    def __init__(self, name, limit):
        self.name = name
        self.queue = queue.Queue(limit)
        self.cut = False

    def cut_off(self, room):
        self.cut = True
        room.leave(self)


class Room:
    def __init__(self):
        self._lock = threading.Lock()
        self._members = []

    def join(self, member):
        with self._lock:
            self._members.append(member)

    def leave(self, member):
        with self._lock:
            if member in self._members:
                self._members.remove(member)

    def say(self, text):
        behind = []
        with self._alone():
            for member in self._members:
                try:
                    member.queue.put_nowait(text)
                except queue.Full:
                    behind.append(member)
            for member in behind:
                self._members.remove(member)
        for member in behind:
            member.cut_off(self)

    @contextlib.contextmanager
    def _alone(self):
        while not self._lock.acquire(blocking=False):
            pass
        try:
            yield
        finally:
            self._lock.release()
