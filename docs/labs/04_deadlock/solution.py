"""Lab 4, one solution: nothing waits under the lock; slow members are disconnected after it is released."""

import queue
import sys
import threading
import traceback


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
            for member in behind:  # now: a later text must not follow the missing one
                self._members.remove(member)
        for member in behind:
            member.cut_off(self)


def main():
    """ann says five texts. bob reads one, thinks for a moment, and leaves. Where are both threads after a second?"""
    room, bob = Room(), Member("bob", limit=2)
    room.join(bob)

    def say():
        for number in range(1, 6):
            room.say(f"text {number}")

    def read():
        bob.queue.get()
        ann.join(0.2)
        room.leave(bob)

    ann = threading.Thread(target=say, name="ann", daemon=True)
    reader = threading.Thread(target=read, name="bob", daemon=True)
    ann.start()
    reader.start()
    for thread in (ann, reader):
        thread.join(1.0)
        if thread.is_alive():
            stack = traceback.extract_stack(sys._current_frames()[thread.ident])
            here = [frame for frame in stack if frame.filename == __file__][-1]
            print(f"{thread.name} has not ended. It is in {here.name}(), line {here.lineno}: {here.line}")
        else:
            print(f"{thread.name} has ended.")


if __name__ == "__main__":
    main()
