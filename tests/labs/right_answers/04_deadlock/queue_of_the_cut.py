"""Those that are cut off go through a queue of their own."""

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
        self._full = queue.SimpleQueue()

    def join(self, member):
        with self._lock:
            self._members.append(member)

    def leave(self, member):
        with self._lock:
            if member in self._members:
                self._members.remove(member)

    def say(self, text):
        with self._lock:
            for member in list(self._members):
                try:
                    member.queue.put_nowait(text)
                except queue.Full:
                    self._members.remove(member)
                    self._full.put(member)
        while True:
            try:
                member = self._full.get_nowait()
            except queue.Empty:
                return
            member.cut_off(self)
