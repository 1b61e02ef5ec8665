#!/usr/bin/env python3
"""The chat server of textbook.py with asyncio in place of threads: asyncio_chat.py --port 8090

One thread, one event loop, a coroutine for each client. For each member of the room, a message is one
``write``, which is one system call if the member reads. So bench.py finds it faster than threads that have to be woken
one by one, and slower than batches that go out in one call. It stores nothing. The buffer of a client that does not
read grows for ever.

Clients speak as people do with chat_threads: a name, or a name and a room, then one text a line.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict

import click

LOBBY = "#lobby"


class Chat:
    """Only the event loop's thread runs this, and never two coroutines at once, so it needs no lock."""

    def __init__(self) -> None:
        self.members: defaultdict[str, set[asyncio.StreamWriter]] = defaultdict(set)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's conversation."""
        room = LOBBY
        try:
            writer.write(b"* Welcome to asyncio. What is your name?\r\n")
            name, _, wanted = (await reader.readline()).decode("utf-8", "replace").strip().partition(" ")
            room = wanted or LOBBY
            writer.write(f"* You are in {room} with {len(self.members[room])} others.\r\n".encode())
            self.members[room].add(writer)
            while line := await reader.readline():
                text = line.decode("utf-8", "replace").rstrip("\r\n")
                self.say(room, f"{time.strftime('[%H:%M]')} {name}: {text}\r\n".encode())
        except (OSError, ValueError):
            pass  # the client is gone, or its line is too long
        finally:
            self.members[room].discard(writer)
            writer.close()

    def say(self, room: str, line: bytes) -> None:
        """There is no await in here, so all members get the lines in one order."""
        for member in self.members[room]:
            member.write(line)


async def serve(port: int) -> None:
    server = await asyncio.start_server(Chat().converse, "127.0.0.1", port, backlog=1024)
    click.echo(f"telnet 127.0.0.1 {server.sockets[0].getsockname()[1]}")
    async with server:
        await server.serve_forever()


@click.command(help=__doc__.split(":", maxsplit=1)[0] + ".")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="N", default=8090, show_default=True, help="0 chooses a free port."
)
def main(port: int) -> None:
    asyncio.run(serve(port))


if __name__ == "__main__":
    main()
