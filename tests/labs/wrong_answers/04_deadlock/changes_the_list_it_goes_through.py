"""Removes from the list in a loop over it, which skips the next member.

Caught by: test_nobody_waits_for_a_member_that_does_not_read: asleep has room for 2 texts
"""

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
        behind = []
        with self._lock:
            for member in self._members:
                try:
                    member.queue.put_nowait(text)
                except queue.Full:
                    self._members.remove(member)
                    behind.append(member)
        for member in behind:
            member.cut_off(self)
