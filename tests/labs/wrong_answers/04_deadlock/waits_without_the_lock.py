"""Copies the members under the lock and puts without it: it still waits, and texts may change places.

Caught by: test_nobody_waits_for_a_member_that_does_not_read: waits in put()
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
        with self._lock:
            members = list(self._members)
        for member in members:
            member.queue.put(text)
