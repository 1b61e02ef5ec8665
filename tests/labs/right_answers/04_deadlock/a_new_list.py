"""The list of members is replaced, with those that got the text."""

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
        with self._lock:
            got = {id(member): self._put(member, text) for member in self._members}
            behind = [member for member in self._members if not got[id(member)]]
            self._members = [member for member in self._members if got[id(member)]]
        for member in behind:
            member.cut_off(self)

    @staticmethod
    def _put(member, text):
        try:
            member.queue.put(text, block=False)
        except queue.Full:
            return False
        return True
