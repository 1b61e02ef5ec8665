"""Makes room by taking the oldest text out.

Caught by: test_nobody_waits_for_a_member_that_does_not_read: slow has room for 2 texts. It has ['2', '3'] and should
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
            for member in self._members:
                if member.queue.full():
                    member.queue.get_nowait()
                member.queue.put_nowait(text)
