#!/usr/bin/env python3
"""Start a server, cause faults in it for some minutes, and check that nothing was lost: torture.py --minutes 5

It starts ``python -m chat_threads`` with a fresh history in a temporary directory. Writers and readers log their
requests and everything they see. During the run, the server is killed and started again, or stopped and continued, its
disk is filled, and another program locks its history. Clients break off, stay away, and stop reading. Another client
owns the rooms: it mutes, bans and sends out the others, and closes rooms, each for some seconds. A third of the clients
are on WebSockets, if ``websockets`` is installed, and a third speak TLS, if ``openssl`` is, which makes a certificate.
Other WebSockets and TLS clients are hostile. At the end all clients leave, the server stops, and ``torture_checker``
compares the logs with the history.

With --server "python my_server.py", it tortures another server, such as that of docs/capstone. Its faults are then
kills, stops, clients that break off and clients that do not read. The command gets --port and --db.

With --servers 3, three servers share a PostgreSQL, which is killed, too. The clients move between the servers. At the
end all histories have to be the same.

The exit code is 0 if every check is ok and the run counts, otherwise 1. The same --seed gives the same clients
and the same choice of faults; the order in which threads run still differs.

Options after -- go to the server: torture.py --minutes 1 -- --writers per-session
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import pathlib
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import click
from tabulate import tabulate
from torture_checker import Look, Result, Row, check
from torture_clients import Client, Reader, Searcher, Traveller, Writer
from torture_connection import PATIENCE
from torture_faults import FAULTS, Calls, Disk, Killer, Meddler, Meddling, Server
from torture_machine import Metronome
from torture_people import Heard, Person, Told
from torture_people import check as check_people
from torture_rules import Governor
from torture_stranger import FAULTS as FAULTS_OF_ANY
from torture_stranger import Stranger, StrangerMeddler
from torture_tls import WHY_NOT as WHY_NO_TLS
from torture_tls import Certificate, put_on_tls
from torture_web import WHY_NOT, WebConnection, put_on_webs
from torture_world import World, now

from chat_threads import streams

FINISH = 90.0  # seconds after the last fault for all clients to come back, read everything and leave
WORKED_OFF = 60.0  # seconds in which the server works off, at its rate, what a hostile client sent before it left
LATE = 4  # descriptors that SQLite opens on first use: one for each reading connection
PEOPLE = 4  # who have accounts and write to each other, with several servers
SHOWN = 5  # violations of each check that are printed


Faults = Callable[[list[Client]], tuple[Any, Meddling]]
"""Makes the two threads that cause faults: one kills, the other does the rest."""


# --- a run ---------------------------------------------------------------------------------------------------


def read_history(db: pathlib.Path) -> tuple[list[Row], list[str]]:
    """All messages in the file, and its faults."""
    with contextlib.closing(sqlite3.connect(db)) as connection:
        wrong = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        rows = [
            Row(*row)
            for row in connection.execute(
                "SELECT rooms.name, number, sender, kind, text FROM messages JOIN rooms ON rooms.id = messages.room"
            )
        ]
        for (name,) in connection.execute("SELECT name FROM rooms"):
            numbers = [row.number for row in rows if row.room == name]
            if len(numbers) != max(numbers, default=0):
                wrong.append(f"{name} has {len(numbers)} messages, and its last number is {max(numbers)}")
        connection.execute("INSERT INTO pieces (pieces) VALUES ('integrity-check')")
    return rows, wrong


def troubles(log: list[str]) -> list[str]:
    """Tracebacks in the server's log, each with its last line."""
    found = []
    inside = False
    for line in log:
        if line.startswith("Traceback"):
            inside = True
        elif inside and not line.startswith(" "):
            found.append(f"a traceback in the server's log: {line}")
            inside = False
    return found


def more_than(unused: tuple[int, int], usage: tuple[int, int]) -> bool:
    """Whether the server uses more threads or descriptors than before the first client, without SQLite's late ones."""
    return usage[0] > unused[0] or usage[1] > unused[1] + LATE


def finish(world: World, servers: list[Server], clients: list[Client], compare: Callable[[], list[str]]) -> list[str]:
    """Let all clients leave, and stop the servers. Return the faults. ``compare`` finds those in several histories."""
    wrong = [server.ended for server in servers if server.ended]
    world.finishing.set()
    deadline = now() + (0 if wrong else FINISH)
    for client in (*clients, *world.people):
        client.join(max(0.0, deadline - now()))
        if client.is_alive():
            wrong.append(f"{client.name} could not enter, read its answers and leave within {FINISH:g} s")
    for server in servers:
        deadline = now() + WORKED_OFF
        while (more := more_than(server.unused, usage := server.usage())) and now() < deadline:
            time.sleep(0.1)
        if more:
            wrong.append(
                f"with nobody there server {server.number} has {usage} threads and descriptors, and had"
                f" {server.unused} at first"
            )
    wrong += compare()
    for server in servers:
        code = server.stop()
        if code != 0:
            wrong.append(f"on SIGTERM server {server.number} exited with {code}")
    return wrong


def torture(
    world: World,
    servers: list[Server],
    faults: Faults,
    compare: Callable[[], list[str]],
    minutes: float,
    kinds: list[tuple[type[Client], str, int]],
    web_every: int,
    tls_every: int,
    certificate: Certificate | None,
    rules: bool,
) -> tuple[list[Client], list[str], dict[str, str], float]:
    """Do the run. Return the clients with their logs, the errors, the faults that were left out, and for how many
    seconds the machine was too busy."""
    for server in servers:
        if not server.start():
            sys.exit("\n".join(["torture: the server does not start:", *server.log]))
        world.ports.append(server.port)
        server.unused = server.usage()
    clients = [kind(f"{letter}{number}", world) for kind, letter, count in kinds for number in range(1, count + 1)]
    if web_every:  # of each kind: the first, and so on
        numbers = [number for _, _, count in kinds for number in range(count)]
        webs = [client for client, number in zip(clients, numbers, strict=True) if number % web_every == 0]
        put_on_webs(webs, world)
    if certificate:
        put_on_tls(world.chance("TLS").sample(clients, -(-len(clients) // tls_every)), certificate)
    killer, meddler = faults(clients)
    if rules:  # first, because whoever is in a room first owns it
        governor = Governor(world, [client for client in clients if not isinstance(client, Searcher)])
        governor.start()
        if not governor.owns.wait(PATIENCE):
            sys.exit("torture: nobody could enter the rooms")
        clients.append(governor)
    metronome = Metronome(world)
    for thread in [metronome, *clients, *world.people, killer, meddler]:
        if not thread.is_alive():
            thread.start()
    began, seconds = now(), minutes * 60
    try:
        whole = max(1, round(seconds))
        with click.progressbar(length=whole, label="Torturing", file=sys.stderr) as bar:
            while (passed := now() - began) < seconds:
                bar.update(int(passed) - bar.pos)
                time.sleep(min(seconds - passed, 0.5))
            bar.update(whole - bar.pos)
    finally:
        world.over.set()
        meddler.join()  # its last fault may have made the disk fail
        killer.hurry.set()
        killer.join()
    wrong = finish(world, servers, clients, compare)
    return clients, wrong, meddler.skipped, metronome.late


def save(directory: pathlib.Path, servers: list[Server], clients: list[Client], world: World) -> None:
    """Keep the files that help to find the cause."""
    directory.mkdir(parents=True, exist_ok=True)
    people = [each for each in world.people if isinstance(each, Person)]
    for server in servers:
        for file in server.db.parent.glob(server.db.name + "*"):
            shutil.copy(file, directory)
        name = "server.log" if len(servers) == 1 else f"server{server.number}.log"
        (directory / name).write_text("\n".join(server.log) + "\n", encoding="utf-8")
    logs: dict[str, list[Any]] = {
        "asks": [ask for client in clients for ask in client.asks],
        "stays": [stay for client in clients for stay in client.stays],
        "looks": world.looks,
        "lines": [line for person in people for line in person.lines.values()],
        "heard": [each for person in people for each in person.heard],
        "told": [each for person in people for each in person.told],
        "visits": [visit for person in people for visit in person.visits],
    }
    for name, values in logs.items():
        with open(directory / f"{name}.jsonl", "w", encoding="utf-8") as out:
            for value in values:
                fields = value._asdict() if isinstance(value, (Look, Heard, Told)) else dataclasses.asdict(value)
                out.write(json.dumps(fields, ensure_ascii=False) + "\n")
    with open(directory / "faults.jsonl", "w", encoding="utf-8") as out:
        out.writelines(json.dumps([*fault[:3], sorted(fault.who or ()), fault.server]) + "\n" for fault in world.faults)


def kinds_of(clients: list[Client]) -> list[tuple[object, dict[str, Any]]]:
    """How each client connects: the class, and what it is made with."""
    parts = [functools.partial(client.connect) for client in clients]
    return [(each.func, each.keywords) for each in parts]


def end_early(number: int, frame: object) -> None:
    """On SIGTERM: clean up, and ignore a second signal."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit("torture: ended by a signal")


def report(results: list[Result], told: list[tuple[str, object]]) -> None:
    click.echo(tabulate(told, tablefmt="rst", colalign=("left", "right"), disable_numparse=True))
    click.echo()
    verdicts = [
        (each.check, each.says, f"{each.judged:,}", "ok" if not each.violations else f"{len(each.violations)} wrong")
        for each in results
    ]
    heads = ("check", "what has to hold", "looked at", "result")
    click.echo(tabulate(verdicts, headers=heads, tablefmt="rst", colalign=("left", "left", "right", "left")))
    for each in results:
        for violation in each.violations[:SHOWN]:
            click.echo(f"{each.check}: {violation}")
        if len(each.violations) > SHOWN:
            click.echo(f"{each.check}: and {len(each.violations) - SHOWN} more")


class Tortured(NamedTuple):
    """What is tortured, and how."""

    servers: list[Server]
    faults: Faults
    compare: Callable[[], list[str]]
    names: tuple[str, ...]  # of the faults
    check_more: Callable[[], list[Result]] = list  # after the run, and before the histories are deleted


def single(
    stack: contextlib.ExitStack, world: World, minutes: float, options: tuple[str, ...], certificate: Certificate | None
) -> Tortured:
    """One server, which ends with ``stack``."""
    disk = Disk(64 + round(24 * minutes))
    stack.callback(disk.close)
    calls = Calls(disk.directory / "chat.db")
    stack.callback(calls.close)
    server = Server(disk.directory / "chat.db", options, calls.environment)
    stack.callback(server.end)

    def faults(clients: list[Client]) -> tuple[Killer, Meddler]:
        killer = Killer(world, server)
        return killer, Meddler(world, server, disk, calls, clients, killer, certificate)

    return Tortured([server], faults, list, FAULTS)


def several(stack: contextlib.ExitStack, world: World, count: int, options: tuple[str, ...]) -> Tortured:
    """Servers that share an engine. All end with ``stack``."""
    try:
        import torture_cluster as cluster
    except ImportError:
        sys.exit("torture: several servers need psycopg. Install it: pip install 'chat_threads[cluster]'.")
    names = [f"p{number}" for number in range(1, PEOPLE + 1)]
    world.people = people = [Person(name, world, names) for name in names]
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="torture-"))
    members = cluster.Members(pathlib.Path(directory), count, options)
    stack.callback(members.close)

    def faults(clients: list[Client]) -> tuple[cluster.ClusterKiller, cluster.ClusterMeddler]:
        return cluster.ClusterKiller(world, members), cluster.ClusterMeddler(world, clients, members)

    def check_more() -> list[Result]:
        return check_people(people, world.faults, members.servers[0].db)

    return Tortured(members.servers, faults, lambda: members.faults_found(world), cluster.FAULTS, check_more)


def stranger(stack: contextlib.ExitStack, world: World, command: str) -> Tortured:
    """Somebody else's server, which ends with ``stack``."""
    directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="torture-")))
    server = Stranger(command, directory / "chat.db")
    stack.callback(server.end)
    world.plain = True

    def faults(clients: list[Client]) -> tuple[Killer, StrangerMeddler]:
        return Killer(world, server), StrangerMeddler(world, server, clients)

    return Tortured([server], faults, list, FAULTS_OF_ANY)


@click.command(help=__doc__, context_settings={"show_default": True})
@click.option("--seed", type=int, metavar="N", show_default="another one each time", help="Seed of the random choices.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), metavar="N", default=5.0, help="Length of the run.")
@click.option("--writers", type=click.IntRange(1), metavar="N", default=8, help="Clients that send messages.")
@click.option("--readers", type=click.IntRange(0), metavar="N", default=16, help="Clients that only read.")
@click.option(
    "--travellers",
    type=click.IntRange(0),
    metavar="N",
    default=2,
    help="Clients that stay away for long and come back.",
)
@click.option("--searchers", type=click.IntRange(0), metavar="N", default=3, help="Clients that search.")
@click.option(
    "--web-every",
    type=click.IntRange(0),
    metavar="N",
    default=3,
    help="One client in so many is on a WebSocket; 0: none.",
)
@click.option(
    "--tls-every", type=click.IntRange(0), metavar="N", default=3, help="One client in so many speaks TLS; 0: none."
)
@click.option("--servers", type=click.IntRange(1), metavar="N", default=1, help="Servers that share a PostgreSQL.")
@click.option("--server", "command", metavar="COMMAND", help="Torture this server instead of ours. Not with --servers.")
@click.option("--rules/--no-rules", default=True, help="Whether somebody governs the rooms.")
@click.option(
    "--rooms", type=click.IntRange(1), metavar="N", default=4, help="Each client is in two of them, a traveller in all."
)
@click.option("--min-acks", type=click.IntRange(0), metavar="N", default=1000, help="A run with fewer does not count.")
@click.option("--min-kills", type=click.IntRange(0), metavar="N", default=5, help="A run with fewer does not count.")
@click.option("--keep", type=click.Path(file_okay=False), help="Keep the history and all logs in this directory.")
@click.argument("server_options", nargs=-1)
def main(
    seed: int | None,
    minutes: float,
    writers: int,
    readers: int,
    travellers: int,
    searchers: int,
    web_every: int,
    tls_every: int,
    servers: int,
    command: str | None,
    rules: bool,
    rooms: int,
    min_acks: int,
    min_kills: int,
    keep: str | None,
    server_options: tuple[str, ...],
) -> None:
    signal.signal(signal.SIGTERM, end_early)
    seed = random.randrange(1_000_000) if seed is None else seed
    world = World(seed, rooms)
    if command:
        if servers > 1 or server_options:
            raise click.UsageError("--server goes with neither --servers nor options for ours.")
        rules, searchers, web_every, tls_every = False, 0, 0, 0
    certificate = None if WHY_NO_TLS or not tls_every else Certificate()
    options = (*server_options, *(certificate.options if certificate else ()))
    kinds = [(Writer, "w", writers), (Reader, "r", readers), (Traveller, "t", travellers), (Searcher, "s", searchers)]
    with contextlib.ExitStack() as stack:
        if certificate:
            stack.callback(certificate.close)
        found = (
            several(stack, world, servers, options)
            if servers > 1
            else stranger(stack, world, command)
            if command
            else single(stack, world, minutes, options, certificate)
        )
        webs = 0 if WHY_NOT else web_every
        clients, wrong, skipped, late = torture(world, *found[:3], minutes, kinds, webs, tls_every, certificate, rules)
        (rows, damaged), *others = [
            server.history(world.rooms) if isinstance(server, Stranger) else read_history(server.db)
            for server in found.servers
        ]
        damaged += [f"server {number}: {wrong}" for number, (_, more) in enumerate(others, 2) for wrong in more]
        more = found.check_more()
        if keep:
            save(pathlib.Path(keep), found.servers, clients, world)
    log = [line for server in found.servers for line in server.log]
    wrong = [*world.odd, *troubles(log), *damaged, *wrong]
    asks = [ask for client in clients for ask in client.asks]
    stays = [stay for client in clients for stay in client.stays]
    results = check(asks, stays, rows, world.faults, world.looks, servers > 1)
    results += more
    results.append(Result("rest", "the protocol, the log, the file, coming back and the end", len(log), wrong))
    outcomes = Counter(ask.outcome for ask in asks)
    counts = world.counts()
    kills = sum(count for what, count in counts.items() if what.startswith("kills"))
    faults = [(fault, skipped.get(fault, counts.pop(fault, 0))) for fault in found.names]
    told: list[tuple[str, object]] = [
        ("seed", seed),
        ("minutes", f"{minutes:g}"),
        *([("servers", servers)] if servers > 1 else []),
        ("clients on WebSockets", WHY_NOT or sum(kind is WebConnection for kind, _ in kinds_of(clients))),
        ("clients that speak TLS", WHY_NO_TLS or sum("wrap" in options for _, options in kinds_of(clients))),
        ("acknowledged", f"{outcomes['ok']:,}"),
        ("failed", f"{outcomes['fail']:,}"),
        ("unknown", f"{outcomes['unknown']:,}"),
        ("messages in the history", f"{len(rows):,}"),
        ("messages seen", f"{sum(len(stay.messages) for stay in stays):,}"),
        *faults,
        ("seconds for which the machine was too busy", f"{late:.1f}"),
        ("cut off for reading too slowly", sum(line.endswith("ends: too_slow") for line in log)),
        *sorted(counts.items()),
    ]
    report(results, told)
    short = [
        f"{found:,} {what}, and {least:,} are needed"
        for found, least, what in ((outcomes["ok"], min_acks, "acknowledged"), (kills, min_kills, "kills"))
        if found < least
    ]
    if short:
        click.echo(f"The run does not count: {'; '.join(short)}.")
    if short or any(each.violations for each in results):
        sys.exit(1)


if __name__ == "__main__":
    streams.prepare()
    main()
