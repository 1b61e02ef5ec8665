#!/usr/bin/env python3
"""The least that a chat server in Python can do: floor.py --port 8090

One loop: ``recv`` from one socket, ``send`` to each. Nothing is parsed, stored or queued, and there is one room. A
client that does not read stops everybody. So this is no server for people: bench.py measures with it what the system
calls cost by themselves.

A client's first bytes are its name, as with chat_threads. They are answered, and go to nobody.
"""

from __future__ import annotations

import selectors
import socket

import click

NOW = getattr(socket, "MSG_DONTWAIT", 0)  # not on Windows


class Floor:
    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ)
        self.members: dict[socket.socket, None] = {}  # in the order in which they came

    def serve(self) -> None:
        while True:
            for key, _ in self.selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self.listener:
                    member, _ = sock.accept()
                    member.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.selector.register(member, selectors.EVENT_READ)
                else:
                    self.read(sock)

    def read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(sock)
            self.members.pop(sock, None)
            sock.close()
        elif sock not in self.members:
            self.members[sock] = None
            sock.sendall(b"* You are in #floor with everybody.\r\n")
        else:
            self.say(data)

    def say(self, data: bytes) -> None:
        for member in self.members:
            try:
                sent = member.send(data, NOW)
                if sent < len(data):
                    member.sendall(data[sent:])
            except BlockingIOError:
                member.sendall(data)
            except OSError:
                pass  # it is gone; select says so, too


@click.command(help=__doc__.split(":", maxsplit=1)[0] + ".")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N", default=8090, show_default=True, help="0 chooses a free port."
)
def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        click.echo(f"telnet 127.0.0.1 {listener.getsockname()[1]}")
        Floor(listener).serve()


if __name__ == "__main__":
    main()
