"""The members that are full stand in an attribute, and are taken out of it one by one after a look.

Caught by: test_two_speakers_disconnect_all_that_are_slow: ann died of IndexError: pop from empty list
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
        self._full = []

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
                    self._full.append(member)
                    self._members.remove(member)
        while self._full:
            self._full.pop().cut_off(self)
