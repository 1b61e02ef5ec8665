"""One lock for the order of the texts, one for the members; always in this order, and none during cut_off()."""

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
        self._order = threading.Lock()

    def join(self, member):
        with self._lock:
            self._members.append(member)

    def leave(self, member):
        with self._lock:
            if member in self._members:
                self._members.remove(member)

    def say(self, text):
        with self._order, self._lock:
            behind = [member for member in self._members if member.queue.full()]
            self._members = [member for member in self._members if member not in behind]
            for member in self._members:
                member.queue.put_nowait(text)
        for member in behind:
            member.cut_off(self)
