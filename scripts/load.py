#!/usr/bin/env python3
"""Put load on a chat_threads server, and check that it loses nothing: load.py --clients 200 --rate 100

Clients connect, some of them talk, and each checks that it sees every message of its rooms once, in the same order as
everybody else. Latency counts from the time at which a message was due until a client has it. In the open loop
(--rate) messages are due at fixed times, so a stall of the server shows. In the closed loop (--window) each sender
keeps this many messages under way, which shows the highest rate that the server can reach.

The server limits what a client may send (--rate 20 lines a second, --max-clients 1000); to go beyond that, start it
with --rate 0 or --max-clients 20000. The messages stay in its history, in the rooms #load0, #load1 and so on.

Exit code 0: everything arrived; 1: something was lost, duplicated or out of order, or a client was cut off; 2: there
was no run, and a line says why.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

import click
from driver import machine, report
from driver.conductor import Result, Watching, conduct, new_run, resolve
from driver.plan import Plan, clock
from driver.worker import Failed, files_wanted, raise_file_limit

from chat_threads import streams

RATE = 100.0  # messages a second in all by default: ten from each of ten senders
PLOTS = (".svg", ".png", ".pdf")


class Command(click.Command):
    """Reports an error in the options in one line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            refuse(f"{error.format_message()} --help shows the options.")


def refuse(why: str) -> NoReturn:
    click.echo(f"load: {why}", err=True)
    sys.exit(2)


def number(low: float, high: float, open_low: bool = False) -> click.FloatRange:
    return click.FloatRange(low, high, min_open=open_low)


@click.command(cls=Command, help=__doc__.split(": load.py")[0] + ".", epilog=__doc__.split("\n\n", 1)[1])
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the server is.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="N", default=8080, show_default=True, help="Its port.")
@click.option(
    "--clients", type=click.IntRange(1, 1_000_000), metavar="N", default=200, show_default=True, help="Connections."
)
@click.option(
    "--rooms",
    type=click.IntRange(1, 10_000),
    metavar="N",
    default=1,
    show_default=True,
    help="Rooms that the clients share.",
)
@click.option(
    "--senders", type=click.IntRange(1), metavar="N", show_default="10, or all", help="Clients in each room that talk."
)
@click.option(
    "--rate",
    type=number(0, 1e7, True),
    metavar="N",
    show_default="100",
    help="Open loop: messages a second, from all senders together.",
)
@click.option(
    "--window", type=click.IntRange(1, 10_000), metavar="N", help="Closed loop: messages under way for each sender."
)
@click.option(
    "--size", type=click.IntRange(40, 2000), metavar="N", default=64, show_default=True, help="Characters in a message."
)
@click.option(
    "--duration", type=number(0, 86_400, True), metavar="N", default=10.0, show_default=True, help="Seconds of talk."
)
@click.option(
    "--ramp",
    type=number(0, 86_400),
    metavar="N",
    default=0.0,
    show_default=True,
    help="Seconds over which the clients connect.",
)
@click.option("--dialect", type=click.Choice(["text", "json", "web"]), default="text", show_default=True)
@click.option(
    "--slow", type=click.IntRange(0), metavar="N", default=0, show_default=True, help="Clients that never read."
)
@click.option(
    "--churn", type=number(0, 10_000), metavar="N", default=0.0, show_default=True, help="Reconnects a second."
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    metavar="N",
    show_default="one less than there are cores",
    help="Processes that the clients are in.",
)
@click.option(
    "--patience",
    type=number(0, 3600, True),
    metavar="N",
    default=5.0,
    show_default=True,
    help="Seconds without any message after which a missing message counts as lost.",
)
@click.option(
    "--pid", type=click.IntRange(1), metavar="N", help="The server's process, if it cannot be found by its port."
)
@click.option("--csv", "csv_path", type=click.Path(dir_okay=False), help="Write the run over time to this file.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False), help="Write everything to this file.")
@click.option(
    "--plot", "plot_path", type=click.Path(dir_okay=False), help="Draw latency and throughput: .svg, .png, .pdf."
)
def main(
    host: str,
    port: int,
    clients: int,
    rooms: int,
    senders: int | None,
    rate: float | None,
    window: int | None,
    size: int,
    duration: float,
    ramp: float,
    dialect: str,
    slow: int,
    churn: float,
    processes: int | None,
    patience: float,
    pid: int | None,
    csv_path: str | None,
    json_path: str | None,
    plot_path: str | None,
) -> None:
    if rate and window:
        refuse("--rate is the open loop and --window the closed one; a run is one of them.")
    if senders is None:
        senders = min(10, (clients - slow) // rooms)
    if slow + rooms * senders > clients or senders < 1:
        refuse(
            f"{clients} clients are too few for {rooms} rooms with {max(senders, 1)} senders each and {slow} slow ones."
        )
    if churn and slow + rooms * senders == clients:
        refuse("--churn reconnects clients that neither talk nor are slow, and there are none.")
    if processes is None:
        processes = min(max(1, machine.cores() - 1), clients)
    if processes > clients:
        refuse(f"{clients} clients are too few for {processes} processes.")
    check_outputs(csv_path, json_path, plot_path)
    if pid and not machine.usage(pid):
        refuse(f"there is no process {pid}, or this system does not tell.")
    try:
        family, address = resolve(host, port)
        plan = Plan(
            family=family,
            address=address,
            dialect=dialect,
            clients=clients,
            rooms=rooms,
            senders=senders,
            rate=None if window else rate or RATE,
            window=window,
            size=size,
            duration=duration,
            ramp=ramp,
            slow=slow,
            churn=churn,
            processes=processes,
            patience=patience,
            run=new_run(),
            epoch=clock(),
        )
        files = raise_file_limit()
        if files is not None and files_wanted(plan) > files:
            refuse(
                f"this system lets a process open {files} files, and {files_wanted(plan)} are wanted: more --processes."
            )
        if pid is None and machine.is_here(family, address):
            pid = machine.listener(port)
        with progress(plan) as watching:
            result = conduct(plan, pid, watching)
    except Failed as failed:
        refuse(f"{failed}")
    except KeyboardInterrupt:
        click.echo("load: stopped before its end.", err=True)
        sys.exit(130)
    show(result, csv_path, json_path, plot_path)
    sys.exit(0 if result.clean else 1)


def check_outputs(csv_path: str | None, json_path: str | None, plot_path: str | None) -> None:
    """Before the run, check that its results can be written afterwards."""
    if plot_path:
        if importlib.util.find_spec("matplotlib") is None:
            refuse("--plot needs matplotlib: pip install '.[plot]' in the folder of README.rst.")
        if not plot_path.endswith(PLOTS):
            refuse(f"--plot draws {', '.join(PLOTS)}, and {plot_path} is none of these.")
    for path in filter(None, (csv_path, json_path, plot_path)):
        folder = os.path.dirname(os.path.abspath(path))
        if not os.access(path if os.path.exists(path) else folder, os.W_OK):
            refuse(f"{path} cannot be written.")


@contextlib.contextmanager
def progress(plan: Plan) -> Iterator[Watching]:
    """Two progress bars on stderr, one for connecting and one for the run."""
    with contextlib.ExitStack() as bars:

        def bar(label: str, length: int) -> Callable[[float], None]:
            shown = bars.enter_context(click.progressbar(length=length, label=label, file=sys.stderr))

            def update(count: float) -> None:
                if int(count) > shown.pos:
                    shown.update(int(count) - shown.pos)
                    if shown.pos >= length:
                        bars.close()

            return update

        connecting = bar("Connecting", plan.clients)
        running: Callable[[float], None] | None = None

        def run(seconds: float) -> None:
            nonlocal running
            if running is None:
                running = bar("Running", 100)
            running(100 * seconds / plan.duration)

        yield Watching(connecting, run)


def show(result: Result, csv_path: str | None, json_path: str | None, plot_path: str | None) -> None:
    if csv_path:
        report.write_csv(result, csv_path)
    if json_path:
        report.write_json(result, json_path)
    if plot_path:
        report.write_plot(result, plot_path)
    click.echo(report.table(result))
    for remark in report.remarks(result):
        click.echo(remark)


if __name__ == "__main__":
    streams.prepare()
    main()
