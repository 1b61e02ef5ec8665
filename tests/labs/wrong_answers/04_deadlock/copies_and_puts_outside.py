"""Copies the members under the lock, and puts outside.

Caught by: test_all_members_get_the_texts_in_one_order: cy gets ['from ann', 'from bob'], and dan ['from bob', 'from a
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
            members = list(self._members)
        for member in members:
            try:
                member.queue.put_nowait(text)
            except queue.Full:
                member.cut_off(self)
