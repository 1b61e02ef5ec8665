"""With an RLock, one thread may take it twice. But here there are two threads.

Caught by: test_a_member_can_leave_while_its_queue_is_full: waits for self._lock, which ann holds
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
        self._lock = threading.RLock()
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
                member.queue.put(text)
