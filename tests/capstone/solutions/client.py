"""Step 10, solved: a client that says what is typed, prints what is said, and comes back."""

from __future__ import annotations

import argparse
import json
import socket
import sys
import threading
import time

ROOM = "#lobby"


class Client:
    """What has no ack yet is kept, and sent again on the next connection. ``run`` is the thread of the network; whoever
    types calls ``type`` and ``no_more``."""

    def __init__(self, port, name):
        self._port = port
        self._name = name
        self._token = None
        self._seen = None  # the number of the last message that was printed
        self._open = {}  # requests without an ack, by ref, in order
        self._refs = 0
        self._lock = threading.Lock()  # guards the two attributes above, and keeps what is sent in order
        self._sock = None  # while connected
        self._over = threading.Event()  # nobody types any more

    def type(self, line):
        with self._lock:
            self._refs += 1
            ref = str(self._refs)
            self._open[ref] = {"type": "say", "room": ROOM, "text": line, "ref": ref}
            if self._sock:
                self._send(self._open[ref])

    def no_more(self):
        with self._lock:
            self._over.set()
            if self._sock and not self._open:
                self._send({"type": "quit"})

    def run(self):
        while not (self._over.is_set() and not self._open):
            try:
                with socket.create_connection(("127.0.0.1", self._port)) as sock:
                    self._talk(sock)
            except OSError:
                pass  # the server is gone; it may come back
            with self._lock:
                self._sock = None
            time.sleep(0.1)

    def _talk(self, sock):
        hello = {"type": "hello", "name": self._name, "replay": 0, "ref": "hello"}
        if self._token:
            hello["token"] = self._token
        if self._seen is None:
            hello["room"] = ROOM
        else:
            hello["since"] = {ROOM: self._seen}
        sock.sendall(json.dumps(hello).encode() + b"\n")
        with sock.makefile("rb") as lines:
            for line in lines:
                if not line.startswith(b"{") or not line.endswith(b"\n"):
                    continue
                event = json.loads(line)
                if event["type"] == "error" and event.get("ref") == "hello":
                    return
                self._take(event, sock)

    def _take(self, event, sock):
        if event["type"] == "welcome":
            self._token = event["token"]
        elif event["type"] == "joined" and event["room"] == ROOM:
            if self._seen is None:
                self._seen = event["last"]
            with self._lock:
                self._sock = sock
                for request in self._open.values():
                    self._send(request)
        elif event["type"] == "message" and event["room"] == ROOM:
            self._seen = event["number"]
            print(f"{event['from']}: {event['text']}", flush=True)
        elif event["type"] == "ack":
            with self._lock:
                self._open.pop(event.get("ref"), None)
                if self._over.is_set() and not self._open:
                    self._send({"type": "quit"})

    def _send(self, request):
        """The caller holds the lock."""
        try:
            self._sock.sendall(json.dumps(request).encode() + b"\n")
        except OSError:
            pass  # it is sent again when the client is back


def main():
    parser = argparse.ArgumentParser(description="A chat client.")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--name", required=True)
    options = parser.parse_args()
    client = Client(options.port, options.name)
    network = threading.Thread(target=client.run)
    network.start()
    for line in sys.stdin:
        client.type(line.rstrip("\n"))
    client.no_more()
    network.join()


if __name__ == "__main__":
    main()
