"""A small chat server around an Outbox, for load.py to measure: python serve.py --port 8090 --task task.py

Every client has a reader thread, an Outbox and a writer thread. Without --task, the Outbox sends a line
a call. The server speaks the part of chat_threads' text protocol that load.py needs: a name and a room, then one text a
line. It ends when its standard input ends, and prints how many lines it has sent in how many calls. Needs no change.
"""

from __future__ import annotations

import argparse
import queue
import runpy
import socketserver
import sys
import threading
from collections import defaultdict


class PerMessage:
    """The original Outbox: a call for each line."""

    def __init__(self, send) -> None:
        self._send = send
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.put = self._lines.put

    def close(self) -> None:
        self._lines.put(None)

    def run(self) -> None:
        while (line := self._lines.get()) is not None:
            self._send(line)


class Member:
    """One client's outbox, and its counts. ``send`` is called by the client's writer thread only."""

    def __init__(self, outbox, connection) -> None:
        self._connection = connection
        self.lines = 0
        self.calls = 0
        self.gone = False
        self.outbox = outbox(self.send)

    def send(self, data: bytes) -> None:
        if not self.gone:
            try:
                self._connection.sendall(data)
            except OSError:
                self.gone = True
            self.lines += data.count(b"\n")
            self.calls += 1


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, port: int, outbox: type) -> None:
        self.outbox = outbox
        self.lock = threading.Lock()  # guards the attributes below; held while a line is put to all, for one order
        self.rooms: defaultdict[str, list[Member]] = defaultdict(list)
        self.everybody: list[Member] = []
        super().__init__(("127.0.0.1", port), Reader)

    def enter(self, room: str, member: Member) -> None:
        with self.lock:
            self.rooms[room].append(member)
            self.everybody.append(member)

    def leave(self, room: str, member: Member) -> None:
        with self.lock:
            self.rooms[room].remove(member)

    def say(self, room: str, line: bytes) -> None:
        with self.lock:
            for member in self.rooms[room]:
                member.outbox.put(line)


class Reader(socketserver.StreamRequestHandler):
    """One client's conversation, in its reader thread."""

    disable_nagle_algorithm = True
    server: Server

    def handle(self) -> None:
        member = Member(self.server.outbox, self.connection)
        writer = threading.Thread(target=member.outbox.run, daemon=True)
        writer.start()
        member.outbox.put(b"* What is your name?\r\n")
        name, _, room = self.rfile.readline().strip().decode("utf-8", "replace").partition(" ")
        room = room or "#lobby"
        member.outbox.put(f"* You are in {room}.\r\n".encode())
        self.server.enter(room, member)
        try:
            for line in self.rfile:
                self.server.say(room, name.encode() + b": " + line.rstrip(b"\r\n") + b"\r\n")
        except OSError:
            pass  # the client is gone
        finally:
            self.server.leave(room, member)
            member.outbox.close()
            writer.join()


def main() -> None:
    parser = argparse.ArgumentParser(description="A small chat server around an Outbox.")
    parser.add_argument("--port", type=int, default=8090, help="8090 unless told otherwise; 0 chooses a free port")
    parser.add_argument("--task", help="the file with an Outbox; without it, one that sends a line a call")
    options = parser.parse_args()
    outbox = runpy.run_path(options.task)["Outbox"] if options.task else PerMessage
    threading.stack_size(512 * 1024)
    with Server(options.port, outbox) as server:
        threading.Thread(target=server.serve_forever, name="acceptor", daemon=True).start()
        print(f"telnet 127.0.0.1 {server.server_address[1]}", flush=True)
        sys.stdin.read()
        server.shutdown()
        with server.lock:
            lines, calls = sum(each.lines for each in server.everybody), sum(each.calls for each in server.everybody)
        print(f"{lines} lines in {calls} calls", flush=True)


if __name__ == "__main__":
    main()
