"""Looks under one with which queues are full, and puts under another.

Caught by: test_two_speakers_disconnect_all_that_are_slow: No thread can continue: ann waits in put()
"""

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
            full = [member for member in self._members if member.queue.full()]
            for member in full:
                self._members.remove(member)
        with self._lock:
            for member in self._members:
                member.queue.put(text)
        for member in full:
            member.cut_off(self)
