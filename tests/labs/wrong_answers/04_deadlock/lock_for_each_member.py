"""Takes the lock for each member separately, so another text may come between two of them.

Caught by: test_all_members_get_the_texts_in_one_order: cy gets
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
        for member in list(self._members):
            with self._lock:
                try:
                    if member in self._members:
                        member.queue.put_nowait(text)
                except queue.Full:
                    self._members.remove(member)
                    behind.append(member)
        for member in behind:
            member.cut_off(self)
