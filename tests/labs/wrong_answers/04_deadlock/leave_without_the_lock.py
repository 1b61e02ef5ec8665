"""leave() takes no lock.

Caught by: test_a_member_can_leave_while_its_queue_is_full: ann died of ValueError: list.remove(x): x not in list
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
            for member in behind:
                self._members.remove(member)
        for member in behind:
            member.cut_off(self)
