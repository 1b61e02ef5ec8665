"""Only the lock's holder puts, so a check for room under the lock stays true."""

import queue
import threading


class Member:
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
        with self._lock:
            full = [member for member in self._members if member.queue.full()]
            self._members = [member for member in self._members if member not in full]
            for member in self._members:
                member.queue.put(text)
        for member in full:
            member.cut_off(self)
