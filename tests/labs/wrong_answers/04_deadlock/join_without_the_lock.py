"""join() is one line, so it takes no lock; say() replaces the list.

Caught by: test_a_member_that_joins_while_another_is_disconnected_is_a_member: cy has joined. After that 3 was said, a
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
                    behind.append(member)
            self._members = [member for member in self._members if member not in behind]
        for member in behind:
            member.cut_off(self)
