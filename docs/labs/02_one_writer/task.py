"""Lab 2: one writer. This file is yours; only the names and arguments of what is there now must stay."""

import socket
import threading


class Outbox:
    """The way to one client. Any thread may say a line to it."""

    def __init__(self, send):
        """``send(data)`` gives bytes to the client's socket and returns how many it took: at least one, maybe not
        all. It waits as long as the socket is full."""
        self._send = send

    def start(self):
        """Called once, before a line is said."""

    def say(self, line):
        """Any thread: the client shall get this line. Comes back at once, however slow the client is."""
        self._write(line.encode() + b"\n")

    def close(self):
        """Called once, after the last line was said. Comes back when everything is sent."""
        return  # say() has sent it

    def _write(self, data):
        while data:
            taken = self._send(data)
            data = data[taken:]


def main():
    """Two threads say 50 long lines each to one client over a real socket, and we count what it got whole."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # the less it holds, the sooner it is full
    ours.settimeout(10)  # with a timeout, send() takes what there is room for
    outbox = Outbox(ours.send)
    outbox.start()
    said = [name * 5000 for name in ("ann", "bob") for _ in range(50)]

    start = threading.Barrier(2)

    def talk(lines):
        start.wait()
        for line in lines:
            outbox.say(line)

    def hang_up():
        for thread in talkers:
            thread.join()
        outbox.close()
        ours.close()

    talkers = [threading.Thread(target=talk, args=(lines,)) for lines in (said[:50], said[50:])]
    for thread in [*talkers, threading.Thread(target=hang_up)]:
        thread.start()
    with theirs, theirs.makefile("r") as stream:
        got = [line.rstrip("\n") for line in stream]
    garbled = [line for line in got if line not in ("ann" * 5000, "bob" * 5000)]
    print(f"{len(said)} lines were said. {len(got)} came, {len(got) - len(garbled)} of them as they were said.")
    for line in garbled[:3]:
        at = max(line.find("bob") if line.startswith("ann") else line.find("ann"), 12)
        print(f"  a line of {len(line)} characters, somewhere in it: …{line[at - 12 : at + 12]}…")


if __name__ == "__main__":
    main()
