#!/usr/bin/env python3
"""Watch a server from its own machine: top.py localhost:8080

Every second, it shows how many clients are connected, how many messages pass, and the threads with the longest
queues. Ctrl-C ends it. It takes a name on the server, and is in no room after the first moment.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence

import click
from tabulate import tabulate

from chat_threads import streams
from chat_threads.client import Client, ClientError
from chat_threads.client.terminal import Address, Place
from chat_threads.events import StatsShown, ThreadList, ThreadRow

HOME, LINE_END, REST = "\x1b[H", "\x1b[K\n", "\x1b[J"  # to the top; clear to the end of the line, of the screen
HEAD = 5  # lines above the threads


def rate_of(before: Sequence[ThreadRow], now: Sequence[ThreadRow], seconds: float) -> tuple[float, float]:
    """Lines and bytes sent a second, to the sessions that are in both samples."""
    old = {row.thread: row for row in before if row.role == "reader"}
    lines = sent = 0
    for row in now:
        if row.role == "reader" and (earlier := old.get(row.thread)):
            lines += (row.lines or 0) - (earlier.lines or 0)
            sent += (row.bytes or 0) - (earlier.bytes or 0)
    return lines / seconds, sent / seconds


def screen(address: str, stats: StatsShown, threads: ThreadList, rates: tuple[float, float], height: int) -> list[str]:
    """The screen, in at most ``height`` lines."""
    rows = sorted(threads.threads, key=lambda row: (-(row.waiting or 0), row.role == "reader", row.thread))
    shown = rows[: max(1, height - HEAD)]
    table = tabulate(
        [
            [
                row.thread,
                row.session or "",
                row.doing,
                f"{row.seconds:.3f}",
                "" if row.waiting is None else row.waiting,
                "" if row.most is None else row.most,
                row.where,
            ]
            for row in shown
        ],
        ("thread", "session", "doing", "for (s)", "queue", "most", "where"),
        tablefmt="simple",
        disable_numparse=True,
        colalign=("left", "left", "left", "right", "right", "right", "left"),
    ).split("\n")
    return [
        f"{address}: chat_threads {stats.version}, up {stats.uptime:.0f} s, {stats.threads} threads",
        f"{stats.sessions} sessions in {stats.rooms} rooms, {stats.stored} messages stored,"
        f" {stats.per_second:.1f} a second",
        f"{rates[0]:.0f} lines and {rates[1] / 1000:.1f} kB a second out"
        + (f", but for {threads.more} sessions" if threads.more else ""),
        *table,
    ]


@click.command(help="\n\n".join(__doc__.split("\n\n")[:2]))
@click.argument("address", type=Address(), metavar="[HOST[:PORT]]", default="localhost:8080")
@click.option(
    "--every",
    type=click.FloatRange(0.1),
    metavar="N",
    default=1.0,
    show_default=True,
    help="Seconds between two updates.",
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="Stop after this many updates.")
@click.option("--name", default="top", show_default=True)
def main(address: Place, every: float, count: int | None, name: str) -> None:
    host, port = address.host, address.port
    in_place = sys.stdout.isatty()
    try:
        # A client has to enter a room. Nobody is in this one, and it is gone when it is left.
        with Client(host, port, name=name, room="#top", reconnect=False, tls=address.tls) as chat:
            chat.leave()
            before: ThreadList | None = None
            asked = began = time.monotonic()
            left = count
            if in_place:
                click.echo(HOME + REST, nl=False)
            while (left is None or left > 0) and not streams.lost():
                threads = chat.request("threads")
                assert isinstance(threads, ThreadList)
                now = time.monotonic()
                rates = rate_of((before or threads).threads, threads.threads, max(now - asked, 0.001))
                lines = screen(f"{host}:{port}", chat.stats(), threads, rates, shutil.get_terminal_size().lines - 1)
                if in_place:
                    width = shutil.get_terminal_size().columns
                    click.echo(HOME + "".join(line[:width] + LINE_END for line in lines) + REST, nl=False)
                else:
                    click.echo("\n".join(lines) + "\n")
                before, asked = threads, now
                left = None if left is None else left - 1
                if left != 0:
                    began += every
                    time.sleep(max(0.0, began - time.monotonic()))
        if error := streams.lost():
            raise error
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    except ConnectionError as error:
        sys.exit(f"top: no server answers at {host}, port {port}: {error.strerror or error}.")
    except (ClientError, OSError) as error:
        sys.exit(f"top: {error}")


if __name__ == "__main__":
    streams.prepare()
    main()
