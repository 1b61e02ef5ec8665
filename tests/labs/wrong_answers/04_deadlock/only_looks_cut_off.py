"""Does only a part of what cut_off does.

Caught by: test_nobody_waits_for_a_member_that_does_not_read: was not disconnected by cut_off()
"""

import queue
import threading


class Member:
    """A member of a room. At most ``limit`` texts wait in its queue, which the member's own thread empties."""

    def __init__(self, name, limit):
        self.name = name
        self.queue = queue.Queue(limit)
        self.cut = False  # the member did not keep up; its thread stops when it sees this

    def cut_off(self, room):
        """Disconnect a member that does not keep up."""
        self.cut = True
        room.leave(self)


class Room:
    """A room's members get the same texts, in the same order. Any thread may call any method."""

    def __init__(self):
        self._lock = threading.Lock()  # guards _members
        self._members = []

    def join(self, member):
        """Add a member. From now on it gets every text."""
        with self._lock:
            self._members.append(member)

    def leave(self, member):
        """Remove a member. Once this returns, the member gets nothing more."""
        with self._lock:
            if member in self._members:
                self._members.remove(member)

    def say(self, text):
        """Give every member the text. Never waits for a member; a member whose queue is full is disconnected."""
        behind = []
        with self._lock:
            for member in self._members:
                try:
                    member.queue.put_nowait(text)
                except queue.Full:
                    behind.append(member)
            for member in behind:  # at once, so that these members get no text after the missing one
                self._members.remove(member)
        for member in behind:
            member.cut = True
