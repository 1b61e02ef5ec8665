#!/usr/bin/env python3
"""Hurt a server of its own for some minutes, then check that nothing was lost: torture.py --minutes 5

It starts ``python -m chat_threads`` with a fresh history in a temporary directory. Writers and readers log what
they asked and what they saw, while the server is killed and started again, stopped and continued, its disk filled
and its history locked by another program, and while clients break off, stay away and stop reading. At the end all
leave, the server is stopped, and ``torture_checker`` holds the logs against the history.

The exit code is 0 if every check is ok and the run counts, otherwise 1. The same --seed gives the same clients
and the same choice of faults; how the threads of the server and of the clients run is chance all the same.

What stands after -- are options for the server: torture.py --minutes 1 -- --writers per-session
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

import click
from tabulate import tabulate
from torture_checker import Result, Row, check
from torture_clients import PATIENCE, Client, Odd, Reader, World, Writer, now

ROOT = pathlib.Path(__file__).resolve().parent.parent
FINISH = 90.0  # seconds for all to come back, hear what is owed to them and leave, once no fault is left
SEND_TIMEOUT = 3  # of the server, in seconds
QUEUE_LIMIT = 600  # of the server
LATE = 4  # descriptors that the server's SQLite opens when it first needs them: one for each reading connection
SHOWN = 5  # violations of one check that are printed
FAULTS = (
    "kills",
    "SIGTERM, and started again",
    "SIGSTOP, then SIGCONT",
    "disk full",
    "files may not grow",
    "history locked by another",
    "clients broke off",
    "a client did not read",
)


# --- the server, and where its history is --------------------------------------------------------------------


class Disk:
    """The directory of the history: a small file system of its own where mounting is allowed."""

    def __init__(self, megabytes: int) -> None:
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="torture-"))
        self.ballast = self.directory / "ballast"
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "torture", str(self.directory)]
        try:
            done = subprocess.run(mount, capture_output=True, text=True, check=False)
            self.mounted = done.returncode == 0
        except OSError:
            self.mounted = False

    def fill(self) -> None:
        with open(self.ballast, "wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"x" * size)

    def free(self) -> None:
        self.ballast.unlink(missing_ok=True)

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.directory)], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


class Server:
    """The server, in a process of its own, started again and again. What it writes to stderr is kept."""

    def __init__(self, db: pathlib.Path, options: tuple[str, ...]) -> None:
        self.db = db
        self.port = 0
        self.log: list[str] = []
        self.process: subprocess.Popen[str]
        self._options = options
        self._drain: threading.Thread

    def start(self) -> bool:
        """True once it listens; False if it says that it cannot start now (exit code 2). Raises Odd."""
        command = [sys.executable, "-m", "chat_threads", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--db", str(self.db), "--send-timeout", str(SEND_TIMEOUT)]
        command += ["--queue-limit", str(QUEUE_LIMIT), *self._options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, errors="replace"
        )
        assert self.process.stdout is not None
        self._drain = threading.Thread(target=self._read_log, args=(self.process,), daemon=True)
        self._drain.start()
        for line in self.process.stdout:
            if "telnet" in line and not self.port:
                self.port = int(line.split("telnet")[1].split()[1])
            if line.startswith("History:"):
                return True
        code = self._wait()
        if code not in (2, -signal.SIGKILL):
            raise Odd(f"the server did not start, and exited with {code}")
        return False

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.log.append(line.rstrip("\n"))

    def _wait(self) -> int:
        code = self.process.wait(PATIENCE)
        self._drain.join(PATIENCE)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return code

    def kill(self) -> None:
        """kill -9"""
        self.process.kill()
        self._wait()

    def end(self) -> None:
        """Kill it if it is there."""
        if hasattr(self, "process") and self.process.poll() is None:
            self.kill()

    def stop(self) -> int:
        """SIGTERM; return the exit code, that of a kill if it had to be killed in the end."""
        self.process.terminate()
        try:
            return self._wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self._wait()

    def usage(self) -> tuple[int, int]:
        """How many threads and descriptors it has; (0, 0) where the system does not tell."""
        proc = pathlib.Path(f"/proc/{self.process.pid}")
        try:
            return len(list((proc / "task").iterdir())), len(list((proc / "fd").iterdir()))
        except OSError:
            return 0, 0


# --- faults --------------------------------------------------------------------------------------------------


class Killer(threading.Thread):
    """Kills the server every few seconds, or asks it to stop, whatever other fault is under way; starts it again."""

    def __init__(self, world: World, server: Server) -> None:
        super().__init__(name="killer", daemon=True)
        self._world = world
        self._server = server
        self._chance = world.chance("killer")

    def run(self) -> None:
        try:
            while not self._world.over.wait(self._chance.uniform(2, 10)):
                in_order = self._chance.random() < 0.2
                with self._world.fault("SIGTERM, and started again" if in_order else "kills"):
                    if in_order:
                        self._stop_in_order()
                    else:
                        self._server.kill()
                    time.sleep(self._chance.choice([0, 0, 0.2, 1]))
                    self._start()
        except Odd as odd:
            self._world.odd.append(str(odd))
        except Exception:
            self._world.odd.append(f"the kills broke: {traceback.format_exc()}")

    def _stop_in_order(self) -> None:
        code = self._server.stop()
        if code != 0:
            self._world.odd.append(f"on SIGTERM the server exited with {code}")

    def _start(self) -> None:
        deadline = now() + 60
        while not self._server.start():
            self._world.count("starts refused for want of room")
            if now() > deadline:
                raise Odd("the server does not start any more")
            time.sleep(0.5)


class Meddler(threading.Thread):
    """All other faults, one after the other, each as often as the others."""

    def __init__(self, world: World, server: Server, disk: Disk, clients: list[Client]) -> None:
        super().__init__(name="meddler", daemon=True)
        self._world = world
        self._server = server
        self._disk = disk
        self._clients = clients
        self._chance = world.chance("meddler")
        self.skipped: dict[str, str] = {}
        self._faults: list[Callable[[], None]] = [self._break_clients, self._slow_client, self._pause, self._lock]
        if disk.mounted:
            self._faults.append(self._fill_disk)
        else:
            self.skipped["disk full"] = "skipped: mounting is not allowed here"
        try:
            import resource

            self._resource = resource
            resource.prlimit(os.getpid(), resource.RLIMIT_FSIZE)
            self._faults.append(self._limit_files)
        except (ImportError, AttributeError, OSError):
            self.skipped["files may not grow"] = "skipped: there is no prlimit here"

    def run(self) -> None:
        try:
            while True:
                for fault in self._chance.sample(self._faults, len(self._faults)):
                    if self._world.over.wait(self._chance.uniform(1, 5)):
                        return
                    fault()
        except Exception:
            self._world.odd.append(f"the faults broke: {traceback.format_exc()}")

    def _hold(self, least: float, most: float) -> None:
        self._world.over.wait(self._chance.uniform(least, most))

    def _break_clients(self) -> None:
        for client in self._chance.sample(self._clients, self._chance.randint(1, len(self._clients))):
            how = self._chance.choice(["reset", "close", "vanish"])
            self._world.count("clients broke off")
            client.orders.put(how)

    def _slow_client(self) -> None:
        for client in self._chance.sample(self._clients, min(3, len(self._clients))):
            client.orders.put("be slow")

    def _pause(self) -> None:
        process = self._server.process
        with self._world.fault("SIGSTOP, then SIGCONT"):
            process.send_signal(signal.SIGSTOP)
            self._hold(0.5, 6)
            process.send_signal(signal.SIGCONT)  # nothing, if it was killed meanwhile

    def _lock(self) -> None:
        """For 1 to 4 seconds, which the server waits, or for longer than it does."""
        with contextlib.closing(sqlite3.connect(self._server.db, timeout=PATIENCE, isolation_level=None)) as other:
            with self._world.fault("history locked by another"):
                try:
                    other.execute("BEGIN IMMEDIATE")
                except sqlite3.Error:
                    return  # the disk is full, say
                self._hold(*self._chance.choice([(1, 4), (7, 11)]))
                other.execute("ROLLBACK")

    def _fill_disk(self) -> None:
        with self._world.fault("disk full"):
            self._disk.fill()
            try:
                self._hold_until_refused()
            finally:
                self._disk.free()

    def _limit_files(self) -> None:
        """As a quota does: no file of the server may grow beyond its first page."""
        process = self._server.process
        kind = self._resource.RLIMIT_FSIZE
        with self._world.fault("files may not grow"), contextlib.suppress(ProcessLookupError):
            _, hard = self._resource.prlimit(process.pid, kind)
            self._resource.prlimit(process.pid, kind, (4096, hard))
            try:
                self._hold_until_refused()
            finally:
                self._resource.prlimit(process.pid, kind, (hard, hard))

    def _hold_until_refused(self) -> None:
        """Until somebody was told that something was not stored, at most 8 seconds; then a little longer."""
        refused = self._refused()
        deadline = now() + 8
        while self._refused() == refused and now() < deadline and not self._world.over.wait(0.1):
            pass
        self._hold(0, 2)

    def _refused(self) -> int:
        return sum(count for what, count in self._world.counts().items() if what.startswith("refused: Not stored"))


# --- a run ---------------------------------------------------------------------------------------------------


def read_history(db: pathlib.Path) -> tuple[list[Row], list[str]]:
    """All messages, and what is wrong with the file."""
    with contextlib.closing(sqlite3.connect(db)) as connection:
        wrong = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
        rows = [
            Row(*row)
            for row in connection.execute(
                "SELECT rooms.name, number, sender, kind, text FROM messages JOIN rooms ON rooms.id = messages.room"
            )
        ]
        for name, last in connection.execute("SELECT name, last FROM rooms"):
            count = sum(row.room == name for row in rows)
            if count != last:
                wrong.append(f"{name} has {count} messages, and its last number is {last}")
        connection.execute("INSERT INTO messages_fts (messages_fts) VALUES ('integrity-check')")
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
    """Whether more threads or descriptors are used than before anybody came, but for SQLite's own, opened late."""
    return usage[0] > unused[0] or usage[1] > unused[1] + LATE


def finish(world: World, server: Server, clients: list[Client], unused: tuple[int, int]) -> list[str]:
    """Let all leave, and stop the server; what did not go as it should. ``unused``: its usage without clients."""
    wrong = []
    world.finishing.set()
    deadline = now() + FINISH
    for client in clients:
        client.join(max(0.0, deadline - now()))
        if client.is_alive():
            wrong.append(f"{client.name} could not come in, hear what it was owed and leave within {FINISH:g} s")
    deadline = now() + PATIENCE
    while (more := more_than(unused, usage := server.usage())) and now() < deadline:
        time.sleep(0.1)
    if more:
        wrong.append(f"with nobody there the server has {usage} threads and descriptors, and had {unused} at first")
    code = server.stop()
    if code != 0:
        wrong.append(f"on SIGTERM the server exited with {code}")
    return wrong


def torture(
    world: World, disk: Disk, server: Server, minutes: float, writers: int, readers: int
) -> tuple[list[Client], list[str], dict[str, str]]:
    """The run itself: the clients with their logs, what went wrong, and the faults that were left out."""
    if not server.start():
        sys.exit("\n".join(["torture: the server does not start:", *server.log]))
    world.port = server.port
    unused = server.usage()
    clients: list[Client] = [Writer(f"w{number}", world) for number in range(1, writers + 1)]
    clients += [Reader(f"r{number}", world) for number in range(1, readers + 1)]
    meddler = Meddler(world, server, disk, clients)
    faults = [Killer(world, server), meddler]
    for thread in [*clients, *faults]:
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
        for fault in faults:
            fault.join()
    wrong = finish(world, server, clients, unused)
    return clients, wrong, meddler.skipped


def save(directory: pathlib.Path, db: pathlib.Path, server: Server, clients: list[Client], world: World) -> None:
    """Leave what is needed to look for the cause."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in db.parent.glob(db.name + "*"):
        shutil.copy(file, directory)
    (directory / "server.log").write_text("\n".join(server.log) + "\n", encoding="utf-8")
    logs: dict[str, list[Any]] = {
        "asks": [ask for client in clients for ask in client.asks],
        "stays": [stay for client in clients for stay in client.stays],
    }
    for name, values in logs.items():
        with open(directory / f"{name}.jsonl", "w", encoding="utf-8") as out:
            out.writelines(json.dumps(dataclasses.asdict(value), ensure_ascii=False) + "\n" for value in values)
    with open(directory / "faults.jsonl", "w", encoding="utf-8") as out:
        out.writelines(json.dumps([*fault[:3], sorted(fault.who or ())]) + "\n" for fault in world.faults)


def end_early(number: int, frame: object) -> None:
    """On SIGTERM: clean up, and let no second one get in the way of that."""
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


@click.command(help=__doc__, context_settings={"show_default": True})
@click.option("--seed", type=int, show_default="another one each time", help="What the dice are thrown with.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=5.0, help="How long.")
@click.option("--writers", type=click.IntRange(1), default=8, help="Clients that say something.")
@click.option("--readers", type=click.IntRange(0), default=16, help="Clients that only read.")
@click.option("--rooms", type=click.IntRange(1), default=4, help="Each client is in two of them.")
@click.option("--min-acks", type=click.IntRange(0), default=1000, help="With fewer the run does not count.")
@click.option("--min-kills", type=click.IntRange(0), default=5, help="With fewer the run does not count.")
@click.option("--keep", type=click.Path(file_okay=False), help="Leave the history and all logs in this directory.")
@click.argument("server_options", nargs=-1)
def main(
    seed: int | None,
    minutes: float,
    writers: int,
    readers: int,
    rooms: int,
    min_acks: int,
    min_kills: int,
    keep: str | None,
    server_options: tuple[str, ...],
) -> None:
    signal.signal(signal.SIGTERM, end_early)
    seed = random.randrange(1_000_000) if seed is None else seed
    world = World(seed, rooms)
    disk = Disk(64 + round(24 * minutes))
    server = Server(disk.directory / "chat.db", server_options)
    try:
        clients, wrong, skipped = torture(world, disk, server, minutes, writers, readers)
        rows, damaged = read_history(server.db)
        if keep:
            save(pathlib.Path(keep), server.db, server, clients, world)
    finally:
        server.end()
        disk.close()
    wrong = [*world.odd, *troubles(server.log), *damaged, *wrong]
    asks = [ask for client in clients for ask in client.asks]
    stays = [stay for client in clients for stay in client.stays]
    results = check(asks, stays, rows, world.faults)
    results.append(Result("rest", "the protocol, the log, the file, coming back and the end", len(server.log), wrong))
    outcomes = Counter(ask.outcome for ask in asks)
    counts = world.counts()
    kills = counts.get("kills", 0)
    faults = [(fault, skipped.get(fault, counts.pop(fault, 0))) for fault in FAULTS]
    told: list[tuple[str, object]] = [
        ("seed", seed),
        ("minutes", f"{minutes:g}"),
        ("acknowledged", f"{outcomes['ok']:,}"),
        ("failed", f"{outcomes['fail']:,}"),
        ("unknown", f"{outcomes['unknown']:,}"),
        ("messages in the history", f"{len(rows):,}"),
        ("messages seen", f"{sum(len(stay.messages) for stay in stays):,}"),
        *faults,
        ("cut off for reading too slowly", sum(line.endswith("ends: too_slow") for line in server.log)),
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
    main()
