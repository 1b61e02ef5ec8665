"""The RLock lets cut_off take it again, but the thread that cut_off waits for cannot get it.

Caught by: test_a_member_can_join_while_another_is_disconnected: which ann holds
"""

import queue
import threading


class Member:
    """One who is in a room. At most ``limit`` texts wait for it in its queue, which its own thread empties."""

    def __init__(self, name, limit):
        self.name = name
        self.queue = queue.Queue(limit)
        self.cut = False  # it did not keep up: its thread stops when it sees that

    def cut_off(self, room):
        """End a member that does not keep up."""
        self.cut = True
        room.leave(self)


class Room:
    """Its members get the same texts, in the same order. Any thread may call any method."""

    def __init__(self):
        self._lock = threading.RLock()  # guards _members
        self._members = []

    def join(self, member):
        """From now on the member gets what is said."""
        with self._lock:
            self._members.append(member)

    def leave(self, member):
        """From when this comes back on, the member gets nothing any more."""
        with self._lock:
            if member in self._members:
                self._members.remove(member)

    def say(self, text):
        """Put the text into the queue of every member. Never waits for a member; one whose queue is full is cut off."""
        behind = []
        with self._lock:
            for member in self._members:
                try:
                    member.queue.put_nowait(text)
                except queue.Full:
                    behind.append(member)
            for member in behind:
                member.cut_off(self)
