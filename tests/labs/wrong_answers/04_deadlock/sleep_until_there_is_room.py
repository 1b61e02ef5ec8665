"""Checks now and then whether there is room, with the lock held.

Caught by: test_nobody_waits_for_a_member_that_does_not_read: There was no end
"""

import queue
import threading
import time


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
            for member in self._members:
                while member.queue.full():
                    time.sleep(0.01)
                member.queue.put_nowait(text)
