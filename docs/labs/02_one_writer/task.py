"""Lab 2: one writer. Change what you like in this file, but keep the names and arguments of the methods."""

import socket
import threading


class Outbox:
    """Sends lines to one client. Any thread may say a line."""

    def __init__(self, send):
        """``send(data)`` gives bytes to the client's socket and returns how many the socket took: at least one, but
        maybe not all. It waits while the socket is full."""
        self._send = send

    def start(self):
        """Called once, before the first line is said."""

    def say(self, line):
        """Send this line to the client. Called by any thread; returns at once, however slow the client is."""
        self._write(line.encode() + b"\n")

    def close(self):
        """Called once, after the last line was said. Returns when everything has been sent."""
        return  # say() has sent it

    def _write(self, data):
        while data:
            taken = self._send(data)
            data = data[taken:]


def main():
    """Two threads say 50 long lines each to one client over a real socket. We count the lines that arrive whole."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # a small buffer is full soon
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
